// SPDX-License-Identifier: Apache-2.0
// Tokens a second of sixteen texts at once on a 1.1 B Llama in int8, beside one text alone.
#include "ledger/base/check.hpp"
#include "tests/bench/decode/big_llama.hpp"
#include "tests/bench/report.hpp"

#include <fmt/format.h>

#include <chrono>

namespace {

namespace model = worker::model;
namespace kernels = worker::kernels;

constexpr int kRounds = 3;
constexpr std::uint32_t kPrompt = 16;
constexpr std::uint32_t kTokens = 12;

double decode_rate(const bench::Llama& llama, std::size_t streams) {
    std::vector<model::KvSequence> sequences;
    std::vector<model::DecoderRow> rows;
    for (std::uint32_t s = 0; s < streams; ++s) {
        const auto tokens = bench::some_prompt(kPrompt, s);
        auto begun = llama.cache->begin(tokens, kPrompt + kTokens);
        MR_CHECK(begun.has_value());
        sequences.push_back(std::move(*begun));
        for (std::uint32_t i = 0; i < kPrompt; ++i)
            rows.push_back({tokens[i], i, nullptr, i + 1 == kPrompt});
    }
    for (std::size_t i = 0; i < rows.size(); ++i)
        rows[i].sequence = &sequences[i / kPrompt];
    auto tokens = llama.next(rows);
    const auto start = std::chrono::steady_clock::now();
    for (std::uint32_t i = 0; i < kTokens; ++i) {
        rows.clear();
        for (std::size_t s = 0; s < streams; ++s)
            rows.push_back({tokens[s], kPrompt + i, &sequences[s], true});
        tokens = llama.next(rows);
    }
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    return static_cast<double>(streams * kTokens) / passed.count();
}

}  // namespace

int main() {
    bench::Report report("batch");
    kernels::Pool pool(bench::core_count());
    std::unique_ptr<bench::Llama> llama;
    {
        const bench::LlamaFolder folder;
        llama = std::make_unique<bench::Llama>(folder, kernels::WeightFormat::kInt8, pool, 64);
    }
    const bench::Compared result = bench::compare(
        kRounds, [&] { return decode_rate(*llama, 16); }, [&] { return decode_rate(*llama, 1); });
    fmt::print("16 streams {:.1f} tokens/s, one {:.1f}, {:.2f} x\n", result.ours, result.limit,
               result.ratio);
    report.metric("tokens_per_s_1", result.limit);
    report.goal("tokens_per_s_16", result.ours, 100, "tokens/s", bench::Better::kHigher);
    fmt::print("{}\n", report.json());
    return 0;
}
