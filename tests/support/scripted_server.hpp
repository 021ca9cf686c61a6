// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace tests::support {

/// What to do after a request was read whole.
struct ServerAction {
    std::string bytes;  ///< sent as they are
    enum class Then : std::uint8_t { kKeep, kClose, kReset, kHang } then = Then::kKeep;
    int pause_ms = 0;  ///< between one byte and the next
};

/// A server that says exactly what a test wants, byte for byte. One connection at a time.
class ScriptedServer {
 public:
    using Script = std::function<ServerAction(const std::string& request)>;

    explicit ScriptedServer(Script script) : script_(std::move(script)) {
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof(address);
        auto* generic = reinterpret_cast<sockaddr*>(&address);
        if (::bind(listener_, generic, size) != 0 || ::listen(listener_, 16) != 0 ||
            ::getsockname(listener_, generic, &size) != 0 || ::pipe(stop_) != 0)
            throw std::runtime_error("no test server");
        port_ = ntohs(address.sin_port);
        thread_ = std::thread([this] { run(); });
    }
    ~ScriptedServer() {
        const char byte = 0;
        static_cast<void>(!::write(stop_[1], &byte, 1));
        thread_.join();
        for (const int descriptor : {listener_, stop_[0], stop_[1]})
            ::close(descriptor);
    }
    ScriptedServer(const ScriptedServer&) = delete;
    ScriptedServer& operator=(const ScriptedServer&) = delete;

    [[nodiscard]] std::string url(const std::string& path = "/") const {
        return "http://127.0.0.1:" + std::to_string(port_) + path;
    }
    [[nodiscard]] int connections() const noexcept { return connections_; }
    [[nodiscard]] std::vector<std::string> requests() const {
        const std::lock_guard lock(mutex_);
        return requests_;
    }

 private:
    /// Waits for data; false when the test is over.
    bool readable(int descriptor) const {
        pollfd watched[2] = {{descriptor, POLLIN, 0}, {stop_[0], POLLIN, 0}};
        ::poll(watched, 2, -1);
        return watched[1].revents == 0;
    }
    void run() {
        while (readable(listener_)) {
            const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (connection < 0) return;
            ++connections_;
            serve(connection);
            ::close(connection);
        }
    }
    void serve(int connection) {
        std::string input;
        while (readable(connection)) {
            char piece[65536];
            const ssize_t count = ::recv(connection, piece, sizeof(piece), 0);
            if (count <= 0) return;
            input.append(piece, static_cast<std::size_t>(count));
            while (const std::size_t length = complete(input)) {
                const std::string request = input.substr(0, length);
                input.erase(0, length);
                {
                    const std::lock_guard lock(mutex_);
                    requests_.push_back(request);
                }
                if (!act(connection, script_(request))) return;
            }
        }
    }
    static std::size_t complete(const std::string& input) {
        const std::size_t head = input.find("\r\n\r\n");
        if (head == input.npos) return 0;
        std::size_t body = 0;
        const std::size_t field = input.find("Content-Length: ");
        if (field < head) body = std::strtoul(input.c_str() + field + 16, nullptr, 10);
        return input.size() >= head + 4 + body ? head + 4 + body : 0;
    }
    bool act(int connection, const ServerAction& action) {
        std::string_view left = action.bytes;
        while (!left.empty()) {
            const std::size_t piece = action.pause_ms > 0 ? 1 : left.size();
            const ssize_t count = ::send(connection, left.data(), piece, MSG_NOSIGNAL);
            if (count <= 0) return false;
            pollfd ending{stop_[0], POLLIN, 0};
            if (action.pause_ms > 0 && ::poll(&ending, 1, action.pause_ms) > 0) return false;
            left.remove_prefix(static_cast<std::size_t>(count));
        }
        switch (action.then) {
            case ServerAction::Then::kKeep:
                return true;
            case ServerAction::Then::kClose:
                return false;
            case ServerAction::Then::kReset: {
                const linger now{1, 0};
                ::setsockopt(connection, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
                return false;
            }
            case ServerAction::Then::kHang:
                while (readable(connection)) {
                    char byte = 0;
                    if (::recv(connection, &byte, 1, 0) <= 0) return false;
                }
                return false;
        }
        return false;
    }

    Script script_;
    int listener_ = -1;
    int stop_[2] = {-1, -1};
    std::uint16_t port_ = 0;
    std::atomic<int> connections_ = 0;
    mutable std::mutex mutex_;
    std::vector<std::string> requests_;
    std::thread thread_;
};

/// A whole answer with its length.
inline std::string http_answer(const std::string& status, const std::string& body,
                               const std::string& headers = "") {
    return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
           headers + "\r\n" + body;
}

}  // namespace tests::support
