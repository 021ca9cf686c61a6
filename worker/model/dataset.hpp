// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "worker/model/mapped_file.hpp"
#include "worker/model/philox.hpp"

#include <cstdint>
#include <filesystem>
#include <vector>

namespace worker::model {

/// An IDX array of unsigned bytes (the format of MNIST).
struct IdxArray {
    std::vector<std::uint32_t> extents;
    ledger::base::ByteView values;
};
/// data_invalid for another element type, a cut file, trailing bytes or an extent of 0.
[[nodiscard]] ledger::base::Result<IdxArray> parse_idx(ledger::base::ByteView bytes);

/// Bytes of a text; the tail is held out.
class TextDataset {
 public:
    [[nodiscard]] static ledger::base::Result<TextDataset> open(const std::filesystem::path& path,
                                                                std::uint32_t context,
                                                                std::uint32_t holdout_bp,
                                                                std::uint64_t seed);
    /// Row `row` of step `step`: context + 1 bytes of the training part, the same on every machine.
    [[nodiscard]] ledger::base::ByteView training_row(std::uint64_t step, std::uint32_t row) const;
    /// Window `index` of `count` spread evenly over the held-out tail.
    [[nodiscard]] ledger::base::ByteView holdout_row(std::uint64_t index,
                                                     std::uint64_t count) const;
    [[nodiscard]] bool has_holdout() const noexcept { return holdout_size_ > context_; }

 private:
    TextDataset(MappedFile file, std::uint32_t context, std::uint64_t training_size,
                std::uint64_t holdout_size, std::uint64_t seed)
        : file_(std::move(file)),
          context_(context),
          training_size_(training_size),
          holdout_size_(holdout_size),
          random_(seed, Philox::Stream::kBatch) {}
    MappedFile file_;
    std::uint32_t context_;
    std::uint64_t training_size_;
    std::uint64_t holdout_size_;
    Philox random_;
};

/// Labelled images; the tail is held out. Each epoch has its own order.
class ImageDataset {
 public:
    [[nodiscard]] static ledger::base::Result<ImageDataset> open(
        const std::filesystem::path& images, const std::filesystem::path& labels,
        std::uint32_t height, std::uint32_t width, std::uint32_t classes, std::uint32_t holdout_bp,
        std::uint64_t seed);

    [[nodiscard]] std::uint32_t training_count() const noexcept { return training_; }
    [[nodiscard]] std::uint32_t holdout_count() const noexcept { return count_ - training_; }
    /// Index of the image at place `position` of the endless shuffled stream.
    [[nodiscard]] std::uint32_t training_index(std::uint64_t position);
    [[nodiscard]] std::uint32_t holdout_index(std::uint32_t index) const noexcept {
        return training_ + index;
    }
    [[nodiscard]] ledger::base::ByteView pixels(std::uint32_t index) const noexcept {
        return pixels_.subspan(std::size_t{index} * image_size_, image_size_);
    }
    [[nodiscard]] std::uint8_t label(std::uint32_t index) const noexcept { return labels_[index]; }

 private:
    ImageDataset(MappedFile images, MappedFile labels, std::uint64_t seed)
        : image_file_(std::move(images)),
          label_file_(std::move(labels)),
          random_(seed, Philox::Stream::kShuffle) {}
    void shuffle(std::uint64_t epoch);

    MappedFile image_file_;
    MappedFile label_file_;
    ledger::base::ByteView pixels_;
    ledger::base::ByteView labels_;
    std::size_t image_size_ = 0;
    std::uint32_t count_ = 0;
    std::uint32_t training_ = 0;
    Philox random_;
    std::uint64_t epoch_ = ~std::uint64_t{0};
    std::vector<std::uint32_t> order_;
};

}  // namespace worker::model
