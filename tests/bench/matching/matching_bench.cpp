// SPDX-License-Identifier: Apache-2.0
// Multi-attribute match and replace: a bid looks for the best of N live asks, the winner leaves the
// book and a fresh ask takes its place, so that N stays. Asks and bids are those of
// tests/support/asks.hpp (seeded): ten GPU models, eight regions, all order classes. One step in 16
// is a gang of 2 to 4 hosts; one bid in four carries rare demands (machine, lists, slices, windows,
// ramps); one worker in eight has promised some of its time, and one match in 16 is a promise: the
// ask stays, its worker's calendar is held, and the oldest such promise is given back.
//
// `match_compiled` takes bids whose names are numbers already, as the engine's waiting jobs are;
// `match_from_bid` compiles each bid in the loop. In both a fresh ask is taken as it is posted:
// names and accounts are looked up inside the loop. Rates are per second of CPU time of the one
// thread; latencies are wall time, with whatever the machine's other users did to them.
//
// Limit program, in turns with ours: what no book can avoid, one row read in the front and one
// row of the same size written at a random place of N, and its place noted. Winners are compared
// with a scan of all asks by `first_mismatch`, before and after; other winners end the run with 1.
#include "ledger/base/check.hpp"
#include "tests/bench/cpu.hpp"
#include "tests/bench/report.hpp"
#include "tests/support/asks.hpp"

#include <fmt/core.h>

#include <cstring>
#include <deque>
#include <unordered_map>

namespace {

using tests::Crowd;
using tests::CrowdOptions;
using tests::ListedAsk;
namespace mm = marketplace::matching;

constexpr std::uint64_t kSeed = 7;
constexpr std::size_t kSteps = 10'000;  // of one round
constexpr std::size_t kRounds = 8;      // made at a time, before the clock starts
constexpr mm::TimeMs kNowMs = tests::kStartS * 1000;

struct Step {
    Crowd::Bid bid;
    mm::Query query;
};

struct Arena {
    explicit Arena(CrowdOptions options) : crowd(kSeed, options) {}
    Crowd crowd;
    std::vector<ListedAsk> asks;
    mm::OrderBook book;
    std::unordered_map<ledger::base::Address, mm::Calendar> calendars;
    std::vector<Step> steps;
    std::size_t next_step = 0;
    std::size_t fresh = 0;  // next ask of `asks` to come into the book
    std::deque<ledger::base::Address> promised;

