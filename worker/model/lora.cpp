// SPDX-License-Identifier: Apache-2.0
#include "worker/model/lora.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>
#include <utility>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr std::uint8_t kQkv = static_cast<std::uint8_t>(LoraTarget::kQuery) |
                              static_cast<std::uint8_t>(LoraTarget::kKey) |
                              static_cast<std::uint8_t>(LoraTarget::kValue);

/// Bits of the targets that a linear layer answers to.
std::uint8_t targets_of(LinearPart part) {
    switch (part) {
        case LinearPart::kQuery:
            return static_cast<std::uint8_t>(LoraTarget::kQuery);
        case LinearPart::kKey:
            return static_cast<std::uint8_t>(LoraTarget::kKey);
        case LinearPart::kValue:
            return static_cast<std::uint8_t>(LoraTarget::kValue);
        case LinearPart::kFused:
            return kQkv;
        case LinearPart::kOut:
            return static_cast<std::uint8_t>(LoraTarget::kOut);
        case LinearPart::kGate:
            return static_cast<std::uint8_t>(LoraTarget::kGate);
        case LinearPart::kUp:
            return static_cast<std::uint8_t>(LoraTarget::kUp);
        case LinearPart::kDown:
            return static_cast<std::uint8_t>(LoraTarget::kDown);
    }
    return 0;
}

/// "model.layers.7.self_attn.q_proj" → "self_attn.q_proj": what PEFT matches by its end.
std::string_view name_in_layer(std::string_view module) {
    const auto digits = module.find_first_of("0123456789", module.find(".h.") == module.npos
                                                               ? module.find("layers.")
                                                               : module.find(".h."));
    return module.substr(module.find('.', digits) + 1);
}

}  // namespace

Result<LoraLayout> lora_layout(const DecoderLayout& layout, const LoraSpec& lora) {
    LoraLayout out;
    std::uint64_t offset = 0;
    const auto add = [&](const std::string& name, std::int64_t rows, std::int64_t columns,
                         InitKind init, double scale) {
        ParameterSlot slot;
        slot.name = name;
        slot.shape = {rows, columns};
        slot.size = static_cast<std::uint64_t>(rows * columns);
        slot.offset = offset;
        slot.init = init;
        slot.scale = scale;
        slot.decay = true;
        offset += slot.size;
        out.slots.push_back(std::move(slot));
    };
    std::uint8_t found = 0;
    for (const LinearPlace& linear : layout.linears) {
        const std::uint8_t own = targets_of(linear.part);
        const auto wanted = static_cast<std::uint8_t>(own & lora.targets);
        if (!lora.all_linear && wanted != 0 && wanted != own)
            return fail(ErrorCode::unsupported,
                        "the model keeps queries, keys and values in one layer: name q, k and v "
                        "together");
        found |= wanted;
        out.places.push_back(lora.all_linear || wanted != 0 ? out.slots.size()
                                                            : DecoderLayout::kNoSlot);
        if (out.places.back() == DecoderLayout::kNoSlot) continue;
        const std::string module = "base_model.model." + linear.module;
        // The variance of a uniform number between ±1/√in, as PEFT begins; B begins with 0.
        add(module + ".lora_A.weight", lora.rank, linear.in, InitKind::kNormal,
            1.0 / std::sqrt(3.0 * static_cast<double>(linear.in)));
        add(module + ".lora_B.weight", linear.out, lora.rank, InitKind::kZero, 0);
    }
    if (found != lora.targets && !lora.all_linear)
        return fail(ErrorCode::unsupported,
                    "the model has no gate: its targets are q, k, v, o, "
                    "up and down");
    return out;
}

std::string adapter_config(const DecoderLayout& layout, const LoraLayout& adapters,
                           const LoraSpec& lora) {
    std::set<std::string_view> modules;
    for (std::size_t i = 0; i < layout.linears.size(); ++i)
        if (adapters.places[i] != DecoderLayout::kNoSlot)
            modules.insert(name_in_layer(layout.linears[i].module));
    const nlohmann::json out{{"peft_type", "LORA"},
                             {"task_type", "CAUSAL_LM"},
                             {"r", lora.rank},
                             {"lora_alpha", lora.alpha},
                             {"lora_dropout", 0.0},
                             {"target_modules", modules},
                             {"fan_in_fan_out", layout.in_out},
                             {"bias", "none"},
                             {"use_rslora", false},
                             {"use_dora", false},
                             {"modules_to_save", nullptr},
                             {"base_model_name_or_path", nullptr},
                             {"inference_mode", true}};
    return out.dump(2);
}

void add_adapter(const LinearPlace& linear, bool in_out, std::uint32_t rank, double scale,
                 std::span<const float> a, std::span<const float> b, std::span<float> weight) {
    const auto in = static_cast<std::size_t>(linear.in);
    const auto out = static_cast<std::size_t>(linear.out);
    std::vector<float> sum(in);
    for (std::size_t o = 0; o < out; ++o) {
        std::fill(sum.begin(), sum.end(), 0.0F);
        for (std::size_t r = 0; r < rank; ++r) {
            const auto factor = static_cast<float>(scale) * b[o * rank + r];
            const float* row = a.data() + r * in;
            for (std::size_t i = 0; i < in; ++i)
                sum[i] += factor * row[i];
        }
        for (std::size_t i = 0; i < in; ++i)
            weight[in_out ? i * out + o : o * in + i] += sum[i];
    }
}

}  // namespace worker::model
