// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace worker::text {

/// A token that is matched as it stands, before the text reaches the model.
struct AddedToken {
    std::uint32_t id = 0;
    std::string content;       ///< UTF-8, 1 to limits::kAddedTokenBytes
    bool special = false;      ///< left out by a decode that skips special tokens
    bool single_word = false;  ///< only between characters that are no part of a word
    bool lstrip = false;       ///< takes the white space on its left
    bool rstrip = false;       ///< takes the white space on its right
    bool normalized = false;   ///< looked for after the normalizer, not before
};

/// A stretch of text between tokens, or a token.
struct Segment {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::optional<std::uint32_t> id;
};

/// Finds tokens in text: the leftmost, and of those the longest. A trie over bytes, so that a byte
/// of text costs at most kAddedTokenBytes steps, however many tokens there are.
class TokenMatcher {
 public:
    void add(const AddedToken& token);
    /// `text` is valid UTF-8. Empty stretches are left out.
    [[nodiscard]] std::vector<Segment> split(std::string_view text, bool match_special) const;

 private:
    struct Node {
        std::optional<std::size_t> token;  // into tokens_
    };
    [[nodiscard]] std::optional<std::size_t> longest_at(std::string_view text,
                                                        bool match_special) const;
    std::vector<AddedToken> tokens_;
    std::vector<Node> nodes_ = std::vector<Node>(1);
    std::unordered_map<std::uint64_t, std::uint32_t> edges_;  // node << 8 | byte
    std::array<bool, 256> starts_{};
};

}  // namespace worker::text
