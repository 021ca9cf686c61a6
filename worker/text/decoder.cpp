// SPDX-License-Identifier: Apache-2.0
#include "worker/text/decoder.hpp"

#include "worker/text/byte_alphabet.hpp"
#include "worker/text/fields.hpp"
#include "worker/text/pre_tokenizer.hpp"
#include "worker/text/utf8.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <utility>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

using Piece = DecodeStep::Piece;

constexpr std::size_t kContentBytesMax = 256;
constexpr std::string_view kSpaceMark = "\u2581";

/// The byte of a token such as "<0x0A>".
std::optional<char> byte_of(std::string_view token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
    std::uint8_t byte = 0;
    const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
    if (error != std::errc() || end != token.data() + 5) return std::nullopt;
    return static_cast<char>(byte);
}

std::string replaced(std::string_view text, std::string_view what, std::string_view with) {
    std::string out;
    std::size_t at = 0;
    for (std::size_t found = text.find(what); found != std::string_view::npos;
         found = text.find(what, at)) {
        out.append(text, at, found - at).append(with);
        at = found + what.size();
    }
    return out.append(text, at);
}

/// Bytes that become text as soon as their characters are whole.
class ByteBuffer {
 public:
    /// `broken_size` bytes of what is broken make one U+FFFD: 1, or 0 for the maximal part.
    explicit ByteBuffer(std::size_t broken_size) : broken_size_(broken_size) {}

    void add(std::string_view bytes) { bytes_ += bytes; }
    /// What is sure; everything when no more bytes come.
    std::string take(bool ends) {
        std::string out;
        std::size_t at = 0;
        while (at < bytes_.size()) {
            const Utf8Step step = char_at(bytes_, at);
            if (step.cut && !ends) break;
            if (step.valid)
                out.append(bytes_, at, step.size);
            else
                append_utf8(out, kReplacement);
            at += step.valid || broken_size_ == 0 ? step.size : broken_size_;
        }
        bytes_.erase(0, at);
        return out;
    }

 private:
    std::size_t broken_size_;
    std::string bytes_;
};

/// Tokens with a space between them: what a file without a decoder means.
class Join final : public DecodeStep {
 public:
    void push(Piece piece, std::vector<Piece>& out) override {
        if (piece.begins && std::exchange(any_, true)) piece.text.insert(0, " ");
        out.push_back(std::move(piece));
    }
    void finish(std::vector<Piece>&) override {}
    Piece inside(Piece piece) const override { return {" " + piece.text, true}; }
    std::unique_ptr<DecodeStep> fresh() const override { return std::make_unique<Join>(); }

 private:
    bool any_ = false;
};

class ByteLevel final : public DecodeStep {
 public:
    void push(Piece piece, std::vector<Piece>& out) override {
        bytes_.add(from_byte_alphabet(piece.text));
        out.push_back({bytes_.take(false), !std::exchange(any_, true)});
    }
    void finish(std::vector<Piece>& out) override {
        out.push_back({bytes_.take(true), !std::exchange(any_, true)});
    }
    Piece inside(Piece piece) const override { return {from_byte_alphabet(piece.text), false}; }
    std::unique_ptr<DecodeStep> fresh() const override { return std::make_unique<ByteLevel>(); }

 private:
    ByteBuffer bytes_{0};
    bool any_ = false;
};

/// Joins the bytes of tokens such as <0xE2>; a run of them that is no UTF-8 becomes U+FFFD byte by
/// byte, the whole of it, so that nothing of a run is sure before its end.
class ByteFallback final : public DecodeStep {
 public:
    void push(Piece piece, std::vector<Piece>& out) override {
        if (const auto byte = byte_of(piece.text)) {
            run_.push_back(*byte);
            return;
        }
        finish(out);
        out.push_back(std::move(piece));
    }
    void finish(std::vector<Piece>& out) override {
        if (run_.empty()) return;
        if (is_utf8(run_)) {
            out.push_back({run_, true});
        } else {
            for (std::size_t i = 0; i < run_.size(); ++i)
                out.push_back({"\uFFFD", true});
        }
        run_.clear();
    }
    Piece inside(Piece piece) const override {
        const auto byte = byte_of(piece.text);
        return byte ? Piece{std::string(1, *byte), true} : piece;
    }
    std::unique_ptr<DecodeStep> fresh() const override { return std::make_unique<ByteFallback>(); }

 private:
    std::string run_;
};

class Fuse final : public DecodeStep {
 public:
    void push(Piece piece, std::vector<Piece>& out) override {
        piece.begins = !std::exchange(any_, true);
        out.push_back(std::move(piece));
    }
    void finish(std::vector<Piece>&) override {}
    Piece inside(Piece piece) const override { return {std::move(piece.text), false}; }
    std::unique_ptr<DecodeStep> fresh() const override { return std::make_unique<Fuse>(); }

