// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/make_table.hpp"
#include "worker/kernels/vector_portable.hpp"

namespace worker::kernels {

const KernelTable kPortableKernels = make_table<Portable>();

}  // namespace worker::kernels
