// SPDX-License-Identifier: Apache-2.0
#include "worker/verify/audit.hpp"

#include "ledger/base/sha256.hpp"
#include "worker/model/checkpoint.hpp"
#include "worker/model/mapped_file.hpp"
#include "worker/model/network_objective.hpp"
#include "worker/model/result_file.hpp"
#include "worker/model/safetensors.hpp"
#include "worker/model/tensor_floats.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <system_error>
#include <utility>

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

Result<model::StateBuffer> state_before(const model::LoopSpec& spec,
                                        const model::Objective& objective,
                                        const model::StartFiles& start) {
    const auto& layout = objective.layout();
    model::StateBuffer state;
    state.resize(layout.back().offset + layout.back().size, spec);
    if (start.checkpoint) {
        TRY(model::read_checkpoint(*start.checkpoint, layout, state));
    } else if (start.init) {
        TRY(model::read_weights(*start.init, layout, state.values));
    } else {
        TRY(objective.fill_start(spec.seed, state.values.data()));
    }
    return state;
}

/// All weights of a file, one after another in the order of `like`; data_invalid when it has
/// others.
Result<std::vector<float>> weights_of(const model::SafetensorsIndex& file,
                                      const model::SafetensorsIndex& like) {
    if (file.tensors.size() != like.tensors.size())
        return fail(ErrorCode::data_invalid, "other tensors");
    std::vector<float> out;
    for (const model::TensorView& wanted : like.tensors) {
        const model::TensorView* tensor = file.find(wanted.name);
        if (tensor == nullptr || tensor->shape != wanted.shape || tensor->dtype != wanted.dtype)
            return fail(ErrorCode::data_invalid, "another " + wanted.name);
        const std::size_t begin = out.size();
        out.resize(begin + model::value_count(*tensor));
        TRY(model::read_floats(*tensor, std::span(out).subspan(begin)));
    }
    return out;
}

/// Where the claimed file is not the one found, as AuditReport::difference. Of a file whose tensors
/// are all as found, the metadata is what differs.
Result<std::string> first_difference(const fs::path& found_path, const fs::path& claimed_path) {
    TRY_ASSIGN(const auto found, model::SafetensorsFile::open(found_path));
    const auto claimed = model::SafetensorsFile::open(claimed_path);
    if (!claimed) return std::string("not a safetensors file");
    for (const model::TensorView& own : found.index().tensors) {
        const model::TensorView* other = claimed->index().find(own.name);
        if (other == nullptr) return own.name + " is missing";
        if (other->dtype != own.dtype || other->shape != own.shape)
            return own.name + " has another type or shape";
        const auto at = std::mismatch(own.data.begin(), own.data.end(), other->data.begin()).first;
        if (at == own.data.end()) continue;
        const auto byte = static_cast<std::size_t>(at - own.data.begin());
        return own.name + "[" + std::to_string(byte / model::size_of(own.dtype)) + "]";
    }
    if (claimed->index().tensors.size() != found.index().tensors.size())
        return std::string("it has more tensors");
    return std::string(claimed->index().metadata == found.index().metadata
                           ? "the same tensors, written otherwise"
                           : "the metadata");
}

Verdict verdict_of(double distance) {
    if (distance <= kWithin) return Verdict::kWithin;
    return distance <= kGrey ? Verdict::kGrey : Verdict::kWrong;
}

/// A segment of any job under audit.
class Audit {
 public:
    Audit(const model::LoopSpec& spec, const SegmentClaim& claim, model::StateBuffer before)
        : spec_(spec), claim_(claim), before_(std::move(before)) {}

    /// Runs the segment. `objective` becomes the run's; it stays for `judge`.
    Result<void> run(std::unique_ptr<model::Objective> objective, const model::StartFiles& start) {
        if (claim_.end_step <= before_.step || claim_.end_step > spec_.steps)
            return fail(ErrorCode::out_of_range, "the segment does not follow the state before it");
        report_.steps = claim_.end_step - before_.step;
        objective_ = objective.get();
        TRY_ASSIGN(auto run,
                   model::TrainingRun::start(spec_, std::move(objective), start, claim_.runtime));
        run_.emplace(std::move(run));
        TRY(advance());
        // How the held-out loss goes is part of the state of a job that may stop early.
        if (spec_.early_stop && model::evaluation_due(spec_, claim_.end_step))
            TRY(run_->evaluate());
        TRY_ASSIGN(const model::CheckpointInfo info, run_->save_checkpoint(own_));
        report_.found_hash = info.sha256;
        return {};
    }

