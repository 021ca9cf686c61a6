// SPDX-License-Identifier: Apache-2.0
#include "worker/model/dataset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace worker::model {

using ledger::base::ByteView;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

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

Result<TextDataset> TextDataset::open(const std::filesystem::path& path, std::uint32_t context,
                                      std::uint32_t holdout_bp, std::uint64_t seed) {
    TRY_ASSIGN(MappedFile file, MappedFile::open(path));
    const std::uint64_t size = file.bytes().size();
    if (size == 0) return fail(ErrorCode::data_invalid, "the text is empty");
    std::uint64_t holdout = size / 10'000 * holdout_bp + size % 10'000 * holdout_bp / 10'000;
    if (holdout <= context) holdout = 0;
    const std::uint64_t training = size - holdout;
    if (training <= context)
        return fail(ErrorCode::data_invalid,
                    fmt::format("the text has {} bytes to train on, a context of {} needs more",
                                training, context));
    return TextDataset(std::move(file), context, training, holdout, seed);
}

ByteView TextDataset::training_row(std::uint64_t step, std::uint32_t row) const {
    const std::uint64_t places = training_size_ - context_;
    return file_.bytes().subspan(random_.below(places, step, row), std::size_t{context_} + 1);
}

ByteView TextDataset::holdout_row(std::uint64_t index, std::uint64_t count) const {
    const std::uint64_t last = holdout_size_ - context_ - 1;
    const std::uint64_t place = count > 1 ? last / (count - 1) * index : 0;
    return file_.bytes().subspan(training_size_ + std::min(place, last), std::size_t{context_} + 1);
}

Result<ImageDataset> ImageDataset::open(const std::filesystem::path& images,
                                        const std::filesystem::path& labels, std::uint32_t height,
                                        std::uint32_t width, std::uint32_t classes,
                                        std::uint32_t holdout_bp, std::uint64_t seed) {
    TRY_ASSIGN(MappedFile image_file, MappedFile::open(images));
    TRY_ASSIGN(MappedFile label_file, MappedFile::open(labels));
    ImageDataset out(std::move(image_file), std::move(label_file), seed);
    TRY_ASSIGN(const IdxArray pixels, parse_idx(out.image_file_.bytes()));
    TRY_ASSIGN(const IdxArray tags, parse_idx(out.label_file_.bytes()));
    if (pixels.extents.size() != 3 || pixels.extents[1] != height || pixels.extents[2] != width)
        return fail(ErrorCode::data_invalid,
                    fmt::format("the images must be count x {} x {}", height, width));
    if (tags.extents.size() != 1 || tags.extents[0] != pixels.extents[0])
        return fail(ErrorCode::data_invalid, "the labels must be one per image");
    if (std::any_of(tags.values.begin(), tags.values.end(),
                    [&](std::uint8_t label) { return label >= classes; }))
        return fail(ErrorCode::data_invalid, fmt::format("a label is not below {}", classes));
    out.pixels_ = pixels.values;
    out.labels_ = tags.values;
    out.image_size_ = std::size_t{height} * width;
    out.count_ = pixels.extents[0];
    const auto holdout =
        static_cast<std::uint32_t>(std::uint64_t{out.count_} * holdout_bp / 10'000);
    out.training_ = out.count_ - holdout;
    return out;
}

std::uint32_t ImageDataset::training_index(std::uint64_t position) {
    const std::uint64_t epoch = position / training_;
    if (epoch != epoch_) shuffle(epoch);
    return order_[position % training_];
}

void ImageDataset::shuffle(std::uint64_t epoch) {
    order_.resize(training_);
    std::iota(order_.begin(), order_.end(), 0U);
    for (std::uint32_t i = training_ - 1; i > 0; --i)
        std::swap(order_[i], order_[random_.below(std::uint64_t{i} + 1, epoch, i)]);
    epoch_ = epoch;
}

}  // namespace worker::model
