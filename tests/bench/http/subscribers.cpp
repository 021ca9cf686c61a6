// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/http/subscribers.hpp"

#include "tests/bench/http/child.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace http_bench {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t kPerAddress = 200;  // of this machine's own: the server allows 256
constexpr std::chrono::milliseconds kBeatEvery{15'000};

constexpr std::string_view kStreamHead = "GET /events HTTP/1.1\r\nhost: bench\r\n\r\n";
constexpr std::string_view kSocketHead =
    "GET /worker HTTP/1.1\r\nhost: bench\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
// Client's frames are masked (RFC 6455 section 5.3); with zeros, so that they read as they are.
constexpr std::string_view kBeat("\x81\x84\0\0\0\0beat", 10);
constexpr std::string_view kPong("\x8a\x80\0\0\0\0", 6);

bool send_all(int fd, std::string_view text) {
    return ::send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
}

/// Whether what came has a ping. Frames of the server are short and come whole, over loopback.
bool has_ping(std::string_view frames) {
    while (frames.size() >= 2) {
        if ((static_cast<unsigned char>(frames[0]) & 0x0fU) == 9) return true;
        const std::size_t size = 2 + (static_cast<unsigned char>(frames[1]) & 0x7fU);
        if (size > frames.size()) return false;
        frames.remove_prefix(size);
    }
    return false;
}

}  // namespace

Subscribers::Subscribers(std::uint16_t port, std::size_t count) : epoll_(::epoll_create1(0)) {
    clients_.reserve(count);
    while (clients_.size() < count && add(port, clients_.size())) {
        open_ = clients_.size();
        // Those that are open want their pings answered meanwhile.
        if (open_ % kPerAddress == 0) run(std::chrono::milliseconds(1), {});
    }
}

Subscribers::~Subscribers() {
    for (const Client& client : clients_)
        if (client.fd >= 0) ::close(client.fd);
    ::close(epoll_);
}

bool Subscribers::add(std::uint16_t port, std::size_t index) {
    const Kind kind = index % 2 == 0 ? Kind::kStream : Kind::kSocket;
    const int fd = connect_to(port, 1 + static_cast<unsigned>(index / kPerAddress));
    if (fd < 0) {
        limit_ = std::strerror(errno);
        return false;
    }
    clients_.push_back({fd, kind, false});
    timeval patience{10, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    std::array<char, 1024> answer{};
    const bool sent = send_all(fd, kind == Kind::kStream ? kStreamHead : kSocketHead);
    const ssize_t got = sent ? ::recv(fd, answer.data(), answer.size(), 0) : -1;
    const std::string_view text(answer.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    if (!text.starts_with(kind == Kind::kStream ? "HTTP/1.1 200" : "HTTP/1.1 101")) {
        limit_ = "the server refused: " + std::string(text.substr(0, text.find('\r')));
        ::close(fd);
        clients_.pop_back();
        return false;
    }
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = index;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    return true;
}

void Subscribers::take(std::size_t index, const std::string& marker) {
    Client& client = clients_[index];
    std::array<char, 4096> piece{};
    const ssize_t got = ::recv(client.fd, piece.data(), piece.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        ::close(client.fd);
        client.fd = -1;
        ++lost_;
        return;
    }
    const std::string_view text(piece.data(), static_cast<std::size_t>(got));
    if (client.kind == Kind::kSocket && has_ping(text))
        static_cast<void>(send_all(client.fd, kPong));
    if (client.reached || marker.empty() || text.find(marker) == std::string_view::npos) return;
    client.reached = true;
    ++reached_;
}

/// Spreads the clients' beats evenly over the 15 s.
void Subscribers::beat() {
    const auto step = std::chrono::duration_cast<std::chrono::nanoseconds>(kBeatEvery) /
                      static_cast<std::int64_t>(std::max<std::size_t>(clients_.size(), 1));
    for (const auto now = steady_clock::now(); beaten_until_ < now; beaten_until_ += step) {
        if (clients_.empty()) return;
        const Client& client = clients_[next_beat_++ % clients_.size()];
        if (client.kind == Kind::kSocket && client.fd >= 0)
            static_cast<void>(send_all(client.fd, kBeat));
    }
}

std::chrono::milliseconds Subscribers::run(std::chrono::milliseconds time,
                                           const std::string& marker) {
    const auto began = steady_clock::now();
    for (Client& client : clients_)
        client.reached = false;
    reached_ = 0;
    std::array<epoll_event, 512> events{};
    while (steady_clock::now() < began + time) {
        beat();
        const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 5);
        for (int i = 0; i < count; ++i)
            take(events[static_cast<std::size_t>(i)].data.u64, marker);
        if (!marker.empty() && reached_ + lost_ >= open_) break;
    }
    return std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - began);
}

}  // namespace http_bench
