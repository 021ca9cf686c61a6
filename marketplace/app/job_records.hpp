// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/api/ports.hpp"

#include <deque>
#include <mutex>
#include <unordered_map>

namespace marketplace::app {

/// The live record of each job in memory: the last kPerJob entries of the last kJobs jobs.
/// Phases can be read from the log at any time; metrics are for watching. Thread-safe.
class JobRecords final : public api::JobRecordsPort {
 public:
    static constexpr std::size_t kPerJob = 4096;
    static constexpr std::size_t kJobs = 1024;

    /// `data`: a JSON object as text.
    void add(const domain::JobId& job, domain::TimeMs time_ms, std::string kind, std::string data);
    [[nodiscard]] std::vector<api::JobRecord> after(const domain::JobId& job, std::uint64_t after,
                                                    std::size_t limit) const override;

 private:
    struct Ring {
        std::uint64_t next = 1;
        std::deque<api::JobRecord> records;
    };
    mutable std::mutex mutex_;
    std::unordered_map<domain::JobId, Ring> rings_;
    std::deque<domain::JobId> order_;  // oldest job first
};

}  // namespace marketplace::app
