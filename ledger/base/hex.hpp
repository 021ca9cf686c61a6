// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"

#include <string>
#include <string_view>

namespace ledger::base {

/// "0x" and lower-case digits.
[[nodiscard]] std::string to_hex(ByteView bytes);

/// Accepts an optional "0x", either case, an even count of digits, at most `max_bytes`.
[[nodiscard]] Result<Bytes> parse_hex(std::string_view text, std::size_t max_bytes);

namespace detail {
[[nodiscard]] bool parse_hex_exact(std::string_view text, std::uint8_t* out,
                                   std::size_t size) noexcept;
}

template <std::size_t N, typename Tag>
[[nodiscard]] std::string to_hex(const FixedBytes<N, Tag>& value) {
    return to_hex(ByteView(value.data(), N));
}

/// Parses exactly the bytes of `Fixed` (Hash32, Address, Signature): `parse_fixed<Hash32>(text)`.
template <typename Fixed>
[[nodiscard]] Result<Fixed> parse_fixed(std::string_view text) {
    Fixed out;
    if (!detail::parse_hex_exact(text, out.data(), Fixed::kSize))
        return fail(ErrorCode::invalid_encoding,
                    "expected 0x and " + std::to_string(2 * Fixed::kSize) + " hex digits");
    return out;
}

}  // namespace ledger::base
