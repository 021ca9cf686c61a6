// SPDX-License-Identifier: Apache-2.0
#include "ledger/signer/server.hpp"

#include "ledger/signer/unix_socket.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

namespace ledger::signer {

using base::ErrorCode;
using base::fail;
using base::Result;
using SteadyTime = std::chrono::steady_clock::time_point;

struct Server::Connection {
    explicit Connection(int socket, SteadyTime until) : descriptor(socket), deadline(until) {}
    ~Connection() { ::close(descriptor); }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    int descriptor;
    SteadyTime deadline;
    std::string input;
    std::string output;
    std::size_t sent = 0;
    bool answered = false;
};

Server::Server(Server&& other) noexcept
    : path_(std::move(other.path_)),
      listener_(std::exchange(other.listener_, -1)),
      limits_(other.limits_),
      connections_(std::move(other.connections_)) {}

Server::~Server() {
    if (listener_ < 0) return;
    ::close(listener_);
    ::unlink(path_.c_str());
}

Result<Server> Server::listen(const std::filesystem::path& socket, ServerLimits limits) {
    TRY_ASSIGN(const sockaddr_un address, detail::make_address(socket));
    if (detail::connect_to(address)) return fail(ErrorCode::port_in_use, socket.string());
    ::unlink(socket.c_str());  // left by a signer that was killed
    Server server;
    server.limits_ = limits;
    server.listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (server.listener_ < 0) return fail(ErrorCode::io_error, "no socket");
    const mode_t before = ::umask(0177);
    const int bound = ::bind(server.listener_, detail::generic(&address), sizeof(address));
    ::umask(before);
    if (bound != 0) return fail(ErrorCode::io_error, "cannot listen on " + socket.string());
    server.path_ = socket;
    if (::listen(server.listener_, 64) != 0)
        return fail(ErrorCode::io_error, "cannot listen on " + socket.string());
    return server;
}

void Server::accept_one() {
    const int descriptor = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (descriptor < 0) return;
    ucred peer{};
    socklen_t size = sizeof(peer);
    const bool known = ::getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
    if (!known || peer.uid != ::getuid() || connections_.size() >= limits_.connections) {
        ::close(descriptor);
        return;
    }
    connections_.emplace(descriptor,
                         std::make_unique<Connection>(
                             descriptor, std::chrono::steady_clock::now() + limits_.idle_timeout));
}

/// One step of a connection; false when it is over.
bool Server::serve(Connection& connection, SignerService& service) {
    if (!connection.answered) {
        std::array<char, 16 * 1024> piece{};
        const ssize_t count = ::recv(connection.descriptor, piece.data(), piece.size(), 0);
        if (count < 0) return errno == EAGAIN || errno == EINTR;
        if (count == 0) return false;
        connection.input.append(piece.data(), static_cast<std::size_t>(count));
        const std::size_t end = connection.input.find('\n');
        if (end == std::string::npos) return connection.input.size() <= kLineBytes;
        connection.output =
            service.handle_line(std::string_view(connection.input).substr(0, end)) + "\n";
        connection.answered = true;
    }
    while (connection.sent < connection.output.size()) {
        const ssize_t count =
            ::send(connection.descriptor, connection.output.data() + connection.sent,
                   connection.output.size() - connection.sent, MSG_NOSIGNAL);
        if (count < 0) return errno == EAGAIN || errno == EINTR;
        connection.sent += static_cast<std::size_t>(count);
    }
    return false;
}

int Server::wait_ms() const {
    if (connections_.empty()) return -1;
    SteadyTime first = SteadyTime::max();
    for (const auto& [descriptor, connection] : connections_)
        first = std::min(first, connection->deadline);
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        first - std::chrono::steady_clock::now());
    return static_cast<int>(std::clamp<std::int64_t>(left.count() + 1, 0, 60'000));
}

Result<void> Server::run(SignerService& service, int stop_descriptor) {
    while (true) {
        std::vector<pollfd> watched = {{stop_descriptor, POLLIN, 0}, {listener_, POLLIN, 0}};
        for (const auto& [descriptor, connection] : connections_) {
            const short wanted = connection->answered ? POLLOUT : POLLIN;
            watched.push_back({descriptor, wanted, 0});
        }
        if (::poll(watched.data(), watched.size(), wait_ms()) < 0 && errno != EINTR)
            return fail(ErrorCode::io_error, "poll");
        if (watched[0].revents != 0) break;
        for (std::size_t i = 2; i < watched.size(); ++i) {
            if (watched[i].revents == 0) continue;
            const auto found = connections_.find(watched[i].fd);
            if (!serve(*found->second, service)) connections_.erase(found);
        }
        const SteadyTime now = std::chrono::steady_clock::now();
        std::erase_if(connections_, [&](const auto& item) { return item.second->deadline < now; });
        if (watched[1].revents != 0) accept_one();
    }
    connections_.clear();
    return {};
}

}  // namespace ledger::signer
