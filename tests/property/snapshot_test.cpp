// SPDX-License-Identifier: Apache-2.0
#include "marketplace/engine/snapshot.hpp"

#include "tests/property/duel.hpp"
#include "tests/support/random_commands.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

/// A market that was saved and loaded, however often, goes on as the one that never stopped.
/// MILLRACE_SEED and MILLRACE_COMMANDS as for the oracle.
namespace tests {
namespace {

namespace engine = marketplace::engine;
using engine::view_of;
using ledger::base::Bytes;

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

Bytes bytes_of(const engine::SnapshotView& view) {
    Bytes out;
    engine::write_snapshot(view, duel_config(), [&out](ledger::base::ByteView piece) {
        ledger::base::append(out, piece);
    });
    return out;
}

engine::Snapshot read(const Bytes& bytes) {
    const auto reader = engine::SnapshotReader::open(bytes, duel_config());
    REQUIRE(reader);
    REQUIRE(reader->is_whole());
    auto loaded = reader->engine();
    const std::string why = loaded ? "" : loaded.error().message();
    INFO(why);
    REQUIRE(loaded);
    auto market = reader->market();
    REQUIRE(market);
    auto log = reader->log();
    REQUIRE(log);
    return {reader->records(), reader->last_record(), std::move(*loaded), std::move(*market),
            std::move(*log)};
}

/// The engine with the folds of what it did.
struct Folded {
    engine::Snapshot state{duel_config()};

