// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/services.hpp"

#include "ledger/base/money.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/wire/problem_json.hpp"

#include <fmt/format.h>

namespace marketplace::api {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;

namespace {

/// OpenAI's clients know no 422: what they can correct is 400.
[[nodiscard]] int openai_status(std::string_view path, int status) {
    const bool inference =
        path == "/v1/completions" || path == "/v1/chat/completions" || path == "/v1/embeddings";
    return inference && status == 422 ? 400 : status;
}

}  // namespace

bool is_openai_route(std::string_view path) {
    return path == "/v1/completions" || path == "/v1/chat/completions" ||
           path == "/v1/embeddings" || path == "/v1/models" || path.starts_with("/v1/models/") ||
           path == "/v1/files" || path.starts_with("/v1/files/") ||
           path.starts_with("/v1/fine_tuning/");
}

void Services::count(const std::string& route, int status) {
    const std::lock_guard lock(mutex_);
    ++counts_[{route.empty() ? "none" : route, status}];
}

std::map<std::pair<std::string, int>, std::uint64_t> Services::counts() const {
    const std::lock_guard lock(mutex_);
    return counts_;
}

http::Response json_response(const Json& document, int status) {
    return http::Response(status, "application/json", ledger::rpc::to_text(document));
}

http::Response render_error(const http::Request& request, int status, const Error& error) {
    // Nothing else waits for room that only the store's own rules can make (RFC 4918).
    if (status == 0 && error.code() == ErrorCode::disk_full &&
        request.path.starts_with("/v1/blobs"))
        status = 507;
    if (status == 0) status = wire::http_status(error.code());
    http::Response response;
    status = openai_status(request.path, status);
    response.status = status;
    if (is_openai_route(request.path)) {
        response.body = wire::openai_error_json(error, status);
    } else {
        response.content_type = "application/problem+json";
        response.body = wire::problem_json(error, status, request.id);
    }
    if (status == 401) response.header("www-authenticate", "Bearer");
    if (status == 429 || status == 503) response.header("retry-after", "1");
    return response;
}

http::Response error_response(const http::Request& request, const Error& error) {
    return render_error(request, 0, error);
}

namespace {

/// Characters that stand for themselves in a query (RFC 3986 section 2.3).
[[nodiscard]] std::string query_escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                           (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_' || c == '~';
        if (plain)
            out += c;
        else
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return out;
}

/// Where a list goes on: the same query with another `after`. Empty: nowhere.
[[nodiscard]] std::string next_page(const http::Request& request, const Json& document) {
    const auto more = document.find("has_more");
    const auto last = document.find("last_id");
    if (more == document.end() || last == document.end() || *more != true || !last->is_string())
        return {};
    const auto values = request.query_values();
    if (!values) return {};
    std::string out = request.path + "?";
    for (const auto& [name, value] : *values)
        if (name != "after") out += query_escaped(name) + "=" + query_escaped(value) + "&";
    return out + "after=" + query_escaped(last->get_ref<const std::string&>());
}

}  // namespace

http::Response to_response(const http::Request& request, const Result<Json>& result, int status) {
    if (!result) return error_response(request, result.error());
    http::Response response = json_response(*result, status);
    if (const std::string next = next_page(request, *result); !next.empty())
        response.header("link", "<" + next + ">; rel=\"next\"");
    return response;
}

http::Response rate_refusal(const http::Request& request, const RateState& state) {
    http::Response refusal = error_response(
        request, Error(ErrorCode::rate_limited,
                       fmt::format("{} at once, then a steady rate; see the limits in "
                                   "/v1/market/info",
                                   state.limit)));
    for (auto& [name, value] : refusal.headers)
        if (name == "retry-after") value = std::to_string(state.retry_s);
    return refusal;
}

bool allow_order(Services& services, const http::Request& request, const http::Reply& reply,
                 const std::string& client) {
    const auto state = services.order_limiter.take(client);
    if (!state.allowed) reply(rate_refusal(request, state));
    return state.allowed;
}

void answer_from_engine(Services& services, const http::RequestPtr& request, http::Reply reply,
                        std::function<Result<Json>(const engine::Engine&)> read, int status) {
    const bool queued = services.context.engine.query(
        [request, reply, status, read = std::move(read)](const engine::Engine& engine) {
            reply(to_response(*request, read(engine), status));
        });
    if (!queued) reply(error_response(*request, Error(ErrorCode::queue_full, "the engine")));
}

void answer_from_desk(Services& services, const http::RequestPtr& request, http::Reply reply,
                      std::function<http::Response()> work) {
    const bool queued = services.desk.post([reply, work = std::move(work)] { reply(work()); });
    if (!queued) reply(error_response(*request, Error(ErrorCode::queue_full, "the disk")));
}

void run_on_chain_desk(Services& services, const http::RequestPtr& request,
                       const http::Reply& reply, std::function<void()> work) {
    const auto state = services.chain_limiter.take(request->remote_address);
    if (!state.allowed) return reply(rate_refusal(*request, state));
    if (!services.chain_desk.post(std::move(work)))
        reply(error_response(*request, Error(ErrorCode::queue_full, "the chain")));
}

void answer_from_chain(Services& services, const http::RequestPtr& request, http::Reply reply,
                       std::function<http::Response()> work) {
    run_on_chain_desk(services, request, reply, [reply, work = std::move(work)] { reply(work()); });
}

Result<std::uint64_t> read_query_u64(const http::Request& request, std::string_view name,
                                     std::uint64_t usual) {
    const auto text = request.query_value(name);
    if (!text) return usual;
    const auto value = ledger::base::parse_u64(*text);
    if (!value)
        return fail(ErrorCode::invalid_field,
                    fmt::format("?{} must be a number, 0 or above", name));
    return *value;
}

Result<std::size_t> read_limit(const http::Request& request, std::size_t usual, std::size_t most) {
    TRY_ASSIGN(const std::uint64_t limit, read_query_u64(request, "limit", usual));
    if (limit < 1 || limit > most)
        return fail(ErrorCode::out_of_range, fmt::format("?limit must be from 1 to {}", most));
    return static_cast<std::size_t>(limit);
}

Result<engine::BookFilter> read_book_filter(const http::Request& request) {
    engine::BookFilter out;
    if (const auto kind = request.query_value("unit_kind")) {
        const auto parsed = ledger::eth::parse_unit_kind(*kind);
        if (!parsed) return fail(ErrorCode::invalid_field, "?unit_kind is not known");
        out.unit_kind = *parsed;
    }
    out.gpu_model = request.query_value("gpu_model");
    out.region = request.query_value("region");
    return out;
}

Json list_of(Json items, bool has_more) {
    Json out;
    out["object"] = "list";
    out["has_more"] = has_more;
    const bool named = !items.empty() && items.front().contains("id");
    out["first_id"] = named ? items.front()["id"] : Json(nullptr);
    out["last_id"] = named ? items.back()["id"] : Json(nullptr);
    out["data"] = std::move(items);
    return out;
}

}  // namespace marketplace::api
