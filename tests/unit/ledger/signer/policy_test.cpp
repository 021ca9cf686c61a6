// SPDX-License-Identifier: Apache-2.0
#include "ledger/eth/transfer_authorization.hpp"
#include "ledger/eth/upto_permit.hpp"
#include "ledger/settlement/leases_abi.hpp"
#include "ledger/settlement/receipt_log_abi.hpp"
#include "tests/unit/ledger/signer/signer_fixture.hpp"

using namespace tests;  // NOLINT: test file

namespace {

std::string without(std::string text, const std::string& part) {
    const std::size_t at = text.find(part);
    REQUIRE(at != text.npos);
    return text.erase(at, part.size());
}
std::string with(std::string text, const std::string& part, const std::string& instead) {
    const std::size_t at = text.find(part);
    REQUIRE(at != text.npos);
    return text.replace(at, part.size(), instead);
}

}  // namespace

TEST_CASE("policy: what is missing, misspelt or of the wrong kind is refused") {
    const SignerFixture fixture;
    const std::string good = fixture.policy_text();
    const std::vector<std::string> bad = {
        "",
        "not toml [",
        without(good, "chain_id = 31337"),
        with(good, "chain_id = 31337", "chain_id = 0"),
        with(good, "chain_id = 31337", "chain_id = -1"),
        with(good, "chain_id = 31337", "chain_id = \"31337\""),
        with(good, "[vouchers]", "[voucher]"),
        with(good, "atoms_per_day", "atoms_pr_day"),
        with(good, "atoms_per_lease = 1000", "atoms_per_lease = 10.5"),
        with(good, "per_day = 20000", "per_day = true"),
        with(good, "sender = \"0x", "sender = \"0"),
        with(good, "functions = [\"anchor", "functions = [5, \"anchor"),
        with(good,
             "functions = "
             "[\"anchor((uint64,bytes32,uint64),(uint64,bytes32,uint64),bytes,bytes32[])\"]",
             "functions = []"),
        with(good,
             "functions = "
             "[\"anchor((uint64,bytes32,uint64),(uint64,bytes32,uint64),bytes,bytes32[])\"]",
             "functions = [\"0x1234\"]"),
        good + "\n[extra]\na = 1\n",
        good + std::string(70'000, '#'),
    };
    for (const std::string& text : bad) {
        CAPTURE(text);
        const auto parsed = parse_policy(text);
        REQUIRE(!parsed);
        CHECK(parsed.error().code() == ErrorCode::config_invalid);
    }
    CHECK(read_policy("/nowhere/policy.toml").error().code() == ErrorCode::data_missing);
}

TEST_CASE("policy: the template allows the market's calls and no others") {
    const SignerFixture fixture;
    const Policy policy = parse_policy(fixture.policy_text()).value();
    CHECK(policy.chain_id == 31337);
    // What settlement sends, and no more.
    using namespace ledger::settlement;  // NOLINT: the calls
    const std::pair<Address, Bytes> calls[] = {
        {fixture.leases, encode_open({})},
        {fixture.leases, encode_claim({})},
        {fixture.leases, encode_request_close({})},
        {fixture.leases, encode_finalize_close({})},
        {fixture.leases, encode_object_to({})},
        {fixture.receipt_log, encode_anchor({}, {}, {}, {})}};
    for (const auto& [contract, data] : calls)
        CHECK(policy.allowed_calls.contains({contract, {data[0], data[1], data[2], data[3]}}));
    CHECK(policy.allowed_calls.size() == std::size(calls));
    CHECK(policy.voucher_signers.contains(fixture.delegate.address()));
    CHECK(policy.voucher_atoms_per_lease == 1000);
    const auto transfer = ledger::eth::abi::selector("transfer(address,uint256)");
    CHECK(!policy.allowed_calls.contains({fixture.leases, transfer}));
}

TEST_CASE("policy: signed transfers of the token only where the template names it") {
    const SignerFixture fixture;
    PolicyTemplate values{31337,
                          fixture.leases,
                          fixture.receipt_log,
                          fixture.market_operator.address(),
                          fixture.delegate.address(),
                          1000,
                          1200,
                          1500};
    const auto without_token = parse_policy(make_policy_text(values)).value();
    values.token = fixture.delegate.address();
    const auto with_token = parse_policy(make_policy_text(values)).value();
    CHECK(with_token.allowed_calls.size() == without_token.allowed_calls.size() + 1);
    const Bytes call = ledger::eth::encode_transfer_with_authorization({}, {});
    CHECK(with_token.allowed_calls.contains({values.token, {call[0], call[1], call[2], call[3]}}));
    values.upto_proxy = ledger::eth::kUptoProxy;
    const auto with_proxy = parse_policy(make_policy_text(values)).value();
    CHECK(with_proxy.allowed_calls.size() == with_token.allowed_calls.size() + 1);
    const Bytes settle = ledger::eth::encode_upto_settle({}, 1U, {});
    CHECK(with_proxy.allowed_calls.contains(
        {values.upto_proxy, {settle[0], settle[1], settle[2], settle[3]}}));
}
