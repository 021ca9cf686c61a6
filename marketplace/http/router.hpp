// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/limits.hpp"
#include "marketplace/http/request.hpp"
#include "marketplace/http/response.hpp"
#include "marketplace/http/websocket.hpp"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace marketplace::http {

/// Answers one request, once, from any thread, at once or later. Copies share the one answer; the
/// first call wins. When the last copy goes unanswered the client gets 500.
class Reply {
 public:
    class Sink {
     public:
        virtual ~Sink() = default;
        virtual void send(Response response) = 0;
        virtual void send_later(std::function<Response()> make) { send(make()); }
    };
    explicit Reply(std::shared_ptr<Sink> sink) noexcept : sink_(std::move(sink)) {}
    void operator()(Response response) const { sink_->send(std::move(response)); }
    /// Answers with what `make` returns. It runs on the connection's thread where there is one: for
    /// callers whose thread is dear.
    void later(std::function<Response()> make) const { sink_->send_later(std::move(make)); }

 private:
    std::shared_ptr<Sink> sink_;
};

/// Called on a connection's thread: it must not block. No coroutines: under g++ 12 plain
/// callbacks are the safe form.
using Handler = std::function<void(RequestPtr, Reply)>;
/// For handlers that answer at once.
using SyncHandler = std::function<Response(const Request&)>;
/// Makes the sink of an upload, or refuses it before the body is read.
using SinkFactory =
    std::function<ledger::base::Result<std::shared_ptr<BodySink>>(const Request& head)>;
/// Authorises an upgrade and makes the connection's handler, or refuses it.
using WebSocketFactory =
    std::function<ledger::base::Result<std::shared_ptr<WebSocketHandler>>(const Request&)>;

struct RouteOptions {
    std::size_t body_bytes_max = ledger::base::limits::kHttpBodyBytes;
    SinkFactory sink;  ///< when set, the body goes there instead of Request::body
    std::chrono::milliseconds handler_timeout{0};  ///< 0: the server's
};

/// Method and path template to handler. Filled before the server starts, constant afterwards.
/// Templates: "/v1/jobs/{id}"; "{name...}" as the last part takes the rest of the path.
/// A fixed part wins over a parameter. HEAD is answered by GET's handler when it has none.
class Router {
 public:
    void add(Method method, std::string_view path, Handler handler, RouteOptions options = {});
    void get(std::string_view path, SyncHandler handler);
    void websocket(std::string_view path, WebSocketFactory factory);

    /// Runs before a route's handler, in order of adding; an answer ends the request (rate limits).
    void before(std::function<std::optional<Response>(const Request&)> filter);
    /// Runs on every response before it is sent (CORS, rate-limit headers).
    void after(std::function<void(const Request&, Response&)> filter);
    /// Builds the answer for the server's own refusals: 400, 404, 405, 408, 413, 431, 500, 503, …
    /// Status 0: a sink's or WebSocket factory's refusal, the status follows from its code.
    void on_error(
        std::function<Response(const Request&, int status, const ledger::base::Error&)> render);

    struct Route {
        std::string path;  ///< the template
        Handler handler;
        WebSocketFactory websocket;
        RouteOptions options;
    };
    struct Match {
        const Route* route = nullptr;  ///< null: none
        bool path_known = false;       ///< another method exists: 405
        std::string allow;             ///< "GET, HEAD, POST" for 405 and OPTIONS
        std::vector<std::pair<std::string, std::string>> params;
    };
    [[nodiscard]] Match find(Method method, std::string_view path) const;
    [[nodiscard]] std::optional<Response> run_before(const Request& request) const;
    void run_after(const Request& request, Response& response) const;
    [[nodiscard]] Response error(const Request& request, int status,
                                 const ledger::base::Error& error) const;

 private:
    struct Node {
        std::map<std::string, std::unique_ptr<Node>, std::less<>> fixed;
        std::unique_ptr<Node> parameter;
        std::string parameter_name;
        bool takes_rest = false;
        std::map<Method, Route> routes;
    };
    Node& node_for(std::string_view path);

    Node root_;
    std::vector<std::function<std::optional<Response>(const Request&)>> before_;
    std::vector<std::function<void(const Request&, Response&)>> after_;
    std::function<Response(const Request&, int, const ledger::base::Error&)> render_;
};

}  // namespace marketplace::http
