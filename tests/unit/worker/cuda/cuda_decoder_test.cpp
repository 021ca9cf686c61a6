// SPDX-License-Identifier: Apache-2.0
// Needs a CUDA device. The oracle is the decoder on the processor, which has its own float64 one.
#include "worker/model/cuda_decoder.hpp"

#include "tests/unit/worker/model/decoder_fixture.hpp"
#include "tests/unit/worker/model/random_rows.hpp"
#include "worker/model/token_draw.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <string>

using namespace worker::model;
using namespace worker::model::test;
namespace kernels = worker::kernels;
using nlohmann::json;

namespace {

constexpr std::uint64_t kSeed = 20261127;
constexpr std::uint32_t kPages = 96;

json base() {
    return json::parse(R"({"architectures":["LlamaForCausalLM"],"model_type":"llama",
        "vocab_size":197,"hidden_size":96,"num_hidden_layers":3,"num_attention_heads":6,
        "num_key_value_heads":2,"intermediate_size":160,"max_position_embeddings":1600,
        "rms_norm_eps":1e-5,"rope_theta":10000.0,"hidden_act":"silu",
        "tie_word_embeddings":false})");
}

struct Case {
    std::string name;
    json change;
};

std::vector<Case> cases() {
    return {
        {"llama", {}},
        {"one key head for all",
         {{"num_key_value_heads", 1}, {"num_attention_heads", 12}, {"head_dim", 16}}},
        {"every head its own", {{"num_key_value_heads", 6}}},
        {"seven heads a key", {{"num_attention_heads", 14}, {"head_dim", 80}}},
        {"ten heads a key", {{"num_attention_heads", 20}, {"head_dim", 20}}},
        {"head of 128", {{"head_dim", 128}}},
        {"head of 256", {{"head_dim", 256}, {"num_attention_heads", 2}}},
        {"llama3 scaling",
         {{"rope_scaling",
           {{"rope_type", "llama3"},
            {"factor", 8.0},
            {"low_freq_factor", 1.0},
            {"high_freq_factor", 4.0},
            {"original_max_position_embeddings", 64}}}}},
        {"mistral",
         {{"architectures", {"MistralForCausalLM"}},
          {"model_type", "mistral"},
          {"sliding_window", 37}}},
        {"qwen2",
         {{"architectures", {"Qwen2ForCausalLM"}},
          {"model_type", "qwen2"},
          {"tie_word_embeddings", true},
          {"use_sliding_window", false}}},
        {"qwen3",
         {{"architectures", {"Qwen3ForCausalLM"}},
          {"model_type", "qwen3"},
          {"head_dim", 32},
          {"use_sliding_window", false}}},
        {"gpt2", json::parse(R"({"architectures":["GPT2LMHeadModel"],"model_type":"gpt2",
            "vocab_size":197,"n_embd":96,"n_layer":3,"n_head":6,"n_positions":1600,
            "activation_function":"gelu_new","layer_norm_epsilon":1e-5})")},
        {"neox", json::parse(R"({"architectures":["GPTNeoXForCausalLM"],"model_type":"gpt_neox",
            "vocab_size":197,"hidden_size":96,"num_hidden_layers":3,"num_attention_heads":6,
            "intermediate_size":160,"max_position_embeddings":1600,"layer_norm_eps":1e-5,
            "rotary_pct":0.25,"rotary_emb_base":10000,"hidden_act":"gelu",
            "use_parallel_residual":true,"tie_word_embeddings":false})")},
    };
}

json config_of(const Case& c) {
    if (c.change.contains("model_type") && c.change["model_type"] != "mistral" &&
        (c.change["model_type"] == "gpt2" || c.change["model_type"] == "gpt_neox"))
        return c.change;
    json config = base();
    if (!c.change.is_null()) config.merge_patch(c.change);
    return config;
}

