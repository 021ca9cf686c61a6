// SPDX-License-Identifier: Apache-2.0
#include "worker/model/hf_config.hpp"

#include "worker/model/json_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr std::size_t kJsonBytesMax = 1U << 20U;
constexpr std::size_t kDepthMax = 32;
constexpr std::size_t kEndTokensMax = 64;

/// The fields of one object of a stranger's file. A null counts as absent, as in the programs that
/// write these files. Sizes are read up to 2^31 and bounded by check_decoder_config.
class Fields {
 public:
    Fields(JsonValue object, std::string path)
        : object_(std::move(object)), path_(std::move(path)) {}

    [[nodiscard]] std::optional<JsonValue> find(std::string_view name) const {
        auto value = object_.member(name);
        if (value && value->is_null()) value.reset();
        return value;
    }
    [[nodiscard]] tl::unexpected<ledger::base::Error> invalid(std::string_view name,
                                                              std::string_view why) const {
        return fail(ErrorCode::data_invalid, fmt::format("{}{} {}", path_, name, why));
    }
    [[nodiscard]] tl::unexpected<ledger::base::Error> unsupported(std::string_view name,
                                                                  std::string_view value) const {
        return fail(ErrorCode::unsupported,
                    fmt::format("{}{} {} is not supported", path_, name, value.substr(0, 100)));
    }

    [[nodiscard]] Result<std::optional<std::uint32_t>> size(std::string_view name) const {
        const auto value = find(name);
        if (!value) return std::nullopt;
        const auto number = value->number();
        if (!number || *number > 0x7FFFFFFF) return invalid(name, "must be an integer below 2^31");
        return static_cast<std::uint32_t>(*number);
    }
    [[nodiscard]] Result<std::uint32_t> size_of(std::string_view name) const {
        TRY_ASSIGN(const auto found, size(name));
        if (!found) return invalid(name, "is missing");
        return *found;
    }
    [[nodiscard]] Result<std::uint32_t> size_or(std::string_view name,
                                                std::uint32_t otherwise) const {
        TRY_ASSIGN(const auto found, size(name));
        return found.value_or(otherwise);
    }
    [[nodiscard]] Result<std::optional<double>> real(std::string_view name, double min,
                                                     double max) const {
        const auto value = find(name);
        if (!value) return std::nullopt;
        const auto number = value->real();
        if (!number) return invalid(name, "must be a number");
        if (*number < min || *number > max)
            return invalid(name, fmt::format("is {}, allowed are {} to {}", *number, min, max));
        return number;
    }
    [[nodiscard]] Result<double> real_or(std::string_view name, double min, double max,
                                         double otherwise) const {
        TRY_ASSIGN(const auto found, real(name, min, max));
        return found.value_or(otherwise);
    }
    [[nodiscard]] Result<bool> flag_or(std::string_view name, bool otherwise) const {
        const auto value = find(name);
        if (!value) return otherwise;
        const auto flag = value->flag();
        if (!flag) return invalid(name, "must be true or false");
        return *flag;
    }
    [[nodiscard]] Result<std::optional<std::string>> text(std::string_view name) const {
        const auto value = find(name);
        if (!value) return std::nullopt;
        if (value->text() == nullptr) return invalid(name, "must be a string");
        return *value->text();
    }
    [[nodiscard]] Result<std::optional<Fields>> object(std::string_view name) const {
        const auto value = find(name);
        if (!value) return std::nullopt;
        if (!value->is_object()) return invalid(name, "must be an object");
        return Fields(*value, fmt::format("{}{}.", path_, name));
    }

 private:
    JsonValue object_;
    std::string path_;
};

Result<Fields> parse_file(std::string_view json, std::string_view name) {
    if (json.size() > kJsonBytesMax)
        return fail(ErrorCode::data_invalid, fmt::format("{} is longer than 1 MiB", name));
    const auto parsed = JsonValue::parse(json, kDepthMax);
    if (!parsed)
        return fail(ErrorCode::data_invalid, fmt::format("{}: {}", name, parsed.error().detail()));
    if (!parsed->is_object())
        return fail(ErrorCode::data_invalid, fmt::format("{} must be an object", name));
    return Fields(*parsed, fmt::format("{}: ", name));
}

