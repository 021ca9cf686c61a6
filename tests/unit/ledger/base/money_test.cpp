// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/money.hpp"

#include "ledger/base/checked.hpp"

#include <doctest/doctest.h>

#include <limits>

using namespace ledger::base;

TEST_CASE("money: refuses what is not an amount") {
    for (const char* text : {"", "-", "+1", "1.", ".5", "1.0000001", "1e6", " 1", "01", "0x10",
                             "1,5", "18446744073709551616", "9223372036855"})
        CHECK_MESSAGE(!Money::parse_tokens(text), text);
    CHECK(Money::parse_atoms("9223372036854775808").error().code() == ErrorCode::out_of_range);
    CHECK(!Money::parse_atoms("1.5"));
}

TEST_CASE("money: parses and prints tokens and atoms") {
    CHECK(Money::parse_tokens("1.5")->atoms() == 1'500'000);
    CHECK(Money::parse_tokens("0.000001")->atoms() == 1);
    CHECK(Money::parse_atoms("-7")->atoms() == -7);
    CHECK(Money(1'500'000).to_tokens() == "1.5");
    CHECK(Money(-1).to_tokens() == "-0.000001");
    CHECK(Money(std::numeric_limits<std::int64_t>::min()).to_tokens() == "-9223372036854.775808");
}

TEST_CASE("money: sums that pass 64 bits fail") {
    const Money most(std::numeric_limits<std::int64_t>::max());
    CHECK(most.plus(Money(1)).error().code() == ErrorCode::out_of_range);
    CHECK(Money(-2).minus(most).error().code() == ErrorCode::out_of_range);
    CHECK(most.minus(most)->atoms() == 0);
}

TEST_CASE("checked: products divide in 128 bits, up for the payer and down for the payee") {
    constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();
    CHECK(mul_div_up(1, 1, 1'000'000) == 1);
    CHECK(mul_div_down(1, 1, 1'000'000) == 0);
    CHECK(mul_div_up(0, kMax, 7) == 0);
    CHECK(mul_div_up(kMax, kMax, kMax) == kMax);
    CHECK_FALSE(mul_div_up(kMax, 2, 1).has_value());
    CHECK_FALSE(mul_div_up(1, 1, 0).has_value());
}
