// SPDX-License-Identifier: Apache-2.0
#include "worker/model/decoder_layout.hpp"

#include <fmt/format.h>

#include <utility>

namespace worker::model {

namespace {

class Builder {
 public:
    Builder(const DecoderConfig& config, std::string_view prefix, DecoderLayout& out)
        : c_(config), prefix_(prefix), out_(out) {}

    void build() {
        out_.in_out = c_.names == WeightNames::kGpt2;
        out_.embedding = add(in_body(by_names("model.embed_tokens.weight", "wte.weight",
                                              "gpt_neox.embed_in.weight")),
                             {c_.vocab, c_.width});
        if (c_.rope.dims == 0) out_.positions = add(in_body("wpe.weight"), {c_.context, c_.width});
        for (std::uint32_t i = 0; i < c_.depth; ++i)
            add_layer(i);
        out_.last = norm(in_body(by_names("model.norm", "ln_f", "gpt_neox.final_layer_norm")));
        out_.head =
            c_.tied_head
                ? out_.embedding
                : add(std::string(by_names("lm_head.weight", "lm_head.weight", "embed_out.weight")),
                      {c_.vocab, c_.width});
    }

 private:
    [[nodiscard]] std::string_view by_names(std::string_view llama, std::string_view gpt2,
                                            std::string_view neox) const {
        if (c_.names == WeightNames::kGpt2) return gpt2;
        return c_.names == WeightNames::kNeox ? neox : llama;
    }
    [[nodiscard]] std::string in_body(std::string_view name) const {
        return fmt::format("{}{}", prefix_, name);
    }

    std::size_t add(std::string name, std::vector<std::int64_t> shape) {
        ParameterSlot slot;
        slot.name = std::move(name);
        slot.size = 1;
        for (const std::int64_t extent : shape)
            slot.size *= static_cast<std::uint64_t>(extent);
        slot.decay = shape.size() > 1;
        slot.shape = std::move(shape);
        slot.offset = next_;
        next_ += slot.size;
        out_.slots.push_back(std::move(slot));
        return out_.slots.size() - 1;
    }

    NormPlace norm(const std::string& name) {
        NormPlace out;
        out.weight = add(name + ".weight", {c_.width});
        out.bias = c_.norm == NormKind::kLayerNorm ? add(name + ".bias", {c_.width})
                                                   : DecoderLayout::kNoSlot;
        return out;
    }

    void linear(LinearPart part, const std::string& name, std::int64_t out, std::int64_t in,
                bool bias) {
        LinearPlace place;
        place.part = part;
        // Published tools see the whole model, whose body has a prefix even where files have none.
        place.module = out_.in_out && prefix_.empty() ? "transformer." + name : name;
        place.in = in;
        place.out = out;
        place.weight = add(name + ".weight", out_.in_out ? std::vector<std::int64_t>{in, out}
                                                         : std::vector<std::int64_t>{out, in});
        place.bias = bias ? add(name + ".bias", {out}) : DecoderLayout::kNoSlot;
        out_.linears.push_back(std::move(place));
    }

    void add_layer(std::uint32_t index) {
        const std::string layer =
            in_body(fmt::format("{}.{}.", by_names("model.layers", "h", "gpt_neox.layers"), index));
        const auto named = [&](std::string_view llama, std::string_view gpt2,
                               std::string_view neox) {
            return layer + std::string(by_names(llama, gpt2, neox));
        };
        LayerPlaces places;
        places.first_linear = out_.linears.size();
        places.query_norm = DecoderLayout::kNoSlot;
        places.key_norm = DecoderLayout::kNoSlot;
        places.before_attention = norm(named("input_layernorm", "ln_1", "input_layernorm"));
        if (c_.names == WeightNames::kLlama) {
            linear(LinearPart::kQuery, layer + "self_attn.q_proj", c_.query_width(), c_.width,
                   c_.qkv_bias);
            linear(LinearPart::kKey, layer + "self_attn.k_proj", c_.kv_width(), c_.width,
                   c_.qkv_bias);
            linear(LinearPart::kValue, layer + "self_attn.v_proj", c_.kv_width(), c_.width,
                   c_.qkv_bias);
        } else {
            linear(LinearPart::kFused, named("", "attn.c_attn", "attention.query_key_value"),
                   c_.qkv_width(), c_.width, c_.qkv_bias);
        }
        if (c_.qk_norm) {
            places.query_norm = add(layer + "self_attn.q_norm.weight", {c_.head_dim});
            places.key_norm = add(layer + "self_attn.k_norm.weight", {c_.head_dim});
        }
        linear(LinearPart::kOut, named("self_attn.o_proj", "attn.c_proj", "attention.dense"),
               c_.width, c_.query_width(), c_.attention_out_bias);
        places.before_mlp =
            norm(named("post_attention_layernorm", "ln_2", "post_attention_layernorm"));
        if (c_.mlp == MlpKind::kGated)
            linear(LinearPart::kGate, layer + "mlp.gate_proj", c_.ffn, c_.width, c_.mlp_bias);
        linear(LinearPart::kUp, named("mlp.up_proj", "mlp.c_fc", "mlp.dense_h_to_4h"), c_.ffn,
               c_.width, c_.mlp_bias);
        linear(LinearPart::kDown, named("mlp.down_proj", "mlp.c_proj", "mlp.dense_4h_to_h"),
               c_.width, c_.ffn, c_.mlp_bias);
        places.linears = out_.linears.size() - places.first_linear;
        out_.layers.push_back(places);
    }

    const DecoderConfig& c_;
    std::string_view prefix_;
    DecoderLayout& out_;
    std::uint64_t next_ = 0;
};

}  // namespace

DecoderLayout::DecoderLayout(const DecoderConfig& config, std::string_view prefix) {
    Builder(config, prefix, *this).build();
}

}  // namespace worker::model
