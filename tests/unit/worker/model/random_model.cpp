// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/worker/model/random_model.hpp"

#include "worker/model/philox.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>

namespace worker::model::test {

using nlohmann::json;

namespace {

/// To 8 bits for bf16, to 11 bits and no less than 2^-24 for fp16.
float rounded(double value, Dtype dtype) {
    if (dtype == Dtype::kF32) return static_cast<float>(value);
    int exponent = 0;
    std::frexp(value, &exponent);
    const int last = dtype == Dtype::kBf16 ? exponent - 8 : std::max(exponent - 11, -24);
    return static_cast<float>(std::ldexp(std::nearbyint(std::ldexp(value, -last)), last));
}

/// The bits of a number that is exact in fp16 and below 65504.
std::uint16_t half_of(float value) {
    const auto sign = static_cast<std::uint16_t>(std::signbit(value) ? 0x8000U : 0U);
    int exponent = 0;
    const double fraction = std::frexp(std::fabs(static_cast<double>(value)), &exponent);
    if (exponent < -13)  // below the normal numbers
        return static_cast<std::uint16_t>(
            sign | static_cast<unsigned>(std::ldexp(fraction, exponent + 24)));
    return static_cast<std::uint16_t>(sign | (static_cast<unsigned>(exponent + 14) << 10U) |
                                      (static_cast<unsigned>(fraction * 2048) - 1024U));
}

class Maker {
 public:
    Maker(json config, std::uint64_t seed, Dtype dtype, double gain)
        : config_(std::move(config)),
          random_(seed, Philox::Stream::kInit),
          dtype_(dtype),
          gain_(gain) {}

    std::map<std::string, RandomTensor> make() {
        const std::string family = config_.at("model_type");
        if (family == "gpt2") {
            make_gpt2();
        } else if (family == "gpt_neox") {
            make_neox();
        } else {
            make_llama(family);
        }
        return std::move(tensors_);
    }

 private:
    [[nodiscard]] std::int64_t size(const char* name) const { return config_.at(name); }
    [[nodiscard]] bool flag(const char* name, bool otherwise) const {
        return config_.value(name, otherwise);
    }
    double normal(std::uint64_t i) {
        const auto block = random_.block(i, counter_);
        double sum = -2;
        for (const std::uint32_t word : block)
            sum += word * 0x1.0p-32;
        return sum * std::sqrt(3.0);
    }
    void add(const std::string& name, std::vector<std::int64_t> shape, double scale,
             double mean = 0) {
        RandomTensor tensor;
        std::int64_t count = 1;
        for (const std::int64_t extent : shape)
            count *= extent;
        tensor.shape = std::move(shape);
        ++counter_;
        for (std::int64_t i = 0; i < count; ++i)
            tensor.values.push_back(
                rounded(mean + scale * normal(static_cast<std::uint64_t>(i)), dtype_));
        tensors_.emplace(name, std::move(tensor));
    }
    void linear(const std::string& name, std::int64_t out, std::int64_t in, bool bias) {
        add(name + ".weight", {out, in}, gain_ / std::sqrt(static_cast<double>(in)));
        if (bias) add(name + ".bias", {out}, 0.3);
    }
    void conv1d(const std::string& name, std::int64_t in, std::int64_t out) {
        add(name + ".weight", {in, out}, gain_ / std::sqrt(static_cast<double>(in)));
        add(name + ".bias", {out}, 0.3);
    }
    void norm(const std::string& name, std::int64_t width, bool bias) {
        add(name + ".weight", {width}, 0.3, 1.0);
        if (bias) add(name + ".bias", {width}, 0.3);
    }

    void make_llama(const std::string& family) {
        const std::int64_t width = size("hidden_size");
        const std::int64_t heads = size("num_attention_heads");
        const std::int64_t kv_heads = config_.value("num_key_value_heads", heads);
        const std::int64_t head = config_.value("head_dim", width / heads);
        const std::int64_t ffn = size("intermediate_size");
        const bool bias = flag("attention_bias", false);
        const bool mlp_bias = flag("mlp_bias", false);
        add("model.embed_tokens.weight", {size("vocab_size"), width}, 1.0);
        for (std::int64_t i = 0; i < size("num_hidden_layers"); ++i) {
            const std::string layer = "model.layers." + std::to_string(i) + ".";
            norm(layer + "input_layernorm", width, false);
            linear(layer + "self_attn.q_proj", heads * head, width, bias || family == "qwen2");
            linear(layer + "self_attn.k_proj", kv_heads * head, width, bias || family == "qwen2");
            linear(layer + "self_attn.v_proj", kv_heads * head, width, bias || family == "qwen2");
            linear(layer + "self_attn.o_proj", width, heads * head, bias);
            if (family == "qwen3") {
                norm(layer + "self_attn.q_norm", head, false);
                norm(layer + "self_attn.k_norm", head, false);
            }
            norm(layer + "post_attention_layernorm", width, false);
            linear(layer + "mlp.gate_proj", ffn, width, mlp_bias);
            linear(layer + "mlp.up_proj", ffn, width, mlp_bias);
            linear(layer + "mlp.down_proj", width, ffn, mlp_bias);
        }
        norm("model.norm", width, false);
        if (!flag("tie_word_embeddings", false))
            linear("lm_head", size("vocab_size"), width, false);
    }

