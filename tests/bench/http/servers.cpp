// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/http/servers.hpp"

#include "marketplace/http/server.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <unordered_map>

namespace http_bench {
namespace {

namespace http = marketplace::http;

constexpr std::string_view kBody = R"({"status":"ok","height":1})";
constexpr std::size_t kLargeBytes = 256 * 1024;
constexpr const char* kNginxBeside = "build/tools/nginx/usr/sbin/nginx";  // as scripts/setup has it

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

int listen_on(std::uint16_t& port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof(address);
    const bool bound =
        ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
        ::listen(fd, 1024) == 0 &&
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
    if (!bound) std::abort();
    port = ntohs(address.sin_port);
    return fd;
}

http::Router make_routes() {
    http::Router router;
    router.on_error([](const http::Request&, int status, const ledger::base::Error& error) {
        return http::Response(status == 0 ? 400 : status, "application/problem+json",
                              fmt::format(R"({{"detail":"{}"}})", error.detail()));
    });
    router.get(kPath,
               [](const http::Request&) { return http::Response::json(std::string(kBody)); });
    router.get("/large", [](const http::Request&) {
        return http::Response::json(std::string(kLargeBytes, 'x'));
    });
    router.add(http::Method::kGet, "/stream",
               [](const http::RequestPtr&, const http::Reply& reply) {
                   // As the market's feeds do: the next piece when the last one has left.
                   auto stream = std::make_shared<http::StreamBody>();
                   stream->on_tick = [](http::StreamWriter& writer) {
                       writer.write(std::string(64 * 1024, 'x'));
                   };
                   reply(http::Response::events(std::move(stream)));
               });
    router.add(http::Method::kPost, "/upload",
               [](const http::RequestPtr&, const http::Reply& reply) {
                   reply(http::Response::json(std::string(kBody)));
               });
    return router;
}

[[noreturn]] void serve_ours(int ready) {
    http::ServerOptions options;
    options.threads = 1;
    http::Server server(options, make_routes());
    if (!server.start()) std::abort();
    tell_port(ready, server.port());
    for (;;)
        ::pause();
}

/// What a connection of the raw server has sent and not been answered for yet.
void answer_all(int fd, std::string& unread, const std::string& answer) {
    for (auto end = unread.find("\r\n\r\n"); end != std::string::npos;
         end = unread.find("\r\n\r\n")) {
        unread.erase(0, end + 4);
        const auto ignored = ::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
        static_cast<void>(ignored);
    }
}

void accept_all(int listener, int epoll) {
    for (;;) {
        const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        const int on = 1;
        ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = fd;
        ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

[[noreturn]] void serve_raw(int ready, const std::string& answer) {
    std::uint16_t port = 0;
    const int listener = listen_on(port);
    const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = listener;
    ::epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    tell_port(ready, port);
    std::unordered_map<int, std::string> unread;
    std::array<epoll_event, 256> events{};
    std::array<char, 4096> piece{};
    for (;;) {
        const int count = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
        for (int i = 0; i < count; ++i) {
            const int fd = events[static_cast<std::size_t>(i)].data.fd;
            if (fd == listener) {
                accept_all(listener, epoll);
                continue;
            }
            const ssize_t got = ::recv(fd, piece.data(), piece.size(), 0);
            if (got <= 0) {
                unread.erase(fd);
                ::close(fd);
                continue;
            }
            std::string& text = unread[fd];
            text.append(piece.data(), static_cast<std::size_t>(got));
            answer_all(fd, text, answer);
        }
    }
}

/// The same body and header fields as ours; its own server name.
std::string nginx_settings(const std::filesystem::path& folder, std::uint16_t port) {
    return fmt::format(R"(daemon off;
master_process off;
worker_processes 1;
pid {0}/pid;
error_log {0}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  server_tokens off;
  client_body_temp_path {0}/body;
  proxy_temp_path {0}/proxy;
  fastcgi_temp_path {0}/fastcgi;
  uwsgi_temp_path {0}/uwsgi;
  scgi_temp_path {0}/scgi;
  default_type application/json;
  server {{
    listen 127.0.0.1:{1} backlog=1024;
    add_header x-request-id req_0123456789abcdef1;
    location / {{ return 200 '{2}'; }}
  }}
}}
)",
                       folder.string(), port, kBody);
}

std::string find_nginx() {
    for (const char* place : {kNginxBeside, "/usr/sbin/nginx", "/usr/local/sbin/nginx"})
        if (::access(place, X_OK) == 0) return place;
    return {};
}

}  // namespace

ChildPtr start_ours() {
    return std::make_unique<Child>([](int ready) { serve_ours(ready); });
}

ChildPtr start_raw(const std::string& answer) {
    return std::make_unique<Child>([&](int ready) { serve_raw(ready, answer); });
}

ChildPtr start_nginx() {
    const std::string program = find_nginx();
    if (program.empty()) return nullptr;
    std::string name = "/tmp/millrace-nginx-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) return nullptr;
    std::uint16_t port = 0;
    ::close(listen_on(port));  // a free one
    const std::filesystem::path folder = name;
    const std::string settings = folder / "nginx.conf";
    std::ofstream(settings) << nginx_settings(folder, port);
    auto child = std::make_unique<Child>([&](int ready) {
        tell_port(ready, port);
        const std::string log = folder / "error.log";
        ::execl(program.c_str(), "nginx", "-c", settings.c_str(), "-p", folder.c_str(), "-e",
                log.c_str(), nullptr);
    });
    for (int i = 0; i < 500 && fetch(port).empty(); ++i)
        ::poll(nullptr, 0, 10);
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);  // what it needs of it, it has open
    return child;
}

std::string fetch(std::uint16_t port) {
    const int fd = connect_to(port, 0);
    if (fd < 0) return {};
    const std::string request = fmt::format("GET {} HTTP/1.1\r\nhost: bench\r\n\r\n", kPath);
    std::string answer;
    std::array<char, 4096> piece{};
    if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) > 0)
        while (!answer.ends_with(kBody)) {
            const ssize_t got = ::recv(fd, piece.data(), piece.size(), 0);
            if (got <= 0) break;
            answer.append(piece.data(), static_cast<std::size_t>(got));
        }
    ::close(fd);
    return answer.ends_with(kBody) ? answer : std::string();
}

}  // namespace http_bench
