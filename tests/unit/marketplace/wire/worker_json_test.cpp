// SPDX-License-Identifier: Apache-2.0
#include "marketplace/wire/worker_json.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace marketplace;
using ledger::base::ErrorCode;

namespace {
template <typename Message>
void check_worker(const Message& message) {
    const auto decoded = wire::decode_worker_message(wire::encode(wire::WorkerMessage(message)));
    REQUIRE_MESSAGE(decoded, decoded.error().message());
    CHECK(*decoded == wire::WorkerMessage(message));
}
template <typename Message>
void check_market(const Message& message) {
    const auto decoded = wire::decode_market_message(wire::encode(wire::MarketMessage(message)));
    REQUIRE_MESSAGE(decoded, decoded.error().message());
    CHECK(*decoded == wire::MarketMessage(message));
}
}  // namespace

TEST_CASE("worker_json: unknown types, fields and shapes are refused") {
    const auto code = [](const char* text) {
        return wire::decode_worker_message(text).error().code();
    };
    CHECK(code("") == ErrorCode::invalid_json);
    CHECK(code("[1]") != ErrorCode::internal);
    CHECK(code("{\"type\":7}") == ErrorCode::invalid_field);
    CHECK(code("{\"type\":\"welcome\"}") == ErrorCode::unsupported);
    CHECK(code("{\"type\":\"started\"}") == ErrorCode::missing_field);
    CHECK(code("{\"type\":\"abort\",\"request\":1}") == ErrorCode::unsupported);
    CHECK(code("{\"type\":\"token\",\"request\":-1,\"text\":\"\",\"index\":0}") ==
          ErrorCode::invalid_field);
    CHECK(code("{\"type\":\"token\",\"request\":1,\"text\":\"\",\"index\":0,\"x\":0}") ==
          ErrorCode::unknown_field);
    CHECK(wire::decode_worker_message(std::string(70'000, ' ')).error().code() ==
          ErrorCode::too_large);
}

TEST_CASE("worker_json: every message of the worker round trips") {
    wire::Hello hello;
    hello.resource.gpu_model = "cpu";
    hello.leases.push_back({domain::Hash32(), 7});
    hello.serving.emplace_back();
    check_worker(hello);
    check_worker(wire::Started{});
    check_worker(wire::Metrics{{}, 5, "eval", 1.25, 0.5, 100});
    wire::ReceiptMessage receipt;
    receipt.receipt.receipt.cumulative_units = UINT64_MAX;
    receipt.step = 25;
    check_worker(receipt);
    check_worker(wire::WorkerVoucher{});
    check_worker(wire::WorkFailed{{}, "out_of_memory", "x"});
    check_worker(wire::WorkFinished{});
    check_worker(wire::Serving{{}, "moby"});
    check_worker(wire::Token{1, "whale \xf0\x9f\x90\x8b", 2, 0, {}});
    check_worker(wire::Token{1, "", 2, 3, {{"\xf0\x9f", -0.5}, {"a", -1.25}}});
    check_worker(wire::Embedding{1, 2, "AACAPw=="});
    wire::CompletionDone done;
    done.receipts.resize(2);
    check_worker(done);
    check_worker(wire::CompletionRefused{3, "context_length_exceeded", ""});
}

TEST_CASE("worker_json: every message of the market round trips") {
    check_market(wire::Welcome{31337, {}, {}, 1});
    wire::Assign assign;
    assign.spec = R"({"kind":"train"})";
    assign.start_step = 25;
    assign.receipts_sequence = 3;
    check_market(assign);
    check_market(wire::Ack{{}, 4});
    check_market(wire::BuyerVoucher{});
    check_market(wire::CancelWork{{}, "worker_lost"});
    wire::Infer infer;
    infer.prompt = "Call me";
    infer.sampling.stop = {"\n"};
    check_market(infer);
    infer.sampling.logit_bias = {{7, "-100"}, {9, "0.5"}};
    infer.sampling.logprobs = 6;
    infer.sampling.choices = 3;
    infer.sampling.top_k = 40;
    infer.sampling.repetition_penalty = "1.1";
    infer.sampling.schema = R"({"type":"object"})";
    check_market(infer);
    check_market(wire::Embed{4, {}, {}, R"(["a"])"});
    check_market(wire::Embed{4, {}, {}, R"(["a"])", 256});
    check_market(wire::HoldCompletion{4, 1});
    infer.prompt.clear();
    infer.sampling.temperature.clear();
    infer.messages = R"([{"content":"Call me","role":"user"}])";
    check_market(infer);
    check_market(wire::AbortCompletion{9});
    check_market(wire::MarketError{"not_found", "no such lease"});
}

TEST_CASE("worker_json: a hello of another version names the side to upgrade") {
    const auto refusal = [](const std::string& more) {
        const auto message = wire::decode_worker_message(R"({"type":"hello")" + more + "}");
        REQUIRE_FALSE(message);
        return message.error();
    };
    // Whatever its fields are.
    const auto older = refusal(R"(,"version":1,"resource":7)");
    CHECK(older.code() == ErrorCode::unsupported);
    CHECK(older.detail() == "the worker speaks protocol 1, the market 2: upgrade millrace-worker");
    const auto newer = refusal(R"(,"version":3,"shape":"of tomorrow")");
    CHECK(newer.code() == ErrorCode::unsupported);
    CHECK(newer.detail() == "the worker speaks protocol 3, the market 2: upgrade millrace-market");
    // One that tells no version, or tells it of another message, is wrong as any other is.
    CHECK(refusal("").code() != ErrorCode::unsupported);
    CHECK(refusal(R"(,"version":"1")").code() == ErrorCode::invalid_field);
    const auto started = wire::decode_worker_message(R"({"type":"started","version":1})");
    REQUIRE_FALSE(started);
    CHECK(started.error().code() != ErrorCode::unsupported);
}

TEST_CASE("worker_json: a loss that is not a number travels as null") {
    const wire::Metrics metrics{{}, 1, "train", std::numeric_limits<double>::infinity(), 0, 0};
    const auto decoded = wire::decode_worker_message(wire::encode(wire::WorkerMessage(metrics)));
    REQUIRE(decoded);
    CHECK(std::isnan(std::get<wire::Metrics>(*decoded).loss));
}
