// SPDX-License-Identifier: Apache-2.0
#include "ledger/books/books.hpp"

#include <doctest/doctest.h>

#include <limits>

namespace {

using ledger::base::Address;
using ledger::base::ErrorCode;
using ledger::base::Hash32;
using ledger::base::Money;
using ledger::books::AccountKind;
using ledger::books::Books;
using ledger::books::Entry;
using ledger::books::EntryKind;

Address account(std::uint8_t number) {
    Address out;
    out.data()[19] = number;
    return out;
}
Hash32 id(std::uint8_t number) {
    Hash32 out;
    out.data()[31] = number;
    return out;
}
const ledger::books::Cause kCause{1000, id(99)};
const Address kBuyer = account(1);
const Address kProvider = account(2);

Books funded(std::int64_t atoms) {
    Books books;
    REQUIRE(books.deposit(kBuyer, Money(atoms), kCause));
    return books;
}

}  // namespace

TEST_CASE("books: an amount of zero or below is refused everywhere") {
    Books books = funded(100);
    REQUIRE(books.reserve(id(1), kBuyer, Money(50), kCause));
    const Hash32 before = books.journal_hash();
    for (const std::int64_t atoms : {std::int64_t{0}, std::int64_t{-1}, INT64_MIN}) {
        const Money amount(atoms);
        CHECK(books.deposit(kBuyer, amount, kCause).error().code() == ErrorCode::invalid_quantity);
        CHECK(books.withdraw(kBuyer, amount, kCause).error().code() == ErrorCode::invalid_quantity);
        CHECK(books.reserve(id(1), kBuyer, amount, kCause).error().code() ==
              ErrorCode::invalid_quantity);
        CHECK(books.capture(id(1), kProvider, amount, Money(0), kCause).error().code() ==
              ErrorCode::invalid_quantity);
        CHECK(books.release(id(1), amount, kCause).error().code() == ErrorCode::invalid_quantity);
        CHECK(books.sweep(kProvider, amount, kCause).error().code() == ErrorCode::invalid_quantity);
    }
    CHECK(books.capture(id(1), kProvider, Money(5), Money(6), kCause).error().code() ==
          ErrorCode::invalid_quantity);
    CHECK(books.capture(id(1), kProvider, Money(5), Money(-1), kCause).error().code() ==
          ErrorCode::invalid_quantity);
    CHECK(books.journal_hash() == before);
}

TEST_CASE("books: nothing goes below its floor") {
    Books books = funded(100);
    CHECK(books.withdraw(kBuyer, Money(101), kCause).error().code() ==
          ErrorCode::insufficient_funds);
    CHECK(books.reserve(id(1), kBuyer, Money(101), kCause).error().code() ==
          ErrorCode::insufficient_funds);
    REQUIRE(books.reserve(id(1), kBuyer, Money(60), kCause));
    CHECK(books.reserve(id(2), kBuyer, Money(41), kCause).error().code() ==
          ErrorCode::insufficient_funds);
    CHECK(books.capture(id(1), kProvider, Money(61), Money(0), kCause).error().code() ==
          ErrorCode::insufficient_funds);
    CHECK(books.release(id(1), Money(61), kCause).error().code() == ErrorCode::insufficient_funds);
    CHECK(books.sweep(kProvider, Money(1), kCause).error().code() == ErrorCode::insufficient_funds);
    CHECK(books.available(kBuyer) == Money(40));
    CHECK(books.held(kBuyer) == Money(60));
    CHECK(!books.find_violation());
}

TEST_CASE("books: one hold cannot draw on another") {
    Books books = funded(100);
    REQUIRE(books.reserve(id(1), kBuyer, Money(10), kCause));
    REQUIRE(books.reserve(id(2), kBuyer, Money(90), kCause));
    CHECK(books.capture(id(1), kProvider, Money(11), Money(0), kCause).error().code() ==
          ErrorCode::insufficient_funds);
    CHECK(books.release(id(1), Money(11), kCause).error().code() == ErrorCode::insufficient_funds);
}

TEST_CASE("books: a hold that is not there, or is another's, is refused") {
    Books books = funded(100);
    REQUIRE(books.deposit(kProvider, Money(100), kCause));
    REQUIRE(books.reserve(id(1), kBuyer, Money(10), kCause));
    CHECK(books.capture(id(2), kProvider, Money(1), Money(0), kCause).error().code() ==
          ErrorCode::not_found);
    CHECK(books.release(id(2), Money(1), kCause).error().code() == ErrorCode::not_found);
    CHECK(books.reserve(id(1), kProvider, Money(1), kCause).error().code() == ErrorCode::forbidden);
    CHECK(books.reserve(Hash32(), kBuyer, Money(1), kCause).error().code() ==
          ErrorCode::invalid_field);
}

