// SPDX-License-Identifier: Apache-2.0
// Health, version, metrics, the OpenAPI document.
#include "marketplace/api/handlers.hpp"

#include <fmt/format.h>

#include <array>
#include <iterator>

namespace marketplace::api {

namespace {

/// The histogram of request times.
void add_times(std::string& out, const Services& services) {
    auto to = std::back_inserter(out);
    out += "# TYPE millrace_http_request_seconds histogram\n";
    for (const auto& [route, histogram] : services.context.times->all()) {
        std::uint64_t total = 0;
        for (std::size_t i = 0; i < RequestTimes::kBoundsMs.size(); ++i) {
            total += histogram.counts[i];
            fmt::format_to(to,
                           "millrace_http_request_seconds_bucket{{route=\"{}\",le=\"{}\"}} {}\n",
                           route, static_cast<double>(RequestTimes::kBoundsMs[i]) / 1000, total);
        }
        total += histogram.counts.back();
        fmt::format_to(to,
                       "millrace_http_request_seconds_bucket{{route=\"{0}\",le=\"+Inf\"}} {1}\n"
                       "millrace_http_request_seconds_sum{{route=\"{0}\"}} {2}\n"
                       "millrace_http_request_seconds_count{{route=\"{0}\"}} {1}\n",
                       route, total, static_cast<double>(histogram.sum_us) / 1e6);
    }
}

/// Prometheus text format. Labels are bounded: route templates, states, never ids.
[[nodiscard]] std::string metrics_text(const Services& services, const engine::Engine& engine) {
    std::string out = "# TYPE millrace_http_requests_total counter\n";
    auto to = std::back_inserter(out);
    for (const auto& [key, count] : services.counts())
        fmt::format_to(to, "millrace_http_requests_total{{route=\"{}\",status=\"{}\"}} {}\n",
                       key.first, key.second, count);
    std::map<std::string, std::uint64_t> jobs;
    engine.for_each_job([&](const engine::Job& job) {
        ++jobs[std::string(to_string(job.state))];
        return true;
    });
    std::map<std::string, std::uint64_t> leases;
    std::map<std::string, std::uint64_t> units;
    std::uint64_t receipts = 0;
    std::uint64_t billed_atoms = 0;
    std::uint64_t claimed_atoms = 0;
    engine.for_each_lease([&](const domain::Lease& lease) {
        ++leases[std::string(to_string(lease.state))];
        receipts += lease.sequence;
        units[std::string(to_string(lease.unit_kind))] += lease.units;
        billed_atoms += lease.amount_atoms;
        claimed_atoms += lease.claimed_atoms;
        return true;
    });
    std::uint64_t asks = 0;
    engine.for_each_ask([&](const engine::AskEntry& ask) {
        asks += ask.open ? 1 : 0;
        return true;
    });
    add_times(out, services);
    out += "# TYPE millrace_jobs gauge\n";
    for (const auto& [state, count] : jobs)
        fmt::format_to(to, "millrace_jobs{{state=\"{}\"}} {}\n", state, count);
    out += "# TYPE millrace_leases gauge\n";
    for (const auto& [state, count] : leases)
        fmt::format_to(to, "millrace_leases{{state=\"{}\"}} {}\n", state, count);
    out += "# TYPE millrace_units_total counter\n";
    for (const auto& [kind, count] : units)
        fmt::format_to(to, "millrace_units_total{{unit_kind=\"{}\"}} {}\n", kind, count);
    const BlobStore::Freed freed = services.context.blobs.freed();
    fmt::format_to(to,
                   "# TYPE millrace_asks_open gauge\nmillrace_asks_open {}\n"
                   "# TYPE millrace_workers_connected gauge\nmillrace_workers_connected {}\n"
                   "# TYPE millrace_receipts_total counter\nmillrace_receipts_total {}\n"
                   "# TYPE millrace_billed_atoms_total counter\nmillrace_billed_atoms_total {}\n"
                   "# TYPE millrace_claimed_atoms_total counter\nmillrace_claimed_atoms_total {}\n"
                   "# TYPE millrace_settlement_ok gauge\nmillrace_settlement_ok {}\n"
                   "# TYPE millrace_log_size gauge\nmillrace_log_size {}\n"
                   "# TYPE millrace_blob_bytes gauge\nmillrace_blob_bytes {}\n"
                   "# TYPE millrace_blobs gauge\nmillrace_blobs {}\n"
                   "# TYPE millrace_blobs_dropped_total counter\nmillrace_blobs_dropped_total {}\n"
                   "# TYPE millrace_blob_bytes_dropped_total counter\n"
                   "millrace_blob_bytes_dropped_total {}\n",
                   asks, engine.connected_workers().size(), receipts, billed_atoms, claimed_atoms,
                   services.context.settlement.status() == "ok" ? 1 : 0,
                   services.context.log.size(), services.context.blobs.used_bytes(),
                   services.context.blobs.count(), freed.blobs, freed.bytes);
    return out;
}

void metrics(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const bool queued = services.context.engine.query([&services, reply](const engine::Engine& e) {
        reply(http::Response(200, "text/plain; version=0.0.4", metrics_text(services, e)));
    });
    if (!queued)
        reply(error_response(*request, ledger::base::Error(ledger::base::ErrorCode::queue_full)));
}

/// Ready: the engine's thread answers and the catalog can be read.
void readyz(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    answer_from_engine(services, request, reply,
                       [&services](const engine::Engine& engine) -> Result<Json> {
                           Json out;
                           out["status"] = "ready";
                           out["settlement"] = services.context.settlement.status();
                           out["log_size"] = services.context.log.size();
                           out["last_time_ms"] = engine.last_time_ms();
                           out["workers"] = engine.connected_workers().size();
                           return out;
                       });
}

}  // namespace

void add_ops_routes(RouteTable& table, Services& services) {
    RouteDoc live{http::Method::kGet, "/livez", "livez", "ops", "The process answers"};
    live.content_type = "text/plain";
    table.add(std::move(live),
              [](const auto&, const auto& reply) { reply(http::Response::text("ok\n")); });
    table.add(
        {http::Method::kGet, "/readyz", "readyz", "ops", "The market can work"},
        [&services](const auto& request, const auto& reply) { readyz(services, request, reply); });
    table.add({http::Method::kGet, "/version", "version", "ops", "Version of the market"},
              [&services](const auto&, const auto& reply) {
                  reply(json_response({{"version", services.context.info.version}}));
              });
    RouteDoc metric{http::Method::kGet, "/metrics", "metrics", "ops", "Prometheus metrics"};
    metric.content_type = "text/plain";
    table.add(std::move(metric), [&services](const auto& request, const auto& reply) {
        metrics(services, request, reply);
    });
    table.add({http::Method::kGet, "/openapi.json", "openapi", "ops", "This document"},
              [&services](const auto&, const auto& reply) {
                  reply(http::Response::json(services.openapi()));
              });
}

}  // namespace marketplace::api
