// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/market_client.hpp"

#include "ledger/base/clock.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/blob_transfer.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/cli/wallet.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <limits>
#include <optional>

namespace marketplace::cli {
namespace {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using ledger::base::to_hex;
using ledger::rpc::HttpLimits;
using ledger::rpc::HttpRequest;
using ledger::rpc::HttpResponse;
using nlohmann::json;

constexpr std::uint64_t kExpiryMarginMs = 60'000;
constexpr std::chrono::seconds kUploadTimeout{180};  // the market hashes the whole at the end

std::string iso_time(std::uint64_t time_ms) {
    return fmt::format("{:%Y-%m-%dT%H:%M:%S}Z",
                       fmt::gmtime(static_cast<std::time_t>(time_ms / 1000)));
}

Result<HttpResponse> checked(Result<HttpResponse> response, const std::string& market) {
    if (!response && response.error().code() == ErrorCode::unavailable)
        return fail(ErrorCode::unavailable,
                    "the market at " + market +
                        " does not answer: start it, or point --market at one that runs");
    if (response && response->status >= 300) return tl::make_unexpected(error_of(*response));
    return response;
}

Result<json> parse_body(const HttpResponse& response) {
    if (response.body.empty()) return json::object();
    return ledger::rpc::parse_json(response.body);
}

std::string shell_quoted(std::string_view text) {
    std::string out = "'";
    for (const char c : text) {
        if (c == '\'') {
            out += "'\\''";
        } else {
            out.push_back(c);
        }
    }
    return out + "'";
}

}  // namespace

std::string curl_text(const HttpRequest& request, const std::filesystem::path& body) {
    std::string out = "curl -sS";
    if (request.method != "GET") out += " -X " + request.method;
    for (const auto& header : request.headers)
        out += header.name == "Authorization"
                   ? std::string(" -H \"Authorization: Bearer $MILLRACE_TOKEN\"")
                   : " -H " + shell_quoted(header.name + ": " + header.value);
    if (request.url.ends_with("/v1/auth/siwe")) {
        // Who has this signature first has the session.
        out += " --data-raw \"$MILLRACE_SIGN_IN\"";
    } else if (!body.empty()) {
        out += " --data-binary " + shell_quoted("@" + body.string());
    } else if (!request.body.empty()) {
        out += " --data-raw " + shell_quoted(request.body);
    }
    return out + " " + shell_quoted(request.url);
}

Error error_of(const HttpResponse& response) {
    std::string code;
    std::string detail = fmt::format("the market answered {}", response.status);
    if (const auto body = ledger::rpc::parse_json(response.body); body && body->is_object()) {
        const json& problem =
            body->contains("error") && (*body)["error"].is_object() ? (*body)["error"] : *body;
        code = ledger::rpc::string_at(problem, "code").value_or("");
        detail = ledger::rpc::string_at(problem, "detail")
                     .value_or(ledger::rpc::string_at(problem, "message").value_or(detail));
    }
    detail = printable(detail);
    if (code == "model_not_found") return Error(ErrorCode::unknown_model, detail);  // OpenAI's word
    if (const auto known = ledger::base::parse_error_code(code)) return Error(*known, detail);
    switch (response.status) {
        case 401:
            return Error(ErrorCode::unauthorized, detail);
        case 402:
            return Error(ErrorCode::insufficient_funds, detail);
        case 403:
            return Error(ErrorCode::forbidden, detail);
        case 404:
            return Error(ErrorCode::not_found, detail);
        case 429:
            return Error(ErrorCode::rate_limited, detail);
        default:
            return Error(
                response.status >= 500 ? ErrorCode::unavailable : ErrorCode::invalid_request,
                detail);
    }
}

std::string siwe_message(std::string_view market, const ledger::base::Address& account,
                         std::uint64_t chain_id, std::string_view nonce, std::uint64_t now_ms) {
    constexpr std::uint64_t kValidMs = 5 * 60 * 1000;
    const auto scheme = market.find("://");
    const std::string_view domain =
        scheme == std::string_view::npos ? market : market.substr(scheme + 3);
    return fmt::format(
        "{} wants you to sign in with your Ethereum account:\n{}\n\nSign in to Millrace.\n\n"
        "URI: {}\nVersion: 1\nChain ID: {}\nNonce: {}\nIssued At: {}\nExpiration Time: {}",
        domain, ledger::crypto::to_checksum(account), market, chain_id, nonce, iso_time(now_ms),
        iso_time(now_ms + kValidMs));
}

MarketClient::MarketClient(const Settings& settings, Terminal& messages, OpenKey open_key)
    : settings_(settings), messages_(messages), open_key_(std::move(open_key)) {}

void MarketClient::show_curl(const HttpRequest& request, const std::filesystem::path& body) const {
    if (settings_.curl) messages_.line(messages_.paint(Paint::kDim, curl_text(request, body)));
}

Result<HttpResponse> MarketClient::send(HttpRequest request, Auth auth) {
    request.url = settings_.market + request.url;
    for (int attempt = 0;; ++attempt) {
        HttpRequest signed_request = request;
        if (auth == Auth::kSession) {
            TRY_ASSIGN(const std::string token, session());
            signed_request.headers.push_back({"Authorization", "Bearer " + token});
        }
        show_curl(signed_request);
        auto response = checked(http_.request(signed_request), settings_.market);
        const bool stale = auth == Auth::kSession && !response && attempt == 0 &&
                           (response.error().code() == ErrorCode::unauthorized ||
                            response.error().code() == ErrorCode::session_expired);
        if (!stale) return response;
        forget_session();
    }
}

Result<json> MarketClient::get(const std::string& target, Auth auth) {
    HttpRequest request;
    request.url = target;
    TRY_ASSIGN(const HttpResponse response, send(std::move(request), auth));
    return parse_body(response);
}

Result<std::string> MarketClient::get_text(const std::string& target, Auth auth) {
    HttpRequest request;
    request.url = target;
    TRY_ASSIGN(HttpResponse response, send(std::move(request), auth));
    return std::move(response.body);
}

Result<json> MarketClient::post(const std::string& target, const json& body, Auth auth) {
    return send_json("POST", target, body, auth);
}

Result<json> MarketClient::put(const std::string& target, const json& body, Auth auth) {
    return send_json("PUT", target, body, auth);
}

Result<json> MarketClient::send_json(const char* method, const std::string& target,
                                     const json& body, Auth auth) {
    HttpRequest request;
    request.method = method;
    request.url = target;
    request.headers.push_back({"Content-Type", "application/json"});
    request.body = ledger::rpc::to_text(body);
    TRY_ASSIGN(const HttpResponse response, send(std::move(request), auth));
    return parse_body(response);
}

Result<json> MarketClient::del(const std::string& target, Auth auth) {
    HttpRequest request;
    request.method = "DELETE";
    request.url = target;
    TRY_ASSIGN(const HttpResponse response, send(std::move(request), auth));
    return parse_body(response);
}

Result<HttpResponse> MarketClient::transfer(
    HttpRequest request, Auth auth, const std::filesystem::path& body,
    const std::function<Result<HttpResponse>(const HttpRequest&)>& send) {
    for (int attempt = 0;; ++attempt) {
        HttpRequest signed_request = request;
        if (auth == Auth::kSession) {
            TRY_ASSIGN(const std::string token, session());
            signed_request.headers.push_back({"Authorization", "Bearer " + token});
        }
        show_curl(signed_request, body);
        Result<HttpResponse> response = send(signed_request);
        const bool stale = auth == Auth::kSession && response && response->status == 401;
        if (!stale || attempt > 0) return response;
        forget_session();
    }
}

Result<void> MarketClient::upload(const std::string& hash, const std::filesystem::path& file) {
    std::error_code error;
    const std::uint64_t bytes = std::filesystem::file_size(file, error);
    if (error) return fail(ErrorCode::data_missing, "cannot read " + file.string());
    Progress progress(messages_, "Upload", bytes);
    ledger::rpc::TransferOptions options;
    options.limits.exchange_timeout = kUploadTimeout;
    options.on_progress = [&](std::uint64_t done, std::uint64_t) { progress.update(done); };
    const bool in_parts = bytes > ledger::rpc::kWholeBytesMax;
    HttpRequest request;
    request.method = in_parts ? "POST" : "PUT";
    request.url = settings_.market + "/v1/blobs/" + hash + (in_parts ? "/upload" : "");
    progress.update(0);
    const auto response =
        transfer(request, Auth::kSession, in_parts ? std::filesystem::path() : file,
                 [&](const HttpRequest& whole) -> Result<HttpResponse> {
                     if (in_parts) return ledger::rpc::send_in_parts(http_, whole, file, options);
                     return http_.upload(whole, options.limits, file);
                 });
    TRY(checked(response, settings_.market));
    progress.finish();
    return {};
}

Result<void> MarketClient::download(const std::string& target, Auth auth,
                                    const std::string& entity_tag,
                                    const std::filesystem::path& file) {
    HttpRequest request;
    request.url = settings_.market + target;
    if (!entity_tag.empty()) request.headers.push_back({"If-Range", entity_tag});
    std::optional<Progress> progress;
    ledger::rpc::TransferOptions options;
    options.limits.body_bytes = std::numeric_limits<std::int64_t>::max();
    options.on_progress = [&](std::uint64_t done, std::uint64_t total) {
        if (total == 0) return;
        if (!progress) progress.emplace(messages_, "Download", total);
        progress->update(done);
    };
    const auto response = transfer(request, auth, {}, [&](const HttpRequest& whole) {
        return ledger::rpc::fetch_in_parts(http_, whole, file, options);
    });
    if (progress) progress->settle();
    if (response && response->status == 416) return {};  // all of it is here
    TRY(checked(response, settings_.market));
    return {};
}

Result<void> MarketClient::stream(const std::string& method, const std::string& target,
                                  const json& body, const std::string& token,
                                  const std::function<bool(const ServerEvent&)>& on_event,
                                  const std::function<bool()>& on_piece) {
    HttpRequest request;
    request.method = method;
    request.url = settings_.market + target;
    request.headers.push_back({"Accept", "text/event-stream"});
    std::string bearer = token;
    if (bearer.empty()) {
        TRY_ASSIGN(bearer, session());
    }
    request.headers.push_back({"Authorization", "Bearer " + bearer});
    if (!body.is_null()) {
        request.headers.push_back({"Content-Type", "application/json"});
        request.body = ledger::rpc::to_text(body);
    }
    show_curl(request);
    HttpLimits limits;
    limits.exchange_timeout = std::chrono::seconds(60);  // heartbeats come every 15 s
    limits.body_bytes = std::numeric_limits<std::int64_t>::max();
    SseParser parser;
    const auto response = checked(
        http_.stream(
            request, limits,
            [&](std::string_view piece) { return parser.feed(piece, on_event) && on_piece(); }),
        settings_.market);
    if (response || response.error().code() == ErrorCode::cancelled) return {};
    return tl::make_unexpected(response.error());
}

/// A market that restarted knows no session from before.
Result<bool> MarketClient::is_known(const std::string& token) {
    HttpRequest request;
    request.url = settings_.market + "/v1/auth/session";
    request.headers.push_back({"Authorization", "Bearer " + token});
    const auto response = http_.request(request);
    if (!response) return tl::make_unexpected(checked(response, settings_.market).error());
    return response->status == 200;
}

Result<std::string> MarketClient::session() {
    if (!session_.empty()) return session_;
    const auto text = read_small_file(settings_.data / "session.json", 16 * 1024);
    const auto account = wallet_address(settings_.key_file);
    if (text && *text && account) {
        const auto kept = ledger::rpc::parse_json(**text);
        const bool fits =
            kept && kept->is_object() &&
            ledger::rpc::string_at(*kept, "market").value_or("") == settings_.market &&
            ledger::rpc::string_at(*kept, "account").value_or("") == to_hex(*account) &&
            ledger::rpc::integer_at(*kept, "expires_ms").value_or(0) >
                ledger::base::SystemClock().now_ms() + kExpiryMarginMs;
        if (fits) {
            TRY_ASSIGN(const std::string token, ledger::rpc::string_at(*kept, "token"));
            TRY_ASSIGN(const bool known, is_known(token));
            if (known) return session_ = token;
        }
    }
    TRY_ASSIGN(session_, sign_in());
    return session_;
}

void MarketClient::forget_session() {
    session_.clear();
    std::error_code ignored;
    std::filesystem::remove(settings_.data / "session.json", ignored);
}

Result<std::string> MarketClient::sign_in() {
    TRY_ASSIGN(const ledger::crypto::PrivateKey* key, open_key_());
    TRY_ASSIGN(const json offer, get("/v1/auth/nonce", Auth::kNone));
    TRY_ASSIGN(const std::string nonce, ledger::rpc::string_at(offer, "nonce"));
    TRY_ASSIGN(const json info, get("/v1/market/info", Auth::kNone));
    const json& deployment = info.contains("deployment") ? info["deployment"] : info;
    TRY_ASSIGN(const std::uint64_t chain_id, ledger::rpc::integer_at(deployment, "chain_id"));
    const std::uint64_t now_ms = ledger::base::SystemClock().now_ms();
    const std::string message =
        siwe_message(settings_.market, key->address(), chain_id, nonce, now_ms);
    const std::string signature = to_hex(key->sign(ledger::crypto::personal_digest(message)));
    TRY_ASSIGN(
        const json answer,
        post("/v1/auth/siwe", {{"message", message}, {"signature", signature}}, Auth::kNone));
    TRY_ASSIGN(std::string token, ledger::rpc::string_at(answer, "token"));
    const std::uint64_t expires_ms =
        ledger::rpc::integer_at(answer, "expires_ms").value_or(now_ms + 10 * 60 * 1000);
    const json kept{{"market", settings_.market},
                    {"account", to_hex(key->address())},
                    {"token", token},
                    {"expires_ms", expires_ms}};
    TRY(write_private_file(settings_.data / "session.json", ledger::rpc::to_text(kept)));
    return token;
}

}  // namespace marketplace::cli
