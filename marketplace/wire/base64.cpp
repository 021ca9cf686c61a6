// SPDX-License-Identifier: Apache-2.0
#include "marketplace/wire/base64.hpp"

#include "ledger/base/base64.hpp"

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace marketplace::wire {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

std::string encode_floats(std::span<const float> values) {
    ledger::base::Bytes bytes;
    bytes.reserve(values.size() * 4);
    for (const float value : values) {
        const auto bits = std::bit_cast<std::uint32_t>(value);
        for (std::uint32_t i = 0; i < 4; ++i)
            bytes.push_back(static_cast<std::uint8_t>(bits >> (8 * i)));
    }
    return ledger::base::to_base64(bytes);
}

Result<std::vector<float>> decode_floats(std::string_view text) {
    TRY_ASSIGN(const ledger::base::Bytes bytes, ledger::base::parse_base64(text));
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
