// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/model/checkpoint.hpp"
#include "worker/model/model_spec.hpp"
#include "worker/model/objective.hpp"
#include "worker/model/rank_group.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace worker::model {

/// The input files of a training job; which ones are needed follows from the spec.
struct TrainFiles {
    std::filesystem::path text;
    std::filesystem::path images;
    std::filesystem::path labels;
    std::optional<std::filesystem::path> init;        // weights to start from
    std::optional<std::filesystem::path> checkpoint;  // goes on from here, bit for bit
};

/// Where the trained parameters start from; neither: their initial values by the seed.
struct StartFiles {
    std::optional<std::filesystem::path> init;
    std::optional<std::filesystem::path> checkpoint;
};

struct RuntimeOptions {
    int threads = 1;             // part of the D1 profile: another count gives other bits
    std::string device = "cpu";  // "cpu" or "cuda"
};

/// What some steps reported, averaged over them.
struct StepReport {
    std::uint64_t step = 0;  // steps done so far
    double loss = 0;
    double gradient_norm = 0;
};

struct EvalReport {
    std::uint64_t step = 0;
    double loss = 0;
    double accuracy = 0;  // share of right next bytes or labels
    std::uint64_t samples = 0;
};

/// Sets thread counts and deterministic algorithms for this process; call once, before any run.
void configure_runtime(const RuntimeOptions& options);

/// "libtorch-1.13.1-cpu": goes into the resource document.
[[nodiscard]] std::string runtime_name();

/// One training job in this process. Single-threaded use; torch stays behind the wall.
class TrainingRun {
 public:
    /// Trains one of the project's own models.
    [[nodiscard]] static ledger::base::Result<TrainingRun> create(const TrainSpec& spec,
                                                                  const TrainFiles& files,
                                                                  const RuntimeOptions& options);
    /// The same loop over any objective, whose tensors are on `options.device`. The objective's
    /// layout must not change while the run lives.
    [[nodiscard]] static ledger::base::Result<TrainingRun> start(
        const LoopSpec& spec, std::unique_ptr<Objective> objective, const StartFiles& files,
        const RuntimeOptions& options);
    ~TrainingRun();
    TrainingRun(TrainingRun&&) noexcept;
    TrainingRun& operator=(TrainingRun&&) noexcept;

    /// From now on this process does one rank's part of every step, and the group the others'; all
    /// are at the same step. Without a group this process does all ranks' parts, to the same bits.
    void join(std::unique_ptr<RankGroup> group) noexcept;

    /// Steps done, counted from the job's start and not from the checkpoint.
    [[nodiscard]] std::uint64_t step() const noexcept;

    /// Runs `count` steps (never past the spec's) and reads the loss back once.
    /// worker_failed when the loss stops being a finite number.
    [[nodiscard]] ledger::base::Result<StepReport> advance(std::uint64_t count);

    /// Loss and accuracy on the held-out tail. Changes no state but the patience of a job that may
    /// stop early: such a job evaluates where `evaluation_due`, before that step's checkpoint.
    /// data_invalid when such a job has nothing held out.
    [[nodiscard]] ledger::base::Result<EvalReport> evaluate();

    /// The patience of the spec's early stop is used up: no more steps, though `advance` would.
    [[nodiscard]] bool stopped_early() const noexcept;

    /// Writes parameters, both moments, step and data position as safetensors, atomically.
    [[nodiscard]] ledger::base::Result<CheckpointInfo> save_checkpoint(
        const std::filesystem::path& path);

    /// Copies the state now and writes it on another thread while training goes on.
    /// At most one is under way; `finish_checkpoint` waits for it and returns its result. Where
    /// training ends it is what the objective leaves.
    void begin_checkpoint(const std::filesystem::path& path);
    [[nodiscard]] bool checkpoint_ready() const noexcept;
    [[nodiscard]] ledger::base::Result<CheckpointInfo> finish_checkpoint();

    /// SHA-256 over all parameter bytes in file order.
    [[nodiscard]] ledger::base::Hash32 parameters_hash() const;

 private:
    struct State;
    explicit TrainingRun(std::unique_ptr<State> state) noexcept;
    std::unique_ptr<State> state_;
};

}  // namespace worker::model
