// SPDX-License-Identifier: Apache-2.0
// A 1.1 B Llama in bf16 on the first CUDA device: one text, many texts and a long prompt, beside
// the rate at which the device reads its memory. With a number, only that many texts (to
// profile); with 0, only the prompt.
#include "ledger/base/check.hpp"
#include "ledger/base/cpu_count.hpp"
#include "tests/bench/cuda/read_rate.hpp"
#include "tests/bench/decode/big_llama.hpp"
#include "tests/bench/report.hpp"
#include "worker/model/cuda_decoder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>

namespace {

namespace model = worker::model;
namespace kernels = worker::kernels;
using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kPrompt = 64;
constexpr std::uint32_t kTokens = 128;
constexpr std::uint32_t kPages = 4096;

struct Device {
    explicit Device(const bench::LlamaFolder& folder, kernels::Pool& pool) {
        const auto start = Clock::now();
        auto loaded = model::load_published(folder.path(), kernels::WeightFormat::kBf16, pool);
        MR_CHECK(loaded.has_value());
        const std::chrono::duration<double> packed = Clock::now() - start;
        weights = loaded->model;
        model::KvCache::Options options;
        options.pages_max = kPages;
        options.host_memory = false;
        cache = std::make_unique<model::KvCache>(weights->config, options);
        auto made = model::CudaDecoder::create(*weights, {kPages, 4096, 1024}, pool);
        MR_CHECK(made.has_value());
        decoder = std::move(*made);
        const std::chrono::duration<double> all = Clock::now() - start;
        fmt::print("packed in {:.1f} s, uploaded in {:.1f} s\n", packed.count(),
                   all.count() - packed.count());
    }
    [[nodiscard]] std::vector<std::uint32_t> next(std::span<const model::DecoderRow> rows) const {
        const auto logits = decoder->logits(rows);
        const std::size_t vocab = weights->config.vocab;
        std::vector<std::uint32_t> out;
        for (std::size_t r = 0; r * vocab < logits.size(); ++r) {
            const auto row = logits.subspan(r * vocab, vocab);
            out.push_back(
                static_cast<std::uint32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
        }
        return out;
    }

    std::shared_ptr<const model::DecoderModel> weights;
    std::unique_ptr<model::KvCache> cache;
    std::unique_ptr<model::CudaDecoder> decoder;
};

struct Rates {
    double forward = 0;  // tokens/s of the passes alone
    double chosen = 0;   // with taking the likeliest token of each on the host
};

Rates decode(const Device& device, std::size_t streams) {
    std::vector<model::KvSequence> sequences;
    std::vector<std::uint32_t> tokens;
    for (std::uint32_t s = 0; s < streams; ++s) {
        const auto prompt = bench::some_prompt(kPrompt, 31 * s + 3);
        auto begun = device.cache->begin(prompt, kPrompt + kTokens + 8);
        MR_CHECK(begun.has_value());
        sequences.push_back(std::move(*begun));
        std::vector<model::DecoderRow> rows;
        for (std::uint32_t i = 0; i < kPrompt; ++i)
            rows.push_back({prompt[i], i, &sequences.back(), i + 1 == kPrompt});
        tokens.push_back(device.next(rows)[0]);
    }
    const auto step = [&](std::uint32_t place, bool choose) {
        std::vector<model::DecoderRow> rows;
        for (std::size_t s = 0; s < streams; ++s)
            rows.push_back({tokens[s], place, &sequences[s], true});
        if (choose) {
            tokens = device.next(rows);
        } else {
            MR_CHECK(!device.decoder->logits(rows).empty());
        }
    };
    std::uint32_t place = kPrompt;
    for (int i = 0; i < 8; ++i)
        step(place++, true);
    Rates out;
    for (const bool choose : {false, true}) {
        const auto start = Clock::now();
        for (std::uint32_t i = 0; i < kTokens / 2; ++i)
            step(place++, choose);
        const std::chrono::duration<double> passed = Clock::now() - start;
        (choose ? out.chosen : out.forward) =
            static_cast<double>(streams) * (kTokens / 2) / passed.count();
    }
    return out;
}

double prefill(const Device& device, std::uint32_t prompt, std::uint32_t chunk,
               std::uint32_t seed) {
    const auto tokens = bench::some_prompt(prompt, seed);
    auto sequence = device.cache->begin(tokens, prompt);
    MR_CHECK(sequence.has_value());
    const auto start = Clock::now();
    for (std::uint32_t first = 0; first < prompt; first += chunk) {
        std::vector<model::DecoderRow> rows;
        for (std::uint32_t i = first; i < std::min(first + chunk, prompt); ++i)
            rows.push_back({tokens[i], i, &*sequence, i + 1 == prompt});
        MR_CHECK(device.next(rows).size() == (first + chunk >= prompt ? 1 : 0));
    }
    const std::chrono::duration<double> passed = Clock::now() - start;
    return prompt / passed.count();
}

}  // namespace

int main(int argc, char** argv) {
    bench::Report report("cuda");
    kernels::Pool pool(ledger::base::cpu_count());
    const bench::LlamaFolder folder;
    const Device device(folder, pool);
    const double read = bench::device_read_rate();
    fmt::print("device reads {:.0f} GB/s\n", read / 1e9);
    report.metric("read_gb_per_s", read / 1e9);
    if (argc > 1) {
        const std::size_t streams = std::strtoul(argv[1], nullptr, 10);
        fmt::print("{:.0f} tokens/s\n",
                   streams == 0 ? prefill(device, 2048, 2048, 1) : decode(device, streams).forward);
        return 0;
    }
    const double weights =
        static_cast<double>(device.weights->bytes() - device.weights->embedding.bytes());
    double one = 0;
    for (const std::size_t streams : {1UL, 4UL, 16UL, 64UL, 256UL}) {
        Rates best;
        for (int round = 0; round < 3; ++round) {
            const Rates rates = decode(device, streams);
            best.forward = std::max(best.forward, rates.forward);
            best.chosen = std::max(best.chosen, rates.chosen);
        }
        fmt::print(
            "{:3} streams {:9.0f} tokens/s, {:9.0f} with choosing; {:4.1f} % of the read rate\n",
            streams, best.forward, best.chosen,
            100 * best.forward / static_cast<double>(streams) * weights / read);
        report.metric(fmt::format("tokens_per_s_{}", streams), best.forward);
        report.metric(fmt::format("tokens_per_s_chosen_{}", streams), best.chosen);
        if (streams == 1) {
            one = best.forward;
            report.goal("share_of_read_rate", one * weights / read, 0.6, "ratio",
                        bench::Better::kHigher);
        }
        if (streams == 64)
            report.goal("streams_64_over_one", best.forward / one, 20, "ratio",
                        bench::Better::kHigher);
    }
    for (const std::uint32_t chunk : {128U, 512U, 2048U}) {
        double best = 0;
        for (std::uint32_t round = 0; round < 3; ++round)
            best = std::max(best, prefill(device, 2048, chunk, 7 * round + chunk));
        fmt::print("prompt of 2048 in chunks of {:4}: {:9.0f} tokens/s\n", chunk, best);
        report.metric(fmt::format("prefill_tokens_per_s_{}", chunk), best);
    }
    fmt::print("{}\n", report.json());
    return 0;
}
