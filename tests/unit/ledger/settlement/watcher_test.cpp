// SPDX-License-Identifier: Apache-2.0
#include "ledger/settlement/watcher.hpp"

#include "ledger/eth/abi.hpp"
#include "tests/support/fake_chain.hpp"

#include <doctest/doctest.h>

using namespace ledger::settlement;  // NOLINT: the room under test
using ledger::base::ErrorCode;
using tests::support::FakeChain;

namespace {

Deployment test_deployment() {
    Deployment deployment;
    deployment.chain_id = 31337;
    deployment.block = 1;
    deployment.escrow.data()[0] = 1;
    deployment.leases.data()[0] = 2;
    deployment.receipt_log.data()[0] = 3;
    return deployment;
}

ledger::rpc::LogEntry deposit_at(std::uint64_t block, std::uint64_t index, std::uint64_t amount) {
    ledger::rpc::LogEntry entry;
    entry.address = test_deployment().escrow;
    entry.topics = {ledger::eth::abi::event_topic("Deposited(address,uint64)"),
                    ledger::base::Hash32()};
    entry.data = ledger::eth::abi::Encoder().uint(amount).finish();
    entry.block_number = block;
    entry.log_index = index;
    return entry;
}

}  // namespace

TEST_CASE("watcher: reads each event once, at its depth") {
    FakeChain chain;
    Watcher watcher(chain, test_deployment(), {3, 2});
    WatchCursor cursor = watcher.beginning();
    CHECK(watcher.poll(cursor)->cursor == cursor);
    for (int i = 0; i < 3; ++i)
        chain.mine();
    chain.events = {deposit_at(1, 0, 10), deposit_at(1, 1, 11), deposit_at(2, 0, 12)};
    auto batch = watcher.poll(cursor);
    REQUIRE(batch);
    CHECK(batch->events.size() == 2);  // block 1 has two on top, block 2 only one
    CHECK(batch->cursor.next_block == 2);
    cursor = batch->cursor;
    CHECK(watcher.poll(cursor)->events.empty());
    for (int i = 0; i < 5; ++i)
        chain.mine();
    batch = watcher.poll(cursor);
    REQUIRE(batch);
    REQUIRE(batch->events.size() == 1);
    const auto& escrow = std::get<EscrowEvent>(batch->events[0].event);
    CHECK(std::get<Deposited>(escrow).amount_atoms == 12);
    CHECK(batch->cursor.next_block == 4);  // two blocks a poll
}

TEST_CASE("watcher: a final block that changed halts, a node that is behind does not") {
    FakeChain chain;
    for (int i = 0; i < 6; ++i)
        chain.mine();
    Watcher watcher(chain, test_deployment(), {2, 100});
    const WatchCursor cursor = watcher.poll(watcher.beginning())->cursor;
    CHECK(cursor.next_block == 6);
    FakeChain behind;
    Watcher other(behind, test_deployment(), {2, 100});
    CHECK(other.poll(cursor).error().code() == ErrorCode::chain_unreachable);
    chain.reorganise(1, FakeChain::Undone::kDropped);
    CHECK(watcher.poll(cursor));
    chain.reorganise(4, FakeChain::Undone::kDropped);
    CHECK(watcher.poll(cursor).error().code() == ErrorCode::chain_mismatch);
}

TEST_CASE("watcher: a malformed event of ours is the node's nonsense") {
    FakeChain chain;
    for (int i = 0; i < 3; ++i)
        chain.mine();
    Watcher watcher(chain, test_deployment(), {1, 100});
    auto entry = deposit_at(1, 0, 1);
    entry.data.pop_back();
    chain.events = {entry};
    CHECK(watcher.poll(watcher.beginning()).error().code() == ErrorCode::chain_bad_answer);
    entry = deposit_at(1, 0, 1);
    entry.topics[1].data()[0] = 1;  // not an address
    chain.events = {entry};
    CHECK(watcher.poll(watcher.beginning()).error().code() == ErrorCode::chain_bad_answer);
    entry = deposit_at(1, 0, 1);
    entry.topics.pop_back();  // another event of the same name
    chain.events = {entry};
    CHECK(watcher.poll(watcher.beginning())->events.empty());
}
