// SPDX-License-Identifier: Apache-2.0
// The grammar of JSON texts against nlohmann's parser, and token masks against trying each token.
#include "worker/model/token_masks.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

using namespace worker::model;
using ledger::base::ErrorCode;
using nlohmann::json;

namespace {

constexpr const char* kAnyObject = R"({"type":"object"})";
constexpr const char* kPerson = R"({"type":"object","additionalProperties":false,
    "properties":{"name":{"type":"string"},"age":{"type":["integer","null"]},
      "mood":{"enum":["calm","calmer\"",7,true,null]},
      "tags":{"type":"array","items":{"type":"number"},"minItems":1,"maxItems":3}},
    "required":["name","tags"]})";

std::shared_ptr<const JsonGrammar> grammar(const char* schema) {
    auto out = JsonGrammar::parse(schema);
    REQUIRE_MESSAGE(out.has_value(), out.error().message());
    return *out;
}

/// Whether a text is a whole value of the schema.
bool takes(const char* schema, std::string_view text) {
    const auto rules = grammar(schema);
    JsonState state(*rules);
    return state.advance(text) && state.complete();
}

ErrorCode refusal(const char* schema) {
    const auto out = JsonGrammar::parse(schema);
    REQUIRE_FALSE(out.has_value());
    return out.error().code();
}

/// Bytes and a few longer tokens, some of which end in the middle of a character.
class Words final : public Vocabulary {
 public:
    ledger::base::Result<std::vector<std::uint32_t>> encode(std::string_view) const override {
        return std::vector<std::uint32_t>();
    }
    std::unique_ptr<TokenStream> stream() const override { return byte_vocabulary()->stream(); }
    std::string bytes(std::uint32_t token) const override {
        if (token < 256) return std::string(1, static_cast<char>(token));
        return token - 256 < kLonger.size() ? kLonger[token - 256] : "";
    }
    std::string label(std::uint32_t) const override { return ""; }
    static constexpr std::uint32_t kSize = 300;

 private:
    const std::vector<std::string> kLonger{
        "{\"",  "\":",   "\": \"", "\",\"",    "\"}",       "}}",   "[]",           "true",
        "tru",  "null,", "name",   "\"na",     "tags",      "12",   "-0",           "0.5",
        "1e",   "\\u",   "\\ud",   "\xE2\x82", "\xAC",      "\xF0", "\x9F\x98\x80", "},{",
        "],\"", "\n  ",  "\": [1", "calm",     "lmer\\\"\""};
};

/// Walks of random tokens that a schema allows, towards their end; the texts that came to it.
std::vector<json> walks(const char* schema, std::mt19937_64& random) {
    const auto rules = grammar(schema);
    const Words words;
    TokenMasks masks(std::make_shared<TokenMasks::Table>(words, Words::kSize));
    std::vector<json> finished;
    for (int walk = 0; walk < 60; ++walk) {
        JsonState state(*rules);
        std::string text;
        for (int step = 0; step < 300 && !state.closed(); ++step) {
            const auto& mask = masks.allowed(state);
            std::vector<std::uint32_t> allowed;
            std::vector<std::uint32_t> ending;
            for (std::uint32_t token = 0; token < Words::kSize; ++token) {
                const bool listed = (mask.bits[token / 64] >> (token % 64) & 1U) != 0;
                JsonState tried = state;
                const std::string bytes = words.bytes(token);
                const bool fits = !bytes.empty() && tried.advance(bytes);
                REQUIRE(listed == fits);
                if (listed) allowed.push_back(token);
                if (listed && (bytes == "\"" || bytes == "]" || bytes == "}"))
                    ending.push_back(token);
            }
            REQUIRE(allowed.size() == mask.count);
            REQUIRE_FALSE(allowed.empty());
            const auto& from = random() % 3 == 0 && !ending.empty() ? ending : allowed;
            const std::uint32_t token = from[random() % from.size()];
            text += words.bytes(token);
            REQUIRE(state.advance(words.bytes(token)));
        }
        if (!state.closed()) continue;
        finished.push_back(json::parse(text, nullptr, false));
        REQUIRE_MESSAGE(finished.back().is_object(), text);
    }
    return finished;
}

}  // namespace

