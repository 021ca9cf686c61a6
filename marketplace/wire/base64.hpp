// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <span>
#include <string>
#include <string_view>
#include <vector>

/// Vectors as OpenAI's clients take them: base64 (RFC 4648, padded) of little-endian 32-bit floats.
namespace marketplace::wire {

[[nodiscard]] std::string encode_floats(std::span<const float> values);

/// invalid_encoding: not such a text, or a number in it is not finite.
[[nodiscard]] ledger::base::Result<std::vector<float>> decode_floats(std::string_view text);

}  // namespace marketplace::wire
