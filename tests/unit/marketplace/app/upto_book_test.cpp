// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/upto_book.hpp"

#include "ledger/eth/upto_permit.hpp"
#include "marketplace/storage/settlement_store.hpp"
#include "tests/support/temp_database.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <optional>

using namespace marketplace;
using ledger::base::ErrorCode;
using ledger::base::Result;
using storage::UptoState;

namespace {

constexpr std::uint64_t kNowS = 1'800'000'000;

class StepClock final : public ledger::base::Clock {
 public:
    [[nodiscard]] ledger::base::TimeMs now_ms() const override { return now.fetch_add(1); }
    mutable std::atomic<ledger::base::TimeMs> now{kNowS * 1000};
};

api::UptoPayment payment(std::uint8_t payer, std::uint64_t nonce) {
    api::UptoPayment out;
    out.permit.payer.data()[19] = payer;
    out.permit.nonce = nonce;
    out.permit.amount_max = 5000U;
    out.permit.deadline_s = kNowS + 1800;
    out.permit.spender = ledger::eth::kUptoProxy;
    return out;
}

/// A book on a disk of its own, which can fall and come back.
struct Shelf {
    Shelf() { open(); }
    void open() {
        database = std::move(storage::Database::open(folder.file("market.db")).value());
        reads.emplace(
            storage::Database::open(folder.file("market.db"), storage::Database::Mode::kReadOnly)
                .value());
        engine.emplace(engine::EngineConfig(), *database, clock, 16U);
        REQUIRE(engine->load([](const auto&, auto) {}));
        engine->start();
        book.emplace(*engine, *reads, 2U);
        REQUIRE(book->load(clock.now_ms() / 1000));
    }
    void fall_and_come_back() {
        book.reset();
        engine.reset();
        reads.reset();
        database.reset();
        open();
    }
    void write(const std::function<Result<void>(storage::Database&)>& change) {
        REQUIRE(engine->transact({}, change));
    }
    /// What was heard of it meanwhile: null, or the transaction.
    std::shared_ptr<std::optional<Result<domain::Hash32>>> charge(const api::UptoPayment& paid,
                                                                  std::uint64_t atoms,
                                                                  api::Answer answer) {
        auto heard = std::make_shared<std::optional<Result<domain::Hash32>>>();
        std::deque<app::PaymentDesk::Charge> charges;
        charges.push_back(
            {paid, atoms, answer, [heard](const Result<domain::Hash32>& r) { *heard = r; }});
        REQUIRE(book->keep(std::move(charges), 1U));
        return heard;
    }
    std::optional<UptoState> state(const api::UptoPayment& paid) {
        return reads->with([&](storage::Database& db) -> std::optional<UptoState> {
            const auto row = storage::UptoStore(db).find(api::name_of(paid));
            REQUIRE(row);
            return *row ? std::optional((*row)->state) : std::nullopt;
        });
    }
    ErrorCode refusal(const api::UptoPayment& paid) {
        const auto checked = book->check(paid);
        REQUIRE_FALSE(checked);
        return checked.error().code();
    }
    /// Its transaction, final.
    void bind(const api::UptoPayment& paid, bool succeeded) {
        ledger::settlement::TransactionRecord record;
        record.instruction = {"upto-1", "upto", ledger::eth::kUptoProxy, {1}};
        record.nonce = 1;
        record.state = ledger::settlement::TransactionState::kFinal;
        record.versions.emplace_back();
        record.mined.emplace();
        record.mined->succeeded = succeeded;
        record.mined->transaction_hash.data()[0] = 9;
        write([&](storage::Database& db) {
            return storage::SettlementStore(db).insert(
                record, {{storage::UptoStore::kItem, api::name_of(paid), 0}}, 1);
        });
    }

    tests::TempFolder folder;
    StepClock clock;
    std::unique_ptr<storage::Database> database;
    std::optional<app::ReadStore> reads;
    std::optional<app::EngineThread> engine;
    std::optional<app::UptoBook> book;
};

}  // namespace

TEST_CASE("upto_book: a payment serves one call, also after a fall") {
    Shelf shelf;
    const auto one = payment(1, 7);
    REQUIRE(shelf.book->check(one));
    REQUIRE(shelf.book->reserve(one));
    CHECK(shelf.refusal(one) == ErrorCode::nonce_used);
    CHECK(shelf.book->reserve(one).error().code() == ErrorCode::nonce_used);
    auto in_other_form = one;
    in_other_form.signature.data()[0] = 1;
    CHECK(shelf.refusal(in_other_form) == ErrorCode::nonce_used);
    shelf.fall_and_come_back();
    CHECK(shelf.state(one) == UptoState::kFree);
    CHECK(shelf.refusal(one) == ErrorCode::nonce_used);
    CHECK(shelf.book->owed().empty());
    CHECK(shelf.book->check(payment(1, 8)));
    CHECK(shelf.book->check(payment(2, 7)));
}

