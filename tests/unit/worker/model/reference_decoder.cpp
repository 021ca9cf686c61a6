// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/worker/model/reference_decoder.hpp"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <numbers>
#include <string>

namespace worker::model::test {

using at::Tensor;
using nlohmann::json;

namespace {

class Reference {
 public:
    Reference(const RandomModel& model, std::int64_t tokens)
        : model_(model), config_(json::parse(model.config)), tokens_(tokens) {}

    Tensor run(const Tensor& ids) {
        const std::string family = config_.at("model_type");
        if (family == "gpt2") return gpt2(ids);
        if (family == "gpt_neox") return neox(ids);
        return llama(ids, family);
    }

 private:
    [[nodiscard]] Tensor get(const std::string& name) const {
        const RandomTensor& t = model_.tensors.at(name);
        return at::from_blob(const_cast<float*>(t.values.data()), t.shape, at::kFloat)
            .to(at::kDouble);
    }
    [[nodiscard]] Tensor linear(const Tensor& x, const std::string& name) const {
        Tensor y = at::matmul(x, get(name + ".weight").t());
        if (model_.tensors.count(name + ".bias") > 0) y = y + get(name + ".bias");
        return y;
    }
    [[nodiscard]] Tensor conv1d(const Tensor& x, const std::string& name) const {
        return at::matmul(x, get(name + ".weight")) + get(name + ".bias");
    }
    [[nodiscard]] static Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
        return x * at::rsqrt(x.pow(2).mean(-1, true) + eps) * weight;
    }
    [[nodiscard]] Tensor layer_norm(const Tensor& x, const std::string& name, double eps) const {
        const Tensor centred = x - x.mean(-1, true);
        return centred * at::rsqrt(centred.pow(2).mean(-1, true) + eps) * get(name + ".weight") +
               get(name + ".bias");
    }
    [[nodiscard]] static Tensor activate(const Tensor& x, const std::string& name) {
        if (name == "silu") return x * at::sigmoid(x);
        if (name == "gelu") return 0.5 * x * (1.0 + at::erf(x / std::sqrt(2.0)));
        const Tensor inner = std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x.pow(3));
        return 0.5 * x * (1.0 + at::tanh(inner));
    }

    /// q [heads][t][d], k and v [kv heads][t][d] → [t][heads · d].
    [[nodiscard]] Tensor attend(const Tensor& q, Tensor k, Tensor v, std::int64_t window) const {
        const std::int64_t groups = q.size(0) / k.size(0);
        k = k.repeat_interleave(groups, 0);
        v = v.repeat_interleave(groups, 0);
        Tensor scores =
            at::matmul(q, k.transpose(1, 2)) / std::sqrt(static_cast<double>(q.size(2)));
        const Tensor i = at::arange(tokens_).unsqueeze(1);
        const Tensor j = at::arange(tokens_).unsqueeze(0);
        Tensor hidden = j > i;
        if (window > 0) hidden = hidden.logical_or(j <= i - window);
        scores = scores.masked_fill(hidden, -INFINITY);
        return at::matmul(at::softmax(scores, -1), v).transpose(0, 1).reshape({tokens_, -1});
    }

