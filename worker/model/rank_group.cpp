// SPDX-License-Identifier: Apache-2.0
#include "worker/model/rank_group.hpp"

#include "worker/model/torch_runtime.hpp"

#ifdef MILLRACE_GLOO

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <chrono>
#include <exception>
#include <vector>

namespace worker::model {

using ledger::base::Result;

namespace {

class GlooGroup final : public RankGroup {
 public:
    GlooGroup(const std::filesystem::path& meeting, std::uint32_t rank, std::uint32_t ranks)
        : rank_(rank), ranks_(static_cast<std::int64_t>(ranks)) {
        const auto store =
            c10::make_intrusive<c10d::FileStore>(meeting.string(), static_cast<int>(ranks));
        const auto options = c10d::ProcessGroupGloo::Options::create(std::chrono::minutes(10));
        options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
        options->threads = 1;
        group_ = c10::make_intrusive<c10d::ProcessGroupGloo>(store, static_cast<int>(rank),
                                                             static_cast<int>(ranks), options);
    }

    [[nodiscard]] std::uint32_t rank() const noexcept override { return rank_; }

    void sum(at::Tensor& values) override {
        try {
            add_up(values);
        } catch (const c10::Error&) {
            throw;
        } catch (const std::exception& error) {  // Gloo's own
            TORCH_CHECK(false, "a rank of the job is gone: ", error.what());
        }
    }

 private:
    /// Each rank adds up one slice of all ranks' values, then all slices go to everybody. Gloo's
    /// own sum would start each slice at another rank.
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
    c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
};

}  // namespace

bool has_rank_groups() noexcept {
    return true;
}

Result<std::unique_ptr<RankGroup>> join_ranks(const std::filesystem::path& meeting,
                                              std::uint32_t rank, std::uint32_t ranks) {
    return guarded([&]() -> Result<std::unique_ptr<RankGroup>> {
        try {
            return std::make_unique<GlooGroup>(meeting, rank, ranks);
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

bool has_rank_groups() noexcept {
    return false;
}

ledger::base::Result<std::unique_ptr<RankGroup>> join_ranks(
    const std::filesystem::path& /*meeting*/, std::uint32_t /*rank*/, std::uint32_t /*ranks*/) {
    return ledger::base::fail(ledger::base::ErrorCode::unsupported,
                              "this build has no Gloo for several processes");
}

}  // namespace worker::model

#endif
