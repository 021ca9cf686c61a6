// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/model/finetune_spec.hpp"
#include "worker/model/philox.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace worker::model {

/// Texts to train on, as tokens; some of them are what the model shall learn to say.
class ExampleSet {
 public:
    /// What happened to the examples that were added.
    struct Report {
        std::uint64_t kept = 0;
        std::uint64_t cut = 0;      // longer than the context: their ends are gone
        std::uint64_t dropped = 0;  // of these, nothing to learn was left
        std::uint64_t tokens = 0;
        std::uint64_t learned = 0;  // tokens that count in the loss
    };
    struct Example {
        std::span<const std::uint32_t> tokens;
        std::span<const std::uint8_t> learned;  // 1: counts in the loss
    };

    explicit ExampleSet(std::uint32_t context) : context_(context) {}

    /// Takes an example; `learned` has an entry per token. The first token is never predicted.
    void add(std::span<const std::uint32_t> tokens, std::span<const std::uint8_t> learned);

    [[nodiscard]] std::size_t size() const noexcept { return ends_.size(); }
    [[nodiscard]] Example operator[](std::size_t index) const;
    [[nodiscard]] const Report& report() const noexcept { return report_; }

 private:
    std::uint32_t context_;
    std::vector<std::uint32_t> tokens_;
    std::vector<std::uint8_t> learned_;
    std::vector<std::uint64_t> ends_;
    Report report_;
};

/// Some rows of a batch, each of one or more texts; everything [rows · length], 0 where a row ends.
struct RowBatch {
    std::uint32_t rows = 0;
    std::uint32_t length = 0;
    std::vector<std::int64_t> tokens;
    std::vector<std::int64_t> positions;
    std::vector<std::int64_t> segments;  // 1, 2, … for the texts of a row
    std::vector<std::int64_t> picked;    // places, row · length + column, whose next token counts
    std::vector<std::int64_t> targets;   // those tokens
};

/// The rows of a set, and which of them a step takes: each epoch all of them once, in an order of
/// its own.
class RowPlan {
 public:
    /// `examples` is not empty and outlives the plan.
    RowPlan(const ExampleSet& examples, RowKind kind, std::uint32_t context, std::uint64_t seed);

    [[nodiscard]] std::uint64_t rows() const noexcept { return first_.size() - 1; }
    /// The row at place `position` of the endless shuffled stream.
    [[nodiscard]] std::uint64_t shuffled(std::uint64_t position);
    /// Tokens of a row that count in the loss.
    [[nodiscard]] std::uint64_t learned(std::uint64_t row) const { return learned_[row]; }
    /// Rows side by side, as long as the longest of them.
    [[nodiscard]] RowBatch batch(std::span<const std::uint64_t> rows) const;

 private:
    void shuffle(std::uint64_t epoch);

    const ExampleSet& examples_;
    std::vector<std::uint64_t> first_;  // example that a row begins with; one more at the end
    std::vector<std::uint64_t> learned_;
    std::vector<std::uint32_t> lengths_;
    Philox random_;
    std::uint64_t epoch_ = ~std::uint64_t{0};
    std::vector<std::uint64_t> order_;
};

}  // namespace worker::model
