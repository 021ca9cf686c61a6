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
