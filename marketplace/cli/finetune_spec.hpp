// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace marketplace::cli {

/// The sizes of a published decoder, as its config.json says them.
struct ModelShape {
    std::uint64_t vocab = 0;
    std::uint64_t width = 0;
    std::uint64_t depth = 0;
    std::uint64_t heads = 0;
    std::uint64_t kv_heads = 0;
    std::uint64_t head_dim = 0;
    std::uint64_t ffn = 0;
    std::uint64_t context = 0;
    bool gated = false;
    bool fused = false;  ///< queries, keys and values in one layer
};

/// data_invalid names the field that is missing or too large; unsupported another family.
[[nodiscard]] ledger::base::Result<ModelShape> read_model_shape(std::string_view config);

/// What the options of `finetune` describe. Blobs are hashes of uploaded files.
struct FinetunePlan {
    std::map<std::string, ledger::base::Hash32> files;
    ledger::base::Hash32 data;
    std::optional<ledger::base::Hash32> validation;
    std::optional<ledger::base::Hash32> sealed;  ///< salt of a sealed job: data is sealed
    std::uint64_t rank = 16;                     ///< of LoRA; 0: every weight is trained
    std::string alpha;                           ///< empty: twice the rank
    std::vector<std::string> targets;            ///< empty: all linear layers
    bool adapter = false;                        ///< the result is the adapter alone
    bool packed = false;
    std::uint64_t context = 512;
    std::uint64_t batch = 8;
    std::uint64_t steps = 0;
    std::uint64_t segment_steps = 0;
    std::uint64_t eval_batches = 8;
    std::string learning_rate;
    std::uint64_t warmup_steps = 0;
    std::string weight_decay = "0";
    std::uint64_t seed = 7;
    std::string precision = "fp32";
};

/// Floating-point operations of one full step, or a little more: what a worker holds the job to.
/// job_limit when they pass what an order can say.
[[nodiscard]] ledger::base::Result<std::uint64_t> flops_per_step(const FinetunePlan& plan,
                                                                 const ModelShape& shape);

/// The canonical job spec. invalid_field names the option that is wrong.
[[nodiscard]] ledger::base::Result<std::string> make_finetune_spec(const FinetunePlan& plan,
                                                                   const ModelShape& shape);

}  // namespace marketplace::cli