enum class Family : std::uint8_t { kLlama, kMistral, kQwen2, kQwen3, kGpt2, kNeox };
struct FamilyRow {
    Family family;
    std::string_view architecture;
    std::string_view model_type;
};
constexpr std::array<FamilyRow, 6> kFamilies{{
    {Family::kLlama, "LlamaForCausalLM", "llama"},
    {Family::kMistral, "MistralForCausalLM", "mistral"},
    {Family::kQwen2, "Qwen2ForCausalLM", "qwen2"},
    {Family::kQwen3, "Qwen3ForCausalLM", "qwen3"},
    {Family::kGpt2, "GPT2LMHeadModel", "gpt2"},
    {Family::kNeox, "GPTNeoXForCausalLM", "gpt_neox"},
}};

Result<Family> family_of(const Fields& in) {
    TRY_ASSIGN(const auto type, in.text("model_type"));
    const auto* found = kFamilies.end();
    if (const auto list = in.find("architectures")) {
        const auto items = list->items();
        if (items.size() != 1 || items[0].text() == nullptr)
            return in.invalid("architectures", "must be a list of one name");
        const std::string& name = *items[0].text();
        found = std::find_if(kFamilies.begin(), kFamilies.end(),
                             [&](const FamilyRow& row) { return row.architecture == name; });
        if (found == kFamilies.end()) return in.unsupported("architectures", name);
        if (type && *type != found->model_type)
            return in.invalid("model_type", "contradicts architectures");
        return found->family;
    }
    if (!type) return in.invalid("architectures", "is missing");
    found = std::find_if(kFamilies.begin(), kFamilies.end(),
                         [&](const FamilyRow& row) { return row.model_type == *type; });
    if (found == kFamilies.end()) return in.unsupported("model_type", *type);
    return found->family;
}

Result<Activation> activation_of(const Fields& in, std::string_view name, std::string otherwise) {
    TRY_ASSIGN(const auto given, in.text(name));
    const std::string value = given.value_or(std::move(otherwise));
    if (value == "silu" || value == "swish") return Activation::kSilu;
    if (value == "gelu") return Activation::kGelu;
    if (value == "gelu_new" || value == "gelu_pytorch_tanh" || value == "gelu_fast")
        return Activation::kGeluTanh;
    return in.unsupported(name, value);
}

/// The other value changes the numbers in a way that is not implemented.
Result<void> expect_flag(const Fields& in, std::string_view name, bool expected) {
    TRY_ASSIGN(const bool value, in.flag_or(name, expected));
    if (value != expected) return in.unsupported(name, value ? "true" : "false");
    return {};
}

double yarn_magnitude(double factor, double scale) {
    return factor <= 1.0 ? 1.0 : 0.1 * scale * std::log(factor) + 1.0;
}

Result<void> read_yarn(const Fields& in, RopeConfig& rope) {
    TRY_ASSIGN(rope.beta_fast, in.real_or("beta_fast", 1e-3, 1e6, 32.0));
    TRY_ASSIGN(rope.beta_slow, in.real_or("beta_slow", 1e-3, 1e6, 1.0));
    TRY_ASSIGN(rope.truncate, in.flag_or("truncate", true));
    if (rope.beta_fast < rope.beta_slow) return in.invalid("beta_fast", "is below beta_slow");
    TRY_ASSIGN(const auto scale, in.real("mscale", 0, 100));
    TRY_ASSIGN(const auto scale_all, in.real("mscale_all_dim", 0, 100));
    double magnitude = yarn_magnitude(rope.factor, 1.0);
    if (scale.value_or(0) > 0 && scale_all.value_or(0) > 0)
        magnitude = yarn_magnitude(rope.factor, *scale) / yarn_magnitude(rope.factor, *scale_all);
    TRY_ASSIGN(rope.magnitude, in.real_or("attention_factor", 1e-3, 1e3, magnitude));
    return {};
}

Result<void> read_llama3(const Fields& in, RopeConfig& rope) {
    for (const std::string_view name : {"low_freq_factor", "high_freq_factor"})
        if (!in.find(name)) return in.invalid(name, "is missing");
    TRY_ASSIGN(rope.low_frequency, in.real_or("low_freq_factor", 1e-3, 1e6, 1.0));
    TRY_ASSIGN(rope.high_frequency, in.real_or("high_freq_factor", 1e-3, 1e6, 4.0));
    if (rope.high_frequency <= rope.low_frequency)
        return in.invalid("high_freq_factor", "must be above low_freq_factor");
    return {};
}

