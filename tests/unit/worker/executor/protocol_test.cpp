// SPDX-License-Identifier: Apache-2.0
#include "worker/executor/protocol.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

using namespace worker::executor;
using ledger::base::Error;
using ledger::base::ErrorCode;

TEST_CASE("protocol: lines that are not events are refused") {
    const std::string hash = "0x" + std::string(64, 'a');
    for (
        const std::string& line : {
            std::string(),
            std::string("{}"),
            std::string("[]"),
            std::string("junk"),
            std::string(R"({"event":"party"})"),
            std::string(R"({"event":"ready"})"),
            std::string(R"({"event":"ready","step":-1})"),
            std::string(R"({"event":"ready","step":1,"more":1})"),
            std::string(R"({"event":"ready","step":1,"step":2})"),
            std::string(
                R"({"event":"metrics","step":1,"loss":1.5,"gradient_norm":"1","samples_per_s":"1"})"),
            std::string(
                R"({"event":"metrics","step":1,"loss":"nan","gradient_norm":"1","samples_per_s":"1"})"),
            R"({"event":"segment","step":2,"steps":3,"loss":"1","checkpoint":"c","sha256":")" +
                hash + R"(","bytes":1,"start_ms":1,"end_ms":2})",
            R"({"event":"segment","step":3,"steps":3,"loss":"1","checkpoint":"../c","sha256":")" +
                hash + R"(","bytes":1,"start_ms":1,"end_ms":2})",
            R"({"event":"segment","step":3,"steps":3,"loss":"1","checkpoint":".c","sha256":")" +
                hash + R"(","bytes":1,"start_ms":1,"end_ms":2})",
            R"({"event":"segment","step":3,"steps":3,"loss":"1","checkpoint":"c","sha256":")" +
                hash + R"(","bytes":1,"start_ms":2,"end_ms":1})",
            R"({"event":"audited","verdict":"good","steps":3,"found_hash":")" + hash +
                R"(","distance":"0","difference":""})",
            R"({"event":"audited","verdict":"equal","steps":0,"found_hash":")" + hash +
                R"(","distance":"0","difference":""})",
            R"({"event":"audited","verdict":"equal","steps":3,"found_hash":")" + hash +
                R"(","distance":"nan","difference":""})",
            R"({"event":"audited","verdict":"equal","steps":3,"found_hash":")" + hash +
                R"(","distance":"0","difference":")" + std::string(1000, 'x') + "\"}",
            std::string(kLineBytesMax + 1, ' '),
        }) {
        CAPTURE(line.substr(0, 200));
        CHECK_FALSE(decode_event(line).has_value());
    }
}

TEST_CASE("protocol: events come back as they were") {
    Segment segment;
    segment.step = 50;
    segment.steps = 25;
    segment.loss = 2.5;
    segment.checkpoint = "/job/checkpoint-50.safetensors";
    segment.sha256.data()[3] = 9;
    segment.bytes = 1234;
    segment.start_ms = 10;
    segment.end_ms = 20;
    auto event = decode_event(encode_event(segment));
    REQUIRE(event.has_value());
    const auto& s = std::get<Segment>(*event);
    CHECK(s.step == 50);
    CHECK(s.steps == 25);
    CHECK(s.loss == 2.5);
    CHECK(s.checkpoint == "checkpoint-50.safetensors");
    CHECK(s.sha256 == segment.sha256);
    CHECK(s.bytes == 1234);

    Audited audited;
    audited.report = {worker::verify::Verdict::kWrong, 25, segment.sha256, HUGE_VAL,
                      "wte.weight[7]"};
    event = decode_event(encode_event(audited));
    REQUIRE_MESSAGE(event.has_value(), event.error().message());
    const auto& report = std::get<Audited>(*event).report;
    CHECK(report.verdict == worker::verify::Verdict::kWrong);
    CHECK(report.steps == 25);
    CHECK(report.found_hash == segment.sha256);
    CHECK(std::isinf(report.distance));
    CHECK(report.difference == "wte.weight[7]");
    audited.report.difference = std::string(3000, '\xFF');  // no text, and too long
    CHECK(decode_event(encode_event(audited)).has_value());

    Token token;
    token.id = "r1";
    token.piece.text = "quote \" and \n and \xC3\xBC";
    token.piece.index = 4;
    token.piece.logprobs = {{"\xC3", -0.25}, {"b", -2.0}};
    event = decode_event(encode_event(token));
    REQUIRE(event.has_value());
    const auto& t = std::get<Token>(*event);
    CHECK(t.piece.text == token.piece.text);
    REQUIRE(t.piece.logprobs.size() == 2);
    CHECK(t.piece.logprobs[0].token == "\xC3");
    CHECK(t.piece.logprobs[0].logprob == -0.25);
    CHECK(t.piece.logprobs[1].token == "b");

    event = decode_event(encode_event(Failed{Error(ErrorCode::out_of_memory, "too big")}));
    CHECK(std::get<Failed>(*event).error == Error(ErrorCode::out_of_memory, "too big"));
    event = decode_event(encode_event(Evaluated{7, 1.5, 0.25, 99}));
    CHECK(std::get<Evaluated>(*event).accuracy == 0.25);
    event = decode_event(encode_event(GenerationDone{"x", 1, 2, "stop", 3, 4}));
    CHECK(std::get<GenerationDone>(*event).completion_tokens == 2);
}

