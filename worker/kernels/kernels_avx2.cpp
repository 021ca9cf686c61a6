// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/make_table.hpp"
#include "worker/kernels/vector_avx2.hpp"

namespace worker::kernels {

const KernelTable kAvx2Kernels = make_table<Avx2>();

}  // namespace worker::kernels
