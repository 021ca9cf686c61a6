// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"

#include <array>
#include <compare>
#include <concepts>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace ledger::eth {

/// 256 bits, unsigned. Arithmetic is Boost.Multiprecision's checked_uint256_t behind the .cpp (its
/// header would cost every file of the tree two seconds); it throws std::overflow_error or
/// std::range_error where a result does not fit.
class U256 {
 public:
    constexpr U256() noexcept = default;
    /// Implicit, like the built-in integers: every 64-bit number has its place here.
    /// A negative one throws std::range_error.
    template <std::unsigned_integral T>
    constexpr U256(T value) noexcept : limbs_{0, 0, 0, value} {}
    template <std::signed_integral T>
    constexpr U256(T value) : limbs_{0, 0, 0, not_negative(value)} {}

    friend constexpr bool operator==(const U256&, const U256&) noexcept = default;
    friend constexpr std::strong_ordering operator<=>(const U256&, const U256&) noexcept = default;

    friend U256 operator+(const U256& a, const U256& b);
    friend U256 operator-(const U256& a, const U256& b);
    friend U256 operator*(const U256& a, const U256& b);
    friend U256 operator/(const U256& a, const U256& b);
    friend U256 operator%(const U256& a, const U256& b);
    friend U256 operator<<(const U256& a, unsigned bits);
    U256& operator+=(const U256& other) { return *this = *this + other; }
    U256& operator-=(const U256& other) { return *this = *this - other; }

    /// 64 bits each, most significant first.
    [[nodiscard]] constexpr const std::array<std::uint64_t, 4>& limbs() const noexcept {
        return limbs_;
    }
    [[nodiscard]] static constexpr U256 of_limbs(const std::array<std::uint64_t, 4>& limbs) {
        U256 out;
        out.limbs_ = limbs;
        return out;
    }

 private:
    static constexpr std::uint64_t not_negative(std::int64_t value) {
        return value < 0 ? throw std::range_error("negative") : static_cast<std::uint64_t>(value);
    }
    std::array<std::uint64_t, 4> limbs_{};
};

/// 32 bytes, big-endian.
[[nodiscard]] std::array<std::uint8_t, 32> to_be32(const U256& value);
[[nodiscard]] U256 from_be(base::ByteView bytes);  ///< at most 32 bytes
/// JSON-RPC quantity: "0x0", "0x1f"; refuses leading zeros, more than 256 bits, missing 0x.
[[nodiscard]] base::Result<U256> parse_quantity(std::string_view text);
[[nodiscard]] std::string to_quantity(const U256& value);
[[nodiscard]] std::string to_decimal(const U256& value);
[[nodiscard]] base::Result<U256> parse_decimal(std::string_view text);
/// out_of_range when the value passes 64 bits.
[[nodiscard]] base::Result<std::uint64_t> to_u64(const U256& value);

}  // namespace ledger::eth
