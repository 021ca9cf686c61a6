// SPDX-License-Identifier: Apache-2.0
// `millrace-job`: started by millrace-worker, for one job each.
#include "worker/executor/job_child.hpp"
#include "worker/model/training.hpp"

#include <cstdio>
#include <string_view>

int main(int argc, char** argv) {
    const std::string_view mode = argc == 2 ? argv[1] : "";
    if (mode == "job-child") return worker::executor::run_job_child(argc, argv);
    if (mode == "runtime") {
        std::printf("%s\n", worker::model::runtime_name().c_str());
        return 0;
    }
    std::fputs("millrace-job is started by millrace-worker\n", stderr);
    return 2;
}
