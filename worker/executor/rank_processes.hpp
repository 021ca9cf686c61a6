// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <cstdint>
#include <utility>
#include <vector>

namespace worker::executor {

/// The other ranks of a training job: copies of this process, made before it has threads. They do
/// the steps that rank 0 tells them to, and end when it does.
class RankProcesses {
 public:
    /// Divides this process's memory limit among the ranks and forks. Returns in every rank;
    /// worker_failed when the system refuses.
    [[nodiscard]] static ledger::base::Result<RankProcesses> fork(std::uint32_t ranks);

    RankProcesses() = default;
    ~RankProcesses();
    RankProcesses(RankProcesses&& other) noexcept
        : rank_(other.rank_),
          pipes_(std::exchange(other.pipes_, {})),
          watching_(std::exchange(other.watching_, false)) {}
    RankProcesses& operator=(RankProcesses&& other) noexcept {
        std::swap(rank_, other.rank_);
        std::swap(pipes_, other.pipes_);
        std::swap(watching_, other.watching_);
        return *this;
    }

    [[nodiscard]] std::uint32_t rank() const noexcept { return rank_; }

    /// A number that only another process may ask for, since asking leaves it unfit to fork: 0 when
    /// that one fails. At most 255.
    [[nodiscard]] static std::uint32_t ask_apart(std::uint32_t (*question)());
    /// Makes the rank's GPU the only one that this process sees; before CUDA is used.
    void take_gpu() const;
    /// Rank 0: ends this process with a word on stderr when another rank does, until this object
    /// goes. For collectives that wait for a rank that is gone.
    void end_with_any();

    /// Rank 0: the others do `steps` steps with it. A rank that is gone shows in the step itself.
    void tell(std::uint64_t steps) const noexcept;
    /// The others: how many steps to do next; 0 when rank 0 is gone.
    [[nodiscard]] std::uint64_t wait() const noexcept;

 private:
    std::uint32_t rank_ = 0;
    std::vector<int> pipes_;  // rank 0: one end per rank; the others: their end
    bool watching_ = false;
};

}  // namespace worker::executor
