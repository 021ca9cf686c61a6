// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/base64.hpp"
#include "ledger/base/check.hpp"
#include "worker/model/image_source.hpp"
#include "worker/model/json_reader.hpp"
#include "worker/model/mapped_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace worker::model {

using ledger::base::Bytes;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr std::size_t kLineBytesMax = 16U << 20U;
constexpr std::size_t kLineDepthMax = 8;
constexpr std::size_t kImagesMax = 20'000'000;

/// What a line says, apart from its image.
struct Row {
    RgbImage image;
    std::uint64_t number = 0;  // of the label, where it is one
    std::string name;          // of the label, where it has one
};

/// The text of an image, which lies in `line`: the field itself, or its "bytes", as data sets with
/// a path beside say it; without what a data URL begins with.
Result<std::string_view> encoded_image(const JsonValue& line) {
    auto image = line.member("image");
    if (image && image->is_object()) image = image->member("bytes");
    if (!image || image->text() == nullptr)
        return fail(ErrorCode::data_invalid, "has no base64 text in \"image\"");
    std::string_view text = *image->text();
    constexpr std::string_view kMark = ";base64,";
    if (text.starts_with("data:"))
        if (const auto at = text.substr(0, 64).find(kMark); at != std::string_view::npos)
            text.remove_prefix(at + kMark.size());
    return text;
}

Result<RgbImage> image_of(const JsonValue& line) {
    TRY_ASSIGN(const std::string_view text, encoded_image(line));
    const Result<Bytes> bytes = ledger::base::parse_base64(text);
    if (!bytes) return fail(ErrorCode::data_invalid, "has an image that is not base64");
    auto image = decode_image(*bytes);
    if (!image) return fail(ErrorCode::data_invalid, "has no image: " + image.error().detail());
    return image;
}

Result<Row> read_row(std::string_view text) {
    const auto line = JsonValue::parse(text, kLineDepthMax);
    if (!line) return fail(ErrorCode::data_invalid, "is no JSON: " + line.error().detail());
    const auto label = line->member("label");
    const bool named = label && label->text() != nullptr && !label->text()->empty();
    if (!named && !(label && label->number()))
        return fail(ErrorCode::data_invalid, "has neither a number nor a name in \"label\"");
    Row out;
    TRY_ASSIGN(out.image, image_of(*line));
    if (named) {
        out.name = *label->text();
    } else {
        out.number = label->number().value();
    }
    return out;
}

class JsonlImages final : public ImageSource {
 public:
    JsonlImages(MappedFile file, const ImageSize& size) : file_(std::move(file)), size_(size) {}

    /// Looks at every line, to its last pixel.
    Result<void> index(std::uint32_t classes) {
        std::map<std::string, std::vector<std::uint32_t>, std::less<>> names;
        const auto bytes = ledger::base::as_text(file_.bytes());
        std::uint64_t number = 1;
        for (std::size_t begin = 0; begin < bytes.size(); ++number) {
            // A longer line is seen as one byte more, and not to its end.
            std::string_view line = bytes.substr(begin, kLineBytesMax + 1);
            line = line.substr(0, line.find('\n'));
            const auto refuse = [&](const std::string& why) {
                return fail(ErrorCode::data_invalid, fmt::format("jsonl: line {} {}", number, why));
            };
            if (line.size() > kLineBytesMax) return refuse("is longer than 16 MiB");
            if (line.find_first_not_of(" \t\r") != std::string_view::npos) {
                const auto row = read_row(line);
                if (!row) return refuse(row.error().detail());
                if (lines_.size() == kImagesMax) return refuse("is one image too many");
                const bool mixed = !lines_.empty() && row->name.empty() != names.empty();
                if (mixed) return refuse("has a label of another kind than the lines before");
                if (row->name.empty() && row->number >= classes)
                    return refuse(fmt::format("has a label that is not below {}", classes));
                if (!row->name.empty()) {
                    names[row->name].push_back(static_cast<std::uint32_t>(lines_.size()));
                    if (names.size() > classes)
                        return refuse(fmt::format("has a label beyond the model's {}", classes));
                }
                lines_.push_back({begin, static_cast<std::uint32_t>(line.size()),
                                  static_cast<std::uint32_t>(row->number)});
            }
            begin += line.size() + 1;
        }
        return finish(names, classes);
    }

    /// In an order that the seed draws: a held-out tail has some of every label.
    void shuffle(std::uint64_t seed) { shuffle_images(lines_, seed); }

    [[nodiscard]] std::uint32_t count() const noexcept override {
        return static_cast<std::uint32_t>(lines_.size());
    }
    [[nodiscard]] std::uint32_t label(std::uint32_t index) const override {
        return lines_[index].label;
    }
    void read(std::uint32_t index, std::span<std::uint8_t> out) const override {
        const Line& at = lines_[index];
        const auto line = JsonValue::parse(
            ledger::base::as_text(file_.bytes()).substr(at.begin, at.size), kLineDepthMax);
        MR_CHECK(line.has_value());  // as it was at opening: the file does not change
        const auto image = image_of(*line);
        MR_CHECK(image.has_value());
        fit_image(*image, size_, out);
    }

 private:
    struct Line {
        std::uint64_t begin = 0;
        std::uint32_t size = 0;
        std::uint32_t label = 0;
    };

    /// Names count in their order.
    Result<void> finish(const std::map<std::string, std::vector<std::uint32_t>, std::less<>>& names,
                        std::uint32_t classes) {
        if (lines_.empty()) return fail(ErrorCode::data_invalid, "jsonl: there is no image in it");
        if (!names.empty() && names.size() != classes)
            return fail(ErrorCode::data_invalid,
                        fmt::format("jsonl: there are {} labels, the model has {} classes",
                                    names.size(), classes));
        std::uint32_t number = 0;
        for (const auto& [name, lines] : names) {
            for (const std::uint32_t line : lines)
                lines_[line].label = number;
            ++number;
        }
        return {};
    }

    MappedFile file_;
    ImageSize size_;
    std::vector<Line> lines_;
};

}  // namespace

Result<ImageSourcePtr> open_image_jsonl(const std::filesystem::path& path, const ImageSize& size,
                                        std::uint32_t classes, std::uint64_t seed) {
    TRY_ASSIGN(MappedFile file, MappedFile::open(path));
    auto out = std::make_unique<JsonlImages>(std::move(file), size);
    TRY(out->index(classes));
    out->shuffle(seed);
    return ImageSourcePtr(std::move(out));
}

}  // namespace worker::model