    Result<AuditReport> judge() {
        report_.distance = HUGE_VAL;
        if (report_.found_hash == claim_.claimed_hash) {
            report_.verdict = Verdict::kEqual;
            report_.distance = 0;
        } else {
            TRY_ASSIGN(report_.difference, first_difference(own_, claim_.claimed));
            TRY_ASSIGN(const auto result, model::result_step(own_));
            if (result) {
                TRY(judge_result());
            } else {
                TRY(judge_state());
            }
        }
        std::error_code ignored;
        fs::remove(own_, ignored);
        fs::remove(first_, ignored);
        return report_;
    }

 private:
    /// In pieces, so that a person sees it go on; where they are cut changes no bit.
    Result<void> advance() {
        constexpr std::uint64_t kPieces = 20;
        const std::uint64_t piece = std::max<std::uint64_t>(1, report_.steps / kPieces);
        while (run_->step() < claim_.end_step) {
            TRY_ASSIGN(const model::StepReport report,
                       run_->advance(std::min(piece, claim_.end_step - run_->step())));
            if (claim_.on_progress) claim_.on_progress(report);
        }
        return {};
    }

    Result<void> judge_state() {
        model::StateBuffer claimed;
        model::StateBuffer found;
        claimed.resize(before_.values.size(), spec_);
        found.resize(before_.values.size(), spec_);
        TRY(model::read_checkpoint(own_, objective_->layout(), found));
        const auto read = model::read_checkpoint(claim_.claimed, objective_->layout(), claimed);
        // A receipted file that is no state of this model at that step is the worker's fault.
        if (!read || claimed.step != claim_.end_step) return {};
        report_.distance = relative_distance(claimed.values, found.values, before_.values);
        report_.verdict = verdict_of(report_.distance);
        // Other hardware may judge a loss at the edge of "better" otherwise: for a second look.
        const bool same_count =
            !claimed.patience || claimed.patience->stale == found.patience->stale;
        if (!same_count && report_.verdict == Verdict::kWithin) report_.verdict = Verdict::kGrey;
        return {};
    }

    /// What a job leaves at its end is no state: weights are compared with weights, and with those
    /// that the state before would have left.
    Result<void> judge_result() {
        TRY(objective_->write_result(first_, before_));
        TRY_ASSIGN(const auto found, model::SafetensorsFile::open(own_));
        TRY_ASSIGN(const auto before, model::SafetensorsFile::open(first_));
        const auto claimed = model::SafetensorsFile::open(claim_.claimed);
        if (!claimed || claimed->index().metadata != found.index().metadata) return {};
        const auto weights = weights_of(claimed->index(), found.index());
        if (!weights) return {};
        TRY_ASSIGN(const auto own, weights_of(found.index(), found.index()));
        TRY_ASSIGN(const auto first, weights_of(before.index(), found.index()));
        report_.distance = relative_distance(*weights, own, first);
        report_.verdict = verdict_of(report_.distance);
        return {};
    }

    const model::LoopSpec& spec_;
    const SegmentClaim& claim_;
    model::StateBuffer before_;
    const model::Objective* objective_ = nullptr;  // the run's
    std::optional<model::TrainingRun> run_;
    AuditReport report_;
    fs::path own_ = claim_.scratch / "audit.safetensors";
    fs::path first_ = claim_.scratch / "audit-before.safetensors";
};

Result<void> check_claim(const model::LoopSpec& spec, const SegmentClaim& claim) {
    // The receipt is for sealed bytes, which differ each time and which only the buyer can open.
    if (spec.sealed)
        return fail(ErrorCode::unsupported,
                    "a sealed job cannot be run again from what the market has");
    TRY_ASSIGN(const auto file, model::MappedFile::open(claim.claimed));
    if (ledger::base::sha256(file.bytes()) != claim.claimed_hash)
        return fail(ErrorCode::data_invalid, "the checkpoint is not the one receipted");
    return {};
}

Result<AuditReport> audit(const model::LoopSpec& spec, const SegmentClaim& claim,
                          std::unique_ptr<model::Objective> objective,
                          const model::StartFiles& start) {
    TRY_ASSIGN(auto before, state_before(spec, *objective, start));
    Audit out(spec, claim, std::move(before));
    TRY(out.run(std::move(objective), start));
    return out.judge();
}

}  // namespace

Result<AuditReport> audit_segment(const AuditTask& task) {
    TRY(check_claim(task.spec, task));
    model::configure_runtime(task.runtime);
    TRY_ASSIGN(auto objective,
               model::make_network_objective(task.spec, task.files, task.runtime.device));
    return audit(task.spec, task, std::move(objective), {task.files.init, task.files.checkpoint});
}

Result<AuditReport> audit_segment(FinetuneAudit task) {
    TRY(check_claim(task.spec, task));
    return audit(task.spec, task, std::move(task.objective), {std::nullopt, task.checkpoint});
}

}  // namespace worker::verify
