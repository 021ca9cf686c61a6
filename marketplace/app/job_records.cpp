// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/job_records.hpp"

#include <algorithm>

namespace marketplace::app {

void JobRecords::add(const domain::JobId& job, domain::TimeMs time_ms, std::string kind,
                     std::string data) {
    const std::scoped_lock lock(mutex_);
    const auto [entry, inserted] = rings_.try_emplace(job);
    if (inserted) {
        order_.push_back(job);
        if (order_.size() > kJobs) {
            rings_.erase(order_.front());
            order_.pop_front();
        }
    }
    Ring& ring = rings_[job];
    ring.records.push_back({ring.next++, time_ms, std::move(kind), std::move(data)});
    if (ring.records.size() > kPerJob) ring.records.pop_front();
}

std::vector<api::JobRecord> JobRecords::after(const domain::JobId& job, std::uint64_t after,
                                              std::size_t limit) const {
    const std::scoped_lock lock(mutex_);
    std::vector<api::JobRecord> out;
    const auto found = rings_.find(job);
    if (found == rings_.end()) return out;
    const auto& records = found->second.records;
    auto first =
        std::upper_bound(records.begin(), records.end(), after,
                         [](std::uint64_t value, const auto& r) { return value < r.sequence; });
    for (; first != records.end() && out.size() < limit; ++first)
        out.push_back(*first);
    return out;
}

}  // namespace marketplace::app
