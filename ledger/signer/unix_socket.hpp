// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <filesystem>
#include <optional>

namespace ledger::signer::detail {

/// Owns a socket.
class Socket {
 public:
    explicit Socket(int descriptor) noexcept : descriptor_(descriptor) {}
    Socket(Socket&& other) noexcept;
    Socket& operator=(Socket&&) = delete;
    ~Socket();
    [[nodiscard]] int get() const noexcept { return descriptor_; }

 private:
    int descriptor_;
};

/// config_invalid when the path is longer than the system takes (107 bytes).
[[nodiscard]] base::Result<sockaddr_un> make_address(const std::filesystem::path& path);
[[nodiscard]] const sockaddr* generic(const sockaddr_un* address) noexcept;
/// A connected non-blocking socket; empty when nobody listens.
[[nodiscard]] std::optional<Socket> connect_to(const sockaddr_un& address);

}  // namespace ledger::signer::detail
