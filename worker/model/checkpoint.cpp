// SPDX-License-Identifier: Apache-2.0
#include "worker/model/checkpoint.hpp"

#include "ledger/base/money.hpp"
#include "worker/model/safetensors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

namespace worker::model {

using ledger::base::ByteView;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr const char* kStepKey = "millrace.step";
constexpr const char* kFirst = "adam.first.";
constexpr const char* kSecond = "adam.second.";

void append_views(std::vector<TensorView>& out, const std::vector<ParameterSlot>& layout,
                  const std::string& prefix, const std::vector<float>& values) {
    for (const ParameterSlot& slot : layout) {
        const auto* begin = reinterpret_cast<const std::uint8_t*>(values.data() + slot.offset);
        out.push_back({prefix + slot.name, Dtype::kF32, slot.shape,
                       ByteView(begin, slot.size * sizeof(float))});
    }
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
    append_views(tensors, layout, kFirst, state.first);
    append_views(tensors, layout, kSecond, state.second);
    const Metadata metadata{{"format", "pt"}, {kStepKey, std::to_string(state.step)}};
    TRY_ASSIGN(const WrittenFile file, write_safetensors(path, tensors, metadata));
    return CheckpointInfo{state.step, file.sha256, file.bytes};
}

Result<void> read_checkpoint(const std::filesystem::path& path,
                             const std::vector<ParameterSlot>& layout, StateBuffer& state) {
    TRY_ASSIGN(const SafetensorsFile file, SafetensorsFile::open(path));
    const SafetensorsIndex& index = file.index();
    const auto found = index.metadata.find(kStepKey);
    if (found == index.metadata.end())
        return fail(ErrorCode::data_invalid, "the file is not a checkpoint: it names no step");
    const auto step = ledger::base::parse_u64(found->second);
    if (!step) return fail(ErrorCode::data_invalid, "the checkpoint's step is not a number");
    if (index.tensors.size() != 3 * layout.size())
        return fail(ErrorCode::data_invalid, "the checkpoint is of another model");
    TRY(read_tensors(index, layout, "", state.values));
    TRY(read_tensors(index, layout, kFirst, state.first));
    TRY(read_tensors(index, layout, kSecond, state.second));
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
        if (!tensor.name.starts_with("adam.")) kept.push_back(tensor);
    if (kept.empty()) return fail(ErrorCode::data_invalid, "the file holds no weights");
    std::uint64_t step = 0;
    const auto found = file.index().metadata.find(kStepKey);
    if (found != file.index().metadata.end())
        step = ledger::base::parse_u64(found->second).value_or(0);
    TRY_ASSIGN(const WrittenFile out, write_safetensors(weights, kept, {{"format", "pt"}}));
    return CheckpointInfo{step, out.sha256, out.bytes};
}

}  // namespace worker::model
