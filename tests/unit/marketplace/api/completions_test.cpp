// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/completion_input.hpp"
#include "tests/unit/marketplace/api/api_fixture.hpp"

using namespace api_test;
using api::CompletionKind;
using api::parse_completion;

namespace {

ErrorCode refusal(CompletionKind kind, std::string_view body) {
    const auto parsed = parse_completion(kind, body);
    REQUIRE_FALSE(parsed);
    return parsed.error().code();
}

/// The "data:" payloads of a stream.
std::vector<std::string> events_of(const std::string& body) {
    std::vector<std::string> out;
    std::size_t at = 0;
    while ((at = body.find("data: ", at)) != std::string::npos) {
        const auto end = body.find("\n\n", at);
        out.push_back(body.substr(at + 6, end - at - 6));
        at = end;
    }
    return out;
}

struct Served : Fixture {
    Served() {
        api::PublishedModel model;
        model.name = "moby";
        model.owner = key.address();
        model.spec = serve_spec(to_hex(ledger::base::Hash32()), "moby");
        REQUIRE(catalog.put_model(model));
        header = bearer(key);
    }
    PrivateKey key = PrivateKey::generate();
    std::string header;
};

}  // namespace

TEST_CASE("completions: requests are read as OpenAI writes them") {
    const auto text = CompletionKind::kText;
    CHECK(refusal(text, "[]") == ErrorCode::invalid_request);
    CHECK(refusal(text, "{}") == ErrorCode::missing_field);
    CHECK(refusal(text, R"({"model":"m"})") == ErrorCode::missing_field);
    CHECK(refusal(text, R"({"model":"m","prompt":1})") == ErrorCode::invalid_field);
    CHECK(refusal(text, R"({"model":"m","prompt":"a","max_tokens":0})") == ErrorCode::out_of_range);
    CHECK(refusal(text, R"({"model":"m","prompt":"a","temperature":3})") ==
          ErrorCode::out_of_range);
    CHECK(refusal(text, R"({"model":"m","prompt":"a","n":0})") == ErrorCode::out_of_range);
    CHECK(refusal(text, R"({"model":"m","prompt":"a","n":17})") == ErrorCode::out_of_range);
    CHECK(refusal(text, R"({"model":"m","prompt":"a","stop":["1","2","3","4","5"]})") ==
          ErrorCode::invalid_field);
    CHECK(refusal(CompletionKind::kChat, R"({"model":"m","messages":[]})") ==
          ErrorCode::invalid_field);
    CHECK(refusal(CompletionKind::kChat, R"({"model":"m","messages":[{"role":"cat"}]})") ==
          ErrorCode::unsupported);
    const auto chat =
        parse_completion(CompletionKind::kChat,
                         R"({"model":"m","messages":[{"role":"system","content":"be brief"},
            {"role":"user","content":[{"type":"text","text":"hi"}]}],"max_completion_tokens":9,
            "temperature":0.7,"seed":-1,"stop":"x","stream":true,"whiskers":{},
            "stream_options":{"include_usage":true}})");
    REQUIRE(chat);
    CHECK(chat->prompt == "system: be brief\nuser: hi\nassistant:");
    CHECK(chat->messages ==
          R"([{"content":"be brief","role":"system"},{"content":"hi","role":"user"}])");
    CHECK(chat->has_temperature);
    CHECK_FALSE(chat->has_top_p);
    CHECK(chat->sampling.max_tokens == 9);
    CHECK(chat->sampling.temperature == "0.7");
    CHECK(chat->include_usage);
    CHECK(chat->ignored == std::vector<std::string>{"whiskers"});
}

TEST_CASE("completions: refusals are OpenAI error objects with their status") {
    Served f;
    const json none = f.post("/v1/completions", R"({"model":"moby","prompt":"a"})", 401);
    CHECK(none["error"]["type"] == "authentication_error");
    const json unknown =
        f.post("/v1/completions", R"({"model":"nope","prompt":"a"})", 404, f.header);
    CHECK(unknown["error"]["code"] == "model_not_found");
    CHECK(unknown["error"].contains("param"));
    const json longer =
        f.post("/v1/completions", R"({"model":"moby","prompt":")" + std::string(65, 'a') + "\"}",
               400, f.header);
    CHECK(longer["error"]["code"] == "context_length_exceeded");
    f.inference.tokens.clear();
    f.inference.failure = ErrorCode::no_capacity;
    const json busy = f.post("/v1/chat/completions",
                             R"({"model":"moby","stream":true,"messages":[{"role":"user",
                                "content":"a"}]})",
                             503, f.header);
    CHECK(busy["error"]["code"] == "no_capacity");
}

