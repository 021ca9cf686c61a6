// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"

#include <array>

namespace ledger::base {
namespace {

/// Value of a digit; 0xff for what is none. A table: logs of records are read as hex.
constexpr std::array<std::uint8_t, 256> kValues = [] {
    std::array<std::uint8_t, 256> values{};
    values.fill(0xff);
    for (std::uint8_t i = 0; i < 16; ++i) {
        values[static_cast<std::size_t>("0123456789abcdef"[i])] = i;
        values[static_cast<std::size_t>("0123456789ABCDEF"[i])] = i;
    }
    return values;
}();

unsigned digit(char c) noexcept {
    return kValues[static_cast<std::uint8_t>(c)];
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
    unsigned all = 0;
    for (std::size_t i = 0; i < size; ++i) {
        const unsigned high = digit(text[2 * i]);
        const unsigned low = digit(text[2 * i + 1]);
        all |= high | low;
        out[i] = static_cast<std::uint8_t>(high << 4U | low);
    }
    return all < 16;
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