TEST_CASE("json_grammar: schemas that are not understood are refused") {
    CHECK(refusal("{") == ErrorCode::invalid_json);
    CHECK(refusal("[]") == ErrorCode::invalid_field);
    CHECK(refusal(R"({"type":"cat"})") == ErrorCode::invalid_field);
    CHECK(refusal(R"({"type":[]})") == ErrorCode::invalid_field);
    CHECK(refusal(R"({"$ref":"#"})") == ErrorCode::unsupported);
    CHECK(refusal(R"({"type":"string","pattern":"a"})") == ErrorCode::unsupported);
    CHECK(refusal(R"({"enum":[]})") == ErrorCode::invalid_field);
    CHECK(refusal(R"({"enum":[{}]})") == ErrorCode::invalid_field);
    CHECK(refusal(R"({"properties":{}})") == ErrorCode::invalid_field);
    CHECK(refusal(R"({"properties":{"a":{}},"required":["b"]})") == ErrorCode::invalid_field);
    CHECK(refusal(R"({"type":"array","minItems":3,"maxItems":2})") == ErrorCode::invalid_field);
    json wide;
    for (int i = 0; i < 65; ++i)
        wide["properties"]["p" + std::to_string(i)] = json::object();
    CHECK(refusal(wide.dump().c_str()) == ErrorCode::invalid_field);
}

TEST_CASE("json_grammar: takes what parses and nothing else") {
    for (const char* good : {"{}", R"({"a":[1,-2.5e+3,0,true,false,null,"x\n\u00e9",{"b":{}}]})",
                             " { \"a\" : 1 } ", "{\"\xC3\xA9\":\"\xF0\x9F\x98\x80\"}"})
        CHECK_MESSAGE(takes(kAnyObject, good), good);
    for (const char* bad : {"",
                            "[]",
                            "{",
                            "{}}",
                            "{a:1}",
                            R"({"a" 1})",
                            R"({"a":01})",
                            R"({"a":1.})",
                            R"({"a":.5})",
                            R"({"a":+1})",
                            R"({"a":1,})",
                            R"({"a":[1,]})",
                            R"({"a":tru})",
                            R"({"a":"\x"})",
                            R"({"a":"\u12g4"})",
                            R"({"a":"\ud800"})",
                            "{\"a\":\"\n\"}",
                            "{\"a\":\"\xC0\x80\"}",
                            "{\"a\":\"\xE2\"}",
                            "{\"a\":\"\xED\xA0\x80\"}",
                            R"({"a":-})"})
        CHECK_FALSE_MESSAGE(takes(kAnyObject, bad), bad);
    CHECK(takes("{}", "-12.5"));
    CHECK(takes(R"({"type":"integer"})", "-12"));
    CHECK_FALSE(takes(R"({"type":"integer"})", "1.5"));
    std::string deep = "[";
    for (int i = 1; i < 32; ++i)
        deep += "[";
    CHECK(takes("{}", deep + std::string(32, ']')));
    CHECK_FALSE(takes("{}", "[" + deep + std::string(33, ']')));
    CHECK(takes("{}", "1.5e99"));
    CHECK_FALSE(takes("{}", "1e100"));
    CHECK_FALSE(takes("{}", std::string(20, '9')));
    CHECK_FALSE(takes(kAnyObject, "{" + std::string(30, ' ') + "}"));  // space without an end
}

TEST_CASE("json_grammar: properties in any order, once, the required ones at least") {
    CHECK(takes(kPerson, R"({"name":"a","tags":[1]})"));
    CHECK(takes(kPerson, R"({"tags":[1,2.5,3],"mood":"calmer\"","age":null,"name":""})"));
    CHECK(takes(kPerson, R"({"mood":7,"tags":[0],"name":"a","age":-4})"));
    for (const char* bad :
         {"{}", R"({"name":"a"})", R"({"name":"a","tags":[]})", R"({"name":"a","tags":[1,2,3,4]})",
          R"({"name":"a","name":"b","tags":[1]})", R"({"name":"a","tags":[1],"x":1})",
          R"({"name":1,"tags":[1]})", R"({"name":"a","tags":["1"]})",
          R"({"name":"a","tags":[1],"age":1.5})", R"({"name":"a","tags":[1],"mood":"cal"})",
          R"({"name":"a","tags":[1],"age":null,"mood":7,)"})
        CHECK_FALSE_MESSAGE(takes(kPerson, bad), bad);
}

TEST_CASE("json_grammar: random walks end in documents of the schema") {
    const auto seed = std::random_device{}();
    MESSAGE("seed " << seed);
    std::mt19937_64 random(seed);
    const auto people = walks(kPerson, random);
    for (const json& person : people) {
        CHECK(person.at("name").is_string());
        CHECK(person.at("tags").size() >= 1);
        CHECK(person.at("tags").size() <= 3);
        for (const auto& [key, value] : person.items())
            CHECK((key == "name" || key == "tags" || key == "mood" || key == "age"));
    }
    CHECK(people.size() > 5);
    // What `json_object` asks for: any members, as deep as they may go.
    CHECK(walks(R"({"type":"object"})", random).size() > 5);
}
