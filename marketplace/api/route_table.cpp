// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/route_table.hpp"

#include "ledger/base/check.hpp"
#include "ledger/rpc/json.hpp"

#include <algorithm>

namespace marketplace::api {

using nlohmann::json;

namespace {

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

[[nodiscard]] json operation_of(const RouteDoc& doc) {
    json operation;
    operation["operationId"] = doc.operation;
    operation["summary"] = doc.summary;
    operation["tags"] = json::array({doc.tag});
    operation["parameters"] = parameters_of(doc);
    operation["security"] = json::array();
    if (doc.access == Access::kAccount)
        operation["security"].push_back({{"bearer", json::array()}});
    if (!doc.request_schema.empty())
        operation["requestBody"] = {
            {"required", true},
            {"content",
             {{"application/json", {{"schema", schema_or_object(doc.request_schema)}}}}}};
    json content;
    content[doc.content_type]["schema"] = doc.content_type == "application/json"
                                              ? schema_or_object(doc.response_schema)
                                              : json{{"type", "string"}};
    json responses;
    responses[std::to_string(doc.success)] = {{"description", "Success"}, {"content", content}};
    responses["default"] = {
        {"description", "A problem (RFC 9457)"},
        {"content",
         {{"application/problem+json", {{"schema", {{"$ref", "#/components/schemas/Problem"}}}}}}}};
    operation["responses"] = std::move(responses);
    return operation;
}

[[nodiscard]] json problem_schema() {
    json properties;
    for (const char* name : {"type", "title", "code", "detail", "help", "instance"})
        properties[name] = {{"type", "string"}};
    properties["status"] = {{"type", "integer"}};
    return {{"type", "object"},
            {"required", json::array({"type", "title", "status", "code"})},
            {"properties", properties}};
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
                        {"description", "An open market for idle GPUs."},
                        {"license", {{"name", "Apache-2.0"}, {"identifier", "Apache-2.0"}}}};
    document["servers"] = json::array({{{"url", "/"}}});
    document["paths"] = std::move(paths);
    document["components"]["securitySchemes"]["bearer"] = {{"type", "http"}, {"scheme", "bearer"}};
    document["components"]["schemas"]["Problem"] = problem_schema();
    return ledger::rpc::to_text(document);
}

}  // namespace marketplace::api
