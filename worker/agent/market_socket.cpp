// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/market_socket.hpp"

#include "ledger/base/limits.hpp"
#include "ledger/rpc/http_client.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

namespace worker::agent {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = boost::beast::websocket;
using ledger::base::Error;
using ledger::base::ErrorCode;
namespace limits = ledger::base::limits;

/// One attempt to connect and what follows. Everything runs on the socket's thread.
class MarketSocket::Connection : public std::enable_shared_from_this<Connection> {
 public:
    Connection(asio::io_context& io, Callbacks& callbacks, std::string token)
        : callbacks_(callbacks), resolver_(io), stream_(io), token_(std::move(token)) {}

    void start(const ledger::rpc::Url& url) {
        host_ = url.host + ":" + std::to_string(url.port);
        beast::get_lowest_layer(stream_).expires_after(kConnectTimeout);
        resolver_.async_resolve(url.host, std::to_string(url.port),
                                [self = shared_from_this()](beast::error_code error, auto found) {
                                    if (error) return self->finish(error);
                                    self->connect(found);
                                });
    }

    void send(std::string message) {
        if (!connected_) return;
        queued_bytes_ += message.size();
        if (queued_bytes_ > limits::kWsQueueBytes) {
            finish(Error(ErrorCode::too_large, "the market reads too slowly"));
            return;
        }
        queue_.push_back(std::move(message));
        if (queue_.size() == 1) write();
    }

    void close() {
        if (finished_ || std::exchange(closing_, true)) return;
        if (!connected_) return finish(Error(ErrorCode::cancelled, "closed before it was open"));
        stream_.async_close(websocket::close_code::going_away,
                            [self = shared_from_this()](beast::error_code) {
                                self->finish(Error(ErrorCode::cancelled, "closed by the worker"));
                            });
    }

 private:
    static constexpr std::chrono::seconds kConnectTimeout{5};
    static constexpr std::chrono::seconds kIdleTimeout{30};

    void connect(const asio::ip::tcp::resolver::results_type& found) {
        beast::get_lowest_layer(stream_).async_connect(
            found, [self = shared_from_this()](beast::error_code error, const auto& /*endpoint*/) {
                if (error) return self->finish(error);
                self->handshake();
            });
    }

    void handshake() {
        beast::get_lowest_layer(stream_).expires_never();
        beast::error_code ignored;
        beast::get_lowest_layer(stream_).socket().set_option(asio::ip::tcp::no_delay(true),
                                                             ignored);
        websocket::stream_base::timeout timeout{};
        timeout.handshake_timeout = kConnectTimeout;
        timeout.idle_timeout = kIdleTimeout;
        timeout.keep_alive_pings = true;
        stream_.set_option(timeout);
        stream_.read_message_max(limits::kWsMessageBytes * 4);
        stream_.set_option(
            websocket::stream_base::decorator([this](websocket::request_type& request) {
                request.set(beast::http::field::authorization, "Bearer " + token_);
                request.set(beast::http::field::user_agent, "millrace-worker");
            }));
        stream_.async_handshake(response_, host_, "/v1/worker/ws",
                                [self = shared_from_this()](beast::error_code error) {
                                    if (error) return self->refused(error);
                                    self->connected_ = true;
                                    self->stream_.text(true);
                                    self->callbacks_.on_open();
                                    self->read();
                                });
    }

    void refused(beast::error_code error) {
        if (error != websocket::error::upgrade_declined) return finish(error);
        const auto status = static_cast<unsigned>(response_.result_int());
        if (status == 401 || status == 403)
            return finish(Error(ErrorCode::unauthorized, "the market refused the session"));
        finish(Error(ErrorCode::unavailable,
                     "the market answered " + std::to_string(status) + " to the upgrade"));
    }

    void read() {
        stream_.async_read(
            buffer_, [self = shared_from_this()](beast::error_code error, std::size_t /*bytes*/) {
                if (error) return self->finish(error);
                self->callbacks_.on_message(beast::buffers_to_string(self->buffer_.data()));
                self->buffer_.consume(self->buffer_.size());
                self->read();
            });
    }

    void write() {
        stream_.async_write(
            asio::buffer(queue_.front()),
            [self = shared_from_this()](beast::error_code error, std::size_t /*bytes*/) {
                if (error) return self->finish(error);
                self->queued_bytes_ -= self->queue_.front().size();
                self->queue_.pop_front();
                if (!self->queue_.empty()) self->write();
            });
    }

    void finish(beast::error_code error) {
        const bool timed_out = error == beast::error::timeout || error == asio::error::timed_out;
        const ErrorCode code = timed_out ? ErrorCode::timeout : ErrorCode::unavailable;
        finish(Error(code, "the connection to the market: " + error.message()));
    }

    void finish(const Error& error) {
        if (std::exchange(finished_, true)) return;
        connected_ = false;
        resolver_.cancel();
        beast::get_lowest_layer(stream_).cancel();
        beast::get_lowest_layer(stream_).close();
        callbacks_.on_close(error);
    }

    Callbacks& callbacks_;
    asio::ip::tcp::resolver resolver_;
    websocket::stream<beast::tcp_stream> stream_;
    websocket::response_type response_;
    beast::flat_buffer buffer_;
    std::string token_;
    std::string host_;
    std::deque<std::string> queue_;
    std::size_t queued_bytes_ = 0;
    bool connected_ = false;
    bool closing_ = false;
    bool finished_ = false;
};

struct MarketSocket::Impl {
    explicit Impl(Callbacks given)
        : callbacks(std::move(given)),
          work(asio::make_work_guard(io)),
          thread([this] { io.run(); }) {}
    ~Impl() {
        asio::post(io, [this] {
            if (connection) connection->close();
            connection.reset();
            work.reset();
        });
        // A peer that never answers the close is left behind.
        asio::post(io, [] {});
        stopper = std::thread([this] {
            std::unique_lock lock(mutex);
            if (!ended.wait_for(lock, std::chrono::seconds(2), [this] { return done; })) io.stop();
        });
        thread.join();
        {
            const std::lock_guard lock(mutex);
            done = true;
        }
        ended.notify_one();
        stopper.join();
    }

    Callbacks callbacks;
    asio::io_context io{1};
    asio::executor_work_guard<asio::io_context::executor_type> work;
    std::shared_ptr<Connection> connection;  // touched on the thread only
    std::mutex mutex;
    std::condition_variable ended;
    bool done = false;
    std::thread stopper;
    std::thread thread;
};

MarketSocket::MarketSocket(Callbacks callbacks)
    : impl_(std::make_unique<Impl>(std::move(callbacks))) {}

MarketSocket::~MarketSocket() = default;

void MarketSocket::open(const std::string& market, const std::string& token) {
    const auto url = ledger::rpc::parse_url(market);
    if (!url) {
        const Error error(ErrorCode::config_invalid, "market: " + url.error().detail());
        asio::post(impl_->io, [this, error] { impl_->callbacks.on_close(error); });
        return;
    }
    asio::post(impl_->io, [this, url = *url, token] {
        impl_->connection = std::make_shared<Connection>(impl_->io, impl_->callbacks, token);
        impl_->connection->start(url);
    });
}

void MarketSocket::send(std::string message) {
    asio::post(impl_->io, [this, message = std::move(message)]() mutable {
        if (impl_->connection) impl_->connection->send(std::move(message));
    });
}

void MarketSocket::close() {
    asio::post(impl_->io, [this] {
        if (impl_->connection) impl_->connection->close();
    });
}

}  // namespace worker::agent
