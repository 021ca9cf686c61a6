// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/worker/model/decoder_fixture.hpp"
#include "worker/model/inference.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>

using namespace worker::model;
using namespace worker::model::test;
using ledger::base::ErrorCode;
namespace kernels = worker::kernels;

namespace {

/// A Llama over bytes, so that its texts can be looked at.
struct Folder {
    explicit Folder(std::string_view generation = "{}")
        : model(make_random_model(
              R"({"model_type":"llama","vocab_size":256,"hidden_size":48,"num_hidden_layers":2,
                  "num_attention_heads":4,"num_key_value_heads":2,"intermediate_size":80,
                  "max_position_embeddings":128})",
              9)) {
        write_model(model, dir.path());
        dir.write("generation_config.json", generation);
    }
    [[nodiscard]] TextModel open(const TextModel::Options& options = {}) const {
        auto out =
            TextModel::open(dir.path(), byte_vocabulary(), kernels::WeightFormat::kF32, options);
        REQUIRE_MESSAGE(out.has_value(), out.error().message());
        return std::move(*out);
    }
    RandomModel model;
    TempDir dir;
};

SamplingParams greedy(std::uint32_t tokens) {
    SamplingParams p;
    p.max_tokens = tokens;
    p.temperature = 0;
    return p;
}

struct Completion {
    std::string text;
    CompletionUsage usage;
    bool operator==(const Completion& other) const {
        return text == other.text && usage.completion_tokens == other.usage.completion_tokens &&
               usage.finish == other.usage.finish;
    }
};

/// Runs all that was added to its end.
std::map<std::string, Completion> run(TextModel& model) {
    std::map<std::string, Completion> out;
    while (model.busy())
        for (const GenerationEvent& event : model.step()) {
            if (event.piece) out[event.id].text += event.piece->text;
            if (event.done) out[event.id].usage = *event.done;
        }
    return out;
}

}  // namespace

TEST_CASE("served folder: prompts of tokens are checked") {
    const Folder folder;
    TextModel model = folder.open();
    CHECK(model.add_tokens("a", {}, greedy(1)).error().code() == ErrorCode::invalid_field);
    CHECK(model.add_tokens("a", {1, 256}, greedy(1)).error().code() == ErrorCode::out_of_range);
    CHECK(model.add_tokens("a", Tokens(129, 1), greedy(1)).error().code() ==
          ErrorCode::context_length_exceeded);
    const Folder bad(R"({"eos_token_id":256})");
    CHECK(TextModel::open(bad.dir.path(), byte_vocabulary(), kernels::WeightFormat::kF32, {})
              .error()
              .code() == ErrorCode::data_invalid);
}

TEST_CASE("served folder: a text is what the decoder finds likeliest, and ends at an end token") {
    const Folder folder;
    Running running(folder.model);
    Tokens tokens{'h', 'e', 'l', 'l', 'o'};
    Tokens made;
    for (int i = 0; i < 12; ++i) {
        const Floats logits = running.run(tokens, 64);
        const auto last = logits.end() - 256;
        made.push_back(static_cast<std::uint32_t>(std::max_element(last, logits.end()) - last));
        tokens.push_back(made.back());
    }
    std::string expected;
    const auto stream = byte_vocabulary()->stream();
    for (const std::uint32_t token : made)
        expected += stream->push(token);
    TextModel model = folder.open();
    REQUIRE(model.add_tokens("a", {'h', 'e', 'l', 'l', 'o'}, greedy(12)));
    REQUIRE(model.add("b", "hello", greedy(12)));
    auto out = run(model);
    CHECK(out["a"].text == expected + stream->finish());
    CHECK(out["a"] == out["b"]);
    CHECK(out["a"].usage.finish == FinishReason::kLength);

    // The first token that was not made before it becomes an end.
    std::size_t end = made.size() - 1;
    while (std::find(made.begin(), made.begin() + static_cast<std::ptrdiff_t>(end), made[end]) !=
           made.begin() + static_cast<std::ptrdiff_t>(end))
        --end;
    REQUIRE(end > 0);
    const Folder ending("{\"eos_token_id\":[" + std::to_string(made[end]) + "]}");
    TextModel shorter = ending.open();
    REQUIRE(shorter.add("a", "hello", greedy(12)));
    out = run(shorter);
    CHECK(out["a"].usage.finish == FinishReason::kStop);
    CHECK(out["a"].usage.completion_tokens == end + 1);
    std::string before;
    const auto cut = byte_vocabulary()->stream();
    for (std::size_t i = 0; i < end; ++i)
        before += cut->push(made[i]);
    CHECK(out["a"].text == before + cut->finish());
}

TEST_CASE("served folder: few pages, shared prefixes and threads change no text") {
    const Folder folder;
    const auto all = [&](const TextModel::Options& options) {
        TextModel model = folder.open(options);
        for (std::uint32_t i = 0; i < 8; ++i) {
            SamplingParams p = greedy(20);
            p.temperature = 1;
            p.seed = i;
            REQUIRE(model.add(std::to_string(i),
                              "the same long beginning of a prompt " + std::string(i % 3, 'x'), p));
        }
        return run(model);
    };
    const auto expected = all({});
    CHECK(expected.size() == 8);
    CHECK(all({16, 64, 7}) == expected);
    CHECK(all({1, 64, 128}) == expected);      // each after the other reuses what came before
    CHECK(all({16, 64, 128, 9}) == expected);  // room for two or so at a time
    CHECK(all({16, 64, 128, 0, 3}) == expected);
    TextModel small = folder.open({16, 64, 128, 2});
    CHECK(small.add("a", std::string(20, 'x'), greedy(14)).error().code() ==
          ErrorCode::context_length_exceeded);
    CHECK(small.add("a", std::string(20, 'x'), greedy(13)).has_value());
}
