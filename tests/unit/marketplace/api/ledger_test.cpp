// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/marketplace/api/api_fixture.hpp"

using namespace api_test;

TEST_CASE("log: records as JSON lines, heads and proofs") {
    Fixture f;
    f.log.entries = {{1, 2, 3}, {4}, {5, 6}};
    auto client = f.client();
    const auto page = client.request("GET", "/v1/log?first=1&limit=1");
    CHECK(page.status == 200);
    CHECK(page.header("x-log-size") == "3");
    CHECK(page.header("x-log-next") == "2");
    const json line = json::parse(page.body);
    CHECK(line["sequence"] == 1);
    CHECK(line["record"] == "0x04");
    CHECK(line["hash"] == to_hex(ledger::base::sha256(f.log.entries[1])));
    CHECK(client.request("GET", "/v1/log?first=9").body.empty());
    f.get("/v1/log?limit=1001", 422);
    f.get("/v1/log?first=-1", 400);
    CHECK(f.get("/v1/log/head")["signed_head"].is_null());
    CHECK(f.get("/v1/log/proof/inclusion?index=1&size=3")["path"].size() == 1);
    CHECK(code_of(f.get("/v1/log/proof/inclusion?index=3&size=3", 422)) == "out_of_range");
    CHECK(f.get("/v1/log/proof/consistency?first=1&second=3")["second"] == 3);
}

TEST_CASE("settlements: paged by id") {
    Fixture f;
    for (std::uint64_t id = 1; id <= 3; ++id) {
        api::SettlementRow row;
        row.id = id;
        row.kind = "claim";
        row.state = "final";
        f.settlement.rows.push_back(row);
    }
    const json page = f.get("/v1/settlements?limit=2");
    CHECK(page["data"].size() == 2);
    CHECK(page["has_more"] == true);
    CHECK(page["last_id"] == "2");
    const auto linked = f.client().request("GET", "/v1/settlements?limit=2&after=0");
    CHECK(linked.header("link") == "</v1/settlements?limit=2&after=2>; rel=\"next\"");
    CHECK(f.client().request("GET", "/v1/settlements?after=2").header("link").empty());
    const json rest = f.get("/v1/settlements?after=2");
    CHECK(rest["data"].size() == 1);
    CHECK(rest["has_more"] == false);
}

TEST_CASE("ops: health, version, metrics, and a document of every route") {
    Fixture f;
    CHECK(f.get("/version")["version"] == "0.1.0");
    CHECK(f.get("/readyz")["status"] == "ready");
    const json info = f.get("/v1/market/info");
    CHECK(info["chain_id"] == 31337);
    CHECK(info["deployment"]["chain_id"] == 31337);
    auto client = f.client();
    CHECK(client.request("GET", "/metrics").body.find("millrace_http_requests_total") !=
          std::string::npos);
    const json openapi = f.get("/openapi.json");
    CHECK(openapi["openapi"] == "3.1.0");
    CHECK(openapi["paths"].contains("/v1/jobs/{id}/events"));
    CHECK(openapi["paths"]["/v1/jobs"]["post"]["operationId"] == "postJob");
    // No answer that is JSON is described as "an object" alone.
    for (const auto& [path, operations] : openapi["paths"].items())
        for (const auto& [method, operation] : operations.items())
            for (const auto& [status, response] : operation["responses"].items()) {
                if (!response.contains("content") ||
                    !response["content"].contains("application/json"))
                    continue;
                const json& schema = response["content"]["application/json"]["schema"];
                CHECK_MESSAGE((schema.contains("$ref") || schema.contains("properties")),
                              method << " " << path << " " << status);
            }
    const auto zipped = client.request("GET", "/openapi.json", "", "Accept-Encoding: gzip\r\n");
    CHECK(zipped.header("content-encoding") == "gzip");
    CHECK(zipped.header("vary") == "Accept-Encoding");
    CHECK(zipped.body.size() * 4 < openapi.dump().size());
    CHECK(client.request("GET", "/docs/errors").body.find("id=\"insufficient_funds\"") !=
          std::string::npos);
    const auto missing = client.request("GET", "/v1/nothing");
    CHECK(missing.status == 404);
    CHECK(missing.header("content-type") == "application/problem+json");
    const json problem = json::parse(missing.body);
    CHECK(problem["code"] == "not_found");
    CHECK(problem["instance"] == missing.header("x-request-id"));
    const auto first = client.request("GET", "/v1/market/info");
    const auto again = client.request("GET", "/v1/market/info", "",
                                      "If-None-Match: " + first.header("etag") + "\r\n");
    CHECK(again.status == 304);
}

TEST_CASE("ops: request times are a histogram whose buckets rise to the count") {
    Fixture f;
    f.context.times->observe("/v1/jobs", std::chrono::microseconds(900));
    f.context.times->observe("/v1/jobs", std::chrono::microseconds(1'001));
    f.context.times->observe("/v1/jobs", std::chrono::minutes(2));
    const std::string text = f.client().request("GET", "/metrics").body;
    for (const char* line :
         {"# TYPE millrace_http_request_seconds histogram\n",
          "millrace_http_request_seconds_bucket{route=\"/v1/jobs\",le=\"0.001\"} 1\n",
          "millrace_http_request_seconds_bucket{route=\"/v1/jobs\",le=\"0.005\"} 2\n",
          "millrace_http_request_seconds_bucket{route=\"/v1/jobs\",le=\"60\"} 2\n",
          "millrace_http_request_seconds_bucket{route=\"/v1/jobs\",le=\"+Inf\"} 3\n",
          "millrace_http_request_seconds_sum{route=\"/v1/jobs\"} 120.001901\n",
          "millrace_http_request_seconds_count{route=\"/v1/jobs\"} 3\n",
          "millrace_settlement_ok 1\n"})
        CHECK_MESSAGE(text.find(line) != std::string::npos, line);
}

TEST_CASE("cors: exact origins only") {
    api::ApiOptions options;
    options.cors_origins = {"https://console.example"};
    Fixture f(options);
    auto client = f.client();
    const auto allowed =
        client.request("OPTIONS", "/v1/jobs", "", "Origin: https://console.example\r\n");
    CHECK(allowed.status == 204);
    CHECK(allowed.header("access-control-allow-origin") == "https://console.example");
    const auto refused =
        client.request("GET", "/version", "", "Origin: https://console.example.evil\r\n");
    CHECK(refused.header("access-control-allow-origin").empty());
}
