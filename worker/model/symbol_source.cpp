// SPDX-License-Identifier: Apache-2.0
#include "worker/model/symbol_source.hpp"

#include "ledger/base/bytes.hpp"
#include "ledger/base/check.hpp"
#include "ledger/base/money.hpp"
#include "worker/model/json_reader.hpp"
#include "worker/model/mapped_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace worker::model {

using ledger::base::ByteView;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr std::size_t kLineBytesMax = 1U << 20U;
constexpr std::size_t kLineDepthMax = 32;
constexpr std::size_t kNpyHeaderMax = 4096;

class TextSource final : public SymbolSource {
 public:
    explicit TextSource(MappedFile file) : file_(std::move(file)) {}
    [[nodiscard]] std::uint64_t size() const noexcept override { return file_.bytes().size(); }
    void read(std::uint64_t place, std::span<std::int64_t> out) const override {
        const ByteView part = file_.bytes().subspan(place, out.size());
        std::copy(part.begin(), part.end(), out.begin());
    }

 private:
    MappedFile file_;
};

/// One line of a file, without its newline.
struct Line {
    std::uint64_t begin = 0;
    std::string_view text;
};

Result<std::string> text_of(std::string_view line, const std::string& field) {
    const auto value = JsonValue::parse(line, kLineDepthMax);
    if (!value) return fail(ErrorCode::data_invalid, "is no JSON: " + value.error().detail());
    const auto member = value->member(field);
    const std::string* text = member ? member->text() : nullptr;
    if (text == nullptr)
        return fail(ErrorCode::data_invalid, fmt::format("has no text in \"{}\"", field));
    return *text;
}

class JsonlSource final : public SymbolSource {
 public:
    static Result<SymbolSourcePtr> open(const std::filesystem::path& path,
                                        const std::string& field) {
        TRY_ASSIGN(MappedFile file, MappedFile::open(path));
        auto out = std::make_unique<JsonlSource>(std::move(file), field);
        TRY(out->index());
        if (out->texts_.empty())
            return fail(ErrorCode::data_invalid, "jsonl: the file has no line to train on");
        return SymbolSourcePtr(std::move(out));
    }

    JsonlSource(MappedFile file, std::string field)
        : file_(std::move(file)), field_(std::move(field)) {}

    [[nodiscard]] std::uint64_t size() const noexcept override { return size_; }

    void read(std::uint64_t place, std::span<std::int64_t> out) const override {
        auto text = std::upper_bound(texts_.begin(), texts_.end(), place,
                                     [](std::uint64_t p, const Text& t) { return p < t.place; });
        std::size_t done = 0;
        for (--text; done < out.size(); ++text) {
            const Line line = line_at(text->line_begin);
            const auto decoded = text_of(line.text, field_);
            MR_CHECK(decoded.has_value());  // as it was at opening: the file does not change
            const std::size_t skip = place + done - text->place;
            for (std::size_t i = skip; i <= decoded->size() && done < out.size(); ++i)
                out[done++] =
                    i < decoded->size() ? static_cast<unsigned char>((*decoded)[i]) : '\n';
        }
    }

 private:
    struct Text {
        std::uint64_t place;       // of its first symbol
        std::uint64_t line_begin;  // in the file
    };

    /// Looks at 1 MiB and a byte at most: a longer line comes back with that length.
    [[nodiscard]] Line line_at(std::uint64_t begin) const {
        const auto rest = ledger::base::as_text(file_.bytes()).substr(begin, kLineBytesMax + 1);
        return {begin, rest.substr(0, rest.find('\n'))};
    }

    Result<void> index() {
        const std::uint64_t bytes = file_.bytes().size();
        std::uint64_t number = 1;
        for (std::uint64_t begin = 0; begin < bytes; ++number) {
            const Line line = line_at(begin);
            if (line.text.size() > kLineBytesMax)
                return fail(ErrorCode::data_invalid,
                            fmt::format("jsonl: line {} is longer than 1 MiB", number));
            if (line.text.find_first_not_of(" \t\r") != std::string_view::npos) {
                const auto text = text_of(line.text, field_);
                if (!text)
                    return fail(text.error().code(),
                                fmt::format("jsonl: line {} {}", number, text.error().detail()));
                texts_.push_back({size_, begin});
                size_ += text->size() + 1;
            }
            begin += line.text.size() + 1;
        }
        return {};
    }

    MappedFile file_;
    std::string field_;
    std::vector<Text> texts_;
    std::uint64_t size_ = 0;
};

/// The Python literal in an .npy header, such as {'descr': '<u2', 'fortran_order': False, ...}:
/// what stands after a key, without blanks.
std::string_view header_value(std::string_view header, std::string_view key) {
    const auto found = header.find(key);
    if (found == std::string_view::npos) return {};
    std::string_view rest = header.substr(found + key.size());
    const auto begin = rest.find_first_not_of(" :");
    return begin == std::string_view::npos ? std::string_view() : rest.substr(begin);
}

