// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/http/attacks.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string_view>

namespace http_bench {
namespace {

using std::chrono::steady_clock;

constexpr unsigned kClientsPerAddress = 200;  // the server allows 256
constexpr auto kSlowRound = std::chrono::milliseconds(500);
constexpr std::string_view kSlowHead = "GET /v1/health HTTP/1.1\r\nhost: bench\r\nx-slow: ";

int open_socket(std::uint16_t port, unsigned host) {
    const int fd = connect_to(port, host);
    if (fd >= 0) ::fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

bool is_closed(int fd) {
    char trash[512];
    const ssize_t got = ::recv(fd, trash, sizeof(trash), MSG_DONTWAIT);
    return got >= 0 || (errno != EAGAIN && errno != EINTR);
}

/// What one attacking connection sends: `head` once, then `rest` over and over.
struct Payload {
    std::string name;
    std::size_t connections = 250;
    std::string head;
    std::string rest;
    std::size_t bytes_max = 0;  ///< per connection, head included
};

std::vector<Payload> payloads() {
    const std::string get = fmt::format("GET {} HTTP/1.1\r\nhost: bench\r\n\r\n", kPath);
    const std::string large = "GET /large HTTP/1.1\r\nhost: bench\r\n\r\n";
    const std::string start = "POST /upload HTTP/1.1\r\nhost: bench\r\n";
    const std::size_t mib = 1U << 20U;
    return {
        {"heads without an end", 250, "GET / HTTP/1.1\r\nhost: bench\r\nx: ", "a", 8100},
        {"endless heads", 250, "GET / HTTP/1.1\r\nhost: bench\r\n", "x-header: value\r\n", mib},
        {"giant targets", 250, "GET /", "a", mib},
        {"bodies that stop short", 250, start + "content-length: 262144\r\n\r\n", "b",
         262144 + start.size()},
        {"endless chunk extension", 250, start + "transfer-encoding: chunked\r\n\r\n1", ";a=b",
         4 * mib},
        {"endless trailers", 250, start + "transfer-encoding: chunked\r\n\r\n0\r\n", "x: y\r\n",
         4 * mib},
        {"requests, answers unread", 250, "", get, 4 * mib},
        {"large answers unread", 250, "", large, mib},
        {"streams unread", 250, "GET /stream HTTP/1.1\r\nhost: bench\r\n\r\n", "", 0},
        {"10,000 connections", 10'000, "GET / HTTP/1.1\r\nhost: bench\r\nx: ", "a", 4000},
    };
}

/// One attacking connection.
struct Attacker {
    int fd = -1;
    std::size_t sent = 0;
    bool done = false;
};

/// Sends what the connection takes now.
std::size_t push(Attacker& one, const Payload& payload, const std::string& block) {
    std::size_t pushed = 0;
    while (!one.done) {
        std::string_view piece = payload.head;
        if (one.sent < piece.size()) {
            piece.remove_prefix(one.sent);
        } else if (one.sent >= payload.bytes_max || payload.rest.empty()) {
            one.done = true;
            break;
        } else {
            const std::size_t at = (one.sent - payload.head.size()) % payload.rest.size();
            piece = std::string_view(block).substr(at, payload.bytes_max - one.sent);
        }
        const ssize_t put = ::send(one.fd, piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put > 0) {
            one.sent += static_cast<std::size_t>(put);
            pushed += static_cast<std::size_t>(put);
            continue;
        }
        if (errno != EAGAIN && errno != EINTR) one.done = true;
        break;
    }
    return pushed;
}

Attack attack(const Child& server, const Payload& payload) {
    constexpr auto kQuiet = std::chrono::milliseconds(700);  // nothing more is taken
    constexpr auto kLongest = std::chrono::seconds(6);
    const double before = server.resident_mib();
    server.forget_peak();
    Attack out;
    out.name = payload.name;
    std::string block;
    while (!payload.rest.empty() && block.size() < 64 * 1024)
        block += payload.rest;
    std::vector<Attacker> attackers;
    for (std::size_t i = 0; i < payload.connections; ++i) {
        const int fd = open_socket(server.port(), 0);
        if (fd < 0) break;
        attackers.push_back({fd, 0, false});
    }
    out.connections = attackers.size();
    const auto began = steady_clock::now();
    auto last_progress = began;
    double sent = 0;
    while (steady_clock::now() < std::min(began + kLongest, last_progress + kQuiet)) {
        std::size_t pushed = 0;
        for (Attacker& one : attackers)
            if (!one.done) pushed += push(one, payload, block);
        sent += static_cast<double>(pushed);
        if (pushed > 0)
            last_progress = steady_clock::now();
        else
            ::poll(nullptr, 0, 10);
    }
    out.sent_mib = sent / (1U << 20U);
    out.grown_mib = server.peak_mib() - before;
    for (const Attacker& one : attackers)
        ::close(one.fd);
    return out;
}

}  // namespace

SlowClients::SlowClients(std::uint16_t port, std::size_t count) : sockets_(count, -1) {
    thread_ = std::thread([this, port] { run(port); });
    while (!rounds_done_)
        ::poll(nullptr, 0, 20);
}

SlowClients::~SlowClients() {
    stop_ = true;
    thread_.join();
    for (const int fd : sockets_)
        if (fd >= 0) ::close(fd);
}

void SlowClients::run(std::uint16_t port) {
    pin_to(kClientCore);
    while (!stop_) {
        const auto next = steady_clock::now() + kSlowRound;
        std::size_t open = 0;
        for (std::size_t i = 0; i < sockets_.size() && !stop_; ++i) {
            int& fd = sockets_[i];
            if (fd >= 0 && is_closed(fd)) {
                ::close(fd);
                fd = -1;
            }
            if (fd < 0) {
                fd = open_socket(port, 1 + static_cast<unsigned>(i) / kClientsPerAddress);
                if (fd < 0) continue;
                const auto ignored = ::send(fd, kSlowHead.data(), kSlowHead.size(), MSG_NOSIGNAL);
                static_cast<void>(ignored);
            } else {
                const auto ignored = ::send(fd, "a", 1, MSG_NOSIGNAL);
                static_cast<void>(ignored);
            }
            ++open;
        }
        open_ = open;
        rounds_done_ = true;
        while (!stop_ && steady_clock::now() < next)
            ::poll(nullptr, 0, 20);
    }
}

AttackReport attack_all() {
    AttackReport out;
    for (const Payload& payload : payloads()) {
        const ChildPtr server = start_ours();
        const std::string warm = fetch(server->port());
        out.attacks.push_back(attack(*server, payload));
        bool answers = !warm.empty() && !fetch(server->port()).empty();
        // Its connections count against this address until the server has seen that they ended.
        for (int i = 0; i < 300 && !answers; ++i) {
            ::poll(nullptr, 0, 20);
            answers = !fetch(server->port()).empty();
        }
        out.survived = out.survived && answers;
    }
    return out;
}

}  // namespace http_bench
