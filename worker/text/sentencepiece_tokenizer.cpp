// SPDX-License-Identifier: Apache-2.0
#include "worker/text/added_tokens.hpp"
#include "worker/text/limits.hpp"
#include "worker/text/tokenizer_kind.hpp"
#include "worker/text/utf8.hpp"

#include <fmt/format.h>
#include <sentencepiece_processor.h>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

class SentencePieceKind final : public Tokenizer::Kind {
 public:
    Result<void> load(std::string_view file) {
        if (file.size() > limits::kFileBytes)
            return fail(
                ErrorCode::job_limit,
                fmt::format("the tokenizer file is longer than {} bytes", limits::kFileBytes));
        if (!processor_.LoadFromSerializedProto({file.data(), file.size()}).ok())
            return fail(ErrorCode::data_invalid, "not a SentencePiece model");
        const int size = processor_.GetPieceSize();
        if (size < 1 || static_cast<std::size_t>(size) > limits::kVocabulary)
            return fail(ErrorCode::job_limit, "the SentencePiece model has too many pieces");
        for (int id = 0; id < size; ++id) {
            const std::string& piece = processor_.IdToPiece(id);
            if (!is_utf8(piece) || piece.size() > limits::kTokenBytes)
                return fail(ErrorCode::data_invalid, fmt::format("the piece {} is no text", id));
            if (!processor_.IsControl(id) || piece.size() > limits::kAddedTokenBytes) continue;
            AddedToken token;
            token.id = static_cast<std::uint32_t>(id);
            token.content = piece;
            token.special = true;
            controls_.add(token);
        }
        decoder_ = Decoder::sentencepiece(leading_spaces());
        return {};
    }

    Result<std::vector<std::uint32_t>> encode(std::string_view text,
                                              const EncodeOptions& options) const override {
        const std::string repaired = to_utf8(text);
        std::vector<std::uint32_t> out;
        if (options.add_special && processor_.bos_id() >= 0)
            out.push_back(static_cast<std::uint32_t>(processor_.bos_id()));
        for (const Segment& segment : controls_.split(repaired, options.match_special)) {
            if (segment.id) {
                out.push_back(*segment.id);
                continue;
            }
            std::vector<int> ids;
            const auto status = processor_.Encode(
                {repaired.data() + segment.begin, segment.end - segment.begin}, &ids);
            if (!status.ok())
                return fail(ErrorCode::data_invalid, "SentencePiece refuses the text");
            for (const int id : ids)
                out.push_back(static_cast<std::uint32_t>(id));
        }
        return out;
    }
    const Decoder& decoder() const noexcept override { return decoder_; }
    std::optional<std::string> piece_of(std::uint32_t id) const override {
        if (id >= vocabulary_size()) return std::nullopt;
        if (processor_.IsUnknown(static_cast<int>(id))) return " \u2047 ";  // as the library does
        return token_of(id);
    }
    std::size_t vocabulary_size() const noexcept override {
        return static_cast<std::size_t>(processor_.GetPieceSize());
    }
    std::optional<std::uint32_t> id_of(std::string_view token) const override {
        const int id = processor_.PieceToId({token.data(), token.size()});
        if (id < 0 || processor_.IdToPiece(id) != token) return std::nullopt;
        return static_cast<std::uint32_t>(id);
    }
    std::string token_of(std::uint32_t id) const override {
        return id < vocabulary_size() ? processor_.IdToPiece(static_cast<int>(id)) : "";
    }
    bool is_special(std::uint32_t id) const override {
        return id < vocabulary_size() && processor_.IsControl(static_cast<int>(id));
    }

 private:
    /// Asked of the library, whose settings have no other way out.
    LeadingSpaces leading_spaces() const {
        const int space = processor_.PieceToId("\u2581");
        if (processor_.IdToPiece(space) != "\u2581") {
            const auto pieces = processor_.EncodeAsPieces("a");
            const bool prefixed = !pieces.empty() && pieces.front().starts_with("\u2581");
            return prefixed ? LeadingSpaces::kDropOne : LeadingSpaces::kKeep;
        }
        if (!processor_.DecodeIds({space}).empty()) return LeadingSpaces::kKeep;
        return processor_.DecodeIds({space, space}).empty() ? LeadingSpaces::kDropAll
                                                            : LeadingSpaces::kDropOne;
    }

    sentencepiece::SentencePieceProcessor processor_;
    TokenMatcher controls_;
    Decoder decoder_;
};

}  // namespace

Result<Tokenizer> Tokenizer::from_sentencepiece(std::string_view file) {
    auto kind = std::make_shared<SentencePieceKind>();
    TRY(kind->load(file));
    return Tokenizer(std::move(kind));
}

}  // namespace worker::text