struct TokenArray {
    std::uint64_t count = 0;
    std::size_t width = 0;  // bytes
    ByteView values;
};

Result<TokenArray> parse_npy(ByteView bytes) {
    constexpr std::string_view kMagic = "\x93NUMPY";
    if (bytes.size() < 12 || ledger::base::as_text(bytes.subspan(0, 6)) != kMagic)
        return fail(ErrorCode::data_invalid, "tokens: not a .npy file");
    const bool wide = bytes[6] >= 2;
    if (bytes[6] < 1 || bytes[6] > 3)
        return fail(ErrorCode::data_invalid, "tokens: .npy of an unknown version");
    std::size_t size = bytes[8] + std::size_t{bytes[9]} * 256;
    if (wide) size += (std::size_t{bytes[10]} << 16U) + (std::size_t{bytes[11]} << 24U);
    const std::size_t start = wide ? 12 : 10;
    if (size > kNpyHeaderMax || bytes.size() - start < size)
        return fail(ErrorCode::data_invalid, "tokens: the .npy header is cut or too long");
    const auto header = ledger::base::as_text(bytes.subspan(start, size));
    TokenArray out;
    const auto type = header_value(header, "'descr'");
    if (type.starts_with("'<u2'")) out.width = 2;
    if (type.starts_with("'<u4'")) out.width = 4;
    if (out.width == 0)
        return fail(ErrorCode::data_invalid, "tokens: must be little-endian uint16 or uint32");
    auto shape = header_value(header, "'shape'");
    if (!header_value(header, "'fortran_order'").starts_with("False") || !shape.starts_with("("))
        return fail(ErrorCode::data_invalid, "tokens: the .npy header is wrong");
    shape.remove_prefix(1);
    const auto digits = shape.find_first_not_of("0123456789");
    const auto count = ledger::base::parse_u64(std::string(shape.substr(0, digits)));
    if (!count || digits == std::string_view::npos || !shape.substr(digits).starts_with(",)"))
        return fail(ErrorCode::data_invalid, "tokens: the array must have one dimension");
    out.count = *count;
    out.values = bytes.subspan(start + size);
    if (out.values.size() / out.width != out.count || out.values.size() % out.width != 0)
        return fail(ErrorCode::data_invalid,
                    fmt::format("tokens: the header gives {} tokens, the file has {} bytes of them",
                                out.count, out.values.size()));
    if (out.count == 0) return fail(ErrorCode::data_invalid, "tokens: the file has none");
    return out;
}

class TokenSource final : public SymbolSource {
 public:
    TokenSource(MappedFile file, const TokenArray& array) : file_(std::move(file)), array_(array) {}
    [[nodiscard]] std::uint64_t size() const noexcept override { return array_.count; }
    void read(std::uint64_t place, std::span<std::int64_t> out) const override {
        const std::uint8_t* from = array_.values.data() + place * array_.width;
        for (std::int64_t& token : out) {
            std::uint32_t value = 0;  // the host is little-endian, as everywhere in this room
            std::memcpy(&value, from, array_.width);
            token = value;
            from += array_.width;
        }
    }

 private:
    MappedFile file_;
    TokenArray array_;
};

}  // namespace

Result<SymbolSourcePtr> open_text(const std::filesystem::path& path) {
    TRY_ASSIGN(MappedFile file, MappedFile::open(path));
    if (file.bytes().empty()) return fail(ErrorCode::data_invalid, "the text is empty");
    return std::make_unique<TextSource>(std::move(file));
}

Result<SymbolSourcePtr> open_jsonl(const std::filesystem::path& path, const std::string& field) {
    return JsonlSource::open(path, field);
}

Result<SymbolSourcePtr> open_tokens(const std::filesystem::path& path, std::uint32_t vocab) {
    constexpr std::uint64_t kChunk = 1U << 16U;
    TRY_ASSIGN(MappedFile file, MappedFile::open(path));
    TRY_ASSIGN(const TokenArray array, parse_npy(file.bytes()));
    auto out = std::make_unique<TokenSource>(std::move(file), array);
    std::vector<std::int64_t> chunk(kChunk);
    for (std::uint64_t begin = 0; begin < array.count; begin += kChunk) {
        const std::span part(chunk.data(), std::min(kChunk, array.count - begin));
        out->read(begin, part);
        const auto wrong = std::find_if(part.begin(), part.end(),
                                        [&](std::int64_t token) { return token >= vocab; });
        if (wrong != part.end())
            return fail(ErrorCode::data_invalid,
                        fmt::format("tokens: number {} is {}, the model's vocabulary has {}",
                                    begin + static_cast<std::uint64_t>(wrong - part.begin()),
                                    *wrong, vocab));
    }
    return SymbolSourcePtr(std::move(out));
}

}  // namespace worker::model