/// The scaling in `in`, and what it makes of the context.
Result<void> read_scaling(const Fields& in, RopeConfig& rope, std::uint32_t& context) {
    TRY_ASSIGN(const auto kind, in.text("rope_type"));
    TRY_ASSIGN(const auto old_kind, in.text("type"));
    if (kind && old_kind && *kind != *old_kind) return in.invalid("type", "contradicts rope_type");
    const std::string name = kind ? *kind : old_kind.value_or("default");
    if (name == "default") return {};
    if (name == "linear") {
        rope.scaling = RopeScaling::kLinear;
    } else if (name == "dynamic") {
        rope.scaling = RopeScaling::kDynamic;
    } else if (name == "llama3") {
        rope.scaling = RopeScaling::kLlama3;
    } else if (name == "yarn") {
        rope.scaling = RopeScaling::kYarn;
    } else {
        return in.unsupported("rope_type", name);
    }
    if (!in.find("factor")) return in.invalid("factor", "is missing");
    TRY_ASSIGN(rope.factor, in.real_or("factor", 1.0, 1024.0, 1.0));
    TRY_ASSIGN(rope.trained_context, in.size_or("original_max_position_embeddings", context));
    if (rope.trained_context == 0)
        return in.invalid("original_max_position_embeddings", "must not be 0");
    if (rope.scaling == RopeScaling::kLlama3) {
        if (!in.find("original_max_position_embeddings"))
            return in.invalid("original_max_position_embeddings", "is missing");
        TRY(read_llama3(in, rope));
    }
    if (rope.scaling == RopeScaling::kYarn) TRY(read_yarn(in, rope));
    // Llama 3 states the scaled length itself; the others state the trained one.
    if (rope.scaling != RopeScaling::kLlama3) {
        const double scaled = std::floor(rope.trained_context * rope.factor);
        context = std::max(context, static_cast<std::uint32_t>(std::min(scaled, 2147483647.0)));
    }
    return {};
}

struct RopeDefaults {
    std::string_view theta_name;
    double theta;
    double share;  // of the head that turns
};

/// Reads `rope_scaling` and the theta beside it, or the newer `rope_parameters` that hold both.
Result<void> read_rope(const Fields& in, const RopeDefaults& defaults, DecoderConfig& out) {
    RopeConfig& rope = out.rope;
    TRY_ASSIGN(const auto beside, in.real(defaults.theta_name, 1.0, 1e12));
    TRY_ASSIGN(const auto scaling, in.object("rope_scaling"));
    TRY_ASSIGN(const auto parameters, in.object("rope_parameters"));
    if (scaling && parameters) return in.invalid("rope_scaling", "and rope_parameters are given");
    rope.theta = beside.value_or(defaults.theta);
    rope.trained_context = out.context;
    double share = defaults.share;
    if (parameters) {
        TRY_ASSIGN(rope.theta, parameters->real_or("rope_theta", 1.0, 1e12, rope.theta));
        if (beside && *beside != rope.theta)
            return in.invalid(defaults.theta_name, "contradicts rope_parameters.rope_theta");
        TRY_ASSIGN(share, parameters->real_or("partial_rotary_factor", 0.0, 1.0, share));
        TRY(read_scaling(*parameters, rope, out.context));
    }
    if (scaling) TRY(read_scaling(*scaling, rope, out.context));
    rope.dims = static_cast<std::uint32_t>(out.head_dim * share);
    if (rope.dims < 2 || rope.dims % 2 != 0)
        return in.invalid("head_dim", fmt::format("gives {} rotary dimensions", rope.dims));
    if (rope.scaling == RopeScaling::kDynamic && rope.dims < 4)
        return in.invalid("rope_scaling", "dynamic needs 4 rotary dimensions");
    if (rope.scaling == RopeScaling::kYarn && rope.theta <= 1.0)
        return in.invalid(defaults.theta_name, "must be above 1");
    return {};
}

/// Width of a head where no field says it.
Result<std::uint32_t> divided_head(const Fields& in, std::string_view name, std::uint32_t width,
                                   std::uint32_t heads) {
    if (heads == 0 || width % heads != 0)
        return in.invalid(name, fmt::format("{} does not divide the width {}", heads, width));
    return width / heads;
}

