// SPDX-License-Identifier: Apache-2.0
#include "worker/model/training.hpp"

#include "ledger/base/check.hpp"
#include "ledger/base/sha256.hpp"
#include "worker/model/checkpoint.hpp"
#include "worker/model/dataset.hpp"
#include "worker/model/layout.hpp"
#include "worker/model/network.hpp"
#include "worker/model/optimizer.hpp"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <torch/version.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <future>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Hash32;
using ledger::base::Result;

namespace {

constexpr double kGradientNormMax = 1.0;

using Dataset = std::variant<TextDataset, ImageDataset>;

struct Batch {
    at::Tensor input;
    at::Tensor target;
};

/// Runs `work`, turning what torch and the allocator throw into errors.
template <typename Work>
auto guarded(Work&& work) -> decltype(work()) {
    try {
        return work();
    } catch (const std::bad_alloc&) {
        return fail(ErrorCode::out_of_memory, "the job needs more memory than it may use");
    } catch (const c10::Error& error) {
        const std::string what = error.what_without_backtrace();
        const bool memory = what.find("out of memory") != std::string::npos ||
                            what.find("can't allocate memory") != std::string::npos;
        if (memory)
            return fail(ErrorCode::out_of_memory, "the job needs more memory than it may use");
        return fail(ErrorCode::worker_failed, "libtorch: " + what.substr(0, what.find('\n')));
    }
}

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

void fill_row(Batch& batch, std::int64_t row, ledger::base::ByteView text) {
    const auto tokens = static_cast<std::size_t>(batch.input.size(1));
    auto* in = batch.input.data_ptr<std::int64_t>() + row * batch.input.size(1);
    auto* out = batch.target.data_ptr<std::int64_t>() + row * batch.input.size(1);
    for (std::size_t i = 0; i < tokens; ++i) {
        in[i] = text[i];
        out[i] = text[i + 1];
    }
}

void fill_row(Batch& batch, std::int64_t row, ledger::base::ByteView pixels, std::uint8_t label) {
    float* in = batch.input.data_ptr<float>() + row * static_cast<std::int64_t>(pixels.size());
    for (std::size_t i = 0; i < pixels.size(); ++i)
        in[i] = static_cast<float>(pixels[i]) * (1.0F / 127.5F) - 1.0F;
    batch.target.data_ptr<std::int64_t>()[row] = label;
}

Batch make_batch(const ModelSpec& model, std::int64_t rows) {
    if (const auto* gpt = std::get_if<GptShape>(&model)) {
        const std::int64_t tokens = gpt->context;
        return {at::empty({rows, tokens}, at::kLong), at::empty({rows * tokens}, at::kLong)};
    }
    const auto& cnn = std::get<CnnShape>(model);
    return {at::empty({rows, 1, cnn.height, cnn.width}, at::kFloat), at::empty({rows}, at::kLong)};
}

Result<c10::Device> parse_device(const std::string& name) {
    if (name == "cpu") return c10::Device(c10::kCPU);
    if (name != "cuda") return fail(ErrorCode::config_invalid, "device must be cpu or cuda");
    // Asserted here: a GPU that the sandbox hides must never become a silent run on the CPU.
    if (!at::hasCUDA()) return fail(ErrorCode::worker_failed, "no CUDA device is visible");
    return c10::Device(c10::kCUDA, 0);
}

}  // namespace

void configure_runtime(const RuntimeOptions& options) {
    static std::once_flag once;
    std::call_once(once, [] { at::set_num_interop_threads(1); });
    at::set_num_threads(options.threads);
    // Torch does not tell the pthread build of OpenBLAS about its thread count.
    using SetThreads = void (*)(int);
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): dlsym has no other form.
    const auto set_blas =
        reinterpret_cast<SetThreads>(::dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
    if (set_blas != nullptr) set_blas(options.threads);
    auto& context = at::globalContext();
    context.setDeterministicAlgorithms(true, /*warn_only=*/false);
    context.setDeterministicCuDNN(true);
    context.setBenchmarkCuDNN(false);
    context.setAllowTF32CuBLAS(false);
    context.setAllowTF32CuDNN(false);
}

std::string runtime_name() {
    return fmt::format("libtorch-{}.{}.{}-{}", TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR,
                       TORCH_VERSION_PATCH, at::hasCUDA() ? "cuda" : "cpu");
}

