// SPDX-License-Identifier: Apache-2.0
#include "ledger/books/books.hpp"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <map>
#include <vector>

namespace {

using ledger::base::Address;
using ledger::base::Hash32;
using ledger::base::Money;
using ledger::books::AccountKind;
using ledger::books::Books;
using ledger::books::Entry;

/// Thirty lines of obvious arithmetic: what the books must agree with.
struct Model {
    std::map<int, std::int64_t> available, held, credit;
    std::map<int, std::pair<int, std::int64_t>> holds;  // hold → owner, left
    std::int64_t fees = 0;
    std::int64_t outside = 0;

    bool deposit(int who, std::int64_t n) {
        available[who] += n;
        outside -= n;
        return true;
    }
    bool withdraw(int who, std::int64_t n) {
        if (available[who] < n) return false;
        available[who] -= n;
        outside += n;
        return true;
    }
    bool reserve(int hold, int who, std::int64_t n) {
        if (holds.contains(hold) && holds[hold].first != who) return false;
        if (available[who] < n) return false;
        available[who] -= n;
        held[who] += n;
        holds[hold] = {who, (holds.contains(hold) ? holds[hold].second : 0) + n};
        return true;
    }
    bool take(int hold, std::int64_t n) {
        if (!holds.contains(hold) || holds[hold].second < n) return false;
        held[holds[hold].first] -= n;
        return true;
    }
    void drop(int hold, std::int64_t n) {
        holds[hold].second -= n;
        if (holds[hold].second == 0) holds.erase(hold);
    }
    bool capture(int hold, int payee, std::int64_t gross, std::int64_t fee) {
        if (fee > gross || !take(hold, gross)) return false;
        credit[payee] += gross - fee;
        fees += fee;
        drop(hold, gross);
        return true;
    }
    bool release(int hold, std::int64_t n) {
        if (!take(hold, n)) return false;
        available[holds[hold].first] += n;
        drop(hold, n);
        return true;
    }
    bool sweep(int who, std::int64_t n) {
        if (credit[who] < n) return false;
        credit[who] -= n;
        outside += n;
        return true;
    }
};

Address account(int number) {
    Address out;
    out.data()[19] = static_cast<std::uint8_t>(number + 1);
    return out;
}
Hash32 hold_id(int number) {
    Hash32 out;
    out.data()[31] = static_cast<std::uint8_t>(number + 1);
    return out;
}

struct Step {
    int what, who, hold;
    std::int64_t amount, fee;
};

}  // namespace

TEST_CASE("books: agree with a naive model under random commands, and replay to the same hash") {
    const bool holds = rc::check([] {
        Books books;
        Books replayed;
        Model model;
        const auto steps = *rc::gen::container<std::vector<Step>>(rc::gen::construct<Step>(
            rc::gen::inRange(0, 6), rc::gen::inRange(0, 3), rc::gen::inRange(0, 4),
            rc::gen::inRange<std::int64_t>(1, 50), rc::gen::inRange<std::int64_t>(0, 20)));
        for (const Step& step : steps) {
            const ledger::books::Cause cause{7, Hash32()};
            const Money amount(step.amount);
            ledger::base::Result<Entry> entry = ledger::base::fail({});
            bool expected = false;
            switch (step.what) {
                case 0:
                    expected = model.deposit(step.who, step.amount);
                    entry = books.deposit(account(step.who), amount, cause);
                    break;
                case 1:
                    expected = model.withdraw(step.who, step.amount);
                    entry = books.withdraw(account(step.who), amount, cause);
                    break;
                case 2:
                    expected = model.reserve(step.hold, step.who, step.amount);
                    entry = books.reserve(hold_id(step.hold), account(step.who), amount, cause);
                    break;
                case 3:
                    expected = model.capture(step.hold, step.who, step.amount, step.fee);
                    entry = books.capture(hold_id(step.hold), account(step.who), amount,
                                          Money(step.fee), cause);
                    break;
                case 4:
                    expected = model.release(step.hold, step.amount);
                    entry = books.release(hold_id(step.hold), amount, cause);
                    break;
                default:
                    expected = model.sweep(step.who, step.amount);
                    entry = books.sweep(account(step.who), amount, cause);
            }
            RC_ASSERT(entry.has_value() == expected);
            if (entry) RC_ASSERT(replayed.replay(*entry).has_value());
            RC_ASSERT(!books.find_violation());
            for (int who = 0; who < 3; ++who) {
                RC_ASSERT(books.available(account(who)) == Money(model.available[who]));
                RC_ASSERT(books.held(account(who)) == Money(model.held[who]));
                RC_ASSERT(books.credit(account(who)) == Money(model.credit[who]));
            }
            RC_ASSERT(books.balance({Address(), AccountKind::kFees}) == Money(model.fees));
            RC_ASSERT(books.balance({Address(), AccountKind::kChain}) == Money(model.outside));
        }
        RC_ASSERT(replayed.journal_hash() == books.journal_hash());
        RC_ASSERT(replayed.accounts() == books.accounts());
    });
    CHECK(holds);
}
