// SPDX-License-Identifier: Apache-2.0
#include "worker/text/model_config.hpp"

#include "worker/text/chat_template.hpp"
#include "worker/text/json_writer.hpp"
#include "worker/text/limits.hpp"

#include <doctest/doctest.h>

using ledger::base::ErrorCode;
using worker::text::parse_tokenizer_config;
using worker::text::Value;

TEST_CASE("model_config: refuses wrong types and sizes") {
    for (const char* file :
         {"", "[]", R"({"chat_template":1})", R"({"chat_template":[1]})",
          R"({"chat_template":[{"name":"a"}]})", R"({"bos_token":1})", R"({"bos_token":{}})",
          R"({"add_bos_token":"yes"})", R"({"bos_token":"a","bos_token":"b"})"})
        CHECK_MESSAGE(parse_tokenizer_config(file).error().code() == ErrorCode::data_invalid, file);
    const std::string large(worker::text::limits::kConfigBytes + 1, ' ');
    CHECK(parse_tokenizer_config(large).error().code() == ErrorCode::job_limit);
    CHECK(parse_tokenizer_config("{\"chat_template\":\"" +
                                 std::string(worker::text::limits::kTemplateBytes + 1, 'x') + "\"}")
              .error()
              .code() == ErrorCode::job_limit);
}

TEST_CASE("model_config: one template or several, tokens as text or as objects") {
    const auto one = parse_tokenizer_config(
        R"({"chat_template":"x","bos_token":{"content":"<s>","lstrip":false},"eos_token":"</s>","pad_token":null,"other":{}})");
    REQUIRE(one);
    REQUIRE(one->chat_template());
    CHECK(*one->chat_template() == "x");
    CHECK(one->bos_token == "<s>");
    CHECK(one->eos_token == "</s>");
    CHECK(!one->pad_token);
    CHECK(!one->add_bos_token);
    const auto several = parse_tokenizer_config(
        R"({"chat_template":[{"name":"default","template":"x"},{"name":"tool_use","template":"y"}],"add_bos_token":true})");
    REQUIRE(several);
    CHECK(*several->chat_template("tool_use") == "y");
    CHECK(several->chat_template("rag") == nullptr);
    CHECK(several->add_bos_token == true);
    CHECK(parse_tokenizer_config("{}")->chat_template() == nullptr);
}

TEST_CASE("model_config: what a template is rendered with") {
    const auto config = parse_tokenizer_config(
        R"({"chat_template":"{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}{{ tools is none }}{{ add_generation_prompt }}","bos_token":"<s>"})");
    REQUIRE(config);
    const auto messages = worker::text::parse_json(R"([{"role":"user","content":"hi"}])", 100);
    const auto context = make_chat_context(*config, *messages, Value(), true);
    REQUIRE(context);
    const auto chat = worker::text::ChatTemplate::parse(*config->chat_template());
    REQUIRE(chat);
    CHECK(*chat->render(*context) == "<s>user:hi;TrueTrue");
}
