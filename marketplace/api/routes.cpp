// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"
#include "marketplace/api/compression.hpp"
#include "marketplace/api/context.hpp"
#include "marketplace/api/handlers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace marketplace::api {

using ledger::base::Error;

namespace {

constexpr std::size_t kEtagBytesMax = 256 * 1024;

[[nodiscard]] bool has_header(const http::Response& response, std::string_view name) {
    return std::any_of(response.headers.begin(), response.headers.end(),
                       [&](const auto& header) { return header.first == name; });
}

/// Probes are not counted: they must answer under any load.
[[nodiscard]] bool is_probe(std::string_view path) {
    return path == "/livez" || path == "/readyz" || path == "/metrics";
}

/// Small JSON answers to GET carry their hash; a client that has them gets 304. What goes out
/// compressed is another representation, with a tag of its own.
void add_etag(const http::Request& request, http::Response& response, bool zipped) {
    const bool plain = request.method == http::Method::kGet && response.status == 200 &&
                       !response.stream && !response.file && !response.body.empty() &&
                       response.body.size() <= kEtagBytesMax && !has_header(response, "etag") &&
                       !has_header(response, "cache-control") &&
                       response.content_type == "application/json";
    if (!plain) return;
    const auto hash = ledger::base::sha256(ledger::base::as_bytes(response.body));
    const std::string etag =
        "\"" + ledger::base::to_hex(hash).substr(2, 32) + (zipped ? "-gzip\"" : "\"");
    response.header("etag", etag);
    const auto known = request.header("if-none-match");
    if (known && http::etag_matches(*known, etag)) {
        response.status = 304;
        response.body.clear();
    }
}

void compress(http::Response& response) {
    auto zipped = gzip(response.body);
    if (!zipped) return;
    response.body = std::move(*zipped);
    response.header("content-encoding", "gzip");
}

void add_cors(const std::vector<std::string>& origins, const http::Request& request,
              http::Response& response) {
    const auto origin = request.header("origin");
    if (!origin || std::find(origins.begin(), origins.end(), *origin) == origins.end()) return;
    response.header("access-control-allow-origin", std::string(*origin));
    response.header("vary", "Origin");
    response.header("access-control-expose-headers",
                    "x-request-id, etag, link, retry-after, x-ratelimit-limit-requests, "
                    "x-ratelimit-remaining-requests, x-ratelimit-reset-requests, RateLimit, "
                    "RateLimit-Policy, PAYMENT-REQUIRED, PAYMENT-RESPONSE, x-log-size, x-log-next, "
                    "upload-offset, upload-length, upload-complete");
    if (request.method != http::Method::kOptions) return;
    response.header("access-control-allow-methods", "GET, HEAD, POST, PUT, PATCH, DELETE");
    response.header("access-control-allow-headers",
                    "authorization, content-type, idempotency-key, if-none-match, last-event-id, "
                    "PAYMENT-SIGNATURE, range, x-request-id, upload-offset, upload-length");
    response.header("access-control-max-age", "86400");
}

/// draft-ietf-httpapi-ratelimit-headers, and what OpenAI's clients read.
void add_rate_headers(http::Response& response, std::string_view name, const RateState& state,
                      const std::string& policy) {
    response.header("x-ratelimit-limit-requests", std::to_string(state.limit));
    response.header("x-ratelimit-remaining-requests", std::to_string(state.remaining));
    response.header("x-ratelimit-reset-requests", fmt::format("{}s", state.reset_s));
    response.header("ratelimit",
                    fmt::format("\"{}\";r={};t={}", name, state.remaining, state.reset_s));
    response.header("ratelimit-policy", policy);
}

void add_filters(http::Router& router, const std::shared_ptr<Services>& services) {
    router.before([services](const http::Request& request) -> std::optional<http::Response> {
        if (is_probe(request.path)) return std::nullopt;
        const auto state = services->limiter.take(request.remote_address);
        if (!state.allowed) return rate_refusal(request, state);
        const auto key = services->context.auth.key_of(request);
        const auto own = key ? key->take_request(services->context.clock.now_ms()) : std::nullopt;
        if (own && !own->allowed) return rate_refusal(request, *own);
        return std::nullopt;
    });
    // So many at once, and all again after so many seconds.
    const ApiOptions& options = services->context.options;
    const std::string policy =
        fmt::format("\"default\";q={:.0f};w={:.0f}", options.request_burst,
                    std::max(1.0, std::ceil(options.request_burst / options.requests_per_s)));
    router.after([services, policy](const http::Request& request, http::Response& response) {
        services->count(request.route, response.status);
        const bool zipped = wants_gzip(request, response);
        if (zipped) response.header("vary", "Accept-Encoding");
        add_etag(request, response, zipped);
        if (zipped && response.status != 304) compress(response);
        add_cors(services->context.options.cors_origins, request, response);
        response.header("x-content-type-options", "nosniff");
        if (is_probe(request.path)) return;
        const auto key = response.status == 401 ? nullptr : services->context.auth.key_of(request);
        const auto own = key ? key->look_at_rate(services->context.clock.now_ms()) : std::nullopt;
        if (own)
            return add_rate_headers(response, "key", *own,
                                    fmt::format("\"key\";q={};w=60", own->limit));
        add_rate_headers(response, "default", services->limiter.look(request.remote_address),
                         policy);
    });
    router.on_error([](const http::Request& request, int status, const Error& error) {
        return render_error(request, status, error);
    });
}

}  // namespace

void register_routes(http::Router& router, Context& context) {
    // The filters hold the services; they live as long as the router.
    const auto services = std::make_shared<Services>(context);
    RouteTable table(router);
    add_ops_routes(table, *services);
    add_error_page(table);
    add_auth_routes(table, *services);
    add_market_routes(table, *services);
    add_order_routes(table, *services);
    add_job_routes(table, *services);
    add_job_key_routes(table, *services);
    add_blob_routes(table, *services);
    add_file_routes(table, *services);
    add_fine_tuning_routes(table, *services);
    add_model_routes(table, *services);
    add_embedding_routes(table, *services);
    add_completion_routes(table, *services);
    add_ledger_routes(table, *services);
    add_payment_routes(table, *services);
    add_webhook_routes(table, *services);
    add_account_routes(table, *services);
    services->openapi = [text = table.openapi(context.info.version)] { return text; };
    add_filters(router, services);
}

}  // namespace marketplace::api
