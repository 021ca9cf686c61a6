// SPDX-License-Identifier: Apache-2.0
#include "marketplace/http/websocket.hpp"

#include "marketplace/http/connection.hpp"

#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/websocket/stream.hpp>

#include <deque>

namespace marketplace::http {

namespace beast = boost::beast;
namespace ws = boost::beast::websocket;
namespace limits = ledger::base::limits;
using boost::system::error_code;

namespace {

class WsConnection;

/// What application threads hold: a queue and a way to wake the connection.
class WsHandle final : public WebSocketSession, public std::enable_shared_from_this<WsHandle> {
 public:
    WsHandle(std::shared_ptr<IoThread> thread, std::shared_ptr<const Request> request)
        : thread_(std::move(thread)), request_(std::move(request)) {}

    bool send(std::string message) override;
    void close(WsClose code, std::string reason) override;
    [[nodiscard]] bool is_open() const noexcept override { return open_.load(); }
    [[nodiscard]] const Request& request() const noexcept override { return *request_; }

    // io thread:
    void attach(std::weak_ptr<WsConnection> connection) { connection_ = std::move(connection); }
    void detach() { open_.store(false); }
    /// Next message to write, if any.
    [[nodiscard]] std::optional<std::string> pop();
    [[nodiscard]] std::optional<ws::close_reason> close_wanted();

 private:
    void wake();  // with mutex_ held

    std::shared_ptr<IoThread> thread_;
    std::shared_ptr<const Request> request_;
    std::atomic<bool> open_{true};
    std::weak_ptr<WsConnection> connection_;  // locked on the io thread only
    std::mutex mutex_;
    std::deque<std::string> queue_;
    std::size_t queued_bytes_ = 0;
    std::optional<ws::close_reason> close_;
    bool woken_ = false;
};

/// The socket's side. Lives on one io thread.
class WsConnection final : public Registered, public std::enable_shared_from_this<WsConnection> {
 public:
    WsConnection(std::shared_ptr<IoThread> thread, std::shared_ptr<ServerShared> shared,
                 Socket socket, std::unique_ptr<Admission::Ticket> ticket,
                 std::shared_ptr<Request> request, std::shared_ptr<WebSocketHandler> handler)
        : thread_(std::move(thread)),
          shared_(std::move(shared)),
          stream_(std::move(socket)),
          ticket_(std::move(ticket)),
          request_(std::move(request)),
          handler_(std::move(handler)),
          buffer_(limits::kWsMessageBytes) {}

    void start();
    void flush();
    void on_tick(SteadyTime now) override;
    void drain() override;
    void shut() override;

 private:
    void on_accept(const error_code& ec);
    void read();
    void on_read(const error_code& ec);
    void begin_close(const ws::close_reason& reason);
    void finish();

