// SPDX-License-Identifier: Apache-2.0
#include "marketplace/http/head_parser.hpp"

#include "ledger/base/limits.hpp"
#include "ledger/base/money.hpp"
#include "marketplace/http/text.hpp"

#include <algorithm>

namespace marketplace::http {

namespace bhttp = boost::beast::http;
namespace limits = ledger::base::limits;

namespace {

constexpr std::size_t kUsualFields = 8;

constexpr bool is_forbidden_in_host(char c) noexcept {
    return c == ' ' || c == '\t' || c == ',' || c == '/' || c == '@';
}

}  // namespace

HeadParser::HeadParser(Request& request) : request_(request) {
    header_limit(static_cast<std::uint32_t>(limits::kHttpHeaderBytes));
    skip(true);  // the connection reads the body itself
}

void HeadParser::refuse(int status, const char* reason) noexcept {
    if (status_ != 0) return;  // the first reason counts
    status_ = status;
    reason_ = reason;
}

void HeadParser::on_request_impl(bhttp::verb method, string_view, string_view target, int version,
                                 error_code&) {
    switch (method) {
        case bhttp::verb::get:
            request_.method = Method::kGet;
            break;
        case bhttp::verb::head:
            request_.method = Method::kHead;
            break;
        case bhttp::verb::post:
            request_.method = Method::kPost;
            break;
        case bhttp::verb::put:
            request_.method = Method::kPut;
            break;
        case bhttp::verb::patch:
            request_.method = Method::kPatch;
            break;
        case bhttp::verb::delete_:
            request_.method = Method::kDelete;
            break;
        case bhttp::verb::options:
            request_.method = Method::kOptions;
            break;
        default:
            refuse(501, "this method is not supported");
    }
    http_1_1_ = version == 11;
    if (version != 11 && version != 10) refuse(505, "use HTTP/1.1");
    request_.target.assign(target.data(), target.size());
    split_target();
}

void HeadParser::split_target() {
    std::string_view target = request_.target;
    constexpr std::string_view kScheme = "http://";
    if (target.starts_with(kScheme)) {  // absolute form, as a proxy sends it
        target.remove_prefix(kScheme.size());
        const auto slash = target.find('/');
        target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
    }
    for (const char c : target)
        if (c <= ' ' || c >= '\x7f' || c == '#') refuse(400, "the target has a forbidden byte");
    if (!target.starts_with('/') && !(target == "*" && request_.method == Method::kOptions))
        refuse(400, "the target must begin with /");
    const auto mark = target.find('?');
    request_.path = std::string(target.substr(0, mark));
    if (mark != std::string_view::npos) request_.query = std::string(target.substr(mark + 1));
}

void HeadParser::on_field_impl(field name, string_view name_text, string_view value, error_code&) {
    if (request_.headers.size() >= limits::kHttpHeaderFields) {
        refuse(431, "too many header fields");
        return;
    }
    const std::string_view text(value.data(), value.size());
    switch (name) {
        case field::host:
            ++hosts_;
            if (std::any_of(text.begin(), text.end(), is_forbidden_in_host))
                refuse(400, "the Host header is malformed");
            break;
        case field::transfer_encoding:
            refuse(411, "Transfer-Encoding is not accepted: send Content-Length");
            break;
        case field::content_length: {
            ++lengths_;
            const auto length = ledger::base::parse_u64(text);
            if (!length || lengths_ > 1)
                refuse(400, "send one Content-Length, a decimal number");
            else
                request_.content_length = *length;
            break;
        }
        case field::expect:
            expects_continue_ = same_ignoring_case(text, "100-continue");
            if (!expects_continue_) refuse(417, "only 100-continue can be expected");
            break;
        case field::upgrade:
            wants_websocket_ = same_ignoring_case(text, "websocket");
            break;
        default:
            break;
    }
    if (request_.headers.empty()) request_.headers.reserve(kUsualFields);
    request_.headers.emplace_back(std::string(name_text.data(), name_text.size()), text);
}

void HeadParser::on_header_impl(error_code&) {
    if (hosts_ != 1) refuse(400, "send exactly one Host header");
}

}  // namespace marketplace::http
