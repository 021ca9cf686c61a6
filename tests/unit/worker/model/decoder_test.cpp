// SPDX-License-Identifier: Apache-2.0
#include "worker/model/decoder.hpp"

#include "tests/unit/worker/model/decoder_cases.hpp"
#include "tests/unit/worker/model/decoder_fixture.hpp"
#include "tests/unit/worker/model/reference_decoder.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <string>

using namespace worker::model;
using namespace worker::model::test;
namespace kernels = worker::kernels;

namespace {

constexpr std::uint64_t kSeed = 20240607;

}  // namespace

TEST_CASE("decoder: every family and feature gives the logits of the published code") {
    MESSAGE("seed " << kSeed);
    const Tokens tokens = some_tokens(45, 97);
    for (const Case& c : cases()) {
        CAPTURE(c.name);
        const RandomModel model = make_random_model(c.config.dump(), kSeed, c.dtype);
        const auto expected = reference_decoder(model, tokens);
        Running running(model, c.dtype, c.shards);
        const double error = worst_error(running.run(tokens, tokens.size()), expected);
        CHECK(error < 1e-5);
    }
}

TEST_CASE("decoder: a feature that is read wrongly would show in the logits") {
    // The oracle is only as good as the distance between the features it tells apart.
    const Tokens tokens = some_tokens(45, 97);
    const auto distance = [&](const json& a, const json& b) {
        const RandomModel model = make_random_model(a.dump(), kSeed);
        const auto expected = reference_decoder(model, tokens);
        return worst_error(Running({b.dump(), model.tensors}).run(tokens, tokens.size()), expected);
    };
    const json scaled = {{"type", "linear"}, {"factor", 1.1}};
    CHECK(distance(llama(), with(llama(), {{"rope_scaling", scaled}})) > 1e-3);
    CHECK(distance(llama(), with(llama(), {{"rms_norm_eps", 1e-3}})) > 1e-5);
    CHECK(distance(mistral(), with(mistral(), {{"sliding_window", 6}})) > 1e-3);
    CHECK(distance(gpt2(), with(gpt2(), {{"activation_function", "gelu"}})) > 2e-5);
    CHECK(distance(neox(), with(neox(), {{"use_parallel_residual", false}})) > 1e-3);
    CHECK(distance(neox(), with(neox(), {{"rotary_pct", 0.5}})) > 1e-3);
}

TEST_CASE("decoder: a prompt gives the same bits however it is cut and on any threads") {
    const Tokens tokens = some_tokens(45, 97);
    for (const Case& c : cases()) {
        CAPTURE(c.name);
        const RandomModel model = make_random_model(c.config.dump(), kSeed, c.dtype);
        Running running(model, c.dtype);
        const Floats whole = running.run(tokens, tokens.size());
        CHECK(whole == running.run(tokens, 1));
        CHECK(whole == running.run(tokens, 7));
        CHECK(whole == running.run(tokens, 16));
        Running threaded(model, c.dtype, 1, kernels::WeightFormat::kF32, 3);
        CHECK(whole == threaded.run(tokens, tokens.size()));
    }
}

TEST_CASE("decoder: a row gives the same bits whatever else is in the batch") {
    for (const auto format : {kernels::WeightFormat::kF32, kernels::WeightFormat::kInt8}) {
        const RandomModel model = make_random_model(mistral().dump(), kSeed);
        Running running(model, Dtype::kF32, 1, format);
        constexpr std::size_t kCount = 5;
        std::vector<Tokens> prompts;
        std::vector<Floats> alone;
        std::vector<Floats> together(kCount);
        std::vector<KvSequence> sequences;
        for (std::uint32_t i = 0; i < kCount; ++i) {
            prompts.push_back(some_tokens(9 + 5 * i, 97, 11 * i));
            alone.push_back(running.run(prompts.back(), prompts.back().size()));
        }
        for (const Tokens& prompt : prompts)
            sequences.push_back(running.begin(prompt));
        // Each step a piece of each prompt, of another size each.
        std::vector<std::size_t> done(kCount);
        for (bool busy = true; busy;) {
            std::vector<DecoderRow> rows;
            std::vector<std::size_t> owner;
            for (std::size_t i = 0; i < kCount; ++i)
                for (std::size_t n = 0; n <= i && done[i] < prompts[i].size(); ++n, ++done[i]) {
                    rows.push_back({prompts[i][done[i]], static_cast<std::uint32_t>(done[i]),
                                    &sequences[i], true});
                    owner.push_back(i);
                }
            busy = !rows.empty();
            if (!busy) break;
            const auto logits = running.decoder->logits(rows);
            for (std::size_t r = 0; r < rows.size(); ++r) {
                const auto row = logits.subspan(r * 97, 97);
                together[owner[r]].insert(together[owner[r]].end(), row.begin(), row.end());
            }
        }
        CHECK(together == alone);
    }
}

TEST_CASE("decoder: rounded weights stay close to the exact ones") {
    using kernels::WeightFormat;
    const json wide = {{"hidden_size", 256}, {"intermediate_size", 512}, {"num_hidden_layers", 3}};
    const json wide_gpt2 = {{"n_embd", 256}, {"n_layer", 3}};
    const Tokens tokens = some_tokens(40, 97);
    for (const Case& c : std::vector<Case>{{"llama", with(llama(), wide)},
                                           {"qwen3", with(qwen3(), with(wide, {{"head_dim", 64}}))},
                                           {"gpt2", with(gpt2(), wide_gpt2)},
                                           {"pythia", with(neox(), wide)}}) {
        // Layers that add to the stream as much as those of trained models, not more.
        const RandomModel model = make_random_model(c.config.dump(), kSeed, Dtype::kF32, 0.7);
        const auto expected = reference_decoder(model, tokens);
        const auto of = [&](WeightFormat format) {
            Running running(model, Dtype::kF32, 1, format);
            return cosine(running.run(tokens, tokens.size()), expected);
        };
        const double bf16 = of(WeightFormat::kBf16);
        const double int8 = of(WeightFormat::kInt8);
        const double int4 = of(WeightFormat::kInt4);
        CAPTURE(c.name);
        MESSAGE(c.name << ": bf16 " << 1 - bf16 << ", int8 " << 1 - int8 << ", int4 " << 1 - int4
                       << " below 1");
        CHECK(bf16 >= 0.9999);
        CHECK(int8 >= 0.999);
        CHECK(int4 >= 0.99);
    }
}

TEST_CASE("decoder: hidden states of the wanted rows lead to their logits") {
    const RandomModel model = make_random_model(llama().dump(), kSeed);
    Running running(model);
    const Tokens tokens = some_tokens(9, 97);
    const Floats all = running.run(tokens, 9);
    KvSequence sequence = running.begin(tokens);
    std::vector<DecoderRow> rows;
    for (std::uint32_t i = 0; i < 9; ++i)
        rows.push_back({tokens[i], i, &sequence, i == 3 || i == 8});
    const auto hidden = running.decoder->hidden(rows);
    REQUIRE(hidden.size() == std::size_t{2} * 48);
    const auto& head = model.tensors.at("lm_head.weight").values;
    for (const std::size_t r : {0U, 1U}) {
        double sum = 0;
        for (std::size_t i = 0; i < 48; ++i)
            sum += static_cast<double>(hidden[r * 48 + i]) * static_cast<double>(head[5 * 48 + i]);
        CHECK(sum ==
              doctest::Approx(static_cast<double>(all[(r == 0 ? 3 : 8) * 97 + 5])).epsilon(1e-4));
    }
}
