// SPDX-License-Identifier: Apache-2.0
#include "marketplace/http/router.hpp"

#include "ledger/base/check.hpp"

#include <fmt/format.h>

namespace marketplace::http {

namespace {

/// Takes the next path part off `rest` ("/a/b" gives "a"); false at the end.
[[nodiscard]] bool next_part(std::string_view& rest, std::string_view& part) {
    if (rest.empty() || rest.front() != '/') return false;
    const auto end = rest.find('/', 1);
    part = rest.substr(1, end == std::string_view::npos ? end : end - 1);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end);
    return true;
}

/// A tail for file lookups must not climb: no "..", no backslash, no empty part inside.
[[nodiscard]] bool is_safe_tail(std::string_view tail) {
    std::string_view rest = tail;
    std::string_view part;
    while (next_part(rest, part))
        if (part == ".." || part == "." || part.find('\\') != std::string_view::npos) return false;
    return true;
}

}  // namespace

Router::Node& Router::node_for(std::string_view path) {
    MR_CHECK(path.starts_with('/'));
    Node* node = &root_;
    std::string_view rest = path;
    std::string_view part;
    while (next_part(rest, part)) {
        if (!part.starts_with('{')) {
            auto& child = node->fixed[std::string(part)];
            if (!child) child = std::make_unique<Node>();
            node = child.get();
            continue;
        }
        MR_CHECK(part.ends_with('}'));
        std::string_view name = part.substr(1, part.size() - 2);
        const bool takes_rest = name.ends_with("...");
        if (takes_rest) name.remove_suffix(3);
        if (!node->parameter) node->parameter = std::make_unique<Node>();
        MR_CHECK(node->parameter_name.empty() || node->parameter_name == name);
        node->parameter_name = std::string(name);
        node = node->parameter.get();
        node->takes_rest = takes_rest;
    }
    return *node;
}

void Router::add(Method method, std::string_view path, Handler handler, RouteOptions options) {
    Route route;
    route.path = std::string(path);
    route.handler = std::move(handler);
    route.options = std::move(options);
    const bool is_new = node_for(path).routes.emplace(method, std::move(route)).second;
    MR_CHECK(is_new);
}

void Router::get(std::string_view path, SyncHandler handler) {
    add(Method::kGet, path, [handler = std::move(handler)](const RequestPtr& request, Reply reply) {
        reply(handler(*request));
    });
}

void Router::websocket(std::string_view path, WebSocketFactory factory) {
    Route route;
    route.path = std::string(path);
    route.websocket = std::move(factory);
    const bool is_new = node_for(path).routes.emplace(Method::kGet, std::move(route)).second;
    MR_CHECK(is_new);
}

void Router::before(std::function<std::optional<Response>(const Request&)> filter) {
    before_.push_back(std::move(filter));
}

void Router::after(std::function<void(const Request&, Response&)> filter) {
    after_.push_back(std::move(filter));
}

void Router::on_error(
    std::function<Response(const Request&, int, const ledger::base::Error&)> render) {
    render_ = std::move(render);
}

Router::Match Router::find(Method method, std::string_view path) const {
    Match match;
    const Node* node = &root_;
    std::string_view rest = path;
    std::string_view part;
    const Node* tail_node = nullptr;  // nearest "{name...}" on the way
    std::string_view tail;
    std::string tail_name;
    while (node != nullptr) {
        if (node->parameter && node->parameter->takes_rest && !rest.empty()) {
            tail_node = node->parameter.get();
            tail = rest;
            tail_name = node->parameter_name;
        }
        if (!next_part(rest, part)) break;
        if (const auto fixed = node->fixed.find(part); fixed != node->fixed.end()) {
            node = fixed->second.get();
        } else if (node->parameter && !node->parameter->takes_rest && !part.empty()) {
            auto value = percent_decode(part, PlusSign::kLiteral);
            if (!value) return match;
            match.params.emplace_back(node->parameter_name, std::move(*value));
            node = node->parameter.get();
        } else {
            node = nullptr;
        }
    }
    if ((node == nullptr || node->routes.empty()) && tail_node != nullptr) {
        auto value = percent_decode(tail, PlusSign::kLiteral);
        if (!value || !is_safe_tail(*value)) return match;
        match.params.emplace_back(tail_name, value->substr(1));
        node = tail_node;
    }
    if (node == nullptr || node->routes.empty()) return match;
    match.path_known = true;
    auto found = node->routes.find(method);
    if (found == node->routes.end() && method == Method::kHead)
        found = node->routes.find(Method::kGet);
    if (found != node->routes.end()) {
        match.route = &found->second;
        return match;
    }
    for (const auto& [known, route] : node->routes) {
        match.allow += fmt::format("{}{}", match.allow.empty() ? "" : ", ", to_string(known));
        if (known == Method::kGet && !node->routes.contains(Method::kHead)) match.allow += ", HEAD";
    }
    return match;
}

std::optional<Response> Router::run_before(const Request& request) const {
    for (const auto& filter : before_)
        if (auto response = filter(request)) return response;
    return std::nullopt;
}

void Router::run_after(const Request& request, Response& response) const {
    for (const auto& filter : after_)
        filter(request, response);
}

Response Router::error(const Request& request, int status, const ledger::base::Error& error) const {
    Response response;
    if (render_) {
        response = render_(request, status, error);
    } else {
        response = Response::text(error.message() + "\n");
    }
    if (status != 0)
        response.status = status;
    else if (!render_)
        response.status = 400;
    if (response.status == 503 || response.status == 429) {
        bool has_retry = false;
        for (const auto& [name, value] : response.headers)
            has_retry |= name == "retry-after";
        if (!has_retry) response.header("retry-after", "1");
    }
    return response;
}

}  // namespace marketplace::http
