// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/block_times.hpp"

#include <utility>
#include <vector>

namespace ledger::audit::detail {

using base::Result;

Result<std::uint64_t> BlockTimes::at(std::uint64_t block) {
    if (const auto found = known_.find(block); found != known_.end()) return found->second;
    TRY_ASSIGN(const rpc::BlockHead head, chain_.block(rpc::BlockTag::number(block)));
    return known_.emplace(block, head.time_s).first->second;
}

Result<void> BlockTimes::fill(Place& place) {
    TRY_ASSIGN(place.time_s, at(place.block));
    return {};
}

Result<void> BlockTimes::fill_places(AuditReport& report) {
    for (Movement& movement : report.movements)
        TRY(fill(movement.at));
    if (!report.lease) return {};
    for (AuditedLease& lease : report.leases) {
        TRY(fill(lease.opened_at));
        for (AuditedLease::Claim& claim : lease.claims)
            TRY(fill(claim.at));
        if (lease.closed) TRY(fill(lease.closed_at));
    }
    return {};
}

Result<void> BlockTimes::fill_days(AuditReport& report) {
    std::map<std::uint64_t, std::uint64_t> paid;  // by block
    for (const AuditedLease& lease : report.leases)
        for (const auto& [claim, place, is_lone] : lease.claims)
            if (place.block >= report.from_block) paid[place.block] += claim.paid_atoms;
    const std::vector<std::pair<std::uint64_t, std::uint64_t>> blocks(paid.begin(), paid.end());
    // Time never falls from block to block: halve until both ends lie on one day.
    std::vector<std::pair<std::size_t, std::size_t>> rest;
    if (!blocks.empty()) rest.emplace_back(0, blocks.size() - 1);
    while (!rest.empty()) {
        const auto [first, last] = rest.back();
        rest.pop_back();
        TRY_ASSIGN(const std::uint64_t begin_s, at(blocks[first].first));
        TRY_ASSIGN(const std::uint64_t end_s, at(blocks[last].first));
        constexpr std::uint64_t kDay = 86'400;
        if (begin_s / kDay != end_s / kDay && first != last) {
            const std::size_t middle = first + (last - first) / 2;
            rest.emplace_back(middle + 1, last);
            rest.emplace_back(first, middle);
            continue;
        }
        std::uint64_t sum = 0;
        for (std::size_t i = first; i <= last; ++i)
            sum += blocks[i].second;
        if (report.days.empty() || report.days.back().day != begin_s / kDay)
            report.days.push_back({begin_s / kDay, 0});
        report.days.back().paid_atoms += sum;
    }
    return {};
}

}  // namespace ledger::audit::detail
