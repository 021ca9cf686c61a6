// SPDX-License-Identifier: Apache-2.0
#include "worker/model/layout.hpp"

#include "worker/model/philox.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstddef>

namespace worker::model {

namespace {

class Builder {
 public:
    void add(std::string name, std::vector<std::int64_t> shape, InitKind init, double scale = 0) {
        ParameterSlot slot;
        slot.name = std::move(name);
        slot.size = 1;
        for (const std::int64_t extent : shape)
            slot.size *= static_cast<std::uint64_t>(extent);
        slot.decay = shape.size() > 1;
        slot.shape = std::move(shape);
        slot.offset = next_;
        slot.init = init;
        slot.scale = scale;
        next_ += slot.size;
        slots_.push_back(std::move(slot));
    }
    [[nodiscard]] std::vector<ParameterSlot> take() { return std::move(slots_); }

 private:
    std::vector<ParameterSlot> slots_;
    std::uint64_t next_ = 0;
};

std::vector<ParameterSlot> gpt_layout(const GptShape& gpt) {
    Builder b;
    const std::int64_t w = gpt.width;
    const double residual = 0.02 / std::sqrt(2.0 * gpt.depth);
    b.add("wte.weight", {gpt.vocab, w}, InitKind::kNormal, 0.02);
    b.add("wpe.weight", {gpt.context, w}, InitKind::kNormal, 0.01);
    for (std::uint32_t i = 0; i < gpt.depth; ++i) {
        const std::string h = fmt::format("h.{}.", i);
        b.add(h + "ln_1.weight", {w}, InitKind::kOne);
        b.add(h + "ln_1.bias", {w}, InitKind::kZero);
        b.add(h + "attn.c_attn.weight", {w, 3 * w}, InitKind::kNormal, 0.02);
        b.add(h + "attn.c_attn.bias", {3 * w}, InitKind::kZero);
        b.add(h + "attn.c_proj.weight", {w, w}, InitKind::kNormal, residual);
        b.add(h + "attn.c_proj.bias", {w}, InitKind::kZero);
        b.add(h + "ln_2.weight", {w}, InitKind::kOne);
        b.add(h + "ln_2.bias", {w}, InitKind::kZero);
        b.add(h + "mlp.c_fc.weight", {w, 4 * w}, InitKind::kNormal, 0.02);
        b.add(h + "mlp.c_fc.bias", {4 * w}, InitKind::kZero);
        b.add(h + "mlp.c_proj.weight", {4 * w, w}, InitKind::kNormal, residual);
        b.add(h + "mlp.c_proj.bias", {w}, InitKind::kZero);
    }
    b.add("ln_f.weight", {w}, InitKind::kOne);
    b.add("ln_f.bias", {w}, InitKind::kZero);
    return b.take();
}

std::vector<ParameterSlot> cnn_layout(const CnnShape& cnn) {
    Builder b;
    const std::int64_t c = cnn.channels;
    const std::int64_t features = 2 * c * (cnn.height / 4) * (cnn.width / 4);
    b.add("conv1.weight", {c, 1, 3, 3}, InitKind::kNormal, std::sqrt(2.0 / 9.0));
    b.add("conv1.bias", {c}, InitKind::kZero);
    b.add("conv2.weight", {2 * c, c, 3, 3}, InitKind::kNormal,
          std::sqrt(2.0 / (9.0 * static_cast<double>(c))));
    b.add("conv2.bias", {2 * c}, InitKind::kZero);
    b.add("head.weight", {cnn.classes, features}, InitKind::kNormal,
          std::sqrt(1.0 / static_cast<double>(features)));
    b.add("head.bias", {cnn.classes}, InitKind::kZero);
    return b.take();
}

double kaiming(std::int64_t fan_in) {
    return std::sqrt(2.0 / static_cast<double>(fan_in));
}

void add_norm(Builder& b, const std::string& name, std::int64_t width) {
    b.add(name + ".weight", {width}, InitKind::kOne);
    b.add(name + ".bias", {width}, InitKind::kZero);
}

/// [in, out], as the "gpt" has them.
void add_linear(Builder& b, const std::string& name, std::int64_t in, std::int64_t out,
                double scale) {
    b.add(name + ".weight", {in, out}, InitKind::kNormal, scale);
    b.add(name + ".bias", {out}, InitKind::kZero);
}

void add_conv(Builder& b, const std::string& name, std::int64_t in, std::int64_t out,
              std::int64_t side) {
    b.add(name + ".weight", {out, in, side, side}, InitKind::kNormal, kaiming(in * side * side));
}

/// Convolutions have no bias: the norm after each has one.
std::vector<ParameterSlot> resnet_layout(const ResnetShape& net) {
    Builder b;
    std::int64_t into = net.channels;
    add_conv(b, "stem", net.image.colors, into, 3);
    add_norm(b, "stem_norm", into);
    for (std::uint32_t stage = 0; stage < net.stages; ++stage) {
        const std::int64_t out = std::int64_t{net.channels} << stage;
        for (std::uint32_t block = 0; block < net.blocks; ++block) {
            const std::string name = fmt::format("stage{}.{}.", stage, block);
            add_conv(b, name + "conv1", into, out, 3);
            add_norm(b, name + "norm1", out);
            add_conv(b, name + "conv2", out, out, 3);
            add_norm(b, name + "norm2", out);
            if (into != out) {
                add_conv(b, name + "shortcut", into, out, 1);
                add_norm(b, name + "shortcut_norm", out);
            }
            into = out;
        }
    }
    add_linear(b, "head", into, net.image.classes, 1.0 / std::sqrt(static_cast<double>(into)));
    return b.take();
}

std::vector<ParameterSlot> vit_layout(const VitShape& vit) {
    Builder b;
    const std::int64_t d = vit.dim;
    const std::int64_t patches =
        std::int64_t{vit.image.height / vit.patch} * (vit.image.width / vit.patch);
    const std::int64_t inputs = std::int64_t{vit.image.colors} * vit.patch * vit.patch;
    const double residual = 0.02 / std::sqrt(2.0 * vit.depth);
    add_linear(b, "patch", inputs, d, 1.0 / std::sqrt(static_cast<double>(inputs)));
    b.add("position", {patches, d}, InitKind::kNormal, 0.02);
    for (std::uint32_t i = 0; i < vit.depth; ++i) {
        const std::string layer = fmt::format("layer{}.", i);
        add_norm(b, layer + "norm1", d);
        add_linear(b, layer + "qkv", d, 3 * d, 0.02);
        add_linear(b, layer + "mix", d, d, residual);
        add_norm(b, layer + "norm2", d);
        add_linear(b, layer + "up", d, 4 * d, 0.02);
        add_linear(b, layer + "down", 4 * d, d, residual);
    }
    add_norm(b, "norm", d);
    add_linear(b, "head", d, vit.image.classes, 0.02);
    return b.take();
}

std::vector<ParameterSlot> mlp_layout(const MlpShape& mlp) {
    Builder b;
    std::int64_t into = std::int64_t{mlp.image.colors} * mlp.image.height * mlp.image.width;
    for (std::uint32_t i = 0; i < mlp.depth; ++i) {
        add_linear(b, fmt::format("layer{}", i), into, mlp.hidden, kaiming(into));
        into = mlp.hidden;
    }
    add_linear(b, "head", into, mlp.image.classes, 1.0 / std::sqrt(static_cast<double>(into)));
    return b.take();
}

struct LayoutOf {
    std::vector<ParameterSlot> operator()(const GptShape& shape) const { return gpt_layout(shape); }
    std::vector<ParameterSlot> operator()(const CnnShape& shape) const { return cnn_layout(shape); }
    std::vector<ParameterSlot> operator()(const ResnetShape& shape) const {
        return resnet_layout(shape);
    }
    std::vector<ParameterSlot> operator()(const VitShape& shape) const { return vit_layout(shape); }
    std::vector<ParameterSlot> operator()(const MlpShape& shape) const { return mlp_layout(shape); }
};

/// Eight uniform 16-bit numbers, centred: mean 0, variance 8·(2^32 − 1)/12.
std::int32_t integer_normal(const Philox::Block& block) {
    std::int32_t sum = 0;
    for (const std::uint32_t word : block)
        sum += static_cast<std::int32_t>(word & 0xFFFFU) + static_cast<std::int32_t>(word >> 16U);
    return 2 * sum - 8 * 65535;  // twice the deviation, exact
}

}  // namespace

std::vector<ParameterSlot> parameter_layout(const ModelSpec& model) {
    return std::visit(LayoutOf{}, model);
}

void fill_initial(const std::vector<ParameterSlot>& layout, std::uint64_t seed, float* values) {
    const Philox random(seed, Philox::Stream::kInit);
    const double unit = 1.0 / (2.0 * std::sqrt(8.0 * 4294967295.0 / 12.0));
    for (std::size_t i = 0; i < layout.size(); ++i) {
        const ParameterSlot& slot = layout[i];
        float* out = values + slot.offset;
        const double factor = slot.scale * unit;
        for (std::uint64_t k = 0; k < slot.size; ++k) {
            switch (slot.init) {
                case InitKind::kZero:
                    out[k] = 0.0F;
                    break;
                case InitKind::kOne:
                    out[k] = 1.0F;
                    break;
                case InitKind::kNormal:
                    out[k] = static_cast<float>(
                        factor * integer_normal(random.block(k, static_cast<std::uint32_t>(i))));
                    break;
            }
        }
    }
}

}  // namespace worker::model
