// SPDX-License-Identifier: Apache-2.0
#include "ledger/eth/messages.hpp"
#include "ledger/eth/transaction.hpp"
#include "tests/unit/ledger/signer/signer_fixture.hpp"

#include <fstream>
#include <iterator>

using namespace tests;  // NOLINT: test file

namespace {

std::string read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}
void write_file(const std::filesystem::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
}

}  // namespace

TEST_CASE("signer: a transaction outside the policy is refused, whatever part is wrong") {
    SignerFixture fixture;
    const auto refused = [&](auto&& change) {
        SignTransaction request = fixture.transaction(0);
        change(request);
        CHECK(fixture.code_of(request) == ErrorCode::policy_refused);
    };
    refused([](auto& r) { r.transaction.chain_id = 1; });
    refused([&](auto& r) { r.from = fixture.delegate.address(); });
    refused([](auto& r) { r.transaction.to.reset(); });
    refused([](auto& r) { r.transaction.to = address_of(1); });
    refused([&](auto& r) { r.transaction.to = fixture.leases; });  // anchor is not of Leases
    refused([](auto& r) { r.transaction.value = 1; });
    refused([](auto& r) { r.transaction.data.clear(); });
    refused([](auto& r) { r.transaction.data[0] ^= 1; });
    refused([](auto& r) { r.transaction.max_fee_per_gas = 500'000'000'001; });
    refused([](auto& r) { r.transaction.gas_limit = 16'777'217; });
    SignTransaction stranger = fixture.transaction(0);
    stranger.from = address_of(7);
    CHECK(fixture.code_of(stranger) == ErrorCode::not_found);
}

TEST_CASE("signer: transactions are counted per day, over restarts and clocks set back") {
    SignerFixture fixture;
    for (std::uint64_t nonce = 0; nonce < 3; ++nonce) {
        const auto answer = fixture.service->handle(fixture.transaction(nonce));
        REQUIRE(answer);
        const auto decoded = ledger::eth::decode_signed(answer->bytes);
        REQUIRE(decoded);
        CHECK(decoded->sender == fixture.market_operator.address());
        CHECK(decoded->transaction == fixture.transaction(nonce).transaction);
    }
    CHECK(fixture.code_of(fixture.transaction(3)) == ErrorCode::policy_refused);
    fixture.start();
    CHECK(fixture.code_of(fixture.transaction(3)) == ErrorCode::policy_refused);
    fixture.clock.now -= 86'400'000;
    CHECK(fixture.code_of(fixture.transaction(3)) == ErrorCode::policy_refused);
    fixture.clock.now += 2 * 86'400'000ULL;
    CHECK(fixture.service->handle(fixture.transaction(3)));
}

TEST_CASE("signer: a voucher outside the policy is refused") {
    SignerFixture fixture;
    const auto refused = [&](auto&& change) {
        SignVoucher request = fixture.voucher(1, 10);
        change(request);
        CHECK(fixture.code_of(request) == ErrorCode::policy_refused);
    };
    refused([](auto& r) { r.domain.chain_id = 1; });
    refused([](auto& r) { r.domain.contract = address_of(1); });
    refused([&](auto& r) { r.signer = fixture.market_operator.address(); });
    refused([](auto& r) { r.voucher.cumulative_amount_atoms = 1001; });
    refused([](auto& r) { r.origin.ask.provider = address_of(2); });
    refused([](auto& r) { r.origin.bid_hash = hash_of(2); });
    refused([](auto& r) { r.origin.index += 1; });
}

TEST_CASE("signer: one digest per lease and sequence, for ever") {
    SignerFixture fixture;
    const auto first = fixture.service->handle(fixture.voucher(1, 10));
    REQUIRE(first);
    const SignVoucher asked = fixture.voucher(1, 10);
    const auto signature = ledger::crypto::parse_signature(first->bytes);
    REQUIRE(signature);
    CHECK(ledger::crypto::verify(digest(asked.domain, asked.voucher), *signature,
                                 fixture.delegate.address()));
    CHECK(fixture.service->handle(fixture.voucher(1, 10)).value() == *first);
    CHECK(fixture.code_of(fixture.voucher(1, 11)) == ErrorCode::already_signed_differently);
    SignVoucher root = fixture.voucher(1, 10);
    root.voucher.receipts_root = hash_of(8);
    CHECK(fixture.code_of(root) == ErrorCode::already_signed_differently);
    fixture.start();
    CHECK(fixture.code_of(fixture.voucher(1, 11)) == ErrorCode::already_signed_differently);
    CHECK(fixture.service->handle(fixture.voucher(1, 10)).value() == *first);
    REQUIRE(fixture.service->handle(fixture.voucher(3, 10)));
    CHECK(fixture.code_of(fixture.voucher(2, 10)) == ErrorCode::voucher_not_higher);
    CHECK(fixture.code_of(fixture.voucher(1, 10)) == ErrorCode::voucher_not_higher);
}

TEST_CASE("signer: a voucher's total never falls") {
    SignerFixture fixture;
    REQUIRE(fixture.service->handle(fixture.voucher(1, 100)));
    CHECK(fixture.code_of(fixture.voucher(2, 99)) == ErrorCode::voucher_not_higher);
    SignVoucher units = fixture.voucher(2, 100);
    units.voucher.cumulative_units = 99;
    CHECK(fixture.code_of(units) == ErrorCode::voucher_not_higher);
    CHECK(fixture.service->handle(fixture.voucher(2, 100)));
}

TEST_CASE("signer: a stolen market cannot draw more than a day's cap from all leases") {
    SignerFixture fixture;
    std::uint64_t drawn = 0;
    for (std::uint8_t lease = 1; lease < 200; ++lease)
        if (fixture.service->handle(fixture.voucher(1, 400, lease))) drawn += 400;
    CHECK(drawn == 1200);
    fixture.start();
    CHECK(fixture.code_of(fixture.voucher(2, 1000, 1)) == ErrorCode::policy_refused);
    CHECK(fixture.service->handle(fixture.voucher(2, 700, 1)));
    CHECK(fixture.code_of(fixture.voucher(3, 701, 1)) == ErrorCode::policy_refused);
    fixture.clock.now += 86'400'000;
    CHECK(fixture.service->handle(fixture.voucher(3, 701, 1)));
}

TEST_CASE("signer: a stolen market cannot send more than a day's cap to one provider") {
    SignerFixture fixture;
    fixture.policy.voucher_atoms_per_provider = 500;
    fixture.start();
    REQUIRE(fixture.service->handle(fixture.voucher(1, 400, 1, /*provider=*/1)));
    CHECK(fixture.code_of(fixture.voucher(1, 101, 2, 1)) == ErrorCode::policy_refused);
    CHECK(fixture.service->handle(fixture.voucher(1, 100, 2, 1)));
    fixture.start();
    CHECK(fixture.code_of(fixture.voucher(2, 401, 1, 1)) == ErrorCode::policy_refused);
    CHECK(fixture.service->handle(fixture.voucher(1, 500, 3, /*provider=*/2)));
    fixture.clock.now += 86'400'000;
    CHECK(fixture.service->handle(fixture.voucher(2, 900, 1, 1)));
}

TEST_CASE("signer: a tree head never shrinks, goes back, or gives one size two roots") {
    SignerFixture fixture;
    REQUIRE(fixture.service->handle(fixture.head(5, 1, 1000)));
    CHECK(fixture.service->handle(fixture.head(5, 1, 1000)));
    CHECK(fixture.service->handle(fixture.head(5, 1, 1001)));
    CHECK(fixture.code_of(fixture.head(5, 2, 1002)) == ErrorCode::already_signed_differently);
    CHECK(fixture.code_of(fixture.head(4, 1, 1002)) == ErrorCode::policy_refused);
    CHECK(fixture.code_of(fixture.head(6, 1, 999)) == ErrorCode::policy_refused);
    fixture.start();
    CHECK(fixture.code_of(fixture.head(5, 2, 1002)) == ErrorCode::already_signed_differently);
    SignTreeHead other = fixture.head(7, 1, 2000);
    other.domain.contract = fixture.leases;
    CHECK(fixture.code_of(other) == ErrorCode::policy_refused);
    other = fixture.head(7, 1, 2000);
    other.signer = fixture.delegate.address();
    CHECK(fixture.code_of(other) == ErrorCode::policy_refused);
}

TEST_CASE("signer: only a delegate objects, and only for the contract of the policy") {
    SignerFixture fixture;
    const SignObjection objection = fixture.objection();
    const auto answer = fixture.service->handle(objection);
    REQUIRE(answer);
    const auto signature = ledger::crypto::parse_signature(answer->bytes);
    REQUIRE(signature);
    CHECK(ledger::crypto::verify(ledger::eth::digest(objection.domain, objection.objection),
                                 *signature, fixture.delegate.address()));
    SignObjection other = objection;
    other.signer = fixture.market_operator.address();
    CHECK(fixture.code_of(other) == ErrorCode::policy_refused);
    other = objection;
    other.domain.contract = fixture.receipt_log;
    CHECK(fixture.code_of(other) == ErrorCode::policy_refused);
    other = objection;
    other.domain.chain_id = 1;
    CHECK(fixture.code_of(other) == ErrorCode::policy_refused);
    other = objection;
    other.signer = address_of(0x77);
    CHECK(fixture.code_of(other) == ErrorCode::not_found);
}

TEST_CASE("signature_log: a changed line, an older copy or a second process is refused") {
    SignerFixture fixture;
    CHECK(SignatureLog::open(fixture.folder.path).error().code() == ErrorCode::wrong_state);
    REQUIRE(fixture.service->handle(fixture.voucher(1, 10)));
    const std::filesystem::path path = fixture.folder.path / "signatures.log";
    const std::string older = read_file(path);
    REQUIRE(fixture.service->handle(fixture.voucher(2, 20)));
    fixture.service.reset();
    const std::string newest = read_file(path);

    for (std::size_t at = 0; at < newest.size(); at += 7) {
        std::string flipped = newest;
        flipped[at] = static_cast<char>(flipped[at] ^ 1);
        write_file(path, flipped);
        const auto opened = SignatureLog::open(fixture.folder.path);
        CAPTURE(at);
        REQUIRE(!opened);
        CHECK(opened.error().code() == ErrorCode::wrong_state);
    }
    write_file(path, older);
    CHECK(SignatureLog::open(fixture.folder.path).error().code() == ErrorCode::wrong_state);
    std::filesystem::remove(path);
    CHECK(SignatureLog::open(fixture.folder.path).error().code() == ErrorCode::wrong_state);
    write_file(path, newest);
    fixture.start();
    CHECK(fixture.code_of(fixture.voucher(2, 21)) == ErrorCode::already_signed_differently);
}

TEST_CASE("signature_log: a line that a crash cut short was never answered and is dropped") {
    SignerFixture fixture;
    REQUIRE(fixture.service->handle(fixture.voucher(1, 10)));
    fixture.service.reset();
    const std::filesystem::path path = fixture.folder.path / "signatures.log";
    const std::string whole = read_file(path);
    write_file(path, whole + "voucher 12 0x12");
    fixture.start();
    CHECK(read_file(path) == whole);
    REQUIRE(fixture.service->handle(fixture.voucher(2, 20)));
    fixture.start();
    CHECK(fixture.code_of(fixture.voucher(2, 21)) == ErrorCode::already_signed_differently);
}

TEST_CASE("signer: every decision is in the audit log, and no line of it holds a key") {
    SignerFixture fixture;
    REQUIRE(fixture.service->handle(fixture.voucher(1, 10)));
    static_cast<void>(fixture.service->handle(fixture.voucher(1, 5000)));
    static_cast<void>(fixture.service->handle_line("nonsense"));
    const std::string audit = read_file(fixture.folder.path / "audit.log");
    CHECK(audit.find("amount 10: done") != audit.npos);
    CHECK(audit.find("amount 5000: policy_refused") != audit.npos);
    CHECK(audit.find("unreadable request") != audit.npos);
    const std::string secret =
        ledger::base::to_hex(ledger::base::ByteView(fixture.delegate.secret())).substr(2);
    CHECK(audit.find(secret) == audit.npos);
    CHECK(read_file(fixture.folder.path / "signatures.log").find(secret) == std::string::npos);
}