/// Which layers look through a window (Mistral: all; Qwen: those from max_window_layers on).
Result<void> read_windows(const Fields& in, Family family, DecoderConfig& out) {
    out.windows.assign(std::min<std::uint32_t>(out.depth, 512), 0);
    TRY_ASSIGN(auto window, in.size("sliding_window"));
    std::uint32_t first = 0;
    if (family == Family::kQwen2 || family == Family::kQwen3) {
        TRY_ASSIGN(const bool used, in.flag_or("use_sliding_window", false));
        if (!used) window.reset();
        if (used && !window) return in.invalid("sliding_window", "is missing");
        TRY_ASSIGN(first, in.size_or("max_window_layers", 28));
    } else if (family != Family::kMistral) {
        if (window) return in.unsupported("sliding_window", "of this architecture");
    }
    if (window && *window == 0) return in.invalid("sliding_window", "must not be 0");
    const auto types = in.find("layer_types");
    if (!types) {
        for (std::size_t i = first; window && i < out.windows.size(); ++i)
            out.windows[i] = *window;
        return {};
    }
    const auto items = types->items();
    if (items.size() != out.depth)
        return in.invalid("layer_types", "does not have num_hidden_layers items");
    for (std::size_t i = 0; i < items.size() && i < out.windows.size(); ++i) {
        const std::string* name = items[i].text();
        if (name == nullptr) return in.invalid("layer_types", "holds only strings");
        if (*name == "full_attention") continue;
        if (*name != "sliding_attention") return in.unsupported("layer_types", *name);
        if (!window) return in.invalid("layer_types", "slides, but there is no sliding_window");
        out.windows[i] = *window;
    }
    return {};
}

/// Llama, Mistral, Qwen2 and Qwen3 differ in biases, norms of heads and windows.
Result<DecoderConfig> read_llama(const Fields& in, Family family) {
    DecoderConfig out;
    out.names = WeightNames::kLlama;
    TRY_ASSIGN(out.vocab, in.size_of("vocab_size"));
    TRY_ASSIGN(out.width, in.size_of("hidden_size"));
    TRY_ASSIGN(out.depth, in.size_of("num_hidden_layers"));
    TRY_ASSIGN(out.heads, in.size_of("num_attention_heads"));
    TRY_ASSIGN(out.kv_heads, in.size_or("num_key_value_heads", out.heads));
    TRY_ASSIGN(out.ffn, in.size_of("intermediate_size"));
    TRY_ASSIGN(out.context, in.size_of("max_position_embeddings"));
    TRY_ASSIGN(const auto head, in.size("head_dim"));
    if (head) {
        out.head_dim = *head;
    } else if (family == Family::kQwen3) {
        out.head_dim = 128;
    } else {
        TRY_ASSIGN(out.head_dim, divided_head(in, "num_attention_heads", out.width, out.heads));
    }
    TRY_ASSIGN(out.norm_epsilon, in.real_or("rms_norm_eps", 0.0, 1.0, 1e-6));
    TRY_ASSIGN(out.activation, activation_of(in, "hidden_act", "silu"));
    TRY_ASSIGN(out.tied_head, in.flag_or("tie_word_embeddings", false));
    if (family == Family::kLlama || family == Family::kQwen3) {
        TRY_ASSIGN(out.qkv_bias, in.flag_or("attention_bias", false));
        out.attention_out_bias = out.qkv_bias;
    } else {
        out.qkv_bias = family == Family::kQwen2;
        TRY(expect_flag(in, "attention_bias", out.qkv_bias));
    }
    if (family == Family::kLlama) {
        TRY_ASSIGN(out.mlp_bias, in.flag_or("mlp_bias", false));
    } else {
        TRY(expect_flag(in, "mlp_bias", false));
    }
    out.qk_norm = family == Family::kQwen3;
    TRY_ASSIGN(const double share, in.real_or("partial_rotary_factor", 0.0, 1.0, 1.0));
    if (share != 1.0) return in.unsupported("partial_rotary_factor", "other than 1");
    TRY(read_rope(in, {"rope_theta", 10000.0, 1.0}, out));
    if (out.rope.dims != out.head_dim)
        return in.unsupported("rope_parameters.partial_rotary_factor", "other than 1");
    TRY(read_windows(in, family, out));
    return out;
}

Result<DecoderConfig> read_gpt2(const Fields& in) {
    GptShape shape;
    TRY_ASSIGN(shape.vocab, in.size_of("vocab_size"));
    TRY_ASSIGN(shape.width, in.size_of("n_embd"));
    TRY_ASSIGN(shape.depth, in.size_of("n_layer"));
    TRY_ASSIGN(shape.heads, in.size_of("n_head"));
    TRY_ASSIGN(shape.context, in.size_of("n_positions"));
    TRY(divided_head(in, "n_head", shape.width, shape.heads));
    if (shape.depth > 512 || shape.width > (1U << 16U))
        return fail(ErrorCode::job_limit, "n_layer passes 512 or n_embd 65536");
    DecoderConfig out = decoder_config_of(shape);
    TRY_ASSIGN(out.ffn, in.size_or("n_inner", 4 * shape.width));
    TRY_ASSIGN(out.norm_epsilon, in.real_or("layer_norm_epsilon", 0.0, 1.0, 1e-5));
    TRY_ASSIGN(out.activation, activation_of(in, "activation_function", "gelu_new"));
    TRY_ASSIGN(out.tied_head, in.flag_or("tie_word_embeddings", true));
    TRY(expect_flag(in, "scale_attn_weights", true));
    TRY(expect_flag(in, "scale_attn_by_inverse_layer_idx", false));
    TRY(expect_flag(in, "add_cross_attention", false));
    return out;
}