    /// What the engine answered; a record goes into the folds.
    ledger::base::Result<std::vector<md::Event>> apply(const Duel::Timed& timed) {
        auto events = state.engine.apply(timed.command, timed.now_ms);
        if (!events || events->empty()) return events;
        engine::Record record;
        record.sequence = state.records++;
        record.time_ms = timed.now_ms;
        record.previous = state.last_record;
        record.command = timed.command;
        record.events = *events;
        record.state_hash = state.engine.state_hash();
        const Bytes bytes = encode_record(record);
        state.last_record = engine::record_hash(bytes);
        state.market.add(record);
        state.log.append_data(bytes);
        return events;
    }
    void restart() { state = read(bytes_of(view_of(state))); }
};

void same_reasons(const engine::Engine& a, const engine::Engine& b, md::TimeMs now_ms) {
    a.for_each_job([&](const engine::Job& job) {
        if (job.state != md::JobState::kOpen) return true;
        REQUIRE(a.reasons(job.id, now_ms) == b.reasons(job.id, now_ms));
        md::PostJob post{job.id, job.terms, job.legs, job.delegation, job.delegation_signature};
        post.id = fixed<JobId>(77);
        const auto one = a.quote(post, now_ms);
        const auto other = b.quote(post, now_ms);
        REQUIRE(one.has_value() == other.has_value());
        if (!one) return true;
        REQUIRE(one->matches == other->matches);
        REQUIRE(one->legs == other->legs);
        REQUIRE(one->candidates == other->candidates);
        REQUIRE(one->total_atoms == other->total_atoms);
        REQUIRE(one->worst_case_atoms == other->worst_case_atoms);
        REQUIRE(one->starts_ms == other->starts_ms);
        REQUIRE(one->reasons == other->reasons);
        return true;
    });
}

/// Everything that can be asked of an engine.
void same_answers(const engine::Engine& a, const engine::Engine& b, md::TimeMs now_ms) {
    REQUIRE(a.state_hash() == b.state_hash());
    REQUIRE(a.last_time_ms() == b.last_time_ms());
    std::vector<md::Lease> leases[2];
    std::vector<md::Hash32> asks[2];
    std::vector<JobId> jobs[2];
    const engine::Engine* engines[2] = {&a, &b};
    for (int i = 0; i < 2; ++i) {
        engines[i]->for_each_lease([&](const auto& v) { return leases[i].push_back(v), true; });
        engines[i]->for_each_ask([&](const auto& v) { return asks[i].push_back(v.id), true; });
        engines[i]->for_each_job([&](const auto& v) { return jobs[i].push_back(v.id), true; });
    }
    REQUIRE(leases[0] == leases[1]);
    REQUIRE(asks[0] == asks[1]);
    REQUIRE(jobs[0] == jobs[1]);
    for (const md::Hash32& id : asks[0]) {
        const auto& one = *a.find_ask(id);
        const auto& other = *b.find_ask(id);
        REQUIRE(one.ask == other.ask);
        REQUIRE(one.resource == other.resource);
        REQUIRE(one.units_out == other.units_out);
        REQUIRE(one.open == other.open);
    }
    for (const JobId& id : jobs[0]) {
        const auto& one = *a.find_job(id);
        const auto& other = *b.find_job(id);
        REQUIRE(one.state == other.state);
        REQUIRE(one.reason == other.reason);
        REQUIRE(one.leases == other.leases);
        REQUIRE(one.units_done == other.units_done);
        REQUIRE(one.excluded == other.excluded);
    }
    REQUIRE(a.connected_workers() == b.connected_workers());
    for (const md::Lease& lease : leases[0]) {
        REQUIRE(a.reliability_bp(lease.worker) == b.reliability_bp(lease.worker));
        REQUIRE(a.best_voucher(lease.id) == b.best_voucher(lease.id));
    }
    REQUIRE(a.leases_to_open(1000) == b.leases_to_open(1000));
    REQUIRE(a.leases_to_claim(1000) == b.leases_to_claim(1000));
    REQUIRE(a.leases_to_close(1000) == b.leases_to_close(1000));
    for (std::uint64_t n = 0; n < 4; ++n) {
        for (const md::Address& owner : {buyer(n), provider(n), worker(n)}) {
            REQUIRE(a.balance(owner).available == b.balance(owner).available);
            REQUIRE(a.balance(owner).held == b.balance(owner).held);
            REQUIRE(a.balance(owner).earned == b.balance(owner).earned);
        }
    }
    same_reasons(a, b, now_ms);
}

void same_market_data(const engine::MarketData& a, const engine::MarketData& b, md::TimeMs now_ms) {
    REQUIRE(a.sequence() == b.sequence());
    REQUIRE(a.history().trades() == b.history().trades());
    REQUIRE(a.history().goods() == b.history().goods());
    for (const auto& good : a.history().goods()) {
        for (const auto interval : {engine::Interval::kMinute, engine::Interval::kHour})
            REQUIRE(a.history().candles(good, interval) == b.history().candles(good, interval));
        REQUIRE(a.history().mean_price(good, now_ms) == b.history().mean_price(good, now_ms));
    }
    for (const auto side : {engine::Side::kAsk, engine::Side::kBid})
        REQUIRE(a.book().levels(side, {}, 1000) == b.book().levels(side, {}, 1000));
    REQUIRE(a.book().best_asks({}, 1000) == b.book().best_asks({}, 1000));
    REQUIRE(a.book().best_bids({}, 1000) == b.book().best_bids({}, 1000));
    REQUIRE(a.changes(std::nullopt, 100'000) == b.changes(std::nullopt, 100'000));
}

std::vector<Duel::Timed> random_stream(std::uint64_t seed, std::uint64_t count) {
    Duel duel;
    RandomCommands random(seed, {});
    std::vector<Duel::Timed> out;
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto [command, now_ms] = random.next(duel.naive());
        out.push_back({command, now_ms});
        REQUIRE_FALSE(duel.step(out.back()));
    }
    return out;
}

constexpr std::uint64_t kStream = 500;

/// One for so many commands that the oracle tries: each command here costs as many there.
std::uint64_t streams_of(std::uint64_t commands) {
    return std::max<std::uint64_t>(1, setting("MILLRACE_COMMANDS", 250'000) / commands);
}

}  // namespace

TEST_CASE("snapshot: a market loaded before every command does what the others do") {
    const std::uint64_t first_seed = setting("MILLRACE_SEED", 1);
    const std::uint64_t streams = streams_of(10'000);
    MESSAGE("MILLRACE_SEED=", first_seed, ", ", streams, " streams of ", kStream);
    for (std::uint64_t seed = first_seed; seed < first_seed + streams; ++seed) {
        CAPTURE(seed);
        Folded steady;
        Folded restarted;
        for (const Duel::Timed& timed : random_stream(seed, kStream)) {
            CAPTURE(describe(timed));
            restarted.restart();
            const auto expected = steady.apply(timed);
            const auto got = restarted.apply(timed);
            REQUIRE(expected.has_value() == got.has_value());
            if (expected)
                REQUIRE(*expected == *got);
            else
                REQUIRE(expected.error() == got.error());
            REQUIRE(steady.state.engine.state_hash() == restarted.state.engine.state_hash());
            // Whatever is stored and cannot be asked for.
            REQUIRE(bytes_of(view_of(steady.state)) == bytes_of(view_of(restarted.state)));
            REQUIRE_FALSE(restarted.state.engine.find_violation());
        }
        const md::TimeMs now_ms = steady.state.engine.last_time_ms();
        same_answers(steady.state.engine, restarted.state.engine, now_ms);
        same_market_data(steady.state.market, restarted.state.market, now_ms);
        REQUIRE(steady.state.log.root() == restarted.state.log.root());
    }
}

TEST_CASE("snapshot: from every prefix the tail leads to the same state and answers") {
    const std::uint64_t first_seed = setting("MILLRACE_SEED", 1) + 1'000'000;
    const std::uint64_t streams = streams_of(100'000);
    for (std::uint64_t seed = first_seed; seed < first_seed + streams; ++seed) {
        CAPTURE(seed);
        const auto stream = random_stream(seed, kStream);
        Folded full;
        std::vector<Bytes> at;  // before each command
        std::vector<std::vector<md::Event>> events;
        for (const Duel::Timed& timed : stream) {
            at.push_back(bytes_of(view_of(full.state)));
            events.push_back(full.apply(timed).value_or(std::vector<md::Event>{}));
        }
        const Bytes end = bytes_of(view_of(full.state));
        const md::TimeMs now_ms = full.state.engine.last_time_ms();
        for (std::size_t prefix = 0; prefix < stream.size(); prefix += 1 + prefix % 3) {
            CAPTURE(prefix);
            Folded market{read(at[prefix])};
            REQUIRE(bytes_of(view_of(market.state)) == at[prefix]);
            for (std::size_t i = prefix; i < stream.size(); ++i)
                REQUIRE(market.apply(stream[i]).value_or(std::vector<md::Event>{}) == events[i]);
            REQUIRE(bytes_of(view_of(market.state)) == end);
            if (prefix % 10 != 0) continue;
            same_answers(full.state.engine, market.state.engine, now_ms);
            same_market_data(full.state.market, market.state.market, now_ms);
        }
    }
}

TEST_CASE("snapshot: bytes that were changed are refused or give a market without violation") {
    const std::uint64_t seed = setting("MILLRACE_SEED", 1) + 2'000'000;
    CAPTURE(seed);
    Folded market;
    for (const Duel::Timed& timed : random_stream(seed, 400))
        static_cast<void>(market.apply(timed));
    const Bytes good = bytes_of(view_of(market.state));
    std::mt19937_64 random(seed);
    std::uint64_t refused = 0;
    constexpr std::uint64_t kTries = 2000;
    for (std::uint64_t i = 0; i < kTries; ++i) {
        Bytes bad = good;
        const std::size_t place = random() % bad.size();
        bad[place] = static_cast<std::uint8_t>(bad[place] + 1 + random() % 255);
        if (random() % 4 == 0) bad.resize(random() % bad.size());
        CAPTURE(place);
        const auto reader = engine::SnapshotReader::open(bad, duel_config());
        refused += reader ? 0U : 1U;
        if (!reader) continue;
        REQUIRE_FALSE(reader->is_whole());
        // Without the hash: whoever can write the file can write that too.
        const auto loaded = reader->engine();
        if (loaded) REQUIRE_FALSE(loaded->find_violation());
        static_cast<void>(reader->market());
        static_cast<void>(reader->log());
    }
    CHECK(refused > 0);
}

TEST_CASE("snapshot: names of asks that are gone still count against the book's limit") {
    constexpr std::uint64_t kNames = 10'000;
    Folded market;
    const auto ask_of = [](std::uint64_t n) {
        auto ask = make_ask(n, n);
        ask.resource.gpu_model = "model-" + std::to_string(n);
        return ask;
    };
    for (std::uint64_t n = 0; n < kNames; ++n) {
        const auto ask = ask_of(n);
        REQUIRE(market.apply({ask, kStartS * 1000}));
        REQUIRE(
            market.apply({md::CancelAsk{struct_hash(ask.ask), ask.ask.provider}, kStartS * 1000}));
    }
    for (int life = 0; life < 2; ++life) {
        CAPTURE(life);
        const auto more = market.apply({ask_of(kNames), kStartS * 1000});
        REQUIRE_FALSE(more);
        CHECK(more.error().code() == ledger::base::ErrorCode::out_of_range);
        auto known = ask_of(5);
        known.ask.salt = fixed<Hash32>(kNames + 10 + static_cast<std::uint64_t>(life));
        CHECK(market.apply({known, kStartS * 1000}));
        market.restart();
    }
}

TEST_CASE("snapshot: one of other rules or another version is refused") {
    Folded market;
    for (const Duel::Timed& timed : random_stream(3, 50))
        static_cast<void>(market.apply(timed));
    Bytes bytes = bytes_of(view_of(market.state));
    for (int i = 0; i < 6; ++i) {
        auto other = duel_config();
        if (i == 0) ++other.domain.chain_id;
        if (i == 1) other.domain.contract = fixed(1);
        if (i == 2) other.operator_address = fixed(1);
        if (i == 3) ++other.max_failovers;
        if (i == 4) ++other.voucher_period_atoms;
        if (i == 5) ++other.batch_period_ms;
        CAPTURE(i);
        CHECK(engine::SnapshotReader::open(bytes, other).error().code() ==
              ledger::base::ErrorCode::config_invalid);
    }
    for (std::size_t size = 0; size < bytes.size(); size += 1 + size / 50)
        CHECK_FALSE(engine::SnapshotReader::open({bytes.data(), size}, duel_config()));
    ++bytes[8];
    CHECK(engine::SnapshotReader::open(bytes, duel_config()).error().code() ==
          ledger::base::ErrorCode::unsupported);
}

}  // namespace tests