TEST_CASE("upto_book: unpaid calls of one payer are few, and lost ones count among them") {
    Shelf shelf;
    const auto first = payment(1, 1);
    const auto second = payment(1, 2);
    REQUIRE(shelf.book->reserve(first));
    REQUIRE(shelf.book->reserve(second));
    CHECK(shelf.refusal(payment(1, 3)) == ErrorCode::rate_limited);
    CHECK(shelf.book->check(payment(2, 3)));
    // What is in a block is paid, as far as this goes.
    shelf.charge(first, 400, api::Answer::kGiven);
    CHECK(shelf.refusal(payment(1, 3)) == ErrorCode::rate_limited);
    shelf.book->find(api::name_of(first))->is_mined = true;
    CHECK(shelf.book->check(payment(1, 3)));
    shelf.charge(second, 0, api::Answer::kGiven);
    CHECK(shelf.state(second) == UptoState::kFree);
    shelf.book->find(api::name_of(first))->is_mined = false;
    REQUIRE(shelf.book->end(api::name_of(first), UptoState::kLost));
    REQUIRE(shelf.book->reserve(payment(1, 3)));
    CHECK(shelf.refusal(payment(1, 4)) == ErrorCode::rate_limited);
    shelf.fall_and_come_back();
    REQUIRE(shelf.book->reserve(payment(1, 4)));
    CHECK(shelf.refusal(payment(1, 5)) == ErrorCode::rate_limited);
    // A week after their deadline they are forgotten.
    const std::uint64_t deadline_s = first.permit.deadline_s;
    REQUIRE(shelf.book->forget(deadline_s + app::UptoBook::kRememberedS));
    CHECK(shelf.refusal(first) == ErrorCode::nonce_used);
    REQUIRE(shelf.book->forget(deadline_s + app::UptoBook::kRememberedS + 1));
    CHECK(shelf.book->check(first));
}

TEST_CASE("upto_book: what is owed for an answer that was given outlives a fall") {
    Shelf shelf;
    const auto given = payment(1, 1);
    const auto held_back = payment(2, 1);
    REQUIRE(shelf.book->reserve(given));
    REQUIRE(shelf.book->reserve(held_back));
    const auto heard = shelf.charge(held_back, 300, api::Answer::kHeldBack);
    shelf.charge(given, 400, api::Answer::kGiven);
    CHECK_FALSE(heard->has_value());
    CHECK(shelf.book->owed().size() == 2);
    const domain::Bytes call = shelf.book->find(api::name_of(given))->row.call;
    CHECK(call == ledger::eth::encode_upto_settle(given.permit, 400U, given.signature));
    CHECK(shelf.book->find_call(call) == shelf.book->find(api::name_of(given)));
    shelf.fall_and_come_back();
    REQUIRE(shelf.book->owed() == std::vector<domain::Hash32>{api::name_of(given)});
    CHECK(shelf.book->find(api::name_of(given))->row.call == call);
    CHECK(shelf.book->find(api::name_of(given))->row.atoms == 400);
    // Nobody got that answer, and nothing was sent.
    CHECK(shelf.state(held_back) == UptoState::kFree);
}

TEST_CASE("upto_book: what is final is paid, whoever saw it") {
    for (const api::Answer answer : {api::Answer::kGiven, api::Answer::kHeldBack}) {
        Shelf shelf;
        const auto one = payment(1, 1);
        REQUIRE(shelf.book->reserve(one));
        shelf.charge(one, 400, answer);
        shelf.bind(one, true);
        shelf.fall_and_come_back();
        CHECK(shelf.state(one) == UptoState::kPaid);
        CHECK(shelf.book->owed().empty());
        const auto row = shelf.reads->with(
            [&](storage::Database& db) { return storage::UptoStore(db).find(api::name_of(one)); });
        REQUIRE(row.value()->transaction);
        CHECK(row.value()->transaction->data()[0] == 9);
    }
}

TEST_CASE("upto_book: a failed transaction pays nothing") {
    Shelf shelf;
    const auto one = payment(1, 1);
    REQUIRE(shelf.book->reserve(one));
    shelf.charge(one, 400, api::Answer::kGiven);
    shelf.bind(one, false);
    shelf.fall_and_come_back();
    CHECK(shelf.state(one) == UptoState::kOwed);
    CHECK(shelf.book->owed().size() == 1);
}

TEST_CASE("upto_book: who waits is answered when nothing more comes") {
    Shelf shelf;
    const auto one = payment(1, 1);
    REQUIRE(shelf.book->reserve(one));
    const auto heard = shelf.charge(one, 400, api::Answer::kHeldBack);
    shelf.book->refuse_all(ledger::base::Error(ErrorCode::cancelled));
    REQUIRE(heard->has_value());
    CHECK((*heard)->error().code() == ErrorCode::cancelled);
}
