// SPDX-License-Identifier: Apache-2.0
// Writing: heads, bodies, files, streams.
#include "marketplace/http/connection.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>

namespace marketplace::http {

namespace asio = boost::asio;
using boost::system::error_code;
using ledger::base::Error;
using ledger::base::ErrorCode;

namespace {

constexpr std::size_t kPiece = 64 * 1024;
constexpr std::size_t kBurst = 1024 * 1024;  // then others on this thread have their turn
constexpr std::chrono::seconds kLingerTimeout{2};
constexpr std::size_t kNumberBytes = 20;
/// Of a head: its fixed words, its two numbers and its reason have some 250.
constexpr std::size_t kFramingBytes = 512;

[[nodiscard]] bool forbids_body(int status) noexcept {
    return status < 200 || status == 204 || status == 304;
}

}  // namespace

void Connection::send(Response&& response) {
    shared_->router.run_after(*request_, response);
    if (response.file && !open_file(*response.file)) {
        response = shared_->router.error(*request_, 500,
                                         Error(ErrorCode::internal, "incident " + request_->id));
    }
    const bool is_head = request_->method == Method::kHead;
    const bool has_body = !is_head && !forbids_body(response.status);
    keep_alive_ = keep_alive_ && !response.close && !draining_ && body_left_ == 0 &&
                  serial_ < shared_->options.requests_per_connection_max;
    std::uint64_t length = response.file ? response.file->length : response.body.size();
    if (response.stream) {
        if (!parser_->is_http_1_1()) keep_alive_ = false;  // the end of the body is the close
        length = 0;
    }
    format_head(response, length, has_body);
    head_sent_ = body_sent_ = progress_ = 0;
    response_bytes_ = 0;
    response_status_ = response.status;
    body_.clear();
    file_left_ = 0;
    deadline_ = after(shared_->options.write_timeout);
    state_ = State::kWriting;
    if (has_body && response.stream) {
        stream_ = std::move(response.stream);
        start_stream();
        return;
    }
    if (has_body && response.file) {
        file_left_ = response.file->length;
    } else if (has_body && response.body.size() < kPiece / 16) {
        head_ += response.body;  // one copy is cheaper than a second buffer
    } else if (has_body) {
        body_ = std::move(response.body);
    }
    pump();
}

void Connection::format_head(const Response& response, std::uint64_t length, bool has_body) {
    // By hand into room that is certainly enough: formatting, and each step that looks for room,
    // cost as much as reading the request did.
    std::size_t room =
        kFramingBytes + response.content_type.size() + thread_->date().size() + request_->id.size();
    for (const auto& [name, value] : response.headers)
        room += name.size() + value.size() + 4;
    head_.resize(room);
    char* out = head_.data();
    const auto put = [&out](std::string_view text) {
        out = std::copy(text.begin(), text.end(), out);
    };
    const auto put_clean = [&out](std::string_view value) {  // it must not end its line early
        for (const char c : value)
            *out++ = static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    };
    const auto put_number = [&out](std::uint64_t number) {
        out = std::to_chars(out, out + kNumberBytes, number).ptr;
    };
    put("HTTP/1.1 ");
    put_number(static_cast<std::uint64_t>(response.status));
    put(" ");
    put(reason_phrase(response.status));
    put("\r\nserver: millrace\r\ndate: ");
    put(thread_->date());
    if (!response.content_type.empty()) {
        put("\r\ncontent-type: ");
        put(response.content_type);
    }
    if (response.stream) {
        if (has_body && parser_->is_http_1_1()) put("\r\ntransfer-encoding: chunked");
    } else if (response.status >= 200 && response.status != 204 && response.status != 304) {
        put("\r\ncontent-length: ");
        put_number(length);
    }
    for (const auto& [name, value] : response.headers) {
        put("\r\n");
        put_clean(name);
        put(": ");
        put_clean(value);
    }
    put("\r\nx-request-id: ");
    put(request_->id);
    if (!keep_alive_)
        put("\r\nconnection: close");
    else if (!parser_->is_http_1_1())
        put("\r\nconnection: keep-alive");
    put("\r\n\r\n");
    head_.resize(static_cast<std::size_t>(out - head_.data()));
}

bool Connection::open_file(const FileBody& file) {
    file_ = std::ifstream(file.path, std::ios::binary);
    file_.seekg(static_cast<std::streamoff>(file.offset));
    return file_.good();
}

void Connection::start_stream() {
    state_ = State::kStreaming;
    stream_ended_ = false;
    stream_in_flight_ = 0;
    stream_last_write_ = std::chrono::steady_clock::now();
    stream_state_ = std::make_shared<StreamState>(thread_, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->pump();
    });
    const auto stream = stream_;
    const auto on_release =
        stream->on_tick ? StreamHandle::OnRelease::kKeepOpen : StreamHandle::OnRelease::kClose;
    auto writer = std::make_shared<StreamHandle>(stream_state_, on_release);
    if (stream->on_start) stream->on_start(std::move(writer));
    wait_readable();  // notices a client that leaves
    pump();
}

