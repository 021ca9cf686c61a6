// SPDX-License-Identifier: Apache-2.0
#include "worker/model/training.hpp"

#include "ledger/base/check.hpp"
#include "ledger/base/sha256.hpp"
#include "worker/model/checkpoint.hpp"
#include "worker/model/network_objective.hpp"
#include "worker/model/optimizer.hpp"
#include "worker/model/result_file.hpp"
#include "worker/model/torch_runtime.hpp"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <torch/version.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <future>
#include <mutex>
#include <new>
#include <optional>
#include <utility>
#include <vector>

namespace worker::model {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Hash32;
using ledger::base::Result;

namespace {

/// Ranks share the job's threads, also where one process does all their work: the count decides
/// bits.
RuntimeOptions share_of(const LoopSpec& spec, RuntimeOptions options) {
    options.threads = std::max(1, options.threads / static_cast<int>(spec.ranks));
    return options;
}

}  // namespace

Error torch_error() {
    const auto out_of_memory = [] {
        return Error(ErrorCode::out_of_memory, "the job needs more memory than it may use");
    };
    try {
        throw;
    } catch (const std::bad_alloc&) {
        return out_of_memory();
    } catch (const c10::Error& error) {
        const std::string what = error.what_without_backtrace();
        if (what.find("out of memory") != std::string::npos ||
            what.find("can't allocate memory") != std::string::npos)
            return out_of_memory();
        return Error(ErrorCode::worker_failed, "libtorch: " + what.substr(0, what.find('\n')));
    }
}

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
    // cuBLAS is deterministic with a workspace of its own only, and torch refuses it without.
    if (options.device == "cuda") ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*replace=*/0);
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
    void run_rank(std::uint32_t rank);
    void run_step();
    void optimise();
    void optimise_cpu(float learning_rate);
    void optimise_gpu(float learning_rate);
    double gradient_norm();
    Result<void> judge(const EvalReport& report);
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
    // Sums in fp32, only where a step has such parts: the pieces of a rank in bf16, and the ranks.
    at::Tensor piece_sum;
    at::Tensor rank_sum;
    at::Tensor gradient;  // the step's: one of the three above
    at::Tensor first;     // undefined where the optimiser has none
    at::Tensor second;
    at::Tensor decay;  // on a GPU only: 1 where weight decay applies
    std::vector<at::Tensor> parameters;

    at::Tensor loss_sum;
    at::Tensor norm_sum;

    std::unique_ptr<RankGroup> group;  // none: this process does every rank's part

    bool over = false;  // started from what the job left at its end
    std::optional<Patience> patience;
    std::uint64_t judged_step = 0;  // of the last evaluation that the patience counts

    StateBuffer snapshot;
    std::future<Result<CheckpointInfo>> writing;
    std::atomic<bool> written{false};
};

