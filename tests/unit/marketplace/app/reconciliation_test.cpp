// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/reconciliation.hpp"

#include "ledger/eth/abi.hpp"
#include "tests/support/fake_chain.hpp"
#include "tests/support/market.hpp"

#include <doctest/doctest.h>

#include <map>

using namespace marketplace;  // NOLINT: a test of its own

namespace {

using ledger::base::Bytes;
using ledger::eth::abi::Encoder;

/// A market with one matched, one open, one half claimed and one closed lease, and the chain that
/// agrees with it.
struct Scene {
    struct ChainLease {
        std::uint64_t locked, paid, state;
    };
    struct ChainAccount {
        std::uint64_t free, locked;
    };

    Scene() {
        deployment.leases = tests::fixed(0x7777);
        deployment.escrow = tests::fixed(0x8888);
        for (std::uint64_t n = 1; n <= 4; ++n)
            market.list(n, n);
        market.deposit(tests::buyer(1), 1'000'000);
        market.deposit(tests::buyer(2), 500'000);
        for (std::uint64_t salt = 11; salt <= 14; ++salt)
            market.must(tests::make_train_job(1, salt));
        for (const std::uint64_t salt : {12U, 13U, 14U})
            market.start(market.lease(salt).id);
        for (const std::uint64_t salt : {13U, 14U}) {
            market.work(market.lease(salt).id, 25);
            market.must(market.full_voucher(market.lease(salt).id));
            market.must(market.full_claim(market.lease(salt).id));
        }
        market.must(domain::LeaseCloseRequested{market.lease(14).id, {}});
        market.must(market.close_of(market.lease(14).id));
        for (const std::uint64_t salt : {12U, 13U}) {
            const domain::Lease& lease = market.lease(salt);
            leases[lease.id] = {lease.locked_atoms, lease.claimed_atoms, 1};
            accounts[lease.buyer].locked += lease.locked_atoms;
        }
        std::uint64_t out = 0;
        for (const std::uint64_t salt : {12U, 13U})
            out += market.lease(salt).locked_atoms;
        out += market.lease(14).claimed_atoms;
        accounts[tests::buyer(1)].free = 1'000'000 - out;
        accounts[tests::buyer(2)].free = 500'000;
        chain.view = [this](const ledger::rpc::CallRequest& request) { return answer(request); };
    }

    Bytes answer(const ledger::rpc::CallRequest& request) {
        Encoder out;
        const ledger::eth::abi::Decoder words(ledger::base::ByteView(request.data).subspan(4));
        if (request.to == deployment.leases) {
            const auto id = words.word(0).value();
            const auto found = leases.find(id);
            const ChainLease lease = found == leases.end() ? ChainLease{} : found->second;
            const bool known = lease.state != 0;
            out.uint(lease.locked).uint(lease.paid).uint(known ? 100 : 0).uint(0).uint(9);
            out.uint(lease.state).word(known ? words.word(1).value() : ledger::base::Hash32());
        } else {
            const ChainAccount account = accounts[words.address(0).value()];
            out.uint(account.free).uint(account.locked).uint(0).uint(0).uint(0);
        }
        return out.finish();
    }

    [[nodiscard]] ledger::base::Result<void> compare() {
        return app::reconcile(chain, deployment, app::ledger_items(market.engine),
                              ledger::rpc::BlockTag::number(1));
    }
    /// The difference that is found.
    [[nodiscard]] std::string difference() {
        const auto result = compare();
        REQUIRE(!result);
        CHECK(result.error().code() == ledger::base::ErrorCode::ledger_mismatch);
        return result.error().detail();
    }

    tests::Market market;
    tests::support::FakeChain chain;
    ledger::settlement::Deployment deployment;
    std::map<ledger::base::Hash32, ChainLease> leases;
    std::map<ledger::base::Address, ChainAccount> accounts;
};

bool has(const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("reconciliation: what the chain says otherwise is named") {
    Scene scene;
    const auto open = scene.market.lease(12).id;
    const auto claimed = scene.market.lease(13).id;
    SUBCASE("a lease that is not there") {
        scene.leases.erase(open);
        CHECK(has(scene.difference(), "is not on chain"));
    }
    SUBCASE("another lock") {
        scene.leases[open].locked += 1;
        CHECK(has(scene.difference(), "locks"));
    }
    SUBCASE("a payment not seen here") {
        scene.leases[claimed].paid += 1;
        CHECK(has(scene.difference(), "paid"));
    }
    SUBCASE("closed there") {
        scene.leases[claimed].state = 3;
        CHECK(has(scene.difference(), "is closed on chain"));
    }
    SUBCASE("opened without this ledger knowing") {
        scene.leases[scene.market.lease(11).id] = {100'000, 0, 1};
        CHECK(has(scene.difference(), "was not opened"));
    }
    SUBCASE("a deposit not seen here") {
        scene.accounts[tests::buyer(2)].free += 1;
        CHECK(has(scene.difference(), "has 500001 free on chain, 500000 here"));
    }
    SUBCASE("less locked than the leases need") {
        scene.accounts[tests::buyer(1)].locked -= 1;
        CHECK(has(scene.difference(), "locked on chain"));
    }
    SUBCASE("several: all counted, the first named") {
        for (auto& [id, lease] : scene.leases)
            lease.paid += 1;
        for (auto& [owner, account] : scene.accounts)
            account.free += 1;
        CHECK(has(scene.difference(), "4 of 7 items"));
    }
}

TEST_CASE("reconciliation: a chain that cannot be asked says nothing about the ledger") {
    Scene scene;
    scene.chain.fault = [](std::string_view) {
        return ledger::base::Error(ledger::base::ErrorCode::chain_unreachable);
    };
    CHECK(scene.compare().error().code() == ledger::base::ErrorCode::chain_unreachable);
}

TEST_CASE("reconciliation: ledger and chain agree") {
    Scene scene;
    CHECK(scene.compare());
    // Money asked back on chain while it is held for a match here.
    const auto all = scene.accounts[tests::buyer(1)].free;
    scene.market.must(domain::EscrowWithdrawn{tests::buyer(1), all, {}, 7});
    scene.accounts[tests::buyer(1)].free = 0;
    CHECK(scene.market.engine.balance(tests::buyer(1)).overdrawn > 0);
    CHECK(scene.compare());
}
