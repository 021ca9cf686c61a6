// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/http/request.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace marketplace::http {

/// RFC 6455 close codes we use.
enum class WsClose : std::uint16_t {
    kNormal = 1000,
    kGoingAway = 1001,
    kPolicy = 1008,
    kTooBig = 1009,
    kTryAgainLater = 1013,
};

/// One open WebSocket. Thread-safe; may outlive the connection (then `send` answers false).
class WebSocketSession {
 public:
    virtual ~WebSocketSession() = default;
    /// Queues a text message. False when it is closed, or when the queue passes kWsQueueBytes:
    /// the connection is then closed with 1013.
    virtual bool send(std::string message) = 0;
    /// Sends what is queued, then closes.
    virtual void close(WsClose code, std::string reason) = 0;
    [[nodiscard]] virtual bool is_open() const noexcept = 0;
    [[nodiscard]] virtual const Request& request() const noexcept = 0;
};
using WebSocketSessionPtr = std::shared_ptr<WebSocketSession>;

/// One per connection, called on the connection's thread only, never concurrently:
/// on_open, on_message…, on_close (once, always when on_open was called).
class WebSocketHandler {
 public:
    virtual ~WebSocketHandler() = default;
    /// Do not keep `session` beyond on_close if it holds the handler (a cycle).
    virtual void on_open(WebSocketSessionPtr session) = 0;
    /// A whole text message of at most kWsMessageBytes. Binary messages close with 1003.
    virtual void on_message(std::string text) = 0;
    virtual void on_close() = 0;
};

}  // namespace marketplace::http
