// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/route_table.hpp"

#include "ledger/base/check.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/api/schemas.hpp"
#include "marketplace/api/services.hpp"

#include <algorithm>

namespace marketplace::api {

using nlohmann::json;

namespace {

constexpr const char* kDescription =
    "An open market for idle GPUs. Amounts are whole numbers as text, in atoms: a millionth of the "
    "settlement token.\n\n"
    "**Who asks.** Orders carry their own signature. Everything else that needs an account takes "
    "`Authorization: Bearer`, with a session (`POST /v1/auth/siwe`) or an API key "
    "(`POST /v1/api-keys`).\n\n"
    "**Refusals** are problem documents (RFC 9457), on OpenAI's routes its error object. "
    "[/docs/errors](/docs/errors) has every code and what to do.\n\n"
    "**Once only.** With an `Idempotency-Key` header, what posts orders, jobs and models gives "
    "the first answer again for a day; the same key with another body is 422.\n\n"
    "**Lists** go on at the address of their `Link` header, `rel=\"next\"`, as long as there is "
    "one.\n\n"
    "**Limits.** `RateLimit` and `x-ratelimit-*` say what is left, `Retry-After` how long to wait. "
    "Each answer has an `x-request-id`; JSON has an entity tag for `If-None-Match`. Answers are "
    "compressed for who takes gzip.";

/// "{file...}" is "{file}" in OpenAPI.
[[nodiscard]] std::string openapi_path(std::string path) {
    const auto dots = path.find("...}");
    if (dots != std::string::npos) path.erase(dots, 3);
    return path;
}

[[nodiscard]] json schema_or_object(const std::string& text) {
    if (text.empty()) return json{{"type", "object"}};
    auto schema = ledger::rpc::parse_json(text);
    MR_CHECK(schema.has_value());
    return std::move(*schema);
}

[[nodiscard]] json parameters_of(const RouteDoc& doc) {
    json parameters = json::array();
    const std::string path = openapi_path(doc.path);
    for (std::size_t open = path.find('{'); open != std::string::npos;
         open = path.find('{', open + 1)) {
        const std::string name = path.substr(open + 1, path.find('}', open) - open - 1);
        parameters.push_back(
            {{"name", name}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}});
    }
    for (const QueryDoc& query : doc.query)
        parameters.push_back({{"name", query.name},
                              {"in", "query"},
                              {"description", query.text},
                              {"schema", {{"type", query.type}}}});
    return parameters;
}

[[nodiscard]] json body_of(const std::string& content_type, json schema) {
    return {{content_type, {{"schema", std::move(schema)}}}};
}

/// What the body must be; null when the operation takes none.
[[nodiscard]] json request_body_of(const RouteDoc& doc) {
    const OperationSchemas* schemas = schemas_of(doc.operation);
    const bool named = schemas != nullptr && !schemas->request.empty();
    if (!named && doc.request_schema.empty()) return nullptr;
    const json schema = named ? schema_ref(schemas->request) : schema_or_object(doc.request_schema);
    return {{"required", doc.body_required}, {"content", body_of(doc.request_type, schema)}};
}

/// The answer when all goes well.
[[nodiscard]] json answer_of(const RouteDoc& doc) {
    json answer{{"description", "Success"},
                {"headers", {{"x-request-id", {{"$ref", "#/components/headers/RequestId"}}}}}};
    if (doc.success == 204) return answer;
    const OperationSchemas* schemas = schemas_of(doc.operation);
    const bool named = schemas != nullptr && !schemas->answer.empty();
    json schema = doc.content_type == "application/json" ? schema_or_object(doc.response_schema)
                                                         : json{{"type", "string"}};
    if (named) schema = schema_ref(schemas->answer);
    answer["content"] = body_of(doc.content_type, std::move(schema));
    // What is streamed on demand.
    if (doc.content_type == "application/json" && doc.may_stream)
        answer["content"]["text/event-stream"] = {{"schema", {{"type", "string"}}}};
    return answer;
}

[[nodiscard]] json responses_of(const RouteDoc& doc, bool has_body) {
    const auto refusal = [](const char* name) {
        return json{{"$ref", "#/components/responses/" + std::string(name)}};
    };
    json responses;
    responses[std::to_string(doc.success)] = answer_of(doc);
    if (doc.success == 201) responses["200"] = answer_of(doc);  // it was there before
    const bool cached = doc.method == http::Method::kGet && doc.content_type == "application/json";
    if (cached) responses["304"] = {{"description", "As the If-None-Match says"}};
    const bool openai = is_openai_route(doc.path);
    const char* other = openai ? "OpenAiError" : "Problem";
    if (has_body) responses["400"] = refusal(other);
    if (doc.access == Access::kAccount) responses["401"] = responses["403"] = refusal(other);
    if (doc.path.find('{') != std::string::npos) responses["404"] = refusal(other);
    responses["429"] = refusal(openai ? "TooManyOpenAi" : "TooMany");
    responses["default"] = refusal(other);
    return responses;
}

[[nodiscard]] json operation_of(const RouteDoc& doc) {
    json operation;
    operation["operationId"] = doc.operation;
    operation["summary"] = doc.summary;
    operation["tags"] = json::array({doc.tag});
    operation["parameters"] = parameters_of(doc);
    operation["security"] = json::array();
    if (doc.access == Access::kAccount)
        operation["security"].push_back({{"bearer", json::array()}});
    json body = request_body_of(doc);
    operation["responses"] = responses_of(doc, !body.is_null());
    if (!body.is_null()) operation["requestBody"] = std::move(body);
    return operation;
}

/// Responses that many operations share.
[[nodiscard]] json shared_responses() {
    const auto refusal = [](const char* text, const char* type, const char* schema) {
        return json{{"description", text},
                    {"headers", {{"x-request-id", {{"$ref", "#/components/headers/RequestId"}}}}},
                    {"content", body_of(type, schema_ref(schema))}};
    };
    constexpr const char* kProblem = "application/problem+json";
    constexpr const char* kTooMany = "Too much at once; wait";
    json out{{"Problem", refusal("A refusal (RFC 9457)", kProblem, "Problem")},
             {"OpenAiError", refusal("A refusal", "application/json", "OpenAiError")},
             {"TooMany", refusal(kTooMany, kProblem, "Problem")},
             {"TooManyOpenAi", refusal(kTooMany, "application/json", "OpenAiError")}};
    for (const char* name : {"TooMany", "TooManyOpenAi"})
        out[name]["headers"]["retry-after"] = {{"$ref", "#/components/headers/RetryAfter"}};
    return out;
}

[[nodiscard]] json shared_headers() {
    return {
        {"RequestId",
         {{"description",
           "Names this request in the market's log; a short plain one that "
           "the client sends is kept"},
          {"schema", {{"type", "string"}}}}},
        {"RetryAfter", {{"description", "Seconds to wait"}, {"schema", {{"type", "integer"}}}}}};
}

[[nodiscard]] std::string lower_name(http::Method method) {
    std::string name(http::to_string(method));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return static_cast<char>(c - 'A' + 'a'); });
    return name;
}

}  // namespace

void RouteTable::add(RouteDoc doc, http::Handler handler, http::RouteOptions options) {
    router_.add(doc.method, doc.path, std::move(handler), std::move(options));
    docs_.push_back(std::move(doc));
}

std::string RouteTable::openapi(const std::string& version) const {
    json paths = json::object();
    for (const RouteDoc& doc : docs_)
        paths[openapi_path(doc.path)][lower_name(doc.method)] = operation_of(doc);
    json document;
    document["openapi"] = "3.1.0";
    document["info"] = {{"title", "Millrace market"},
                        {"version", version},
                        {"description", kDescription},
                        {"license", {{"name", "Apache-2.0"}, {"identifier", "Apache-2.0"}}}};
    document["servers"] = json::array({{{"url", "/"}}});
    document["paths"] = std::move(paths);
    json& components = document["components"];
    components["securitySchemes"]["bearer"] = {
        {"type", "http"},
        {"scheme", "bearer"},
        {"description", "A session (POST /v1/auth/siwe) or an API key (POST /v1/api-keys)"}};
    components["schemas"] = component_schemas();
    components["responses"] = shared_responses();
    components["headers"] = shared_headers();
    return ledger::rpc::to_text(document);
}

}  // namespace marketplace::api
