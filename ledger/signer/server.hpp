// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "ledger/signer/service.hpp"

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>

namespace ledger::signer {

struct ServerLimits {
    std::size_t connections = 64;
    std::chrono::milliseconds idle_timeout{5000};  ///< per connection, from accept to answer
};

/// Serves a signer on a unix socket of mode 0600. Only processes of the same user are heard
/// (SO_PEERCRED). One line in, one line out, then the connection ends. One thread.
class Server {
 public:
    /// port_in_use when a signer answers on the socket already.
    [[nodiscard]] static base::Result<Server> listen(const std::filesystem::path& socket,
                                                     ServerLimits limits = {});
    Server(Server&&) noexcept;
    Server& operator=(Server&&) = delete;
    ~Server();

    /// Serves until `stop_descriptor` becomes readable.
    [[nodiscard]] base::Result<void> run(SignerService& service, int stop_descriptor);

 private:
    Server() = default;
    struct Connection;
    void accept_one();
    [[nodiscard]] bool serve(Connection& connection, SignerService& service);
    [[nodiscard]] int wait_ms() const;

    std::filesystem::path path_;
    int listener_ = -1;
    ServerLimits limits_;
    std::map<int, std::unique_ptr<Connection>> connections_;
};

}  // namespace ledger::signer
