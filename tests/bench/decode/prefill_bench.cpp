// SPDX-License-Identifier: Apache-2.0
// Tokens a second while a prompt of 512 tokens is read, on a 1.1 B Llama in int8, in chunks of 128.
#include "ledger/base/check.hpp"
#include "ledger/base/cpu_count.hpp"
#include "tests/bench/decode/big_llama.hpp"
#include "tests/bench/report.hpp"

#include <fmt/format.h>

namespace {

namespace model = worker::model;
namespace kernels = worker::kernels;

constexpr std::uint64_t kRounds = 3;
constexpr std::uint32_t kPrompt = 512;
constexpr std::uint32_t kChunk = 128;

void read_prompt(const bench::Llama& llama, std::uint32_t start) {
    const auto tokens = bench::some_prompt(kPrompt, start);
    auto sequence = llama.cache->begin(tokens, kPrompt);
    MR_CHECK(sequence.has_value());
    for (std::uint32_t first = 0; first < kPrompt; first += kChunk) {
        std::vector<model::DecoderRow> rows;
        for (std::uint32_t i = first; i < first + kChunk; ++i)
            rows.push_back({tokens[i], i, &*sequence, i + 1 == kPrompt});
        MR_CHECK(llama.next(rows).size() == (first + kChunk == kPrompt ? 1 : 0));
    }
}

}  // namespace

int main() {
    bench::Report report("prefill");
    kernels::Pool pool(ledger::base::cpu_count());
    std::unique_ptr<bench::Llama> llama;
    {
        const bench::LlamaFolder folder;
        llama = std::make_unique<bench::Llama>(folder, kernels::WeightFormat::kInt8, pool, 64);
    }
    std::vector<double> rates;
    for (std::uint32_t round = 0; round < kRounds; ++round)
        rates.push_back(kPrompt *
                        bench::rate(1, [&](std::uint64_t) { read_prompt(*llama, round); }));
    fmt::print("prompt of {}: {:.1f} tokens/s\n", kPrompt, bench::median(rates));
    report.goal("tokens_per_s", bench::median(rates), 130, "tokens/s", bench::Better::kHigher);
    fmt::print("{}\n", report.json());
    return 0;
}
