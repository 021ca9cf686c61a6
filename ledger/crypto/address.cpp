// SPDX-License-Identifier: Apache-2.0
#include "ledger/crypto/address.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/crypto/keccak.hpp"

namespace ledger::crypto {

std::string to_checksum(const base::Address& address) {
    std::string text = base::to_hex(address);
    const base::Hash32 hash = keccak256(base::as_bytes(std::string_view(text).substr(2)));
    for (std::size_t i = 0; i < 40; ++i) {
        const unsigned nibble = i % 2 == 0 ? hash.data()[i / 2] >> 4U : hash.data()[i / 2] & 15U;
        char& c = text[2 + i];
        if (nibble >= 8 && c >= 'a' && c <= 'f') c = static_cast<char>(c - 'a' + 'A');
    }
    return text;
}

base::Result<base::Address> parse_address(std::string_view text) {
    if (text.size() != 42 || !text.starts_with("0x"))
        return base::fail(base::ErrorCode::invalid_encoding, "an address is 0x and 40 hex digits");
    TRY_ASSIGN(const base::Address address, base::parse_fixed<base::Address>(text));
    const std::string_view digits = text.substr(2);
    const bool has_lower = digits.find_first_of("abcdef") != std::string_view::npos;
    const bool has_upper = digits.find_first_of("ABCDEF") != std::string_view::npos;
    if (has_lower && has_upper && to_checksum(address) != text)
        return base::fail(base::ErrorCode::invalid_encoding,
                          "the address's checksum is wrong; copy it again");
    return address;
}

}  // namespace ledger::crypto