    std::shared_ptr<IoThread> thread_;
    std::shared_ptr<ServerShared> shared_;
    ws::stream<Socket> stream_;
    std::unique_ptr<Admission::Ticket> ticket_;
    std::shared_ptr<Request> request_;
    std::shared_ptr<WebSocketHandler> handler_;
    std::shared_ptr<WsHandle> handle_;
    beast::flat_buffer buffer_;
    std::string writing_;
    bool is_writing_ = false;
    bool opened_ = false;
    bool closing_ = false;
    bool finished_ = false;
    SteadyTime write_deadline_ = SteadyTime::max();
};

bool WsHandle::send(std::string message) {
    const std::lock_guard lock(mutex_);
    if (!is_open() || close_) return false;
    if (queued_bytes_ + message.size() > limits::kWsQueueBytes) {
        close_ = ws::close_reason(ws::close_code::try_again_later, "the queue is full");
        queue_.clear();
        wake();
        return false;
    }
    queued_bytes_ += message.size();
    queue_.push_back(std::move(message));
    wake();
    return true;
}

void WsHandle::close(WsClose code, std::string reason) {
    const std::lock_guard lock(mutex_);
    if (!is_open() || close_) return;
    reason.resize(std::min<std::size_t>(reason.size(), 120));
    close_ = ws::close_reason(static_cast<ws::close_code>(code), reason);
    wake();
}

void WsHandle::wake() {
    if (woken_) return;
    woken_ = true;
    thread_->post([self = shared_from_this()] {
        {
            const std::lock_guard lock(self->mutex_);
            self->woken_ = false;
        }
        if (const auto connection = self->connection_.lock()) connection->flush();
    });
}

std::optional<std::string> WsHandle::pop() {
    const std::lock_guard lock(mutex_);
    if (queue_.empty()) return std::nullopt;
    std::string message = std::move(queue_.front());
    queue_.pop_front();
    queued_bytes_ -= message.size();
    return message;
}

std::optional<ws::close_reason> WsHandle::close_wanted() {
    const std::lock_guard lock(mutex_);
    if (!queue_.empty()) return std::nullopt;
    return close_;
}

void WsConnection::start() {
    thread_->add(shared_from_this());
    shared_->websockets.fetch_add(1);
    handle_ = std::make_shared<WsHandle>(thread_, request_);
    handle_->attach(weak_from_this());
    ws::stream_base::timeout timeouts{};
    timeouts.handshake_timeout = shared_->options.header_timeout;
    timeouts.idle_timeout = shared_->options.idle_timeout;
    timeouts.keep_alive_pings = true;
    stream_.set_option(timeouts);
    stream_.set_option(ws::stream_base::decorator([id = request_->id](ws::response_type& answer) {
        answer.set("server", "millrace");
        answer.set("x-request-id", id);
    }));
    stream_.read_message_max(limits::kWsMessageBytes);
    stream_.auto_fragment(false);
    stream_.text(true);
    beast::http::request<beast::http::empty_body> head;
    head.method(beast::http::verb::get);
    head.target(request_->target);
    head.version(11);
    for (const auto& [name, value] : request_->headers)
        head.insert(name, value);
    stream_.async_accept(
        head, [self = shared_from_this()](const error_code& ec) { self->on_accept(ec); });
}

void WsConnection::on_accept(const error_code& ec) {
    if (ec || finished_) {
        finish();
        return;
    }
    opened_ = true;
    handler_->on_open(handle_);
    read();
}

void WsConnection::read() {
    stream_.async_read(buffer_, [self = shared_from_this()](const error_code& ec, std::size_t) {
        self->on_read(ec);
    });
}

void WsConnection::on_read(const error_code& ec) {
    if (ec || finished_) {
        finish();
        return;
    }
    if (!stream_.got_text()) {
        begin_close(ws::close_reason(ws::close_code::unknown_data, "send text messages"));
        return;
    }
    std::string text = beast::buffers_to_string(buffer_.data());
    buffer_.clear();
    handler_->on_message(std::move(text));
    if (!finished_) read();
}

void WsConnection::flush() {
    if (is_writing_ || finished_ || closing_ || !opened_) return;
    auto next = handle_->pop();
    if (!next) {
        if (const auto reason = handle_->close_wanted()) begin_close(*reason);
        return;
    }
    writing_ = std::move(*next);
    is_writing_ = true;
    write_deadline_ = std::chrono::steady_clock::now() + shared_->options.write_timeout;
    stream_.async_write(boost::asio::buffer(writing_),
                        [self = shared_from_this()](const error_code& ec, std::size_t) {
                            self->is_writing_ = false;
                            self->write_deadline_ = SteadyTime::max();
                            if (ec)
                                self->finish();
                            else
                                self->flush();
                        });
}

void WsConnection::begin_close(const ws::close_reason& reason) {
    if (closing_ || finished_) return;
    closing_ = true;
    write_deadline_ = std::chrono::steady_clock::now() + shared_->options.write_timeout;
    stream_.async_close(reason, [self = shared_from_this()](const error_code&) { self->finish(); });
}

void WsConnection::on_tick(SteadyTime now) {
    if (now >= write_deadline_) finish();
}

void WsConnection::drain() {
    if (!opened_)
        finish();
    else if (!is_writing_)
        begin_close(ws::close_reason(ws::close_code::going_away, "the server stops"));
    else
        handle_->close(WsClose::kGoingAway, "the server stops");
}

void WsConnection::shut() {
    finish();
}

void WsConnection::finish() {
    if (finished_) return;
    finished_ = true;
    const auto keep = shared_from_this();
    handle_->detach();
    error_code ec;
    stream_.next_layer().close(ec);
    if (opened_) handler_->on_close();
    handler_.reset();
    shared_->websockets.fetch_sub(1);
    ticket_.reset();
    thread_->remove(*this);
}

}  // namespace

void start_websocket(std::shared_ptr<IoThread> thread, std::shared_ptr<ServerShared> shared,
                     Socket socket, std::unique_ptr<Admission::Ticket> ticket,
                     std::shared_ptr<Request> request, std::shared_ptr<WebSocketHandler> handler) {
    const auto connection =
        std::make_shared<WsConnection>(std::move(thread), std::move(shared), std::move(socket),
                                       std::move(ticket), std::move(request), std::move(handler));
    connection->start();
}

}  // namespace marketplace::http
