// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"

namespace ledger::base {
namespace {

int digit(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

std::string_view without_prefix(std::string_view text) noexcept {
    if (text.size() >= 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        text.remove_prefix(2);
    return text;
}

}  // namespace

std::string to_hex(ByteView bytes) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string out(2 + 2 * bytes.size(), '0');
    out[1] = 'x';
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        out[2 + 2 * i] = kDigits[bytes[i] >> 4];
        out[3 + 2 * i] = kDigits[bytes[i] & 15];
    }
    return out;
}

bool detail::parse_hex_exact(std::string_view text, std::uint8_t* out, std::size_t size) noexcept {
    text = without_prefix(text);
    if (text.size() != 2 * size) return false;
    for (std::size_t i = 0; i < size; ++i) {
        const int high = digit(text[2 * i]);
        const int low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        out[i] = static_cast<std::uint8_t>(high * 16 + low);
    }
    return true;
}

Result<Bytes> parse_hex(std::string_view text, std::size_t max_bytes) {
    text = without_prefix(text);
    if (text.size() % 2 != 0) return fail(ErrorCode::invalid_encoding, "odd count of hex digits");
    if (text.size() / 2 > max_bytes)
        return fail(ErrorCode::too_large, "at most " + std::to_string(max_bytes) + " bytes");
    Bytes out(text.size() / 2);
    if (!detail::parse_hex_exact(text, out.data(), out.size()))
        return fail(ErrorCode::invalid_encoding, "not a hex digit");
    return out;
}

}  // namespace ledger::base
