// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/linear.hpp"

namespace worker::kernels {

void linear(const float* x, std::size_t rows, const WeightMatrix& weights, const float* bias,
            float* y, Pool& pool) {
    const std::size_t n = weights.n();
    const std::size_t k = weights.k();
    auto* lines = reinterpret_cast<float*>(pool.scratch(pool.threads() * k * sizeof(float)).data());
    pool.run(n, [&](std::size_t begin, std::size_t end, std::size_t thread) {
        float* line = lines + thread * k;
        for (std::size_t j = begin; j < end; ++j) {
            weights.row(j, line);
            for (std::size_t r = 0; r < rows; ++r) {
                float sum = 0;
                for (std::size_t i = 0; i < k; ++i)
                    sum += x[r * k + i] * line[i];
                y[r * n + j] = bias != nullptr ? sum + bias[j] : sum;
            }
        }
    });
}

}  // namespace worker::kernels
