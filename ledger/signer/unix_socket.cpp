// SPDX-License-Identifier: Apache-2.0
#include "ledger/signer/unix_socket.hpp"

#include <unistd.h>

#include <cstring>
#include <utility>

namespace ledger::signer::detail {

Socket::Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

Socket::~Socket() {
    if (descriptor_ >= 0) ::close(descriptor_);
}

base::Result<sockaddr_un> make_address(const std::filesystem::path& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string text = path.string();
    if (text.empty() || text.size() >= sizeof(address.sun_path))
        return base::fail(base::ErrorCode::config_invalid,
                          "the socket's path must have 1 to 107 bytes: " + text);
    std::memcpy(address.sun_path, text.data(), text.size());
    return address;
}

const sockaddr* generic(const sockaddr_un* address) noexcept {
    return reinterpret_cast<const sockaddr*>(address);
}

std::optional<Socket> connect_to(const sockaddr_un& address) {
    Socket socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (socket.get() < 0) return std::nullopt;
    if (::connect(socket.get(), generic(&address), sizeof(address)) != 0) return std::nullopt;
    return socket;
}

}  // namespace ledger::signer::detail
