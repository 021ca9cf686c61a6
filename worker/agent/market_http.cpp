// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/market_http.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/crypto/key_wrap.hpp"
#include "ledger/rpc/blob_transfer.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/wire/order_json.hpp"
#include "worker/agent/siwe.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <fstream>
#include <vector>

namespace worker::agent {
namespace {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using ledger::rpc::HttpClient;
using ledger::rpc::HttpLimits;
using ledger::rpc::HttpRequest;
using ledger::rpc::HttpResponse;
using ledger::rpc::TransferOptions;

constexpr std::size_t kDeploymentBytesMax = 16 * 1024;
constexpr std::chrono::seconds kUploadTimeout{180};  // the market hashes the whole at the end

/// The error a problem document names; by status when it is none.
Error to_error(const HttpResponse& response) {
    std::string code;
    std::string detail = "the market answered " + std::to_string(response.status);
    if (const auto problem = ledger::rpc::parse_json(response.body);
        problem && problem->is_object()) {
        code = ledger::rpc::string_at(*problem, "code").value_or("");
        detail = ledger::rpc::string_at(*problem, "detail").value_or(detail);
    }
    if (const auto known = ledger::base::parse_error_code(code)) return Error(*known, detail);
    if (response.status == 401) return Error(ErrorCode::unauthorized, detail);
    if (response.status == 404) return Error(ErrorCode::not_found, detail);
    if (response.status >= 500 || response.status == 429)
        return Error(ErrorCode::unavailable, detail);
    return Error(ErrorCode::invalid_request, detail);
}

Result<HttpResponse> checked(Result<HttpResponse> response) {
    if (response && response->status >= 300) return tl::make_unexpected(to_error(*response));
    return response;
}

HttpRequest authorised(std::string method, std::string url, const std::string& token) {
    HttpRequest request;
    request.method = std::move(method);
    request.url = std::move(url);
    request.headers.push_back({"Authorization", "Bearer " + token});
    return request;
}

}  // namespace

MarketHttp::MarketHttp(std::string market, const ledger::crypto::PrivateKey& key)
    : market_(std::move(market)), key_(key) {}

Result<MarketFacts> MarketHttp::facts() const {
    HttpRequest request;
    request.url = market_ + "/v1/market/info";
    HttpClient client;
    TRY_ASSIGN(const HttpResponse response, checked(client.request(request)));
    TRY_ASSIGN(const nlohmann::json info, ledger::rpc::parse_json(response.body));
    MarketFacts facts;
    TRY_ASSIGN(const nlohmann::json* deployment, ledger::rpc::member_at(info, "deployment"));
    facts.deployment_json = deployment->is_string() ? deployment->get<std::string>()
                                                    : ledger::rpc::to_text(*deployment);
    if (facts.deployment_json.size() > kDeploymentBytesMax)
        return fail(ErrorCode::too_large, "the market's deployment document");
    TRY_ASSIGN(facts.deployment, ledger::settlement::parse_deployment(facts.deployment_json));
    TRY_ASSIGN(const std::string operator_text, ledger::rpc::string_at(info, "operator_address"));
    TRY_ASSIGN(facts.operator_address, ledger::crypto::parse_address(operator_text));
    if (const auto period = ledger::rpc::u64_text_at(info, "voucher_period_atoms"))
        facts.voucher_period_atoms = *period;
    return facts;
}

Result<std::string> MarketHttp::token() {
    const std::lock_guard lock(mutex_);
    if (!token_.empty()) return token_;
    TRY_ASSIGN(token_, sign_in());
    return token_;
}

void MarketHttp::forget_token() {
    const std::lock_guard lock(mutex_);
    token_.clear();
}

Result<std::string> MarketHttp::sign_in() {
    HttpClient client;
    HttpRequest ask;
    ask.url = market_ + "/v1/auth/nonce";
    TRY_ASSIGN(const HttpResponse answer, checked(client.request(ask)));
    TRY_ASSIGN(const nlohmann::json offer, ledger::rpc::parse_json(answer.body));
    TRY_ASSIGN(const std::string nonce, ledger::rpc::string_at(offer, "nonce"));
    std::uint64_t chain_id = 1;
    if (const auto id = ledger::rpc::integer_at(offer, "chain_id")) {
        chain_id = *id;
    } else {
        TRY_ASSIGN(const MarketFacts known, facts());
        chain_id = known.deployment.chain_id;
    }
    const std::string message = siwe_message(market_, key_.address(), chain_id, nonce,
                                             ledger::base::SystemClock().now_ms());
    HttpRequest post;
    post.method = "POST";
    post.url = market_ + "/v1/auth/siwe";
    post.headers.push_back({"Content-Type", "application/json"});
    post.body = ledger::rpc::to_text(
        {{"message", message},
         {"signature", to_hex(key_.sign(ledger::crypto::personal_digest(message)))}});
    TRY_ASSIGN(const HttpResponse response, checked(client.request(post)));
    TRY_ASSIGN(const nlohmann::json session, ledger::rpc::parse_json(response.body));
    return ledger::rpc::string_at(session, "token");
}

Result<void> MarketHttp::post_ask(const marketplace::domain::PostAsk& ask) {
    TRY_ASSIGN(const std::string session, token());
    HttpRequest request = authorised("POST", market_ + "/v1/market/orders", session);
    request.headers.push_back({"Content-Type", "application/json"});
    request.body = marketplace::wire::post_ask_json(ask);
    HttpClient client;
    TRY(checked(client.request(request)));
    return {};
}

Result<void> MarketHttp::cancel_ask(const Hash32& ask) {
    TRY_ASSIGN(const std::string session, token());
    HttpClient client;
    TRY(checked(client.request(
        authorised("DELETE", market_ + "/v1/market/orders/" + to_hex(ask), session))));
    return {};
}

Result<HttpResponse> MarketHttp::with_session(
    const std::function<Result<HttpResponse>(const std::string& token)>& send) {
    for (int attempt = 0;; ++attempt) {
        TRY_ASSIGN(const std::string session, token());
        Result<HttpResponse> response = send(session);
        if (!response || response->status != 401 || attempt > 0) return response;
        forget_token();
    }
}

Result<void> MarketHttp::download(const Hash32& hash, const std::filesystem::path& file,
                                  const OnProgress& on_progress) {
    HttpClient client;
    TransferOptions options;
    options.on_progress = on_progress;
    const auto response = with_session([&](const std::string& session) {
        HttpRequest request = authorised("GET", market_ + "/v1/blobs/" + to_hex(hash), session);
        request.headers.push_back({"If-Range", "\"" + to_hex(hash) + "\""});
        return ledger::rpc::fetch_in_parts(client, request, file, options);
    });
    if (response && response->status == 404)
        return fail(ErrorCode::data_missing, "the market has no blob " + to_hex(hash));
    if (response && response->status == 416) return {};  // all of it is here
    TRY(checked(response));
    return {};
}

Result<void> MarketHttp::upload(const Hash32& hash, const std::filesystem::path& file,
                                const OnProgress& on_progress) {
    std::error_code error;
    const std::uint64_t bytes = std::filesystem::file_size(file, error);
    if (error) return fail(ErrorCode::data_missing, "cannot read " + file.filename().string());
    HttpClient client;
    TransferOptions options;
    options.limits.exchange_timeout = kUploadTimeout;
    options.on_progress = on_progress;
    const std::string url = market_ + "/v1/blobs/" + to_hex(hash);
    TRY(checked(with_session([&](const std::string& session) {
        if (bytes > ledger::rpc::kWholeBytesMax)
            return ledger::rpc::send_in_parts(client, authorised("POST", url + "/upload", session),
                                              file, options);
        return client.upload(authorised("PUT", url, session), options.limits, file);
    })));
    return {};
}

Result<ledger::base::Bytes> MarketHttp::job_key(const std::string& job, const Hash32& lease) {
    HttpClient client;
    TRY_ASSIGN(const HttpResponse response, checked(with_session([&](const std::string& session) {
                   return client.request(authorised(
                       "GET", market_ + "/v1/jobs/" + job + "/keys/" + to_hex(lease), session));
               })));
    TRY_ASSIGN(const nlohmann::json key, ledger::rpc::parse_json(response.body));
    TRY_ASSIGN(const std::string text, ledger::rpc::string_at(key, "wrapped_key"));
    return ledger::base::parse_hex(text, ledger::crypto::kWrappedKeyBytes);
}

Result<std::string> MarketHttp::get(const std::string& target) {
    TRY_ASSIGN(const std::string session, token());
    HttpClient client;
    TRY_ASSIGN(const HttpResponse response,
               checked(client.request(authorised("GET", market_ + target, session))));
    return response.body;
}

Result<Hash32> hash_file(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    if (!in) return fail(ErrorCode::data_missing, "cannot read " + file.string());
    ledger::base::Sha256 hash;
    std::vector<char> buffer(1U << 20U);
    while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())), in.gcount() > 0)
        hash.update(ledger::base::as_bytes(
            std::string_view(buffer.data(), static_cast<std::size_t>(in.gcount()))));
    if (in.bad()) return fail(ErrorCode::io_error, "cannot read " + file.string());
    return hash.finish();
}

}  // namespace worker::agent
