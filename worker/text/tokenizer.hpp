// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/text/decoder.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace worker::text {

/// How text becomes ids.
struct EncodeOptions {
    bool add_special = true;  ///< what the file puts around a text, such as <s>
    bool match_special =
        true;  ///< special tokens written in the text count as such; false: plain text
};

enum class Skip : std::uint8_t { kNothing, kSpecial };

/// Text to token ids and back, as the model's own files say. Immutable and cheap to copy; every
/// method may be called from many threads at once.
class Tokenizer {
 public:
    /// Reads a Hugging Face `tokenizer.json` with a BPE model.
    /// Errors: data_invalid; unsupported (the detail names the part); job_limit (limits.hpp).
    [[nodiscard]] static ledger::base::Result<Tokenizer> from_json(std::string_view file);
    /// Reads a SentencePiece `tokenizer.model`. Its control tokens are matched in text like special
    /// tokens, and a text begins with its bos token, as with Llama 2.
    /// Errors: data_invalid, job_limit.
    [[nodiscard]] static ledger::base::Result<Tokenizer> from_sentencepiece(std::string_view file);
    /// The 256 bytes, each its own id.
    [[nodiscard]] static Tokenizer bytes();

    /// The ids of `text`. Bytes that are no UTF-8 count as U+FFFD (but for `bytes`).
    /// Errors: job_limit (text above limits::kTextBytes, or a pattern that takes too many steps).
    [[nodiscard]] ledger::base::Result<std::vector<std::uint32_t>> encode(
        std::string_view text, const EncodeOptions& options = {}) const;
    /// The text of `ids`, always valid UTF-8. Ids without a token count as nothing.
    [[nodiscard]] std::string decode(std::span<const std::uint32_t> ids,
                                     Skip skip = Skip::kSpecial) const;

    /// The highest id plus one. A model may have more rows than that.
    [[nodiscard]] std::size_t vocabulary_size() const noexcept;
    /// The id of a token by its exact name, special or not.
    [[nodiscard]] std::optional<std::uint32_t> id_of(std::string_view token) const;
    /// The name of a token; empty for an id without one.
    [[nodiscard]] std::string token_of(std::uint32_t id) const;
    [[nodiscard]] bool is_special(std::uint32_t id) const;
    /// The bytes that a token adds in the middle of a text, possibly part of a character; none for
    /// special tokens and ids without a token.
    [[nodiscard]] std::string bytes_of(std::uint32_t id) const;

    /// What a tokenizer of one kind does; the kinds are in the source files.
    class Kind;

 private:
    friend class StreamDecoder;
    explicit Tokenizer(std::shared_ptr<const Kind> kind) : kind_(std::move(kind)) {}
    std::shared_ptr<const Kind> kind_;
};

/// Turns ids into text while they arrive: the pieces joined are what decode gives for all of them,
/// and each piece is whole UTF-8. One thread at a time.
class StreamDecoder {
 public:
    explicit StreamDecoder(const Tokenizer& tokenizer, Skip skip = Skip::kSpecial);
    /// What is certain after one more id; often nothing in the middle of a character.
    [[nodiscard]] std::string push(std::uint32_t id);
    /// The rest; the decoder is not to be used after it.
    [[nodiscard]] std::string finish();

 private:
    Tokenizer tokenizer_;
    Skip skip_;
    Decoder::Run run_;
};

}  // namespace worker::text
