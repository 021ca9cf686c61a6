// SPDX-License-Identifier: Apache-2.0
#include "worker/text/tokenizer.hpp"

#include "worker/text/byte_alphabet.hpp"
#include "worker/text/limits.hpp"
#include "worker/text/tokenizer_kind.hpp"

#include <fmt/format.h>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

/// A byte is a token. Its pieces use GPT-2's alphabet, so that its decoder serves here too.
class BytesKind final : public Tokenizer::Kind {
 public:
    explicit BytesKind(Decoder decoder) : decoder_(std::move(decoder)) {}

    Result<std::vector<std::uint32_t>> encode(std::string_view text,
                                              const EncodeOptions&) const override {
        std::vector<std::uint32_t> out;
        out.reserve(text.size());
        for (const char c : text)
            out.push_back(static_cast<unsigned char>(c));
        return out;
    }
    const Decoder& decoder() const noexcept override { return decoder_; }
    std::optional<std::string> piece_of(std::uint32_t id) const override {
        if (id >= 256) return std::nullopt;
        return byte_alphabet()[id];
    }
    std::size_t vocabulary_size() const noexcept override { return 256; }
    std::optional<std::uint32_t> id_of(std::string_view token) const override {
        if (token.size() != 1) return std::nullopt;
        return static_cast<unsigned char>(token.front());
    }
    std::string token_of(std::uint32_t id) const override {
        return id < 256 ? std::string(1, static_cast<char>(id)) : "";
    }
    bool is_special(std::uint32_t) const override { return false; }

 private:
    Decoder decoder_;
};

}  // namespace

Tokenizer Tokenizer::bytes() {
    return Tokenizer(std::make_shared<BytesKind>(Decoder::byte_level()));
}

Result<std::vector<std::uint32_t>> Tokenizer::encode(std::string_view text,
                                                     const EncodeOptions& options) const {
    if (text.size() > limits::kTextBytes)
        return fail(ErrorCode::job_limit,
                    fmt::format("a text to encode is longer than {} bytes", limits::kTextBytes));
    return kind_->encode(text, options);
}

std::string Tokenizer::decode(std::span<const std::uint32_t> ids, Skip skip) const {
    StreamDecoder stream(*this, skip);
    std::string out;
    for (const std::uint32_t id : ids)
        out += stream.push(id);
    return out += stream.finish();
}

std::size_t Tokenizer::vocabulary_size() const noexcept {
    return kind_->vocabulary_size();
}
std::optional<std::uint32_t> Tokenizer::id_of(std::string_view token) const {
    return kind_->id_of(token);
}
std::string Tokenizer::token_of(std::uint32_t id) const {
    return kind_->token_of(id);
}
bool Tokenizer::is_special(std::uint32_t id) const {
    return kind_->is_special(id);
}

std::string Tokenizer::bytes_of(std::uint32_t id) const {
    if (is_special(id)) return {};
    auto piece = kind_->piece_of(id);
    return piece ? kind_->decoder().inside(std::move(*piece)) : std::string();
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, Skip skip)
    : tokenizer_(tokenizer), skip_(skip), run_(tokenizer.kind_->decoder()) {}

std::string StreamDecoder::push(std::uint32_t id) {
    if (skip_ == Skip::kSpecial && tokenizer_.is_special(id)) return {};
    auto piece = tokenizer_.kind_->piece_of(id);
    return piece ? run_.push(std::move(*piece)) : std::string();
}

std::string StreamDecoder::finish() {
    return run_.finish();
}

}  // namespace worker::text
