// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/instruction_set.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>

namespace worker::kernels {

namespace {

constexpr std::array kSets{InstructionSet::kPortable, InstructionSet::kAvx2,
                           InstructionSet::kAvx512};

InstructionSet processor_has() noexcept {
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return InstructionSet::kPortable;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni"))
        return InstructionSet::kAvx512;
    return InstructionSet::kAvx2;
#else
    return InstructionSet::kPortable;
#endif
}

InstructionSet choose() noexcept {
    const InstructionSet highest = processor_has();
    const char* wish = std::getenv("MILLRACE_KERNELS");
    for (const InstructionSet set : kSets)
        if (wish != nullptr && to_string(set) == wish) return std::min(set, highest);
    return highest;
}

}  // namespace

std::string_view to_string(InstructionSet set) noexcept {
    switch (set) {
        case InstructionSet::kPortable:
            return "portable";
        case InstructionSet::kAvx2:
            return "avx2";
        case InstructionSet::kAvx512:
            return "avx512";
    }
    return "portable";
}

InstructionSet instruction_set() noexcept {
    static const InstructionSet chosen = choose();
    return chosen;
}

}  // namespace worker::kernels
