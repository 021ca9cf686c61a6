// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace worker::model {

/// The text of one completion while its tokens arrive. One thread at a time.
class TokenStream {
 public:
    TokenStream() = default;
    virtual ~TokenStream() = default;
    TokenStream(const TokenStream&) = delete;
    TokenStream& operator=(const TokenStream&) = delete;

    /// What is certain after one more token: whole UTF-8, often nothing.
    [[nodiscard]] virtual std::string push(std::uint32_t token) = 0;
    /// The rest.
    [[nodiscard]] virtual std::string finish() = 0;
};

/// Text to tokens and back, as the model was trained. Immutable; callable from any thread.
class Vocabulary {
 public:
    Vocabulary() = default;
    virtual ~Vocabulary() = default;
    Vocabulary(const Vocabulary&) = delete;
    Vocabulary& operator=(const Vocabulary&) = delete;

    [[nodiscard]] virtual ledger::base::Result<std::vector<std::uint32_t>> encode(
        std::string_view text) const = 0;
    [[nodiscard]] virtual std::unique_ptr<TokenStream> stream() const = 0;
    /// The bytes that a token adds in the middle of a text, possibly part of a character; none for
    /// a special token and one that is not there.
    [[nodiscard]] virtual std::string bytes(std::uint32_t token) const = 0;
    /// A token for people; any number is taken.
    [[nodiscard]] virtual std::string label(std::uint32_t token) const = 0;
};

/// The 256 bytes; a text without any begins after a line end. What is no UTF-8 becomes U+FFFD, and
/// a byte that is not text alone is labelled "\xe2".
[[nodiscard]] std::shared_ptr<const Vocabulary> byte_vocabulary();

}  // namespace worker::model