TEST_CASE("protocol: start and commands come back as they were") {
    ChildStart start;
    start.kind = ChildStart::Kind::kServe;
    start.spec_json = R"({"a":"\n"})";
    start.job_dir = "/job";
    start.weights = "/in/weights";
    start.files.checkpoint = "/in/checkpoint";
    start.runtime.threads = 3;
    start.walls = true;
    start.stop_at_step = 37;
    start.folder = "/in/model";
    start.memory_bytes = 1ULL << 33U;
    const auto back = decode_start(encode_start(start));
    REQUIRE(back.has_value());
    CHECK(back->spec_json == start.spec_json);
    CHECK(back->weights == start.weights);
    CHECK(back->folder == start.folder);
    CHECK(back->memory_bytes == start.memory_bytes);
    CHECK(*back->files.checkpoint == "/in/checkpoint");
    CHECK_FALSE(back->files.init.has_value());
    CHECK(back->runtime.threads == 3);
    CHECK(back->walls);
    CHECK(back->stop_at_step == 37);

    CHECK(back->claimed.empty());
    start.kind = ChildStart::Kind::kAudit;
    start.claimed = "/in/claimed";
    start.claimed_hash.data()[5] = 6;
    const auto audit = decode_start(encode_start(start));
    REQUIRE(audit.has_value());
    CHECK(audit->kind == ChildStart::Kind::kAudit);
    CHECK(audit->claimed == start.claimed);
    CHECK(audit->claimed_hash == start.claimed_hash);

    GenerateRequest request;
    request.id = "r";
    request.prompt = "Call me";
    request.params.max_tokens = 9;
    request.params.temperature = 0.7;
    request.params.seed = ~std::uint64_t{0};
    request.params.stop = {"\n"};
    request.messages = R"([{"content":"hi","role":"user"}])";
    request.prompt_tokens_max = 1060;
    request.top_p_given = false;
    request.params.logit_bias = {{7, -100.0}, {9, 0.5}};
    request.params.repetition_penalty = 1.1;
    request.params.schema = R"({"type":"object"})";
    const auto command = decode_command(encode_command(request));
    REQUIRE(command.has_value());
    const auto& r = std::get<GenerateRequest>(*command);
    CHECK(r.prompt == "Call me");
    CHECK(r.params.temperature == doctest::Approx(0.7));
    CHECK(r.messages == request.messages);
    REQUIRE(r.params.logit_bias.size() == 2);
    CHECK(r.params.logit_bias[0].token == 7);
    CHECK(r.params.logit_bias[0].bias == -100.0);
    CHECK(r.params.repetition_penalty == doctest::Approx(1.1));
    CHECK(r.params.schema == request.params.schema);
    CHECK(r.prompt_tokens_max == 1060);
    CHECK(r.temperature_given);
    CHECK_FALSE(r.top_p_given);
    CHECK(r.params.seed == ~std::uint64_t{0});
    CHECK(r.params.stop == std::vector<std::string>{"\n"});
    CHECK(std::holds_alternative<Pause>(*decode_command(encode_command(Pause{}))));
    CHECK(std::get<Abort>(*decode_command(encode_command(Abort{"q"}))).id == "q");
    const auto embed = decode_command(encode_command(EmbedRequest{"e", R"(["a"])", 17, 5}));
    CHECK(std::get<EmbedRequest>(*embed).inputs == R"(["a"])");
    CHECK(std::get<EmbedRequest>(*embed).prompt_tokens_max == 17);
    CHECK(std::get<EmbedRequest>(*embed).dimensions == 5);
    using Pace = worker::model::TextModel::Pace;
    for (const Pace pace : {Pace::kHold, Pace::kGo})
        CHECK(std::get<Hold>(*decode_command(encode_command(Hold{"q", pace}))).pace == pace);
    const auto vector = decode_event(encode_event(Embedded{"e", 3, {1.5F, -0.0F, 1e-40F}}));
    CHECK(std::get<Embedded>(*vector).index == 3);
    CHECK(std::get<Embedded>(*vector).vector == std::vector<float>{1.5F, -0.0F, 1e-40F});
    CHECK_FALSE(decode_event(R"({"event":"embedding","id":"e","index":0,"vector":"0x0000807f"})")
                    .has_value());  // infinite
    CHECK_FALSE(decode_command(R"({"op":"dance"})").has_value());
}