 private:
    bool any_ = false;
};

class Replace final : public DecodeStep {
 public:
    Replace(std::string what, std::string with) : what_(std::move(what)), with_(std::move(with)) {}
    void push(Piece piece, std::vector<Piece>& out) override {
        if (!what_.empty()) piece.text = replaced(piece.text, what_, with_);
        out.push_back(std::move(piece));
    }
    void finish(std::vector<Piece>&) override {}
    Piece inside(Piece piece) const override {
        return {what_.empty() ? piece.text : replaced(piece.text, what_, with_), piece.begins};
    }
    std::unique_ptr<DecodeStep> fresh() const override {
        return std::make_unique<Replace>(what_, with_);
    }

 private:
    std::string what_;
    std::string with_;
};

/// Cuts up to `start` characters `content` at the start of every token and `stop` at its end.
class Strip final : public DecodeStep {
 public:
    Strip(std::string content, std::size_t start, std::size_t stop)
        : content_(std::move(content)), start_(start), stop_(stop) {}

    void push(Piece piece, std::vector<Piece>& out) override {
        if (piece.begins) {
            finish(out);
            to_cut_ = start_;
            out.push_back({"", true});
        }
        std::string_view rest = piece.text;
        while (to_cut_ > 0 && rest.starts_with(content_)) {
            rest.remove_prefix(content_.size());
            --to_cut_;
        }
        if (!rest.empty()) to_cut_ = 0;
        std::size_t tail = 0;
        while (stop_ > 0 && rest.ends_with(content_)) {
            rest.remove_suffix(content_.size());
            ++tail;
        }
        if (!rest.empty())
            out.push_back({give(std::exchange(kept_, 0)) + std::string(rest), false});
        kept_ += tail;
    }
    void finish(std::vector<Piece>& out) override {
        out.push_back({give(kept_ - std::min(kept_, stop_)), false});
        kept_ = 0;
    }
    Piece inside(Piece piece) const override {
        std::string_view rest = piece.text;
        for (std::size_t i = 0; piece.begins && i < start_ && rest.starts_with(content_); ++i)
            rest.remove_prefix(content_.size());
        for (std::size_t i = 0; piece.begins && i < stop_ && rest.ends_with(content_); ++i)
            rest.remove_suffix(content_.size());
        return {std::string(rest), piece.begins};
    }
    std::unique_ptr<DecodeStep> fresh() const override {
        return std::make_unique<Strip>(content_, start_, stop_);
    }

 private:
    std::string give(std::size_t count) const {
        std::string out;
        while (count-- > 0)
            out += content_;
        return out;
    }
    std::string content_;
    std::size_t start_;
    std::size_t stop_;
    std::size_t to_cut_ = 0;
    std::size_t kept_ = 0;  // characters `content` at the end, which may be cut
};

/// Spaces for the marks; in the first token the marks were put there by the tokenizer.
class Metaspace final : public DecodeStep {
 public:
    Metaspace(std::string mark, bool drop_first)
        : mark_(std::move(mark)), drop_first_(drop_first) {}
    void push(Piece piece, std::vector<Piece>& out) override {
        if (piece.begins) ++tokens_;
        piece.text = replaced(piece.text, mark_, drop_first_ && tokens_ <= 1 ? "" : " ");
        out.push_back(std::move(piece));
    }
    void finish(std::vector<Piece>&) override {}
    Piece inside(Piece piece) const override {
        return {replaced(piece.text, mark_, " "), piece.begins};
    }
    std::unique_ptr<DecodeStep> fresh() const override {
        return std::make_unique<Metaspace>(mark_, drop_first_);
    }

 private:
    std::string mark_;
    bool drop_first_;
    std::size_t tokens_ = 0;
};

class SentencePiece final : public DecodeStep {
 public:
    explicit SentencePiece(LeadingSpaces leading) : leading_(leading) {}
    void push(Piece piece, std::vector<Piece>& out) override {
        if (const auto byte = byte_of(piece.text)) {
            bytes_.add(std::string_view(&*byte, 1));
            give(bytes_.take(false), out);
            any_ = true;
            return;
        }
        give(bytes_.take(true), out);
        std::string_view text = piece.text;
        if (leading_ != LeadingSpaces::kKeep && !any_ && text.starts_with(kSpaceMark))
            text.remove_prefix(kSpaceMark.size());
        // One that was dropped counts as the text's beginning, unless all of them go.
        const bool counts =
            leading_ == LeadingSpaces::kDropAll ? !text.empty() : !piece.text.empty();
        any_ = any_ || counts;
        give(replaced(text, kSpaceMark, " "), out);
    }
    void finish(std::vector<Piece>& out) override { give(bytes_.take(true), out); }
    Piece inside(Piece piece) const override {
        const auto byte = byte_of(piece.text);
        return {byte ? std::string(1, *byte) : replaced(piece.text, kSpaceMark, " "), true};
    }
    std::unique_ptr<DecodeStep> fresh() const override {
        return std::make_unique<SentencePiece>(leading_);
    }

