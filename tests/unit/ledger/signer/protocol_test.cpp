// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/ledger/signer/signer_fixture.hpp"

using namespace tests;  // NOLINT: test file

TEST_CASE("protocol: requests that are not exactly one of ours are refused") {
    for (const std::string line :
         {"", "[]", "{}", R"({"op":5})", R"({"op":"sign_digest","digest":"0x00"})",
          R"({"op":"addresses","extra":1})", R"({"op":"addresses","op":"addresses"})",
          R"({"op":"sign_voucher"})", R"({"op":"sign_transaction","from":"0x12"})"}) {
        CAPTURE(line);
        CHECK(!decode_request(line));
    }
    const SignerFixture fixture;
    const std::string line = encode_request(fixture.voucher(1, 5));
    CHECK(decode_request(line));
    std::string number = line;
    number.replace(number.find("\"sequence\":\"1\""), 14, "\"sequence\":1");
    CHECK(decode_request(number).error().code() == ErrorCode::invalid_field);
    std::string extra = line;
    extra.insert(1, "\"note\":\"x\",");
    CHECK(decode_request(extra).error().code() == ErrorCode::unknown_field);
}

TEST_CASE("protocol: requests and answers survive the line") {
    const SignerFixture fixture;
    SignTransaction create = fixture.transaction(7);
    create.transaction.to.reset();
    create.transaction.value = 12;
    const std::vector<Request> requests = {ListAddresses{},
                                           fixture.voucher(3, UINT64_MAX),
                                           fixture.head(5, 6, 7),
                                           fixture.transaction(1),
                                           create,
                                           fixture.objection()};
    for (const Request& request : requests) {
        const std::string line = encode_request(request);
        CHECK(line.find('\n') == line.npos);
        CHECK(decode_request(line).value() == request);
    }
    const Answer answer{{address_of(1), address_of(2)}, {1, 2, 3}};
    CHECK(decode_answer(encode_answer(answer)).value() == answer);
    const auto failed = decode_answer(
        encode_answer(ledger::base::fail(ErrorCode::policy_refused, "a \"reason\"\nwith lines")));
    REQUIRE(!failed);
    CHECK(failed.error().code() == ErrorCode::policy_refused);
    CHECK(failed.error().detail() == "a \"reason\"\nwith lines");
    CHECK(!decode_answer("{}"));
    CHECK(!decode_answer(R"({"ok":true,"addresses":["0x1"],"bytes":"0x"})"));
}
