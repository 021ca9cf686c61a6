// SPDX-License-Identifier: Apache-2.0
#include "marketplace/http/router.hpp"

#include <doctest/doctest.h>

using namespace marketplace::http;

namespace {
Router make_router() {
    Router router;
    router.get("/v1/jobs", [](const Request&) { return Response::text("list"); });
    router.add(Method::kPost, "/v1/jobs", [](const RequestPtr&, const Reply&) {});
    router.get("/v1/jobs/{id}", [](const Request&) { return Response::text("one"); });
    router.get("/v1/jobs/{id}/events", [](const Request&) { return Response::text("events"); });
    router.get("/v1/jobs/latest", [](const Request&) { return Response::text("latest"); });
    router.get("/app/{file...}", [](const Request&) { return Response::text("file"); });
    return router;
}
}  // namespace

TEST_CASE("router: unknown paths and methods are told apart") {
    const Router router = make_router();
    CHECK(router.find(Method::kGet, "/").route == nullptr);
    CHECK_FALSE(router.find(Method::kGet, "/v1/nothing").path_known);
    CHECK(router.find(Method::kGet, "/v1/jobs/").route == nullptr);
    CHECK(router.find(Method::kGet, "/v1//jobs").route == nullptr);
    CHECK(router.find(Method::kGet, "/v1/jobs/%zz").route == nullptr);
    CHECK(router.find(Method::kGet, "/v1/jobs/%00").route == nullptr);
    const auto wrong_method = router.find(Method::kDelete, "/v1/jobs");
    CHECK(wrong_method.route == nullptr);
    CHECK(wrong_method.path_known);
    CHECK(wrong_method.allow == "GET, HEAD, POST");
}

TEST_CASE("router: a tail cannot climb") {
    const Router router = make_router();
    CHECK(router.find(Method::kGet, "/app/../secret").route == nullptr);
    CHECK(router.find(Method::kGet, "/app/a/%2e%2e/b").route == nullptr);
    CHECK(router.find(Method::kGet, "/app/a%2f..%2fb").route == nullptr);
    CHECK(router.find(Method::kGet, "/app/a\\b").route == nullptr);
    const auto found = router.find(Method::kGet, "/app/css/main.css");
    REQUIRE(found.route != nullptr);
    CHECK(found.params.front().second == "css/main.css");
}

TEST_CASE("router: parameters are decoded and fixed parts win") {
    const Router router = make_router();
    const auto one = router.find(Method::kGet, "/v1/jobs/job_1%20x");
    REQUIRE(one.route != nullptr);
    CHECK(one.route->path == "/v1/jobs/{id}");
    CHECK(one.params.front() == std::pair<std::string, std::string>("id", "job_1 x"));
    CHECK(router.find(Method::kGet, "/v1/jobs/latest").route->path == "/v1/jobs/latest");
    CHECK(router.find(Method::kHead, "/v1/jobs/a/events").route->path == "/v1/jobs/{id}/events");
}

TEST_CASE("request: queries are decoded, malformed escapes refused") {
    Request request;
    request.query = "a=1&b=x%20y+z&empty&a=2";
    CHECK(request.query_value("a") == "1");
    CHECK(request.query_value("b") == "x y z");
    CHECK(request.query_value("empty") == "");
    CHECK_FALSE(request.query_value("c"));
    REQUIRE(request.query_values());
    CHECK(request.query_values()->size() == 4);
    request.query = "a=%4";
    CHECK_FALSE(request.query_values());
    CHECK(percent_decode("%41%42", PlusSign::kLiteral) == "AB");
    CHECK_FALSE(percent_decode("%", PlusSign::kLiteral));
    CHECK_FALSE(percent_decode("%4", PlusSign::kLiteral));
    CHECK_FALSE(percent_decode("%0g", PlusSign::kLiteral));
}
