// SPDX-License-Identifier: Apache-2.0
#include "worker/model/image_source.hpp"
#include "worker/model/mapped_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace worker::model {

using ledger::base::ByteView;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

class IdxSource final : public ImageSource {
 public:
    IdxSource(MappedFile images, MappedFile labels, const ImageSize& size)
        : image_file_(std::move(images)), label_file_(std::move(labels)), size_(size) {}

    Result<void> check(std::uint32_t classes) {
        TRY_ASSIGN(const IdxArray pixels, parse_idx(image_file_.bytes()));
        TRY_ASSIGN(const IdxArray tags, parse_idx(label_file_.bytes()));
        const bool color = pixels.extents.size() == 4 && pixels.extents[3] == 3;
        const bool gray = pixels.extents.size() == 3;
        if (!(size_.colors == 3 ? color : gray) || pixels.extents[1] != size_.height ||
            pixels.extents[2] != size_.width)
            return fail(ErrorCode::data_invalid,
                        fmt::format("the images must be count x {} x {}{}", size_.height,
                                    size_.width, size_.colors == 3 ? " x 3" : ""));
        if (tags.extents.size() != 1 || tags.extents[0] != pixels.extents[0])
            return fail(ErrorCode::data_invalid, "the labels must be one per image");
        if (std::any_of(tags.values.begin(), tags.values.end(),
                        [&](std::uint8_t label) { return label >= classes; }))
            return fail(ErrorCode::data_invalid, fmt::format("a label is not below {}", classes));
        pixels_ = pixels.values;
        labels_ = tags.values;
        return {};
    }

    [[nodiscard]] std::uint32_t count() const noexcept override {
        return static_cast<std::uint32_t>(labels_.size());
    }
    [[nodiscard]] std::uint32_t label(std::uint32_t index) const override { return labels_[index]; }
    void read(std::uint32_t index, std::span<std::uint8_t> out) const override {
        const ByteView image = pixels_.subspan(std::size_t{index} * out.size(), out.size());
        const std::size_t plane = out.size() / size_.colors;
        for (std::size_t i = 0; i < plane; ++i)
            for (std::size_t c = 0; c < size_.colors; ++c)
                out[c * plane + i] = image[i * size_.colors + c];
    }

 private:
    MappedFile image_file_;
    MappedFile label_file_;
    ImageSize size_;
    ByteView pixels_;
    ByteView labels_;
};

}  // namespace

Result<IdxArray> parse_idx(ByteView bytes) {
    if (bytes.size() < 4 || bytes[0] != 0 || bytes[1] != 0)
        return fail(ErrorCode::data_invalid, "idx: the magic number is wrong");
    if (bytes[2] != 0x08)
        return fail(ErrorCode::data_invalid, "idx: only unsigned bytes (type 0x08) are read");
    const std::size_t rank = bytes[3];
    if (rank == 0 || rank > 4) return fail(ErrorCode::data_invalid, "idx: 1 to 4 dimensions");
    if (bytes.size() < 4 + 4 * rank) return fail(ErrorCode::data_invalid, "idx: the header is cut");
    IdxArray out;
    std::uint64_t total = 1;
    for (std::size_t i = 0; i < rank; ++i) {
        const std::uint8_t* p = bytes.data() + 4 + 4 * i;
        const std::uint32_t extent = (std::uint32_t{p[0]} << 24U) | (std::uint32_t{p[1]} << 16U) |
                                     (std::uint32_t{p[2]} << 8U) | std::uint32_t{p[3]};
        if (extent == 0) return fail(ErrorCode::data_invalid, "idx: a dimension is 0");
        if (total > bytes.size() / extent + 1)
            return fail(ErrorCode::data_invalid, "idx: the values are cut off");
        total *= extent;
        out.extents.push_back(extent);
    }
    out.values = bytes.subspan(4 + 4 * rank);
    if (out.values.size() != total)
        return fail(ErrorCode::data_invalid,
                    fmt::format("idx: the dimensions give {} bytes, the file has {}", total,
                                out.values.size()));
    return out;
}

Result<ImageSourcePtr> open_idx(const std::filesystem::path& images,
                                const std::filesystem::path& labels, const ImageSize& size,
                                std::uint32_t classes) {
    TRY_ASSIGN(MappedFile image_file, MappedFile::open(images));
    TRY_ASSIGN(MappedFile label_file, MappedFile::open(labels));
    auto out = std::make_unique<IdxSource>(std::move(image_file), std::move(label_file), size);
    TRY(out->check(classes));
    return ImageSourcePtr(std::move(out));
}

}  // namespace worker::model
