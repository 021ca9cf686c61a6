// SPDX-License-Identifier: Apache-2.0
#include "marketplace/http/server.hpp"

#include "ledger/base/check.hpp"
#include "marketplace/http/connection.hpp"

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>

namespace marketplace::http {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr int kBacklog = 1024;
constexpr int kAcceptsPerWake = 64;
/// With no descriptor left, accepting again at once would only spin.
constexpr std::chrono::milliseconds kAcceptPause{100};

constexpr std::string_view kBusy =
    "HTTP/1.1 503 Service Unavailable\r\nserver: millrace\r\nretry-after: 1\r\n"
    "content-type: application/problem+json\r\ncontent-length: 107\r\nconnection: close\r\n\r\n"
    R"({"type":"about:blank","title":"Service Unavailable","status":503,"code":"unavailable","detail":"too busy"}
)";

/// The key under which connections are counted: an IPv6 client owns a whole /64.
[[nodiscard]] std::string client_key(const asio::ip::address& address) {
    if (!address.is_v6()) return address.to_string();
    const auto v6 = address.to_v6();
    if (v6.is_v4_mapped()) return asio::ip::make_address_v4(asio::ip::v4_mapped, v6).to_string();
    const auto bytes = v6.to_bytes();
    std::string key = "v6:";
    for (std::size_t i = 0; i < 8; ++i)
        key += fmt::format("{:02x}", bytes[i]);
    return key;
}

[[nodiscard]] std::string random_prefix() {
    std::random_device device;
    return fmt::format("req_{:08x}{:08x}", device(), device());
}

}  // namespace

class Server::Impl {
 public:
    Impl(ServerOptions options, Router router) : shared_(std::make_shared<ServerShared>()) {
        MR_CHECK(options.threads > 0);
        shared_->admission = std::make_shared<Admission>(options.connections_max,
                                                         options.connections_per_address_max);
        shared_->options = std::move(options);
        shared_->router = std::move(router);
        shared_->request_id_prefix = random_prefix();
    }

    Result<void> start();
    void stop(std::chrono::milliseconds deadline);
    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    [[nodiscard]] ServerStats stats() const;

 private:
    void wait_acceptable();
    void accept_some();
    bool accept_one();
    void pause_accepting();

    std::shared_ptr<ServerShared> shared_;
    std::vector<std::shared_ptr<IoThread>> threads_;
    std::optional<tcp::acceptor> acceptor_;
    std::optional<asio::steady_timer> accept_timer_;
    std::size_t next_thread_ = 0;
    std::uint16_t port_ = 0;
    bool running_ = false;
};

Result<void> Server::Impl::start() {
    MR_CHECK(!running_);
    error_code ec;
    const ServerOptions& options = shared_->options;
    const auto address = asio::ip::make_address(options.address, ec);
    if (ec) return fail(ErrorCode::config_invalid, "not an address: " + options.address);
    for (unsigned i = 0; i < options.threads; ++i)
        threads_.push_back(std::make_shared<IoThread>());
    acceptor_.emplace(threads_.front()->context());
    const tcp::endpoint endpoint(address, options.port);
    const std::string name = fmt::format("{}:{}", options.address, options.port);
    acceptor_->open(endpoint.protocol(), ec);
    if (!ec) acceptor_->set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec) acceptor_->bind(endpoint, ec);
    if (!ec) acceptor_->listen(kBacklog, ec);
    if (!ec) acceptor_->non_blocking(true, ec);
    if (ec) {
        acceptor_.reset();
        threads_.clear();
        if (ec == asio::error::address_in_use) return fail(ErrorCode::port_in_use, name);
        return fail(ErrorCode::config_invalid, "cannot listen on " + name + ": " + ec.message());
    }
    port_ = acceptor_->local_endpoint().port();
    accept_timer_.emplace(threads_.front()->context());
    for (const auto& thread : threads_)
        thread->start();
    threads_.front()->post([this] { wait_acceptable(); });
    running_ = true;
    return {};
}

void Server::Impl::wait_acceptable() {
    acceptor_->async_wait(tcp::acceptor::wait_read, [this](const error_code& ec) {
        if (!ec) accept_some();
    });
}

void Server::Impl::accept_some() {
    for (int i = 0; i < kAcceptsPerWake; ++i)
        if (!accept_one()) return;
    wait_acceptable();
}

/// False when the loop must not go on (it has arranged its own continuation).
bool Server::Impl::accept_one() {
    tcp::endpoint peer;
    socklen_t size = static_cast<socklen_t>(peer.capacity());
    const int fd =
        ::accept4(acceptor_->native_handle(), peer.data(), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EAGAIN)
            wait_acceptable();
        else if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO)
            return true;
        else
            pause_accepting();  // EMFILE, ENFILE, ENOBUFS, ENOMEM
        return false;
    }
    peer.resize(size);
    auto ticket = shared_->admission->admit(client_key(peer.address()));
    if (!ticket) {
        shared_->refused.fetch_add(1);
        const auto ignored = ::send(fd, kBusy.data(), kBusy.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        static_cast<void>(ignored);
        ::shutdown(fd, SHUT_WR);
        ::close(fd);
        return true;
    }
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    const auto& thread = threads_[next_thread_++ % threads_.size()];
    thread->post([thread, shared = shared_, fd, protocol = peer.protocol(),
                  remote = peer.address().to_string(), held = std::move(ticket)]() mutable {
        Socket socket(thread->context());
        error_code ec;
        socket.assign(protocol, fd, ec);
        if (!ec) socket.non_blocking(true, ec);
        if (ec) {
            if (!socket.is_open()) ::close(fd);
            return;
        }
        const auto connection = std::make_shared<Connection>(
            thread, std::move(shared), std::move(socket), std::move(remote), std::move(held));
        connection->start();
    });
    return true;
}

void Server::Impl::pause_accepting() {
    accept_timer_->expires_after(kAcceptPause);
    accept_timer_->async_wait([this](const error_code& ec) {
        if (!ec) accept_some();
    });
}

void Server::Impl::stop(std::chrono::milliseconds deadline) {
    if (!running_) return;
    running_ = false;
    const auto until = std::chrono::steady_clock::now() + deadline;
    threads_.front()->post([this] {
        error_code ec;
        acceptor_->close(ec);
        accept_timer_->cancel();
    });
    for (const auto& thread : threads_)
        thread->post([thread] { thread->drain_all(); });
    static_cast<void>(shared_->admission->wait_empty(until));
    for (const auto& thread : threads_)
        thread->post([thread] { thread->shut_all(); });
    for (const auto& thread : threads_)
        thread->finish();
    for (const auto& thread : threads_)
        thread->join();
    acceptor_.reset();
    accept_timer_.reset();
    threads_.clear();
}

ServerStats Server::Impl::stats() const {
    ServerStats stats;
    stats.connections = shared_->admission->open();
    stats.websockets = shared_->websockets.load();
    stats.requests = shared_->requests.load();
    stats.refused_connections = shared_->refused.load();
    return stats;
}

Server::Server(ServerOptions options, Router router)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(router))) {}

Server::~Server() {
    stop(std::chrono::milliseconds(0));
}

Result<void> Server::start() {
    return impl_->start();
}

std::uint16_t Server::port() const noexcept {
    return impl_->port();
}

void Server::stop(std::chrono::milliseconds deadline) {
    impl_->stop(deadline);
}

ServerStats Server::stats() const {
    return impl_->stats();
}

}  // namespace marketplace::http
