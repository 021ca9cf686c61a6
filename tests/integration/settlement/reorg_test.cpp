// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/clock.hpp"
#include "ledger/rpc/checked_chain.hpp"
#include "tests/integration/settlement/market_flow.hpp"
#include "tests/support/faulty_node.hpp"

#include <atomic>
#include <chrono>

using namespace tests;  // NOLINT: test file

namespace {

/// Moves only when told to.
class FakeClock final : public ledger::base::Clock {
 public:
    [[nodiscard]] ledger::base::TimeMs now_ms() const override { return now_; }
    void advance(ledger::base::TimeMs by) { now_ += by; }

 private:
    ledger::base::TimeMs now_ = 1'000'000;
};

std::size_t count(const std::vector<SubmitterEvent>& events, SubmitterEvent::Kind kind) {
    std::size_t found = 0;
    for (const auto& event : events)
        found += event.kind == kind ? 1U : 0U;
    return found;
}

void mine(ledger::rpc::EthClient& chain, int blocks) {
    REQUIRE(chain.raw_call("anvil_mine", {"0x" + std::to_string(blocks)}));
}

}  // namespace

TEST_CASE("submitter: a transaction undone by a reorganisation lands again, once") {
    auto anvil = tests::support::Anvil::start();
    if (!anvil) {
        MESSAGE("skipped: anvil is not installed (scripts/setup)");
        return;
    }
    auto chain = anvil->client();
    const PrivateKey key = PrivateKey::generate();
    anvil->fund(key.address());
    LocalTransactionSigner signer(key);
    MemoryTransactionStore store;
    FakeClock clock;
    SubmitterOptions options;
    options.chain_id = 31337;
    options.finality_depth = 4;
    Submitter submitter(*chain, signer, store, clock, options);
    REQUIRE(submitter.start());
    const ledger::base::Address target = PrivateKey::generate().address();

    for (const int depth : {1, 2, 3}) {
        const auto record =
            submitter.submit({"batch-" + std::to_string(depth), "claim", target, {}});
        REQUIRE(record);
        // The node answers a send before it has mined: ask until it has.
        std::size_t mined = 0;
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (mined == 0 && std::chrono::steady_clock::now() < deadline) {
            const auto seen = submitter.poll();
            REQUIRE(seen);
            mined += static_cast<std::size_t>(count(*seen, SubmitterEvent::Kind::kMined));
        }
        CHECK(mined == 1);
        if (depth > 1) mine(*chain, depth - 1);
        // The block goes away and its transaction with it.
        nlohmann::json params = nlohmann::json::array();
        params.push_back(depth);
        params.push_back(nlohmann::json::array());
        REQUIRE(chain->raw_call("anvil_reorg", params));
        auto events = submitter.poll();
        REQUIRE(events);
        CHECK(count(*events, SubmitterEvent::Kind::kUndone) == 1);
        CHECK(count(*events, SubmitterEvent::Kind::kFinal) == 0);
        std::size_t finals = 0;
        for (int i = 0; i < 10 && finals == 0; ++i) {
            clock.advance(6'000);
            mine(*chain, 1);
            events = submitter.poll();
            REQUIRE(events);
            finals += count(*events, SubmitterEvent::Kind::kFinal);
        }
        CHECK(finals == 1);
        CHECK(submitter.in_flight() == 0);
        CHECK(chain->nonce(key.address(), BlockTag::Name::kLatest).value() ==
              static_cast<std::uint64_t>(depth));
    }
}

TEST_CASE("submitter: a nonce used by hand stops it until the operator adopts it") {
    auto anvil = tests::support::Anvil::start({"--no-mining"});
    if (!anvil) {
        MESSAGE("skipped: anvil is not installed (scripts/setup)");
        return;
    }
    auto chain = anvil->client();
    const PrivateKey key = PrivateKey::generate();
    anvil->fund(key.address());
    LocalTransactionSigner signer(key);
    MemoryTransactionStore store;
    FakeClock clock;
    SubmitterOptions options;
    options.chain_id = 31337;
    options.finality_depth = 1;
    const ledger::base::Address target = PrivateKey::generate().address();
    Submitter submitter(*chain, signer, store, clock, options);
    REQUIRE(submitter.start());
    const auto ours = submitter.submit({"ours", "claim", target, {}});
    REQUIRE(ours);
    REQUIRE(
        chain->raw_call("anvil_dropTransaction", {ledger::base::to_hex(ours->versions[0].hash)}));
    ledger::eth::Transaction foreign;
    foreign.chain_id = 31337;
    foreign.nonce = ours->nonce;
    foreign.max_fee_per_gas = 10'000'000'000ULL;
    foreign.max_priority_fee_per_gas = 1;
    foreign.gas_limit = 50'000;
    foreign.to = target;
    foreign.value = 1;
    REQUIRE(chain->send_raw(signer.sign(foreign).value()));
    mine(*chain, 1);
    REQUIRE(submitter.poll());
    REQUIRE(submitter.poll());
    CHECK(!submitter.halted());
    const auto third = submitter.poll();
    REQUIRE(!third);
    CHECK(third.error().code() == ledger::base::ErrorCode::foreign_nonce);
    CHECK(submitter.submit({"more", "claim", target, {}}).error().code() ==
          ledger::base::ErrorCode::foreign_nonce);
}

TEST_CASE("submitter: a node that forges or hides receipts makes nothing final, nor failed") {
    auto anvil = tests::support::Anvil::start();
    if (!anvil) {
        MESSAGE("skipped: anvil is not installed (scripts/setup)");
        return;
    }
    auto chain = anvil->client();
    const PrivateKey key = PrivateKey::generate();
    anvil->fund(key.address());
    std::atomic<bool> hides = false;
    std::atomic<bool> forges = true;
    tests::support::FaultyNode liar(anvil->url(), 1, 0);
    liar.lie = [&](const std::string& method, nlohmann::json& result) {
        if (method != "eth_getTransactionReceipt" || result.is_null()) return;
        if (forges) result["status"] = "0x0";
        if (hides) result = nullptr;
    };
    FakeClock clock;
    ledger::rpc::CheckedChainOptions checks;
    checks.chain_id = 31337;
    checks.head_age_max_ms = 0;
    ledger::rpc::CheckedChain both(ledger::rpc::dial({liar.url(), anvil->url()}), clock, checks);
    LocalTransactionSigner signer(key);
    MemoryTransactionStore store;
    SubmitterOptions options;
    options.chain_id = 31337;
    Submitter submitter(both, signer, store, clock, options);
    REQUIRE(submitter.start());
    REQUIRE(submitter.submit({"batch", "claim", PrivateKey::generate().address(), {}}));
    mine(*chain, 3);
    for (const bool hidden : {false, true}) {
        hides = hidden;
        CHECK(submitter.poll().error().code() == ledger::base::ErrorCode::chain_bad_answer);
        CHECK(!store.find("batch").value()->mined);
    }
    hides = forges = false;
    const auto events = submitter.poll();
    REQUIRE(events);
    CHECK(count(*events, SubmitterEvent::Kind::kFinal) == 1);
    CHECK(store.find("batch").value()->mined->succeeded);
}
