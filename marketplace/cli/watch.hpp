// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/cli/context.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace marketplace::cli {

/// What is known of a job under way, fed by the market's events. Pure, for tests.
class JobView {
 public:
    explicit JobView(std::uint64_t total_steps) : total_(total_steps) {}

    /// One event: "phase", "train", "eval" or "log" with its JSON. A line for a pipe, when there is
    /// something new to say; empty otherwise.
    [[nodiscard]] std::string take(std::string_view kind, std::string_view data);
    /// The live region: bar, loss curve, cost.
    [[nodiscard]] std::vector<std::string> render(const Terminal& terminal,
                                                  std::uint64_t elapsed_ms) const;

    void set_cost(std::uint64_t atoms, std::uint64_t cap_atoms) noexcept {
        cost_ = atoms;
        cap_ = cap_atoms;
    }
    [[nodiscard]] const std::string& state() const noexcept { return state_; }
    [[nodiscard]] const std::string& reason() const noexcept { return reason_; }
    [[nodiscard]] bool is_final() const;

 private:
    std::uint64_t total_;
    std::uint64_t step_ = 0;
    std::uint64_t units_done_ = 0;
    std::uint64_t printed_tenth_ = 0;
    std::uint64_t cost_ = 0;
    std::uint64_t cap_ = 0;
    double loss_ = 0;
    double first_eval_ = 0;
    double last_eval_ = 0;
    double accuracy_ = 0;
    double rate_ = 0;
    bool has_eval_ = false;
    std::string state_ = "open";
    std::string reason_;
    std::vector<double> losses_;
};

/// Follows a job to its end: live on a terminal, lines on a pipe; gives a sealed job's key to each
/// worker that takes it over. Ctrl-C detaches (the job goes on) and says how to come back.
/// worker_failed when the job ended without its result; audit_failed when the market names another
/// reader of the data than the lease's worker.
[[nodiscard]] Result<void> watch_job(Context& context, const std::string& job);

/// What its buyer is told of a posted job that is not watched.
void print_detached(Context& context, const std::string& job, std::uint64_t worst_case_atoms);

/// The job's costs so far: its leases' receipts; and what is locked behind it.
struct JobCost {
    std::uint64_t amount_atoms = 0;
    std::uint64_t locked_atoms = 0;
    std::uint64_t receipts = 0;
};
[[nodiscard]] Result<JobCost> read_cost(Context& context, const std::string& job);

}  // namespace marketplace::cli
