// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/completion_input.hpp"
#include "tests/unit/marketplace/api/api_fixture.hpp"

#include <initializer_list>
#include <map>

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
    CHECK(chat->sampling.choices == 1);
    CHECK(chat->ignored == std::vector<std::string>{"whiskers"});
}

TEST_CASE("completions: sampling parameters, each with its range") {
    const auto text = CompletionKind::kText;
    const auto chat = CompletionKind::kChat;
    const auto body = [](CompletionKind kind, const std::string& more) {
        return kind == CompletionKind::kText
                   ? R"({"model":"m","prompt":"a",)" + more + "}"
                   : R"({"model":"m","messages":[{"role":"user","content":"a"}],)" + more + "}";
    };
    struct Bad {
        const char* more;
        ErrorCode code;
    };
    for (const Bad& bad : std::initializer_list<Bad>{
             {R"("frequency_penalty":2.1)", ErrorCode::out_of_range},
             {R"("presence_penalty":-2.1)", ErrorCode::out_of_range},
             {R"("repetition_penalty":0)", ErrorCode::out_of_range},
             {R"("min_p":-0.1)", ErrorCode::out_of_range},
             {R"("min_p":"1")", ErrorCode::invalid_field},
             {R"("top_k":-2)", ErrorCode::out_of_range},
             {R"("top_k":1.5)", ErrorCode::invalid_field},
             {R"("logit_bias":[])", ErrorCode::invalid_field},
             {R"("logit_bias":{"a":1})", ErrorCode::invalid_field},
             {R"("logit_bias":{"1":101})", ErrorCode::out_of_range},
             {R"("max_completion_tokens":0)", ErrorCode::out_of_range},
             {R"("user":1)", ErrorCode::invalid_field},
             {R"("response_format":{"type":"xml"})", ErrorCode::unsupported},
             {R"("response_format":{"type":"json_schema"})", ErrorCode::invalid_field},
             {R"("response_format":{"type":"json_object"},"stop":"}")", ErrorCode::unsupported},
             {R"("tools":[{}])", ErrorCode::unsupported},
             {R"("audio":{"voice":"x"})", ErrorCode::unsupported},
             {R"("modalities":["text","audio"])", ErrorCode::unsupported},
             {R"("best_of":2)", ErrorCode::unsupported}})
        for (const auto kind : {text, chat}) {
            const auto parsed = parse_completion(kind, body(kind, bad.more));
            REQUIRE_FALSE_MESSAGE(parsed.has_value(), bad.more);
            CHECK_MESSAGE(parsed.error().code() == bad.code, bad.more);
            CHECK(parsed.error().detail().starts_with("'"));
        }
    CHECK(refusal(text, body(text, R"("logprobs":6)")) == ErrorCode::out_of_range);
    CHECK(refusal(text, body(text, R"("logprobs":true)")) == ErrorCode::invalid_field);
    CHECK(refusal(text, body(text, R"("logprobs":1,"echo":true)")) == ErrorCode::unsupported);
    CHECK(refusal(chat, body(chat, R"("top_logprobs":2)")) == ErrorCode::invalid_field);
    CHECK(refusal(chat, body(chat, R"("logprobs":true,"top_logprobs":21)")) ==
          ErrorCode::out_of_range);
    const auto good = parse_completion(
        chat, body(chat, R"("logprobs":true,"top_logprobs":3,"n":2,"top_k":-1,"min_p":0.05,
            "frequency_penalty":-0.5,"repetition_penalty":1.1,"logit_bias":{"7":-100},
            "tools":[],"tool_choice":"none","store":false,"modalities":["text"],"best_of":2)"));
    REQUIRE_MESSAGE(good.has_value(), good.error().message());
    CHECK(good->sampling.logprobs == 4);
    CHECK(good->sampling.choices == 2);
    CHECK(good->sampling.top_k == 4294967295U);
    CHECK(good->sampling.min_p == "0.05");
    CHECK(good->sampling.frequency_penalty == "-0.5");
    CHECK(good->sampling.presence_penalty.empty());
    CHECK(good->sampling.repetition_penalty == "1.1");
    CHECK(good->sampling.logit_bias == std::vector<marketplace::wire::TokenBias>{{7, "-100"}});
    CHECK(good->ignored.empty());
    CHECK(parse_completion(text, body(text, R"("response_format":{"type":"json_object"})"))
              ->sampling.schema == R"({"type":"object"})");
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

TEST_CASE("completions: choices and log probabilities, whole and streamed") {
    Served f;
    const std::string chat =
        R"({"model":"moby","n":2,"logprobs":true,"top_logprobs":1,"messages":[{"role":"user",
            "content":"hi"}])";
    const json whole = f.post("/v1/chat/completions", chat + "}", 200, f.header);
    REQUIRE(whole["choices"].size() == 2);
    CHECK(whole["usage"]["prompt_tokens"] == 5);
    CHECK(whole["usage"]["completion_tokens"] == 6);
    for (std::size_t i = 0; i < 2; ++i) {
        const json& choice = whole["choices"][i];
        CHECK(choice["index"] == i);
        CHECK(choice["message"]["content"] == "Call me Ishmael");
        const json& content = choice["logprobs"]["content"];
        REQUIRE(content.size() == 3);
        CHECK(content[0]["token"] == "Call ");
        CHECK(content[0]["bytes"] == json::array({67, 97, 108, 108, 32}));
        CHECK(content[0]["top_logprobs"][0]["token"] == "bytes:\\xf0\\x9f");
    }
    auto client = f.client();
    const auto answer =
        client.request("POST", "/v1/chat/completions", chat + R"(,"stream":true})", f.header);
    std::map<int, std::string> texts;
    std::map<int, int> logprobs;
    std::map<int, int> roles;
    std::map<int, int> ends;
    for (const std::string& event : events_of(answer.body)) {
        if (event == "[DONE]") continue;
        const json document = json::parse(event);
        for (const json& choice : document["choices"]) {
            const int index = choice["index"];
            roles[index] += choice["delta"].contains("role") ? 1 : 0;
            texts[index] += choice["delta"].value("content", "");
            ends[index] += choice["finish_reason"].is_string() ? 1 : 0;
            if (choice["logprobs"].is_object())
                logprobs[index] += static_cast<int>(choice["logprobs"]["content"].size());
        }
    }
    for (const int index : {0, 1}) {
        CHECK(texts[index] == "Call me Ishmael");
        CHECK(logprobs[index] == 3);
        CHECK(roles[index] == 1);
        CHECK(ends[index] == 1);
    }
    const json text =
        f.post("/v1/completions", R"({"model":"moby","prompt":"a","logprobs":1})", 200, f.header);
    const json& all = text["choices"][0]["logprobs"];
    CHECK(all["tokens"] == json::array({"Call ", "me ", "Ishmael"}));
    CHECK(all["token_logprobs"] == json::array({-0.5, -0.5, -0.5}));
    CHECK(all["text_offset"] == json::array({0, 5, 8}));
    CHECK(all["top_logprobs"][0].size() == 1);
}