 private:
    static void give(std::string text, std::vector<Piece>& out) {
        if (!text.empty()) out.push_back({std::move(text), true});
    }
    LeadingSpaces leading_;
    bool any_ = false;
    ByteBuffer bytes_{1};
};

}  // namespace

Result<void> Decoder::add(const Value& part) {
    TRY_ASSIGN(const std::string type, text_field(part, "type"));
    if (type == "ByteLevel" && !fused_) {
        fused_ = true;
        steps_.push_back(std::make_shared<ByteLevel>());
    } else if (type == "ByteFallback" && !fused_) {
        steps_.push_back(std::make_shared<ByteFallback>());
    } else if (type == "Fuse") {
        fused_ = true;
        steps_.push_back(std::make_shared<Fuse>());
    } else if (type == "Replace") {
        TRY_ASSIGN(const Pattern pattern, pattern_field(part));
        TRY_ASSIGN(std::string content, text_field(part, "content"));
        const std::string* what = pattern.literal();
        if (what == nullptr) return unsupported_part("decoder", "Replace with a pattern");
        if (content.size() > kContentBytesMax || what->size() > kContentBytesMax)
            return fail(ErrorCode::job_limit, "a Replace of the decoder is too long");
        // Of a token that is still growing only one character at a time is sure.
        if (fused_ && count_chars(*what) > 1)
            return unsupported_part("decoder", "Replace of several characters behind Fuse");
        steps_.push_back(std::make_shared<Replace>(*what, std::move(content)));
    } else if (type == "Strip") {
        TRY_ASSIGN(std::string content, text_field(part, "content"));
        TRY_ASSIGN(const std::size_t start, count_field(part, "start", kContentBytesMax));
        TRY_ASSIGN(const std::size_t stop, count_field(part, "stop", kContentBytesMax));
        if (count_chars(content) != 1)
            return fail(ErrorCode::data_invalid, "content of Strip must be one character");
        steps_.push_back(std::make_shared<Strip>(std::move(content), start, stop));
    } else if (type == "Metaspace") {
        TRY_ASSIGN(std::string mark, text_field_or(part, "replacement", std::string(kSpaceMark)));
        TRY_ASSIGN(const PrependScheme scheme, prepend_scheme_field(part));
        if (count_chars(mark) != 1)
            return fail(ErrorCode::data_invalid, "replacement must be one character");
        steps_.push_back(
            std::make_shared<Metaspace>(std::move(mark), scheme != PrependScheme::kNever));
    } else {
        return unsupported_part(fused_ ? "decoder behind one that joins all tokens:" : "decoder",
                                type);
    }
    return {};
}

Result<Decoder> Decoder::parse(const Value* part) {
    Decoder out;
    if (part == nullptr || part->is(Value::Kind::kNull)) {
        out.steps_.push_back(std::make_shared<Join>());
        return out;
    }
    TRY_ASSIGN(const std::vector<Value> parts, steps_of(part, "decoders"));
    for (const Value& one : parts)
        TRY(out.add(one));
    return out;
}

Decoder Decoder::byte_level() {
    Decoder out;
    out.steps_.push_back(std::make_shared<ByteLevel>());
    return out;
}

Decoder Decoder::sentencepiece(LeadingSpaces leading) {
    Decoder out;
    out.steps_.push_back(std::make_shared<SentencePiece>(leading));
    return out;
}

std::string Decoder::inside(std::string token) const {
    DecodeStep::Piece piece{std::move(token), true};
    for (const auto& step : steps_)
        piece = step->inside(std::move(piece));
    return std::move(piece.text);
}

Decoder::Run::Run(const Decoder& decoder) {
    for (const auto& step : decoder.steps_)
        steps_.push_back(step->fresh());
}

std::string Decoder::Run::push(std::string token) {
    std::vector<Piece> pieces{{std::move(token), true}};
    for (const auto& step : steps_) {
        std::vector<Piece> next;
        for (Piece& piece : pieces)
            step->push(std::move(piece), next);
        pieces = std::move(next);
    }
    std::string out;
    for (const Piece& piece : pieces)
        out += piece.text;
    return out;
}

std::string Decoder::Run::finish() {
    std::vector<Piece> pieces;
    for (const auto& step : steps_) {
        std::vector<Piece> next;
        for (Piece& piece : pieces)
            step->push(std::move(piece), next);
        step->finish(next);
        pieces = std::move(next);
    }
    std::string out;
    for (const Piece& piece : pieces)
        out += piece.text;
    return out;
}

}  // namespace worker::text
