// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/text/value.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace worker::text {

/// One step from tokens to text, fed a token at a time. What it cannot decide yet it keeps.
class DecodeStep {
 public:
    /// Text on its way: a whole token, or, behind a step that fuses them, more of the only one.
    struct Piece {
        std::string text;
        bool begins = true;  ///< a new token starts with it
    };

    virtual ~DecodeStep() = default;
    DecodeStep() = default;
    DecodeStep(const DecodeStep&) = delete;
    DecodeStep& operator=(const DecodeStep&) = delete;
    DecodeStep(DecodeStep&&) = delete;
    DecodeStep& operator=(DecodeStep&&) = delete;
    virtual void push(Piece piece, std::vector<Piece>& out) = 0;
    /// No more comes.
    virtual void finish(std::vector<Piece>& out) = 0;
    /// What becomes of a token in the middle of a text; bytes, that may be part of a character.
    [[nodiscard]] virtual Piece inside(Piece piece) const { return piece; }
    /// A step of the same kind that has seen nothing.
    [[nodiscard]] virtual std::unique_ptr<DecodeStep> fresh() const = 0;
};

/// What becomes of the spaces that begin a text.
enum class LeadingSpaces : std::uint8_t { kKeep, kDropOne, kDropAll };

/// The field "decoder" of a tokenizer file: what to do to make text of tokens again.
class Decoder {
 public:
    /// Tokens with a space between them when `part` is null. Errors: data_invalid, unsupported.
    [[nodiscard]] static ledger::base::Result<Decoder> parse(const Value* part);
    /// Tokens in the alphabet of GPT-2, a character a byte.
    [[nodiscard]] static Decoder byte_level();
    /// Pieces as SentencePiece writes them: U+2581 for a space, <0xNN> for a byte.
    [[nodiscard]] static Decoder sentencepiece(LeadingSpaces leading);

    /// The bytes that a token adds in the middle of a text.
    [[nodiscard]] std::string inside(std::string token) const;

    /// One text being decoded. Whole characters come out as soon as they are sure.
    class Run {
     public:
        explicit Run(const Decoder& decoder);
        /// What is now sure, after one more token.
        [[nodiscard]] std::string push(std::string token);
        /// The rest.
        [[nodiscard]] std::string finish();

     private:
        std::vector<std::unique_ptr<DecodeStep>> steps_;
    };

 private:
    [[nodiscard]] ledger::base::Result<void> add(const Value& part);
    std::vector<std::shared_ptr<const DecodeStep>> steps_;
    bool fused_ = false;  // the steps so far make one token of all
};

}  // namespace worker::text