/// The same model on both sides, weights rounded to bf16 once.
struct Pair {
    explicit Pair(const json& config)
        : host(make_random_model(config.dump(), kSeed, Dtype::kBf16), Dtype::kBf16) {
        host.cache = std::make_unique<KvCache>(host.weights->config, KvCache::Options{2 * kPages});
        host.decoder = std::make_unique<Decoder>(host.weights, *host.cache, host.pool);
        KvCache::Options options;
        options.pages_max = kPages * 3;
        options.host_memory = false;
        cache = std::make_unique<KvCache>(host.weights->config, options);
        auto made = CudaDecoder::create(*host.weights, {kPages * 3, 700, 80}, host.pool);
        REQUIRE_MESSAGE(made.has_value(), made.error().message());
        device = std::move(*made);
    }
    KvSequence begin(const Tokens& tokens, std::size_t length) const {
        auto sequence = cache->begin(tokens, length);
        REQUIRE_MESSAGE(sequence.has_value(), sequence.error().message());
        return std::move(*sequence);
    }
    /// Logits of every position, fed `chunk` at a time.
    Floats run(const Tokens& tokens, std::size_t chunk) const {
        KvSequence sequence = begin(tokens, tokens.size());
        Floats out;
        for (std::size_t first = 0; first < tokens.size(); first += chunk) {
            std::vector<DecoderRow> rows;
            for (std::size_t i = first; i < std::min(first + chunk, tokens.size()); ++i)
                rows.push_back({tokens[i], static_cast<std::uint32_t>(i), &sequence, true});
            const auto logits = device->logits(rows);
            out.insert(out.end(), logits.begin(), logits.end());
        }
        return out;
    }

    Running host;
    std::unique_ptr<KvCache> cache;
    std::unique_ptr<CudaDecoder> device;
};

