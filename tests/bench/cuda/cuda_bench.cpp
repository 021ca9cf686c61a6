// SPDX-License-Identifier: Apache-2.0
// A 1.1 B Llama in bf16 on the first CUDA device: one text, many texts (the passes alone, and with
// the likeliest token or a drawn one going into the next) and a long prompt, beside the rate at
// which the device reads its memory. With numbers, only so many texts; with 0, only the prompt.
#include "ledger/base/check.hpp"
#include "ledger/base/cpu_count.hpp"
#include "tests/bench/cuda/read_rate.hpp"
#include "tests/bench/decode/big_llama.hpp"
#include "tests/bench/report.hpp"
#include "worker/model/cuda_decoder.hpp"
#include "worker/model/token_draw.hpp"

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
constexpr std::uint32_t kPages = 4608;

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
    std::shared_ptr<const model::DecoderModel> weights;
    std::unique_ptr<model::KvCache> cache;
    std::unique_ptr<model::CudaDecoder> decoder;
};

struct Rates {
    double forward = 0;  // tokens/s of the passes alone, with all logits on the host
    double chosen = 0;   // with the likeliest token of each
    double drawn = 0;    // with a draw
    double whole = 0;    // of all draws, those that read their row whole
};

/// Weights at random give flat rows: at this temperature they are as steep as a model's at 1.
model::SamplingParams draw_params(std::uint64_t seed) {
    model::SamplingParams out;
    out.temperature = 0.2;
    out.top_p = 0.95;
    out.seed = seed;
    return out;
}

/// Texts under way, all at one place.
struct Texts {
    Texts(const Device& device_in, kernels::Pool& pool_in, std::size_t count)
        : device(device_in), pool(pool_in) {
        for (std::uint32_t s = 0; s < count; ++s) {
            const auto prompt = bench::some_prompt(kPrompt, 31 * s + 3);
            auto begun = device.cache->begin(prompt, kPrompt + 8 + 3 * kTokens / 2);
            MR_CHECK(begun.has_value());
            sequences.push_back(std::move(*begun));
            model::SamplingParams likeliest;
            likeliest.temperature = 0;
            choosers.emplace_back(likeliest);
            drawers.emplace_back(draw_params(s));
            std::vector<model::DecoderRow> rows;
            for (std::uint32_t i = 0; i < kPrompt; ++i)
                rows.push_back({prompt[i], i, &sequences.back(), i + 1 == kPrompt});
            tokens.push_back(choosers.back().next(device.decoder->logits(rows)).token);
        }
    }
    [[nodiscard]] std::vector<model::DecoderRow> rows() {
        std::vector<model::DecoderRow> out;
        for (std::size_t s = 0; s < tokens.size(); ++s)
            out.push_back({tokens[s], place, &sequences[s], true});
        ++place;
        return out;
    }
    void pass() { MR_CHECK(!device.decoder->logits(rows()).empty()); }
    /// Rows that were read whole.
    std::size_t step(std::vector<model::Sampler>& samplers) {
        std::vector<model::Sampler*> each;
        for (model::Sampler& sampler : samplers)
            each.push_back(&sampler);
        model::TokenDraw draw(std::move(each));
        const auto lists = device.decoder->shorten(rows(), draw.wishes());
        const auto made = draw.draw(*device.decoder, lists, pool);
        for (std::size_t s = 0; s < tokens.size(); ++s)
            tokens[s] = made[s].token;
        return draw.whole_rows();
    }

    const Device& device;
    kernels::Pool& pool;
    std::vector<model::KvSequence> sequences;
    std::vector<model::Sampler> choosers;
    std::vector<model::Sampler> drawers;
    std::vector<std::uint32_t> tokens;
    std::uint32_t place = kPrompt;
};

template <typename Step>
double rate_of(std::size_t streams, Step step) {
    constexpr std::uint32_t kSteps = kTokens / 2;
    const auto start = Clock::now();
    for (std::uint32_t i = 0; i < kSteps; ++i)
        step();
    const std::chrono::duration<double> passed = Clock::now() - start;
    return static_cast<double>(streams) * kSteps / passed.count();
}

Rates decode(const Device& device, kernels::Pool& pool, std::size_t streams) {
    Texts texts(device, pool, streams);
    for (int i = 0; i < 4; ++i) {
        texts.pass();
        static_cast<void>(texts.step(texts.choosers));
    }
    Rates out;
    std::size_t whole = 0;
    out.forward = rate_of(streams, [&] { texts.pass(); });
    out.chosen = rate_of(streams, [&] { static_cast<void>(texts.step(texts.choosers)); });
    out.drawn = rate_of(streams, [&] { whole += texts.step(texts.drawers); });
    out.whole = static_cast<double>(whole) / static_cast<double>(streams * (kTokens / 2));
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
        MR_CHECK(device.decoder->logits(rows).empty() == (first + chunk < prompt));
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
    const double weights =
        static_cast<double>(device.weights->bytes() - device.weights->embedding.bytes());
    double one = 0;
    std::vector<std::size_t> counts;
    for (int i = 1; i < argc; ++i)
        counts.push_back(std::strtoul(argv[i], nullptr, 10));
    if (counts.empty()) counts = {1, 4, 16, 64, 256, 0};
    for (const std::size_t streams : counts) {
        if (streams == 0) continue;
        Rates best;
        for (int round = 0; round < 3; ++round) {
            const Rates rates = decode(device, pool, streams);
            best.forward = std::max(best.forward, rates.forward);
            best.chosen = std::max(best.chosen, rates.chosen);
            best.drawn = std::max(best.drawn, rates.drawn);
            best.whole = std::max(best.whole, rates.whole);
        }
        fmt::print(
            "{:3} streams {:9.0f} tokens/s of passes, {:4.1f} % of the read rate; {:9.0f} "
            "with the likeliest tokens, {:9.0f} drawn, {:.2f} % of rows whole\n",
            streams, best.forward,
            100 * best.forward / static_cast<double>(streams) * weights / read, best.chosen,
            best.drawn, 100 * best.whole);
        report.metric(fmt::format("tokens_per_s_{}", streams), best.forward);
        report.metric(fmt::format("tokens_per_s_chosen_{}", streams), best.chosen);
        report.metric(fmt::format("tokens_per_s_drawn_{}", streams), best.drawn);
        if (streams == 1) {
            one = best.forward;
            report.goal("share_of_read_rate", one * weights / read, 0.6, "ratio",
                        bench::Better::kHigher);
        }
        if (streams == 64 && one > 0)
            report.goal("streams_64_over_one", best.forward / one, 20, "ratio",
                        bench::Better::kHigher);
    }
    const bool prompts = std::find(counts.begin(), counts.end(), 0U) != counts.end();
    for (const std::uint32_t chunk : {128U, 512U, 2048U}) {
        if (!prompts) break;
        double best = 0;
        for (std::uint32_t round = 0; round < 3; ++round)
            best = std::max(best, prefill(device, 2048, chunk, 7 * round + chunk));
        fmt::print("prompt of 2048 in chunks of {:4}: {:9.0f} tokens/s\n", chunk, best);
        report.metric(fmt::format("prefill_tokens_per_s_{}", chunk), best);
    }
    fmt::print("{}\n", report.json());
    return 0;
}
