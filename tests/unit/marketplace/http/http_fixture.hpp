// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/http/server.hpp"
#include "tests/support/http_test_client.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

namespace http_test {

using namespace marketplace::http;
using std::chrono::milliseconds;
using test_support::HttpAnswer;
using test_support::HttpTestClient;

/// Short enough for a test, long enough for a busy machine.
inline ServerOptions short_times() {
    ServerOptions options;
    options.header_timeout = milliseconds(1000);
    options.body_timeout = milliseconds(1000);
    options.idle_timeout = milliseconds(1500);
    options.write_timeout = milliseconds(1000);
    options.handler_timeout = milliseconds(1500);
    options.heartbeat = milliseconds(200);
    return options;
}

/// Counts the bytes of an upload.
class CountingSink final : public BodySink {
 public:
    ledger::base::Result<void> write(std::string_view piece) override {
        bytes += piece.size();
        if (piece.find("poison") != std::string_view::npos)
            return ledger::base::fail(ledger::base::ErrorCode::data_invalid, "poison");
        return {};
    }
    std::size_t bytes = 0;
};

inline Router test_router() {
    Router router;
    router.get("/hello", [](const Request&) { return Response::text("hello"); });
    router.get("/big", [](const Request&) { return Response::text(std::string(3'000'000, 'b')); });
    router.get("/throw", [](const Request&) -> Response { throw std::runtime_error("secret"); });
    router.add(Method::kPost, "/echo", [](const RequestPtr& request, const Reply& reply) {
        reply(Response::text(request->body));
    });
    router.add(Method::kGet, "/later", [](const RequestPtr&, Reply reply) {
        std::thread([reply = std::move(reply)] { reply(Response::text("later")); }).detach();
    });
    router.add(Method::kGet, "/never", [](const RequestPtr&, const Reply&) {});
    RouteOptions upload;
    upload.body_bytes_max = 10'000'000;
    upload.sink = [](const Request&) -> ledger::base::Result<std::shared_ptr<BodySink>> {
        return std::make_shared<CountingSink>();
    };
    router.add(
        Method::kPut, "/upload",
        [](const RequestPtr& request, const Reply& reply) {
            const auto& sink = dynamic_cast<CountingSink&>(*request->sink);
            reply(Response::text(std::to_string(sink.bytes)));
        },
        upload);
    return router;
}

struct RunningServer {
    explicit RunningServer(Router router = test_router(), ServerOptions options = short_times())
        : server(std::move(options), std::move(router)) {
        const auto started = server.start();
        REQUIRE(started.has_value());
    }
    HttpTestClient client() { return HttpTestClient(server.port()); }
    Server server;
};

}  // namespace http_test
