// SPDX-License-Identifier: Apache-2.0
#include "worker/executor/audit_child.hpp"

#include "worker/executor/finetune_data.hpp"
#include "worker/executor/folder_model.hpp"
#include "worker/verify/audit.hpp"

#include <optional>
#include <utility>
#include <variant>

namespace worker::executor {

using ledger::base::ErrorCode;
using ledger::base::Result;

namespace {

verify::SegmentClaim claim_of(ChildIo& io, const ChildStart& start) {
    verify::SegmentClaim claim;
    claim.end_step = start.stop_at_step;
    claim.claimed = start.claimed;
    claim.claimed_hash = start.claimed_hash;
    claim.scratch = start.job_dir;
    claim.runtime = start.runtime;
    claim.on_progress = [&io](const model::StepReport& report) {
        io.emit(Metrics{report.step, report.loss, report.gradient_norm, 0});
    };
    return claim;
}

Result<verify::AuditReport> audit_training(ChildIo& io, const ChildStart& start,
                                           const model::TrainSpec& spec) {
    verify::AuditTask task;
    static_cast<verify::SegmentClaim&>(task) = claim_of(io, start);
    task.spec = spec;
    task.files = start.files;
    io.emit(Ready{0});
    return verify::audit_segment(task);
}

Result<verify::AuditReport> audit_finetuning(ChildIo& io, const ChildStart& start,
                                             const model::FinetuneSpec& spec) {
    model::configure_runtime(start.runtime);
    verify::FinetuneAudit task;
    static_cast<verify::SegmentClaim&>(task) = claim_of(io, start);
    task.spec = spec;
    task.checkpoint = start.files.checkpoint;
    TRY_ASSIGN(const FolderWords words, FolderWords::open(start.folder));
    TRY_ASSIGN(auto training, read_examples(start.examples, words, spec.context));
    std::optional<model::ExampleSet> validation;
    if (spec.validation) {
        TRY_ASSIGN(validation, read_examples(start.validation, words, spec.context));
    }
    TRY_ASSIGN(task.objective,
               model::make_finetune_objective(spec, start.folder, std::move(training),
                                              std::move(validation), start.runtime.device));
    io.emit(Ready{0});
    return verify::audit_segment(std::move(task));
}

}  // namespace

Result<void> run_audit(ChildIo& io, const ChildStart& start, const model::JobSpec& spec) {
    Result<verify::AuditReport> report =
        ledger::base::fail(ErrorCode::job_spec_invalid, "only training can be audited");
    if (const auto* train = std::get_if<model::TrainSpec>(&spec))
        report = audit_training(io, start, *train);
    if (const auto* finetune = std::get_if<model::FinetuneSpec>(&spec))
        report = audit_finetuning(io, start, *finetune);
    if (!report) return tl::make_unexpected(report.error());
    io.emit(Audited{std::move(*report)});
    io.emit(Finished{start.stop_at_step});
    return {};
}

}  // namespace worker::executor
