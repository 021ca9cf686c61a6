// SPDX-License-Identifier: Apache-2.0
#include "worker/model/rank_group.hpp"

#include "worker/model/torch_runtime.hpp"

#if defined(MILLRACE_GLOO) || defined(MILLRACE_NCCL)

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#ifdef MILLRACE_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#endif
#ifdef MILLRACE_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif
#include <torch/cuda.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr std::chrono::minutes kPatience{10};

/// The ranks' sum over any process group of torch's.
template <typename Group>
class TorchGroup final : public RankGroup {
 public:
    TorchGroup(c10::intrusive_ptr<Group> group, std::uint32_t rank, std::uint32_t ranks)
        : rank_(rank), ranks_(static_cast<std::int64_t>(ranks)), group_(std::move(group)) {}

    [[nodiscard]] std::uint32_t rank() const noexcept override { return rank_; }

    void sum(at::Tensor& values) override {
        try {
            add_up(values);
        } catch (const c10::Error&) {
            throw;
        } catch (const std::exception& error) {  // the backend's own
            TORCH_CHECK(false, "a rank of the job is gone: ", error.what());
        }
    }

 private:
    /// Each rank adds up one slice of all ranks' values, then all slices go to everybody. The
    /// backends' own sums would start each slice at another rank.
    void add_up(at::Tensor& values) {
        const std::int64_t slice = (values.numel() + ranks_ - 1) / ranks_;
        auto padded = at::zeros({ranks_ * slice}, values.options());
        padded.narrow(0, 0, values.numel()).copy_(values.view(-1));
        auto arrived = at::empty_like(padded);
        std::vector<std::int64_t> none;
        group_->alltoall_base(arrived, padded, none, none)->wait();
        auto mine = at::zeros({slice}, values.options());
        for (std::int64_t rank = 0; rank < ranks_; ++rank)
            mine.add_(arrived.narrow(0, rank * slice, slice));
        std::vector<std::vector<at::Tensor>> slices(1);
        for (std::int64_t rank = 0; rank < ranks_; ++rank)
            slices[0].push_back(padded.narrow(0, rank * slice, slice));
        std::vector<at::Tensor> input{mine};
        group_->allgather(slices, input)->wait();
        values.view(-1).copy_(padded.narrow(0, 0, values.numel()));
    }

    std::uint32_t rank_;
    std::int64_t ranks_;
    c10::intrusive_ptr<Group> group_;
};

c10::intrusive_ptr<c10d::Store> meet(const std::filesystem::path& meeting, std::uint32_t ranks) {
    return c10::make_intrusive<c10d::FileStore>(meeting.string(), static_cast<int>(ranks));
}

#ifdef MILLRACE_GLOO
std::unique_ptr<RankGroup> make_gloo(const std::filesystem::path& meeting, std::uint32_t rank,
                                     std::uint32_t ranks) {
    const auto options = c10d::ProcessGroupGloo::Options::create(kPatience);
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
    options->threads = 1;
    return std::make_unique<TorchGroup<c10d::ProcessGroupGloo>>(
        c10::make_intrusive<c10d::ProcessGroupGloo>(meet(meeting, ranks), static_cast<int>(rank),
                                                    static_cast<int>(ranks), options),
        rank, ranks);
}
#endif

#ifdef MILLRACE_NCCL
/// NCCL connects at its first collectives and refuses two ranks on one GPU: a first sum does the
/// one and asserts the other.
std::unique_ptr<RankGroup> make_nccl(const std::filesystem::path& meeting, std::uint32_t rank,
                                     std::uint32_t ranks) {
    const std::uint32_t seen = visible_gpus();
    TORCH_CHECK(seen == 1, "rank ", rank, " sees ", seen, " GPUs instead of its own");
    // All ranks are of one machine. A wait holds the thread, so that it can throw; torch's two
    // names for that are of before 2.2 and since.
    for (const auto& [name, value] : {std::pair{"NCCL_SOCKET_IFNAME", "lo"},
                                      {"NCCL_SOCKET_FAMILY", "AF_INET"},
                                      {"NCCL_IB_DISABLE", "1"},
                                      {"NCCL_BLOCKING_WAIT", "1"},
                                      {"TORCH_NCCL_BLOCKING_WAIT", "1"}})
        ::setenv(name, value, /*replace=*/1);
    const auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = kPatience;
    auto out = std::make_unique<TorchGroup<c10d::ProcessGroupNCCL>>(
        c10::make_intrusive<c10d::ProcessGroupNCCL>(meet(meeting, ranks), static_cast<int>(rank),
                                                    static_cast<int>(ranks), options),
        rank, ranks);
    at::Tensor present = at::ones({1}, at::TensorOptions(at::kCUDA).dtype(at::kFloat));
    out->sum(present);
    TORCH_CHECK(present.item<float>() == static_cast<float>(ranks), "a rank is missing");
    return out;
}
#endif

}  // namespace

bool has_rank_groups(const std::string& device) noexcept {
#ifdef MILLRACE_NCCL
    if (device == "cuda") return true;
#endif
#ifdef MILLRACE_GLOO
    if (device == "cpu") return true;
#endif
    static_cast<void>(device);
    return false;
}

std::uint32_t visible_gpus() {
    return static_cast<std::uint32_t>(torch::cuda::device_count());
}

Result<std::unique_ptr<RankGroup>> join_ranks(const std::filesystem::path& meeting,
                                              std::uint32_t rank, std::uint32_t ranks,
                                              const std::string& device) {
    return guarded([&]() -> Result<std::unique_ptr<RankGroup>> {
        try {
#ifdef MILLRACE_NCCL
            if (device == "cuda") return make_nccl(meeting, rank, ranks);
#endif
#ifdef MILLRACE_GLOO
            if (device == "cpu") return make_gloo(meeting, rank, ranks);
#endif
            return fail(ErrorCode::unsupported, "this build has no collectives for " + device);
        } catch (const c10::Error&) {
            throw;
        } catch (const std::exception& error) {
            TORCH_CHECK(false, "the ranks do not meet: ", error.what());
        }
    });
}

}  // namespace worker::model

#else

namespace worker::model {

bool has_rank_groups(const std::string& /*device*/) noexcept {
    return false;
}

std::uint32_t visible_gpus() {
    return 0;
}

ledger::base::Result<std::unique_ptr<RankGroup>> join_ranks(
    const std::filesystem::path& /*meeting*/, std::uint32_t /*rank*/, std::uint32_t /*ranks*/,
    const std::string& /*device*/) {
    return ledger::base::fail(ledger::base::ErrorCode::unsupported,
                              "this build has neither Gloo nor NCCL for several processes");
}

}  // namespace worker::model

#endif
