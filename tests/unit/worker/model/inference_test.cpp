// SPDX-License-Identifier: Apache-2.0
#include "worker/model/inference.hpp"

#include "tests/unit/worker/model/fixture.hpp"
#include "tests/unit/worker/model/reference_gpt.hpp"
#include "worker/model/checkpoint.hpp"
#include "worker/model/json_reader.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>

using namespace worker::model;
using ledger::base::ErrorCode;
using test::TempDir;

namespace {

constexpr GptShape kShape{256, 40, 2, 4, 64};  // a head of 10: the tail of the vector loops

/// A model with random weights large enough to prefer some bytes.
struct Served {
    Served() {
        const auto layout = parameter_layout(kShape);
        state.resize(parameter_count(kShape));
        fill_initial(layout, 3, state.values.data());
        for (float& v : state.values)
            v *= 6.0F;
        REQUIRE(write_checkpoint(dir / "c", layout, state).has_value());
    }
    [[nodiscard]] TextModel load(const TextModel::Options& options = {}) const {
        auto model = TextModel::load(kShape, dir / "c", options);
        REQUIRE_MESSAGE(model.has_value(), model.error().message());
        return std::move(*model);
    }
    TempDir dir;
    StateBuffer state;
};

SamplingParams params_of(std::uint32_t tokens, std::uint64_t seed) {
    SamplingParams p;
    p.max_tokens = tokens;
    p.seed = seed;
    return p;
}

std::string text_of(TextModel& model, std::string_view prompt, const SamplingParams& params) {
    std::string text;
    const auto usage = model.generate(prompt, params, [&](const TokenPiece& piece) {
        text += piece.text;
        return true;
    });
    REQUIRE_MESSAGE(usage.has_value(), usage.error().message());
    return text;
}

}  // namespace

TEST_CASE("inference: weights that do not fit the model are refused") {
    const Served served;
    CHECK(TextModel::load(GptShape{256, 40, 3, 4, 64}, served.dir / "c", {}).error().code() ==
          ErrorCode::data_invalid);
    CHECK(TextModel::load(GptShape{256, 48, 2, 4, 64}, served.dir / "c", {}).error().code() ==
          ErrorCode::data_invalid);
    CHECK(TextModel::load(CnnShape{10, 8, 28, 28}, served.dir / "c", {}).error().code() ==
          ErrorCode::unsupported);
    CHECK(TextModel::load(kShape, served.dir / "none", {}).error().code() ==
          ErrorCode::data_missing);
    for (const float wrong : {NAN, INFINITY}) {
        StateBuffer state = served.state;
        state.values[1000] = wrong;
        const auto layout = parameter_layout(kShape);
        REQUIRE(write_checkpoint(served.dir / "nan", layout, state).has_value());
        const auto refused = TextModel::load(kShape, served.dir / "nan", {});
        REQUIRE_FALSE(refused.has_value());
        CHECK(refused.error().code() == ErrorCode::data_invalid);
    }
}

TEST_CASE("inference: a prompt longer than the context and parameters out of range are refused") {
    const Served served;
    auto model = served.load();
    CHECK(model.add("a", std::string(65, 'x'), params_of(1, 0)).error().code() ==
          ErrorCode::context_length_exceeded);
    CHECK(model.add("a", std::string(60, 'x'), params_of(6, 0)).error().code() ==
          ErrorCode::context_length_exceeded);
    CHECK(model.add("a", std::string(60, 'x'), params_of(5, 0)).has_value());
    const auto refused = [&](auto change) {
        SamplingParams p = params_of(4, 0);
        change(p);
        CHECK(model.add("b", "x", p).error().code() == ErrorCode::invalid_field);
    };
    refused([](SamplingParams& p) { p.temperature = 2.1; });
    refused([](SamplingParams& p) { p.temperature = NAN; });
    refused([](SamplingParams& p) { p.top_p = -0.1; });
    refused([](SamplingParams& p) { p.min_p = 1.5; });
    refused([](SamplingParams& p) { p.presence_penalty = 3; });
    refused([](SamplingParams& p) { p.stop = {"a", "b", "c", "d", "e"}; });
    refused([](SamplingParams& p) { p.stop = {""}; });
    refused([](SamplingParams& p) { p.repetition_penalty = 0; });
    refused([](SamplingParams& p) { p.logit_bias = {{1, 101.0}}; });
    refused([](SamplingParams& p) { p.logit_bias.resize(301); });
    SamplingParams none = params_of(4, 0);
    none.logit_bias = {{256, 1.0}};
    CHECK(model.add("b", "x", none).error().code() == ErrorCode::out_of_range);
    refused([](SamplingParams& p) { p.logprobs = 21; });
}

