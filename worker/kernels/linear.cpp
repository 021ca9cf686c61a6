// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/linear.hpp"

#include "worker/kernels/kernel_table.hpp"

namespace worker::kernels {

namespace {

/// Fewer rows are rounded faster by one thread than another is woken.
constexpr std::size_t kSharedRows = 4;
/// Weights read, times rows, below which a whole product is.
constexpr std::size_t kAloneBytes = std::size_t{64} << 10U;

std::size_t lines(std::size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

/// Rounds all rows into the pool's scratch memory.
QuantisedRows quantise(const float* x, std::size_t rows, const WeightMatrix& weights,
                       const KernelTable& table, Pool& pool) {
    const WeightFormat format = weights.format();
    const std::size_t k = weights.k();
    QuantisedRows out{};
    out.groups = (k + WeightMatrix::kGroup - 1) / WeightMatrix::kGroup;
    out.quad_bytes = format == WeightFormat::kInt8 ? table.quad_bytes_int8 : table.quad_bytes_int4;
    const std::size_t groups = rows * out.groups;
    const std::size_t quads = lines(groups * WeightMatrix::kGroup / 4 * out.quad_bytes);
    const std::size_t scales = lines(groups * sizeof(float));
    std::byte* memory = pool.scratch(quads + 2 * scales).data();
    out.quads = memory;
    out.scales = reinterpret_cast<float*>(memory + quads);
    out.corrections = reinterpret_cast<std::int32_t*>(memory + quads + scales);
    const auto part = [&](std::size_t begin, std::size_t end, std::size_t) {
        for (std::size_t row = begin; row < end; ++row)
            table.quantise(x + row * k, row, k, format, out);
    };
    if (rows < kSharedRows) {
        part(0, rows, 0);
    } else {
        pool.run(rows, part);
    }
    return out;
}

}  // namespace

void linear(const float* x, std::size_t rows, const WeightMatrix& weights, const float* bias,
            float* y, Pool& pool) {
    if (rows == 0) return;
    const KernelTable& table = kernels();
    LinearJob job{};
    job.format = weights.format();
    job.rows = rows;
    job.n = weights.n();
    job.k = weights.k();
    job.panels = weights.panels();
    job.panel_bytes = weights.panel_bytes();
    job.weight_scales = weights.scales();
    job.bias = bias;
    job.x = x;
    job.y = y;
    if (job.format == WeightFormat::kInt8 || job.format == WeightFormat::kInt4)
        job.quantised = quantise(x, rows, weights, table, pool);
    const std::size_t panels = weights.panel_count();
    if (panels * job.panel_bytes * rows < kAloneBytes) {
        table.linear(job, 0, panels);
        return;
    }
    pool.run(panels, [&](std::size_t begin, std::size_t end, std::size_t) {
        table.linear(job, begin, end);
    });
}

}  // namespace worker::kernels