TEST_CASE("books: sums beyond 64 bits are refused and change nothing") {
    Books books = funded(std::numeric_limits<std::int64_t>::max());
    const Hash32 before = books.journal_hash();
    CHECK(books.deposit(kBuyer, Money(1), kCause).error().code() == ErrorCode::out_of_range);
    CHECK(books.deposit(kProvider, Money(2), kCause).error().code() == ErrorCode::out_of_range);
    CHECK(books.journal_hash() == before);
    CHECK(!books.find_violation());
}

TEST_CASE("books: a lease's money goes from deposit to sweep") {
    Books books = funded(1000);
    REQUIRE(books.reserve(id(1), kBuyer, Money(400), kCause));
    const auto captured = books.capture(id(1), kProvider, Money(300), Money(3), kCause);
    REQUIRE(captured);
    CHECK(captured->postings.size() == 3);
    CHECK(captured->number == 2);
    CHECK(books.credit(kProvider) == Money(297));
    CHECK(books.balance({Address(), AccountKind::kFees}) == Money(3));
    REQUIRE(books.release(id(1), Money(100), kCause));
    CHECK(!books.find_hold(id(1)));
    CHECK(books.available(kBuyer) == Money(700));
    CHECK(books.held(kBuyer) == Money(0));
    REQUIRE(books.sweep(kProvider, Money(297), kCause));
    REQUIRE(books.withdraw(kBuyer, Money(700), kCause));
    CHECK(books.balance({Address(), AccountKind::kChain}) == Money(-3));
    CHECK(books.accounts().size() == 2);
    CHECK(!books.find_violation());
}

TEST_CASE("books: a fee of nothing or of everything makes two postings") {
    Books books = funded(10);
    REQUIRE(books.reserve(id(1), kBuyer, Money(10), kCause));
    CHECK(books.capture(id(1), kProvider, Money(5), Money(0), kCause)->postings.size() == 2);
    CHECK(books.capture(id(1), kProvider, Money(5), Money(5), kCause)->postings.size() == 2);
    CHECK(books.credit(kProvider) == Money(5));
}

TEST_CASE("books: replay refuses what the books would not have made") {
    Books books = funded(100);
    const Entry good = books.reserve(id(1), kBuyer, Money(10), kCause).value();
    const auto fresh = [] { return funded(100); };

    Books same = fresh();
    CHECK(same.replay(good));
    CHECK(same.journal_hash() == books.journal_hash());
    CHECK(same.replay(good).error().code() == ErrorCode::invalid_encoding);  // number

    const auto refuses = [&](auto&& change) {
        Entry bad = good;
        change(bad);
        Books target = fresh();
        CHECK(target.replay(bad).error().code() == ErrorCode::invalid_encoding);
        CHECK(target.entries() == 1);
    };
    refuses([](Entry& e) { e.number = 2; });
    refuses([](Entry& e) { e.kind = EntryKind::kRelease; });
    refuses([](Entry& e) { e.hold = Hash32(); });
    refuses([](Entry& e) { e.postings[1].amount = Money(11); });
    refuses([](Entry& e) { e.postings.pop_back(); });
    refuses([](Entry& e) { e.postings[0].account.owner = kProvider; });
    refuses([](Entry& e) { e.postings[1].account.kind = AccountKind::kFees; });
    refuses([](Entry& e) { e.postings.push_back(e.postings[0]); });
    refuses([](Entry& e) {
        e.postings[0].amount = Money(-101);
        e.postings[1].amount = Money(101);
    });
}

TEST_CASE("journal: entries survive their bytes and other bytes are refused") {
    Books books = funded(100);
    const Entry entry = books.reserve(id(1), kBuyer, Money(10), kCause).value();
    const ledger::base::Bytes bytes = ledger::books::encode_entry(entry);
    CHECK(ledger::books::decode_entry(bytes).value() == entry);
    for (std::size_t size = 0; size < bytes.size(); ++size)
        REQUIRE(!ledger::books::decode_entry(ledger::base::ByteView(bytes).first(size)));
    ledger::base::Bytes longer = bytes;
    longer.push_back(0);
    CHECK(!ledger::books::decode_entry(longer));
    ledger::base::Bytes other = bytes;
    other[16] = 6;  // kind
    CHECK(!ledger::books::decode_entry(other));
}
