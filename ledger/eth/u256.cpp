// SPDX-License-Identifier: Apache-2.0
#include "ledger/eth/u256.hpp"

#include "ledger/base/check.hpp"

#include <boost/multiprecision/cpp_int.hpp>

namespace ledger::eth {

using base::ErrorCode;
using base::fail;

namespace {

using Wide = boost::multiprecision::checked_uint256_t;

Wide to_wide(const U256& value) {
    Wide out = 0;
    for (const std::uint64_t limb : value.limbs())
        out = (out << 64U) | limb;
    return out;
}

U256 from_wide(const Wide& value) {
    std::array<std::uint64_t, 4> limbs{};
    for (unsigned i = 0; i < limbs.size(); ++i)
        limbs[3 - i] = static_cast<std::uint64_t>((value >> (64 * i)) & UINT64_MAX);
    return U256::of_limbs(limbs);
}

}  // namespace

U256 operator+(const U256& a, const U256& b) {
    return from_wide(to_wide(a) + to_wide(b));
}
U256 operator-(const U256& a, const U256& b) {
    return from_wide(to_wide(a) - to_wide(b));
}
U256 operator*(const U256& a, const U256& b) {
    return from_wide(to_wide(a) * to_wide(b));
}
U256 operator/(const U256& a, const U256& b) {
    return from_wide(to_wide(a) / to_wide(b));
}
U256 operator%(const U256& a, const U256& b) {
    return from_wide(to_wide(a) % to_wide(b));
}
U256 operator<<(const U256& a, unsigned bits) {
    return from_wide(to_wide(a) << bits);
}

std::array<std::uint8_t, 32> to_be32(const U256& value) {
    std::array<std::uint8_t, 32> out{};
    for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = static_cast<std::uint8_t>(value.limbs()[i / 8] >> (56 - 8 * (i % 8)));
    return out;
}

U256 from_be(base::ByteView bytes) {
    MR_CHECK(bytes.size() <= 32);
    std::array<std::uint64_t, 4> limbs{};
    const std::size_t absent = 32 - bytes.size();
    for (std::size_t i = absent; i < 32; ++i)
        limbs[i / 8] = limbs[i / 8] << 8U | bytes[i - absent];
    return U256::of_limbs(limbs);
}

base::Result<U256> parse_quantity(std::string_view text) {
    if (text.size() < 3 || text.size() > 66 || !text.starts_with("0x"))
        return fail(ErrorCode::invalid_encoding, "not a quantity of at most 256 bits");
    text.remove_prefix(2);
    if (text.size() > 1 && text[0] == '0')
        return fail(ErrorCode::invalid_encoding, "a quantity has no leading zeros");
    Wide out = 0;
    for (const char c : text) {
        unsigned digit = 0;
        if (c >= '0' && c <= '9')
            digit = static_cast<unsigned>(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = static_cast<unsigned>(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F')
            digit = static_cast<unsigned>(c - 'A') + 10;
        else
            return fail(ErrorCode::invalid_encoding, "not a hex digit");
        out = out * 16 + digit;
    }
    return from_wide(out);
}

std::string to_quantity(const U256& value) {
    return "0x" + to_wide(value).str(0, std::ios_base::hex);
}

std::string to_decimal(const U256& value) {
    return to_wide(value).str();
}

base::Result<U256> parse_decimal(std::string_view text) {
    if (text.empty() || text.size() > 78 || (text.size() > 1 && text[0] == '0'))
        return fail(ErrorCode::invalid_encoding, "not a decimal number of at most 256 bits");
    boost::multiprecision::uint512_t wide = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') return fail(ErrorCode::invalid_encoding, "not a decimal digit");
        wide = wide * 10 + static_cast<unsigned>(c - '0');
    }
    if (boost::multiprecision::msb(wide | 1) >= 256)
        return fail(ErrorCode::out_of_range, "number passes 256 bits");
    return from_wide(Wide(wide));
}

base::Result<std::uint64_t> to_u64(const U256& value) {
    if (value > UINT64_MAX) return fail(ErrorCode::out_of_range, "number passes 64 bits");
    return value.limbs()[3];
}

}  // namespace ledger::eth