    void post(std::size_t index) {
        ListedAsk& ask = asks[index];
        ask.listed = true;
        book.add(static_cast<mm::AskIndex>(index), ask.ask, ask.resource, ask.state);
    }
};

void make_asks(Arena& arena, std::size_t count) {
    arena.asks.reserve(arena.asks.size() + count);
    for (std::size_t i = 0; i < count; ++i) {
        arena.asks.push_back(arena.crowd.ask(arena.asks.size() + 1));
        arena.asks.back().ask.expiry_s = tests::kStartS + 1'000'000;
    }
}

/// The winner leaves, the next fresh ask comes.
void replace(Arena& arena, mm::AskIndex winner) {
    arena.book.remove(winner);
    arena.asks[winner].listed = false;
    if (arena.fresh < arena.asks.size()) arena.post(arena.fresh++);
}

/// Bids for some rounds, and the asks that will take the places of winners and of those that
/// expire.
void make_steps(Arena& arena, std::size_t steps) {
    arena.fresh = arena.asks.size();
    make_asks(arena, steps * 9 / 4);
    arena.steps.clear();
    arena.next_step = 0;
    for (std::size_t i = 0; i < steps; ++i) {
        Step step;
        step.bid = arena.crowd.bid(i + 1);
        if (i % 16 == 0) step.bid.gang = 2 + arena.crowd.below(3);
        step.query = arena.book.compile(step.bid.want());
        arena.steps.push_back(std::move(step));
    }
}

/// As many asks expire, and are replaced, as bids are answered in a round: what nobody wants does
/// not pile up for ever. Not timed.
void expire(Arena& arena) {
    for (std::size_t expired = 0; expired < kSteps;) {
        const auto index = static_cast<mm::AskIndex>(arena.crowd.below(arena.fresh));
        if (!arena.asks[index].listed) continue;
        replace(arena, index);
        ++expired;
    }
}

void link_calendars(Arena& arena) {
    for (ListedAsk& ask : arena.asks) {
        const auto calendar = arena.calendars.find(ask.resource.worker);
        if (calendar != arena.calendars.end()) ask.calendar = &calendar->second;
    }
}

Arena make_arena(std::size_t count, CrowdOptions options) {
    Arena arena(options);
    arena.book.advance(kNowMs);
    make_asks(arena, count);
    for (std::size_t i = 0; i < count; ++i) {
        ListedAsk& ask = arena.asks[i];
        arena.post(i);
        if (i % 8 != 0) continue;
        mm::Calendar& calendar = arena.calendars[ask.resource.worker];
        const mm::TimeMs from = kNowMs + arena.crowd.below(4) * 7'000'000;
        const mm::TimeMs until = from + 1'000'000 + arena.crowd.below(20'000'000);
        if (calendar.is_free(from, until)) calendar.hold(from, until);
        arena.book.set_calendar(ask.resource.worker, &calendar, kNowMs);
    }
    return arena;
}

/// Winners of the book beside those of the scan, on the arena as it stands.
bool same_winners(Arena& arena, std::size_t checks) {
    link_calendars(arena);  // workers may have promised time since their asks were made
    for (std::size_t i = 0; i < checks; ++i) {
        const Step& step = arena.steps[i * 13 % arena.steps.size()];
        const auto fitting = tests::all_naively(arena.asks, step.bid);
        const mm::Query query = arena.book.compile(step.bid.want());
        const auto best = arena.book.best(query);
        if (best.has_value() == fitting.empty() || (best && *best != fitting[0])) return false;
        if (arena.book.best_gang(query, 3) != tests::gang_naively(arena.asks, fitting, 3))
            return false;
    }
    return true;
}

/// The winner stays and its worker is promised for the window; the oldest promise ends.
void promise(Arena& arena, mm::AskIndex winner, const mm::Query& query) {
    const auto set = [&arena](const ledger::base::Address& worker, mm::Calendar calendar) {
        mm::Calendar& own = arena.calendars[worker];
        own = std::move(calendar);
        arena.book.set_calendar(worker, &own, kNowMs);
    };
    const auto worker = arena.asks[winner].resource.worker;
    mm::Calendar held = arena.calendars[worker];
    if (query.exclusive) held.hold(query.window.from, query.window.until);
    set(worker, std::move(held));
    arena.promised.push_back(worker);
    if (arena.promised.size() < 1000) return;
    set(arena.promised.front(), {});
    arena.promised.pop_front();
}

struct Totals {
    std::size_t matched = 0;
    mm::Effort effort;
};

void answer(Arena& arena, const Step& step, const mm::Query& query, std::size_t number,
            Totals& totals) {
    if (step.bid.gang > 1) {
        const auto gang = arena.book.best_gang(query, step.bid.gang, &totals.effort);
        totals.matched += gang.empty() ? 0U : 1U;
        for (const mm::AskIndex winner : gang)
            replace(arena, winner);
    } else if (const auto winner = arena.book.best(query, &totals.effort)) {
        ++totals.matched;
        if (number % 16 == 1)
            promise(arena, *winner, query);
        else
            replace(arena, *winner);
    }
}

enum class Bids : std::uint8_t { kCompiled, kAsPosted };

/// CPU seconds of some steps.
double run(Arena& arena, Bids bids, std::size_t steps, Totals& totals) {
    mm::Query query;
    const std::size_t end = arena.next_step + steps;
    return bench::cpu_seconds_of([&] {
        for (; arena.next_step < end; ++arena.next_step) {
            const Step& step = arena.steps[arena.next_step];
            if (bids == Bids::kAsPosted) arena.book.compile(step.bid.want(), query);
            answer(arena, step, bids == Bids::kAsPosted ? query : step.query, arena.next_step,
                   totals);
        }
    });
}

/// Wall time of each step of a round, in nanoseconds.
void run_timed(Arena& arena, std::vector<std::uint64_t>& latencies) {
    Totals totals;
    for (std::size_t i = 0; i < kSteps; ++i, ++arena.next_step) {
        const Step& step = arena.steps[arena.next_step];
        const std::uint64_t begin = bench::now_ns();
        answer(arena, step, step.query, arena.next_step, totals);
        latencies.push_back(bench::now_ns() - begin);
    }
}

/// The touches no book can avoid.
class Limit {
 public:
    explicit Limit(std::size_t count) : rows_(count), places_(count * 2) {}
    double run(std::size_t steps) {
        bench::Random random(++seed_);
        return bench::cpu_seconds_of([&] {
            for (std::size_t i = 0; i < steps; ++i) {
                const std::uint64_t at = random.next();
                sum_ += rows_[at % kFront].words[0];
                Row& row = rows_[(at >> 8U) % rows_.size()];
                row.words.fill(sum_);
                places_[(at >> 16U) % places_.size()] = static_cast<std::uint32_t>(at);
            }
        });
    }
    [[nodiscard]] std::uint64_t sum() const { return sum_; }