TEST_CASE("inference: a full queue refuses the next request") {
    const Served served;
    auto model = served.load({1, 2, 8});
    CHECK(model.add("a", "x", params_of(2, 0)).has_value());
    CHECK(model.add("b", "x", params_of(2, 0)).has_value());
    CHECK(model.add("c", "x", params_of(2, 0)).error().code() == ErrorCode::queue_full);
}

TEST_CASE("inference: logits agree with the plain model in double") {
    const Served served;
    auto model = served.load();
    const std::vector<double> p(served.state.values.begin(), served.state.values.end());
    std::vector<std::uint8_t> bytes;
    std::vector<std::uint32_t> tokens;
    for (std::uint32_t i = 0; i < 37; ++i) {
        bytes.push_back(static_cast<std::uint8_t>(i * 53 % 256));
        tokens.push_back(bytes.back());
    }
    const auto expected = test::reference_logits(kShape, p, bytes);
    const auto logits = model.logits(tokens);
    REQUIRE(logits.has_value());
    double worst = 0;
    for (std::size_t v = 0; v < 256; ++v)
        worst =
            std::max(worst, std::abs(static_cast<double>((*logits)[v]) - expected[36 * 256 + v]));
    CHECK(worst < 1e-4);
}

TEST_CASE("inference: the same seed gives the same text, another seed another") {
    const Served served;
    auto model = served.load();
    const std::string text = text_of(model, "hello", params_of(40, 5));
    CHECK(text == text_of(model, "hello", params_of(40, 5)));
    CHECK(text != text_of(model, "hello", params_of(40, 6)));
    auto other = served.load();
    CHECK(text == text_of(other, "hello", params_of(40, 5)));
    SamplingParams greedy = params_of(20, 1);
    greedy.temperature = 0;
    const std::string likely = text_of(model, "hello", greedy);
    greedy.seed = 2;
    CHECK(likely == text_of(model, "hello", greedy));
}

TEST_CASE("inference: requests that join and leave do not change each other's text") {
    const Served served;
    auto alone = served.load();
    std::map<std::string, std::string> expected;
    const auto prompt = [](int i) { return std::string(static_cast<std::size_t>(3 + 7 * i), 'k'); };
    for (int i = 0; i < 6; ++i)
        expected[std::to_string(i)] =
            text_of(alone, prompt(i), params_of(static_cast<std::uint32_t>(5 + i), 11));
    auto model = served.load({3, 16, 9});  // few places and short chunks
    std::map<std::string, std::string> texts;
    std::map<std::string, CompletionUsage> usage;
    int next = 0;
    while (next < 6 || model.busy()) {
        if (next < 6) {
            REQUIRE(model.add(std::to_string(next), prompt(next),
                              params_of(static_cast<std::uint32_t>(5 + next), 11)));
            ++next;
        }
        for (const GenerationEvent& event : model.step()) {
            if (event.piece) texts[event.id] += event.piece->text;
            if (event.done) usage[event.id] = *event.done;
        }
    }
    CHECK(texts == expected);
    for (int i = 0; i < 6; ++i) {
        const auto& u = usage[std::to_string(i)];
        CHECK(u.prompt_tokens == static_cast<std::uint64_t>(3 + 7 * i));
        CHECK(u.completion_tokens == static_cast<std::uint64_t>(5 + i));
        CHECK(u.finish == FinishReason::kLength);
    }
}