struct TrainingRun::State {
    State(const TrainSpec& spec_in, Dataset data_in, c10::Device device_in)
        : spec(spec_in),
          layout(parameter_layout(spec_in.model)),
          count(layout.back().offset + layout.back().size),
          data(std::move(data_in)),
          device(device_in) {}

    void allocate();
    void bind_parameters();
    void load_batch();
    void optimise();
    double gradient_norm();
    void copy_to(StateBuffer& buffer) const;
    void copy_from(const StateBuffer& buffer);

    TrainSpec spec;
    std::vector<ParameterSlot> layout;
    std::uint64_t count;
    Dataset data;
    c10::Device device;
    std::uint64_t step = 0;

    // One flat buffer each, of which the parameters are views: one pass for the optimiser, one copy
    // for a checkpoint.
    at::Tensor values;
    at::Tensor rounded;  // bf16 only
    at::Tensor gradients;
    at::Tensor first;
    at::Tensor second;
    at::Tensor decay;  // on a GPU only: 1 where weight decay applies
    std::vector<at::Tensor> parameters;

    Batch host;
    Batch batch;
    at::Tensor loss_sum;
    at::Tensor norm_sum;

    StateBuffer snapshot;
    std::future<Result<CheckpointInfo>> writing;
    std::atomic<bool> written{false};
};

void TrainingRun::State::allocate() {
    const auto size = static_cast<std::int64_t>(count);
    const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
    const bool half = spec.precision == Precision::kBf16;
    values = at::zeros({size}, options);
    first = at::zeros({size}, options);
    second = at::zeros({size}, options);
    gradients = at::zeros({size}, half ? options.dtype(at::kBFloat16) : options);
    if (half) rounded = at::zeros({size}, options.dtype(at::kBFloat16));
    if (!device.is_cpu()) {
        decay = at::zeros({size}, options);
        for (const ParameterSlot& slot : layout)
            if (slot.decay)
                decay
                    .narrow(0, static_cast<std::int64_t>(slot.offset),
                            static_cast<std::int64_t>(slot.size))
                    .fill_(1);
    }
    host = make_batch(spec.model, spec.batch);
    if (!device.is_cpu())
        batch = {at::empty_like(host.input, device), at::empty_like(host.target, device)};
    loss_sum = at::zeros({}, options.dtype(at::kDouble));
    norm_sum = at::zeros({}, options.dtype(at::kDouble));
}

void TrainingRun::State::bind_parameters() {
    const bool half = spec.precision == Precision::kBf16;
    if (half) rounded.copy_(values);
    const at::Tensor& source = half ? rounded : values;
    parameters.clear();
    for (const ParameterSlot& slot : layout) {
        const auto offset = static_cast<std::int64_t>(slot.offset);
        const auto size = static_cast<std::int64_t>(slot.size);
        auto view = source.narrow(0, offset, size).view(slot.shape).detach();
        view.requires_grad_(true);
        view.mutable_grad() = gradients.narrow(0, offset, size).view(slot.shape);
        parameters.push_back(std::move(view));
    }
}

void TrainingRun::State::load_batch() {
    if (auto* text = std::get_if<TextDataset>(&data)) {
        for (std::uint32_t row = 0; row < spec.batch; ++row)
            fill_row(host, row, text->training_row(step, row));
    } else {
        auto& images = std::get<ImageDataset>(data);
        for (std::uint32_t row = 0; row < spec.batch; ++row) {
            const std::uint32_t index = images.training_index(step * spec.batch + row);
            fill_row(host, row, images.pixels(index), images.label(index));
        }
    }
    if (device.is_cpu()) {
        batch = host;
    } else {
        batch.input.copy_(host.input);
        batch.target.copy_(host.target);
    }
}

double TrainingRun::State::gradient_norm() {
    if (spec.precision == Precision::kBf16)
        return std::sqrt(
            sum_of_squares_bf16(static_cast<const std::uint16_t*>(gradients.data_ptr()), count));
    return std::sqrt(sum_of_squares(gradients.data_ptr<float>(), count));
}

