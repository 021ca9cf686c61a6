// SPDX-License-Identifier: Apache-2.0
// Multi-attribute match and replace: a bid looks for the best of N live asks, the winner leaves the
// book and a fresh ask takes its place, so that N stays. One step in 16 is a gang of 2 to 4 hosts,
// one in 4 carries lists, runtimes, GPU counts and exclusions, one in 64 asks for what nobody has.
// Asks and bids come from tests/support/asks.hpp (seeded); bids are compiled (names to numbers)
// before the clock starts, as they are once when a job is posted.
//
// Limit program: the same bids against a plain scan of all rows (`first_mismatch`), whose winners
// must be the same; a run whose winners differ is not a benchmark and ends with 1.
#include "tests/bench/report.hpp"
#include "tests/support/asks.hpp"

#include <fmt/core.h>

#include <chrono>
#include <cstdlib>
#include <numeric>

namespace {

using Clock = std::chrono::steady_clock;
using tests::Crowd;
using tests::ListedAsk;
namespace mm = marketplace::matching;

constexpr std::size_t kReplacements = 100'000;
constexpr std::size_t kChecked = 60;

struct Step {
    Crowd::Bid bid;
    mm::Query query;
};

struct Arena {
    std::vector<ListedAsk> asks;
    mm::OrderBook book;
    std::vector<Step> steps;
    std::vector<mm::AskIndex> store;  // asks not in the book
    std::size_t next = 0;             // of the store
    std::uint64_t price_seed = 88172645463325252ULL;
};

/// `count` live asks, as many fresh ones in store, and the bids.
Arena make_arena(std::size_t count, std::size_t steps) {
    Crowd crowd(7, {});
    Arena out;
    for (std::size_t i = 0; i < count + kReplacements; ++i) {
        out.asks.push_back(crowd.ask(i + 1));
        out.asks.back().ask.expiry_s = tests::kStartS + 1'000'000;
        if (i >= count) {
            out.store.push_back(static_cast<mm::AskIndex>(i));
            continue;
        }
        out.asks.back().listed = true;
        out.book.add(static_cast<mm::AskIndex>(i), out.asks[i].ask, out.asks[i].resource,
                     out.asks[i].state);
    }
    for (std::size_t i = 0; i < steps; ++i) {
        Crowd::Bid bid = crowd.bid(i + 1);
        if (i % 16 == 0) bid.gang = 2 + crowd.below(3);
        mm::Query query = out.book.compile(bid.want(), bid.min_reliability_bp);
        out.steps.push_back({std::move(bid), std::move(query)});
    }
    return out;
}

/// Winners of the book beside those of the scan, on the arena as it stands.
bool same_winners(Arena& arena) {
    for (std::size_t i = 0; i < kChecked; ++i) {
        const Step& step = arena.steps[i * 13 % arena.steps.size()];
        if (step.bid.gang > 1) {
            if (arena.book.best_gang(step.query, step.bid.gang) !=
                tests::gang_naively(arena.asks, step.bid))
                return false;
        } else if (arena.book.best(step.query) != tests::best_naively(arena.asks, step.bid)) {
            return false;
        }
    }
    return true;
}

/// The winner goes into the store, the ask that waited longest comes out at a new price.
void replace(Arena& arena, mm::AskIndex winner) {
    arena.book.remove(winner);
    arena.asks[winner].listed = false;
    mm::AskIndex& slot = arena.store[arena.next];
    arena.next = arena.next + 1 == arena.store.size() ? 0 : arena.next + 1;
    ListedAsk& fresh = arena.asks[slot];
    arena.price_seed ^= arena.price_seed << 13U;
    arena.price_seed ^= arena.price_seed >> 7U;
    arena.price_seed ^= arena.price_seed << 17U;
    fresh.ask.price_atoms = 1000 + arena.price_seed % 1'000'000;
    fresh.listed = true;
    arena.book.add(slot, fresh.ask, fresh.resource, fresh.state);
    slot = winner;
}

struct Result {
    double per_second = 0;
    double matched = 0;
    std::vector<double> latencies_us;
};

Result run(Arena& arena, std::size_t rounds, bool with_latencies) {
    Result out;
    std::size_t matched = 0;
    std::size_t steps = 0;
    const auto begin = Clock::now();
    for (std::size_t round = 0; round < rounds; ++round) {
        for (const Step& step : arena.steps) {
            const auto start = with_latencies ? Clock::now() : Clock::time_point{};
            if (step.bid.gang > 1) {
                for (const mm::AskIndex winner : arena.book.best_gang(step.query, step.bid.gang))
                    replace(arena, winner);
            } else if (const auto winner = arena.book.best(step.query)) {
                replace(arena, *winner);
                ++matched;
            }
            ++steps;
            if (!with_latencies) continue;
            const std::chrono::duration<double, std::micro> took = Clock::now() - start;
            out.latencies_us.push_back(took.count());
        }
    }
    const std::chrono::duration<double> passed = Clock::now() - begin;
    out.per_second = static_cast<double>(steps) / passed.count();
    out.matched = static_cast<double>(matched) / static_cast<double>(steps);
    return out;
}

double percentile(std::vector<double>& values, double part) {
    const auto at = static_cast<std::size_t>(part * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at),
                     values.end());
    return values[at];
}

