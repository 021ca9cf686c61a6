// SPDX-License-Identifier: Apache-2.0
// Tokens a second of sixteen texts at once on a 1.1 B Llama in int8, beside one text alone.
#include "ledger/base/cpu_count.hpp"
#include "tests/bench/decode/big_llama.hpp"
#include "tests/bench/report.hpp"

#include <fmt/format.h>

#include <memory>

namespace {

namespace kernels = worker::kernels;

constexpr int kRounds = 3;

}  // namespace

int main() {
    bench::Report report("batch");
    kernels::Pool pool(ledger::base::cpu_count());
    std::unique_ptr<bench::Llama> llama;
    {
        const bench::LlamaFolder folder;
        llama = std::make_unique<bench::Llama>(folder, kernels::WeightFormat::kInt8, pool, 64);
    }
    const bench::Compared result = bench::compare(
        kRounds, [&] { return bench::batch_rate(*llama, 16); },
        [&] { return bench::batch_rate(*llama, 1); });
    fmt::print("16 streams {:.1f} tokens/s, one {:.1f}, {:.2f} x\n", result.ours, result.limit,
               result.ratio);
    report.metric("tokens_per_s_1", result.limit);
    report.goal("tokens_per_s_16", result.ours, 100, "tokens/s", bench::Better::kHigher);
    fmt::print("{}\n", report.json());
    return 0;
}
