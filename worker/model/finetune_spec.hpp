// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "worker/model/folder_files.hpp"
#include "worker/model/loop_spec.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace worker::model {

struct DecoderConfig;

/// Bits of LoraSpec::targets.
enum class LoraTarget : std::uint8_t {
    kQuery = 1,
    kKey = 2,
    kValue = 4,
    kOut = 8,
    kGate = 16,
    kUp = 32,
    kDown = 64
};

struct LoraSpec {
    std::uint32_t rank = 0;
    double alpha = 0;
    std::uint8_t targets = 0;
    bool all_linear = false;  // whatever the model has of them

    [[nodiscard]] double scale() const noexcept { return alpha / rank; }
    [[nodiscard]] bool has(LoraTarget target) const noexcept {
        return (targets & static_cast<std::uint8_t>(target)) != 0;
    }
};

/// kPadded: one example a row. kPacked: as many as fit, which do not see each other.
enum class RowKind : std::uint8_t { kPadded = 0, kPacked = 1 };
/// What the job's last checkpoint is: whole weights to be served, or LoRA's adapter alone.
enum class FinetuneResult : std::uint8_t { kMerged = 0, kAdapter = 1 };

/// Training on of a published folder. Kind "finetune".
struct FinetuneSpec : LoopSpec {
    FileBlobs files;
    std::optional<LoraSpec> lora;                    // none: every weight is trained
    ledger::base::Hash32 data;                       // JSONL
    std::optional<ledger::base::Hash32> validation;  // JSONL; none: no evaluations
    std::uint32_t context = 0;                       // tokens a row, at most
    RowKind rows = RowKind::kPadded;
    FinetuneResult result = FinetuneResult::kMerged;
    std::string numeric_class = "D1";
    /// As the buyer declared it; at least `flops_per_step(spec, config)`.
    std::uint64_t declared_flops_per_step = 0;
};

/// Reads a "finetune" job spec. job_spec_invalid names the field that is wrong; job_limit.
[[nodiscard]] ledger::base::Result<FinetuneSpec> read_finetune_spec(const FieldReader& in,
                                                                    const JsonValue& document);

/// What only the folder's config tells: unsupported, job_limit (a context longer than the model's,
/// or more parameters than are trained).
[[nodiscard]] ledger::base::Result<void> check_finetune(const FinetuneSpec& spec,
                                                        const DecoderConfig& config);

/// Floating-point operations of one step from the op graph, all rows full: products forward and
/// for the gradients that are needed (of frozen weights: none), plus 16 per trained parameter.
/// Saturates.
[[nodiscard]] std::uint64_t flops_per_step(const FinetuneSpec& spec, const DecoderConfig& config);

/// Tokens that one step takes at most.
[[nodiscard]] std::uint64_t samples_per_step(const FinetuneSpec& spec) noexcept;

/// An upper estimate of the memory the job needs, in bytes.
[[nodiscard]] std::uint64_t memory_estimate(const FinetuneSpec& spec, const DecoderConfig& config);

}  // namespace worker::model
