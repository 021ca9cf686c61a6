// SPDX-License-Identifier: Apache-2.0
// Reading: heads, bodies, deadlines.
#include "marketplace/http/connection.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <sys/socket.h>

namespace marketplace::http {

namespace asio = boost::asio;
namespace limits = ledger::base::limits;
using boost::system::error_code;
using ledger::base::Error;
using ledger::base::ErrorCode;

namespace {
constexpr std::size_t kFirstBuffer = 2048;
constexpr std::size_t kBodyPiece = 64 * 1024;
constexpr std::size_t kBodyBytesPerSecond = 16 * 1024;   // slower uploads are cut
constexpr std::uint64_t kLingerBytes = 4 * 1024 * 1024;  // dropped while our last answer leaves
constexpr unsigned kTicksPerStreamPoll = 2;
}  // namespace

Connection::Connection(std::shared_ptr<IoThread> thread, std::shared_ptr<ServerShared> shared,
                       Socket socket, std::string remote_address,
                       std::unique_ptr<Admission::Ticket> ticket)
    : thread_(std::move(thread)),
      shared_(std::move(shared)),
      socket_(std::move(socket)),
      remote_address_(std::move(remote_address)),
      ticket_(std::move(ticket)) {}

void Connection::start() {
    thread_->add(shared_from_this());
    begin_request();
    deadline_ = after(shared_->options.header_timeout);  // the first request comes at once
}

void Connection::begin_request() {
    route_ = nullptr;
    keep_alive_ = false;
    request_ = std::make_shared<Request>();
    request_->remote_address = remote_address_;
    parser_.emplace(*request_);
    ++serial_;
    state_ = State::kIdle;
    deadline_ = after(shared_->options.idle_timeout);
    if (begin_ == end_) {
        begin_ = end_ = 0;
        read_head();
        return;
    }
    // Bytes of the next request are here already; not from inside this call chain.
    asio::post(thread_->context(), [self = shared_from_this()] {
        if (self->state_ != State::kIdle) return;
        self->state_ = State::kHead;
        self->deadline_ = self->after(self->shared_->options.header_timeout);
        self->parse_head();
    });
}

void Connection::wait_readable() {
    if (read_waiting_) return;
    read_waiting_ = true;
    socket_.async_wait(Socket::wait_read, [self = shared_from_this()](const error_code& ec) {
        self->read_waiting_ = false;
        if (ec || self->state_ == State::kClosed) return;
        self->on_readable();
    });
}

void Connection::on_readable() {
    switch (state_) {
        case State::kBody:
            read_body();
            break;
        case State::kStreaming:
            watch_client();
            break;
        case State::kLingering:
            read_and_drop();
            break;
        case State::kIdle:
        case State::kHead:
            read_head();  // a stream's watch outlived it
            break;
        case State::kHandling:
        case State::kWriting:
        case State::kClosed:
            break;
    }
}

/// A stream's client that closed its side is gone; other early bytes wait for their turn.
void Connection::watch_client() {
    char byte = 0;
    const ssize_t got = ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got > 0) return;
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        wait_readable();
        return;
    }
    close();
}

/// Reads into the buffer when there is something: waiting first, as for bodies, would cost a call
/// of the kernel more for each request. While this read waits the buffer stays as it is: only its
/// end or the end of the connection lets another state read.
void Connection::read_head() {
    if (read_waiting_) return;
    if (buffer_.empty()) buffer_.resize(kFirstBuffer);
    if (end_ == buffer_.size() && begin_ > 0) {
        std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_),
                  buffer_.begin() + static_cast<std::ptrdiff_t>(end_), buffer_.begin());
        end_ -= begin_;
        begin_ = 0;
    }
    if (end_ == buffer_.size()) {
        if (buffer_.size() >= limits::kHttpHeaderBytes) {
            refuse(431, Error(ErrorCode::too_large, "the request head passes 8 KiB"));
            return;
        }
        buffer_.resize(std::min(buffer_.size() * 2, limits::kHttpHeaderBytes));
    }
    read_waiting_ = true;
    socket_.async_read_some(asio::buffer(buffer_.data() + end_, buffer_.size() - end_),
                            [self = shared_from_this()](const error_code& ec, std::size_t got) {
                                self->read_waiting_ = false;
                                self->on_head_bytes(ec, got);
                            });
}

void Connection::on_head_bytes(const error_code& ec, std::size_t got) {
    // Refused for its slowness meanwhile: the answer is on its way, or has left.
    if (state_ == State::kLingering && !ec) {
        window_bytes_ += got;
        read_and_drop();
        return;
    }
    if (state_ == State::kWriting || state_ == State::kClosed) return;
    if (ec) {
        close();
        return;
    }
    end_ += got;
    if (state_ == State::kIdle) {
        state_ = State::kHead;
        // Absolute: not renewed by further bytes, so a slow head cannot hold the connection.
        if (serial_ > 1) deadline_ = after(shared_->options.header_timeout);
    }
    parse_head();
}

