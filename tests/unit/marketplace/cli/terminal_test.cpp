// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/terminal.hpp"

#include "marketplace/cli/exit_code.hpp"
#include "marketplace/cli/sse.hpp"
#include "marketplace/cli/watch.hpp"
#include "marketplace/cli/wrap.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace marketplace::cli;  // NOLINT: the room under test

TEST_CASE("terminal: text of strangers cannot steer the terminal") {
    CHECK(printable("plain") == "plain");
    CHECK(printable("a\x1b[2Jb") == "a?[2Jb");
    CHECK(printable("a\r\nb\x07") == "a??b?");
    CHECK(printable("\xe2\x80\xae"
                    "evil") == "?evil");  // right-to-left override
    CHECK(printable("caf\xc3\xa9") == "caf\xc3\xa9");
    CHECK(printable("\xff\xc3") == "??");
    CHECK(printable("\xc2\x9b"
                    "1m") == "?1m");  // C1 control sequence introducer
}

TEST_CASE("terminal: width counts columns, not bytes") {
    CHECK(display_width("abc") == 3);
    CHECK(display_width("\xc3\xa9") == 1);
    CHECK(display_width("\xe4\xb8\xad") == 2);  // CJK
    CHECK(display_width("\x1b[31mred\x1b[0m") == 3);
    CHECK(fit("abcdef", 4) == "abc\xe2\x80\xa6");
    CHECK(fit("abcd", 4) == "abcd");
}

TEST_CASE("terminal: bars, sparks and curves have the size that was asked for") {
    CHECK(display_width(bar(0, 10)) == 10);
    CHECK(display_width(bar(500, 10)) == 10);
    CHECK(bar(1000, 3) == "███");
    CHECK(bar(2000, 3) == "███");
    CHECK(sparkline({}, 10).empty());
    CHECK(sparkline({1, 2, 3}, 10) == "▁▅█");
    CHECK(sparkline({5, 5}, 10) == "▁▁");
    const std::vector<double> falling{5, 4, 3, 2, 1};
    const auto lines = curve(falling, 40, 4);
    REQUIRE(lines.size() == 4);
    for (const std::string& line : lines)
        CHECK(display_width(line) == 40);
    CHECK(lines.front().find("5.000") != std::string::npos);
    CHECK(lines.back().find("1.000") != std::string::npos);
    CHECK(curve({}, 40, 4).empty());
    CHECK(curve(falling, 5, 4).empty());
}

