// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace worker::text {

/// GPT-2's printable character for each byte: itself where Latin-1 prints it, else U+0100 and on.
[[nodiscard]] const std::array<std::string, 256>& byte_alphabet();

/// The bytes of a token written in that alphabet; the token itself when a character is outside it.
[[nodiscard]] std::string from_byte_alphabet(std::string_view token);

}  // namespace worker::text
