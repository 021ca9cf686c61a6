// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/kernel_table.hpp"

#include "worker/kernels/instruction_set.hpp"

namespace worker::kernels {

const KernelTable& kernels() noexcept {
#if defined(__x86_64__)
    switch (instruction_set()) {
        case InstructionSet::kAvx512:
            return kAvx512Kernels;
        case InstructionSet::kAvx2:
            return kAvx2Kernels;
        case InstructionSet::kPortable:
            break;
    }
#endif
    return kPortableKernels;
}

}  // namespace worker::kernels