 private:
    static constexpr std::size_t kFront = 80 * 32;
    struct Row {
        std::array<std::uint64_t, 16> words{};
    };
    std::vector<Row> rows_;
    std::vector<std::uint32_t> places_;
    std::uint64_t seed_ = 0;
    std::uint64_t sum_ = 0;
};

struct Figures {
    double compiled = 0;
    double from_bid = 0;
    double limit_ratio = 0;
    Totals totals;
    double steps = 0;
    std::vector<std::uint64_t> latencies;
};

/// Each round by turns: the limit program, compiled bids, bids as posted, compiled with a clock.
Figures measure(Arena& arena, std::size_t count, std::size_t times) {
    Limit limit(count);
    Figures out;
    std::vector<double> compiled;
    std::vector<double> from_bid;
    std::vector<double> ratios;
    const auto steps = static_cast<double>(kSteps);
    for (std::size_t i = 0; i < times; ++i) {
        make_steps(arena, kRounds * kSteps);
        expire(arena);
        (void)run(arena, Bids::kCompiled, 2 * kSteps, out.totals);  // warm
        for (std::size_t round = 2; round + 3 <= kRounds; round += 3) {
            const double bound = limit.run(kSteps);
            expire(arena);
            const double ours = run(arena, Bids::kCompiled, kSteps, out.totals);
            compiled.push_back(steps / ours);
            ratios.push_back(bound / ours);
            expire(arena);
            from_bid.push_back(steps / run(arena, Bids::kAsPosted, kSteps, out.totals));
            expire(arena);
            run_timed(arena, out.latencies);
        }
    }
    MR_CHECK(limit.sum() != 1);
    out.steps = static_cast<double>(times) * 6 * steps;
    out.compiled = bench::median(compiled);
    out.from_bid = bench::median(from_bid);
    out.limit_ratio = bench::median(ratios);
    return out;
}

/// What must not become slow: each with its mean time and the rows it looks at.
void bench_worst(bench::Report& report, const std::string& name, CrowdOptions options,
                 void (*change)(Crowd::Bid&)) {
    constexpr std::size_t kWorstSteps = 5'000;
    Arena arena = make_arena(100'000, options);
    make_steps(arena, kWorstSteps);
    for (Step& step : arena.steps) {
        change(step.bid);
        step.query = arena.book.compile(step.bid.want());
    }
    if (!same_winners(arena, 5)) throw std::runtime_error("winners differ: " + name);
    Totals totals;
    const double seconds = run(arena, Bids::kCompiled, kWorstSteps, totals);
    const auto steps = static_cast<double>(kWorstSteps);
    report.metric("worst_" + name + "_us", seconds / steps * 1e6);
    report.metric("worst_" + name + "_rows", static_cast<double>(totals.effort.rows) / steps);
}

void bench_worst_cases(bench::Report& report) {
    const CrowdOptions usual{.hosts_per_provider = 4, .classes = true};
    CrowdOptions one = usual;
    one.models = one.regions = 1;
    CrowdOptions many = usual;
    many.models = many.regions = 32;
    CrowdOptions ties = usual;
    ties.prices = 4;
    bench_worst(report, "nobody_has_it", usual,
                [](Crowd::Bid& bid) { bid.leg.constraints.min_vram_mib = 1'000'000; });
    bench_worst(report, "nobody_has_all", usual, [](Crowd::Bid& bid) {
        auto& wanted = bid.leg.constraints;
        wanted.min_vram_mib = 131'072;
        wanted.min_gpu_count = 8;
        wanted.min_ram_mib = 262'144;
        wanted.min_cpu_cores = 64;
        wanted.min_disk_mib = 995'000;
        wanted.min_bandwidth_mbps = 9'950;
    });
    bench_worst(report, "one_bucket", one, [](Crowd::Bid&) {});
    bench_worst(report, "wildcards", many, [](Crowd::Bid& bid) {
        bid.leg.constraints.gpu_models.clear();
        bid.leg.constraints.regions.clear();
    });
    bench_worst(report, "price_ties", ties, [](Crowd::Bid&) {});
}

int fail(const char* what) {
    fmt::print(stderr, "matching: {}\n", what);
    return 1;
}

}  // namespace

int main() {
    using bench::Better;
    bench::Report report("matching");
    const CrowdOptions options{.hosts_per_provider = 4, .classes = true};
    const double interruptions = bench::interruptions();
    double rate = 0;
    {
        Arena arena = make_arena(100'000, options);
        make_steps(arena, kSteps);
        if (!same_winners(arena, 40)) return fail("winners differ from the scan's");
        Figures found = measure(arena, 100'000, 4);
        if (!same_winners(arena, 20)) return fail("winners differ after the run");
        if (arena.book.find_violation()) return fail("the book is out of order");
        rate = found.compiled;
        const auto& effort = found.totals.effort;
        report.metric("match_compiled", found.compiled);
        report.metric("match_from_bid", found.from_bid);
        report.metric("limit_ratio", found.limit_ratio);
        report.metric("matched_share", static_cast<double>(found.totals.matched) / found.steps);
        report.metric("rows_per_search", static_cast<double>(effort.rows) / found.steps);
        report.metric("blocks_per_search", static_cast<double>(effort.blocks) / found.steps);
        report.metric("bounds_per_search", static_cast<double>(effort.bounds) / found.steps);
        report.metric("p50_us", bench::percentile(found.latencies, 0.5) / 1000);
        report.goal("match_and_replace_100k", rate, 2'500'000, "per cpu second", Better::kHigher);
        report.goal("p99", bench::percentile(found.latencies, 0.99) / 1000, 2, "us",
                    Better::kLower);
        report.goal("p99.9", bench::percentile(found.latencies, 0.999) / 1000, 10, "us",
                    Better::kLower);
    }
    bench_worst_cases(report);
    {
        Arena arena = make_arena(1'000'000, options);
        make_steps(arena, kSteps);
        if (!same_winners(arena, 5)) return fail("winners differ from the scan's at 1,000,000");
        const Figures found = measure(arena, 1'000'000, 2);
        const double bytes =
            static_cast<double>(arena.book.memory_bytes()) / static_cast<double>(arena.book.size());
        report.metric("match_compiled_1m", found.compiled);
        report.metric("match_from_bid_1m", found.from_bid);
        report.metric("limit_ratio_1m", found.limit_ratio);
        report.goal("rate_1m_of_100k", found.compiled / rate, 0.35, "ratio", Better::kHigher);
        report.goal("bytes_per_resting_ask", bytes, 256, "bytes", Better::kLower);
    }
    report.metric("involuntary_switches", bench::interruptions() - interruptions);
    fmt::print("{}\n", report.json());
    return 0;
}
