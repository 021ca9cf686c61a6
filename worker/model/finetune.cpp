// SPDX-License-Identifier: Apache-2.0
#include "worker/model/finetune.hpp"

#include "worker/model/hf_config.hpp"
#include "worker/model/lora.hpp"
#include "worker/model/model_folder.hpp"
#include "worker/model/result_file.hpp"
#include "worker/model/tensor_floats.hpp"
#include "worker/model/torch_decoder.hpp"
#include "worker/model/torch_runtime.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace worker::model {

using at::Tensor;
using ledger::base::ByteView;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

std::string_view prefix_of(const DecoderConfig& config, const TensorSet& tensors) {
    // The first files of GPT-2 have no prefix, later ones do.
    const bool prefixed =
        config.names == WeightNames::kGpt2 && tensors.find("wte.weight") == nullptr;
    return prefixed ? "transformer." : "";
}

/// The slot's tensor in the folder, checked.
Result<const TensorView*> find_tensor(const TensorSet& tensors, const ParameterSlot& slot) {
    const TensorView* tensor = tensors.find(slot.name);
    if (tensor == nullptr) return fail(ErrorCode::data_invalid, slot.name + " is missing");
    if (tensor->shape != slot.shape)
        return fail(ErrorCode::data_invalid,
                    slot.name + " has another shape than the config gives");
    if (tensor->dtype != Dtype::kF32 && tensor->dtype != Dtype::kBf16 &&
        tensor->dtype != Dtype::kF16)
        return fail(ErrorCode::data_invalid, fmt::format("{} is {}; weights are F32, F16 or BF16",
                                                         slot.name, to_string(tensor->dtype)));
    return tensor;
}

/// Widens the slot's tensor into `values` and lets go of the file's pages.
Result<void> read_tensor(const TensorSet& tensors, const ParameterSlot& slot, float* values) {
    TRY_ASSIGN(const TensorView* tensor, find_tensor(tensors, slot));
    TRY(read_floats(*tensor, {values, slot.size}));
    MappedFile::release(tensor->data);
    return {};
}

Result<void> check_tokens(const ExampleSet& examples, std::uint32_t vocab) {
    for (std::size_t i = 0; i < examples.size(); ++i)
        for (const std::uint32_t token : examples[i].tokens)
            if (token >= vocab)
                return fail(ErrorCode::data_invalid,
                            fmt::format("the tokenizer makes the token {}, the model has {}", token,
                                        vocab));
    return {};
}

/// Floats in the type of a file, narrowed where it is.
class Narrowed {
 public:
    Result<ByteView> operator()(const std::vector<float>& values, Dtype dtype) {
        if (dtype == Dtype::kF32) return view(values.data(), values.size() * sizeof(float));
        const Tensor wide = at::from_blob(const_cast<float*>(values.data()),
                                          {static_cast<std::int64_t>(values.size())}, at::kFloat);
        tensor_ = wide.to(dtype == Dtype::kBf16 ? at::kBFloat16 : at::kHalf);
        if (!at::isfinite(tensor_).all().item<bool>())
            return fail(ErrorCode::worker_failed,
                        "a trained weight does not fit the type of the folder's");
        return view(tensor_.data_ptr(), values.size() * 2);
    }

 private:
    static ByteView view(const void* data, std::size_t size) {
        return {static_cast<const std::uint8_t*>(data), size};
    }
    Tensor tensor_;
};

class FinetuneObjective final : public Objective {
 public:
    FinetuneObjective(const FinetuneSpec& spec, const DecoderConfig& config, ModelFolder folder,
                      ExampleSet training, std::optional<ExampleSet> validation, c10::Device device)
        : spec_(spec),
          config_(config),
          folder_(std::move(folder)),
          base_(config, prefix_of(config, folder_.tensors)),
          decoder_(config, base_, spec.context, device),
          training_(std::move(training)),
          validation_(std::move(validation)),
          rows_(training_, spec.rows, spec.context, spec.seed),
          device_(device) {
        if (validation_) held_out_.emplace(*validation_, spec.rows, spec.context, spec.seed);
    }

