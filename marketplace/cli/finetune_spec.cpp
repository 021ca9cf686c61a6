// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/finetune_spec.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/rpc/json.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <initializer_list>
#include <utility>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using ledger::base::to_hex;
using nlohmann::json;

constexpr std::uint64_t kSizeMax = 1U << 24U;  // of one field: products of four stay in 128 bits

__extension__ using Wide = unsigned __int128;

Result<std::uint64_t> size_or(const json& config, const char* name, std::uint64_t otherwise) {
    const auto found = config.find(name);
    if (found == config.end() || found->is_null()) {
        if (otherwise != 0) return otherwise;
        return fail(ErrorCode::data_invalid, fmt::format("config.json: {} is missing", name));
    }
    if (!found->is_number_unsigned() || found->get<std::uint64_t>() == 0 ||
        found->get<std::uint64_t>() > kSizeMax)
        return fail(ErrorCode::data_invalid,
                    fmt::format("config.json: {} must be 1 to {}", name, kSizeMax));
    return found->get<std::uint64_t>();
}

Result<ModelShape> read_gpt2(const json& config) {
    ModelShape out;
    TRY_ASSIGN(out.vocab, size_or(config, "vocab_size", 0));
    TRY_ASSIGN(out.width, size_or(config, "n_embd", 0));
    TRY_ASSIGN(out.depth, size_or(config, "n_layer", 0));
    TRY_ASSIGN(out.heads, size_or(config, "n_head", 0));
    TRY_ASSIGN(out.context, size_or(config, "n_positions", 0));
    TRY_ASSIGN(out.ffn, size_or(config, "n_inner", 4 * out.width));
    out.kv_heads = out.heads;
    out.head_dim = out.width / out.heads;
    out.fused = true;
    return out;
}

Result<ModelShape> read_others(const json& config, const std::string& type) {
    ModelShape out;
    TRY_ASSIGN(out.vocab, size_or(config, "vocab_size", 0));
    TRY_ASSIGN(out.width, size_or(config, "hidden_size", 0));
    TRY_ASSIGN(out.depth, size_or(config, "num_hidden_layers", 0));
    TRY_ASSIGN(out.heads, size_or(config, "num_attention_heads", 0));
    TRY_ASSIGN(out.ffn, size_or(config, "intermediate_size", 0));
    TRY_ASSIGN(out.context, size_or(config, "max_position_embeddings", 0));
    out.kv_heads = out.heads;
    out.head_dim = std::max<std::uint64_t>(1, out.width / out.heads);
    out.fused = type == "gpt_neox";
    out.gated = !out.fused;
    if (out.fused) return out;
    TRY_ASSIGN(out.kv_heads, size_or(config, "num_key_value_heads", out.heads));
    TRY_ASSIGN(out.head_dim, size_or(config, "head_dim", type == "qwen3" ? 128 : out.head_dim));
    return out;
}

/// [in, out] of the linear layers of one layer, with the name that --targets has for each.
std::vector<std::pair<std::string_view, std::pair<Wide, Wide>>> linears_of(const ModelShape& s) {
    const Wide query = Wide{s.heads} * s.head_dim;
    const Wide kv = Wide{s.kv_heads} * s.head_dim;
    std::vector<std::pair<std::string_view, std::pair<Wide, Wide>>> out;
    if (s.fused) {
        out.push_back({"q", {s.width, query + 2 * kv}});
    } else {
        out.push_back({"q", {s.width, query}});
        out.push_back({"k", {s.width, kv}});
        out.push_back({"v", {s.width, kv}});
    }
    out.push_back({"o", {query, s.width}});
    if (s.gated) out.push_back({"gate", {s.width, s.ffn}});
    out.push_back({"up", {s.width, s.ffn}});
    out.push_back({"down", {s.ffn, s.width}});
    return out;
}

Result<void> check_plan(const FinetunePlan& plan, const ModelShape& shape) {
    if (plan.steps == 0 || plan.batch == 0)
        return fail(ErrorCode::invalid_field, "--steps and --batch must be above 0");
    if (plan.context < 8 || plan.context > shape.context)
        return fail(ErrorCode::invalid_field,
                    fmt::format("--context must be 8 to {}, which the model reads", shape.context));
    if (plan.adapter && plan.rank == 0)
        return fail(ErrorCode::invalid_field, "--adapter needs --lora");
    if (plan.precision != "fp32" && plan.precision != "bf16")
        return fail(ErrorCode::invalid_field, "--precision must be fp32 or bf16");
    return {};
}

