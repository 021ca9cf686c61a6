// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/finetune_spec.hpp"

#include "ledger/base/sha256.hpp"
#include "marketplace/wire/document.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace marketplace::cli;  // NOLINT: the room under test
using ledger::base::ErrorCode;

namespace {

constexpr const char* kLlama = R"({"model_type":"llama","vocab_size":97,"hidden_size":48,
    "num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,
    "intermediate_size":80,"max_position_embeddings":64})";
constexpr const char* kGpt2 =
    R"({"model_type":"gpt2","vocab_size":97,"n_embd":48,"n_layer":2,"n_head":4,"n_positions":64})";

FinetunePlan plan() {
    FinetunePlan out;
    const auto hash = ledger::base::sha256(ledger::base::as_bytes("a"));
    out.files = {{"config.json", hash}, {"model.safetensors", hash}, {"tokenizer.json", hash}};
    out.data = hash;
    out.rank = 4;
    out.context = 24;
    out.batch = 4;
    out.steps = 12;
    out.segment_steps = 4;
    out.learning_rate = "0.01";
    return out;
}

}  // namespace

TEST_CASE("finetune_spec: configs that say no sizes are refused") {
    CHECK(read_model_shape("[]").error().code() == ErrorCode::data_invalid);
    CHECK(read_model_shape(R"({"model_type":"mamba"})").error().code() == ErrorCode::unsupported);
    for (const char* bad : {R"({"model_type":"gpt2"})", R"({"model_type":"llama","vocab_size":0})",
                            R"({"model_type":"llama","vocab_size":"97"})",
                            R"({"model_type":"llama","vocab_size":99999999999})"})
        CHECK(read_model_shape(bad).error().code() == ErrorCode::data_invalid);
}

TEST_CASE("finetune_spec: plans that no worker takes are refused") {
    const auto code = [](const FinetunePlan& bad) {
        return make_finetune_spec(bad, *read_model_shape(kLlama)).error().code();
    };
    FinetunePlan bad = plan();
    bad.steps = 0;
    CHECK(code(bad) == ErrorCode::invalid_field);
    bad = plan();
    bad.context = 65;
    CHECK(code(bad) == ErrorCode::invalid_field);
    bad = plan();
    bad.rank = 0;
    bad.adapter = true;
    CHECK(code(bad) == ErrorCode::invalid_field);
    bad = plan();
    bad.precision = "fp8";
    CHECK(code(bad) == ErrorCode::invalid_field);
    bad = plan();
    bad.batch = std::uint64_t{1} << 62U;
    CHECK(code(bad) == ErrorCode::job_limit);
}

TEST_CASE("finetune_spec: FLOPs are what a worker counts, and never less") {
    const ModelShape llama = *read_model_shape(kLlama);
    CHECK(llama.kv_heads == 2);
    CHECK(llama.head_dim == 12);
    // The figures of tests/unit/worker/model/finetune_test.cpp.
    const std::uint64_t linear = 2 * (2 * 48 * 48 + 2 * 48 * 24 + 3 * 48 * 80) + 48 * 97;
    const std::uint64_t attention = 2 * 2 * 24 * 48;
    const std::uint64_t adapters = 2 * 4 * ((48 + 48) * 2 + (48 + 24) * 2 + (48 + 80) * 3);
    CHECK(*flops_per_step(plan(), llama) ==
          96 * (4 * linear + 6 * attention + 6 * adapters) + 16 * adapters);
    FinetunePlan full = plan();
    full.rank = 0;
    const std::uint64_t most = *flops_per_step(full, llama);
    CHECK(most >= 96 * 6 * (linear + attention) + 16 * (linear + 48 * 97));
    CHECK(static_cast<double>(most) < 1.1 * 96 * 6 * static_cast<double>(linear + attention));
    const ModelShape gpt2 = *read_model_shape(kGpt2);
    CHECK(gpt2.ffn == 192);
    CHECK(gpt2.fused);
}

TEST_CASE("finetune_spec: the market reads what is written") {
    FinetunePlan with_targets = plan();
    with_targets.targets = {"q", "v"};
    with_targets.validation = with_targets.data;
    const auto text = make_finetune_spec(with_targets, *read_model_shape(kLlama));
    REQUIRE(text.has_value());
    CHECK(*marketplace::wire::canonicalise(*text) == *text);
    const auto spec = marketplace::wire::parse_job_spec(*text);
    REQUIRE(spec.has_value());
    CHECK(spec->terms.total_units == 12);
    CHECK(spec->blobs.size() == 5);
    CHECK(text->find(R"("alpha":"8")") != std::string::npos);
}