    /// Checks the folder and, with LoRA, loads its weights.
    Result<void> open() {
        TRY(check_tokens(training_, config_.vocab));
        if (validation_) TRY(check_tokens(*validation_, config_.vocab));
        for (const ParameterSlot& slot : base_.slots)
            TRY(find_tensor(folder_.tensors, slot));
        if (!spec_.lora) return {};
        TRY_ASSIGN(adapters_, lora_layout(base_, *spec_.lora));
        const auto type = spec_.precision == Precision::kBf16 ? at::kBFloat16 : at::kFloat;
        for (const ParameterSlot& slot : base_.slots) {
            Tensor wide = at::empty(slot.shape, at::kFloat);
            TRY(read_tensor(folder_.tensors, slot, wide.data_ptr<float>()));
            frozen_.push_back(wide.to(device_, type));
        }
        return {};
    }

    [[nodiscard]] const std::vector<ParameterSlot>& layout() const override {
        return spec_.lora ? adapters_.slots : base_.slots;
    }

    [[nodiscard]] Result<void> fill_start(std::uint64_t seed, float* values) const override {
        if (spec_.lora) return Objective::fill_start(seed, values);
        for (const ParameterSlot& slot : base_.slots)
            TRY(read_tensor(folder_.tensors, slot, values + slot.offset));
        return {};
    }

    [[nodiscard]] Tensor loss(std::span<const Tensor> parameters, const RowRange& range) override {
        std::vector<std::uint64_t> rows(spec_.batch);
        std::uint64_t learned = 0;
        for (std::uint32_t i = 0; i < spec_.batch; ++i) {
            rows[i] = rows_.shuffled(range.step * spec_.batch + i);
            learned += rows_.learned(rows[i]);
        }
        const RowBatch batch = rows_.batch(std::span(rows).subspan(range.begin, range.count));
        const Tensor sum = at::cross_entropy_loss(
            logits(parameters, batch), device_tensor(batch.targets), {}, at::Reduction::Sum);
        return sum / static_cast<double>(learned);
    }

    [[nodiscard]] Result<EvalSums> evaluate(std::span<const Tensor> parameters) override {
        EvalSums sums;
        if (!held_out_) return sums;
        const std::uint64_t rows =
            std::min(held_out_->rows(), std::uint64_t{spec_.eval_batches} * spec_.batch);
        std::vector<std::uint64_t> some;
        for (std::uint64_t begin = 0; begin < rows; begin += micro_batch(spec_)) {
            some.clear();
            for (std::uint64_t i = begin; i < std::min(rows, begin + micro_batch(spec_)); ++i)
                some.push_back(i);
            const RowBatch batch = held_out_->batch(some);
            const Tensor out = logits(parameters, batch);
            const Tensor targets = device_tensor(batch.targets);
            sums.loss +=
                at::cross_entropy_loss(out, targets, {}, at::Reduction::Sum).item<double>();
            sums.right +=
                static_cast<std::uint64_t>(out.argmax(-1).eq(targets).sum().item<std::int64_t>());
            sums.samples += batch.targets.size();
        }
        return sums;
    }

    [[nodiscard]] Result<CheckpointInfo> write_result(const std::filesystem::path& path,
                                                      const StateBuffer& state) const override {
        return guarded([&] { return write(path, state); });
    }

 private:
    [[nodiscard]] Tensor device_tensor(const std::vector<std::int64_t>& values) const {
        return at::tensor(values, at::kLong).to(device_);
    }

    [[nodiscard]] Tensor logits(std::span<const Tensor> parameters, const RowBatch& batch) const {
        const auto grid = [&](const std::vector<std::int64_t>& values) {
            return device_tensor(values).view({batch.rows, batch.length});
        };
        const Tensor tokens = grid(batch.tokens);
        const Tensor positions = grid(batch.positions);
        const Tensor segments = grid(batch.segments);
        const TokenRows rows{tokens, positions, segments};
        const Tensor picked = device_tensor(batch.picked);
        if (!spec_.lora) return decoder_.logits(parameters, nullptr, rows, picked);
        const LinearAdapters adapters{parameters, adapters_.places, spec_.lora->scale()};
        return decoder_.logits(frozen_, &adapters, rows, picked);
    }

