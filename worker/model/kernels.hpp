// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

/// The few operations that inference needs, written so that a row's result never depends on which
/// other rows are in the batch: every sum runs in one fixed order.
namespace worker::model::kernels {

/// A k × n matrix in panels of 32 columns, each contiguous, so that one row streams through memory.
class PackedMatrix {
 public:
    PackedMatrix() = default;
    /// From [k][n] in row order.
    static PackedMatrix from_rows(const float* values, std::size_t k, std::size_t n);
    /// From [n][k]: packs the transpose.
    static PackedMatrix from_columns(const float* values, std::size_t k, std::size_t n);

    [[nodiscard]] std::size_t k() const noexcept { return k_; }
    [[nodiscard]] std::size_t n() const noexcept { return n_; }
    [[nodiscard]] const float* panels() const noexcept { return panels_.data(); }

    static constexpr std::size_t kPanel = 32;

 private:
    PackedMatrix(std::size_t k, std::size_t n);
    float& at(std::size_t row, std::size_t column);
    std::size_t k_ = 0;
    std::size_t n_ = 0;
    std::vector<float> panels_;
};

/// out[rows][n] = a[rows][k] · b + bias. `bias` may be null.
void matmul(const float* a, std::size_t rows, const PackedMatrix& b, const float* bias, float* out);

/// One row: out = (x − mean) / √(variance + 1e-5) · weight + bias.
void layer_norm(const float* x, const float* weight, const float* bias, std::size_t size,
                float* out);

/// In place: x/2 · (1 + erf(x/√2)), within 2e-7.
void gelu(float* x, std::size_t count);

/// to += x.
void add(float* to, const float* x, std::size_t count);

/// One query head against `count` keys and values, rows `stride` floats apart:
/// softmax(q·kᵀ/√size)·v. `scores` has room for `count` numbers.
struct AttentionView {
    const float* keys;
    const float* values;
    std::size_t stride;
    std::size_t count;
    std::size_t size;
};
void attend(const float* query, const AttentionView& view, float* scores, float* out);

}  // namespace worker::model::kernels
