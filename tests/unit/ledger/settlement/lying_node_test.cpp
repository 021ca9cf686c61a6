// SPDX-License-Identifier: Apache-2.0
#include "ledger/rpc/checked_chain.hpp"
#include "ledger/settlement/watcher.hpp"
#include "tests/support/chain_view.hpp"
#include "tests/unit/ledger/settlement/submitter_fixture.hpp"

using namespace tests;  // NOLINT: test file
using ledger::rpc::TransactionReceipt;
using support::ChainView;

namespace {

/// A submitter that asks two nodes of one chain; the first may lie.
struct LyingNode {
    LyingNode() {
        std::vector<ledger::rpc::ChainNode> nodes;
        for (ChainView** view : {&liar, &honest}) {
            auto made = std::make_unique<ChainView>(chain);
            *view = made.get();
            nodes.push_back({view == &liar ? "liar" : "honest", std::move(made)});
        }
        checked.emplace(std::move(nodes), clock, ledger::rpc::CheckedChainOptions{});
        SubmitterOptions options;
        options.chain_id = chain.id;
        submitter.emplace(*checked, test_signer(), store, clock, options);
        REQUIRE(submitter->start());
        record = submitter->submit(instruction("a")).value();
    }
    [[nodiscard]] TransactionState state() { return store.find("a").value()->state; }
    std::size_t finals() {
        std::size_t count = 0;
        if (const auto events = submitter->poll())
            for (const auto& event : *events)
                count += event.kind == Kind::kFinal ? 1U : 0U;
        return count;
    }

    FakeChain chain;
    FakeClock clock;
    ChainView* liar = nullptr;
    ChainView* honest = nullptr;
    MemoryTransactionStore store;
    std::optional<ledger::rpc::CheckedChain> checked;
    std::optional<Submitter> submitter;
    TransactionRecord record;
};

}  // namespace

TEST_CASE("lying node: a forged receipt makes nothing final, and the transaction lands once") {
    LyingNode f;
    f.chain.drop_pool();
    for (int i = 0; i < 5; ++i)
        f.chain.mine();
    f.liar->forge_receipt = [&](std::optional<TransactionReceipt>& receipt) {
        const auto block = f.chain.block(ledger::rpc::BlockTag::number(2)).value();
        receipt.emplace();
        receipt->transaction_hash = f.record.versions[0].hash;
        receipt->block_number = block.number;
        receipt->block_hash = block.hash;
        receipt->succeeded = true;
    };
    for (int i = 0; i < 10; ++i)
        CHECK(f.finals() == 0);
    CHECK(f.state() == TransactionState::kBroadcast);
    CHECK(f.submitter->poll().error().code() == ErrorCode::chain_bad_answer);
    f.liar->forge_receipt = nullptr;
    f.clock.now += 5'000;
    CHECK(f.finals() == 0);  // sends it again
    f.chain.mine();
    f.chain.mine();
    CHECK(f.finals() == 1);
    CHECK(f.chain.times_mined(instruction("a").data) == 1);
}

TEST_CASE("lying node: a receipt that one node hides or calls failed changes nothing") {
    for (const bool hidden : {true, false}) {
        LyingNode f;
        f.chain.mine();
        REQUIRE(f.submitter->poll());
        REQUIRE(f.state() == TransactionState::kMined);
        f.liar->forge_receipt = [&](std::optional<TransactionReceipt>& receipt) {
            if (hidden)
                receipt.reset();
            else
                receipt->succeeded = false;
        };
        f.chain.mine();
        for (int i = 0; i < 10; ++i)
            CHECK(f.finals() == 0);
        CHECK(!f.submitter->halted());
        CHECK(f.store.find("a").value()->mined->succeeded);
        f.liar->forge_receipt = nullptr;
        CHECK(f.finals() == 1);
    }
}

TEST_CASE("lying node: forged events are not read, and the cursor stays") {
    LyingNode f;
    Deployment deployment;
    deployment.chain_id = f.chain.id;
    deployment.block = 1;
    Watcher watcher(*f.checked, deployment, {1, 100});
    f.chain.mine();
    f.liar->forge_logs = [](std::vector<ledger::rpc::LogEntry>& logs) { logs.emplace_back(); };
    CHECK(watcher.poll(watcher.beginning()).error().code() == ErrorCode::chain_bad_answer);
    f.liar->forge_logs = nullptr;
    CHECK(watcher.poll(watcher.beginning())->cursor.next_block == 2);
}