Result<DecoderConfig> read_neox(const Fields& in) {
    DecoderConfig out;
    out.names = WeightNames::kNeox;
    TRY_ASSIGN(out.vocab, in.size_of("vocab_size"));
    TRY_ASSIGN(out.width, in.size_of("hidden_size"));
    TRY_ASSIGN(out.depth, in.size_of("num_hidden_layers"));
    TRY_ASSIGN(out.heads, in.size_of("num_attention_heads"));
    out.kv_heads = out.heads;
    TRY_ASSIGN(out.ffn, in.size_of("intermediate_size"));
    TRY_ASSIGN(out.context, in.size_of("max_position_embeddings"));
    TRY_ASSIGN(out.head_dim, divided_head(in, "num_attention_heads", out.width, out.heads));
    out.norm = NormKind::kLayerNorm;
    TRY_ASSIGN(out.norm_epsilon, in.real_or("layer_norm_eps", 0.0, 1.0, 1e-5));
    TRY_ASSIGN(out.activation, activation_of(in, "hidden_act", "gelu"));
    out.mlp = MlpKind::kPlain;
    out.mlp_bias = true;
    TRY_ASSIGN(out.qkv_bias, in.flag_or("attention_bias", true));
    out.attention_out_bias = out.qkv_bias;
    TRY_ASSIGN(const bool parallel, in.flag_or("use_parallel_residual", true));
    out.residual = parallel ? Residual::kParallel : Residual::kSequential;
    TRY_ASSIGN(out.tied_head, in.flag_or("tie_word_embeddings", false));
    TRY_ASSIGN(const double share, in.real_or("rotary_pct", 0.0, 1.0, 0.25));
    TRY(read_rope(in, {"rotary_emb_base", 10000.0, share}, out));
    TRY(read_windows(in, Family::kNeox, out));
    return out;
}

}  // namespace

Result<DecoderConfig> parse_hf_config(std::string_view json) {
    TRY_ASSIGN(const Fields in, parse_file(json, "config.json"));
    TRY_ASSIGN(const Family family, family_of(in));
    for (const std::string_view name : {"quantization_config", "compression_config"})
        if (in.find(name)) return in.unsupported(name, "(weights that are quantised already)");
    TRY(expect_flag(in, "is_encoder_decoder", false));
    DecoderConfig out;
    if (family == Family::kGpt2) {
        TRY_ASSIGN(out, read_gpt2(in));
    } else if (family == Family::kNeox) {
        TRY_ASSIGN(out, read_neox(in));
    } else {
        TRY_ASSIGN(out, read_llama(in, family));
    }
    TRY(check_decoder_config(out));
    return out;
}

Result<GenerationDefaults> parse_generation_config(std::string_view json, std::uint32_t vocab) {
    TRY_ASSIGN(const Fields in, parse_file(json, "generation_config.json"));
    GenerationDefaults out;
    if (const auto end = in.find("eos_token_id")) {
        const auto items = end->is_array() ? end->items() : std::vector<JsonValue>{*end};
        if (items.size() > kEndTokensMax) return in.invalid("eos_token_id", "lists more than 64");
        for (const JsonValue& item : items) {
            const auto token = item.number();
            if (!token || *token >= vocab)
                return in.invalid("eos_token_id", "is no token of the vocabulary");
            out.end_tokens.push_back(static_cast<std::uint32_t>(*token));
        }
    }
    TRY_ASSIGN(out.temperature, in.real("temperature", 0.0, 100.0));
    TRY_ASSIGN(const bool sampled, in.flag_or("do_sample", true));
    if (!sampled) out.temperature = 0.0;
    TRY_ASSIGN(out.top_p, in.real("top_p", 0.0, 1.0));
    TRY_ASSIGN(out.top_k, in.size("top_k"));
    TRY_ASSIGN(out.repetition_penalty, in.real("repetition_penalty", 0.01, 10.0));
    return out;
}

}  // namespace worker::model
