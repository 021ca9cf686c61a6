// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/check.hpp"
#include "worker/kernels/weight_matrix.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

/// Seeded numbers and matrices for the kernel tests.
namespace kernel_tests {

inline constexpr std::uint64_t kSeed = 20261126;

/// Seeded normal numbers; the seed is part of each failing case's message.
inline std::vector<float> normals(std::uint64_t seed, std::size_t count, double size = 1.0) {
    std::mt19937_64 random(seed);
    std::normal_distribution<double> normal(0.0, size);
    std::vector<float> out(count);
    for (float& value : out)
        value = static_cast<float>(normal(random));
    return out;
}

inline worker::kernels::WeightSource source_of(
    const std::vector<float>& values, std::size_t n, std::size_t k,
    worker::kernels::SourceOrder order = worker::kernels::SourceOrder::kOutIn) {
    return {std::as_bytes(std::span(values)), worker::kernels::SourceType::kF32, order, n, k};
}

inline worker::kernels::WeightMatrix packed(const std::vector<float>& values, std::size_t n,
                                            std::size_t k, worker::kernels::WeightFormat format,
                                            worker::kernels::Pool& pool) {
    auto out = worker::kernels::WeightMatrix::pack(source_of(values, n, k), format, pool);
    MR_CHECK(out.has_value());
    return std::move(*out);
}

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

}  // namespace kernel_tests
