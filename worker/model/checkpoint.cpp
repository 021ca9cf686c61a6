// SPDX-License-Identifier: Apache-2.0
#include "worker/model/checkpoint.hpp"

#include "ledger/base/money.hpp"
#include "worker/model/safetensors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string>

namespace worker::model {

using ledger::base::ByteView;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr const char* kStepKey = "millrace.step";
constexpr const char* kBestLossKey = "millrace.best_loss";  // the bits of the double, in decimal
constexpr const char* kStaleKey = "millrace.stale";
constexpr const char* kFirst = "adam.first.";
constexpr const char* kSecond = "adam.second.";
constexpr const char* kVelocity = "sgd.velocity.";

const char* first_prefix(const StateBuffer& state) {
    return state.second.empty() ? kVelocity : kFirst;
}

void append_views(std::vector<TensorView>& out, const std::vector<ParameterSlot>& layout,
                  const std::string& prefix, const std::vector<float>& values) {
    for (const ParameterSlot& slot : layout) {
        const auto* begin = reinterpret_cast<const std::uint8_t*>(values.data() + slot.offset);
        out.push_back({prefix + slot.name, Dtype::kF32, slot.shape,
                       ByteView(begin, slot.size * sizeof(float))});
    }
}

std::optional<std::uint64_t> read_number(const SafetensorsIndex& index, const char* key) {
    const auto found = index.metadata.find(key);
    if (found == index.metadata.end()) return std::nullopt;
    const auto number = ledger::base::parse_u64(found->second);
    return number ? std::optional(*number) : std::nullopt;
}

Result<void> read_tensors(const SafetensorsIndex& index, const std::vector<ParameterSlot>& layout,
                          const std::string& prefix, std::vector<float>& values) {
    for (const ParameterSlot& slot : layout) {
        const std::string name = prefix + slot.name;
        const TensorView* tensor = index.find(name);
        if (tensor == nullptr) return fail(ErrorCode::data_invalid, name + " is missing");
        if (tensor->dtype != Dtype::kF32)
            return fail(ErrorCode::data_invalid, name + " must be F32");
        if (tensor->shape != slot.shape)
            return fail(ErrorCode::data_invalid, name + " has another shape than the model");
        float* begin = values.data() + slot.offset;
        std::memcpy(begin, tensor->data.data(), tensor->data.size());
        if (!std::all_of(begin, begin + slot.size, [](float v) { return std::isfinite(v); }))
            return fail(ErrorCode::data_invalid, name + " holds a number that is not finite");
    }
    return {};
}

}  // namespace

Result<CheckpointInfo> write_checkpoint(const std::filesystem::path& path,
                                        const std::vector<ParameterSlot>& layout,
                                        const StateBuffer& state) {
    std::vector<TensorView> tensors;
    append_views(tensors, layout, "", state.values);
    if (!state.first.empty()) append_views(tensors, layout, first_prefix(state), state.first);
    if (!state.second.empty()) append_views(tensors, layout, kSecond, state.second);
    Metadata metadata{{"format", "pt"}, {kStepKey, std::to_string(state.step)}};
    if (state.patience) {
        const auto bits = std::bit_cast<std::uint64_t>(state.patience->best_loss);
        metadata[kBestLossKey] = std::to_string(bits);
        metadata[kStaleKey] = std::to_string(state.patience->stale);
    }
    TRY_ASSIGN(const WrittenFile file, write_safetensors(path, tensors, metadata));
    return CheckpointInfo{state.step, file.sha256, file.bytes};
}

Result<void> read_checkpoint(const std::filesystem::path& path,
                             const std::vector<ParameterSlot>& layout, StateBuffer& state) {
    TRY_ASSIGN(const SafetensorsFile file, SafetensorsFile::open(path));
    const SafetensorsIndex& index = file.index();
    const auto step = read_number(index, kStepKey);
    if (!step)
        return fail(ErrorCode::data_invalid, "the file is not a checkpoint: it names no step");
    const std::size_t parts =
        1U + (state.first.empty() ? 0U : 1U) + (state.second.empty() ? 0U : 1U);
    if (index.tensors.size() != parts * layout.size())
        return fail(ErrorCode::data_invalid, "the checkpoint is of another model or optimizer");
    TRY(read_tensors(index, layout, "", state.values));
    if (!state.first.empty()) TRY(read_tensors(index, layout, first_prefix(state), state.first));
    if (!state.second.empty()) TRY(read_tensors(index, layout, kSecond, state.second));
    if (state.patience) {
        const auto best = read_number(index, kBestLossKey);
        const auto stale = read_number(index, kStaleKey);
        if (!best || !stale || *stale > std::numeric_limits<std::uint32_t>::max())
            return fail(ErrorCode::data_invalid, "the checkpoint does not say how the loss went");
        state.patience = Patience{std::bit_cast<double>(*best), static_cast<std::uint32_t>(*stale)};
        if (std::isnan(state.patience->best_loss))
            return fail(ErrorCode::data_invalid, "the checkpoint's best loss is not a number");
    }
    state.step = *step;
    return {};
}

Result<void> read_weights(const std::filesystem::path& path,
                          const std::vector<ParameterSlot>& layout, std::vector<float>& values) {
    TRY_ASSIGN(const SafetensorsFile file, SafetensorsFile::open(path));
    return read_tensors(file.index(), layout, "", values);
}

Result<CheckpointInfo> export_weights(const std::filesystem::path& checkpoint,
                                      const std::filesystem::path& weights) {
    TRY_ASSIGN(const SafetensorsFile file, SafetensorsFile::open(checkpoint));
    std::vector<TensorView> kept;
    for (const TensorView& tensor : file.index().tensors)
        if (!tensor.name.starts_with("adam.") && !tensor.name.starts_with("sgd."))
            kept.push_back(tensor);
    if (kept.empty()) return fail(ErrorCode::data_invalid, "the file holds no weights");
    const std::uint64_t step = read_number(file.index(), kStepKey).value_or(0);
    TRY_ASSIGN(const WrittenFile out, write_safetensors(weights, kept, {{"format", "pt"}}));
    return CheckpointInfo{step, out.sha256, out.bytes};
}

}  // namespace worker::model
