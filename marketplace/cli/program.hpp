// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace marketplace::cli {

/// The command line of `millrace`. Exit status: see ExitCode.
[[nodiscard]] int run_program(int argc, char** argv);

}  // namespace marketplace::cli