std::vector<double> widened(const Floats& values) {
    return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("shapes that the kernels lack are refused") {
    json config = base();
    config["head_dim"] = 264;
    config["num_attention_heads"] = 2;
    const Running host(make_random_model(config.dump(), kSeed));
    kernels::Pool pool(1);
    const auto made = CudaDecoder::create(*host.weights, {4, 8, 1}, pool);
    REQUIRE(!made.has_value());
    CHECK(made.error().code() == ledger::base::ErrorCode::unsupported);
}

TEST_CASE("more memory than the device has is refused, and the next model is served") {
    const Running host(make_random_model(base().dump(), kSeed));
    kernels::Pool pool(1);
    const auto made = CudaDecoder::create(*host.weights, {0x7FFFFFFF, 8, 1}, pool);
    REQUIRE(!made.has_value());
    CHECK(made.error().code() == ledger::base::ErrorCode::job_limit);
    CHECK(CudaDecoder::create(*host.weights, {4, 8, 1}, pool).has_value());
}

TEST_CASE("logits are those of the processor") {
    for (const Case& c : cases()) {
        INFO(c.name);
        Pair pair(config_of(c));
        const auto tokens = some_tokens(150, 197);
        const Floats expected = pair.host.run(tokens, 50);
        const Floats got = pair.run(tokens, 150);
        const double alike = cosine(got, widened(expected));
        const double worst = worst_error(got, widened(expected));
        fmt::print("{:24} 1 - cosine {:.1e}, worst {:.1e}\n", c.name, 1 - alike, worst);
        CHECK(alike > 0.9999);
        CHECK(worst < 0.05);
    }
}

TEST_CASE("a long sequence, in several splits") {
    Pair pair(base());
    const auto tokens = some_tokens(1500, 197);
    const Floats expected = pair.host.run(tokens, 500);
    const Floats got = pair.run(tokens, 500);
    CHECK(cosine(got, widened(expected)) > 0.9999);
}

TEST_CASE("a row has the same bits in any batch and any cut") {
    for (const Case& c : cases()) {
        INFO(c.name);
        const Pair pair(config_of(c));
        const auto tokens = some_tokens(190, 197, 11);
        const Floats whole = pair.run(tokens, 190);
        for (const std::size_t chunk : {1UL, 2UL, 7UL, 16UL, 33UL, 64UL, 65UL})
            CHECK(pair.run(tokens, chunk) == whole);
    }
}

TEST_CASE("sequences side by side do not change each other") {
    const Pair pair(base());
    constexpr std::size_t kLength = 40;
    std::vector<Tokens> texts;
    std::vector<Floats> alone;
    for (std::uint32_t s = 0; s < 70; ++s) {
        texts.push_back(some_tokens(kLength, 197, s));
        alone.push_back(pair.run(texts.back(), kLength));
    }
    for (const std::size_t count : {3UL, 9UL, 20UL, 40UL, 64UL, 70UL}) {
        INFO(count);
        std::vector<KvSequence> sequences;
        for (std::size_t s = 0; s < count; ++s)
            sequences.push_back(pair.begin(texts[s], kLength));
        bool same = true;
        for (std::uint32_t i = 0; i < kLength; ++i) {
            std::vector<DecoderRow> rows;
            for (std::size_t s = 0; s < count; ++s)
                rows.push_back({texts[s][i], i, &sequences[s], true});
            const auto logits = pair.device->logits(rows);
            for (std::size_t s = 0; s < count; ++s)
                same =
                    same && std::equal(logits.begin() + static_cast<std::ptrdiff_t>(s * 197),
                                       logits.begin() + static_cast<std::ptrdiff_t>((s + 1) * 197),
                                       alone[s].begin() + static_cast<std::ptrdiff_t>(i * 197));
        }
        CHECK(same);
    }
}

TEST_CASE("hidden states are those of the processor, of the wanted rows only") {
    Pair pair(base());
    const auto tokens = some_tokens(40, 197);
    KvSequence there = pair.begin(tokens, tokens.size());
    KvSequence here = pair.host.begin(tokens);
    std::vector<DecoderRow> rows;
    for (std::uint32_t i = 0; i < tokens.size(); ++i)
        rows.push_back({tokens[i], i, &there, i % 3 == 2});
    const auto hidden = pair.device->hidden(rows);
    const Floats got(hidden.begin(), hidden.end());
    for (auto& row : rows)
        row.sequence = &here;
    const auto expected = pair.host.decoder->hidden(rows);
    CHECK(got.size() == 13 * 96);
    CHECK(cosine(got, {expected.begin(), expected.end()}) > 0.9999);
}

TEST_CASE("texts drawn side by side from lists are those drawn alone from whole rows") {
    json config = base();
    config["vocab_size"] = 5000;
    const Pair pair(config);
    constexpr std::size_t kTexts = 64;
    constexpr std::size_t kPrompt = 12;
    constexpr std::size_t kLength = 40;
    Numbers numbers(kSeed);
    std::vector<SamplingParams> params;
    std::vector<Tokens> prompts;
    for (std::uint32_t s = 0; s < kTexts; ++s) {
        params.push_back(random_params(numbers, 5000));
        prompts.push_back(some_tokens(kPrompt, 5000, s));
    }
    const auto all_rows = [](const Tokens& tokens, KvSequence& sequence) {
        std::vector<DecoderRow> rows;
        for (std::uint32_t i = 0; i < tokens.size(); ++i)
            rows.push_back({tokens[i], i, &sequence, i + 1 == tokens.size()});
        return rows;
    };
    std::vector<Tokens> alone = prompts;
    for (std::size_t s = 0; s < kTexts; ++s) {
        KvSequence sequence = pair.begin(prompts[s], kLength);
        Sampler sampler(params[s], prompts[s]);
        std::vector<DecoderRow> rows = all_rows(prompts[s], sequence);
        while (alone[s].size() < kLength) {
            alone[s].push_back(sampler.next(pair.device->logits(rows)).token);
            rows = {{alone[s].back(), static_cast<std::uint32_t>(alone[s].size() - 1), &sequence,
                     true}};
        }
    }
    kernels::Pool pool(4);
    std::vector<Tokens> beside = prompts;
    std::vector<KvSequence> sequences;
    std::vector<Sampler> samplers;
    std::vector<DecoderRow> rows;
    for (std::size_t s = 0; s < kTexts; ++s) {
        sequences.push_back(pair.begin(prompts[s], kLength));
        samplers.emplace_back(params[s], prompts[s]);
    }
    // The prompts first, in two calls: one alone is shorter than what the device takes.
    std::size_t whole = 0;
    while (beside[0].size() < kLength) {
        const bool prompt = beside[0].size() == kPrompt;
        for (std::size_t first = 0; first < kTexts; first += prompt ? kTexts / 2 : kTexts) {
            const std::size_t end = prompt ? first + kTexts / 2 : kTexts;
            std::vector<Sampler*> drawing;
            rows.clear();
            for (std::size_t s = first; s < end; ++s) {
                drawing.push_back(&samplers[s]);
                const auto place = static_cast<std::uint32_t>(beside[s].size() - 1);
                if (prompt) {
                    const auto more = all_rows(prompts[s], sequences[s]);
                    rows.insert(rows.end(), more.begin(), more.end());
                } else {
                    rows.push_back({beside[s].back(), place, &sequences[s], true});
                }
            }
            TokenDraw draw(drawing);
            const auto lists = pair.device->shorten(rows, draw.wishes());
            REQUIRE(lists.size() == drawing.size());
            const auto drawn = draw.draw(*pair.device, lists, pool);
            whole += draw.whole_rows();
            for (std::size_t s = first; s < end; ++s)
                beside[s].push_back(drawn[s - first].token);
        }
    }
    fmt::print("{} of {} draws read their row whole\n", whole, kTexts * (kLength - kPrompt));
    for (std::size_t s = 0; s < kTexts; ++s) {
        INFO(s);
        CHECK(beside[s] == alone[s]);
    }
    CHECK(whole < kTexts * (kLength - kPrompt));
}
