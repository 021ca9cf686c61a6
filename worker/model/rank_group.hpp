// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

// Torch stays behind this declaration: its headers cost 14 s per file that includes them.
namespace at {
class Tensor;
}

namespace worker::model {

/// The processes that train one job together, each with the whole model and its rank's part of
/// every batch. Calls are collective: every rank makes the same ones. One thread.
class RankGroup {
 public:
    virtual ~RankGroup() = default;
    [[nodiscard]] virtual std::uint32_t rank() const noexcept = 0;
    /// Adds the ranks' tensors (contiguous, on the group's device, one size and type) in the order
    /// of ranks and puts the sum into each: the bits that one process gets which adds them in that
    /// order. Throws what torch throws when a rank is gone.
    virtual void sum(at::Tensor& values) = 0;
};

/// Whether this build can train in several processes on a device, "cpu" or "cuda"; without, one
/// process does all ranks' work.
[[nodiscard]] bool has_rank_groups(const std::string& device) noexcept;

/// GPUs that torch sees here. CUDA does not outlive a fork: a process that asks has no ranks.
[[nodiscard]] std::uint32_t visible_gpus();

/// Joins the other ranks over the loopback interface, by torch's Gloo ("cpu") or NCCL ("cuda": this
/// process sees one GPU, which no other rank has); `meeting` is a file that does not exist before
/// and that all ranks see. Waits ten minutes at most, here and in each sum. worker_failed when a
/// rank does not come or a GPU is another's too; unsupported without the device's collectives.
[[nodiscard]] ledger::base::Result<std::unique_ptr<RankGroup>> join_ranks(
    const std::filesystem::path& meeting, std::uint32_t rank, std::uint32_t ranks,
    const std::string& device);

}  // namespace worker::model
