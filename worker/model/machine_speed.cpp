// SPDX-License-Identifier: Apache-2.0
#include "worker/model/machine_speed.hpp"

#include "worker/kernels/linear.hpp"
#include "worker/model/torch_runtime.hpp"

#include <torch/cuda.h>
#include <torch/torch.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

namespace worker::model {

using ledger::base::Result;
using std::chrono::steady_clock;

namespace {

constexpr std::chrono::milliseconds kEach{400};

/// Runs of `work` for a while; seconds of the fastest. Runs are short, a few ms at most: what else
/// runs on a machine takes whole stretches of its time, and the fastest shall lie between them.
template <typename Work>
double fastest_of(Work&& work) {
    double best = std::numeric_limits<double>::max();
    const auto until = steady_clock::now() + kEach;
    do {
        const auto begun = steady_clock::now();
        work();
        best = std::min(best, std::chrono::duration<double>(steady_clock::now() - begun).count());
    } while (steady_clock::now() < until);
    return best;
}

/// At least 1: 0 would say "not told".
std::uint32_t in_units(double value) {
    constexpr auto kMost = static_cast<double>(std::numeric_limits<std::uint32_t>::max());
    return static_cast<std::uint32_t>(std::clamp(value, 1.0, kMost));
}

Result<double> cpu_flop_per_s(kernels::Pool& pool) {
    constexpr std::size_t kRows = 64;
    constexpr std::size_t kSide = 1024;
    std::vector<float> weights(kSide * kSide);
    for (std::size_t i = 0; i < weights.size(); ++i)
        weights[i] = static_cast<float>(i % 251) / 251.0F;
    TRY_ASSIGN(const auto matrix, kernels::WeightMatrix::pack(
                                      {std::as_bytes(std::span(weights)), kernels::SourceType::kF32,
                                       kernels::SourceOrder::kOutIn, kSide, kSide},
                                      kernels::WeightFormat::kF32, pool));
    const std::vector<float> rows(kRows * kSide, 0.5F);
    std::vector<float> out(kRows * kSide);
    const double seconds =
        fastest_of([&] { kernels::linear(rows.data(), kRows, matrix, nullptr, out.data(), pool); });
    return 2.0 * kRows * kSide * kSide / seconds;
}

/// The sum of some words, in eight chains so that loads do not wait for additions.
std::uint64_t sum_of(std::span<const std::uint64_t> words) {
    constexpr std::size_t kChains = 8;
    std::uint64_t sums[kChains] = {};
    for (std::size_t i = 0; i + kChains <= words.size(); i += kChains)
        for (std::size_t j = 0; j < kChains; ++j)
            sums[j] += words[i + j];
    std::uint64_t out = 0;
    for (const std::uint64_t sum : sums)
        out += sum;
    return out;
}

double cpu_bytes_per_s(kernels::Pool& pool) {
    // A part at a time of more than caches hold.
    constexpr std::size_t kPart = (std::size_t{32} << 20U) / sizeof(std::uint64_t);
    constexpr std::size_t kParts = 8;
    const std::vector<std::uint64_t> words(kPart * kParts, 1);
    std::atomic<std::uint64_t> total{0};  // so that the sums are used
    std::size_t part = 0;
    const double seconds = fastest_of([&] {
        const auto now = std::span(words).subspan(part++ % kParts * kPart, kPart);
        pool.run(kPart, [&](std::size_t begin, std::size_t end, std::size_t) {
            total += sum_of(now.subspan(begin, end - begin));
        });
    });
    return static_cast<double>(kPart * sizeof(std::uint64_t)) / seconds;
}

Result<MachineSpeed> measure_cpu(std::size_t threads) {
    kernels::Pool pool(threads);
    TRY_ASSIGN(const double flop_per_s, cpu_flop_per_s(pool));
    return MachineSpeed{in_units(flop_per_s / 1e9), in_units(cpu_bytes_per_s(pool) / 1e6)};
}

MachineSpeed measure_gpu(const c10::Device& device) {
    constexpr std::int64_t kSide = 8192;
    constexpr std::int64_t kBytes = std::int64_t{1} << 29;
    const torch::NoGradGuard no_gradients;
    const auto numbers = torch::TensorOptions().device(device).dtype(torch::kBFloat16);
    // Random numbers: a GPU multiplies equal ones with less power, and so faster than work does.
    const torch::Tensor a = torch::randn({kSide, kSide}, numbers);
    const torch::Tensor b = torch::randn({kSide, kSide}, numbers);
    torch::Tensor c = torch::mm(a, b);
    torch::cuda::synchronize();
    const double product = fastest_of([&] {
        torch::mm_out(c, a, b);
        torch::cuda::synchronize();
    });
    const torch::Tensor from =
        torch::zeros({kBytes}, torch::TensorOptions().device(device).dtype(torch::kUInt8));
    torch::Tensor to = torch::empty_like(from);
    torch::cuda::synchronize();
    const double copy = fastest_of([&] {
        to.copy_(from);
        torch::cuda::synchronize();
    });
    const double flop = 2.0 * static_cast<double>(kSide) * kSide * kSide;
    return {in_units(flop / product / 1e9),
            in_units(2.0 * static_cast<double>(kBytes) / copy / 1e6)};
}

}  // namespace

Result<MachineSpeed> measure_speed(const RuntimeOptions& options) {
    return guarded([&]() -> Result<MachineSpeed> {
        if (options.device == "cpu")
            return measure_cpu(static_cast<std::size_t>(std::max(1, options.threads)));
        TRY_ASSIGN(const c10::Device device, open_device(options.device));
        return measure_gpu(device);
    });
}

}  // namespace worker::model
