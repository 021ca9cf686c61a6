// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/text/tokenizer.hpp"

namespace worker::text {

/// The inside of a Tokenizer.
class Tokenizer::Kind {
 public:
    Kind() = default;
    virtual ~Kind() = default;
    Kind(const Kind&) = delete;
    Kind& operator=(const Kind&) = delete;
    Kind(Kind&&) = delete;
    Kind& operator=(Kind&&) = delete;

    [[nodiscard]] virtual ledger::base::Result<std::vector<std::uint32_t>> encode(
        std::string_view text, const EncodeOptions& options) const = 0;
    [[nodiscard]] virtual const Decoder& decoder() const noexcept = 0;
    /// What the decoder is fed for an id; nothing for an id without a token.
    [[nodiscard]] virtual std::optional<std::string> piece_of(std::uint32_t id) const = 0;
    [[nodiscard]] virtual std::size_t vocabulary_size() const noexcept = 0;
    [[nodiscard]] virtual std::optional<std::uint32_t> id_of(std::string_view token) const = 0;
    [[nodiscard]] virtual std::string token_of(std::uint32_t id) const = 0;
    [[nodiscard]] virtual bool is_special(std::uint32_t id) const = 0;
};

}  // namespace worker::text
