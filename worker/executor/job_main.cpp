// SPDX-License-Identifier: Apache-2.0
// `millrace-job`: started by millrace-worker, for one job each.
#include "worker/executor/job_child.hpp"
#include "worker/model/machine_speed.hpp"

#include <charconv>
#include <cstdio>
#include <string_view>

namespace {

/// `measure DEVICE THREADS`: GFLOP/s and MB/s, on a line.
int measure(const char* device, std::string_view threads) {
    worker::model::RuntimeOptions options;
    options.device = device;
    std::from_chars(threads.data(), threads.data() + threads.size(), options.threads);
    const auto speed = worker::model::measure_speed(options);
    if (!speed) {
        std::fprintf(stderr, "%s\n", speed.error().message().c_str());
        return 1;
    }
    std::printf("%u %u\n", speed->gflop_per_s, speed->memory_mb_per_s);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 4 && std::string_view(argv[1]) == "measure") return measure(argv[2], argv[3]);
    const std::string_view mode = argc == 2 ? argv[1] : "";
    if (mode == "job-child") return worker::executor::run_job_child(argc, argv);
    if (mode == "runtime") {
        std::printf("%s\n", worker::model::runtime_name().c_str());
        return 0;
    }
    std::fputs("millrace-job is started by millrace-worker\n", stderr);
    return 2;
}