void Connection::pump() {
    if (write_waiting_) return;
    const auto keep = shared_from_this();
    std::size_t burst = 0;
    while (state_ == State::kWriting || state_ == State::kStreaming) {
        if (head_sent_ == head_.size() && body_sent_ == body_.size()) {
            if (!refill()) return;
            continue;
        }
        if (burst >= kBurst) {
            write_waiting_ = true;
            asio::post(thread_->context(), [self = shared_from_this()] {
                self->write_waiting_ = false;
                self->pump();
            });
            return;
        }
        const asio::const_buffer head(head_.data() + head_sent_, head_.size() - head_sent_);
        const asio::const_buffer body(body_.data() + body_sent_,
                                      std::min(body_.size() - body_sent_, kBurst));
        error_code ec;
        // One piece is written with a cheaper call of the kernel than two.
        const std::size_t sent = body.size() == 0 ? socket_.write_some(head, ec)
                                                  : socket_.write_some(std::array{head, body}, ec);
        if (ec == asio::error::would_block || ec == asio::error::interrupted) {
            write_waiting_ = true;
            socket_.async_wait(Socket::wait_write,
                               [self = shared_from_this()](const error_code& failed) {
                                   self->write_waiting_ = false;
                                   if (!failed) self->pump();
                               });
            return;
        }
        if (ec) {
            close();
            return;
        }
        const std::size_t from_head = std::min(sent, head_.size() - head_sent_);
        head_sent_ += from_head;
        body_sent_ += sent - from_head;
        response_bytes_ += sent;
        burst += sent;
        progress_ += sent;
        if (progress_ >= kPiece) {  // a client that takes 64 KiB per time-out may go on
            progress_ = 0;
            deadline_ = after(shared_->options.write_timeout);
        }
    }
}

/// Puts the next piece into head_; false when there is none now (or the response is complete).
bool Connection::refill() {
    head_.clear();
    head_sent_ = 0;
    if (state_ == State::kStreaming) {
        refill_stream();
        return !head_.empty();
    }
    if (file_left_ > 0) {
        head_.resize(std::min<std::uint64_t>(file_left_, kPiece));
        file_.read(head_.data(), static_cast<std::streamsize>(head_.size()));
        if (file_.gcount() != static_cast<std::streamsize>(head_.size())) {
            close();  // the length was promised: a cut is the only honest answer
            return false;
        }
        file_left_ -= head_.size();
        return true;
    }
    finish_response();
    return false;
}

void Connection::refill_stream() {
    if (stream_in_flight_ > 0) {
        stream_state_->written(stream_in_flight_);
        stream_in_flight_ = 0;
    }
    if (stream_ended_) {
        finish_response();
        return;
    }
    const auto pulled = stream_state_->pull();
    if (pulled.overflow) {
        close();
        return;
    }
    const bool chunked = parser_->is_http_1_1();
    if (!pulled.bytes.empty()) {
        stream_in_flight_ = pulled.bytes.size();
        stream_last_write_ = std::chrono::steady_clock::now();
        if (chunked) fmt::format_to(std::back_inserter(head_), "{:x}\r\n", pulled.bytes.size());
        head_ += pulled.bytes;
        if (chunked) head_ += "\r\n";
    }
    if (pulled.ended) {
        stream_ended_ = true;
        if (chunked)
            head_ += "0\r\n\r\n";
        else if (head_.empty())
            finish_response();
    }
    deadline_ = head_.empty() ? SteadyTime::max() : after(shared_->options.write_timeout);
}

void Connection::finish_response() {
    log_access(response_status_);
    if (stream_state_) stream_state_->abandon();
    stream_state_.reset();
    stream_.reset();
    if (file_.is_open()) file_.close();
    body_.clear();
    body_.shrink_to_fit();
    if (keep_alive_ && !draining_) {
        begin_request();
        return;
    }
    if (body_left_ > 0) {
        begin_linger();
        return;
    }
    error_code ec;
    socket_.shutdown(Socket::shutdown_both, ec);
    close();
}

void Connection::log_access(int status) {
    if (!shared_->options.on_access) return;
    const auto took = std::chrono::steady_clock::now() - request_start_;
    const AccessRecord record{*request_, status, response_bytes_,
                              std::chrono::duration_cast<std::chrono::microseconds>(took)};
    shared_->options.on_access(record);
}

/// Closing while the client still sends would reset the connection and lose our answer.
void Connection::begin_linger() {
    state_ = State::kLingering;
    window_bytes_ = 0;
    deadline_ = after(kLingerTimeout);
    error_code ec;
    socket_.shutdown(Socket::shutdown_send, ec);
    if (ec) {
        close();
        return;
    }
    wait_readable();
}

}  // namespace marketplace::http
