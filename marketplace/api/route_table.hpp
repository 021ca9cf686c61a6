// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/http/router.hpp"

#include <string>
#include <utility>
#include <vector>

namespace marketplace::api {

enum class Access : std::uint8_t {
    kPublic,   ///< anybody
    kAccount,  ///< bearer token or API key
    kSigned,   ///< the body carries its own signature
};

struct QueryDoc {
    std::string name;
    std::string type = "string";  ///< JSON schema type
    std::string text;
};

/// What the OpenAPI document says about a route.
struct RouteDoc {
    RouteDoc(http::Method route_method, std::string route_path, std::string operation_id,
             std::string route_tag, std::string route_summary,
             Access route_access = Access::kPublic)
        : method(route_method),
          path(std::move(route_path)),
          operation(std::move(operation_id)),
          tag(std::move(route_tag)),
          summary(std::move(route_summary)),
          access(route_access) {}

    http::Method method;
    std::string path;
    std::string operation;  ///< operationId
    std::string tag;
    std::string summary;
    Access access;
    std::vector<QueryDoc> query;
    /// JSON schema texts. What `schemas.hpp` has for the operation goes before both.
    std::string request_schema{};   ///< of the body; empty: none
    std::string response_schema{};  ///< empty: any object
    int success = 200;
    std::string content_type = "application/json";
    std::string request_type = "application/json";
    bool body_required = true;
    bool may_stream = false;  ///< also as text/event-stream, when it is asked for so
};

/// The one table of routes: what is served and what is documented cannot differ.
class RouteTable {
 public:
    explicit RouteTable(http::Router& router) : router_(router) {}

    void add(RouteDoc doc, http::Handler handler, http::RouteOptions options = {});
    /// OpenAPI 3.1 of everything added.
    [[nodiscard]] std::string openapi(const std::string& version) const;

 private:
    http::Router& router_;
    std::vector<RouteDoc> docs_;
};

}  // namespace marketplace::api
