// SPDX-License-Identifier: Apache-2.0
// Signed asks by REST over loopback: digest and signature recovered and checked, durable before
// the answer. The market's threads have one core, the load generator the other. Closed loop for
// the rate, beside the sum of its bare parts measured in the same rounds; then an open loop at
// 70 % of that rate for the latency. Market and parts are compared by the CPU time that an order
// takes, which is the rate a core has that nobody else uses; `orders_per_s` is what the clock on
// the wall saw.
#include "ledger/base/check.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "marketplace/storage/journal_store.hpp"
#include "marketplace/wire/document.hpp"
#include "marketplace/wire/order_json.hpp"
#include "tests/bench/orders/limits.hpp"
#include "tests/bench/orders/load.hpp"
#include "tests/bench/report.hpp"
#include "tests/support/rest_market.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

namespace {

using namespace marketplace;  // NOLINT: a program of its own
namespace crypto = ledger::crypto;
namespace eth = ledger::eth;
using bench::LoadOptions;
using bench::LoadResult;

constexpr std::size_t kAccounts = 32;
constexpr std::size_t kOrdersPerWorker = 32;
constexpr std::size_t kConnections = 64;
constexpr int kRounds = 3;
constexpr std::size_t kWarmUp = 2'000;
constexpr std::size_t kPerRound = 12'000;
constexpr std::size_t kOpenLoop = 60'000;
constexpr double kOpenLoopSeconds = 10;
constexpr std::size_t kLimitSamples = 4'000;

/// Orders made and signed ahead, on both cores.
struct Orders {
    std::vector<bench::Sample> samples;
    std::vector<std::string> requests;
};

domain::Address worker_of(std::size_t index) {
    domain::Address out;
    const std::size_t number = 1 + index / kOrdersPerWorker;
    for (std::size_t i = 0; i < 8; ++i)
        out.data()[19 - i] = static_cast<std::uint8_t>(number >> (8 * i));
    return out;
}

void make_order(std::size_t index, const crypto::PrivateKey& key, const eth::Domain& domain,
                std::uint64_t now_s, Orders& out) {
    domain::PostAsk order;
    order.resource.gpu_model = "rtx-4090";
    order.resource.gpu_count = 1;
    order.resource.vram_mib = 24'576;
    order.resource.ram_mib = 65'536;
    order.resource.cpu_cores = 16;
    order.resource.region = "eu-west";
    order.resource.runtime = "libtorch-2.1-cuda";
    order.resource.max_flops_per_step = 1'000'000'000;
    order.resource.worker = worker_of(index);
    order.ask.provider = key.address();
    order.ask.resource_hash = wire::document_hash(wire::resource_document(order.resource));
    order.ask.price_atoms = 1'000 + index * 7'919 % 9'000;
    order.ask.min_units = 10;
    order.ask.max_units = 1'000;
    order.ask.volume_units = 10'000;
    order.ask.earliest_s = now_s - 10;
    order.ask.expiry_s = now_s + 86'400;
    for (std::size_t i = 0; i < 8; ++i)
        order.ask.salt.data()[31 - i] = static_cast<std::uint8_t>(index >> (8 * i));
    bench::Sample& sample = out.samples[index];
    sample.ask = order.ask;
    sample.digest = eth::digest(domain, order.ask);
    sample.signature = order.signature = key.sign(sample.digest);
    sample.body = wire::post_ask_json(order);
    sample.resource = wire::resource_document(order.resource);
    out.requests[index] = fmt::format(
        "POST /v1/market/orders HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: "
        "application/json\r\ncontent-length: {}\r\n\r\n{}",
        sample.body.size(), sample.body);
}

Orders make_orders(std::size_t count, const eth::Domain& domain) {
    std::vector<crypto::PrivateKey> keys;
    for (std::size_t i = 0; i < kAccounts; ++i)
        keys.push_back(crypto::PrivateKey::generate());
    const std::uint64_t now_s = ledger::base::SystemClock().now_ms() / 1000;
    Orders out;
    out.samples.resize(count);
    out.requests.resize(count);
    const auto make_half = [&](std::size_t first) {
        for (std::size_t i = first; i < count; i += 2)
            make_order(i, keys[i / kOrdersPerWorker % kAccounts], domain, now_s, out);
    };
    std::thread other(make_half, 1);
    make_half(0);
    other.join();
    return out;
}

LoadResult must_load(std::span<const std::string> requests, const LoadOptions& options) {
    LoadResult result = bench::run_load(requests, options);
    if (result.failed != 0) {
        fmt::print(stderr, "{} of {} refused; the first:\n{}\n", result.failed, requests.size(),
                   result.first_failure);
        std::exit(1);
    }
    return result;
}

/// Rows that are really there.
std::uint64_t count_rows(const std::filesystem::path& folder) {
    auto database =
        storage::Database::open(folder / "market.db", storage::Database::Mode::kReadOnly);
    MR_CHECK(database.has_value());
    storage::JournalStore journal(**database);
    std::uint64_t rows = 0;
    for (;;) {
        const auto chunk = journal.read(rows, 10'000);
        MR_CHECK(chunk.has_value());
        if (chunk->empty()) return rows;
        rows += chunk->size();
    }
}

std::size_t record_bytes(const std::filesystem::path& folder) {
    auto database =
        storage::Database::open(folder / "market.db", storage::Database::Mode::kReadOnly);
    MR_CHECK(database.has_value());
    const auto rows = storage::JournalStore(**database).read(0, 1);
    MR_CHECK(rows.has_value() && !rows->empty());
    return rows->front().size();
}

struct Rates {
    std::vector<double> wall;   ///< orders per second
    std::vector<double> ours;   ///< orders per CPU second of the market
    std::vector<double> limit;  ///< the same of the parts alone
    std::vector<double> ratio;  ///< of the two
    bench::Parts parts;         ///< of the last round
};

void closed_loop(const std::atomic<std::uint64_t>& groups, std::span<const std::string> requests,
                 bench::LimitInput& limit, Rates& out) {
    const double cpu_before = bench::process_cpu_s();
    const LoadResult result = must_load(requests, limit.load);
    const double cpu = bench::process_cpu_s() - cpu_before - result.generator_cpu_s;
    out.parts = bench::measure_parts(limit);
    const auto count = static_cast<double>(result.answered);
    out.wall.push_back(count / result.seconds);
    out.ours.push_back(count / cpu);
    out.limit.push_back(1 / out.parts.sum());
    out.ratio.push_back(out.ours.back() / out.limit.back());
    fmt::print(stderr, "closed loop {:.0f}/s; {:.1f} us CPU, limit {:.1f} us: {:.3f}; {} groups\n",
               out.wall.back(), 1e6 / out.ours.back(), 1e6 / out.limit.back(), out.ratio.back(),
               groups.load());
}

void report_parts(bench::Report& report, const Rates& rates) {
    report.metric("orders_per_s", bench::median(rates.wall));
    report.metric("orders_per_cpu_s", bench::median(rates.ours));
    report.metric("limit_per_cpu_s", bench::median(rates.limit));
    report.metric("market_cpu_us_per_order", 1e6 / bench::median(rates.ours));
    report.metric("limit_hash_us", rates.parts.hash_s * 1e6);
    report.metric("limit_recover_us", rates.parts.recover_s * 1e6);
    report.metric("limit_parse_us", rates.parts.parse_s * 1e6);
    report.metric("limit_row_us", rates.parts.row_s * 1e6);
    report.metric("limit_http_us", rates.parts.http_s * 1e6);
}

void report_open_loop(bench::Report& report, LoadResult& result, double rate) {
    report.metric("open_loop_rate_per_s", rate);
    report.metric("open_loop_p50_ms", bench::quantile(result.latency_ms, 0.5));
    report.metric("open_loop_p999_ms", bench::quantile(result.latency_ms, 0.999));
    report.metric("open_loop_max_ms", result.latency_ms.back());
    report.goal("p99 at 70 % of the rate", bench::quantile(result.latency_ms, 0.99), 10, "ms",
                bench::Better::kLower);
}

}  // namespace

int main() {
    const auto folder =
        std::filesystem::current_path() / "build" / "bench" / fmt::format("orders-{}", getpid());
    std::filesystem::create_directories(folder);
    engine::EngineConfig config;
    config.domain = {31337, worker_of(0)};
    const Orders orders = make_orders(kWarmUp + kRounds * kPerRound + kOpenLoop, config.domain);
    const std::span<const std::string> requests(orders.requests);
    bench::pin_to_core(0);  // and with it every thread of the market
    bench::Report report("orders");
    std::uint64_t acknowledged = kWarmUp + kRounds * kPerRound;
    {
        tests::RestMarket market(folder, config);
        std::atomic<std::uint64_t> groups{0};
        market.engine().on_stage([&groups](app::EngineThread::Stage stage) {
            if (stage == app::EngineThread::Stage::kCommitted) ++groups;
        });
        market.start();
        bench::LimitInput limit;
        limit.samples = std::span(orders.samples).first(kLimitSamples);
        limit.requests = requests.first(kLimitSamples);
        limit.group = kConnections / 2;
        limit.domain = config.domain;
        limit.folder = folder;
        limit.load.port = market.port();
        limit.load.connections = kConnections;
        limit.answer_bytes = must_load(requests.first(kWarmUp), limit.load).answer_bytes;
        limit.record_bytes = record_bytes(folder);
        Rates rates;
        for (std::size_t i = 0; i < kRounds; ++i)
            closed_loop(groups, requests.subspan(kWarmUp + i * kPerRound, kPerRound), limit, rates);
        report_parts(report, rates);
        report.goal("orders against the sum of parts", bench::median(rates.ratio), 0.75, "ratio",
                    bench::Better::kHigher);

        LoadOptions open = limit.load;
        open.connections = 2 * kConnections;
        open.rate_per_s = 0.7 * bench::median(rates.wall);
        const auto count =
            std::min(kOpenLoop, static_cast<std::size_t>(open.rate_per_s * kOpenLoopSeconds));
        LoadResult result = must_load(requests.subspan(acknowledged, count), open);
        acknowledged += count;
        report_open_loop(report, result, open.rate_per_s);
    }
    const std::uint64_t rows = count_rows(folder);
    std::filesystem::remove_all(folder);
    if (rows != acknowledged) {
        fmt::print(stderr, "{} acknowledged, {} in the journal\n", acknowledged, rows);
        return 1;
    }
    fmt::print("{}\n", report.json());
    return 0;
}
