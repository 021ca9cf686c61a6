// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/market_picture.hpp"

#include "marketplace/cli/terminal.hpp"

#include <doctest/doctest.h>

namespace marketplace::cli {

TEST_CASE("market_picture: nothing to draw, or no room, draws nothing") {
    CHECK(candle_picture({}, 80, 8).empty());
    CHECK(candle_picture({{1, 1, 1, 1}}, 10, 8).empty());
    CHECK(depth_picture({}, {}, 80, 8).empty());
    CHECK(depth_picture({{"1", 5}}, {}, 20, 8).empty());
}

TEST_CASE("market_picture: candles show wick, rise and fall between highest and lowest") {
    const std::vector<CandleBar> candles = {{1'000'000, 4'000'000, 1'000'000, 2'000'000},
                                            {4'000'000, 4'000'000, 3'000'000, 3'000'000}};
    const auto lines = candle_picture(candles, 80, 3);
    REQUIRE(lines.size() == 3);
    CHECK(lines[0] == "            4 │╏");
    CHECK(lines[1] == "              ┃╏");
    CHECK(lines[2] == "            1 ┃ ");
    // All at one price, and only the newest that fit.
    const auto flat = candle_picture(std::vector<CandleBar>(100, {5, 5, 5, 5}), 20, 1);
    REQUIRE(flat.size() == 1);
    CHECK(flat[0] == "     0.000005 ┃┃┃┃┃┃");
}

TEST_CASE("market_picture: depth sums from the best price on and stays in the line") {
    const auto lines = depth_picture({{"2", 10}, {"3", 30}, {"4", 60}}, {{"1", 80}}, 80, 2);
    REQUIRE(lines.size() == 3);
    CHECK(lines[0].starts_with("ask            3 "));
    CHECK(lines[0].ends_with(" 40"));
    CHECK(lines[1].ends_with(" 10"));
    CHECK(lines[2].starts_with("bid            1 █"));
    for (const std::string& line : lines)
        CHECK(display_width(line) <= 80);
    const auto huge = depth_picture({{"1", UINT64_MAX}, {"2", UINT64_MAX}}, {}, 80, 8);
    REQUIRE(huge.size() == 2);
    CHECK(display_width(huge[0]) <= 80);
}

}  // namespace marketplace::cli
