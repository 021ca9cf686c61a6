// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <functional>
#include <memory>
#include <string>

namespace worker::agent {

/// The one connection to the market: dialled from here, so it works behind NAT. Its thread does
/// nothing but read and write; keep-alive pings and time-outs are bounded.
class MarketSocket {
 public:
    /// Called on the socket's own thread; must not block. `on_close` comes exactly once per `open`,
    /// also when the connection never came up: unauthorized (the token was refused), unavailable,
    /// timeout, too_large (a message above the limit, or more queued than the limit).
    struct Callbacks {
        std::function<void()> on_open;
        std::function<void(std::string)> on_message;
        std::function<void(ledger::base::Error)> on_close;
    };

    explicit MarketSocket(Callbacks callbacks);
    ~MarketSocket();
    MarketSocket(const MarketSocket&) = delete;
    MarketSocket& operator=(const MarketSocket&) = delete;

    /// Starts dialling `market` (http://host:port) and returns at once. Only when closed.
    void open(const std::string& market, const std::string& token);
    /// Queues a message; dropped when not connected. From any thread.
    void send(std::string message);
    /// Ends the connection; `on_close` follows.
    void close();

 private:
    class Connection;
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace worker::agent
