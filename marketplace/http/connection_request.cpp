// SPDX-License-Identifier: Apache-2.0
// From a request's head to its handler.
#include "marketplace/http/connection.hpp"
#include "marketplace/http/text.hpp"

#include <fmt/format.h>

namespace marketplace::http {

using ledger::base::Error;
using ledger::base::ErrorCode;

namespace {

/// Stands for an answer that failed: the connection renders it.
[[nodiscard]] Response unanswered() {
    return Response::empty(0);
}

/// What `make` returns. What it throws is an incident, told of and not to the client.
[[nodiscard]] Response make_response(const ServerShared& shared, const Request& request,
                                     const std::function<Response()>& make) {
    const auto incident = [&](std::string_view what) {
        if (shared.options.on_incident) shared.options.on_incident(request.id, what);
        return unanswered();
    };
    try {
        return make();
    } catch (const std::exception& error) {
        return incident(error.what());
    } catch (...) {
        return incident("unknown exception");
    }
}

/// Brings an answer back to the connection's thread; sees to it that there is one.
class ReplySink final : public Reply::Sink {
 public:
    ReplySink(std::shared_ptr<IoThread> thread, std::shared_ptr<ServerShared> shared,
              RequestPtr request, std::weak_ptr<Connection> connection, std::uint64_t serial)
        : thread_(std::move(thread)),
          shared_(std::move(shared)),
          request_(std::move(request)),
          connection_(std::move(connection)),
          serial_(serial) {}

    ~ReplySink() override {
        if (!answered_.load()) post(unanswered());
    }
    ReplySink(const ReplySink&) = delete;
    ReplySink& operator=(const ReplySink&) = delete;

    void send(Response response) override {
        if (answered_.exchange(true)) return;
        if (!thread_->is_current()) {
            post(std::move(response));
            return;
        }
        if (const auto connection = connection_.lock())
            connection->respond(serial_, std::move(response));
    }

    /// `make` runs also when the client is gone: it may have more to do than to answer.
    void send_later(std::function<Response()> make) override {
        if (answered_.exchange(true)) return;
        thread_->post([shared = shared_, request = request_, connection = connection_,
                       serial = serial_, make = std::move(make)] {
            Response answer = make_response(*shared, *request, make);
            if (const auto open = connection.lock()) open->respond(serial, std::move(answer));
        });
    }

 private:
    // The connection is locked on its own thread only: it must not die on another one.
    void post(Response response) {
        thread_->post(
            [connection = connection_, serial = serial_, answer = std::move(response)]() mutable {
                if (const auto open = connection.lock()) open->respond(serial, std::move(answer));
            });
    }

