// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace bench {

/// Bytes a second that the first CUDA device reads from 4 GiB of its memory, the best of some runs.
[[nodiscard]] double device_read_rate();

}  // namespace bench
