// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/pool.hpp"
#include "worker/kernels/weight_matrix.hpp"

#include <cstddef>

namespace worker::kernels {

/// y[rows][n] = x[rows][k] · weightsᵀ + bias[n]; `bias` may be null, `y` overlaps nothing.
///
/// A row's result has the same bits whatever the other rows, their number and the pool's threads.
/// With kInt8 and kInt4 a row of x is rounded to int8 with one scale per 32 inputs first. A row
/// with a NaN or an infinity in it gives NaN or infinity in every output.
void linear(const float* x, std::size_t rows, const WeightMatrix& weights, const float* bias,
            float* y, Pool& pool);

}  // namespace worker::kernels
