// SPDX-License-Identifier: Apache-2.0
#include "worker/model/tensor_floats.hpp"

#include "ledger/base/check.hpp"
#include "worker/kernels/weight_matrix.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

std::size_t value_count(const TensorView& tensor) noexcept {
    return tensor.data.size() / size_of(tensor.dtype);
}

Result<void> read_floats(const TensorView& tensor, std::span<float> values) {
    MR_CHECK(values.size() == value_count(tensor));
    kernels::SourceType type = kernels::SourceType::kF32;
    if (tensor.dtype == Dtype::kBf16) {
        type = kernels::SourceType::kBf16;
    } else if (tensor.dtype == Dtype::kF16) {
        type = kernels::SourceType::kF16;
    } else if (tensor.dtype != Dtype::kF32) {
        return fail(ErrorCode::data_invalid, fmt::format("{} is {}; weights are F32, F16 or BF16",
                                                         tensor.name, to_string(tensor.dtype)));
    }
    kernels::to_floats(type, std::as_bytes(tensor.data).data(), values.size(), values.data());
    if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }))
        return fail(ErrorCode::data_invalid, tensor.name + " holds a number that is not finite");
    return {};
}

}  // namespace worker::model
