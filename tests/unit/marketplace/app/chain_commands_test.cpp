// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/chain_commands.hpp"

#include "ledger/eth/abi.hpp"
#include "tests/support/market.hpp"

#include <doctest/doctest.h>

using namespace marketplace;  // NOLINT: a test of its own

namespace {

namespace settlement = ledger::settlement;
using tests::fixed;
using tests::Hash32;

struct Batch {
    template <typename Event>
    Batch& add(std::uint64_t txn, const Event& event) {
        settlement::ChainEvent out;
        out.transaction_hash = fixed<Hash32>(txn);
        out.log_index = batch.events.size();
        if constexpr (std::is_constructible_v<settlement::LeasesEvent, Event>)
            out.event = settlement::LeasesEvent(event);
        else
            out.event = settlement::EscrowEvent(event);
        batch.events.push_back(out);
        return *this;
    }
    settlement::WatchBatch batch;
};

settlement::LeaseOpened opened(const Hash32& lease, std::uint64_t locked) {
    settlement::LeaseOpened out;
    out.lease = lease;
    out.buyer = tests::buyer(1);
    out.locked_atoms = locked;
    return out;
}

void apply_all(tests::Market& market, const Batch& batch) {
    for (const domain::Command& command : app::commands_of(batch.batch, market.engine, {}))
        market.must(command);
}

}  // namespace

TEST_CASE(
    "chain commands: a lease this market did not match takes its buyer's money and gives it back") {
    tests::Market market;
    market.deposit(tests::buyer(1), 1000);
    const Hash32 foreign = fixed<Hash32>(77);
    apply_all(
        market,
        Batch().add(1, settlement::Locked{tests::buyer(1), 600}).add(1, opened(foreign, 600)));
    CHECK(market.engine.balance(tests::buyer(1)).available == 400);
    const auto paid =
        app::commands_of(Batch().add(2, settlement::Claimed{foreign, 1, 5, 200, {}, 200, 2}).batch,
                         market.engine, {});
    REQUIRE(paid.size() == 1);
    CHECK(market.refused(paid.front()) == ledger::base::ErrorCode::not_found);
    // Its close comes with the unlocking of what is left.
    const Batch close = Batch()
                            .add(3, settlement::LeaseClosed{foreign, 200, 400, 5})
                            .add(3, settlement::Unlocked{tests::buyer(1), 400});
    for (const domain::Command& command : app::commands_of(close.batch, market.engine, {}))
        if (std::holds_alternative<domain::EscrowDeposited>(command)) market.must(command);
    CHECK(market.engine.balance(tests::buyer(1)).available == 800);
}

TEST_CASE("chain commands: each unlock belongs to the close in its place") {
    tests::Market market;
    market.deposit(tests::buyer(1), 1'000'000);
    market.list(1, 1);
    market.must(tests::make_train_job(1, 5));
    const Hash32 own = market.lease(5).id;
    market.start(own);
    const std::uint64_t locked = market.lease(5).locked_atoms;
    const Hash32 foreign = fixed<Hash32>(77);
    apply_all(market, Batch().add(1, opened(foreign, 600)));
    const auto commands =
        app::commands_of(Batch()
                             .add(2, settlement::LeaseClosed{own, 0, locked, 5})
                             .add(2, settlement::LeaseClosed{foreign, 0, 600, 5})
                             .add(2, settlement::Unlocked{tests::buyer(1), locked})
                             .add(2, settlement::Unlocked{tests::buyer(1), 600})
                             .batch,
                         market.engine, {});
    std::uint64_t given_back = 0;
    for (const domain::Command& command : commands)
        if (const auto* deposit = std::get_if<domain::EscrowDeposited>(&command))
            given_back += deposit->amount_atoms;
    CHECK(given_back == 600);
}

TEST_CASE("chain commands: a withdrawal that was called off is free money again") {
    tests::Market market;
    market.deposit(tests::buyer(1), 1000);
    apply_all(market, Batch().add(1, settlement::WithdrawRequested{tests::buyer(1), 700, 9}));
    CHECK(market.engine.balance(tests::buyer(1)).available == 300);
    apply_all(market, Batch().add(2, settlement::WithdrawCancelled{tests::buyer(1), 700}));
    CHECK(market.engine.balance(tests::buyer(1)).available == 1000);
}

TEST_CASE("chain commands: only our own opens say that an open failed") {
    tests::Market market;
    market.deposit(tests::buyer(1), 1'000'000);
    market.list(1, 1);
    market.must(tests::make_train_job(1, 5));
    const Hash32 id = market.lease(5).id;
    // Anybody can claim by a lease that is not open, or try to open one that names our matcher.
    const auto unknown = ledger::eth::abi::selector("UnknownLease(bytes32,bytes32)");
    const Batch refused =
        Batch().add(8, settlement::ItemFailed{id, 0, {unknown.begin(), unknown.end()}});
    const std::set<Hash32> failed = app::transactions_with_failures(refused.batch);
    CHECK(failed == std::set<Hash32>{fixed<Hash32>(8)});
    CHECK(app::commands_of(refused.batch, market.engine, {}).empty());
    const auto commands = app::commands_of(refused.batch, market.engine, failed);
    REQUIRE(commands.size() == 1);
    market.must(commands.front());
    CHECK(market.engine.find_lease(id)->state == domain::LeaseState::kOpenFailed);
}

TEST_CASE("chain commands: claims by workers alone are kept for this market's leases") {
    tests::Market market;
    market.deposit(tests::buyer(1), 1'000'000);
    market.list(1, 1);
    market.must(tests::make_train_job(1, 5));
    const Hash32 own = market.lease(5).id;
    const Hash32 foreign = fixed<Hash32>(77);
    const settlement::ClaimedAlone claim{own, fixed<Hash32>(5), 10, 100, 1'000};
    settlement::ClaimedAlone other = claim;
    other.lease = foreign;
    const auto changes = app::lone_claim_changes(Batch()
                                                     .add(1, other)
                                                     .add(1, claim)
                                                     .add(2, settlement::Objected{own, {}})
                                                     .add(3, claim)
                                                     .add(4, settlement::LeaseClosed{own, 0, 0, 1})
                                                     .batch,
                                                 market.engine);
    REQUIRE(changes.size() == 4);
    CHECK(changes[0].waits == claim);
    CHECK(!changes[1].waits);
    CHECK(changes[2].waits == claim);
    CHECK(!changes[3].waits);
    for (const auto& change : changes)
        CHECK(change.lease == own);
}
