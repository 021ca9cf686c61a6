// SPDX-License-Identifier: Apache-2.0
#include "worker/model/decoder_layout.hpp"

#include "worker/model/decoder_names.hpp"

#include <fmt/format.h>

#include <utility>

namespace worker::model {

namespace {

class Builder {
 public:
    Builder(const DecoderConfig& config, std::string_view prefix, DecoderLayout& out)
        : c_(config), names_(decoder_names(config.names)), prefix_(prefix), out_(out) {}

    void build() {
        out_.in_out = c_.names == WeightNames::kGpt2;
        out_.embedding = add(in_body(names_.embedding), {c_.vocab, c_.width});
        if (c_.rope.dims == 0)
            out_.positions = add(in_body(names_.positions), {c_.context, c_.width});
        for (std::uint32_t i = 0; i < c_.depth; ++i)
            add_layer(i);
        out_.last = norm(in_body(names_.last));
        out_.head =
            c_.tied_head ? out_.embedding : add(std::string(names_.head), {c_.vocab, c_.width});
    }

 private:
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
        const std::string layer = in_body(fmt::format("{}.{}.", names_.layers, index));
        const auto named = [&](std::string_view name) { return layer + std::string(name); };
        LayerPlaces places;
        places.first_linear = out_.linears.size();
        places.query_norm = DecoderLayout::kNoSlot;
        places.key_norm = DecoderLayout::kNoSlot;
        places.before_attention = norm(named(names_.before_attention));
        if (names_.qkv.size() == 3) {
            linear(LinearPart::kQuery, named(names_.qkv[0]), c_.query_width(), c_.width,
                   c_.qkv_bias);
            linear(LinearPart::kKey, named(names_.qkv[1]), c_.kv_width(), c_.width, c_.qkv_bias);
            linear(LinearPart::kValue, named(names_.qkv[2]), c_.kv_width(), c_.width, c_.qkv_bias);
        } else {
            linear(LinearPart::kFused, named(names_.qkv[0]), c_.qkv_width(), c_.width, c_.qkv_bias);
        }
        if (c_.qk_norm) {
            places.query_norm = add(named(names_.query_norm), {c_.head_dim});
            places.key_norm = add(named(names_.key_norm), {c_.head_dim});
        }
        linear(LinearPart::kOut, named(names_.attention_out), c_.width, c_.query_width(),
               c_.attention_out_bias);
        places.before_mlp = norm(named(names_.before_mlp));
        if (c_.mlp == MlpKind::kGated)
            linear(LinearPart::kGate, named(names_.gate), c_.ffn, c_.width, c_.mlp_bias);
        linear(LinearPart::kUp, named(names_.up), c_.ffn, c_.width, c_.mlp_bias);
        linear(LinearPart::kDown, named(names_.down), c_.width, c_.ffn, c_.mlp_bias);
        places.linears = out_.linears.size() - places.first_linear;
        out_.layers.push_back(places);
    }

    const DecoderConfig& c_;
    DecoderNames names_;
    std::string_view prefix_;
    DecoderLayout& out_;
    std::uint64_t next_ = 0;
};

}  // namespace

DecoderLayout::DecoderLayout(const DecoderConfig& config, std::string_view prefix) {
    Builder(config, prefix, *this).build();
}

}  // namespace worker::model
