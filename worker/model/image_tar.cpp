// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/check.hpp"
#include "worker/model/image_source.hpp"
#include "worker/model/mapped_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace worker::model {

using ledger::base::ByteView;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr std::size_t kBlock = 512;
constexpr std::size_t kImagesMax = 20'000'000;

/// A number in octal digits, as tar has them; nothing else.
std::optional<std::uint64_t> octal(std::string_view field) {
    field = field.substr(0, field.find('\0'));
    const auto begin = field.find_first_not_of(' ');
    if (begin == std::string_view::npos) return std::nullopt;
    field = field.substr(begin, field.find_last_not_of(' ') - begin + 1);
    if (field.size() > 12) return std::nullopt;
    std::uint64_t out = 0;
    for (const char c : field) {
        if (c < '0' || c > '7') return std::nullopt;
        out = out * 8 + static_cast<std::uint64_t>(c - '0');
    }
    return out;
}

struct Entry {
    char type = '0';
    std::string name;
    ByteView content;
};

/// Walks the entries of a tar (ustar).
class TarReader {
 public:
    explicit TarReader(ByteView bytes) : rest_(bytes) {}

    /// The next entry; none at the end. data_invalid for what is no tar.
    Result<std::optional<Entry>> next() {
        if (rest_.empty()) return std::optional<Entry>();
        if (rest_.size() < kBlock) return fail(ErrorCode::data_invalid, "tar: the file is cut");
        const ByteView header = rest_.subspan(0, kBlock);
        if (std::all_of(header.begin(), header.end(), [](std::uint8_t b) { return b == 0; }))
            return std::optional<Entry>();
        const std::string_view text = ledger::base::as_text(header);
        if (octal(text.substr(148, 8)) != checksum(header))
            return fail(ErrorCode::data_invalid, "tar: a header's checksum is wrong");
        const auto size = octal(text.substr(124, 12));
        if (!size) return fail(ErrorCode::data_invalid, "tar: a size is no octal number");
        if (*size > rest_.size() - kBlock)
            return fail(ErrorCode::data_invalid, "tar: the file is cut");
        Entry out;
        out.type = text[156] == '\0' ? '0' : text[156];
        out.name = text.substr(0, 100).substr(0, text.substr(0, 100).find('\0'));
        const auto prefix = text.substr(345, 155);
        if (text.substr(257, 5) == "ustar" && text[262] == '\0' && prefix[0] != '\0')
            out.name = fmt::format("{}/{}", prefix.substr(0, prefix.find('\0')), out.name);
        out.content = rest_.subspan(kBlock, *size);
        const std::uint64_t whole = (*size + kBlock - 1) / kBlock * kBlock;
        rest_ = rest_.subspan(kBlock + std::min<std::uint64_t>(whole, rest_.size() - kBlock));
        return std::optional<Entry>(std::move(out));
    }

 private:
    static std::uint64_t checksum(ByteView header) {
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < kBlock; ++i)
            sum += i >= 148 && i < 156 ? std::uint64_t{' '} : std::uint64_t{header[i]};
        return sum;
    }
    ByteView rest_;
};

struct Image {
    ByteView content;
    std::uint32_t label = 0;
};

class TarSource final : public ImageSource {
 public:
    TarSource(MappedFile file, const ImageSize& size, std::vector<Image> images)
        : file_(std::move(file)), size_(size), images_(std::move(images)) {}
    [[nodiscard]] std::uint32_t count() const noexcept override {
        return static_cast<std::uint32_t>(images_.size());
    }
    [[nodiscard]] std::uint32_t label(std::uint32_t index) const override {
        return images_[index].label;
    }
    void read(std::uint32_t index, std::span<std::uint8_t> out) const override {
        const auto image = decode_image(images_[index].content);
        MR_CHECK(image.has_value());  // as it was at opening: the file does not change
        fit_image(*image, size_, out);
    }

 private:
    MappedFile file_;
    ImageSize size_;
    std::vector<Image> images_;
};

/// The folder right above the file: its label. Nothing for a file at the top.
std::string_view folder_of(std::string_view name) {
    const auto end = name.rfind('/');
    if (end == std::string_view::npos) return {};
    name = name.substr(0, end);
    const auto begin = name.rfind('/');
    const auto folder = begin == std::string_view::npos ? name : name.substr(begin + 1);
    return folder == "." ? std::string_view() : folder;
}

bool is_hidden(std::string_view name) {
    const auto slash = name.rfind('/');
    return name.substr(slash == std::string_view::npos ? 0 : slash + 1).starts_with('.');
}

/// What to do with an entry: true for an image, false to pass it over.
Result<bool> is_image(const Entry& entry) {
    const auto wrong = [&](std::string_view why) {
        return fail(ErrorCode::data_invalid, fmt::format("tar: {} {}", entry.name, why));
    };
    if (entry.type == '5' || entry.type == 'g') return false;
    const bool renames =
        entry.type == 'L' ||
        (entry.type == 'x' &&
         (ledger::base::as_text(entry.content).find("path=") != std::string_view::npos));
    if (renames) return wrong("has a name of more than 100 bytes: pack with --format=ustar");
    if (entry.type == 'x') return false;
    if (entry.type != '0') return wrong("is a link or no regular file");
    if (is_hidden(entry.name)) return false;
    if (folder_of(entry.name).empty()) return wrong("lies in no folder that would be its label");
    const auto image = decode_image(entry.content);
    if (!image) return wrong("is no image: " + image.error().detail());
    return true;
}

}  // namespace

Result<ImageSourcePtr> open_image_tar(const std::filesystem::path& path, const ImageSize& size,
                                      std::uint32_t classes, std::uint64_t seed) {
    TRY_ASSIGN(MappedFile file, MappedFile::open(path));
    std::map<std::string, std::vector<ByteView>, std::less<>> labels;
    std::size_t count = 0;
    TarReader reader(file.bytes());
    for (;;) {
        TRY_ASSIGN(const std::optional<Entry> entry, reader.next());
        if (!entry) break;
        TRY_ASSIGN(const bool wanted, is_image(*entry));
        if (!wanted) continue;
        if (++count > kImagesMax)
            return fail(ErrorCode::data_invalid,
                        fmt::format("tar: more than {} images", kImagesMax));
        const std::string_view label = folder_of(entry->name);
        auto found = labels.find(label);
        if (found == labels.end()) found = labels.emplace(label, std::vector<ByteView>()).first;
        if (labels.size() > classes) break;
        found->second.push_back(entry->content);
    }
    if (count == 0) return fail(ErrorCode::data_invalid, "tar: there is no image in it");
    if (labels.size() != classes)
        return fail(
            ErrorCode::data_invalid,
            fmt::format("tar: the folders give {}{} labels, the model has {} classes",
                        labels.size() > classes ? "at least " : "", labels.size(), classes));
    std::vector<Image> images;
    std::uint32_t number = 0;
    for (const auto& [name, contents] : labels) {
        for (const ByteView content : contents)
            images.push_back({content, number});
        ++number;
    }
    shuffle_images(images, seed);
    return std::make_unique<TarSource>(std::move(file), size, std::move(images));
}

}  // namespace worker::model
