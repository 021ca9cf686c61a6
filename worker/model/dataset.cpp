// SPDX-License-Identifier: Apache-2.0
#include "worker/model/dataset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

Result<SequenceDataset> SequenceDataset::open(SymbolSourcePtr source, std::uint32_t context,
                                              std::uint32_t holdout_bp, std::uint64_t seed) {
    const std::uint64_t size = source->size();
    std::uint64_t holdout = size / 10'000 * holdout_bp + size % 10'000 * holdout_bp / 10'000;
    if (holdout <= context) holdout = 0;
    const std::uint64_t training = size - holdout;
    if (training <= context)
        return fail(ErrorCode::data_invalid,
                    fmt::format("there are {} symbols to train on, a context of {} needs more",
                                training, context));
    return SequenceDataset(std::move(source), context, training, holdout, seed);
}

void SequenceDataset::training_row(std::uint64_t step, std::uint32_t row,
                                   std::span<std::int64_t> out) const {
    const std::uint64_t places = training_size_ - context_;
    source_->read(random_.below(places, step, row), out);
}

void SequenceDataset::holdout_row(std::uint64_t index, std::uint64_t count,
                                  std::span<std::int64_t> out) const {
    const std::uint64_t last = holdout_size_ - context_ - 1;
    const std::uint64_t place = count > 1 ? last / (count - 1) * index : 0;
    source_->read(training_size_ + std::min(place, last), out);
}

ImageDataset::ImageDataset(ImageSourcePtr source, std::uint32_t holdout_bp, std::uint64_t seed)
    : source_(std::move(source)),
      training_(source_->count() -
                static_cast<std::uint32_t>(std::uint64_t{source_->count()} * holdout_bp / 10'000)),
      random_(seed, Philox::Stream::kShuffle) {}

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
