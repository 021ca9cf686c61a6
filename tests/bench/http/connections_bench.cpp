// SPDX-License-Identifier: Apache-2.0
// Workers and readers of event streams that stay: what each costs in memory, what their heartbeats
// cost in processor time, and how long one event takes to reach all of them.
//
//   bench_connections [COUNT [SECONDS]]    connections (20000), seconds of heartbeats watched (30)
#include "marketplace/http/post_batch.hpp"
#include "marketplace/http/server.hpp"
#include "tests/bench/http/child.hpp"
#include "tests/bench/http/subscribers.hpp"
#include "tests/bench/report.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace {

using namespace http_bench;  // NOLINT: this program
namespace http = marketplace::http;

constexpr int kEvents = 5;
constexpr std::size_t kOtherDescriptors = 64;

/// Whom the server tells.
struct Hub {
    std::mutex mutex;
    std::vector<std::weak_ptr<http::WebSocketSession>> sessions;
    std::atomic<int> event{0};
};

std::string event_text(int number) {
    return fmt::format("now-{};", number);
}

/// A worker's connection: listens, and is told.
class Worker final : public http::WebSocketHandler {
 public:
    explicit Worker(Hub& hub) : hub_(hub) {}
    void on_open(http::WebSocketSessionPtr session) override {
        const std::lock_guard lock(hub_.mutex);
        hub_.sessions.push_back(session);
    }
    void on_message(std::string) override {}
    void on_close() override {}

 private:
    Hub& hub_;
};

/// As the market's feeds: asked some times a second, and says what is new.
http::Response subscribe(Hub& hub) {
    auto stream = std::make_shared<http::StreamBody>();
    stream->on_tick = [&hub, seen = hub.event.load()](http::StreamWriter& writer) mutable {
        const int now = hub.event.load(std::memory_order_relaxed);
        if (now == seen) return;
        seen = now;
        writer.write("event: news\ndata: " + event_text(now) + "\n\n");
    };
    return http::Response::events(std::move(stream));
}

http::Router make_routes(Hub& hub) {
    http::Router router;
    router.on_error([](const http::Request&, int status, const ledger::base::Error&) {
        return http::Response(status == 0 ? 400 : status, "application/problem+json", "{}");
    });
    router.get("/events", [&hub](const http::Request&) { return subscribe(hub); });
    router.websocket("/worker",
                     [&hub](const http::Request&)
                         -> ledger::base::Result<std::shared_ptr<http::WebSocketHandler>> {
                         return std::make_shared<Worker>(hub);
                     });
    router.get("/say", [&hub](const http::Request&) {
        const std::string text = event_text(++hub.event);
        const std::lock_guard lock(hub.mutex);
        const http::PostBatch batch;  // as the engine's thread does
        for (const auto& one : hub.sessions)
            if (const auto session = one.lock()) session->send(text);
        return http::Response::json("{}");
    });
    return router;
}

ChildPtr start_server() {
    return std::make_unique<Child>([](int ready) {
        static_cast<void>(raise_descriptor_limit());
        Hub hub;
        http::ServerOptions options;
        options.threads = 1;
        options.connections_max = 1U << 17U;
        http::Server server(options, make_routes(hub));
        if (!server.start()) std::abort();
        tell_port(ready, server.port());
        for (;;)
            ::pause();
    });
}

void say(std::uint16_t port) {
    const int fd = connect_to(port, 0);
    constexpr std::string_view kRequest = "GET /say HTTP/1.1\r\nhost: bench\r\n\r\n";
    const auto ignored = ::send(fd, kRequest.data(), kRequest.size(), MSG_NOSIGNAL);
    static_cast<void>(ignored);
    ::close(fd);
}

}  // namespace

int main(int argc, char** argv) {
    const auto count =
        argc > 1 ? static_cast<std::size_t>(std::max(2, std::atoi(argv[1]))) : std::size_t{20'000};
    const int seconds = argc > 2 ? std::max(1, std::atoi(argv[2])) : 30;
    const std::uint64_t descriptors = raise_descriptor_limit();
    const ChildPtr server = start_server();
    pin_to(kClientCore);
    double before_mib = 0;
    {
        const Subscribers warm(server->port(), 100);  // what is made once is not theirs
        before_mib = server->resident_mib();
    }
    // Both sides want some descriptors besides.
    const std::size_t possible = std::min<std::size_t>(count, descriptors - kOtherDescriptors);
    Subscribers clients(server->port(), possible);
    const auto open = static_cast<double>(clients.open());
    const std::string limit = clients.open() < possible ? clients.limit()
                              : possible < count        ? "descriptors a process may have"
                                                        : "nothing";
    std::printf("%.0f connections (stopped by: %s)\n", open, limit.c_str());
    clients.run(std::chrono::seconds(2), {});
    const double kib = (server->resident_mib() - before_mib) * 1024 / open;
    const std::uint64_t cpu_before = server->cpu_ns();
    const auto took = clients.run(std::chrono::seconds(seconds), {});
    const double share = static_cast<double>(server->cpu_ns() - cpu_before) / 1e6 /
                         static_cast<double>(took.count()) * 100;
    std::printf("%.1f KiB each, %.1f %% of a core for their heartbeats\n", kib, share);
    std::fflush(stdout);
    std::vector<double> delays;
    std::vector<double> spent_ms;  // of the server's processor time
    double unreached = 0;
    for (int i = 1; i <= kEvents; ++i) {
        const std::uint64_t cpu = server->cpu_ns();
        say(server->port());
        const auto delay = clients.run(std::chrono::seconds(10), event_text(i));
        delays.push_back(static_cast<double>(delay.count()));
        spent_ms.push_back(static_cast<double>(server->cpu_ns() - cpu) / 1e6);
        unreached += open - static_cast<double>(clients.reached());
        std::printf("event %d reached %zu in %.0f ms, of which the server computed %.0f\n", i,
                    clients.reached(), delays.back(), spent_ms.back());
    }
    bench::Report report("connections");
    report.metric("descriptors", static_cast<double>(descriptors));
    report.metric("slowest_event_ms", *std::max_element(delays.begin(), delays.end()));
    report.metric("event_cpu_ms", bench::median(spent_ms));
    report.goal("connections", open, static_cast<double>(possible), "connections",
                bench::Better::kHigher);
    report.goal("memory_each", kib, 12, "KiB", bench::Better::kLower);
    report.goal("heartbeats", share, 15, "% of a core", bench::Better::kLower);
    report.goal("event_to_all", bench::median(delays), 500, "ms", bench::Better::kLower);
    report.goal("lost", static_cast<double>(clients.lost()) + unreached, 0, "connections",
                bench::Better::kLower);
    std::puts(report.json().c_str());
    return 0;
}
