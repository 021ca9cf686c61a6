// SPDX-License-Identifier: Apache-2.0
#include "worker/model/network_objective.hpp"

#include "worker/model/dataset.hpp"
#include "worker/model/network.hpp"
#include "worker/model/torch_runtime.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

namespace worker::model {

using ledger::base::Result;

namespace {

using Dataset = std::variant<SequenceDataset, ImageDataset>;

struct Batch {
    at::Tensor input;
    at::Tensor target;
};

Result<SymbolSourcePtr> open_symbols(const DataSpec& data, const std::filesystem::path& path,
                                     std::uint32_t vocab) {
    if (const auto* jsonl = std::get_if<JsonlData>(&data)) return open_jsonl(path, jsonl->field);
    if (std::holds_alternative<TokenData>(data)) return open_tokens(path, vocab);
    return open_text(path);
}

Result<ImageSourcePtr> open_images(const TrainSpec& spec, const TrainFiles& files,
                                   const ImageSize& size, std::uint32_t classes) {
    if (std::holds_alternative<TarData>(spec.data))
        return open_image_tar(files.images, size, classes, spec.seed);
    if (std::holds_alternative<ImageJsonlData>(spec.data))
        return open_image_jsonl(files.images, size, classes, spec.seed);
    return open_idx(files.images, files.labels, size, classes);
}

Result<Dataset> open_dataset(const TrainSpec& spec, const TrainFiles& files) {
    if (const auto* gpt = std::get_if<GptShape>(&spec.model)) {
        TRY_ASSIGN(auto source, open_symbols(spec.data, files.text, gpt->vocab));
        TRY_ASSIGN(auto rows, SequenceDataset::open(std::move(source), gpt->context,
                                                    spec.holdout_bp, spec.seed));
        return Dataset(std::move(rows));
    }
    const ImageShape shape = image_shape(spec.model).value();
    const ImageSize size{shape.colors, shape.height, shape.width};
    TRY_ASSIGN(auto source, open_images(spec, files, size, shape.classes));
    return Dataset(std::in_place_type<ImageDataset>, std::move(source), spec.holdout_bp, spec.seed);
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
        const ImageShape image = image_shape(spec_.model).value();
        return {at::empty({rows, image.colors, image.height, image.width}, at::kFloat),
                at::empty({rows}, at::kLong)};
    }

    void fill_training_row(Batch& batch, std::uint32_t place, std::uint64_t step,
                           std::uint32_t row) {
        if (const auto* symbols = std::get_if<SequenceDataset>(&data_)) {
            symbols->training_row(step, row, window(batch));
            fill_window(batch, place);
        } else {
            auto& images = std::get<ImageDataset>(data_);
            fill_image(batch, place, images.training_index(step * spec_.batch + row));
        }
    }

    void fill_holdout_row(Batch& batch, std::uint64_t place, std::uint64_t row,
                          std::uint64_t rows) {
        if (const auto* symbols = std::get_if<SequenceDataset>(&data_)) {
            symbols->holdout_row(row, rows, window(batch));
            fill_window(batch, place);
        } else {
            const auto& images = std::get<ImageDataset>(data_);
            fill_image(batch, place, images.holdout_index(static_cast<std::uint32_t>(row)));
        }
    }

    /// Where a row's context + 1 symbols go before they become input and target.
    std::span<std::int64_t> window(const Batch& batch) {
        symbols_.resize(static_cast<std::size_t>(batch.input.size(1)) + 1);
        return symbols_;
    }

    void fill_window(Batch& batch, std::uint64_t place) const {
        const auto tokens = static_cast<std::size_t>(batch.input.size(1));
        std::copy_n(symbols_.begin(), tokens,
                    batch.input.data_ptr<std::int64_t>() + place * tokens);
        std::copy_n(symbols_.begin() + 1, tokens,
                    batch.target.data_ptr<std::int64_t>() + place * tokens);
    }

    void fill_image(Batch& batch, std::uint64_t place, std::uint32_t index) {
        const ImageSource& source = std::get<ImageDataset>(data_).source();
        pixels_.resize(static_cast<std::size_t>(batch.input[0].numel()));
        source.read(index, pixels_);
        float* in = batch.input.data_ptr<float>() + place * pixels_.size();
        for (std::size_t i = 0; i < pixels_.size(); ++i)
            in[i] = static_cast<float>(pixels_[i]) * (1.0F / 127.5F) - 1.0F;
        batch.target.data_ptr<std::int64_t>()[place] = source.label(index);
    }

    [[nodiscard]] std::uint64_t evaluation_rows() const {
        const std::uint64_t wanted = std::uint64_t{spec_.eval_batches} * spec_.batch;
        if (const auto* text = std::get_if<SequenceDataset>(&data_))
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
    std::vector<std::int64_t> symbols_;
    std::vector<std::uint8_t> pixels_;
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