TEST_CASE("completions: whole answers have OpenAI's shape and our bill") {
    Served f;
    const json text =
        f.post("/v1/completions", R"({"model":"moby","prompt":"abc","echo":true,"max_tokens":5})",
               200, f.header);
    CHECK(text["object"] == "text_completion");
    CHECK(text["choices"][0]["text"] == "abcCall me Ishmael");
    CHECK(text["choices"][0]["finish_reason"] == "stop");
    CHECK(text["usage"]["total_tokens"] == 8);
    CHECK(text["millrace"]["cost_atoms"] == "42");
    CHECK(f.inference.last.buyer == f.key.address());
    CHECK(f.inference.last.sampling.max_tokens == 5);
    const json chat =
        f.post("/v1/chat/completions",
               R"({"model":"moby","messages":[{"role":"user","content":"hi"}]})", 200, f.header);
    CHECK(chat["object"] == "chat.completion");
    CHECK(chat["choices"][0]["message"]["role"] == "assistant");
    CHECK(chat["choices"][0]["message"]["content"] == "Call me Ishmael");
    CHECK(f.inference.last.prompt == "user: hi\nassistant:");
}

TEST_CASE("completions: streams begin with the role, end with usage and [DONE]") {
    Served f;
    auto client = f.client();
    const auto answer =
        client.request("POST", "/v1/chat/completions",
                       R"({"model":"moby","stream":true,"stream_options":{"include_usage":true},
            "messages":[{"role":"user","content":"hi"}],"whiskers":3})",
                       f.header);
    CHECK(answer.status == 200);
    CHECK(answer.header("content-type") == "text/event-stream");
    CHECK(answer.header("x-ignored-parameters") == "whiskers");
    const auto events = events_of(answer.body);
    REQUIRE(events.size() == 7);
    CHECK(json::parse(events[0])["choices"][0]["delta"]["role"] == "assistant");
    CHECK(json::parse(events[1])["choices"][0]["delta"]["content"] == "Call ");
    CHECK(json::parse(events[1])["usage"].is_null());
    CHECK(json::parse(events[4])["choices"][0]["finish_reason"] == "stop");
    const json usage = json::parse(events[5]);
    CHECK(usage["choices"].empty());
    CHECK(usage["usage"]["completion_tokens"] == 3);
    CHECK(events[6] == "[DONE]");
    const auto text = client.request("POST", "/v1/completions",
                                     R"({"model":"moby","stream":true,"prompt":"a"})", f.header);
    const auto pieces = events_of(text.body);
    REQUIRE(pieces.size() == 5);
    CHECK(json::parse(pieces[0])["choices"][0]["text"] == "Call ");
    CHECK_FALSE(json::parse(pieces[0]).contains("usage"));
}

TEST_CASE("completions: a failure after the first token is an error event") {
    Served f;
    f.inference.failure = ErrorCode::worker_lost;
    auto client = f.client();
    const auto answer = client.request("POST", "/v1/completions",
                                       R"({"model":"moby","stream":true,"prompt":"a"})", f.header);
    CHECK(answer.status == 200);
    const auto events = events_of(answer.body);
    REQUIRE(events.size() == 4);
    CHECK(json::parse(events[3])["error"]["code"] == "worker_lost");
}

TEST_CASE("completions: a client that leaves ends its completion") {
    Served f;
    f.inference.endless = true;
    {
        auto client = f.client();
        const std::string body = R"({"model":"moby","stream":true,"prompt":"a"})";
        client.send("POST /v1/completions HTTP/1.1\r\nHost: a\r\n" + f.header +
                    "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
        CHECK(client.read_until("more "));
    }
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!f.inference.aborted && std::chrono::steady_clock::now() < until)
        std::this_thread::yield();
    CHECK(f.inference.aborted);
    f.inference.aborted = true;
}

TEST_CASE("models: published by name, listed as OpenAI lists them") {
    Served f;
    const std::string weights = "some weights";
    const std::string hash = to_hex(ledger::base::sha256(ledger::base::as_bytes(weights)));
    const json body{{"spec", serve_spec(hash, "white-whale")}};
    CHECK(code_of(f.post("/v1/models", body.dump(), 422, f.header)["error"]) == "data_missing");
    auto client = f.client();
    CHECK(client.request("PUT", "/v1/blobs/" + hash, weights, f.header).status == 201);
    CHECK(f.post("/v1/models", body.dump(), 401).contains("error"));
    const json made = f.post("/v1/models", body.dump(), 201, f.header);
    CHECK(made["id"] == "white-whale");
    CHECK(made["context_length"] == 64);
    const json list = f.get("/v1/models");
    CHECK(list["object"] == "list");
    CHECK(list["data"].size() == 2);
    CHECK(f.get("/v1/models/white-whale")["object"] == "model");
    CHECK(f.get("/v1/models/nope", 404)["error"]["code"] == "model_not_found");
    const auto thief = PrivateKey::generate();
    f.post("/v1/models", body.dump(), 409, f.bearer(thief));
}
