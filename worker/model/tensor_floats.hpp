// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/model/safetensors.hpp"

#include <cstddef>
#include <span>

namespace worker::model {

/// How many values a tensor has.
[[nodiscard]] std::size_t value_count(const TensorView& tensor) noexcept;

/// Widens a tensor of F32, F16 or BF16 into `values`, of which there are `value_count`.
/// data_invalid, with the tensor's name: another type, or a number that is not finite.
[[nodiscard]] ledger::base::Result<void> read_floats(const TensorView& tensor,
                                                     std::span<float> values);

}  // namespace worker::model
