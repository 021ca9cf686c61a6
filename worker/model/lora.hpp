// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/model/decoder_layout.hpp"
#include "worker/model/finetune_spec.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

/// Low-rank adapters (Hu et al. 2021): W stands, W + (alpha / rank)·B·A is what the model does.
namespace worker::model {

/// The adapters of a model, under the names of the PEFT library: for each linear layer that is a
/// target, A [rank, in] and B [out, rank] one after the other.
struct LoraLayout {
    std::vector<ParameterSlot> slots;
    std::vector<std::size_t> places;  // one a linear: of its A, or DecoderLayout::kNoSlot
};

/// unsupported names a target that this model does not have as a layer of its own.
[[nodiscard]] ledger::base::Result<LoraLayout> lora_layout(const DecoderLayout& layout,
                                                           const LoraSpec& lora);

/// The text of PEFT's `adapter_config.json`.
[[nodiscard]] std::string adapter_config(const DecoderLayout& layout, const LoraLayout& adapters,
                                         const LoraSpec& lora);

/// Adds scale·B·A to the weight of `linear`, which has the layout's order. Sums run in one order on
/// any machine, however many threads others use.
void add_adapter(const LinearPlace& linear, bool in_out, std::uint32_t rank, double scale,
                 std::span<const float> a, std::span<const float> b, std::span<float> weight);

}  // namespace worker::model
