// SPDX-License-Identifier: Apache-2.0
#include "worker/model/training.hpp"

#include "ledger/base/check.hpp"
#include "ledger/base/sha256.hpp"
#include "worker/model/checkpoint.hpp"
#include "worker/model/network_objective.hpp"
#include "worker/model/optimizer.hpp"
#include "worker/model/torch_runtime.hpp"

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
#include <utility>
#include <vector>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Hash32;
using ledger::base::Result;

namespace {

constexpr double kGradientNormMax = 1.0;

}  // namespace

Result<c10::Device> open_device(const std::string& name) {
    if (name == "cpu") return c10::Device(c10::kCPU);
    if (name != "cuda") return fail(ErrorCode::config_invalid, "device must be cpu or cuda");
    if (!at::hasCUDA()) return fail(ErrorCode::worker_failed, "no CUDA device is visible");
    return c10::Device(c10::kCUDA, 0);
}

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
    State(const LoopSpec& spec_in, std::unique_ptr<Objective> objective_in, c10::Device device_in)
        : spec(spec_in),
          objective(std::move(objective_in)),
          layout(objective->layout()),
          count(layout.back().offset + layout.back().size),
          device(device_in) {}

    void allocate();
    void bind_parameters();
    void optimise();
    double gradient_norm();
    void copy_to(StateBuffer& buffer) const;
    void copy_from(const StateBuffer& buffer);

    LoopSpec spec;
    std::unique_ptr<Objective> objective;
    const std::vector<ParameterSlot>& layout;
    std::uint64_t count;
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
    TRY_ASSIGN(auto objective, make_network_objective(spec, files, options.device));
    return start(spec, std::move(objective), {files.init, files.checkpoint}, options);
}

Result<TrainingRun> TrainingRun::start(const LoopSpec& spec, std::unique_ptr<Objective> objective,
                                       const StartFiles& files, const RuntimeOptions& options) {
    MR_CHECK(!objective->layout().empty());
    configure_runtime(options);
    return guarded([&]() -> Result<TrainingRun> {
        TRY_ASSIGN(const c10::Device device, open_device(options.device));
        auto state = std::make_unique<State>(spec, std::move(objective), device);
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
            TRY(state->objective->fill_start(spec.seed, start.values.data()));
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
            s.gradients.zero_();
            const auto loss = s.objective->loss(s.parameters, {s.step, 0, s.spec.batch});
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
        TRY_ASSIGN(const EvalSums sums, s.objective->evaluate(s.parameters));
        report.samples = sums.samples;
        if (sums.samples > 0) {
            report.loss = sums.loss / static_cast<double>(sums.samples);
            report.accuracy = static_cast<double>(sums.right) / static_cast<double>(sums.samples);
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
        auto result = s.snapshot.step == s.spec.steps
                          ? s.objective->write_result(path, s.snapshot)
                          : write_checkpoint(path, s.layout, s.snapshot);
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