    Result<CheckpointInfo> write(const std::filesystem::path& path,
                                 const StateBuffer& state) const {
        Metadata metadata = result_metadata(state.step);
        const bool adapter = spec_.result == FinetuneResult::kAdapter;
        if (adapter) metadata["adapter_config"] = adapter_config(base_, adapters_, *spec_.lora);
        std::vector<TensorView> tensors;
        for (const ParameterSlot& slot : adapter ? adapters_.slots : base_.slots) {
            const TensorView* own = folder_.tensors.find(slot.name);
            tensors.push_back(
                {slot.name, own == nullptr ? Dtype::kF32 : own->dtype, slot.shape, {}});
        }
        std::vector<float> values;
        Narrowed narrowed;
        const auto make = [&](const TensorView& tensor) -> Result<ByteView> {
            const auto& slots = adapter ? adapters_.slots : base_.slots;
            const auto index = static_cast<std::size_t>(&tensor - tensors.data());
            TRY(take_values(slots[index], index, state, values));
            return narrowed(values, tensor.dtype);
        };
        TRY_ASSIGN(const WrittenFile file, write_safetensors(path, tensors, metadata, make));
        return CheckpointInfo{state.step, file.sha256, file.bytes};
    }

    /// The trained numbers of one tensor of the result.
    Result<void> take_values(const ParameterSlot& slot, std::size_t index, const StateBuffer& state,
                             std::vector<float>& values) const {
        const auto part = [&](const ParameterSlot& of) {
            return std::span(state.values).subspan(of.offset, of.size);
        };
        if (!spec_.lora || spec_.result == FinetuneResult::kAdapter) {
            const auto trained = part(slot);
            values.assign(trained.begin(), trained.end());
            return {};
        }
        values.resize(slot.size);
        TRY(read_tensor(folder_.tensors, slot, values.data()));
        for (std::size_t i = 0; i < base_.linears.size(); ++i) {
            const std::size_t place = adapters_.places[i];
            if (base_.linears[i].weight != index || place == DecoderLayout::kNoSlot) continue;
            add_adapter(base_.linears[i], base_.in_out, spec_.lora->rank, spec_.lora->scale(),
                        part(adapters_.slots[place]), part(adapters_.slots[place + 1]), values);
        }
        return {};
    }

    const FinetuneSpec spec_;
    const DecoderConfig config_;
    const ModelFolder folder_;
    const DecoderLayout base_;
    const TorchDecoder decoder_;
    const ExampleSet training_;
    const std::optional<ExampleSet> validation_;
    RowPlan rows_;
    std::optional<RowPlan> held_out_;
    const c10::Device device_;
    LoraLayout adapters_;
    std::vector<Tensor> frozen_;
};

}  // namespace

Result<DecoderConfig> read_finetune_config(const FinetuneSpec& spec,
                                           const std::filesystem::path& folder) {
    TRY_ASSIGN(const ModelFolder files, ModelFolder::open(folder));
    TRY_ASSIGN(DecoderConfig config, parse_hf_config(files.config));
    TRY(check_finetune(spec, config));
    return config;
}

Result<std::unique_ptr<Objective>> make_finetune_objective(const FinetuneSpec& spec,
                                                           const std::filesystem::path& folder,
                                                           ExampleSet training,
                                                           std::optional<ExampleSet> validation,
                                                           const std::string& device) {
    return guarded([&]() -> Result<std::unique_ptr<Objective>> {
        TRY_ASSIGN(const c10::Device where, open_device(device));
        TRY_ASSIGN(ModelFolder files, ModelFolder::open(folder));
        TRY_ASSIGN(const DecoderConfig config, parse_hf_config(files.config));
        TRY(check_finetune(spec, config));
        if (training.size() == 0 || (validation && validation->size() == 0))
            return fail(ErrorCode::data_invalid, "there is no example to learn from");
        auto out = std::make_unique<FinetuneObjective>(
            spec, config, std::move(files), std::move(training), std::move(validation), where);
        TRY(out->open());
        return std::unique_ptr<Objective>(std::move(out));
    });
}

}  // namespace worker::model
