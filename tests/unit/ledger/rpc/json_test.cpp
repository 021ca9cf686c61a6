// SPDX-License-Identifier: Apache-2.0
#include "ledger/rpc/json.hpp"

#include <doctest/doctest.h>

#include <string>

namespace {

using ledger::base::ErrorCode;
using ledger::rpc::JsonLimits;
using ledger::rpc::parse_json;

std::string nested(std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
}

}  // namespace

TEST_CASE("json: what is not one JSON value is refused") {
    for (const std::string text : {"",           " ",
                                   "{",          "[1,]",
                                   "{\"a\":1,}", "{a:1}",
                                   "01",         "+1",
                                   ".5",         "nul",
                                   "NaN",        "Infinity",
                                   "1 2",        "{} {}",
                                   "[1]x",       "\"\x01\"",
                                   "\"\\x\"",    "'a'",
                                   "// note\n1", "\xef\xbb\xbf{",
                                   "\"\xff\"",   "\"\xc0\xaf\"",
                                   "\"\\ud800\""}) {
        CAPTURE(text);
        const auto parsed = parse_json(text);
        REQUIRE(!parsed);
        CHECK(parsed.error().code() == ErrorCode::invalid_json);
    }
}

TEST_CASE("json: a key that comes twice is refused at any depth") {
    CHECK(!parse_json(R"({"a":1,"a":1})"));
    CHECK(!parse_json(R"({"x":[{"a":1,"b":2,"a":3}]})"));
    CHECK(!parse_json(R"({"a":1,"\u0061":2})"));
    CHECK(parse_json(R"({"a":{"a":1},"b":{"a":1}})"));
}

TEST_CASE("json: numbers that would silently change are refused") {
    CHECK(!parse_json("18446744073709551616"));
    CHECK(!parse_json("-9223372036854775809"));
    CHECK(!parse_json("1e999"));
    CHECK(parse_json("18446744073709551615")->get<std::uint64_t>() == UINT64_MAX);
    CHECK(parse_json("-9223372036854775808")->get<std::int64_t>() == INT64_MIN);
    CHECK(parse_json("0.7")->get<double>() == doctest::Approx(0.7));
}

TEST_CASE("json: depth, size and keys are bounded while reading") {
    CHECK(parse_json(nested(32)));
    CHECK(parse_json(nested(33)).error().code() == ErrorCode::invalid_json);
    CHECK(parse_json(nested(500'000)).error().code() == ErrorCode::invalid_json);
    CHECK(parse_json("[1,2,3]", JsonLimits{6, 32, 10}).error().code() == ErrorCode::too_large);
    std::string keys = "{";
    for (int i = 0; i < 1001; ++i)
        keys += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":0";
    CHECK(parse_json(keys + "}").error().code() == ErrorCode::invalid_json);
}

TEST_CASE("json: keys come out sorted and without spaces") {
    const auto parsed = parse_json(R"( { "b" : [ 1 , "x" , null , true ] , "a" : { } } )");
    REQUIRE(parsed);
    CHECK(ledger::rpc::to_text(*parsed) == R"({"a":{},"b":[1,"x",null,true]})");
    CHECK(ledger::rpc::to_text(nlohmann::json("\xff")) == "\"\xef\xbf\xbd\"");
}

TEST_CASE("json: members are read strictly") {
    const auto parsed =
        parse_json(R"({"s":"x","n":5,"neg":-1,"u":"18446744073709551615","t":true})");
    REQUIRE(parsed);
    using namespace ledger::rpc;  // NOLINT
    CHECK(string_at(*parsed, "gone").error().code() == ErrorCode::missing_field);
    CHECK(string_at(*parsed, "n").error().code() == ErrorCode::invalid_field);
    CHECK(integer_at(*parsed, "neg").error().code() == ErrorCode::invalid_field);
    CHECK(integer_at(*parsed, "s").error().code() == ErrorCode::invalid_field);
    CHECK(u64_text_at(*parsed, "n").error().code() == ErrorCode::invalid_field);
    CHECK(u64_text_at(*parsed, "s").error().code() == ErrorCode::invalid_field);
    CHECK(boolean_at(*parsed, "n").error().code() == ErrorCode::invalid_field);
    CHECK(string_at(nlohmann::json::array(), "s").error().code() == ErrorCode::invalid_field);
    CHECK(u64_text_at(*parsed, "u").value() == UINT64_MAX);
    CHECK(integer_at(*parsed, "n").value() == 5);
    CHECK(boolean_at(*parsed, "t").value());
    CHECK(string_at(*parsed, "s").value() == "x");
}