json method_of(const FinetunePlan& plan) {
    if (plan.rank == 0) return {{"name", "full"}};
    json out{{"name", "lora"},
             {"rank", plan.rank},
             {"alpha", plan.alpha.empty() ? std::to_string(2 * plan.rank) : plan.alpha},
             {"targets", "all-linear"}};
    if (!plan.targets.empty()) out["targets"] = plan.targets;
    return out;
}

}  // namespace

Result<ModelShape> read_model_shape(std::string_view text) {
    TRY_ASSIGN(const json config, ledger::rpc::parse_json(text));
    const auto type = ledger::rpc::string_at(config, "model_type");
    if (!type) return fail(ErrorCode::data_invalid, "config.json: model_type is missing");
    for (const char* known : {"llama", "mistral", "qwen2", "qwen3", "gpt_neox"})
        if (*type == known) return read_others(config, *type);
    if (*type == "gpt2") return read_gpt2(config);
    return fail(ErrorCode::unsupported, "models of type " + *type + " are not trained");
}

Result<std::uint64_t> flops_per_step(const FinetunePlan& plan, const ModelShape& shape) {
    Wide linear = 0;
    Wide adapters = 0;
    for (const auto& [name, size] : linears_of(shape)) {
        const auto& [in, out] = size;
        linear += shape.depth * in * out;
        const bool wanted =
            plan.targets.empty() ||
            std::find(plan.targets.begin(), plan.targets.end(), name) != plan.targets.end();
        if (wanted) adapters += Wide{shape.depth} * plan.rank * (in + out);
    }
    const Wide tables = Wide{2} * shape.vocab * shape.width + Wide{shape.context} * shape.width;
    // Biases and norms are less than a thousandth of the rest in any model of use; so is this.
    const Wide small =
        Wide{16} * shape.depth * (shape.width + shape.ffn + 2 * Wide{shape.heads} * shape.head_dim);
    const Wide parameters = linear + tables + small + 2 * shape.width;
    const Wide attention = Wide{2} * shape.depth * plan.context * shape.heads * shape.head_dim;
    const Wide products = linear + Wide{shape.vocab} * shape.width;
    const Wide tokens = Wide{plan.batch} * plan.context;
    const Wide flops = plan.rank == 0
                           ? tokens * 6 * (products + attention) + 16 * parameters
                           : tokens * (4 * products + 6 * attention + 6 * adapters) + 16 * adapters;
    if (flops > UINT64_MAX / 2 || plan.batch > kSizeMax || plan.context > kSizeMax)
        return fail(ErrorCode::job_limit, "a step of this job is too large");
    return static_cast<std::uint64_t>(flops);
}

Result<std::string> make_finetune_spec(const FinetunePlan& plan, const ModelShape& shape) {
    TRY(check_plan(plan, shape));
    TRY_ASSIGN(const std::uint64_t flops, flops_per_step(plan, shape));
    json files = json::object();
    for (const auto& [name, hash] : plan.files)
        files[name] = to_hex(hash);
    json spec{{"version", 1},
              {"kind", "finetune"},
              {"files", std::move(files)},
              {"method", method_of(plan)},
              {"data", {{"format", "jsonl"}, {"blob", to_hex(plan.data)}}},
              {"context", plan.context},
              {"rows", plan.packed ? "packed" : "padded"},
              {"result", plan.adapter ? "adapter" : "merged"},
              {"batch", plan.batch},
              {"steps", plan.steps},
              {"segment_steps", plan.segment_steps},
              {"learning_rate", plan.learning_rate},
              {"warmup_steps", plan.warmup_steps},
              {"weight_decay", plan.weight_decay},
              {"seed", plan.seed},
              {"precision", plan.precision},
              {"numeric_class", "D1"},
              {"flops_per_step", flops}};
    if (plan.validation) {
        spec["validation"] = {{"format", "jsonl"}, {"blob", to_hex(*plan.validation)}};
        spec["eval_batches"] = plan.eval_batches;
    }
    if (plan.sealed) spec["sealed"] = to_hex(*plan.sealed);
    return ledger::rpc::to_text(spec);
}

}  // namespace marketplace::cli
