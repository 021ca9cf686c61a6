// SPDX-License-Identifier: Apache-2.0
#include "marketplace/matching/bid_book.hpp"

#include "tests/support/asks.hpp"

#include <doctest/doctest.h>

#include <set>

namespace marketplace::matching {

using tests::Crowd;
using tests::ListedAsk;

namespace {

/// Bids in a book and in a list in order of rank.
struct Both {
    BidBook book;
    std::vector<std::vector<Crowd::Bid>> jobs;  // legs, by job
    std::set<BidRank> open;

    JobIndex add(std::vector<Crowd::Bid> legs) {
        const auto job = static_cast<JobIndex>(jobs.size());
        jobs.push_back(std::move(legs));
        open_again(job);
        return job;
    }
    void open_again(JobIndex job) {
        const BidRank rank = rank_of(job, jobs[job].front().leg);
        std::vector<Want> wants;
        for (const Crowd::Bid& leg : jobs[job])
            wants.push_back(leg.want());
        book.add(rank, wants);
        open.insert(rank);
    }
    void remove(JobIndex job) {
        open.erase(rank_of(job, jobs[job].front().leg));
        book.remove(job);
    }
    /// At its ceiling: a ramp may rise to it.
    [[nodiscard]] bool fits(const ListedAsk& ask, JobIndex job) const {
        for (const Crowd::Bid& leg : jobs[job]) {
            Want want = leg.want();
            want.price_atoms = leg.leg.bid.price_ceiling_atoms;
            if (!first_mismatch(ask.offer(), want)) return true;
        }
        return false;
    }
    [[nodiscard]] BidBook::Offered offered(const ListedAsk& ask) const {
        return book.offered(ask.ask, ask.resource, ask.state);
    }
};

}  // namespace

TEST_CASE("bid_book: an empty book answers nothing, unknown jobs are left alone") {
    Both both;
    Crowd crowd(1, {});
    CHECK_FALSE(both.book.next(both.offered(crowd.ask(1)), std::nullopt).has_value());
    both.book.remove(7);
    CHECK_FALSE(both.book.contains(7));
    CHECK(both.book.size() == 0);
    CHECK_FALSE(both.book.find_violation().has_value());
}

TEST_CASE("bid_book: higher price first, then older; a ramp ranks by where it starts") {
    Both both;
    Crowd crowd(1, {.models = 1, .regions = 1, .prices = 1, .constraint_heavy = false});
    ListedAsk ask = crowd.ask(1);
    ask.ask.price_atoms = 500;
    ask.ask.max_units = ask.state.free_units = 1000;
    ask.resource.vram_mib = 1U << 20U;
    ask.resource.max_flops_per_step = 1ULL << 40U;
    ask.state = {1000, 10'000, true};
    Crowd::Bid bid = crowd.bid(1);
    const auto at = [&](std::uint64_t ceiling, std::uint64_t ramp_from) {
        bid.leg.bid.price_ceiling_atoms = ceiling;
        bid.leg.constraints.ramp_from_atoms = ramp_from;
        return both.add({bid});
    };
    const JobIndex low = at(499, 0);
    const JobIndex fair = at(600, 0);
    const JobIndex rising = at(700, 100);
    const JobIndex high = at(800, 0);
    const JobIndex same = at(800, 0);
    std::vector<JobIndex> found;
    std::optional<BidRank> rank;
    while ((rank = both.book.next(both.offered(ask), rank)))
        found.push_back(rank->job);
    CHECK(found == std::vector<JobIndex>{high, same, fair, rising});
    CHECK(both.book.contains(low));
    both.remove(high);
    CHECK(both.book.next(both.offered(ask), std::nullopt) == BidRank{800, same});
    ask.state.available = false;
    CHECK_FALSE(both.book.next(both.offered(ask), std::nullopt).has_value());
}

TEST_CASE("bid_book: never misses a bid that fits, in order of rank, in a moving book") {
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
        CAPTURE(seed);
        Crowd crowd(seed, {.models = 3,
                           .regions = 2,
                           .prices = seed % 2 == 0 ? 20U : 100'000U,
                           .hosts = 200,
                           .serving = true,
                           .classes = true});
        Both both;
        std::uint64_t salt = 0;
        std::size_t answered = 0;
        std::size_t fitting = 0;
        for (int step = 0; step < 1500; ++step) {
            CAPTURE(step);
            for (int i = 0; i < 2; ++i) {
                std::vector<Crowd::Bid> legs{crowd.bid(++salt)};
                if (crowd.below(4) == 0) legs.push_back(crowd.bid(++salt));
                both.add(std::move(legs));
            }
            const auto job = static_cast<JobIndex>(crowd.below(both.jobs.size()));
            if (both.book.contains(job))
                both.remove(job);
            else if (step % 3 == 0)
                both.open_again(job);
            const ListedAsk ask = crowd.ask(++salt);
            const auto offered = both.offered(ask);
            std::optional<BidRank> at;
            for (const BidRank& rank : both.open) {
                if (!both.fits(ask, rank.job)) continue;
                ++fitting;
                // What comes before it is let pass by the filter; it is not passed over.
                while (!at || *at < rank) {
                    const auto next = both.book.next(offered, at);
                    REQUIRE(next.has_value());
                    REQUIRE((!at || *at < *next));
                    REQUIRE(both.open.count(*next) == 1);
                    at = next;
                    ++answered;
                }
                REQUIRE(*at == rank);
            }
            if (step % 64 == 0) REQUIRE(both.book.find_violation().value_or("") == "");
            REQUIRE(both.book.size() == both.open.size());
        }
        CHECK(fitting > 1000);
        CHECK(answered < 2 * fitting);  // a filter that lets all pass is none
        for (JobIndex job = 0; job < both.jobs.size(); ++job)
            if (both.book.contains(job)) both.remove(job);
        CHECK(both.book.find_violation().value_or("") == "");
    }
}

}  // namespace marketplace::matching