    std::shared_ptr<IoThread> thread_;
    std::shared_ptr<ServerShared> shared_;
    RequestPtr request_;
    std::weak_ptr<Connection> connection_;
    std::uint64_t serial_;
    std::atomic<bool> answered_{false};
};

/// A client's own id is kept when it is short and plain.
[[nodiscard]] bool is_request_id(std::string_view text) {
    if (text.empty() || text.size() > 64) return false;
    for (const char c : text) {
        const bool plain =
            (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') || c == '-' || c == '_';
        if (!plain) return false;
    }
    return true;
}

}  // namespace

void Connection::on_head() {
    const auto given = request_->header("x-request-id");
    if (given && is_request_id(*given)) {
        request_->id = std::string(*given);
    } else {
        const auto number = shared_->next_request_id.fetch_add(1, std::memory_order_relaxed);
        request_->id.reserve(shared_->request_id_prefix.size() + 16);
        request_->id = shared_->request_id_prefix;
        append_hex(request_->id, number);
    }
    shared_->requests.fetch_add(1, std::memory_order_relaxed);
    body_left_ = request_->content_length;
    if (!refuse_head() || !find_route()) return;
    keep_alive_ = parser_->keep_alive();
    if (auto response = shared_->router.run_before(*request_)) {
        if (body_left_ > 0) response->close = true;
        send(std::move(*response));
        return;
    }
    if (route_->websocket) {
        upgrade();
        return;
    }
    if (!prepare_body()) return;
    if (body_left_ == 0) {
        handle();
        return;
    }
    state_ = State::kBody;
    window_bytes_ = 0;
    deadline_ = after(shared_->options.body_timeout);
    if (begin_ != end_) {
        const auto here = unread().substr(0, body_left_);
        begin_ += here.size();
        if (!take_body(here)) return;
        if (body_left_ == 0) {
            handle();
            return;
        }
    } else if (parser_->expects_continue()) {
        send_continue();
        if (state_ != State::kBody) return;
    }
    wait_readable();
}

/// False when the head itself is refused.
bool Connection::refuse_head() {
    if (parser_->refused_status() == 0) return true;
    const int status = parser_->refused_status();
    const ErrorCode code = status == 431 ? ErrorCode::too_large : ErrorCode::invalid_request;
    refuse(status, Error(code, parser_->refused_reason()));
    return false;
}

bool Connection::find_route() {
    auto match = shared_->router.find(request_->method, request_->path);
    if (match.route != nullptr) {
        route_ = match.route;
        request_->route = route_->path;
        request_->params = std::move(match.params);
        return true;
    }
    keep_alive_ = parser_->keep_alive();
    if (request_->method == Method::kOptions) {
        Response response = Response::empty(204);
        if (!match.allow.empty()) response.header("allow", match.allow);
        response.close = body_left_ > 0;
        send(std::move(response));
        return false;
    }
    const int status = match.path_known ? 405 : 404;
    const Error error(match.path_known ? ErrorCode::unsupported : ErrorCode::not_found,
                      match.path_known ? "this path takes " + match.allow : "no such path");
    Response response = shared_->router.error(*request_, status, error);
    if (match.path_known) response.header("allow", match.allow);
    response.close = body_left_ > 0;
    send(std::move(response));
    return false;
}

/// Checks the announced length and opens the route's sink; false when refused.
bool Connection::prepare_body() {
    const RouteOptions& options = route_->options;
    if (body_left_ > options.body_bytes_max) {
        refuse(413, Error(ErrorCode::too_large,
                          fmt::format("the body may have {} bytes", options.body_bytes_max)));
        return false;
    }
    if (!options.sink) return true;
    auto sink = options.sink(*request_);
    if (!sink) {
        refuse(0, sink.error());
        return false;
    }
    request_->sink = std::move(*sink);
    return true;
}

void Connection::send_continue() {
    constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    boost::system::error_code ec;
    const std::size_t sent =
        socket_.write_some(boost::asio::buffer(kContinue.data(), kContinue.size()), ec);
    if (ec || sent != kContinue.size()) close();  // 25 bytes into an idle socket always fit
}

void Connection::handle() {
    state_ = State::kHandling;
    const auto own = route_->options.handler_timeout;
    deadline_ = after(own.count() > 0 ? own : shared_->options.handler_timeout);
    const auto keep = shared_from_this();
    const std::shared_ptr<Request> request = request_;
    const std::uint64_t serial = serial_;
    const Reply reply(
        std::make_shared<ReplySink>(thread_, shared_, request, weak_from_this(), serial));
    const auto incident = [&](std::string_view what) {
        if (shared_->options.on_incident) shared_->options.on_incident(request->id, what);
        reply(unanswered());
    };
    try {
        route_->handler(request, reply);
    } catch (const std::exception& error) {
        incident(error.what());
    } catch (...) {
        incident("unknown exception");
    }
}

void Connection::respond(std::uint64_t serial, Response&& response) {
    if (serial != serial_ || state_ != State::kHandling) return;
    if (response.status == 0) {
        const Error error(ErrorCode::internal, "incident " + request_->id);
        response = shared_->router.error(*request_, 500, error);
    }
    send(std::move(response));
}

void Connection::upgrade() {
    if (!parser_->wants_websocket() || !parser_->upgrade() || body_left_ > 0 || begin_ != end_) {
        Response response =
            shared_->router.error(*request_, 426,
                                  Error(ErrorCode::invalid_request,
                                        "this path speaks WebSocket: upgrade the connection"));
        response.header("upgrade", "websocket");
        response.close = true;
        send(std::move(response));
        return;
    }
    auto handler = route_->websocket(*request_);
    if (!handler) {
        refuse(0, handler.error());
        return;
    }
    state_ = State::kClosed;
    const auto keep = shared_from_this();
    thread_->remove(*this);
    start_websocket(thread_, shared_, std::move(socket_), std::move(ticket_), request_,
                    std::move(*handler));
}

/// Answers with an error and ends the connection: its framing may not be understood.
void Connection::refuse(int status, const Error& error) {
    Response response = shared_->router.error(*request_, status, error);
    response.close = true;
    if (body_left_ == 0 && state_ != State::kBody) body_left_ = 1;  // linger: more may come
    send(std::move(response));
}

}  // namespace marketplace::http