TEST_CASE("terminal: sizes and times for people") {
    CHECK(format_bytes(512) == "512 B");
    CHECK(format_bytes(1'500'000) == "1.4 MiB");
    CHECK(format_duration(58'000) == "58 s");
    CHECK(format_duration(184'000) == "3 min 04 s");
    CHECK(format_duration(7'500'000) == "2 h 05 min");
    CHECK(format_number(2.4168) == "2.417");
    CHECK(format_number(31.24) == "31.2");
}

TEST_CASE("terminal: a table lines up and gives way on the left columns") {
    Table table({{"name"}, {"price", Table::Align::kRight}});
    table.row({"a long name that will not fit", "1.5"});
    table.row({"b", "12.25"});
    const auto wide = table.render(80);
    REQUIRE(wide.size() == 3);
    CHECK(wide[2] == "b                              12.25");
    for (const std::string& line : table.render(20))
        CHECK(display_width(line) <= 20);
    CHECK(table.render(20)[1].find("1.5") != std::string::npos);
}

TEST_CASE("sse: events come whole, however the bytes are cut") {
    const std::string text =
        ": hello\n\nid: 1\nevent: phase\ndata: {\"a\":1}\n\ndata: x\ndata: y\r\n\r\n";
    for (std::size_t step = 1; step < text.size(); ++step) {
        SseParser parser;
        std::vector<ServerEvent> events;
        for (std::size_t at = 0; at < text.size(); at += step)
            CHECK(parser.feed(text.substr(at, step), [&](const ServerEvent& event) {
                events.push_back(event);
                return true;
            }));
        REQUIRE(events.size() == 2);
        CHECK(events[0].id == "1");
        CHECK(events[0].name == "phase");
        CHECK(events[0].data == "{\"a\":1}");
        CHECK(events[1].name == "message");
        CHECK(events[1].data == "x\ny");
    }
}

TEST_CASE("sse: the reader may stop") {
    SseParser parser;
    int seen = 0;
    CHECK(!parser.feed("data: 1\n\ndata: 2\n\n", [&](const ServerEvent&) {
        ++seen;
        return false;
    }));
    CHECK(seen == 1);
}

TEST_CASE("watch: a job's events become lines and a picture") {
    JobView view(100);
    CHECK(view.take("phase", R"({"state":"matched","units_done":0,"reason":""})") == "matched");
    CHECK(view.take("phase", R"({"state":"running","units_done":0,"reason":""})") == "running");
    CHECK(view.take("phase", R"({"state":"running","units_done":25,"reason":""})").empty());
    CHECK(view.take("train", R"({"step":5,"loss":4.5,"metric":0,"tokens_per_s":800})").empty());
    CHECK(view.take("train", R"({"step":20,"loss":3.5,"metric":0,"tokens_per_s":800})") ==
          "step 20 of 100: loss 3.500");
    CHECK(!view.take("eval", R"({"step":20,"loss":3.4,"metric":0.31,"tokens_per_s":0})").empty());
    CHECK(view.take("train", R"({"step":21,"loss":null,"metric":0,"tokens_per_s":0})").empty());
    CHECK(view.take("train", "not json").empty());
    const Terminal plain(stderr, {});
    view.set_cost(500'000, 2'000'000);
    const auto lines = view.render(plain, 65'000);
    CHECK(lines.front() == "running  1 min 05 s");
    CHECK(lines.back().find("0.5 of 2") != std::string::npos);
    CHECK(!view.is_final());
    (void)view.take("phase", R"({"state":"failed","units_done":25,"reason":"out_of_memory"})");
    CHECK(view.is_final());
    CHECK(view.reason() == "out_of_memory");
}

TEST_CASE("exit_code: each kind of failure has its own status") {
    using ledger::base::ErrorCode;
    CHECK(exit_code_for(ErrorCode::invalid_field) == ExitCode::kUsage);
    CHECK(exit_code_for(ErrorCode::unauthorized) == ExitCode::kAuth);
    CHECK(exit_code_for(ErrorCode::insufficient_funds) == ExitCode::kPayment);
    CHECK(exit_code_for(ErrorCode::no_match) == ExitCode::kNoCapacity);
    CHECK(exit_code_for(ErrorCode::worker_failed) == ExitCode::kJobFailed);
    CHECK(exit_code_for(ErrorCode::audit_failed) == ExitCode::kVerificationFailed);
    CHECK(exit_code_for(ErrorCode::chain_unreachable) == ExitCode::kUnreachable);
    CHECK(exit_code_for(ErrorCode::internal) == ExitCode::kFailed);
}

TEST_CASE("wrap: lines end in time, columns and long words stay") {
    CHECK(wrap("", 20, 4) == "");
    CHECK(wrap("short\n\nlines\n", 20, 4) == "short\n\nlines\n");
    CHECK(wrap("one two three four", 10, 4) == "one two\nthree four");
    CHECK(wrap("  --x   says what it does", 18, 8) == "  --x   says what\n        it does");
    CHECK(wrap("    deep text that goes on", 14, 2) == "    deep text\n    that goes\n    on");
    CHECK(wrap("averylongword x", 5, 0) == "averylongword\nx");
    CHECK(wrap("\x1b[31mred\x1b[0m and so", 7, 0) == "\x1b[31mred\x1b[0m and\nso");
}
