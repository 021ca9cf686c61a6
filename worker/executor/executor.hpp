// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"
#include "ledger/base/result.hpp"
#include "worker/model/inference.hpp"
#include "worker/model/training.hpp"
#include "worker/verify/verdict.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <variant>
#include <vector>

/// Runs jobs in children of this process and reports what they do.
namespace worker::executor {

/// The child is loaded and goes to work: billing starts here.
struct Ready {
    std::uint64_t step = 0;  // where training starts: 0 or the checkpoint's step
};
/// What became of a fine-tuning job's examples; comes once, after Ready.
struct Prepared {
    std::uint64_t examples = 0;
    std::uint64_t cut = 0;      // longer than the context
    std::uint64_t dropped = 0;  // nothing to learn, or it was cut off
    std::uint64_t tokens = 0;
};
/// Mean loss since the last one.
struct Metrics {
    std::uint64_t step = 0;
    double loss = 0;
    double gradient_norm = 0;
    double samples_per_s = 0;  // tokens (text) or images
};
struct Evaluated {
    std::uint64_t step = 0;
    double loss = 0;
    double accuracy = 0;
    std::uint64_t samples = 0;
};
/// A segment is done and its checkpoint lies in the job directory: one receipt.
struct Segment {
    std::uint64_t step = 0;   // steps done with this segment
    std::uint64_t steps = 0;  // steps of this segment alone
    double loss = 0;
    std::filesystem::path checkpoint;
    ledger::base::Hash32 sha256;
    std::uint64_t bytes = 0;
    ledger::base::TimeMs start_ms = 0;
    ledger::base::TimeMs end_ms = 0;
};
struct Token {
    std::string id;
    model::TokenPiece piece;
};
/// The vector of one input of an EmbedRequest, in the order of the inputs.
struct Embedded {
    std::string id;
    std::uint64_t index = 0;
    std::vector<float> vector;
};
/// Ends an EmbedRequest as well, with no completion tokens and no finish reason.
struct GenerationDone {
    std::string id;
    std::uint64_t prompt_tokens = 0;
    std::uint64_t completion_tokens = 0;
    std::string finish_reason;  // "stop", "length" or "cancelled"
    ledger::base::TimeMs start_ms = 0;
    ledger::base::TimeMs end_ms = 0;
};
/// One request was refused or failed; the job goes on.
struct GenerationRefused {
    std::string id;
    ledger::base::Error error;
};
/// What the audit of a segment found; comes once, before Finished.
struct Audited {
    verify::AuditReport report;
};
/// Training or an audit reached its last step. Always the last event of a job, as is `Failed`.
struct Finished {
    std::uint64_t step = 0;
};
/// The job ended otherwise: crash, out of memory, limit, bad input, or `cancelled` after stop().
struct Failed {
    ledger::base::Error error;
};

using JobEvent = std::variant<Ready, Prepared, Metrics, Evaluated, Segment, Audited, Token,
                              Embedded, GenerationDone, GenerationRefused, Finished, Failed>;

/// Called on the job's own thread, one event at a time; must not block for long and must not
/// destroy the Job from inside. Exactly one Finished or Failed comes, as the last event.
using EventSink = std::function<void(const JobEvent&)>;

struct JobLimits {
    std::uint64_t memory_bytes = 8ULL << 30;
    std::uint64_t file_bytes = 8ULL << 30;   // any one file
    std::uint64_t tmp_bytes = 256ULL << 20;  // private /tmp
    std::uint64_t seconds_max = 0;           // wall time, 0: none
    std::uint64_t start_seconds_max = 120;   // until Ready
    std::uint64_t stall_seconds_max = 600;   // training without any event
};

struct TrainTask {
    std::string spec_json;          // the job spec's canonical bytes
    std::filesystem::path job_dir;  // exists, writable, this job's alone; checkpoints land here
    model::TrainFiles files;
    std::filesystem::path folder;      // fine-tuning: the published model, with no links in it
    std::filesystem::path examples;    // fine-tuning: JSONL
    std::filesystem::path validation;  // fine-tuning: JSONL, where the spec names it
    model::RuntimeOptions runtime;
    JobLimits limits;
    std::uint64_t stop_at_step = 0;  // a slice ends here with a checkpoint; 0: the spec's last step
};

/// A segment of a training job to run again: from `files.checkpoint`, or the job's beginning, to
/// `stop_at_step`, which it is said to have ended with `claimed`.
struct AuditTask : TrainTask {
    std::filesystem::path claimed;
    ledger::base::Hash32 claimed_hash;
};

struct ServeTask {
    std::string spec_json;
    std::filesystem::path job_dir;
    std::filesystem::path weights;  // of a model of the project's own
    std::filesystem::path folder;   // or a published model's, with no links in it
    model::RuntimeOptions runtime;
    JobLimits limits;
};

struct GenerateRequest {
    std::string id;
    std::string prompt;
    model::SamplingParams params;
    std::string messages;  // instead of the prompt: JSON list of {"content","role"}
    // An input of more tokens is refused, since nobody pays for it.
    std::uint64_t prompt_tokens_max = std::numeric_limits<std::uint64_t>::max();
    // Not given: as the model's publisher advises, where he does.
    bool temperature_given = true;
    bool top_p_given = true;
    bool repetition_given = true;
};

struct EmbedRequest {
    std::string id;
    std::string inputs;  // JSON: a list of strings, or of lists of token numbers
    // As in GenerateRequest, of all inputs together.
    std::uint64_t prompt_tokens_max = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t dimensions = 0;  // refused when the model's vectors are shorter
};

/// A job under way. Destroying it kills the child and waits for it. Methods are thread-safe.
class Job {
 public:
    virtual ~Job() = default;
    /// Training waits at the next step boundary until `resume`.
    virtual void pause() = 0;
    virtual void resume() = 0;
    /// Asks the child to end; it is killed if it has not within ten seconds.
    virtual void stop() = 0;
    /// SIGKILL.
    virtual void kill() = 0;
    /// Serving only. An error here means that the child is gone or the queue is full; a refusal by
    /// the model comes as GenerationRefused.
    [[nodiscard]] virtual ledger::base::Result<void> generate(const GenerateRequest& request) = 0;
    /// Serving only; errors and refusals as for `generate`.
    [[nodiscard]] virtual ledger::base::Result<void> embed(const EmbedRequest& request) = 0;
    /// Holds a completion whose reader is slow, or lets it go on.
    virtual void pace(const std::string& id, model::TextModel::Pace pace) = 0;
    /// Ends a request; GenerationDone with "cancelled" follows.
    virtual void abort(const std::string& id) = 0;
};

class Executor {
 public:
    virtual ~Executor() = default;
    /// Checks the spec, then starts the child; errors before the start come back here.
    [[nodiscard]] virtual ledger::base::Result<std::unique_ptr<Job>> start_train(
        const TrainTask& task, EventSink sink) = 0;
    /// Audits one segment: Ready, Metrics as it goes, Audited, Finished. `Failed` is no verdict but
    /// an audit that could not be made.
    [[nodiscard]] virtual ledger::base::Result<std::unique_ptr<Job>> start_audit(
        const AuditTask& task, EventSink sink) = 0;
    [[nodiscard]] virtual ledger::base::Result<std::unique_ptr<Job>> start_serve(
        const ServeTask& task, EventSink sink) = 0;
};

}  // namespace worker::executor
