// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/http/wrk.hpp"

#include "tests/bench/http/servers.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>

namespace http_bench {
namespace {

/// "1.23ms", "850.00us", "1.02s" in milliseconds.
double to_ms(const std::string& text) {
    char* unit = nullptr;
    const double value = std::strtod(text.c_str(), &unit);
    const std::string name = unit;
    if (name == "us") return value / 1000;
    return name == "s" ? value * 1000 : value;
}

std::string run(const std::string& command) {
    FILE* const pipe = ::popen(command.c_str(), "r");
    if (pipe == nullptr) return {};
    std::string out;
    std::array<char, 4096> piece{};
    while (std::size_t got = std::fread(piece.data(), 1, piece.size(), pipe))
        out.append(piece.data(), got);
    return ::pclose(pipe) == 0 ? out : std::string();
}

}  // namespace

std::optional<Load> drive(std::uint16_t port, unsigned connections, double seconds) {
    const std::string report =
        run(fmt::format("taskset -c {} wrk -t 1 -c {} -d {:.0f}s --latency --timeout 5s "
                        "http://127.0.0.1:{}{}",
                        kClientCore, connections, seconds, port, kPath));
    Load out;
    std::istringstream lines(report);
    std::string line;
    double took_s = 0;
    while (std::getline(lines, line)) {
        std::istringstream in(line);
        std::string first;
        std::string second;
        std::string third;
        std::string fourth;
        in >> first >> second >> third >> fourth;
        if (first == "50%") out.p50_ms = to_ms(second);
        if (first == "99%") out.p99_ms = to_ms(second);
        if (second == "requests" && third == "in") {
            out.requests = std::strtod(first.c_str(), nullptr);
            took_s = std::strtod(fourth.c_str(), nullptr);
        }
        if (first == "Requests/sec:") out.requests_per_s = std::strtod(second.c_str(), nullptr);
        // "Socket errors: connect 0, read 1, write 0, timeout 0" and "Non-2xx or 3xx responses: 4"
        if (first == "Socket" || first == "Non-2xx") {
            std::istringstream words(line);
            for (std::string word; words >> word;)
                if (word.find_first_not_of("0123456789,") == std::string::npos)
                    out.errors += std::strtod(word.c_str(), nullptr);
        }
    }
    if (took_s <= 0 || out.requests_per_s <= 0) return std::nullopt;
    return out;
}

}  // namespace http_bench
