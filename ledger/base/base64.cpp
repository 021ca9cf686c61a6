// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/base64.hpp"

namespace ledger::base {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string to_base64(ByteView bytes) {
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t at = 0; at < bytes.size(); at += 3) {
        std::uint32_t group = 0;
        for (std::size_t i = 0; i < 3; ++i)
            group = group << 8U | (at + i < bytes.size() ? bytes[at + i] : 0U);
        for (std::size_t i = 0; i < 4; ++i)
            out += at + i <= bytes.size() ? kAlphabet[group >> (18 - 6 * i) & 63U] : '=';
    }
    return out;
}

Result<Bytes> parse_base64(std::string_view text) {
    Bytes out;
    const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
    if (text.size() % 4 != 0) return fail(ErrorCode::invalid_encoding, "not base64");
    out.reserve(text.size() / 4 * 3);
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool pad = i + padding >= text.size();
        const auto digit = pad ? 0 : kAlphabet.find(text[i]);
        if (digit == std::string_view::npos) return fail(ErrorCode::invalid_encoding, "not base64");
        group = group << 6U | static_cast<std::uint32_t>(digit);
        if (i % 4 != 3) continue;
        for (int shift = 16; shift >= 0; shift -= 8)
            out.push_back(static_cast<std::uint8_t>(group >> shift));
        group = 0;
    }
    for (std::size_t i = 0; i < padding; ++i) {
        if (out.back() != 0) return fail(ErrorCode::invalid_encoding, "not canonical base64");
        out.pop_back();
    }
    return out;
}

}  // namespace ledger::base