/// The scan: pairs tested per second, and so bids answered per second.
double scan_rate(const Arena& arena) {
    std::size_t found = 0;
    const auto begin = Clock::now();
    constexpr std::size_t kBids = 20;
    for (std::size_t i = 1; i <= kBids; ++i)
        found += tests::best_naively(arena.asks, arena.steps[i].bid).has_value() ? 1U : 0U;
    const std::chrono::duration<double> passed = Clock::now() - begin;
    if (found > kBids) std::abort();  // keeps the result alive
    return static_cast<double>(kBids) / passed.count();
}

}  // namespace

int main() {
    bench::Report report("matching");
    Arena small = make_arena(100'000, 50'000);
    if (!same_winners(small)) {
        fmt::print(stderr, "matching: the book's winners differ from the scan's\n");
        return 1;
    }
    const double scan = scan_rate(small);
    report.metric("scan_bids_per_s", scan);
    (void)run(small, 1, false);  // warm
    std::vector<double> rates;
    for (int i = 0; i < 7; ++i)
        rates.push_back(run(small, 4, false).per_second);
    const double rate = bench::median(rates);
    Result timed = run(small, 4, true);
    if (!same_winners(small)) {
        fmt::print(stderr, "matching: winners differ after the run\n");
        return 1;
    }
    Arena large = make_arena(1'000'000, 50'000);
    (void)run(large, 1, false);
    std::vector<double> large_rates;
    for (int i = 0; i < 5; ++i)
        large_rates.push_back(run(large, 4, false).per_second);
    const double large_rate = bench::median(large_rates);
    const double bytes =
        static_cast<double>(large.book.memory_bytes()) / static_cast<double>(large.book.size());
    report.metric("matched_share", timed.matched);
    report.metric("ratio_to_scan", rate / scan);
    report.metric("p50_us", percentile(timed.latencies_us, 0.5));
    report.metric("rate_1m_per_s", large_rate);
    using bench::Better;
    report.goal("match_and_replace_100k", rate, 2'500'000, "per second", Better::kHigher);
    report.goal("p99", percentile(timed.latencies_us, 0.99), 2, "us", Better::kLower);
    report.goal("p99.9", percentile(timed.latencies_us, 0.999), 10, "us", Better::kLower);
    report.goal("rate_1m_of_100k", large_rate / rate, 0.35, "ratio", Better::kHigher);
    report.goal("book_bytes_per_ask", bytes, 256, "bytes", Better::kLower);
    fmt::print("{}\n", report.json());
    return 0;
}