TEST_CASE("inference: a cancelled request ends and says what it used") {
    const Served served;
    auto model = served.load();
    std::uint32_t pieces = 0;
    const auto usage =
        model.generate("hello", params_of(50, 5), [&](const TokenPiece&) { return ++pieces < 3; });
    REQUIRE(usage.has_value());
    CHECK(usage->finish == FinishReason::kCancelled);
    CHECK(usage->completion_tokens < 50);
    CHECK_FALSE(model.busy());
    REQUIRE(model.add("a", "x", params_of(5, 0)));
    model.cancel("a");
    model.cancel("unknown");
    const auto events = model.step();
    REQUIRE(events.size() == 1);
    CHECK(events[0].done->finish == FinishReason::kCancelled);
}

TEST_CASE("inference: the text ends before a stop string") {
    const Served served;
    auto model = served.load();
    SamplingParams params = params_of(40, 5);
    const std::string text = text_of(model, "hello", params);
    const std::string stop = text.substr(text.size() / 2, 3);
    params.stop = {stop};
    std::string stopped;
    const auto usage = model.generate("hello", params, [&](const TokenPiece& piece) {
        stopped += piece.text;
        return true;
    });
    CHECK(usage->finish == FinishReason::kStop);
    CHECK(stopped == text.substr(0, text.find(stop)));
}

TEST_CASE("inference: log probabilities belong to the token and add up to one") {
    const Served served;
    auto model = served.load();
    SamplingParams params = params_of(4, 5);
    params.logprobs = 20;
    const auto usage = model.generate("hello", params, [&](const TokenPiece& piece) {
        REQUIRE(piece.logprobs.size() == 21);
        CHECK(piece.logprobs[0].logprob <= 0);
        double mass = 0;
        for (std::size_t i = 1; i <= 20; ++i) {
            mass += std::exp(piece.logprobs[i].logprob);
            if (i > 1) CHECK(piece.logprobs[i].logprob <= piece.logprobs[i - 1].logprob);
        }
        CHECK(mass <= 1.0 + 1e-9);
        return true;
    });
    CHECK(usage->completion_tokens == 4);
}

TEST_CASE("inference: an empty prompt and no limit fill the context") {
    const Served served;
    auto model = served.load();
    const auto usage = model.generate("", params_of(0, 1), [](const TokenPiece&) { return true; });
    REQUIRE(usage.has_value());
    CHECK(usage->prompt_tokens == 0);
    CHECK(usage->completion_tokens == 64);
}

TEST_CASE("inference: who gives its memory up comes to the same text") {
    const Served served;
    const auto all = [&](const TextModel::Options& options, std::uint64_t* preemptions) {
        auto model = served.load(options);
        std::map<std::string, std::string> texts;
        for (std::uint64_t i = 0; i < 5; ++i) {
            SamplingParams p = params_of(40, i);
            p.frequency_penalty = 0.5;
            p.repetition_penalty = 1.1;
            REQUIRE(
                model.add(std::to_string(i), std::string(10 + i, static_cast<char>('a' + i)), p));
        }
        while (model.busy())
            for (const GenerationEvent& event : model.step())
                if (event.piece) texts[event.id] += event.piece->text;
        *preemptions = model.preemptions();
        return texts;
    };
    std::uint64_t none = 0;
    std::uint64_t some = 0;
    const auto expected = all({}, &none);
    CHECK(none == 0);
    CHECK(expected.size() == 5);
    CHECK(all({16, 64, 128, 8}, &some) == expected);  // two sequences' worth of pages
    CHECK(some > 0);
}

