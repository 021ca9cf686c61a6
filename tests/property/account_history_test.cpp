// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/account_history.hpp"

#include "marketplace/webhooks/webhook.hpp"
#include "tests/property/duel.hpp"
#include "tests/support/random_commands.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>

/// What accounts are told, against the naivest way to find it out.
namespace tests {
namespace {

namespace api = marketplace::api;
namespace engine = marketplace::engine;
namespace webhooks = marketplace::webhooks;
using api::AccountEvent;
using api::BalanceCause;
using api::EventPlace;

constexpr std::uint64_t kStream = 1500;
constexpr std::uint64_t kStreams = 8;

std::uint64_t first_seed() {
    const char* text = std::getenv("MILLRACE_SEED");
    return text == nullptr ? 1 : std::strtoull(text, nullptr, 10);
}

/// A market under random commands, record by record.
class RandomMarket {
 public:
    explicit RandomMarket(std::uint64_t seed) : random_(seed, {}) {}

    /// The next command's record; empty when it changed nothing.
    std::optional<engine::Record> next() {
        const auto [command, now_ms] = random_.next(duel_.naive());
        REQUIRE_FALSE(duel_.step({command, now_ms}));
        if (!duel_.accepted() || duel_.events().empty()) return std::nullopt;
        return engine::Record{sequence_++, now_ms, {}, command, duel_.events(), {}};
    }
    [[nodiscard]] const engine::Engine& engine() const { return duel_.engine(); }

 private:
    Duel duel_;
    RandomCommands random_;
    std::uint64_t sequence_ = 0;
};

struct Balance {
    std::int64_t available = 0;
    std::int64_t held = 0;
    std::int64_t earned = 0;
};

/// Whether a balance may have moved like this for that reason.
bool agrees(BalanceCause cause, const Balance& before, const Balance& now) {
    const bool held_stays = now.held == before.held;
    const bool earned_stays = now.earned == before.earned;
    switch (cause) {
        case BalanceCause::kDeposit:
            return now.available >= before.available && held_stays && earned_stays;
        case BalanceCause::kWithdrawal:
            return now.available <= before.available && held_stays && earned_stays;
        case BalanceCause::kHold:
            return now.held > before.held && earned_stays &&
                   now.available + now.held == before.available + before.held;
        case BalanceCause::kCharge:  // who pays itself has earned it at the same time
            return now.available == before.available && now.held < before.held &&
                   now.earned >= before.earned;
        case BalanceCause::kEarning:
            return now.available == before.available && held_stays && now.earned >= before.earned;
        case BalanceCause::kRefund:
            return now.available >= before.available && now.held <= before.held && earned_stays;
        case BalanceCause::kNone:
            return false;
    }
    return false;
}

/// All that was ever told, and no bound.
class NaiveHistory {
 public:
    void add(std::vector<AccountEvent> events) {
        for (AccountEvent& event : events)
            all_.push_back(std::move(event));
    }
    [[nodiscard]] bool lost(const std::optional<EventPlace>& place, std::size_t kept) const {
        return all_.size() > kept && (!place || *place < all_[all_.size() - kept - 1].place);
    }
    [[nodiscard]] std::vector<AccountEvent> after(const Address& account,
                                                  const std::optional<EventPlace>& place,
                                                  std::size_t limit) const {
        std::vector<AccountEvent> out;
        for (const AccountEvent& event : all_) {
            const auto to = event.to();
            if (place && event.place <= *place) continue;
            if (std::find(to.begin(), to.end(), account) == to.end()) continue;
            if (out.size() < limit) out.push_back(event);
        }
        return out;
    }
    [[nodiscard]] const std::vector<AccountEvent>& all() const { return all_; }

