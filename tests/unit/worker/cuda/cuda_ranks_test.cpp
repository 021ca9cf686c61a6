// SPDX-License-Identifier: Apache-2.0
// Needs a CUDA device and a torch with NCCL. CUDA does not outlive a fork, so every rank, and every
// question about devices, is a process of its own here.
#include "worker/model/machine_speed.hpp"
#include "worker/model/philox.hpp"
#include "worker/model/rank_group.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

using namespace worker::model;

namespace {

/// Exit statuses of processes that run `work(number)` side by side.
std::vector<int> in_processes(std::uint32_t count, const std::function<int(std::uint32_t)>& work) {
    std::vector<pid_t> children;
    std::fflush(nullptr);  // or each of them writes it too
    for (std::uint32_t i = 0; i < count; ++i) {
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            const int status = work(i);
            std::fflush(nullptr);
            ::_exit(status);
        }
        children.push_back(child);
    }
    std::vector<int> out;
    for (const pid_t child : children) {
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        out.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    }
    return out;
}

std::filesystem::path meeting() {
    static int number = 0;
    return std::filesystem::temp_directory_path() /
           ("millrace-ranks-" + std::to_string(::getpid()) + "-" + std::to_string(number++));
}

/// What a rank brings: values of very different sizes, whose sum depends on its order.
std::vector<float> part(std::uint32_t rank, std::size_t count) {
    const Philox random(7, Philox::Stream::kBatch);
    std::vector<float> out(count);
    for (std::size_t i = 0; i < count; ++i)
        out[i] = static_cast<float>((random.unit(i, rank) - 0.5) *
                                    static_cast<double>(1U << random.below(20, i, 100 + rank)));
    return out;
}

/// 0 when the sum over NCCL has the bits of the sum in order.
int sum_as_rank(const std::filesystem::path& place, std::uint32_t rank, std::uint32_t ranks) {
    ::setenv("CUDA_VISIBLE_DEVICES", std::to_string(rank).c_str(), 1);
    const auto group = join_ranks(place, rank, ranks, "cuda");
    if (!group) {
        std::fprintf(stderr, "rank %u: %s\n", rank, group.error().message().c_str());
        return 2;
    }
    for (const std::size_t count : {1UL, 1000UL, 3'000'001UL}) {
        std::vector<float> expected(count, 0.0F);
        for (std::uint32_t other = 0; other < ranks; ++other) {
            const std::vector<float> theirs = part(other, count);
            for (std::size_t i = 0; i < count; ++i)
                expected[i] += theirs[i];
        }
        std::vector<float> mine = part(rank, count);
        at::Tensor values =
            at::from_blob(mine.data(), {static_cast<std::int64_t>(count)}, at::kFloat)
                .to(at::kCUDA);
        (*group)->sum(values);
        const at::Tensor sum = values.cpu();
        const float* got = sum.data_ptr<float>();
        if (!std::equal(expected.begin(), expected.end(), got)) return 1;
    }
    return 0;
}

}  // namespace

TEST_CASE("nccl: a rank that sees no GPU, and two ranks on one, are refused") {
    const auto none = in_processes(1, [](std::uint32_t) {
        ::setenv("CUDA_VISIBLE_DEVICES", "", 1);
        return join_ranks(meeting(), 0, 1, "cuda").has_value() ? 1 : 0;
    });
    CHECK(none == std::vector<int>{0});
    const auto place = meeting();
    const auto both = in_processes(2, [&](std::uint32_t rank) {
        ::setenv("CUDA_VISIBLE_DEVICES", "0", 1);
        const auto group = join_ranks(place, rank, 2, "cuda");
        if (!group)
            std::fprintf(stderr, "rank %u: %.300s\n", rank, group.error().message().c_str());
        return group.has_value() ? 1 : 0;
    });
    CHECK(both == std::vector<int>{0, 0});
}

TEST_CASE("nccl: ranks with a GPU each add up in their order, to the bit") {
    const auto asked =
        in_processes(1, [](std::uint32_t) { return static_cast<int>(visible_gpus()); });
    REQUIRE(asked[0] >= 1);
    const auto gpus = static_cast<std::uint32_t>(asked[0]);
    std::printf("nccl: %u GPUs\n", gpus);
    CHECK(has_rank_groups("cuda"));
    for (std::uint32_t ranks = 1; ranks <= gpus; ranks *= 2) {
        const auto place = meeting();
        const auto ended = in_processes(
            ranks, [&](std::uint32_t rank) { return sum_as_rank(place, rank, ranks); });
        CHECK(ended == std::vector<int>(ranks, 0));
        std::filesystem::remove(place);
    }
}

TEST_CASE("machine speed: a GPU multiplies and copies faster than a CPU could") {
    const auto ended = in_processes(1, [](std::uint32_t) {
        const auto speed = measure_speed({1, "cuda"});
        if (!speed) {
            std::fprintf(stderr, "%s\n", speed.error().message().c_str());
            return 2;
        }
        std::printf("GPU: %u GFLOP/s in bf16, %u MB/s read and written\n", speed->gflop_per_s,
                    speed->memory_mb_per_s);
        return speed->gflop_per_s > 5'000 && speed->memory_mb_per_s > 100'000 ? 0 : 1;
    });
    CHECK(ended == std::vector<int>{0});
}
