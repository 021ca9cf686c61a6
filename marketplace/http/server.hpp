// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/limits.hpp"
#include "ledger/base/result.hpp"
#include "marketplace/http/router.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace marketplace::http {

/// One finished request, for logs and metrics.
struct AccessRecord {
    const Request& request;
    int status = 0;
    std::uint64_t response_bytes = 0;
    std::chrono::microseconds duration{0};
};

/// Limits are those of ledger/base/limits.hpp; tests shorten the times.
struct ServerOptions {
    std::string address = "127.0.0.1";
    std::uint16_t port = 0;  ///< 0: any free one
    unsigned threads = 2;
    std::size_t connections_max = ledger::base::limits::kHttpConnections;
    std::size_t connections_per_address_max = ledger::base::limits::kHttpConnectionsPerAddress;
    std::size_t requests_per_connection_max = ledger::base::limits::kHttpRequestsPerConnection;
    std::chrono::milliseconds header_timeout = ledger::base::limits::kHttpHeaderTimeout;
    std::chrono::milliseconds body_timeout = ledger::base::limits::kHttpBodyTimeout;
    std::chrono::milliseconds idle_timeout = ledger::base::limits::kHttpIdleTimeout;
    std::chrono::milliseconds handler_timeout = ledger::base::limits::kHttpHandlerTimeout;
    std::chrono::milliseconds write_timeout = ledger::base::limits::kHttpWriteTimeout;
    std::chrono::milliseconds heartbeat{15'000};
    /// Called on io threads after each request; must not block.
    std::function<void(const AccessRecord&)> on_access;
    /// A handler threw: the request id the client was given, and what().
    std::function<void(std::string_view request_id, std::string_view what)> on_incident;
};

struct ServerStats {
    std::size_t connections = 0;
    std::size_t websockets = 0;
    std::uint64_t requests = 0;
    std::uint64_t refused_connections = 0;
};

/// HTTP/1.1 and WebSocket server. Knows no domain.
class Server {
 public:
    Server(ServerOptions options, Router router);
    ~Server();  ///< stops at once if it runs
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    /// Listens and starts the io threads. port_in_use, config_invalid (address).
    [[nodiscard]] ledger::base::Result<void> start();
    /// Port listened on, after `start`.
    [[nodiscard]] std::uint16_t port() const noexcept;
    /// Stops accepting, lets requests in flight finish until the deadline, closes the rest, joins.
    void stop(std::chrono::milliseconds deadline);
    [[nodiscard]] ServerStats stats() const;

 private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace marketplace::http