 private:
    std::vector<AccountEvent> all_;
};

}  // namespace

TEST_CASE("account_events: the cause of every balance agrees with how it moved") {
    MESSAGE("MILLRACE_SEED=", first_seed());
    std::map<BalanceCause, std::uint64_t> seen;
    for (std::uint64_t seed = first_seed(); seed < first_seed() + kStreams; ++seed) {
        CAPTURE(seed);
        RandomMarket market(seed);
        std::map<Address, Balance> balances;
        for (std::uint64_t i = 0; i < kStream; ++i) {
            const auto record = market.next();
            if (!record) continue;
            for (const AccountEvent& event : api::account_events(*record, market.engine())) {
                const auto& known = webhooks::kEventTypes;
                REQUIRE(std::find(known.begin(), known.end(), api::text_of(event).type) !=
                        known.end());
                const auto* change = std::get_if<marketplace::domain::BalanceChanged>(&event.event);
                REQUIRE((change == nullptr) == (event.cause == BalanceCause::kNone));
                if (change == nullptr) continue;
                Balance& before = balances[change->account];
                const Balance now{change->available_atoms, change->held_atoms,
                                  change->earned_atoms};
                CAPTURE(i);
                CAPTURE(std::string(to_string(event.cause)));
                REQUIRE(agrees(event.cause, before, now));
                before = now;
                ++seen[event.cause];
            }
        }
    }
    CHECK(seen.size() == 6);
    for (const auto& [cause, count] : seen)
        CHECK_MESSAGE(count > 10, to_string(cause));
}

TEST_CASE("account_history: every page is what a list of everything has there") {
    MESSAGE("MILLRACE_SEED=", first_seed());
    std::uint64_t pages = 0;
    std::uint64_t lost = 0;
    for (std::uint64_t seed = first_seed(); seed < first_seed() + kStreams; ++seed) {
        CAPTURE(seed);
        std::mt19937_64 dice(seed);
        const std::size_t kept = 20 + dice() % 200;
        RandomMarket market(seed);
        api::AccountHistory history(kept);
        NaiveHistory naive;
        CHECK(history.after(buyer(0), std::nullopt, 5)->events.empty());
        CHECK_FALSE(history.after(buyer(0), EventPlace{0, 0}, 5));
        std::uint64_t last = 0;
        for (std::uint64_t i = 0; i < kStream; ++i) {
            const auto record = market.next();
            if (!record) continue;
            history.add(*record, market.engine());
            naive.add(api::account_events(*record, market.engine()));
            last = record->sequence;
            REQUIRE(history.end() == api::end_of_record(last));
            const Address account = dice() % 2 == 0 ? buyer(dice() % 3) : provider(dice() % 3);
            std::optional<EventPlace> place;
            if (dice() % 8 != 0 && !naive.all().empty()) {
                const std::size_t back = dice() % std::min(naive.all().size(), 2 * kept);
                place = naive.all()[naive.all().size() - 1 - back].place;
                if (dice() % 4 == 0) place = api::end_of_record(place->sequence);
            }
            const std::size_t limit = 1 + dice() % 20;
            const auto page = history.after(account, place, limit);
            REQUIRE(page.has_value() == !naive.lost(place, kept));
            if (!page) {
                ++lost;
                continue;
            }
            ++pages;
            REQUIRE(page->events == naive.after(account, place, limit));
            // Behind the page comes what is left, and nothing else.
            REQUIRE(naive.after(account, page->through, 1) ==
                    (naive.after(account, place, limit + 1).size() > limit
                         ? std::vector{naive.after(account, place, limit + 1).back()}
                         : std::vector<AccountEvent>()));
            CHECK_FALSE(history.after(account, EventPlace{last + 1, 0}, limit));
        }
    }
    CHECK(pages > 1000);
    CHECK(lost > 100);
}

TEST_CASE("account_history: what came before it began is not there") {
    api::AccountHistory history;
    history.begin_at(7);
    CHECK(history.end() == api::end_of_record(6));
    CHECK_FALSE(history.after(buyer(0), std::nullopt, 5));
    CHECK_FALSE(history.after(buyer(0), EventPlace{6, 3}, 5));
    const auto page = history.after(buyer(0), api::end_of_record(6), 5);
    REQUIRE(page);
    CHECK(page->events.empty());
    CHECK(page->through == api::end_of_record(6));
}

TEST_CASE("account_events: a place is read as it is written, and nothing else is") {
    for (const EventPlace& place :
         {EventPlace{0, 0}, EventPlace{7, 2}, api::end_of_record(0), api::end_of_record(7)})
        CHECK(api::parse_event_place(to_string(place)) == place);
    CHECK(to_string(EventPlace{7, 2}) == "7-2");
    CHECK(to_string(api::end_of_record(7)) == "7");
    CHECK(EventPlace{7, 2} < api::end_of_record(7));
    for (const char* text : {"", "-", "x", "7-", "-2", "7-x", "7-2-1", "7 -2", "-7", "7-4294967295",
                             "18446744073709551616", "7-18446744073709551616"})
        CHECK_MESSAGE(!api::parse_event_place(text), text);
}

}  // namespace tests
