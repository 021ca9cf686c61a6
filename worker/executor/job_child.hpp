// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace worker::executor {

/// The child's main: reads one JSON line from stdin, works, writes JSON lines to stdout.
/// `main` calls it when the first argument is "job-child". Returns the exit status.
[[nodiscard]] int run_job_child(int argc, char** argv);

}  // namespace worker::executor
