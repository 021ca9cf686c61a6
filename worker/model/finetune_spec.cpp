// SPDX-License-Identifier: Apache-2.0
#include "worker/model/finetune_spec.hpp"

#include "worker/model/decoder_config.hpp"
#include "worker/model/json_reader.hpp"
#include "worker/model/lora.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>
#include <utility>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Hash32;
using ledger::base::Result;

namespace {

constexpr std::uint64_t kTokensPerStepMax = 1U << 20U;
constexpr std::uint32_t kContextMax = 1U << 17U;
constexpr std::uint64_t kParametersMax = 100'000'000'000;

constexpr std::array<std::pair<std::string_view, LoraTarget>, 7> kTargets{{
    {"q", LoraTarget::kQuery},
    {"k", LoraTarget::kKey},
    {"v", LoraTarget::kValue},
    {"o", LoraTarget::kOut},
    {"gate", LoraTarget::kGate},
    {"up", LoraTarget::kUp},
    {"down", LoraTarget::kDown},
}};

__extension__ using Wide = unsigned __int128;

std::uint64_t saturated(Wide value) {
    constexpr Wide kMax = std::numeric_limits<std::uint64_t>::max();
    return static_cast<std::uint64_t>(value < kMax ? value : kMax);
}

Result<Hash32> read_data(const FieldReader& job, std::string_view name) {
    TRY_ASSIGN(const FieldReader in, job.object(name));
    TRY(in.only({"format", "blob"}));
    TRY_ASSIGN(const std::string format, in.text("format", 16));
    if (format != "jsonl") return in.refuse("format", "must be \"jsonl\"");
    return read_hash(in, "blob");
}

/// Reads {"name":"lora","rank":8,"alpha":"16","targets":["q","v"]}; "targets" may be "all-linear".
Result<LoraSpec> read_lora(const FieldReader& in, const JsonValue& method) {
    TRY(in.only({"name", "rank", "alpha", "targets"}));
    LoraSpec out;
    TRY_ASSIGN(const auto rank, in.integer("rank", 1, 1024));
    out.rank = static_cast<std::uint32_t>(rank);
    TRY_ASSIGN(out.alpha, in.decimal("alpha", 0.001, 65536));
    const auto targets = method.member("targets");
    if (targets && targets->text() != nullptr && *targets->text() == "all-linear") {
        out.all_linear = true;
        return out;
    }
    TRY_ASSIGN(const auto list, in.list("targets", kTargets.size()));
    for (const JsonValue& item : list) {
        const std::string* name = item.text();
        const auto known = std::find_if(kTargets.begin(), kTargets.end(), [&](const auto& one) {
            return name != nullptr && one.first == *name;
        });
        if (known == kTargets.end())
            return in.refuse("targets",
                             "must be \"all-linear\" or list some of q, k, v, o, gate, up, down");
        if (out.has(known->second)) return in.refuse("targets", "names one twice");
        out.targets |= static_cast<std::uint8_t>(known->second);
    }
    if (out.targets == 0) return in.refuse("targets", "is empty");
    return out;
}

Result<void> read_method(const FieldReader& job, const JsonValue& document, FinetuneSpec& spec) {
    TRY_ASSIGN(const FieldReader in, job.object("method"));
    TRY_ASSIGN(const std::string name, in.text("name", 16));
    if (name == "full") return in.only({"name"});
    if (name != "lora") return in.refuse("name", "must be \"full\" or \"lora\"");
    TRY_ASSIGN(spec.lora, read_lora(in, *document.member("method")));
    return {};
}

/// One of two words; the first when the field is absent.
template <typename Kind>
Result<Kind> read_word(const FieldReader& in, std::string_view name, std::string_view first,
                       std::string_view second) {
    if (!in.has(name)) return Kind{0};
    TRY_ASSIGN(const std::string word, in.text(name, 16));
    if (word != first && word != second)
        return in.refuse(name, fmt::format("must be \"{}\" or \"{}\"", first, second));
    return static_cast<Kind>(word == first ? 0 : 1);
}

/// Multiply-adds of the linear layers and of the adapters beside them, for one token.
struct Products {
    Wide linear = 0;
    Wide adapters = 0;
    Wide attention = 0;
};

Products products_of(const FinetuneSpec& spec, const DecoderConfig& config) {
    const DecoderLayout layout(config, "");
    Products out;
    out.linear = Wide{config.vocab} * config.width;
    for (const LinearPlace& linear : layout.linears)
        out.linear += Wide(linear.in) * Wide(linear.out);
    out.attention = Wide{2} * config.depth * spec.context * config.query_width();
    if (!spec.lora) return out;
    const auto adapters = lora_layout(layout, *spec.lora);
    for (std::size_t i = 0; adapters && i < adapters->slots.size(); ++i)
        out.adapters += adapters->slots[i].size;
    return out;
}

}  // namespace

