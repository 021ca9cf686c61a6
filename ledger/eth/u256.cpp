// SPDX-License-Identifier: Apache-2.0
#include "ledger/eth/u256.hpp"

#include "ledger/base/check.hpp"

namespace ledger::eth {

using base::ErrorCode;
using base::fail;

std::array<std::uint8_t, 32> to_be32(const U256& value) {
    std::array<std::uint8_t, 32> out{};
    base::Bytes bytes;
    boost::multiprecision::export_bits(value, std::back_inserter(bytes), 8);
    MR_CHECK(bytes.size() <= out.size());
    std::copy(bytes.begin(), bytes.end(),
              out.begin() + static_cast<std::ptrdiff_t>(out.size() - bytes.size()));
    return out;
}

U256 from_be(base::ByteView bytes) {
    MR_CHECK(bytes.size() <= 32);
    U256 out = 0;
    if (!bytes.empty()) boost::multiprecision::import_bits(out, bytes.begin(), bytes.end(), 8);
    return out;
}

base::Result<U256> parse_quantity(std::string_view text) {
    if (text.size() < 3 || text.size() > 66 || !text.starts_with("0x"))
        return fail(ErrorCode::invalid_encoding, "not a quantity of at most 256 bits");
    text.remove_prefix(2);
    if (text.size() > 1 && text[0] == '0')
        return fail(ErrorCode::invalid_encoding, "a quantity has no leading zeros");
    U256 out = 0;
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
    return out;
}

std::string to_quantity(const U256& value) {
    return "0x" + value.str(0, std::ios_base::hex);
}

std::string to_decimal(const U256& value) {
    return value.str();
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
    return U256(wide);
}

base::Result<std::uint64_t> to_u64(const U256& value) {
    if (value > std::numeric_limits<std::uint64_t>::max())
        return fail(ErrorCode::out_of_range, "number passes 64 bits");
    return static_cast<std::uint64_t>(value);
}

}  // namespace ledger::eth
