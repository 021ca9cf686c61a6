// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/explain.hpp"

#include "marketplace/cli/exit_code.hpp"
#include "marketplace/domain/event.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace marketplace::cli;  // NOLINT: the room under test
using ledger::base::ErrorCode;
using nlohmann::json;

TEST_CASE("explain: what is no object says nothing, an empty book says so") {
    CHECK(explain_mismatches(json()).empty());
    CHECK(explain_mismatches(json::array()).empty());
    const auto empty = explain_mismatches({{"asks", 0U}});
    REQUIRE(empty.size() == 1);
    CHECK(empty[0].find("no asks") != std::string::npos);
}

TEST_CASE("explain: the most frequent reason first, with the nearest ask and what to change") {
    const auto lines = explain_mismatches(json::parse(R"({"asks":6,"failed":{"price":5,"vram":1},
                        "nearest":{"price":"2100000","vram":"16384"}})"));
    REQUIRE(lines.size() == 2);
    CHECK(lines[0] == "5 asks above your price (nearest: 2.1): raise --max-price or --max-amount.");
    CHECK(lines[1] == "1 ask with less GPU memory (nearest: 16384): lower --min-vram-mib.");
}

TEST_CASE("explain: every reason the market may give has a sentence of its own") {
    std::set<std::string> seen;
    for (std::size_t i = 0; i < marketplace::domain::kMismatchCount; ++i) {
        const std::string name(to_string(static_cast<marketplace::domain::Mismatch>(i)));
        const auto lines = explain_mismatches({{"asks", 1U}, {"failed", {{name, 1U}}}});
        REQUIRE(lines.size() == 1);
        CHECK(seen.insert(lines[0]).second);
    }
}

TEST_CASE("explain: an error says its exit status, its meaning and what to type") {
    const auto lines = explain_error(ErrorCode::no_match);
    REQUIRE(lines.size() == 2);
    CHECK(lines[0].find("exit status 5") != std::string::npos);
    CHECK(next_command(ErrorCode::insufficient_funds) == "millrace deposit AMOUNT");
#define CHECK_NEXT(name, help) CHECK_FALSE(next_command(ErrorCode::name).empty());
    MILLRACE_ERROR_CODES(CHECK_NEXT)
#undef CHECK_NEXT
}