void TrainingRun::State::allocate() {
    const auto size = static_cast<std::int64_t>(count);
    const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
    const bool half = spec.precision == Precision::kBf16;
    values = at::zeros({size}, options);
    const bool adam = spec.optimizer.kind == OptimizerKind::kAdamW;
    if (adam || spec.optimizer.momentum > 0.0F) first = at::zeros({size}, options);
    if (adam) second = at::zeros({size}, options);
    gradients = at::zeros({size}, half ? options.dtype(at::kBFloat16) : options);
    if (half) rounded = at::zeros({size}, options.dtype(at::kBFloat16));
    if (half && spec.accumulate > 1) piece_sum = at::zeros({size}, options);
    if (spec.ranks > 1) rank_sum = at::zeros({size}, options);
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

/// Leaves the gradient of one rank's rows in `gradient`, and adds their loss.
void TrainingRun::State::run_rank(std::uint32_t rank) {
    gradient = piece_sum.defined() ? piece_sum : gradients;
    gradient.zero_();
    for (std::uint32_t piece = 0; piece < spec.accumulate; ++piece) {
        const std::uint32_t rows = micro_batch(spec);
        const std::uint32_t begin = (rank * spec.accumulate + piece) * rows;
        if (piece_sum.defined()) gradients.zero_();
        const auto loss = objective->loss(parameters, {step, begin, rows});
        loss.backward();  // adds to what `gradients` holds
        const c10::NoGradGuard no_grad;
        loss_sum.add_(loss.detach());
        if (piece_sum.defined()) piece_sum.add_(gradients);
    }
}

/// Ranks add up in their order, wherever they run, so that their number alone decides the bits.
void TrainingRun::State::run_step() {
    if (group) {
        run_rank(group->rank());
        const c10::NoGradGuard no_grad;
        rank_sum.copy_(gradient);
        group->sum(rank_sum);
        gradient = rank_sum;
        return;
    }
    if (rank_sum.defined()) rank_sum.zero_();
    for (std::uint32_t rank = 0; rank < spec.ranks; ++rank) {
        run_rank(rank);
        const c10::NoGradGuard no_grad;
        if (rank_sum.defined()) rank_sum.add_(gradient);
    }
    if (rank_sum.defined()) gradient = rank_sum;
}

double TrainingRun::State::gradient_norm() {
    if (gradient.scalar_type() == at::kBFloat16)
        return std::sqrt(
            sum_of_squares_bf16(static_cast<const std::uint16_t*>(gradient.data_ptr()), count));
    return std::sqrt(sum_of_squares(gradient.data_ptr<float>(), count));
}

void TrainingRun::State::optimise() {
    const auto rate = static_cast<float>(learning_rate_at(spec, step));
    if (device.is_cpu()) {
        optimise_cpu(rate);
    } else {
        optimise_gpu(rate);
    }
    ++step;
}

void TrainingRun::State::optimise_gpu(float learning_rate) {
    const double rate = static_cast<double>(learning_rate);
    auto scaled = gradient.to(at::kFloat);
    const auto norm = scaled.norm();
    norm_sum.add_(norm);
    if (spec.clip_norm > 0) scaled = scaled * (spec.clip_norm / (norm + 1e-6)).clamp_max(1.0);
    if (spec.optimizer.kind == OptimizerKind::kSgd) {
        const double momentum = static_cast<double>(spec.optimizer.momentum);
        scaled = scaled.addcmul(values, decay, spec.weight_decay);
        if (first.defined()) {
            first.mul_(momentum).add_(scaled);
            scaled = spec.optimizer.nesterov ? scaled.add(first, momentum) : first;
        }
        values.add_(scaled, -rate);
    } else {
        const double beta1 = static_cast<double>(spec.optimizer.beta1);
        const double beta2 = static_cast<double>(spec.optimizer.beta2);
        const double t = static_cast<double>(step + 1);
        first.mul_(beta1).add_(scaled, 1.0 - beta1);
        second.mul_(beta2).addcmul_(scaled, scaled, 1.0 - beta2);
        values.addcmul_(values, decay, -rate * spec.weight_decay);
        const auto root = second.sqrt()
                              .mul_(1.0 / std::sqrt(1.0 - std::pow(beta2, t)))
                              .add_(spec.optimizer.epsilon);
        values.addcdiv_(first, root, -rate / (1.0 - std::pow(beta1, t)));
    }
    if (rounded.defined()) rounded.copy_(values);
}

void TrainingRun::State::optimise_cpu(float learning_rate) {
    const double norm = gradient_norm();
    norm_sum.add_(norm);
    const OptimizerSpec& o = spec.optimizer;
    AdamWSettings adam{learning_rate, 0, o.beta1, o.beta2, o.epsilon, step + 1, 1.0F};
    SgdSettings plain{learning_rate, 0, o.momentum, o.nesterov, 1.0F};
    if (spec.clip_norm > 0 && norm > spec.clip_norm)
        adam.gradient_scale = plain.gradient_scale = static_cast<float>(spec.clip_norm / norm);
    const bool half = gradient.scalar_type() == at::kBFloat16;
    for (const ParameterSlot& slot : layout) {
        adam.weight_decay = slot.decay ? static_cast<float>(spec.weight_decay) : 0.0F;
        plain.weight_decay = adam.weight_decay;
        const std::uint64_t offset = slot.offset;
        float* value = values.data_ptr<float>() + offset;
        float* m = first.defined() ? first.data_ptr<float>() + offset : nullptr;
        float* v = second.defined() ? second.data_ptr<float>() + offset : nullptr;
        std::uint16_t* round =
            rounded.defined() ? static_cast<std::uint16_t*>(rounded.data_ptr()) + offset : nullptr;
        if (half) {
            const auto* g = static_cast<const std::uint16_t*>(gradient.data_ptr()) + offset;
            if (v != nullptr) {
                adamw_bf16(value, m, v, g, round, slot.size, adam);
            } else {
                sgd_bf16(value, m, g, round, slot.size, plain);
            }
            continue;
        }
        const float* g = gradient.data_ptr<float>() + offset;
        if (v != nullptr) {
            adamw(value, m, v, g, slot.size, adam);
        } else {
            sgd(value, m, g, slot.size, plain);
        }
        if (round != nullptr) round_to_bf16(value, round, slot.size);
    }
}

/// Counts an evaluation towards the early stop: each step's once, and never that of the start,
/// which a resumed or audited run does not make.
Result<void> TrainingRun::State::judge(const EvalReport& report) {
    if (!patience || report.step == judged_step) return {};
    if (report.samples == 0)
        return fail(ErrorCode::data_invalid,
                    "early_stop needs held-out data, of which there is none");
    judged_step = report.step;
    if (report.loss < patience->best_loss - spec.early_stop->min_delta) {
        *patience = {report.loss, 0};
    } else {
        ++patience->stale;
    }
    return {};
}

void TrainingRun::State::copy_to(StateBuffer& buffer) const {
    buffer.resize(count, spec);
    const auto copy = [&](std::vector<float>& to, const at::Tensor& from) {
        if (!from.defined()) return;
        const auto local = from.cpu();
        const float* begin = local.data_ptr<float>();
        std::copy(begin, begin + count, to.begin());
    };
    copy(buffer.values, values);
    copy(buffer.first, first);
    copy(buffer.second, second);
    buffer.step = step;
    buffer.patience = patience;
}

void TrainingRun::State::copy_from(const StateBuffer& buffer) {
    const auto copy = [&](at::Tensor& to, const std::vector<float>& from) {
        if (!to.defined()) return;
        auto local = at::empty({static_cast<std::int64_t>(count)}, at::kFloat);
        std::copy(from.begin(), from.end(), local.data_ptr<float>());
        to.copy_(local);
    };
    copy(values, buffer.values);
    copy(first, buffer.first);
    copy(second, buffer.second);
    step = buffer.step;
    judged_step = buffer.step;
    patience = buffer.patience;
}

TrainingRun::TrainingRun(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
TrainingRun::~TrainingRun() = default;
TrainingRun::TrainingRun(TrainingRun&&) noexcept = default;
TrainingRun& TrainingRun::operator=(TrainingRun&&) noexcept = default;

Result<TrainingRun> TrainingRun::create(const TrainSpec& spec, const TrainFiles& files,
                                        const RuntimeOptions& options) {
    configure_runtime(share_of(spec, options));
    TRY_ASSIGN(auto objective, make_network_objective(spec, files, options.device));
    return start(spec, std::move(objective), {files.init, files.checkpoint}, options);
}

Result<TrainingRun> TrainingRun::start(const LoopSpec& spec, std::unique_ptr<Objective> objective,
                                       const StartFiles& files, const RuntimeOptions& options) {
    MR_CHECK(!objective->layout().empty());
    configure_runtime(share_of(spec, options));
    return guarded([&]() -> Result<TrainingRun> {
        TRY_ASSIGN(const c10::Device device, open_device(options.device));
        auto state = std::make_unique<State>(spec, std::move(objective), device);
        const c10::NoGradGuard no_grad;
        state->allocate();
        StateBuffer start;
        start.resize(state->count, spec);
        std::optional<std::uint64_t> finished;
        if (files.checkpoint) {
            TRY_ASSIGN(finished, result_step(*files.checkpoint));
        }
        if (finished) {
            start.step = *finished;
            state->over = true;
        } else if (files.checkpoint) {
            TRY(read_checkpoint(*files.checkpoint, state->layout, start));
        } else if (files.init) {
            TRY(read_weights(*files.init, state->layout, start.values));
        } else {
            TRY(state->objective->fill_start(spec.seed, start.values.data()));
        }
        if (start.step > spec.steps)
            return fail(ErrorCode::data_invalid, "the checkpoint is past the job's last step");
        state->copy_from(start);
        state->bind_parameters();
        return TrainingRun(std::move(state));
    });
}

void TrainingRun::join(std::unique_ptr<RankGroup> group) noexcept {
    MR_CHECK(state_->spec.ranks > 1);
    state_->group = std::move(group);
}

std::uint64_t TrainingRun::step() const noexcept {
    return state_->step;
}

Result<StepReport> TrainingRun::advance(std::uint64_t count) {
    return guarded([&]() -> Result<StepReport> {
        State& s = *state_;
        const std::uint64_t steps = std::min(count, s.spec.steps - s.step);
        if (steps == 0 || s.over)
            return fail(ErrorCode::wrong_state, "the job has reached its last step");
        s.loss_sum.zero_();
        s.norm_sum.zero_();
        for (std::uint64_t i = 0; i < steps; ++i) {
            s.run_step();
            const c10::NoGradGuard no_grad;
            s.optimise();
        }
        if (s.group) s.group->sum(s.loss_sum);
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
        const c10::NoGradGuard no_grad;
        EvalReport report;
        report.step = s.step;
        TRY_ASSIGN(const EvalSums sums, s.objective->evaluate(s.parameters));
        report.samples = sums.samples;
        if (sums.samples > 0) {
            report.loss = sums.loss / static_cast<double>(sums.samples);
            report.accuracy = static_cast<double>(sums.right) / static_cast<double>(sums.samples);
        }
        TRY(s.judge(report));
        return report;
    });
}

bool TrainingRun::stopped_early() const noexcept {
    const State& s = *state_;
    return s.over || (s.patience && s.patience->stale >= s.spec.early_stop->patience);
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
    const bool last = s.step == s.spec.steps || stopped_early();
    s.writing = std::async(std::launch::async, [&s, path, last] {
        auto result = last ? s.objective->write_result(path, s.snapshot)
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
