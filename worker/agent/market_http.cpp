// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/market_http.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/http_client.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/wire/order_json.hpp"
#include "worker/agent/siwe.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
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

constexpr std::size_t kDeploymentBytesMax = 16 * 1024;

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

Result<void> MarketHttp::download(const Hash32& hash, const std::filesystem::path& file) {
    TRY_ASSIGN(const std::string session, token());
    HttpLimits limits;
    limits.exchange_timeout = std::chrono::seconds(20);
    limits.body_bytes = ledger::base::limits::kHttpBlobBytes;
    std::error_code error;
    const auto have = std::filesystem::file_size(file, error);
    HttpClient client;
    const auto response =
        client.download(authorised("GET", market_ + "/v1/blobs/" + to_hex(hash), session), limits,
                        file, error ? 0 : have);
    if (!response) return tl::make_unexpected(response.error());
    if (response->status == 404)
        return fail(ErrorCode::data_missing, "the market has no blob " + to_hex(hash));
    if (response->status == 416) return {};  // all of it is here
    TRY(checked(response));
    return {};
}

Result<void> MarketHttp::upload(const Hash32& hash, const std::filesystem::path& file) {
    TRY_ASSIGN(const std::string session, token());
    HttpClient client;
    const std::string url = market_ + "/v1/blobs/" + to_hex(hash);
    HttpLimits limits;
    limits.exchange_timeout = std::chrono::seconds(60);
    TRY(checked(client.upload(authorised("PUT", url, session), limits, file)));
    return {};
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

CachedBlobs::CachedBlobs(MarketHttp& market, std::filesystem::path folder, std::uint64_t bytes_max)
    : market_(market), folder_(std::move(folder)), bytes_max_(bytes_max) {
    std::error_code ignored;
    std::filesystem::create_directories(folder_, ignored);
}

std::filesystem::path CachedBlobs::path_of(const Hash32& hash) const {
    return folder_ / to_hex(hash).substr(2);
}

Result<std::filesystem::path> CachedBlobs::fetch(const Hash32& hash) {
    const std::lock_guard lock(mutex_);
    const std::filesystem::path path = path_of(hash);
    std::error_code error;
    if (std::filesystem::exists(path, error)) {
        const Result<Hash32> found = hash_file(path);
        if (found && *found == hash) {
            std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now(),
                                             error);
            return path;
        }
        std::filesystem::remove(path, error);  // damaged: fetched again
    }
    std::filesystem::path part = path;
    part += ".part";
    Result<void> fetched = market_.download(hash, part);
    if (!fetched && fetched.error().code() == ErrorCode::unauthorized) {
        market_.forget_token();
        fetched = market_.download(hash, part);
    }
    TRY(fetched);
    TRY_ASSIGN(const Hash32 found, hash_file(part));
    if (found != hash) {
        std::filesystem::remove(part, error);
        return fail(ErrorCode::data_invalid, "the blob " + to_hex(hash) + " has other contents");
    }
    std::filesystem::rename(part, path, error);
    if (error) return fail(ErrorCode::io_error, "cannot keep a blob");
    trim(path);
    return path;
}

Result<void> CachedBlobs::publish(const std::filesystem::path& file, const Hash32& hash) {
    const std::lock_guard lock(mutex_);
    const std::filesystem::path path = path_of(hash);
    std::error_code error;
    if (!std::filesystem::exists(path, error)) {
        std::filesystem::rename(file, path, error);
        if (error) {
            std::filesystem::copy_file(file, path, error);
            if (error) return fail(ErrorCode::io_error, "cannot keep a checkpoint");
        }
    }
    Result<void> sent = market_.upload(hash, path);
    if (!sent && sent.error().code() == ErrorCode::unauthorized) {
        market_.forget_token();
        sent = market_.upload(hash, path);
    }
    if (sent) trim(path);
    return sent;
}

void CachedBlobs::trim(const std::filesystem::path& keep) {
    struct Entry {
        std::filesystem::path path;
        std::filesystem::file_time_type used;
        std::uint64_t bytes = 0;
    };
    std::vector<Entry> entries;
    std::uint64_t total = 0;
    std::error_code error;
    for (const auto& item : std::filesystem::directory_iterator(folder_, error)) {
        const std::uint64_t bytes = item.file_size(error);
        if (error) continue;
        total += bytes;
        if (item.path() != keep)
            entries.push_back({item.path(), item.last_write_time(error), bytes});
    }
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return a.used < b.used; });
    for (const Entry& entry : entries) {
        if (total <= bytes_max_) return;
        if (std::filesystem::remove(entry.path, error)) total -= entry.bytes;
    }
}

}  // namespace worker::agent
