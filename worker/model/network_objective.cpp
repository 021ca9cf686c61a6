// SPDX-License-Identifier: Apache-2.0
#include "worker/model/network_objective.hpp"

#include "worker/model/dataset.hpp"
#include "worker/model/network.hpp"
#include "worker/model/torch_runtime.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>
#include <variant>

namespace worker::model {

using ledger::base::ByteView;
using ledger::base::Result;

namespace {

using Dataset = std::variant<TextDataset, ImageDataset>;

struct Batch {
    at::Tensor input;
    at::Tensor target;
};

Result<Dataset> open_dataset(const TrainSpec& spec, const TrainFiles& files) {
    if (const auto* gpt = std::get_if<GptShape>(&spec.model)) {
        TRY_ASSIGN(auto text,
                   TextDataset::open(files.text, gpt->context, spec.holdout_bp, spec.seed));
        return Dataset(std::move(text));
    }
    const auto& cnn = std::get<CnnShape>(spec.model);
    TRY_ASSIGN(auto images, ImageDataset::open(files.images, files.labels, cnn.height, cnn.width,
                                               cnn.classes, spec.holdout_bp, spec.seed));
    return Dataset(std::move(images));
}

void fill_row(Batch& batch, std::int64_t row, ByteView text) {
    const auto tokens = static_cast<std::size_t>(batch.input.size(1));
    auto* in = batch.input.data_ptr<std::int64_t>() + row * batch.input.size(1);
    auto* out = batch.target.data_ptr<std::int64_t>() + row * batch.input.size(1);
    for (std::size_t i = 0; i < tokens; ++i) {
        in[i] = text[i];
        out[i] = text[i + 1];
    }
}

void fill_row(Batch& batch, std::int64_t row, ByteView pixels, std::uint8_t label) {
    float* in = batch.input.data_ptr<float>() + row * static_cast<std::int64_t>(pixels.size());
    for (std::size_t i = 0; i < pixels.size(); ++i)
        in[i] = static_cast<float>(pixels[i]) * (1.0F / 127.5F) - 1.0F;
    batch.target.data_ptr<std::int64_t>()[row] = label;
}

class NetworkObjective : public Objective {
 public:
    NetworkObjective(const TrainSpec& spec, Dataset data, c10::Device device)
        : spec_(spec),
          layout_(parameter_layout(spec.model)),
          data_(std::move(data)),
          device_(device) {}

    [[nodiscard]] const std::vector<ParameterSlot>& layout() const override { return layout_; }

    [[nodiscard]] at::Tensor loss(std::span<const at::Tensor> parameters,
                                  const RowRange& rows) override {
        Batch batch = make_batch(rows.count);
        for (std::uint32_t i = 0; i < rows.count; ++i)
            fill_training_row(batch, i, rows.step, rows.begin + i);
        const auto mean = at::cross_entropy_loss(logits(parameters, batch), target(batch));
        if (rows.count == spec_.batch) return mean;
        return mean * (static_cast<double>(rows.count) / static_cast<double>(spec_.batch));
    }

    [[nodiscard]] Result<EvalSums> evaluate(std::span<const at::Tensor> parameters) override {
        EvalSums sums;
        const std::uint64_t rows = evaluation_rows();
        for (std::uint64_t begin = 0; begin < rows; begin += spec_.batch) {
            const std::uint64_t count = std::min<std::uint64_t>(spec_.batch, rows - begin);
            Batch batch = make_batch(count);
            for (std::uint64_t i = 0; i < count; ++i)
                fill_holdout_row(batch, i, begin + i, rows);
            const auto out = logits(parameters, batch);
            const auto expected = target(batch);
            const std::int64_t samples = expected.size(0);
            sums.loss +=
                at::cross_entropy_loss(out, expected).item<double>() * static_cast<double>(samples);
            sums.right +=
                static_cast<std::uint64_t>(out.argmax(-1).eq(expected).sum().item<std::int64_t>());
            sums.samples += static_cast<std::uint64_t>(samples);
        }
        return sums;
    }

 private:
    [[nodiscard]] Batch make_batch(std::uint64_t count) const {
        const auto rows = static_cast<std::int64_t>(count);
        if (const auto* gpt = std::get_if<GptShape>(&spec_.model)) {
            const std::int64_t tokens = gpt->context;
            return {at::empty({rows, tokens}, at::kLong), at::empty({rows * tokens}, at::kLong)};
        }
        const auto& cnn = std::get<CnnShape>(spec_.model);
        return {at::empty({rows, 1, cnn.height, cnn.width}, at::kFloat),
                at::empty({rows}, at::kLong)};
    }

    void fill_training_row(Batch& batch, std::uint32_t place, std::uint64_t step,
                           std::uint32_t row) {
        if (const auto* text = std::get_if<TextDataset>(&data_)) {
            fill_row(batch, place, text->training_row(step, row));
            return;
        }
        auto& images = std::get<ImageDataset>(data_);
        const std::uint32_t index = images.training_index(step * spec_.batch + row);
        fill_row(batch, place, images.pixels(index), images.label(index));
    }

    void fill_holdout_row(Batch& batch, std::uint64_t place, std::uint64_t row,
                          std::uint64_t rows) const {
        const auto at_row = static_cast<std::int64_t>(place);
        if (const auto* text = std::get_if<TextDataset>(&data_)) {
            fill_row(batch, at_row, text->holdout_row(row, rows));
            return;
        }
        const auto& images = std::get<ImageDataset>(data_);
        const std::uint32_t index = images.holdout_index(static_cast<std::uint32_t>(row));
        fill_row(batch, at_row, images.pixels(index), images.label(index));
    }

    [[nodiscard]] std::uint64_t evaluation_rows() const {
        const std::uint64_t wanted = std::uint64_t{spec_.eval_batches} * spec_.batch;
        if (const auto* text = std::get_if<TextDataset>(&data_))
            return text->has_holdout() ? wanted : 0;
        return std::min<std::uint64_t>(wanted, std::get<ImageDataset>(data_).holdout_count());
    }

    [[nodiscard]] at::Tensor logits(std::span<const at::Tensor> parameters,
                                    const Batch& batch) const {
        auto input = batch.input.to(device_);
        if (input.is_floating_point()) input = input.to(parameters.front().scalar_type());
        return network_logits(spec_.model, parameters, input);
    }

    [[nodiscard]] at::Tensor target(const Batch& batch) const { return batch.target.to(device_); }

    TrainSpec spec_;
    std::vector<ParameterSlot> layout_;
    Dataset data_;
    c10::Device device_;
};

}  // namespace

Result<std::unique_ptr<Objective>> make_network_objective(const TrainSpec& spec,
                                                          const TrainFiles& files,
                                                          const std::string& device) {
    TRY_ASSIGN(const c10::Device where, open_device(device));
    TRY_ASSIGN(Dataset data, open_dataset(spec, files));
    return std::make_unique<NetworkObjective>(spec, std::move(data), where);
}

}  // namespace worker::model
