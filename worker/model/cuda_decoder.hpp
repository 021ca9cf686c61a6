// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/kernels/pool.hpp"
#include "worker/model/decoder_model.hpp"
#include "worker/model/forward_pass.hpp"

#include <cstdint>
#include <memory>

namespace worker::model {

/// The forward pass on the first visible CUDA device: weights, keys and values in bf16, sums in
/// fp32. The cache beside it has no host memory (KvCache::Options::host_memory) and as many pages.
/// A fault of the device ends the process. Compute capability 8.0 or later.
class CudaDecoder final : public ForwardPass {
 public:
    struct Options {
        std::uint32_t pages = 0;          // of the cache
        std::uint32_t rows_max = 0;       // in one call
        std::uint32_t sequences_max = 0;  // with different page tables in one call
    };
    struct Memory {
        std::uint64_t free_bytes = 0;
        std::uint64_t total_bytes = 0;
    };

    /// Memory of the device. unsupported: no device, or a build without CUDA.
    [[nodiscard]] static ledger::base::Result<Memory> memory();
    /// Memory of one page of all layers.
    [[nodiscard]] static std::uint64_t page_bytes(const DecoderConfig& config) noexcept;

    /// Rounds the weights to bf16 and uploads them; the model may go afterwards. unsupported as
    /// `memory`, or a shape that the kernels lack; job_limit: the device's memory does not suffice.
    [[nodiscard]] static ledger::base::Result<std::unique_ptr<CudaDecoder>> create(
        const DecoderModel& model, const Options& options, kernels::Pool& pool);
    ~CudaDecoder() override;

    [[nodiscard]] std::span<const float> logits(std::span<const DecoderRow> rows) override;
    [[nodiscard]] std::span<const Shortlist> shorten(
        std::span<const DecoderRow> rows, std::span<const ShortlistWish> wishes) override;
    [[nodiscard]] std::span<const float> row(std::size_t wanted) override;
    [[nodiscard]] std::span<const float> hidden(std::span<const DecoderRow> rows) override;

 private:
    struct State;
    explicit CudaDecoder(std::unique_ptr<State> state) noexcept;
    std::unique_ptr<State> state_;
};

}  // namespace worker::model
