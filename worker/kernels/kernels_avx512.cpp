// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/make_table.hpp"
#include "worker/kernels/vector_avx512.hpp"

namespace worker::kernels {

const KernelTable kAvx512Kernels = make_table<Avx512>();

}  // namespace worker::kernels
