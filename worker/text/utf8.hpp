// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace worker::text {

inline constexpr char32_t kReplacement = 0xFFFD;

/// What stands at the start of some bytes.
struct Utf8Step {
    char32_t point = kReplacement;  ///< the character; U+FFFD when `valid` is false
    std::size_t size = 0;  ///< bytes taken: the character's, or the longest broken part of one
    bool valid = false;
    bool cut = false;  ///< not valid, yet more bytes could complete it
};

/// Reads one character of `bytes`, which are not empty. Broken input is taken in the parts that
/// Unicode names maximal (as browsers, Python and Rust do): each of them is shown as one U+FFFD.
[[nodiscard]] Utf8Step read_utf8(std::string_view bytes) noexcept;

/// The character at `offset` of valid UTF-8.
[[nodiscard]] inline Utf8Step char_at(std::string_view text, std::size_t offset) noexcept {
    return read_utf8(text.substr(offset));
}

/// Bytes of the character that starts with `lead` in valid UTF-8.
[[nodiscard]] inline std::size_t char_size(char lead) noexcept {
    const auto byte = static_cast<unsigned char>(lead);
    return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

/// Where the last character of valid, non-empty UTF-8 starts.
[[nodiscard]] std::size_t last_char(std::string_view text) noexcept;

/// `point` must be a Unicode scalar value.
void append_utf8(std::string& to, char32_t point);

[[nodiscard]] bool is_utf8(std::string_view bytes) noexcept;

/// The text with every broken part replaced by U+FFFD.
[[nodiscard]] std::string to_utf8(std::string_view bytes);

/// Characters of valid UTF-8.
[[nodiscard]] std::size_t count_chars(std::string_view text) noexcept;

/// Unicode property White_Space.
[[nodiscard]] bool is_space(char32_t point) noexcept;

}  // namespace worker::text