void TrainingRun::State::optimise() {
    AdamWSettings settings;
    settings.learning_rate = static_cast<float>(
        learning_rate_at(spec.learning_rate, step, spec.warmup_steps, spec.steps));
    settings.step = step + 1;
    if (!device.is_cpu()) {
        const auto gradient = gradients.to(at::kFloat);
        const auto norm = gradient.norm();
        norm_sum.add_(norm);
        const auto scale = (kGradientNormMax / (norm + 1e-6)).clamp_max(1.0);
        const auto scaled = gradient * scale;
        const double t = static_cast<double>(settings.step);
        const double correction1 = 1.0 - std::pow(static_cast<double>(settings.beta1), t);
        const double correction2 = 1.0 - std::pow(static_cast<double>(settings.beta2), t);
        first.mul_(settings.beta1).add_(scaled, 1.0 - static_cast<double>(settings.beta1));
        second.mul_(settings.beta2)
            .addcmul_(scaled, scaled, 1.0 - static_cast<double>(settings.beta2));
        const double rate = static_cast<double>(settings.learning_rate);
        values.addcmul_(values, decay, -rate * spec.weight_decay);
        const auto root = second.sqrt().mul_(1.0 / std::sqrt(correction2)).add_(settings.epsilon);
        values.addcdiv_(first, root, -rate / correction1);
        if (rounded.defined()) rounded.copy_(values);
        return;
    }
    const double norm = gradient_norm();
    norm_sum.add_(norm);
    settings.gradient_scale =
        norm > kGradientNormMax ? static_cast<float>(kGradientNormMax / norm) : 1.0F;
    float* value = values.data_ptr<float>();
    float* m = first.data_ptr<float>();
    float* v = second.data_ptr<float>();
    for (const ParameterSlot& slot : layout) {
        settings.weight_decay = slot.decay ? static_cast<float>(spec.weight_decay) : 0.0F;
        const std::uint64_t o = slot.offset;
        if (rounded.defined()) {
            adamw_bf16(value + o, m + o, v + o,
                       static_cast<const std::uint16_t*>(gradients.data_ptr()) + o,
                       static_cast<std::uint16_t*>(rounded.data_ptr()) + o, slot.size, settings);
        } else {
            adamw(value + o, m + o, v + o, gradients.data_ptr<float>() + o, slot.size, settings);
        }
    }
}

void TrainingRun::State::copy_to(StateBuffer& buffer) const {
    buffer.resize(count);
    const auto copy = [&](std::vector<float>& to, const at::Tensor& from) {
        const auto local = from.cpu();
        const float* begin = local.data_ptr<float>();
        std::copy(begin, begin + count, to.begin());
    };
    copy(buffer.values, values);
    copy(buffer.first, first);
    copy(buffer.second, second);
    buffer.step = step;
}

void TrainingRun::State::copy_from(const StateBuffer& buffer) {
    const auto copy = [&](at::Tensor& to, const std::vector<float>& from) {
        auto local = at::empty({static_cast<std::int64_t>(count)}, at::kFloat);
        std::copy(from.begin(), from.end(), local.data_ptr<float>());
        to.copy_(local);
    };
    copy(values, buffer.values);
    copy(first, buffer.first);
    copy(second, buffer.second);
    step = buffer.step;
}

