// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace worker::kernels {

/// What the kernels were compiled for, in ascending order.
enum class InstructionSet : std::uint8_t {
    kPortable = 0,  ///< any processor
    kAvx2 = 1,      ///< AVX2 and FMA
    kAvx512 = 2,    ///< AVX-512 F, BW, DQ, VL and VNNI
};
/// "portable", "avx2", "avx512".
[[nodiscard]] std::string_view to_string(InstructionSet set) noexcept;

/// The highest this processor has, but not above the one that the environment variable
/// MILLRACE_KERNELS names. Fixed at the first call.
[[nodiscard]] InstructionSet instruction_set() noexcept;

}  // namespace worker::kernels
