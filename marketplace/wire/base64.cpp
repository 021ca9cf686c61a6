// SPDX-License-Identifier: Apache-2.0
#include "marketplace/wire/base64.hpp"

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace marketplace::wire {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string encode_bytes(std::span<const std::uint8_t> bytes) {
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

Result<std::vector<std::uint8_t>> decode_bytes(std::string_view text) {
    std::vector<std::uint8_t> out;
    const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
    if (text.size() % 4 != 0) return fail(ErrorCode::invalid_encoding, "not base64");
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

}  // namespace

std::string encode_floats(std::span<const float> values) {
    std::vector<std::uint8_t> bytes;
    bytes.reserve(values.size() * 4);
    for (const float value : values) {
        const auto bits = std::bit_cast<std::uint32_t>(value);
        for (std::uint32_t i = 0; i < 4; ++i)
            bytes.push_back(static_cast<std::uint8_t>(bits >> (8 * i)));
    }
    return encode_bytes(bytes);
}

Result<std::vector<float>> decode_floats(std::string_view text) {
    TRY_ASSIGN(const std::vector<std::uint8_t> bytes, decode_bytes(text));
    if (bytes.size() % 4 != 0) return fail(ErrorCode::invalid_encoding, "not whole floats");
    std::vector<float> out;
    out.reserve(bytes.size() / 4);
    for (std::size_t at = 0; at < bytes.size(); at += 4) {
        std::uint32_t bits = 0;
        for (std::size_t i = 4; i > 0; --i)
            bits = bits << 8U | bytes[at + i - 1];
        out.push_back(std::bit_cast<float>(bits));
        if (!std::isfinite(out.back())) return fail(ErrorCode::invalid_encoding, "not finite");
    }
    return out;
}

}  // namespace marketplace::wire
