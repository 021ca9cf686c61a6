// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

/// The servers that are compared: each a process of its own on the first core.
namespace http_bench {

inline constexpr int kServerCore = 0;
inline constexpr int kClientCore = 1;
void pin_to(int core);

class Child {
 public:
    /// Forks; `body` runs in the child, on the server's core, and never returns. What it writes to
    /// the descriptor it is given (a port, as two bytes) is waited for.
    explicit Child(const std::function<void(int ready)>& body);
    ~Child();  ///< kills it
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    /// Processor time of all its threads.
    [[nodiscard]] std::uint64_t cpu_ns() const;
    [[nodiscard]] double resident_mib() const;
    /// Most since the last `forget_peak`.
    [[nodiscard]] double peak_mib() const;
    void forget_peak() const;

 private:
    pid_t pid_ = -1;
    std::uint16_t port_ = 0;
};
using ChildPtr = std::unique_ptr<Child>;

inline constexpr const char* kPath = "/v1/health";

/// The market's HTTP server with one io thread, its default limits and four routes: the small JSON
/// one, a large answer (/large), a stream that never ends (/stream) and an upload (/upload).
[[nodiscard]] ChildPtr start_ours();
/// An epoll loop that answers each request with the bytes `answer`: the least that can be done.
[[nodiscard]] ChildPtr start_raw(const std::string& answer);
/// nginx, one process, with the same body and header fields. Empty when it is not installed.
[[nodiscard]] ChildPtr start_nginx();

/// One answer of the server, head and body as they are; empty when there is none.
[[nodiscard]] std::string fetch(std::uint16_t port);

}  // namespace http_bench
