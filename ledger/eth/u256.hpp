// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"

#include <boost/multiprecision/cpp_int.hpp>

#include <string>
#include <string_view>

namespace ledger::eth {

/// 256 bits, unsigned; arithmetic throws std::range_error and friends on overflow.
using U256 = boost::multiprecision::checked_uint256_t;

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
