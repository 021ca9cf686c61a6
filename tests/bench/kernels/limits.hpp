// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

/// What the machine can do at most, for the kernels to be held against.
namespace bench {

/// Reads every byte once; the sum keeps the compiler from leaving it out.
[[nodiscard]] std::uint64_t read_all(std::span<const std::byte> memory);

/// Operations (a multiply and an add are two) done in registers by one thread.
struct Arithmetic {
    double operations;
    float keep;
};
/// 16- or 8-bit integer products added to 32-bit sums, the widest the processor has.
[[nodiscard]] Arithmetic multiply_integers(std::size_t turns);
/// fp32 fused multiply-adds.
[[nodiscard]] Arithmetic multiply_floats(std::size_t turns);

}  // namespace bench
