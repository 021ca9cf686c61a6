// SPDX-License-Identifier: Apache-2.0
#include "marketplace/http/response.hpp"

#include "ledger/base/money.hpp"
#include "marketplace/http/text.hpp"

#include <system_error>

namespace marketplace::http {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

Response Response::events(std::shared_ptr<StreamBody> stream) {
    Response response(200, "text/event-stream", "");
    response.header("cache-control", "no-cache, no-transform");
    response.header("x-accel-buffering", "no");
    if (stream->heartbeat.empty()) stream->heartbeat = ": keep-alive\n\n";
    response.stream = std::move(stream);
    return response;
}

Result<std::optional<ByteRange>> parse_range(std::string_view header, std::uint64_t size) {
    constexpr std::string_view kUnit = "bytes=";
    header = trimmed(header);
    if (!header.starts_with(kUnit)) return std::optional<ByteRange>{};
    const std::string_view spec = trimmed(header.substr(kUnit.size()));
    const auto dash = spec.find('-');
    if (dash == std::string_view::npos || spec.find(',') != std::string_view::npos)
        return std::optional<ByteRange>{};
    const std::string_view first_text = spec.substr(0, dash);
    const std::string_view last_text = spec.substr(dash + 1);
    const auto first = ledger::base::parse_u64(first_text);
    const auto last = ledger::base::parse_u64(last_text);
    if ((!first_text.empty() && !first) || (!last_text.empty() && !last))
        return std::optional<ByteRange>{};
    if (first_text.empty() && last_text.empty()) return std::optional<ByteRange>{};
    const auto unsatisfiable = [&] {
        return fail(ErrorCode::out_of_range, "the body has " + std::to_string(size) + " bytes");
    };
    if (first_text.empty()) {  // the last N bytes
        if (*last == 0 || size == 0) return unsatisfiable();
        return std::optional<ByteRange>(ByteRange{*last >= size ? 0 : size - *last, size - 1});
    }
    if (!last_text.empty() && *last < *first) return std::optional<ByteRange>{};
    if (*first >= size) return unsatisfiable();
    const std::uint64_t end = last_text.empty() || *last >= size ? size - 1 : *last;
    return std::optional<ByteRange>(ByteRange{*first, end});
}

bool etag_matches(std::string_view header, std::string_view etag) noexcept {
    while (!header.empty()) {
        const auto comma = header.find(',');
        std::string_view item = trimmed(header.substr(0, comma));
        header = comma == std::string_view::npos ? std::string_view{} : header.substr(comma + 1);
        if (item == "*") return true;
        if (item.starts_with("W/")) item.remove_prefix(2);
        if (item == etag) return true;
    }
    return false;
}

Result<Response> Response::download(const std::filesystem::path& path, const Request& request,
                                    std::string content_type, std::string etag) {
    std::error_code ec;
    const std::uint64_t size = std::filesystem::file_size(path, ec);
    if (ec) return fail(ErrorCode::not_found);
    Response response(200, std::move(content_type), "");
    response.header("accept-ranges", "bytes");
    if (!etag.empty()) {
        response.header("etag", etag);
        const auto known = request.header("if-none-match");
        if (known && etag_matches(*known, etag)) {
            response.status = 304;
            response.content_type.clear();
            return response;
        }
    }
    FileBody file;
    file.path = path;
    file.length = size;
    const auto range_header = request.header("range");
    const auto if_range = request.header("if-range");
    if (range_header && (!if_range || *if_range == etag)) {
        const auto range = parse_range(*range_header, size);
        if (!range) {
            response.status = 416;
            response.content_type.clear();
            response.header("content-range", "bytes */" + std::to_string(size));
            return response;
        }
        if (*range) {
            file.offset = (*range)->first;
            file.length = (*range)->last - (*range)->first + 1;
            response.status = 206;
            response.header("content-range", "bytes " + std::to_string((*range)->first) + "-" +
                                                 std::to_string((*range)->last) + "/" +
                                                 std::to_string(size));
        }
    }
    response.file = std::move(file);
    return response;
}

std::string_view reason_phrase(int status) noexcept {
    switch (status) {
        // clang-format off
        case 100: return "Continue";
        case 101: return "Switching Protocols";
        case 200: return "OK";
        case 201: return "Created";
        case 202: return "Accepted";
        case 204: return "No Content";
        case 206: return "Partial Content";
        case 304: return "Not Modified";
        case 400: return "Bad Request";
        case 401: return "Unauthorized";
        case 402: return "Payment Required";
        case 403: return "Forbidden";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 408: return "Request Timeout";
        case 409: return "Conflict";
        case 411: return "Length Required";
        case 412: return "Precondition Failed";
        case 413: return "Content Too Large";
        case 414: return "URI Too Long";
        case 415: return "Unsupported Media Type";
        case 416: return "Range Not Satisfiable";
        case 417: return "Expectation Failed";
        case 422: return "Unprocessable Content";
        case 426: return "Upgrade Required";
        case 429: return "Too Many Requests";
        case 431: return "Request Header Fields Too Large";
        case 500: return "Internal Server Error";
        case 501: return "Not Implemented";
        case 502: return "Bad Gateway";
        case 503: return "Service Unavailable";
        case 504: return "Gateway Timeout";
        case 505: return "HTTP Version Not Supported";
        case 507: return "Insufficient Storage";
        default: return "Unknown";
            // clang-format on
    }
}

}  // namespace marketplace::http