TEST_CASE("inference: a held request waits, others go on, and its text is the same") {
    const Served served;
    auto alone = served.load();
    const std::string expected = text_of(alone, "hello", params_of(40, 5));
    for (const std::uint32_t pages : {0U, 4U}) {  // with 4 its memory is taken meanwhile
        auto model = served.load({16, 64, 128, pages});
        std::string text;
        const auto take = [&](const std::vector<GenerationEvent>& events) {
            for (const GenerationEvent& event : events)
                if (event.piece && event.id == "slow") text += event.piece->text;
        };
        REQUIRE(model.add("slow", "hello", params_of(40, 5)));
        for (int i = 0; i < 5; ++i)
            take(model.step());
        model.pace("slow", TextModel::Pace::kHold);
        const std::string before = text;
        REQUIRE(model.add("other", std::string(20, 'x'), params_of(40, 6)));
        bool done = false;
        while (model.busy())
            for (const GenerationEvent& event : model.step())
                done = done || (event.done && event.id == "other");
        CHECK(done);
        CHECK(text == before);
        if (pages > 0) CHECK(model.preemptions() > 0);
        model.pace("slow", TextModel::Pace::kGo);
        while (model.busy())
            take(model.step());
        CHECK(text == expected);
        model.pace("unknown", TextModel::Pace::kHold);
    }
}

TEST_CASE("inference: a long prompt leaves a share of each step to the short ones after it") {
    const Served served;
    auto model = served.load({16, 64, 8});
    REQUIRE(model.add("long", std::string(60, 'x'), params_of(2, 0)));
    REQUIRE(model.add("short", "hi", params_of(2, 0)));
    std::vector<std::string> order;
    while (model.busy())
        for (const GenerationEvent& event : model.step())
            if (event.done) order.push_back(event.id);
    CHECK(order == std::vector<std::string>{"short", "long"});
}

TEST_CASE("inference: a text with a schema parses, in any batch, by its seed") {
    const Served served;
    SamplingParams p = params_of(50, 0);
    p.schema = R"({"type":"object","properties":{"a":{"type":"boolean"},"b":{"type":"null"}},)"
               R"("required":["a"]})";
    for (const std::uint32_t space : {32U, 10U, 9U, 13U})
        p.logit_bias.push_back({space, -100.0});
    std::map<std::string, std::string> expected;
    auto alone = served.load();
    int whole = 0;
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
        p.seed = seed;
        std::string text;
        const auto usage = alone.generate("{", p, [&](const TokenPiece& piece) {
            text += piece.text;
            return true;
        });
        REQUIRE(usage.has_value());
        expected[std::to_string(seed)] = text;
        if (usage->finish != FinishReason::kStop) continue;
        ++whole;
        const auto parsed = JsonValue::parse(text, 4);
        REQUIRE_MESSAGE(parsed.has_value(), text);
        CHECK(parsed->member("a")->flag().has_value());
    }
    CHECK(whole > 0);
    auto model = served.load({8, 16, 16});
    std::map<std::string, std::string> texts;
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
        p.seed = seed;
        REQUIRE(model.add(std::to_string(seed), "{", p));
    }
    while (model.busy())
        for (const GenerationEvent& event : model.step())
            if (event.piece) texts[event.id] += event.piece->text;
    CHECK(texts == expected);
    p.stop = {"}"};
    CHECK(model.add("a", "x", p).error().code() == ErrorCode::invalid_field);
    p.stop.clear();
    p.schema = R"({"$ref":"#"})";
    CHECK(model.add("a", "x", p).error().code() == ErrorCode::unsupported);
}

TEST_CASE("inference: embeddings are the same beside texts under way") {
    const Served served;
    auto model = served.load();
    const std::vector<std::uint32_t> tokens{'w', 'h', 'a', 'l', 'e'};
    const auto alone = model.embed(tokens);
    REQUIRE(alone.has_value());
    REQUIRE(model.add("a", "hello", params_of(10, 1)));
    (void)model.step();
    CHECK(*model.embed(tokens) == *alone);
    CHECK(model.embed({}).error().code() == ErrorCode::context_length_exceeded);
    CHECK(model.embed({256}).error().code() == ErrorCode::out_of_range);
}
