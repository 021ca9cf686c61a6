// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/ids.hpp"

#include "ledger/base/hex.hpp"

namespace ledger::base::detail {

std::string format_id(std::string_view prefix, ByteView bytes) {
    return std::string(prefix) + to_hex(bytes).substr(2);
}

bool parse_id(std::string_view text, std::string_view prefix, std::uint8_t* out) {
    if (!text.starts_with(prefix)) return false;
    text.remove_prefix(prefix.size());
    if (text.size() != 32 || text.starts_with("0x")) return false;
    return parse_hex_exact(text, out, 16);
}

}  // namespace ledger::base::detail