TEST_CASE("completions: what is refused names its parameter; strict refuses what is unknown") {
    Served f;
    const json tools = f.post("/v1/chat/completions",
                              R"({"model":"moby","tools":[{"type":"function"}],"messages":[
                                 {"role":"user","content":"a"}]})",
                              400, f.header);
    CHECK(tools["error"]["type"] == "invalid_request_error");
    CHECK(tools["error"]["param"] == "tools");
    const std::string odd = R"({"model":"moby","prompt":"a","whiskers":3})";
    CHECK(f.post("/v1/completions?strict=true", odd, 400, f.header)["error"]["param"] ==
          "whiskers");
    f.post("/v1/completions", odd, 200, f.header);
    const json range = f.post("/v1/completions", R"({"model":"moby","prompt":"a","temperature":3})",
                              400, f.header);
    CHECK(range["error"]["param"] == "temperature");
}

TEST_CASE("embeddings: floats and base64, shortened at length 1, billed as input") {
    Served f;
    const auto code = [&](const std::string& more, int status) {
        return f.post("/v1/embeddings", R"({"model":"moby")" + more + "}", status,
                      f.header)["error"]["param"];
    };
    CHECK(code("", 400) == nullptr);
    CHECK(code(R"(,"input":"")", 400) == "input");
    CHECK(code(R"(,"input":[])", 400) == "input");
    CHECK(code(R"(,"input":["a",[1]])", 400) == "input");
    CHECK(code(R"(,"input":[-1])", 400) == "input");
    CHECK(code(R"(,"input":"a","encoding_format":"hex")", 400) == "encoding_format");
    CHECK(code(R"(,"input":"a","dimensions":0)", 400) == "dimensions");
    CHECK(code(R"(,"input":"a","dimensions":3)", 400) == "dimensions");
    const json floats =
        f.post("/v1/embeddings", R"({"model":"moby","input":["a","b"]})", 200, f.header);
    CHECK(f.inference.last.embed == R"(["a","b"])");
    CHECK(f.inference.last.embed_count == 2);
    CHECK(floats["object"] == "list");
    REQUIRE(floats["data"].size() == 2);
    CHECK(floats["data"][1]["index"] == 1);
    CHECK(floats["data"][1]["embedding"] == json::array({1.0, -2.0}));
    CHECK(floats["usage"] == json{{"prompt_tokens", 5}, {"total_tokens", 5}});
    CHECK(floats["millrace"]["cost_atoms"] == "42");
    const json text =
        f.post("/v1/embeddings", R"({"model":"moby","input":[1,2],"encoding_format":"base64"})",
               200, f.header);
    CHECK(f.inference.last.embed == "[[1,2]]");
    CHECK(text["data"][0]["embedding"] == "AACAPwAAAMA=");
    const json shorter =
        f.post("/v1/embeddings", R"({"model":"moby","input":"a","dimensions":1})", 200, f.header);
    CHECK(shorter["data"][0]["embedding"] == json::array({1.0}));
    CHECK(f.inference.last.embed_dimensions == 1);
    CHECK(f.post("/v1/embeddings", R"({"model":"nope","input":"a"})", 404,
                 f.header)["error"]["code"] == "model_not_found");
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

TEST_CASE("completions: a client that does not read holds its completion") {
    Served f;
    f.inference.endless = true;
    auto client = f.client();
    const std::string body = R"({"model":"moby","stream":true,"prompt":"a"})";
    client.send("POST /v1/completions HTTP/1.1\r\nHost: a\r\n" + f.header +
                "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!f.inference.held && std::chrono::steady_clock::now() < until)
        std::this_thread::yield();
    CHECK(f.inference.held);
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