void Connection::parse_head() {
    if (!parser_->got_some()) {  // tolerate empty lines before a request (RFC 9112 section 2.2)
        while (end_ - begin_ >= 2 && buffer_[begin_] == '\r' && buffer_[begin_ + 1] == '\n')
            begin_ += 2;
        if (begin_ == end_) {
            read_head();
            return;
        }
    }
    request_start_ = std::chrono::steady_clock::now();
    error_code ec;
    begin_ += parser_->put(asio::const_buffer(buffer_.data() + begin_, end_ - begin_), ec);
    namespace bhttp = boost::beast::http;
    if (ec == bhttp::error::need_more) {
        read_head();
        return;
    }
    if (ec == bhttp::error::header_limit) {
        refuse(431, Error(ErrorCode::too_large, "the request head passes 8 KiB"));
        return;
    }
    if (ec) {
        refuse(400, Error(ErrorCode::invalid_request, "not an HTTP/1.1 request: " + ec.message()));
        return;
    }
    on_head();
}

void Connection::read_body() {
    error_code ec;
    std::size_t got = 0;
    if (request_->sink) {
        std::vector<char> piece(std::min<std::uint64_t>(body_left_, kBodyPiece));
        got = socket_.read_some(asio::buffer(piece), ec);
        if (!ec && !take_body(std::string_view(piece.data(), got))) return;
    } else {
        std::string& body = request_->body;
        const std::size_t have = body.size();
        body.resize(have + std::min<std::uint64_t>(body_left_, kBodyPiece));
        got = socket_.read_some(asio::buffer(body.data() + have, body.size() - have), ec);
        body.resize(have + (ec ? 0 : got));
        if (!ec) body_left_ -= got;
    }
    if (ec == asio::error::would_block || ec == asio::error::interrupted) {
        wait_readable();
        return;
    }
    if (ec) {
        close();
        return;
    }
    window_bytes_ += got;
    const auto window = std::chrono::duration_cast<std::chrono::seconds>(
        shared_->options.body_timeout + std::chrono::milliseconds(999));
    if (window_bytes_ >= kBodyBytesPerSecond * static_cast<std::uint64_t>(window.count())) {
        window_bytes_ = 0;
        deadline_ = after(shared_->options.body_timeout);
    }
    if (body_left_ == 0)
        handle();
    else
        wait_readable();
}

/// Hands a piece to the sink or the body; false when the request was refused.
bool Connection::take_body(std::string_view piece) {
    body_left_ -= piece.size();
    if (!request_->sink) {
        request_->body.append(piece);
        return true;
    }
    if (const auto written = request_->sink->write(piece); !written) {
        refuse(0, written.error());
        return false;
    }
    return true;
}

void Connection::read_and_drop() {
    char trash[16 * 1024];
    for (int i = 0; i < 16; ++i) {
        error_code ec;
        const std::size_t got = socket_.read_some(asio::buffer(trash), ec);
        if (ec == asio::error::would_block || ec == asio::error::interrupted) break;
        window_bytes_ += got;
        if (ec || window_bytes_ > kLingerBytes) {
            close();
            return;
        }
    }
    wait_readable();
}

void Connection::on_tick(SteadyTime now) {
    if (state_ == State::kStreaming) {
        const bool idle = stream_state_ && head_.empty() && stream_state_->queued() == 0;
        if (idle && stream_->on_tick && ++ticks_ % kTicksPerStreamPoll == 0) {
            StreamHandle handle(stream_state_, StreamHandle::OnRelease::kKeepOpen);
            const auto stream = stream_;
            stream->on_tick(handle);
        }
        if (state_ == State::kStreaming && idle && !stream_->heartbeat.empty() &&
            now - stream_last_write_ >= shared_->options.heartbeat) {
            stream_last_write_ = now;
            stream_state_->push(stream_->heartbeat);
        }
    }
    if (now < deadline_) return;
    switch (state_) {
        case State::kIdle:
        case State::kWriting:
        case State::kStreaming:
        case State::kLingering:
            close();
            break;
        case State::kHead:
        case State::kBody:
            refuse(408, Error(ErrorCode::timeout, "the request did not arrive in time"));
            break;
        case State::kHandling:
            ++serial_;  // a late answer is dropped
            refuse(504, Error(ErrorCode::timeout, "the request took too long"));
            break;
        case State::kClosed:
            break;
    }
}

void Connection::drain() {
    draining_ = true;
    if (state_ == State::kIdle || state_ == State::kLingering) close();
    if (state_ == State::kStreaming && stream_ && stream_->on_tick && stream_state_)
        stream_state_->close();  // a subscription would never end by itself
}

void Connection::close() {
    if (state_ == State::kClosed) return;
    state_ = State::kClosed;
    const auto keep = shared_from_this();
    if (stream_state_) stream_state_->abandon();
    if (stream_ && !stream_ended_ && stream_->on_gone) {
        const auto stream = stream_;
        stream->on_gone();
    }
    error_code ec;
    socket_.close(ec);
    stream_.reset();
    stream_state_.reset();
    request_.reset();
    ticket_.reset();
    thread_->remove(*this);
}

}  // namespace marketplace::http
