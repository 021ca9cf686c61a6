// SPDX-License-Identifier: Apache-2.0
#include "marketplace/http/request.hpp"

#include "marketplace/http/text.hpp"

namespace marketplace::http {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

[[nodiscard]] int digit_of(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/// Calls `visit(name, value)` with the raw parts of each query parameter until it returns false.
template <typename Visit>
void for_each_parameter(std::string_view query, Visit visit) {
    while (!query.empty()) {
        const auto end = query.find('&');
        const std::string_view item = query.substr(0, end);
        query = end == std::string_view::npos ? std::string_view{} : query.substr(end + 1);
        if (item.empty()) continue;
        const auto equals = item.find('=');
        const std::string_view value =
            equals == std::string_view::npos ? std::string_view{} : item.substr(equals + 1);
        if (!visit(item.substr(0, equals), value)) return;
    }
}

}  // namespace

std::string_view to_string(Method method) noexcept {
    switch (method) {
        case Method::kGet:
            return "GET";
        case Method::kHead:
            return "HEAD";
        case Method::kPost:
            return "POST";
        case Method::kPut:
            return "PUT";
        case Method::kPatch:
            return "PATCH";
        case Method::kDelete:
            return "DELETE";
        case Method::kOptions:
            return "OPTIONS";
    }
    return "GET";
}

std::optional<std::string_view> Request::header(std::string_view name) const noexcept {
    for (const auto& [key, value] : headers)
        if (same_ignoring_case(key, name)) return std::string_view(value);
    return std::nullopt;
}

std::string_view Request::param(std::string_view name) const noexcept {
    for (const auto& [key, value] : params)
        if (key == name) return value;
    return {};
}

std::optional<std::string> Request::query_value(std::string_view name) const {
    std::optional<std::string> found;
    for_each_parameter(query, [&](std::string_view key, std::string_view value) {
        const auto decoded_key = percent_decode(key, PlusSign::kSpace);
        if (!decoded_key || *decoded_key != name) return true;
        if (auto decoded = percent_decode(value, PlusSign::kSpace)) found = std::move(*decoded);
        return false;
    });
    return found;
}

Result<std::vector<std::pair<std::string, std::string>>> Request::query_values() const {
    std::vector<std::pair<std::string, std::string>> out;
    bool malformed = false;
    for_each_parameter(query, [&](std::string_view key, std::string_view value) {
        auto decoded_key = percent_decode(key, PlusSign::kSpace);
        auto decoded_value = percent_decode(value, PlusSign::kSpace);
        malformed = !decoded_key || !decoded_value;
        if (!malformed) out.emplace_back(std::move(*decoded_key), std::move(*decoded_value));
        return !malformed;
    });
    if (malformed) return fail(ErrorCode::invalid_request, "the query has a malformed % escape");
    return out;
}

Result<std::string> percent_decode(std::string_view text, PlusSign plus) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '+' && plus == PlusSign::kSpace) {
            out.push_back(' ');
            continue;
        }
        if (text[i] != '%') {
            out.push_back(text[i]);
            continue;
        }
        const int high = i + 2 < text.size() ? digit_of(text[i + 1]) : -1;
        const int low = i + 2 < text.size() ? digit_of(text[i + 2]) : -1;
        if (high < 0 || low < 0 || (high == 0 && low == 0))
            return fail(ErrorCode::invalid_request, "malformed % escape");
        out.push_back(static_cast<char>(high * 16 + low));
        i += 2;
    }
    return out;
}

}  // namespace marketplace::http