    /// Turns the first `rotary` numbers of each head of x [heads][t][d].
    static Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin,
                         std::int64_t rotary) {
        const Tensor turned = x.narrow(-1, 0, rotary);
        const Tensor half = at::cat(
            {-turned.narrow(-1, rotary / 2, rotary / 2), turned.narrow(-1, 0, rotary / 2)}, -1);
        return at::cat({turned * cos + half * sin, x.narrow(-1, rotary, x.size(-1) - rotary)}, -1);
    }

    struct Angles {
        Tensor cos;
        Tensor sin;
    };
    [[nodiscard]] Angles angles(std::int64_t dim, double base) const {
        json rope = json::object();
        for (const char* name : {"rope_scaling", "rope_parameters"})
            if (config_.contains(name) && config_[name].is_object()) rope = config_[name];
        base = rope.value("rope_theta", base);
        const std::string type = rope.value("rope_type", rope.value("type", "default"));
        const double context = config_.at("max_position_embeddings");
        const double factor = rope.value("factor", 1.0);
        double magnitude = 1.0;
        Tensor rows = at::empty({tokens_, dim / 2}, at::kDouble);
        for (std::int64_t t = 0; t < tokens_; ++t) {
            double theta = base;
            const double length = std::max(static_cast<double>(t + 1), context);
            if (type == "dynamic")
                theta *= std::pow(factor * length / context - (factor - 1),
                                  static_cast<double>(dim) / static_cast<double>(dim - 2));
            Tensor inv =
                1.0 / at::pow(theta, at::arange(0, dim, 2, at::kDouble) / static_cast<double>(dim));
            if (type == "linear") inv = inv / factor;
            if (type == "llama3") inv = llama3(inv, rope);
            if (type == "yarn") inv = yarn(inv, rope, dim, theta, magnitude);
            rows[t] = inv * static_cast<double>(t);
        }
        const Tensor both = at::cat({rows, rows}, -1);
        return {both.cos() * magnitude, both.sin() * magnitude};
    }
    [[nodiscard]] static Tensor llama3(const Tensor& inv, const json& rope) {
        const double factor = rope.at("factor");
        const double low = rope.at("low_freq_factor");
        const double high = rope.at("high_freq_factor");
        const double old = rope.at("original_max_position_embeddings");
        const Tensor wave = 2 * std::numbers::pi / inv;
        const Tensor scaled = at::where(wave > old / low, inv / factor, inv);
        const Tensor smooth = (old / wave - low) / (high - low);
        const Tensor smoothed = (1 - smooth) * scaled / factor + smooth * scaled;
        const Tensor medium = (wave >= old / high).logical_and(wave <= old / low);
        return at::where(medium, smoothed, scaled);
    }
    [[nodiscard]] Tensor yarn(const Tensor& extrapolated, const json& rope, std::int64_t dim,
                              double base, double& magnitude) const {
        const double factor = rope.at("factor");
        const double context = config_.at("max_position_embeddings");
        const double old = rope.value("original_max_position_embeddings", context);
        const auto mscale = [&](double scale) { return 0.1 * scale * std::log(factor) + 1.0; };
        magnitude = mscale(1.0);
        if (rope.contains("mscale") && rope.contains("mscale_all_dim"))
            magnitude = mscale(rope["mscale"]) / mscale(rope["mscale_all_dim"]);
        if (rope.contains("attention_factor")) magnitude = rope["attention_factor"];
        const auto place = [&](double rotations) {
            return static_cast<double>(dim) * std::log(old / (rotations * 2 * std::numbers::pi)) /
                   (2 * std::log(base));
        };
        double low = place(rope.value("beta_fast", 32.0));
        double high = place(rope.value("beta_slow", 1.0));
        if (rope.value("truncate", true)) {
            low = std::floor(low);
            high = std::ceil(high);
        }
        low = std::max(low, 0.0);
        high = std::min(high, static_cast<double>(dim - 1));
        if (low == high) high += 0.001;
        const Tensor ramp =
            at::clamp((at::arange(dim / 2).to(at::kDouble) - low) / (high - low), 0, 1);
        return extrapolated / factor * ramp + extrapolated * (1 - ramp);
    }

    [[nodiscard]] std::int64_t llama_window(const std::string& family, std::int64_t layer) const {
        if (!config_.contains("sliding_window") || config_["sliding_window"].is_null()) return 0;
        const std::int64_t window = config_["sliding_window"];
        if (family == "mistral") return window;
        if (!config_.value("use_sliding_window", false)) return 0;
        if (config_.contains("layer_types"))
            return config_["layer_types"][static_cast<std::size_t>(layer)] == "sliding_attention"
                       ? window
                       : 0;
        return layer >= config_.value("max_window_layers", 28) ? window : 0;
    }

    Tensor llama(const Tensor& ids, const std::string& family) {
        const double eps = config_.value("rms_norm_eps", 1e-6);
        const std::int64_t heads = config_.at("num_attention_heads");
        const std::int64_t kv_heads = config_.value("num_key_value_heads", heads);
        const std::string act = config_.value("hidden_act", "silu");
        Tensor x = get("model.embed_tokens.weight").index_select(0, ids);
        const std::int64_t head = config_.value("head_dim", x.size(1) / heads);
        const Angles turn = angles(head, config_.value("rope_theta", 10000.0));
        const auto split = [&](const Tensor& y, std::int64_t count) {
            return y.reshape({tokens_, count, head}).transpose(0, 1);
        };
        for (std::int64_t i = 0; i < config_.at("num_hidden_layers"); ++i) {
            const std::string layer = "model.layers." + std::to_string(i) + ".";
            const std::string attn = layer + "self_attn.";
            Tensor h = rms_norm(x, get(layer + "input_layernorm.weight"), eps);
            Tensor q = split(linear(h, attn + "q_proj"), heads);
            Tensor k = split(linear(h, attn + "k_proj"), kv_heads);
            const Tensor v = split(linear(h, attn + "v_proj"), kv_heads);
            if (family == "qwen3") {
                q = rms_norm(q, get(attn + "q_norm.weight"), eps);
                k = rms_norm(k, get(attn + "k_norm.weight"), eps);
            }
            q = rotate(q, turn.cos, turn.sin, head);
            k = rotate(k, turn.cos, turn.sin, head);
            x = x + linear(attend(q, k, v, llama_window(family, i)), attn + "o_proj");
            h = rms_norm(x, get(layer + "post_attention_layernorm.weight"), eps);
            const Tensor gate = activate(linear(h, layer + "mlp.gate_proj"), act);
            x = x + linear(gate * linear(h, layer + "mlp.up_proj"), layer + "mlp.down_proj");
        }
        x = rms_norm(x, get("model.norm.weight"), eps);
        const bool tied = config_.value("tie_word_embeddings", false);
        return at::matmul(x, get(tied ? "model.embed_tokens.weight" : "lm_head.weight").t());
    }

    Tensor gpt2(const Tensor& ids) {
        const double eps = config_.value("layer_norm_epsilon", 1e-5);
        const std::int64_t heads = config_.at("n_head");
        const std::string act = config_.value("activation_function", "gelu_new");
        const std::string body = "transformer.";
        Tensor x = get(body + "wte.weight").index_select(0, ids) +
                   get(body + "wpe.weight").narrow(0, 0, tokens_);
        const std::int64_t width = x.size(1);
        for (std::int64_t i = 0; i < config_.at("n_layer"); ++i) {
            const std::string layer = body + "h." + std::to_string(i) + ".";
            Tensor h = layer_norm(x, layer + "ln_1", eps);
            const auto qkv = conv1d(h, layer + "attn.c_attn").split(width, -1);
            const auto split = [&](const Tensor& y) {
                return y.reshape({tokens_, heads, width / heads}).transpose(0, 1);
            };
            const Tensor mixed = attend(split(qkv[0]), split(qkv[1]), split(qkv[2]), 0);
            x = x + conv1d(mixed, layer + "attn.c_proj");
            h = layer_norm(x, layer + "ln_2", eps);
            x = x + conv1d(activate(conv1d(h, layer + "mlp.c_fc"), act), layer + "mlp.c_proj");
        }
        x = layer_norm(x, body + "ln_f", eps);
        const bool tied = config_.value("tie_word_embeddings", true);
        return at::matmul(x, get(tied ? body + "wte.weight" : "lm_head.weight").t());
    }

    Tensor neox(const Tensor& ids) {
        const double eps = config_.value("layer_norm_eps", 1e-5);
        const std::int64_t heads = config_.at("num_attention_heads");
        const std::string act = config_.value("hidden_act", "gelu");
        Tensor x = get("gpt_neox.embed_in.weight").index_select(0, ids);
        const std::int64_t head = x.size(1) / heads;
        const auto rotary = static_cast<std::int64_t>(static_cast<double>(head) *
                                                      config_.value("rotary_pct", 0.25));
        const Angles turn = angles(rotary, config_.value("rotary_emb_base", 10000.0));
        for (std::int64_t i = 0; i < config_.at("num_hidden_layers"); ++i) {
            const std::string layer = "gpt_neox.layers." + std::to_string(i) + ".";
            const Tensor h = layer_norm(x, layer + "input_layernorm", eps);
            const Tensor qkv = linear(h, layer + "attention.query_key_value")
                                   .reshape({tokens_, heads, 3 * head})
                                   .transpose(0, 1);
            const Tensor q = rotate(qkv.narrow(-1, 0, head), turn.cos, turn.sin, rotary);
            const Tensor k = rotate(qkv.narrow(-1, head, head), turn.cos, turn.sin, rotary);
            const Tensor mixed =
                linear(attend(q, k, qkv.narrow(-1, 2 * head, head), 0), layer + "attention.dense");
            const auto mlp = [&](const Tensor& y) {
                const Tensor n = layer_norm(y, layer + "post_attention_layernorm", eps);
                return linear(activate(linear(n, layer + "mlp.dense_h_to_4h"), act),
                              layer + "mlp.dense_4h_to_h");
            };
            if (config_.value("use_parallel_residual", true)) {
                x = x + mixed + mlp(x);
            } else {
                x = x + mixed;
                x = x + mlp(x);
            }
        }
        x = layer_norm(x, "gpt_neox.final_layer_norm", eps);
        const bool tied = config_.value("tie_word_embeddings", false);
        return at::matmul(x, get(tied ? "gpt_neox.embed_in.weight" : "embed_out.weight").t());
    }

    const RandomModel& model_;
    json config_;
    std::int64_t tokens_;
};

}  // namespace

std::vector<double> reference_decoder(const RandomModel& model,
                                      const std::vector<std::uint32_t>& tokens) {
    const std::vector<std::int64_t> wide(tokens.begin(), tokens.end());
    const auto count = static_cast<std::int64_t>(wide.size());
    const Tensor ids = at::tensor(wide, at::kLong);
    const Tensor logits = Reference(model, count).run(ids).contiguous();
    const double* data = logits.data_ptr<double>();
    return {data, data + logits.numel()};
}

}  // namespace worker::model::test
