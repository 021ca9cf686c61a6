// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/compression.hpp"

#include "ledger/base/check.hpp"

#include <zlib.h>

#include <algorithm>
#include <cctype>

namespace marketplace::api {

namespace {

/// Takes the next part of a list off `rest`, trimmed.
[[nodiscard]] std::string_view next_item(std::string_view& rest, char separator) {
    const auto end = rest.find(separator);
    std::string_view item = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    while (!item.empty() && (item.front() == ' ' || item.front() == '\t'))
        item.remove_prefix(1);
    while (!item.empty() && (item.back() == ' ' || item.back() == '\t'))
        item.remove_suffix(1);
    return item;
}

/// "q=0", "q=0.0", "q=0.000": not acceptable (RFC 9110 section 12.4.2).
[[nodiscard]] bool is_zero_weight(std::string_view parameter) {
    if (!parameter.starts_with("q=") && !parameter.starts_with("Q=")) return false;
    const std::string_view weight = parameter.substr(2);
    return !weight.empty() && weight.find_first_not_of("0.") == std::string_view::npos;
}

[[nodiscard]] bool equals(std::string_view text, std::string_view lower) {
    return std::equal(text.begin(), text.end(), lower.begin(), lower.end(), [](char a, char b) {
        return std::tolower(static_cast<unsigned char>(a)) == b;
    });
}

}  // namespace

bool accepts_gzip(const http::Request& request) {
    const auto header = request.header("accept-encoding");
    std::string_view rest = header.value_or("");
    bool any = false;
    while (!rest.empty()) {
        std::string_view item = next_item(rest, ',');
        const std::string_view coding = next_item(item, ';');
        const bool taken = !is_zero_weight(next_item(item, ';'));
        if (equals(coding, "gzip") || equals(coding, "x-gzip")) return taken;
        if (coding == "*") any = taken;
    }
    return any;
}

bool wants_gzip(const http::Request& request, const http::Response& response) {
    if (response.stream || response.file || response.body.size() < kGzipBytesMin ||
        response.body.size() > kGzipBytesMax)
        return false;
    const std::string& type = response.content_type;
    if (type.find("json") == std::string::npos && !type.starts_with("text/")) return false;
    for (const auto& [name, value] : response.headers) {
        // Who names an entity tag names one representation.
        if (name == "content-encoding" || name == "content-range" || name == "etag") return false;
        if (name == "cache-control" && value.find("no-store") != std::string::npos) return false;
    }
    return accepts_gzip(request);
}

std::optional<std::string> gzip(std::string_view text) {
    MR_CHECK(text.size() <= kGzipBytesMax);
    z_stream stream{};
    constexpr int kGzipWindow = 15 + 16;  // zlib: the largest window, with gzip's frame
    constexpr int kMemoryLevel = 8;
    // The fastest level: JSON loses three quarters to it, and the thread serves others too.
    if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzipWindow, kMemoryLevel,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return std::nullopt;
    std::string out(deflateBound(&stream, text.size()), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    const int done = deflate(&stream, Z_FINISH);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    if (done != Z_STREAM_END) return std::nullopt;
    return out;
}

}  // namespace marketplace::api
