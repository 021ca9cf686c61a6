// SPDX-License-Identifier: Apache-2.0
#include "worker/executor/rank_processes.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <string_view>

using worker::executor::RankProcesses;

namespace {

/// The status with which another process of this one's ends.
std::uint32_t status_of_child() {
    int status = 0;
    if (::wait(&status) < 0 || !WIFEXITED(status)) return 99;
    return static_cast<std::uint32_t>(WEXITSTATUS(status));
}

/// 1 when rank 1 of two takes the GPU `expected` of those in CUDA_VISIBLE_DEVICES.
std::uint32_t rank_one_takes(std::string_view expected) {
    const auto ranks = RankProcesses::fork(2);
    if (!ranks) return 98;
    if (ranks->rank() == 0) return status_of_child();
    ranks->take_gpu();
    ::_exit(std::getenv("CUDA_VISIBLE_DEVICES") == expected ? 1 : 0);
}

}  // namespace

TEST_CASE("rank processes: a number that another process asks for, and 0 when that one fails") {
    CHECK(RankProcesses::ask_apart([] { return 7U; }) == 7);
    CHECK(RankProcesses::ask_apart([] { return 100'000U; }) == 255);
    CHECK(RankProcesses::ask_apart([]() -> std::uint32_t { std::abort(); }) == 0);
}

TEST_CASE("rank processes: each rank takes a GPU of its own of those that are visible") {
    CHECK(RankProcesses::ask_apart([] {
              ::unsetenv("CUDA_VISIBLE_DEVICES");
              return rank_one_takes("1");
          }) == 1);
    CHECK(RankProcesses::ask_apart([] {
              ::setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c", 1);
              return rank_one_takes("GPU-b");
          }) == 1);
    CHECK(RankProcesses::ask_apart([]() -> std::uint32_t {
              ::setenv("CUDA_VISIBLE_DEVICES", "6,7", 1);
              const RankProcesses first;
              first.take_gpu();
              return std::getenv("CUDA_VISIBLE_DEVICES") == std::string_view("6") ? 1 : 0;
          }) == 1);
}

TEST_CASE("rank processes: the first ends when another does, before or after it looks") {
    CHECK(RankProcesses::ask_apart([]() -> std::uint32_t {
              ::alarm(20);  // a process that a signal ends counts as 0
              auto ranks = RankProcesses::fork(2);
              if (!ranks) return 98;
              if (ranks->rank() == 1) ::_exit(ranks->wait() == 5 ? 0 : 1);
              ranks->end_with_any();
              ranks->tell(5);
              for (;;)
                  ::pause();
          }) == 1);
    CHECK(RankProcesses::ask_apart([]() -> std::uint32_t {
              ::alarm(20);
              auto ranks = RankProcesses::fork(2);
              if (!ranks) return 98;
              if (ranks->rank() == 1) ::_exit(0);
              siginfo_t gone{};
              ::waitid(P_ALL, 0, &gone, WEXITED | WNOWAIT);
              ranks->end_with_any();
              for (;;)
                  ::pause();
          }) == 1);
}

TEST_CASE("rank processes: ranks that end because the first is done do not end it") {
    CHECK(RankProcesses::ask_apart([]() -> std::uint32_t {
              ::alarm(20);
              {
                  auto ranks = RankProcesses::fork(2);
                  if (!ranks) return 98;
                  if (ranks->rank() == 1) ::_exit(ranks->wait() == 0 ? 7 : 1);
                  ranks->end_with_any();
              }
              return status_of_child();
          }) == 7);
}