TrainingRun::TrainingRun(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
TrainingRun::~TrainingRun() = default;
TrainingRun::TrainingRun(TrainingRun&&) noexcept = default;
TrainingRun& TrainingRun::operator=(TrainingRun&&) noexcept = default;

Result<TrainingRun> TrainingRun::create(const TrainSpec& spec, const TrainFiles& files,
                                        const RuntimeOptions& options) {
    configure_runtime(options);
    return guarded([&]() -> Result<TrainingRun> {
        TRY_ASSIGN(const c10::Device device, parse_device(options.device));
        TRY_ASSIGN(Dataset data, open_dataset(spec, files));
        auto state = std::make_unique<State>(spec, std::move(data), device);
        const at::NoGradGuard no_grad;
        state->allocate();
        StateBuffer start;
        start.resize(state->count);
        if (files.checkpoint) {
            TRY(read_checkpoint(*files.checkpoint, state->layout, start));
            if (start.step > spec.steps)
                return fail(ErrorCode::data_invalid, "the checkpoint is past the job's last step");
        } else if (files.init) {
            TRY(read_weights(*files.init, state->layout, start.values));
        } else {
            fill_initial(state->layout, spec.seed, start.values.data());
        }
        state->copy_from(start);
        state->bind_parameters();
        return TrainingRun(std::move(state));
    });
}

std::uint64_t TrainingRun::step() const noexcept {
    return state_->step;
}

Result<StepReport> TrainingRun::advance(std::uint64_t count) {
    return guarded([&]() -> Result<StepReport> {
        State& s = *state_;
        const std::uint64_t steps = std::min(count, s.spec.steps - s.step);
        if (steps == 0) return fail(ErrorCode::wrong_state, "the job has reached its last step");
        s.loss_sum.zero_();
        s.norm_sum.zero_();
        for (std::uint64_t i = 0; i < steps; ++i) {
            s.load_batch();
            s.gradients.zero_();
            const auto logits =
                network_logits(s.spec.model, s.parameters,
                               s.rounded.defined() && s.batch.input.is_floating_point()
                                   ? s.batch.input.to(at::kBFloat16)
                                   : s.batch.input);
            const auto loss = at::cross_entropy_loss(logits, s.batch.target);
            loss.backward();
            const at::NoGradGuard no_grad;
            s.loss_sum.add_(loss.detach());
            s.optimise();
            ++s.step;
        }
        const double divisor = static_cast<double>(steps);
        const StepReport report{s.step, s.loss_sum.item<double>() / divisor,
                                s.norm_sum.item<double>() / divisor};
        if (!std::isfinite(report.loss) || !std::isfinite(report.gradient_norm))
            return fail(ErrorCode::worker_failed,
                        fmt::format("the loss is not a finite number before step {}; lower the "
                                    "learning rate",
                                    s.step));
        return report;
    });
}

Result<EvalReport> TrainingRun::evaluate() {
    return guarded([&]() -> Result<EvalReport> {
        State& s = *state_;
        const at::NoGradGuard no_grad;
        EvalReport report;
        report.step = s.step;
        std::uint64_t rows = std::uint64_t{s.spec.eval_batches} * s.spec.batch;
        const auto* text = std::get_if<TextDataset>(&s.data);
        const auto* images = std::get_if<ImageDataset>(&s.data);
        if (images != nullptr) rows = std::min<std::uint64_t>(rows, images->holdout_count());
        if (text != nullptr && !text->has_holdout()) rows = 0;
        std::uint64_t right = 0;
        for (std::uint64_t begin = 0; begin < rows; begin += s.spec.batch) {
            const std::uint64_t size = std::min<std::uint64_t>(s.spec.batch, rows - begin);
            Batch batch = make_batch(s.spec.model, static_cast<std::int64_t>(size));
            for (std::uint64_t row = 0; row < size; ++row) {
                const auto at_row = static_cast<std::int64_t>(row);
                if (text != nullptr) {
                    fill_row(batch, at_row, text->holdout_row(begin + row, rows));
                } else {
                    const auto index =
                        images->holdout_index(static_cast<std::uint32_t>(begin + row));
                    fill_row(batch, at_row, images->pixels(index), images->label(index));
                }
            }
            auto input = batch.input.to(s.device);
            if (s.rounded.defined() && input.is_floating_point()) input = input.to(at::kBFloat16);
            const auto target = batch.target.to(s.device);
            const auto logits = network_logits(s.spec.model, s.parameters, input);
            const auto samples = static_cast<std::uint64_t>(target.size(0));
            report.loss += at::cross_entropy_loss(logits, target).item<double>() *
                           static_cast<double>(samples);
            right +=
                static_cast<std::uint64_t>(logits.argmax(-1).eq(target).sum().item<std::int64_t>());
            report.samples += samples;
        }
        if (report.samples > 0) {
            report.loss /= static_cast<double>(report.samples);
            report.accuracy = static_cast<double>(right) / static_cast<double>(report.samples);
        }
        return report;
    });
}

Result<CheckpointInfo> TrainingRun::save_checkpoint(const std::filesystem::path& path) {
    begin_checkpoint(path);
    return finish_checkpoint();
}

void TrainingRun::begin_checkpoint(const std::filesystem::path& path) {
    State& s = *state_;
    MR_CHECK(!s.writing.valid());
    s.copy_to(s.snapshot);
    s.written = false;
    s.writing = std::async(std::launch::async, [&s, path] {
        auto result = write_checkpoint(path, s.layout, s.snapshot);
        s.written = true;
        return result;
    });
}

bool TrainingRun::checkpoint_ready() const noexcept {
    return state_->written;
}

Result<CheckpointInfo> TrainingRun::finish_checkpoint() {
    MR_CHECK(state_->writing.valid());
    return state_->writing.get();
}

Hash32 TrainingRun::parameters_hash() const {
    const auto local = state_->values.cpu();
    return ledger::base::sha256({static_cast<const std::uint8_t*>(local.data_ptr()),
                                 static_cast<std::size_t>(state_->count) * sizeof(float)});
}

}  // namespace worker::model
