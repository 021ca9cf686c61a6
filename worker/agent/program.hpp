// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace worker::agent {

/// The command line of `millrace-worker`. Exit status: 0 done, 1 failed, 2 wrong usage or settings,
/// 3 not signed in or not registered, 4 bond or balance too small, 8 market or chain unreachable.
[[nodiscard]] int run_program(int argc, char** argv);

}  // namespace worker::agent
