// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace test_support {

/// A parsed answer; `complete` is false when the server closed or went silent before its end.
struct HttpAnswer {
    int status = 0;
    std::string head;
    std::string body;
    bool complete = false;

    [[nodiscard]] std::string header(std::string_view name) const {
        std::string lower_head = head;
        for (char& c : lower_head)
            c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
        const auto at = lower_head.find("\r\n" + std::string(name) + ": ");
        if (at == std::string::npos) return {};
        const auto begin = at + 4 + name.size();
        return head.substr(begin, head.find("\r\n", begin) - begin);
    }
};

/// A raw TCP client for tests: sends any bytes, honest or not, and reads HTTP answers.
class HttpTestClient {
 public:
    explicit HttpTestClient(std::uint16_t port) {
        fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        connected_ =
            ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    }
    ~HttpTestClient() { close(); }
    HttpTestClient(HttpTestClient&& other) noexcept
        : fd_(std::exchange(other.fd_, -1)),
          connected_(other.connected_),
          buffer_(std::move(other.buffer_)) {}
    HttpTestClient(const HttpTestClient&) = delete;
    HttpTestClient& operator=(const HttpTestClient&) = delete;

    void close() {
        if (fd_ >= 0) ::close(fd_);
        fd_ = -1;
    }
    [[nodiscard]] bool connected() const { return connected_; }
    [[nodiscard]] int fd() const { return fd_; }

    /// False when the server closed before everything was taken.
    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) return false;
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
        return true;
    }

    /// Waits for more bytes; false at the end of the stream or after `timeout_ms`.
    bool fill(int timeout_ms = 5000) {
        pollfd waiting{fd_, POLLIN, 0};
        if (::poll(&waiting, 1, timeout_ms) <= 0) return false;
        char piece[65536];
        const ssize_t got = ::recv(fd_, piece, sizeof(piece), 0);
        if (got <= 0) {
            ended_ = true;
            return false;
        }
        buffer_.append(piece, static_cast<std::size_t>(got));
        return true;
    }
    /// True when the server closes within the time (what it sent before is kept).
    bool closed_within(std::chrono::milliseconds time) {
        const auto until = std::chrono::steady_clock::now() + time;
        while (!ended_) {
            const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
                until - std::chrono::steady_clock::now());
            if (left.count() <= 0) return false;
            fill(static_cast<int>(left.count()));
        }
        return true;
    }
    [[nodiscard]] std::string& buffer() { return buffer_; }

    bool read_until(std::string_view text, int timeout_ms = 5000) {
        while (buffer_.find(text) == std::string::npos)
            if (!fill(timeout_ms)) return false;
        return true;
    }

    [[nodiscard]] HttpAnswer read_answer(bool head_only = false) {
        HttpAnswer answer;
        while (buffer_.find("\r\n\r\n") == std::string::npos)
            if (!fill()) return answer;
        const auto end = buffer_.find("\r\n\r\n");
        answer.head = buffer_.substr(0, end + 2);
        buffer_.erase(0, end + 4);
        const auto space = answer.head.find(' ');
        std::from_chars(answer.head.data() + space + 1, answer.head.data() + space + 4,
                        answer.status);
        const std::string length_text = answer.header("content-length");
        if (head_only || answer.status == 100 || answer.status == 204 || answer.status == 304) {
            answer.complete = true;
        } else if (!length_text.empty()) {
            const std::size_t length = std::stoul(length_text);
            while (buffer_.size() < length && fill())
                continue;
            answer.complete = buffer_.size() >= length;
            answer.body = buffer_.substr(0, length);
            buffer_.erase(0, length);
        } else if (answer.header("transfer-encoding") == "chunked") {
            answer.complete = read_chunks(answer.body);
        } else {
            while (fill())
                continue;
            answer.body = std::exchange(buffer_, {});
            answer.complete = ended_;
        }
        return answer;
    }

    /// One request with the framing headers, one answer.
    HttpAnswer request(std::string_view method, std::string_view target, std::string_view body = {},
                       std::string_view extra_headers = {}) {
        std::string text = std::string(method) + " " + std::string(target) +
                           " HTTP/1.1\r\nHost: localhost\r\n" + std::string(extra_headers);
        if (!body.empty() || method == "POST" || method == "PUT")
            text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
        text += "\r\n";
        text += body;
        send(text);
        return read_answer(method == "HEAD");
    }

 private:
    bool read_chunks(std::string& body) {
        for (;;) {
            if (!read_until("\r\n")) return false;
            std::size_t size = 0;
            const auto line_end = buffer_.find("\r\n");
            std::from_chars(buffer_.data(), buffer_.data() + line_end, size, 16);
            while (buffer_.size() < line_end + 2 + size + 2)
                if (!fill()) return false;
            body.append(buffer_, line_end + 2, size);
            buffer_.erase(0, line_end + 2 + size + 2);
            if (size == 0) return true;
        }
    }

    int fd_ = -1;
    bool connected_ = false;
    bool ended_ = false;
    std::string buffer_;
};

}  // namespace test_support
