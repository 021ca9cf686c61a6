// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/gpu_facts.hpp"

#include <doctest/doctest.h>

#include <cstdlib>

using ledger::base::ErrorCode;
using worker::agent::find_gpu_faults;
using worker::agent::GpuReport;
using worker::agent::read_gpus;

TEST_CASE("gpu_facts: no library, a foreign one and a driver that fails are told apart") {
    CHECK(read_gpus("libmillrace-no-such-library.so").error().code() == ErrorCode::unsupported);
    CHECK(read_gpus("libc.so.6").error().code() == ErrorCode::unavailable);
    for (const char* what : {"init", "count", "lost"}) {
        CAPTURE(what);
        ::setenv("FAKE_NVML", what, 1);
        CHECK(read_gpus(MILLRACE_FAKE_NVML).error().code() == ErrorCode::unavailable);
    }
    ::unsetenv("FAKE_NVML");
}

TEST_CASE("gpu_facts: what a card tells is read, what it does not tell stays empty") {
    const auto report = read_gpus(MILLRACE_FAKE_NVML);
    REQUIRE(report);
    CHECK(report->driver == "535.104.05");
    REQUIRE(report->gpus.size() == 2);
    const auto& first = report->gpus[0];
    CHECK(first.uuid == "GPU-11111111-2222");
    CHECK(first.name == "Fake H100");
    CHECK(first.memory_mib == 80 * 1024);
    CHECK(first.free_mib == 79 * 1024);
    CHECK(first.pcie_generation == 5);
    CHECK(first.pcie_lanes == 16);
    CHECK(first.ecc_errors == 2);
    CHECK(first.temperature_c == 41);
    CHECK(first.power_mw == 70'500);
    const auto& second = report->gpus[1];
    CHECK(second.name == "Fake?[2J");
    CHECK_FALSE(second.pcie_generation);
    CHECK_FALSE(second.ecc_errors);
    CHECK_FALSE(second.power_mw);
}

TEST_CASE("gpu_facts: each fault of an offer has one fix") {
    GpuReport report;
    CHECK(find_gpu_faults(report, 0, 0).empty());
    CHECK(find_gpu_faults(report, 1, 0).size() == 1);
    report.gpus.resize(2);
    report.gpus[0].memory_mib = report.gpus[1].memory_mib = 24'000;
    CHECK(find_gpu_faults(report, 2, 24'000).empty());
    CHECK(find_gpu_faults(report, 2, 24'001).size() == 2);
    report.gpus[1].ecc_errors = 1;
    report.gpus[1].temperature_c = 90;
    CHECK(find_gpu_faults(report, 1, 24'000).empty());  // the second is not offered
    const auto faults = find_gpu_faults(report, 2, 24'000);
    REQUIRE(faults.size() == 2);
    for (const auto& fault : faults)
        CHECK_FALSE(fault.fix.empty());
}
