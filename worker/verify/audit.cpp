// SPDX-License-Identifier: Apache-2.0
#include "worker/verify/audit.hpp"

#include "ledger/base/sha256.hpp"
#include "worker/model/checkpoint.hpp"
#include "worker/model/layout.hpp"
#include "worker/model/mapped_file.hpp"
#include "worker/model/philox.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <system_error>

namespace worker::verify {

namespace fs = std::filesystem;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Hash32;
using ledger::base::Result;

namespace {

// AdamW amplifies: honest runs of other hardware differ by up to some 1e-3 after a segment, while a
// segment of other data or rates differs by more than a tenth of its own change.
constexpr double kWithin = 0.01;
constexpr double kGrey = 0.05;

/// ‖claimed − found‖ / ‖found − before‖.
double relative_distance(const std::vector<float>& claimed, const std::vector<float>& found,
                         const std::vector<float>& before) {
    double apart = 0;
    double moved = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
        const double a = static_cast<double>(claimed[i]) - static_cast<double>(found[i]);
        const double m = static_cast<double>(found[i]) - static_cast<double>(before[i]);
        apart += a * a;
        moved += m * m;
    }
    if (apart == 0) return 0;
    return moved > 0 ? std::sqrt(apart / moved) : HUGE_VAL;
}

Result<model::StateBuffer> state_before(const AuditTask& task,
                                        const std::vector<model::ParameterSlot>& layout) {
    model::StateBuffer state;
    state.resize(model::parameter_count(task.spec.model), task.spec);
    if (task.files.checkpoint) {
        TRY(model::read_checkpoint(*task.files.checkpoint, layout, state));
    } else if (task.files.init) {
        TRY(model::read_weights(*task.files.init, layout, state.values));
    } else {
        model::fill_initial(layout, task.spec.seed, state.values.data());
    }
    return state;
}

Verdict verdict_of(double distance) {
    if (distance <= kWithin) return Verdict::kWithin;
    return distance <= kGrey ? Verdict::kGrey : Verdict::kWrong;
}

}  // namespace

std::vector<std::uint64_t> choose_segments(const Hash32& seed, std::uint64_t count,
                                           std::uint64_t k) {
    std::uint64_t key = 0;
    std::memcpy(&key, seed.data(), sizeof(key));
    std::uint64_t salt = 0;
    std::memcpy(&salt, seed.data() + sizeof(key), sizeof(salt));
    const model::Philox random(key, model::Philox::Stream::kShuffle);
    std::set<std::uint64_t> chosen;
    // Floyd's sampling: k draws, each subset equally likely.
    k = std::min(k, count);
    for (std::uint64_t i = 0; i < k; ++i) {
        const std::uint64_t top = count - k + i;
        const std::uint64_t drawn =
            random.below(top + 1, salt & 0xFFFFFFFFFFFFULL, static_cast<std::uint32_t>(i));
        if (!chosen.insert(drawn).second) chosen.insert(top);
    }
    return {chosen.begin(), chosen.end()};
}

Result<AuditReport> audit_segment(const AuditTask& task) {
    // The receipt is for sealed bytes, which differ each time and which only the buyer can open.
    if (task.spec.sealed)
        return fail(ErrorCode::unsupported,
                    "a sealed job cannot be run again from what the market has");
    {
        TRY_ASSIGN(const auto file, model::MappedFile::open(task.claimed));
        if (ledger::base::sha256(file.bytes()) != task.claimed_hash)
            return fail(ErrorCode::data_invalid, "the checkpoint is not the one receipted");
    }
    const auto layout = model::parameter_layout(task.spec.model);
    TRY_ASSIGN(const model::StateBuffer before, state_before(task, layout));
    if (task.end_step <= before.step || task.end_step > task.spec.steps)
        return fail(ErrorCode::out_of_range, "the segment does not follow the state before it");
    AuditReport report;
    report.steps = task.end_step - before.step;
    TRY_ASSIGN(auto run, model::TrainingRun::create(task.spec, task.files, task.runtime));
    TRY(run.advance(report.steps));
    // How the held-out loss goes is part of the state of a job that may stop early.
    if (task.spec.early_stop && model::evaluation_due(task.spec, task.end_step))
        TRY(run.evaluate());
    const fs::path own = task.scratch / "audit.safetensors";
    TRY_ASSIGN(const model::CheckpointInfo info, run.save_checkpoint(own));
    report.found_hash = info.sha256;
    if (info.sha256 == task.claimed_hash) {
        report.verdict = Verdict::kEqual;
    } else {
        model::StateBuffer claimed;
        model::StateBuffer found;
        claimed.resize(before.values.size(), task.spec);
        found.resize(before.values.size(), task.spec);
        TRY(model::read_checkpoint(own, layout, found));
        const auto read = model::read_checkpoint(task.claimed, layout, claimed);
        // A receipted file that is no state of this model at that step is the worker's fault.
        if (read && claimed.step == task.end_step) {
            report.distance = relative_distance(claimed.values, found.values, before.values);
            report.verdict = verdict_of(report.distance);
            // Other hardware may judge a loss at the edge of "better" otherwise: for a second look.
            const bool same_count =
                !claimed.patience || claimed.patience->stale == found.patience->stale;
            if (!same_count && report.verdict == Verdict::kWithin) report.verdict = Verdict::kGrey;
        } else {
            report.distance = HUGE_VAL;
        }
    }
    std::error_code ignored;
    fs::remove(own, ignored);
    return report;
}

}  // namespace worker::verify
