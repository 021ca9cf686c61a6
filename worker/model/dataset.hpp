// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/model/image_source.hpp"
#include "worker/model/philox.hpp"
#include "worker/model/symbol_source.hpp"

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace worker::model {

/// Windows of context + 1 symbols; the tail is held out.
class SequenceDataset {
 public:
    /// data_invalid when there is too little to train on.
    [[nodiscard]] static ledger::base::Result<SequenceDataset> open(SymbolSourcePtr source,
                                                                    std::uint32_t context,
                                                                    std::uint32_t holdout_bp,
                                                                    std::uint64_t seed);
    /// Row `row` of step `step`: context + 1 symbols of the training part, the same on every
    /// machine.
    void training_row(std::uint64_t step, std::uint32_t row, std::span<std::int64_t> out) const;
    /// Window `index` of `count` spread evenly over the held-out tail.
    void holdout_row(std::uint64_t index, std::uint64_t count, std::span<std::int64_t> out) const;
    [[nodiscard]] bool has_holdout() const noexcept { return holdout_size_ > context_; }

 private:
    SequenceDataset(SymbolSourcePtr source, std::uint32_t context, std::uint64_t training_size,
                    std::uint64_t holdout_size, std::uint64_t seed)
        : source_(std::move(source)),
          context_(context),
          training_size_(training_size),
          holdout_size_(holdout_size),
          random_(seed, Philox::Stream::kBatch) {}
    SymbolSourcePtr source_;
    std::uint32_t context_;
    std::uint64_t training_size_;
    std::uint64_t holdout_size_;
    Philox random_;
};

/// Labelled images; the tail is held out. Each epoch has its own order.
class ImageDataset {
 public:
    ImageDataset(ImageSourcePtr source, std::uint32_t holdout_bp, std::uint64_t seed);

    [[nodiscard]] std::uint32_t training_count() const noexcept { return training_; }
    [[nodiscard]] std::uint32_t holdout_count() const noexcept {
        return source_->count() - training_;
    }
    /// Index of the image at place `position` of the endless shuffled stream.
    [[nodiscard]] std::uint32_t training_index(std::uint64_t position);
    [[nodiscard]] std::uint32_t holdout_index(std::uint32_t index) const noexcept {
        return training_ + index;
    }
    [[nodiscard]] const ImageSource& source() const noexcept { return *source_; }

 private:
    void shuffle(std::uint64_t epoch);

    ImageSourcePtr source_;
    std::uint32_t training_;
    Philox random_;
    std::uint64_t epoch_ = ~std::uint64_t{0};
    std::vector<std::uint32_t> order_;
};

}  // namespace worker::model
