// SPDX-License-Identifier: Apache-2.0
#include "ledger/settlement/deployment.hpp"

#include <doctest/doctest.h>

#include <string>

using ledger::base::ErrorCode;
using ledger::settlement::parse_deployment;

namespace {

const std::string kGood =
    R"({"chain_id":31337,"block":3,"token":"0x0000000000000000000000000000000000000001",)"
    R"("escrow":"0x0000000000000000000000000000000000000002",)"
    R"("providers":"0x0000000000000000000000000000000000000003",)"
    R"("leases":"0x0000000000000000000000000000000000000004",)"
    R"("receipt_log":"0x0000000000000000000000000000000000000005",)"
    R"("treasury":"0x0000000000000000000000000000000000000006",)"
    R"("operator":"0x0000000000000000000000000000000000000007",)"
    R"("close_window_s":10,"withdraw_delay_s":259200,"fee_bps":100,"owner":"ignored"})";

std::string with(const std::string& part, const std::string& instead) {
    std::string text = kGood;
    const std::size_t at = text.find(part);
    REQUIRE(at != text.npos);
    return text.replace(at, part.size(), instead);
}

}  // namespace

TEST_CASE("deployment: a missing, misspelt or impossible field is refused by name") {
    const auto refuses = [](const std::string& text, const std::string& name) {
        const auto parsed = parse_deployment(text);
        REQUIRE(!parsed);
        CHECK(parsed.error().code() == ErrorCode::config_invalid);
        CHECK_MESSAGE(parsed.error().detail().find(name) != std::string::npos,
                      parsed.error().detail());
    };
    refuses("", "deployment");
    refuses("[]", "chain_id");
    refuses(with("31337", "0"), "chain_id");
    refuses(with("31337", "-1"), "chain_id");
    refuses(with("31337", "\"31337\""), "chain_id");
    refuses(with("\"escrow\"", "\"escro\""), "escrow");
    refuses(with("0000000000000000000000000000000000000004", "00"), "leases");
    refuses(with("0x0000000000000000000000000000000000000005",
                 "0x0000000000000000000000000000000000000000"),
            "receipt_log");
    refuses(with("\"fee_bps\":100", "\"fee_bps\":1.5"), "fee_bps");
    CHECK(ledger::settlement::read_deployment("/nowhere/at/all.json").error().code() ==
          ErrorCode::data_missing);
}

TEST_CASE("deployment: survives its text") {
    const auto parsed = parse_deployment(kGood);
    REQUIRE(parsed);
    CHECK(parsed->close_window_s == 10);
    CHECK(parsed->market_operator.data()[19] == 7);
    CHECK(parse_deployment(ledger::settlement::to_text(*parsed)).value() == *parsed);
}
