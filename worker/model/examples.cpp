// SPDX-License-Identifier: Apache-2.0
#include "worker/model/examples.hpp"

#include "ledger/base/check.hpp"

#include <algorithm>
#include <numeric>

namespace worker::model {

void ExampleSet::add(std::span<const std::uint32_t> tokens, std::span<const std::uint8_t> learned) {
    MR_CHECK(tokens.size() == learned.size());
    if (tokens.size() > context_) {
        ++report_.cut;
        tokens = tokens.first(context_);
        learned = learned.first(context_);
    }
    const auto count = learned.empty() ? 0 : std::count(learned.begin() + 1, learned.end(), 1);
    if (count == 0) {
        ++report_.dropped;
        return;
    }
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
    learned_.insert(learned_.end(), learned.begin(), learned.end());
    ends_.push_back(tokens_.size());
    ++report_.kept;
    report_.tokens += tokens.size();
    report_.learned += static_cast<std::uint64_t>(count);
}

ExampleSet::Example ExampleSet::operator[](std::size_t index) const {
    const std::uint64_t begin = index == 0 ? 0 : ends_[index - 1];
    const std::uint64_t size = ends_[index] - begin;
    return {std::span(tokens_).subspan(begin, size), std::span(learned_).subspan(begin, size)};
}

RowPlan::RowPlan(const ExampleSet& examples, RowKind kind, std::uint32_t context,
                 std::uint64_t seed)
    : examples_(examples), random_(seed, Philox::Stream::kShuffle) {
    MR_CHECK(examples.size() > 0);
    for (std::size_t i = 0; i < examples.size(); ++i) {
        const ExampleSet::Example example = examples[i];
        const auto size = static_cast<std::uint32_t>(example.tokens.size());
        const bool fits = kind == RowKind::kPacked && i > 0 && lengths_.back() + size <= context;
        if (!fits) {
            first_.push_back(i);
            lengths_.push_back(0);
            learned_.push_back(0);
        }
        lengths_.back() += size;
        learned_.back() += static_cast<std::uint64_t>(
            std::count(example.learned.begin() + 1, example.learned.end(), 1));
    }
    first_.push_back(examples.size());
}

std::uint64_t RowPlan::shuffled(std::uint64_t position) {
    const std::uint64_t epoch = position / rows();
    if (epoch != epoch_) shuffle(epoch);
    return order_[position % rows()];
}

void RowPlan::shuffle(std::uint64_t epoch) {
    order_.resize(rows());
    std::iota(order_.begin(), order_.end(), std::uint64_t{0});
    for (std::uint64_t i = rows() - 1; i > 0; --i)
        std::swap(order_[i], order_[random_.below(i + 1, epoch, static_cast<std::uint32_t>(i))]);
    epoch_ = epoch;
}

RowBatch RowPlan::batch(std::span<const std::uint64_t> rows) const {
    RowBatch out;
    out.rows = static_cast<std::uint32_t>(rows.size());
    for (const std::uint64_t row : rows)
        out.length = std::max(out.length, lengths_[row]);
    const std::size_t size = std::size_t{out.rows} * out.length;
    out.tokens.resize(size);
    out.positions.resize(size);
    out.segments.resize(size);
    for (std::size_t r = 0; r < rows.size(); ++r) {
        std::size_t place = r * out.length;
        for (std::uint64_t e = first_[rows[r]]; e < first_[rows[r] + 1]; ++e) {
            const ExampleSet::Example example = examples_[e];
            for (std::size_t i = 0; i < example.tokens.size(); ++i, ++place) {
                out.tokens[place] = example.tokens[i];
                out.positions[place] = static_cast<std::int64_t>(i);
                out.segments[place] = static_cast<std::int64_t>(e - first_[rows[r]] + 1);
                if (i + 1 == example.tokens.size() || example.learned[i + 1] == 0) continue;
                out.picked.push_back(static_cast<std::int64_t>(place));
                out.targets.push_back(example.tokens[i + 1]);
            }
        }
    }
    return out;
}

}  // namespace worker::model