Result<FinetuneSpec> read_finetune_spec(const FieldReader& in, const JsonValue& document) {
    TRY(in.only({"version",      "kind",          "files",          "method",        "data",
                 "validation",   "context",       "rows",           "result",        "batch",
                 "steps",        "segment_steps", "eval_batches",   "learning_rate", "warmup_steps",
                 "weight_decay", "seed",          "precision",      "optimizer",     "schedule",
                 "clip_norm",    "ranks",         "min_rate_share", "accumulate",    "early_stop",
                 "sealed",       "numeric_class", "flops_per_step"}));
    FinetuneSpec spec;
    const auto files = document.member("files");
    if (!files) return in.refuse("files", "is missing");
    TRY_ASSIGN(spec.files, read_folder_files(in, *files));
    TRY(read_method(in, document, spec));
    TRY_ASSIGN(spec.data, read_data(in, "data"));
    if (in.has("validation")) {
        TRY_ASSIGN(spec.validation, read_data(in, "validation"));
    }
    TRY_ASSIGN(const auto context, in.integer("context", 8, kContextMax));
    spec.context = static_cast<std::uint32_t>(context);
    TRY_ASSIGN(spec.rows, read_word<RowKind>(in, "rows", "padded", "packed"));
    TRY_ASSIGN(spec.result, read_word<FinetuneResult>(in, "result", "merged", "adapter"));
    if (spec.result == FinetuneResult::kAdapter && !spec.lora)
        return in.refuse("result", "\"adapter\" is for the method \"lora\"");
    TRY_ASSIGN(static_cast<LoopSpec&>(spec), read_loop_spec(in));
    if (in.has("numeric_class")) {
        TRY_ASSIGN(spec.numeric_class, in.text("numeric_class", 2));
        if (spec.numeric_class != "D1" && spec.numeric_class != "D2")
            return in.refuse("numeric_class", "must be \"D1\" or \"D2\"");
    }
    TRY_ASSIGN(spec.declared_flops_per_step,
               in.integer("flops_per_step", 1, std::numeric_limits<std::uint64_t>::max()));
    if (samples_per_step(spec) > kTokensPerStepMax)
        return fail(ErrorCode::job_limit, fmt::format("a step takes {} tokens, at most {}",
                                                      samples_per_step(spec), kTokensPerStepMax));
    return spec;
}

Result<void> check_finetune(const FinetuneSpec& spec, const DecoderConfig& config) {
    if (spec.context > config.context)
        return fail(ErrorCode::job_limit,
                    fmt::format("context is {}, the model reads at most {} tokens", spec.context,
                                config.context));
    if (parameter_count(config) > kParametersMax)
        return fail(ErrorCode::job_limit, fmt::format("the model has {} parameters, at most {}",
                                                      parameter_count(config), kParametersMax));
    if (spec.lora) TRY(lora_layout(DecoderLayout(config, ""), *spec.lora));
    const std::uint64_t flops = flops_per_step(spec, config);
    if (flops > spec.declared_flops_per_step)
        return fail(ErrorCode::job_spec_invalid,
                    fmt::format("flops_per_step is {}, the model takes {}",
                                spec.declared_flops_per_step, flops));
    return {};
}

std::uint64_t flops_per_step(const FinetuneSpec& spec, const DecoderConfig& config) {
    const Products p = products_of(spec, config);
    const Wide tokens = samples_per_step(spec);
    // 2 per multiply-add; forward, gradients of what is read, gradients of what is trained.
    if (spec.lora)
        return saturated(tokens * (4 * p.linear + 6 * p.attention + 6 * p.adapters) +
                         16 * p.adapters);
    return saturated(tokens * 6 * (p.linear + p.attention) + Wide{16} * parameter_count(config));
}

std::uint64_t samples_per_step(const FinetuneSpec& spec) noexcept {
    return std::uint64_t{spec.batch} * spec.context;
}

std::uint64_t memory_estimate(const FinetuneSpec& spec, const DecoderConfig& config) {
    constexpr Wide kRuntime = 512ULL << 20U;
    const Wide trained = spec.lora ? products_of(spec, config).adapters : parameter_count(config);
    // Values, gradients, two moments, the copy being written, and bf16 values; then sums of
    // gradients.
    const std::uint64_t sums = (spec.accumulate > 1 ? 4U : 0U) + (spec.ranks > 1 ? 8U : 0U);
    Wide bytes = kRuntime + (30 + sums) * trained;
    if (spec.lora)
        bytes += Wide{parameter_count(config)} * (spec.precision == Precision::kBf16 ? 2 : 4);
    // What a layer keeps for the backward pass, in numbers of 4 bytes.
    const Wide layer = Wide{12} * config.width + Wide{6} * config.qkv_width() +
                       Wide{6} * config.ffn + Wide{4} * config.heads * spec.context;
    const Wide tokens = Wide{micro_batch(spec)} * spec.context;
    bytes += 4 * tokens * (config.depth * layer + Wide{4} * config.vocab);
    return saturated(bytes);
}

}  // namespace worker::model
