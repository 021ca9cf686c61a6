// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/kernels/aligned_bytes.hpp"
#include "worker/kernels/pool.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace worker::kernels {

/// How the weights of a linear layer are kept.
enum class WeightFormat : std::uint8_t {
    kF32 = 0,
    kBf16 = 1,
    kInt8 = 2,  ///< symmetric, one fp32 scale per output
    kInt4 = 3,  ///< symmetric, one bf16 scale per output and 32 inputs
};
/// "fp32", "bf16", "int8", "int4".
[[nodiscard]] std::string_view to_string(WeightFormat format) noexcept;
[[nodiscard]] std::optional<WeightFormat> parse_weight_format(std::string_view text) noexcept;

/// Number format of values in a file.
enum class SourceType : std::uint8_t { kF32 = 0, kBf16 = 1, kF16 = 2 };
[[nodiscard]] constexpr std::size_t bytes_of(SourceType type) noexcept {
    return type == SourceType::kF32 ? 4 : 2;
}
/// Order of values in a file.
enum class SourceOrder : std::uint8_t {
    kOutIn = 0,  ///< [n][k], a Linear layer
    kInOut = 1,  ///< [k][n], GPT-2's Conv1D
};
/// `n` outputs of `k` inputs each, as they lie in a file; `data` is borrowed and may be unaligned.
struct WeightSource {
    std::span<const std::byte> data;
    SourceType type = SourceType::kF32;
    SourceOrder order = SourceOrder::kOutIn;
    std::size_t n = 0;
    std::size_t k = 0;
};
/// Widens `count` values, for vectors (norms, biases). `from` may be unaligned.
void to_floats(SourceType type, const std::byte* from, std::size_t count, float* to);

/// The weights [n out][k in] of a linear layer, packed for `linear`: panels of 16 outputs, each
/// contiguous in the order in which it is read. Immutable, shared between threads.
class WeightMatrix {
 public:
    static constexpr std::size_t kPanel = 16;  ///< outputs
    static constexpr std::size_t kGroup = 32;  ///< inputs that share a scale
    static constexpr std::size_t kSideMax = std::size_t{1} << 20U;

    WeightMatrix() = default;

    /// Packs `parts` stacked along n (q, k and v as one matrix, say); all have the same k. Fails
    /// with `data_invalid` when a value is not finite in the format, when the length of a part's
    /// data is not n · k values, or the sides disagree; with `job_limit` above kSideMax.
    [[nodiscard]] static ledger::base::Result<WeightMatrix> pack(
        std::span<const WeightSource> parts, WeightFormat format, Pool& pool);
    [[nodiscard]] static ledger::base::Result<WeightMatrix> pack(const WeightSource& source,
                                                                 WeightFormat format, Pool& pool) {
        return pack(std::span(&source, 1), format, pool);
    }

    [[nodiscard]] std::size_t n() const noexcept { return n_; }
    [[nodiscard]] std::size_t k() const noexcept { return k_; }
    [[nodiscard]] WeightFormat format() const noexcept { return format_; }

    /// The k weights of output `index`, as `linear` sees them: a row of an embedding table.
    void row(std::size_t index, float* to) const;

    /// Memory that a matrix of these sides takes.
    [[nodiscard]] static std::size_t bytes(std::size_t n, std::size_t k,
                                           WeightFormat format) noexcept;
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes(n_, k_, format_); }

    /// For the kernels: panel p begins p · panel_bytes() into panels().
    [[nodiscard]] const std::byte* panels() const noexcept { return panels_.data(); }
    [[nodiscard]] std::size_t panel_count() const noexcept { return (n_ + kPanel - 1) / kPanel; }
    [[nodiscard]] std::size_t panel_bytes() const noexcept { return panel_bytes(k_, format_); }
    [[nodiscard]] static std::size_t panel_bytes(std::size_t k, WeightFormat format) noexcept;
    /// kInt8: one per output, padded to whole panels.
    [[nodiscard]] const float* scales() const noexcept { return scales_.data(); }

 private:
    WeightMatrix(std::size_t n, std::size_t k, WeightFormat format);

    std::size_t n_ = 0;
    std::size_t k_ = 0;
    WeightFormat format_ = WeightFormat::kF32;
    AlignedBytes panels_;
    std::vector<float> scales_;
};

}  // namespace worker::kernels
