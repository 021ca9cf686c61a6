// SPDX-License-Identifier: Apache-2.0
// Tokens a second of one text on a 1.1 B Llama in three weight formats, as a share of the rate at
// which the same threads can read memory: each token reads every weight once.
#include "ledger/base/check.hpp"
#include "ledger/base/cpu_count.hpp"
#include "tests/bench/decode/big_llama.hpp"
#include "tests/bench/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>

namespace {

namespace model = worker::model;
namespace kernels = worker::kernels;

constexpr int kRounds = 5;
constexpr std::uint32_t kPrompt = 16;
constexpr std::uint32_t kTokens = 24;

/// Tokens a second after the prompt.
double decode_rate(const bench::Llama& llama) {
    auto tokens = bench::some_prompt(kPrompt, 3);
    auto sequence = llama.cache->begin(tokens, kPrompt + kTokens);
    MR_CHECK(sequence.has_value());
    std::vector<model::DecoderRow> rows;
    for (std::uint32_t i = 0; i < kPrompt; ++i)
        rows.push_back({tokens[i], i, &*sequence, i + 1 == kPrompt});
    std::uint32_t token = llama.next(rows)[0];
    const auto start = std::chrono::steady_clock::now();
    for (std::uint32_t i = 0; i < kTokens; ++i) {
        const model::DecoderRow row{token, kPrompt + i, &*sequence, true};
        token = llama.next({&row, 1})[0];
    }
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    return kTokens / passed.count();
}

struct Plan {
    kernels::WeightFormat format;
    double goal;  // share of the read rate
};
constexpr std::array<Plan, 3> kPlans{{{kernels::WeightFormat::kBf16, 0.85},
                                      {kernels::WeightFormat::kInt8, 0.80},
                                      {kernels::WeightFormat::kInt4, 0.70}}};

}  // namespace

int main() {
    bench::Report report("decode");
    kernels::Pool pool(ledger::base::cpu_count());
    bench::ReadRate limit(pool);
    std::vector<std::unique_ptr<bench::Llama>> llamas;
    {
        const bench::LlamaFolder folder;
        for (const Plan& plan : kPlans)
            llamas.push_back(std::make_unique<bench::Llama>(folder, plan.format, pool, 16));
    }
    std::vector<double> limits;
    std::array<std::vector<double>, kPlans.size()> rates;
    std::array<std::vector<double>, kPlans.size()> shares;
    for (int round = 0; round < kRounds; ++round)
        for (std::size_t i = 0; i < kPlans.size(); ++i) {
            limits.push_back(limit.measure());
            rates[i].push_back(decode_rate(*llamas[i]));
            shares[i].push_back(rates[i].back() * llamas[i]->bytes_a_token() / limits.back());
        }
    report.metric("read_gb_per_s", bench::median(limits) / 1e9);
    for (std::size_t i = 0; i < kPlans.size(); ++i) {
        const std::string name(kernels::to_string(kPlans[i].format));
        const bench::Llama& llama = *llamas[i];
        fmt::print(
            "{:5} {:6.2f} tokens/s, best {:6.2f}; {:.2f} GB a token, {:3.0f} % of {:.1f} GB/s; "
            "loaded in {:.1f} s with {:.2f} x its memory\n",
            name, bench::median(rates[i]), *std::max_element(rates[i].begin(), rates[i].end()),
            llama.bytes_a_token() / 1e9, 100 * bench::median(shares[i]),
            bench::median(limits) / 1e9, llama.load_seconds, llama.load_memory);
        report.metric("tokens_per_s_" + name, bench::median(rates[i]));
        report.metric("load_s_" + name, llama.load_seconds);
        report.goal("share_of_read_rate_" + name, bench::median(shares[i]), kPlans[i].goal, "ratio",
                    bench::Better::kHigher);
        report.goal("load_memory_" + name, llama.load_memory, 1.1, "ratio", bench::Better::kLower);
    }
    fmt::print("{}\n", report.json());
    return 0;
}