    void make_gpt2() {
        const std::int64_t width = size("n_embd");
        const std::int64_t inner = config_.value("n_inner", 4 * width);
        const std::string body = "transformer.";
        add(body + "wte.weight", {size("vocab_size"), width}, 1.0);
        add(body + "wpe.weight", {size("n_positions"), width}, 0.5);
        for (std::int64_t i = 0; i < size("n_layer"); ++i) {
            const std::string layer = body + "h." + std::to_string(i) + ".";
            norm(layer + "ln_1", width, true);
            conv1d(layer + "attn.c_attn", width, 3 * width);
            conv1d(layer + "attn.c_proj", width, width);
            norm(layer + "ln_2", width, true);
            conv1d(layer + "mlp.c_fc", width, inner);
            conv1d(layer + "mlp.c_proj", inner, width);
        }
        norm(body + "ln_f", width, true);
        if (!flag("tie_word_embeddings", true)) linear("lm_head", size("vocab_size"), width, false);
    }

    void make_neox() {
        const std::int64_t width = size("hidden_size");
        const std::int64_t ffn = size("intermediate_size");
        const bool bias = flag("attention_bias", true);
        add("gpt_neox.embed_in.weight", {size("vocab_size"), width}, 1.0);
        for (std::int64_t i = 0; i < size("num_hidden_layers"); ++i) {
            const std::string layer = "gpt_neox.layers." + std::to_string(i) + ".";
            norm(layer + "input_layernorm", width, true);
            norm(layer + "post_attention_layernorm", width, true);
            linear(layer + "attention.query_key_value", 3 * width, width, bias);
            linear(layer + "attention.dense", width, width, bias);
            linear(layer + "mlp.dense_h_to_4h", ffn, width, true);
            linear(layer + "mlp.dense_4h_to_h", width, ffn, true);
        }
        norm("gpt_neox.final_layer_norm", width, true);
        if (!flag("tie_word_embeddings", false))
            linear("embed_out", size("vocab_size"), width, false);
    }

    json config_;
    Philox random_;
    Dtype dtype_;
    double gain_;
    std::uint32_t counter_ = 0;
    std::map<std::string, RandomTensor> tensors_;
};

std::string to_bytes(const std::vector<float>& values, Dtype dtype) {
    std::string out(values.size() * size_of(dtype), '\0');
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (dtype == Dtype::kF32) {
            std::memcpy(out.data() + 4 * i, &values[i], 4);
            continue;
        }
        const auto bits =
            dtype == Dtype::kF16
                ? half_of(values[i])
                : static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(values[i]) >> 16U);
        std::memcpy(out.data() + 2 * i, &bits, 2);
    }
    return out;
}

}  // namespace

RandomModel make_random_model(std::string_view config, std::uint64_t seed, Dtype dtype,
                              double gain) {
    return {std::string(config), Maker(json::parse(config), seed, dtype, gain).make()};
}

void write_model(const RandomModel& model, const std::filesystem::path& folder, Dtype dtype,
                 std::size_t shards) {
    std::ofstream(folder / "config.json") << model.config;
    std::vector<std::vector<TensorView>> files(shards);
    std::vector<std::string> bytes;
    bytes.reserve(model.tensors.size());
    json weight_map;
    for (const auto& [name, tensor] : model.tensors) {
        bytes.push_back(to_bytes(tensor.values, dtype));
        const std::size_t shard = bytes.size() % shards;
        files[shard].push_back({name, dtype, tensor.shape, ledger::base::as_bytes(bytes.back())});
        weight_map[name] = "model-" + std::to_string(shard) + ".safetensors";
    }
    for (std::size_t i = 0; i < shards; ++i) {
        const std::string name =
            shards == 1 ? "model.safetensors" : "model-" + std::to_string(i) + ".safetensors";
        REQUIRE(write_safetensors(folder / name, files[i], {{"format", "pt"}}).has_value());
    }
    if (shards > 1)
        std::ofstream(folder / "model.safetensors.index.json")
            << json{{"metadata", {{"total_size", 1}}}, {"weight_map", weight_map}};
}

}  // namespace worker::model::test
