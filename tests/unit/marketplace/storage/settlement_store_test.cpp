// SPDX-License-Identifier: Apache-2.0
#include "marketplace/storage/settlement_store.hpp"

#include "tests/support/temp_database.hpp"

#include <doctest/doctest.h>

namespace marketplace::storage {
namespace {

using domain::Hash32;
using ledger::base::ErrorCode;
using ledger::settlement::MinedAt;
using ledger::settlement::TransactionRecord;
using ledger::settlement::TransactionState;

Hash32 hash(std::uint8_t n) {
    Hash32 out;
    out.data()[31] = n;
    return out;
}

TransactionRecord record(std::uint64_t nonce, const std::string& id) {
    TransactionRecord out;
    out.instruction = {id, "claim", {}, {1, 2, 3}};
    out.nonce = nonce;
    out.gas_limit = 21000;
    out.versions.push_back({hash(static_cast<std::uint8_t>(nonce)),
                            {9, 9},
                            ledger::eth::U256{100},
                            ledger::eth::U256{2},
                            1234});
    return out;
}

}  // namespace

TEST_CASE("settlement_store: one intent per nonce, one nonce per intent") {
    const tests::TempFolder folder;
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    SettlementStore store(**database);
    CHECK_FALSE(store.next_nonce()->has_value());
    REQUIRE(store.insert(record(5, "a"), {}, 1));
    CHECK(**store.next_nonce() == 6);
    CHECK(store.insert(record(5, "b"), {}, 1).error().code() ==
          ErrorCode::exists_with_different_body);
    CHECK(store.insert(record(6, "a"), {}, 1).error().code() ==
          ErrorCode::exists_with_different_body);
    CHECK_FALSE(store.find("b")->has_value());
    REQUIRE(store.find("a")->has_value());
    CHECK((*store.find("a"))->versions.size() == 1);
}

TEST_CASE("settlement_store: a voucher is settled by one transaction only") {
    const tests::TempFolder folder;
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    SettlementStore store(**database);
    const SettlementItem item{"claim", hash(1), 7};
    REQUIRE(store.insert(record(0, "a"), {item}, 1));
    REQUIRE((*database)->begin());
    CHECK(store.insert(record(1, "b"), {{"claim", hash(2), 7}, item}, 1).error().code() ==
          ErrorCode::exists_with_different_body);
    (*database)->rollback();
    CHECK(*store.bound_items() == std::set<SettlementItem>{item});
    REQUIRE(store.release(0));
    CHECK(store.bound_items()->empty());
    REQUIRE(store.insert(record(1, "b"), {item}, 1));
    CHECK(*store.items_of(1) == std::vector<SettlementItem>{item});
}

TEST_CASE("settlement_store: items of what ended without success are freed, and no others") {
    const tests::TempFolder folder;
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    SettlementStore store(**database);
    const auto add = [&](std::uint64_t nonce, TransactionState state, int succeeded) {
        TransactionRecord added = record(nonce, std::to_string(nonce));
        added.state = state;
        if (succeeded >= 0) added.mined.emplace().succeeded = succeeded == 1;
        REQUIRE(store.insert(added, {{"claim", hash(1), nonce}}, 1));
    };
    add(0, TransactionState::kFinal, 0);   // reverted
    add(1, TransactionState::kFinal, -1);  // lost its nonce
    add(2, TransactionState::kFinal, 1);
    add(3, TransactionState::kMined, 0);  // may still go away
    add(4, TransactionState::kBroadcast, -1);
    REQUIRE(store.release_failed());
    std::set<SettlementItem> left;
    for (const std::uint64_t nonce : {2U, 3U, 4U})
        left.insert({"claim", hash(1), nonce});
    CHECK(*store.bound_items() == left);
}

TEST_CASE("settlement_store: a record comes back as it was, and leaves when it is final") {
    const tests::TempFolder folder;
    const auto path = folder.file("market.db");
    TransactionRecord kept = record(3, "a");
    {
        auto database = Database::open(path);
        REQUIRE(database);
        SettlementStore store(**database);
        REQUIRE(store.insert(kept, {}, 1));
        kept.state = TransactionState::kMined;
        kept.versions.push_back(
            {hash(77), {8}, ledger::eth::U256{~0ULL}, ledger::eth::U256{3}, 99});
        kept.mined = MinedAt{hash(77), 12, hash(13), true, 20000};
        kept.last_sent_ms = 55;
        REQUIRE(store.update(kept));
    }
    auto database = Database::open(path);
    REQUIRE(database);
    SettlementStore store(**database);
    const auto alive = store.load_alive();
    REQUIRE(alive);
    REQUIRE(alive->size() == 1);
    const TransactionRecord& read = alive->front();
    CHECK(read.instruction.id == "a");
    CHECK(read.instruction.data == kept.instruction.data);
    CHECK(read.state == TransactionState::kMined);
    REQUIRE(read.versions.size() == 2);
    CHECK(read.versions[1].hash == hash(77));
    CHECK(read.versions[1].raw == kept.versions[1].raw);
    CHECK(read.versions[1].max_fee_per_gas == ledger::eth::U256{~0ULL});
    CHECK(read.mined == kept.mined);
    CHECK(read.last_sent_ms == 55);
    kept.state = TransactionState::kFinal;
    REQUIRE(store.update(kept));
    CHECK(store.load_alive()->empty());
    CHECK(store.list(0, 9)->size() == 1);
}

TEST_CASE("settlement_store: only transactions that open leases here are our own opens") {
    const tests::TempFolder folder;
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    SettlementStore store(**database);
    REQUIRE(store.insert(record(1, "claim"), {}, 1));
    TransactionRecord open = record(2, "open");
    open.instruction.kind = "open";
    open.versions.push_back(open.versions.front());
    open.versions.back().hash = hash(77);  // bumped
    REQUIRE(store.insert(open, {}, 1));
    CHECK(store.own_opens_among({})->empty());
    CHECK(*store.own_opens_among({hash(1), hash(2), hash(3), hash(77)}) ==
          std::set<Hash32>{hash(2), hash(77)});
}

TEST_CASE("settlement_store: a claim by the worker alone waits until it is gone") {
    const tests::TempFolder folder;
    using ledger::settlement::ClaimedAlone;
    const ClaimedAlone first{hash(1), hash(2), 10, 100, 1'000};
    const ClaimedAlone higher{hash(1), hash(3), 20, 200, 2'000};
    const ClaimedAlone other{hash(4), hash(5), 1, 1, 1};
    {
        auto database = Database::open(folder.file("market.db"));
        REQUIRE(database);
        SettlementStore store(**database);
        REQUIRE(store.apply({{hash(1), first}, {hash(4), other}, {hash(1), higher}}));
        REQUIRE(store.apply({{hash(4), std::nullopt}, {hash(9), std::nullopt}}));
    }
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    CHECK(*SettlementStore(**database).lone_claims() == std::vector<ClaimedAlone>{higher});
}

}  // namespace marketplace::storage
