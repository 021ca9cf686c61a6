// SPDX-License-Identifier: Apache-2.0
// /docs/errors: where the `type` of a problem document leads.
#include "ledger/base/error.hpp"
#include "marketplace/api/handlers.hpp"
#include "marketplace/wire/problem_json.hpp"

#include <fmt/format.h>

#include <iterator>

namespace marketplace::api {

namespace {

using ledger::base::ErrorCode;

[[nodiscard]] std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '<')
            out += "&lt;";
        else if (c == '&')
            out += "&amp;";
        else
            out += c;
    }
    return out;
}

void add_row(std::string& page, ErrorCode code) {
    const std::string_view name = to_string(code);
    fmt::format_to(std::back_inserter(page), "<tr id=\"{0}\"><td><code>{0}</code><td>{1}<td>{2}\n",
                   name, wire::http_status(code), escaped(ledger::base::help_for(code)));
}

[[nodiscard]] std::string error_page() {
    std::string page =
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">"
        "<meta name=\"viewport\" content=\"width=device-width\">"
        "<title>Millrace: error codes</title>\n"
        "<h1>Error codes</h1>\n<p>Every refusal names one of these codes. They do not change. "
        "The routes are in <a href=\"/docs\">/docs</a>.</p>\n"
        "<table><thead><tr><th scope=\"col\">Code<th scope=\"col\">Status"
        "<th scope=\"col\">What to do<tbody>\n";
#define MILLRACE_ERROR_ROW(name, help) add_row(page, ErrorCode::name);
    MILLRACE_ERROR_CODES(MILLRACE_ERROR_ROW)
#undef MILLRACE_ERROR_ROW
    page += "</table></html>\n";
    return page;
}

}  // namespace

void add_error_page(RouteTable& table) {
    RouteDoc doc{http::Method::kGet, "/docs/errors", "errorCodes", "ops",
                 "What each error code means and what to do"};
    doc.content_type = "text/html";
    table.add(std::move(doc), [page = error_page()](const auto&, const auto& reply) {
        http::Response response(200, "text/html; charset=utf-8", page);
        response.header("content-security-policy",
                        "default-src 'none'; base-uri 'none'; form-action 'none'; "
                        "frame-ancestors 'none'");
        response.header("cache-control", "public, max-age=3600");
        reply(std::move(response));
    });
}

}  // namespace marketplace::api
