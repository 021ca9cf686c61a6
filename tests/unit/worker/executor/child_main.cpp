// SPDX-License-Identifier: Apache-2.0
#include "worker/executor/job_child.hpp"

#include <string_view>

/// `millrace-job` with its `job-child` only, and programs that do not say their runtime.
int main(int argc, char** argv) {
    const std::string_view mode = argc > 1 ? argv[1] : "";
    if (mode == "job-child") return worker::executor::run_job_child(argc, argv);
    return 2;
}
