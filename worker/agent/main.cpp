// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/program.hpp"
#include "worker/executor/job_child.hpp"

#include <string_view>

int main(int argc, char** argv) {
    if (argc > 1 && std::string_view(argv[1]) == "job-child")
        return worker::executor::run_job_child(argc, argv);
    return worker::agent::run_program(argc, argv);
}
