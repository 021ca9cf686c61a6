// SPDX-License-Identifier: Apache-2.0
// The market's HTTP server beside nginx and beside the least that a server can do: one core for the
// server, the other for wrk, in turns. Then what slow clients do to the others' waiting, and what
// attacks do to its memory.
//
//   bench_http [SECONDS [ROUNDS]]      seconds of each measurement (2), rounds (5)
#include "tests/bench/http/attacks.hpp"
#include "tests/bench/http/servers.hpp"
#include "tests/bench/http/wrk.hpp"
#include "tests/bench/report.hpp"

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace http_bench;  // NOLINT: this program

constexpr unsigned kConnections = 64;
constexpr std::size_t kSlowClients = 3000;

/// Medians of a server's rounds.
struct Series {
    std::vector<double> rates;
    std::vector<double> cpu_us;
    std::vector<double> p99_ms;
    double errors = 0;
};

/// One round; false when wrk is missing.
bool measure(const Child& server, double seconds, Series& into) {
    const std::uint64_t before = server.cpu_ns();
    const auto load = drive(server.port(), kConnections, seconds);
    if (!load) return false;
    const auto spent = static_cast<double>(server.cpu_ns() - before);
    into.rates.push_back(load->requests_per_s);
    into.cpu_us.push_back(spent / 1000 / load->requests);
    into.p99_ms.push_back(load->p99_ms);
    into.errors += load->errors;
    return true;
}

std::vector<double> ratios(const std::vector<double>& ours, const std::vector<double>& others) {
    std::vector<double> out;
    for (std::size_t i = 0; i < ours.size(); ++i)
        out.push_back(ours[i] / others[i]);
    return out;
}

void print(const char* name, const Series& series) {
    std::printf("%-7s %8.0f requests/s  %6.2f us of processor each  p99 %.2f ms  %.0f errors\n",
                name, bench::median(series.rates), bench::median(series.cpu_us),
                bench::median(series.p99_ms), series.errors);
    std::fflush(stdout);
}

int missing(const char* what) {
    std::fprintf(stderr, "bench_http: %s is missing: scripts/setup --http-bench brings it\n", what);
    return 1;
}

/// p99 with slow clients against that without, in turns on one server.
bool measure_slow(double seconds, int rounds, bench::Report& report) {
    const ChildPtr server = start_ours();
    Series alone;
    Series beside;
    std::vector<double> open;
    for (int round = 0; round < rounds; ++round) {
        if (!measure(*server, seconds, alone)) return false;
        const SlowClients slow(server->port(), kSlowClients);
        if (!measure(*server, seconds, beside)) return false;
        open.push_back(static_cast<double>(slow.open()));
    }
    print("alone", alone);
    print("beside", beside);
    std::printf("        beside %.0f slow clients\n", bench::median(open));
    report.metric("slow_clients", bench::median(open));
    report.metric("p99_alone_ms", bench::median(alone.p99_ms));
    report.metric("p99_beside_slow_ms", bench::median(beside.p99_ms));
    report.metric("rate_beside_slow_ratio", bench::median(ratios(beside.rates, alone.rates)));
    report.goal("slow_clients_errors", alone.errors + beside.errors, 0, "errors",
                bench::Better::kLower);
    report.goal("p99_beside_3000_slow", bench::median(ratios(beside.p99_ms, alone.p99_ms)), 2,
                "times", bench::Better::kLower);
    return true;
}

void measure_attacks(bench::Report& report) {
    const AttackReport attacked = attack_all();
    double worst = 0;
    for (const Attack& one : attacked.attacks) {
        std::printf("%-26s %6.1f MiB more  (%llu connections, %.1f MiB taken)\n", one.name.c_str(),
                    one.grown_mib, static_cast<unsigned long long>(one.connections), one.sent_mib);
        worst = std::max(worst, one.grown_mib);
    }
    report.goal("attack_memory", worst, 256, "MiB", bench::Better::kLower);
    report.goal("answers_after_attacks", attacked.survived ? 1 : 0, 1, "yes",
                bench::Better::kHigher);
}

}  // namespace

int main(int argc, char** argv) {
    const double seconds = argc > 1 ? std::max(1.0, std::strtod(argv[1], nullptr)) : 2;
    const int rounds = argc > 2 ? std::max(1, std::atoi(argv[2])) : 5;
    static_cast<void>(raise_descriptor_limit());
    bench::Report report("http");
    const ChildPtr ours = start_ours();
    const std::string answer = fetch(ours->port());
    const ChildPtr raw = start_raw(answer);
    const ChildPtr nginx = start_nginx();
    if (!nginx) return missing("nginx");
    Series our_series;
    Series raw_series;
    Series nginx_series;
    for (int round = 0; round < rounds; ++round)
        if (!measure(*raw, seconds, raw_series) || !measure(*ours, seconds, our_series) ||
            !measure(*nginx, seconds, nginx_series))
            return missing("wrk");
    print("raw", raw_series);
    print("ours", our_series);
    print("nginx", nginx_series);
    report.metric("requests_per_s", bench::median(our_series.rates));
    report.metric("nginx_requests_per_s", bench::median(nginx_series.rates));
    report.metric("raw_requests_per_s", bench::median(raw_series.rates));
    report.metric("cpu_us", bench::median(our_series.cpu_us));
    report.metric("nginx_cpu_us", bench::median(nginx_series.cpu_us));
    report.metric("raw_cpu_us", bench::median(raw_series.cpu_us));
    report.metric("p99_ms", bench::median(our_series.p99_ms));
    report.goal("rate_to_nginx", bench::median(ratios(our_series.rates, nginx_series.rates)), 1.0,
                "ratio", bench::Better::kHigher);
    report.goal("cpu_to_raw", bench::median(ratios(our_series.cpu_us, raw_series.cpu_us)), 1.18,
                "ratio", bench::Better::kLower);
    report.goal("errors", our_series.errors, 0, "errors", bench::Better::kLower);
    if (!measure_slow(seconds, std::min(rounds, 3), report)) return missing("wrk");
    measure_attacks(report);
    std::puts(report.json().c_str());
    return 0;
}
