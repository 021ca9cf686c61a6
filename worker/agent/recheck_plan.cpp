// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/recheck_plan.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>
#include <variant>

namespace worker::agent {

namespace wire = marketplace::wire;
using ledger::base::ErrorCode;
using ledger::base::fail;

namespace {

/// What the first receipt of a job says of the model it began with; see TrainSession.
std::optional<Hash32> beginning_of(const model::JobSpec& spec) {
    if (const auto* train = std::get_if<model::TrainSpec>(&spec))
        return train->init.value_or(Hash32());
    if (const auto* finetune = std::get_if<model::FinetuneSpec>(&spec))
        return model::model_hash(finetune->files);
    return std::nullopt;
}

bool is_sealed(const model::JobSpec& spec) {
    if (const auto* train = std::get_if<model::TrainSpec>(&spec)) return train->sealed.has_value();
    if (const auto* finetune = std::get_if<model::FinetuneSpec>(&spec))
        return finetune->sealed.has_value();
    return false;
}

}  // namespace

Result<std::vector<RecheckSegment>> plan_recheck(const wire::JobEvidence& evidence,
                                                 const model::JobSpec& spec) {
    const auto beginning = beginning_of(spec);
    if (!beginning) return fail(ErrorCode::unsupported, "only training can be run again");
    std::vector<RecheckSegment> out;
    std::unordered_map<Hash32, std::uint64_t> steps;  // of the checkpoints signed for so far
    for (std::size_t place = 0; place < evidence.leases.size(); ++place) {
        std::uint64_t start = 0;
        std::string why_not =
            is_sealed(spec) ? "the job is sealed: only its buyer can open it" : "";
        for (const wire::SignedReceipt& item : evidence.leases[place].receipts) {
            const ledger::eth::Receipt& receipt = item.receipt;
            RecheckSegment segment;
            segment.number = out.size() + 1;
            segment.lease = place;
            segment.sequence = receipt.sequence;
            segment.claimed = receipt.response_hash;
            const bool is_first = receipt.sequence == 1;
            const auto known = steps.find(receipt.model_hash);
            if (!is_first) {
                segment.begin_step = out.back().end_step;
                segment.before = out.back().claimed;
                if (receipt.model_hash != out.back().claimed && why_not.empty())
                    why_not = "its receipt names another state than the one before ended with";
            } else if (receipt.model_hash != *beginning && known == steps.end()) {
                why_not = "it goes on from a checkpoint that no receipt here was signed for";
            } else if (known != steps.end()) {
                start = known->second;
                segment.begin_step = start;
                segment.before = receipt.model_hash;
            }
            segment.end_step = start + receipt.cumulative_units;
            segment.why_not = why_not;
            if (why_not.empty()) steps.emplace(receipt.response_hash, segment.end_step);
            out.push_back(std::move(segment));
        }
    }
    return out;
}

std::uint64_t receipted_steps(const std::vector<RecheckSegment>& segments) {
    // A lease goes on from earlier ones, so each segment begins at or below what is there.
    std::uint64_t end = 0;
    for (const RecheckSegment& segment : segments)
        if (segment.why_not.empty() && segment.begin_step <= end)
            end = std::max(end, segment.end_step);
    return end;
}

std::vector<int> likely_threads(std::uint32_t cpu_cores) {
    constexpr std::uint32_t kThreadsMax = 1024;
    cpu_cores = std::clamp<std::uint32_t>(cpu_cores, 1, kThreadsMax);
    std::vector<int> out{static_cast<int>(cpu_cores)};
    for (std::uint32_t count = 1; count < cpu_cores; count *= 2)
        out.push_back(static_cast<int>(count));
    return out;
}

}  // namespace worker::agent
