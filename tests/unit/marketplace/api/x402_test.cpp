// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/x402.hpp"

#include "ledger/base/base64.hpp"
#include "tests/unit/marketplace/api/api_fixture.hpp"

namespace api_test {
namespace {

using api::PaymentTerms;
using api::TokenPayment;

constexpr std::uint64_t kNowS = 1'800'000'000;
constexpr std::uint64_t kAtoms = 1500;

domain::Address small_address(std::uint8_t last) {
    domain::Address out;
    out.data()[19] = last;
    return out;
}

PaymentTerms terms() {
    PaymentTerms out;
    out.chain_id = 31337;
    out.token = small_address(0xaa);
    out.token_name = "Test Dollar";
    out.token_version = "1";
    out.units_per_atom = 1U;
    out.pay_to = small_address(0xbb);
    out.least_atoms = 1000;
    return out;
}

/// A payment as the public client writes it, changed and then signed (or signed and then changed).
struct Wallet {
    PrivateKey key = PrivateKey::generate();

    json payment(std::uint8_t nonce, std::uint64_t atoms = kAtoms,
                 const std::function<void(json&)>& change = {}) const {
        const json required = json::parse(
            api::payment_required_json(terms(), "http://localhost/v1/completions", atoms, ""));
        json authorization{{"from", to_hex(key.address())},
                           {"to", required["accepts"][0]["payTo"]},
                           {"value", required["accepts"][0]["amount"]},
                           {"validAfter", "0"},
                           {"validBefore", std::to_string(kNowS + 300)},
                           {"nonce", "0x" + std::string(62, '0') + fmt::format("{:02x}", nonce)}};
        json out{{"x402Version", 2},
                 {"accepted", required["accepts"][0]},
                 {"payload", {{"authorization", authorization}}}};
        if (change) change(out);
        const json& wanted = out["payload"]["authorization"];
        ledger::eth::TransferAuthorization read;
        read.from = key.address();
        read.to = *ledger::base::parse_fixed<domain::Address>(wanted["to"].get<std::string>());
        read.value = *ledger::eth::parse_decimal(wanted["value"].get<std::string>());
        read.valid_after_s = std::stoull(wanted["validAfter"].get<std::string>());
        read.valid_before_s = std::stoull(wanted["validBefore"].get<std::string>());
        read.nonce = *ledger::base::parse_fixed<domain::Hash32>(wanted["nonce"].get<std::string>());
        const auto separator =
            ledger::eth::token_separator("Test Dollar", "1", 31337, terms().token);
        out["payload"]["signature"] = to_hex(key.sign(ledger::eth::digest(separator, read)));
        return out;
    }
};

std::string encoded(const json& document) {
    return ledger::base::to_base64(ledger::base::as_bytes(document.dump()));
}

std::string decoded(std::string_view header) {
    const auto bytes = ledger::base::parse_base64(header);
    REQUIRE(bytes);
    return std::string(ledger::base::as_text(*bytes));
}

/// Takes payments as it is told.
class FakePayments final : public api::PaymentPort {
 public:
    const PaymentTerms& terms() const override { return terms_; }
    void check(TokenPayment, std::function<void(Result<void>)> done) override {
        ++checks;
        if (check_fails) return done(fail(*check_fails));
        done({});
    }
    void settle(TokenPayment payment, std::function<void(Result<domain::Hash32>)> done) override {
        ++settles;
        last = payment;
        if (settle_fails) return done(fail(*settle_fails));
        domain::Hash32 transaction;
        transaction.data()[0] = 7;
        done(transaction);
    }
    std::atomic<int> checks{0};
    std::atomic<int> settles{0};
    std::optional<ErrorCode> check_fails;
    std::optional<ErrorCode> settle_fails;
    TokenPayment last;

 private:
    PaymentTerms terms_ = ::api_test::terms();
};

/// Inference with a price.
class PricedInference final : public api::InferencePort {
 public:
    std::uint64_t start(api::InferenceRequest request, OnToken on_token, OnDone on_done) override {
        buyer = request.buyer;
        return inner.start(std::move(request), std::move(on_token), std::move(on_done));
    }
    void abort(std::uint64_t id) override { inner.abort(id); }
    void pace(std::uint64_t id, Pace pace) override { inner.pace(id, pace); }
    Result<std::uint64_t> most_atoms(const api::InferenceRequest& request) const override {
        CHECK(request.buyer == terms().pay_to);
        return price;
    }
    Result<std::uint64_t> price = kAtoms;
    domain::Address buyer;
    FakeInference inner;
};

struct Paid {
    Paid()
        : context{fixture.engine,
                  fixture.catalog,
                  fixture.log,
                  fixture.settlement,
                  inference,
                  fixture.records,
                  fixture.market,
                  fixture.chain,
                  *fixture.blobs,
                  *fixture.uploads,
                  fixture.auth,
                  fixture.clock,
                  fixture.context.info,
                  test_domain(),
                  {},
                  nullptr,
                  &payments} {
        api::PublishedModel model;
        model.name = "moby";
        model.spec = serve_spec(to_hex(ledger::base::Hash32()), "moby");
        REQUIRE(fixture.catalog.put_model(model));
        http::Router router;
        api::register_routes(router, context);
        server = std::make_unique<http::Server>(http::ServerOptions(), std::move(router));
        REQUIRE(server->start());
    }
    HttpAnswer complete(const std::string& headers, bool stream = false) {
        HttpTestClient client(server->port());
        const json body{{"model", "moby"}, {"prompt", "x"}, {"stream", stream}};
        return client.request("POST", "/v1/completions", body.dump(), headers);
    }
    HttpAnswer pay(const json& payment, bool stream = false) {
        return complete("PAYMENT-SIGNATURE: " + encoded(payment) + "\r\n", stream);
    }

    Fixture fixture;
    PricedInference inference;
    FakePayments payments;
    api::Context context;
    std::unique_ptr<http::Server> server;
    Wallet wallet;
};

std::string reason_of(const json& payment) {
    const auto parsed = api::parse_payment(encoded(payment), terms(), kAtoms, kNowS);
    REQUIRE_FALSE(parsed);
    return parsed.error().reason;
}

}  // namespace

TEST_CASE("x402: what is no payment is told apart from one that does not count") {
    const Wallet wallet;
    const auto status = [](std::string_view header) {
        const auto parsed = api::parse_payment(header, terms(), kAtoms, kNowS);
        REQUIRE_FALSE(parsed);
        return parsed.error().status;
    };
    CHECK(status("") == 400);
    CHECK(status("%%%") == 400);
    CHECK(status(encoded(json::array())) == 400);
    CHECK(status(std::string(8 * 1024 + 4, 'A')) == 400);
    CHECK(status(ledger::base::to_base64(ledger::base::as_bytes(std::string(5000, '[')))) == 400);
    json old = wallet.payment(1);
    old["x402Version"] = 1;
    CHECK(reason_of(old) == "invalid_x402_version");
    for (const char* missing : {"from", "to", "value", "validAfter", "validBefore", "nonce"}) {
        json cut = wallet.payment(1);
        cut["payload"]["authorization"].erase(missing);
        CHECK_MESSAGE(reason_of(cut) == "invalid_payload", missing);
    }
    json high = wallet.payment(1);
    high["payload"]["authorization"]["value"] = "-1";
    CHECK(reason_of(high) == "invalid_payload");
}

TEST_CASE("x402: terms, amount, time and signature are checked, each with the protocol's word") {
    const Wallet wallet;
    CHECK(api::parse_payment(encoded(wallet.payment(1)), terms(), kAtoms, kNowS).has_value());
    const auto changed = [&](const std::function<void(json&)>& change) {
        return reason_of(wallet.payment(1, kAtoms, change));
    };
    CHECK(changed([](json& p) { p["accepted"]["scheme"] = "upto"; }) == "unsupported_scheme");
    CHECK(changed([](json& p) { p["accepted"]["network"] = "eip155:1"; }) == "invalid_network");
    CHECK(changed([](json& p) { p["accepted"]["amount"] = "1"; }) ==
          "invalid_payment_requirements");
    CHECK(changed([](json& p) { p["accepted"]["payTo"] = to_hex(small_address(1)); }) ==
          "invalid_payment_requirements");
    CHECK(changed([](json& p) { p["accepted"]["asset"] = to_hex(small_address(1)); }) ==
          "invalid_payment_requirements");
    CHECK(changed([](json& p) { p["accepted"] = 1; }) == "unsupported_scheme");
    const std::string prefix = "invalid_exact_evm_payload_";
    const auto in = [](json& p) -> json& { return p["payload"]["authorization"]; };
    CHECK(changed([&](json& p) { in(p)["to"] = to_hex(small_address(1)); }) ==
          prefix + "recipient_mismatch");
    CHECK(changed([&](json& p) { in(p)["value"] = "1499"; }) ==
          prefix + "authorization_value_mismatch");
    CHECK(changed([&](json& p) { in(p)["validAfter"] = std::to_string(kNowS + 1); }) ==
          prefix + "authorization_valid_after");
    CHECK(changed([&](json& p) { in(p)["validBefore"] = std::to_string(kNowS); }) ==
          prefix + "authorization_valid_before");
    json stolen = wallet.payment(1);
    stolen["payload"]["authorization"]["from"] = to_hex(PrivateKey::generate().address());
    CHECK(reason_of(stolen) == prefix + "signature");
    json other_nonce = wallet.payment(1);
    other_nonce["payload"]["authorization"]["nonce"] = to_hex(domain::Hash32());
    CHECK(reason_of(other_nonce) == prefix + "signature");
}

TEST_CASE("x402: one authorization pays for one call at a time, and the table is bounded") {
    api::PaymentsUnderWay table;
    TokenPayment one;
    auto place = table.enter(one);
    REQUIRE(place);
    CHECK_FALSE(table.enter(one));
    TokenPayment other = one;
    other.signature.data()[0] = 1;  // the same authorization in another form
    CHECK_FALSE(table.enter(other));
    place.reset();
    CHECK(table.enter(one));
    std::vector<std::shared_ptr<api::PaymentsUnderWay::Place>> places;
    for (std::uint8_t i = 0; i < 100; ++i) {
        one.authorization.nonce.data()[0] = i;
        if (auto next = table.enter(one)) places.push_back(std::move(next));
    }
    CHECK(places.size() == 64);
}

TEST_CASE("x402: a caller without an account is told the price, and nothing is done") {
    Paid api;
    const HttpAnswer answer = api.complete("");
    CHECK(answer.status == 402);
    const json required = json::parse(decoded(answer.header("payment-required")));
    CHECK(json::parse(answer.body) == required);
    CHECK(required["x402Version"] == 2);
    CHECK(required["accepts"][0]["amount"] == "1500");
    CHECK(required["accepts"][0]["network"] == "eip155:31337");
    CHECK(required["accepts"][0]["extra"]["name"] == "Test Dollar");
    CHECK(required["resource"]["url"].get<std::string>().ends_with("/v1/completions"));
    api.inference.price = 10;
    CHECK(json::parse(api.complete("").body)["accepts"][0]["amount"] == "1000");
    api.inference.price = fail(ErrorCode::no_capacity);
    CHECK(api.complete("").status == 503);
    CHECK(api.payments.checks == 0);
    // With a key everything is as ever.
    CHECK(api.complete("Authorization: Bearer mrk_x\r\n").status == 401);
}

TEST_CASE("x402: a payment is checked, the work done, the payment taken, the answer released") {
    Paid api;
    const HttpAnswer answer = api.pay(api.wallet.payment(1));
    CHECK_MESSAGE(answer.status == 200, answer.body);
    CHECK(json::parse(answer.body)["choices"][0]["text"] == "Call me Ishmael");
    const json receipt = json::parse(decoded(answer.header("payment-response")));
    CHECK(receipt["success"] == true);
    CHECK(receipt["network"] == "eip155:31337");
    CHECK(receipt["transaction"].get<std::string>().starts_with("0x07"));
    CHECK(api.payments.checks == 1);
    CHECK(api.payments.settles == 1);
    CHECK(api.payments.last.authorization.from == api.wallet.key.address());
    CHECK(api.inference.buyer == terms().pay_to);

    const HttpAnswer stream = api.pay(api.wallet.payment(2), true);
    CHECK(stream.status == 200);
    CHECK(stream.body.find("Ishmael") != std::string::npos);
    CHECK(json::parse(decoded(stream.header("payment-response")))["success"] == true);
}

TEST_CASE("x402: without the money no work, without the payment no answer") {
    Paid api;
    api.payments.check_fails = ErrorCode::insufficient_funds;
    const HttpAnswer poor = api.pay(api.wallet.payment(1));
    CHECK(poor.status == 402);
    CHECK(json::parse(decoded(poor.header("payment-response")))["errorReason"] ==
          "insufficient_funds");
    CHECK(api.inference.buyer.is_zero());
    api.payments.check_fails = ErrorCode::nonce_used;
    CHECK(json::parse(api.pay(api.wallet.payment(2)).body)["error"] == "invalid_transaction_state");
    api.payments.check_fails = ErrorCode::chain_unreachable;
    CHECK(api.pay(api.wallet.payment(3)).status >= 500);
    api.payments.check_fails.reset();
    for (const bool stream : {false, true}) {
        api.payments.settle_fails = ErrorCode::chain_refused;
        const HttpAnswer unpaid = api.pay(api.wallet.payment(stream ? 4 : 5), stream);
        CHECK(unpaid.status == 402);
        CHECK(unpaid.body.find("Ishmael") == std::string::npos);
    }
    // What failed before the work's end costs nothing.
    api.payments.settle_fails.reset();
    const int settled = api.payments.settles;
    api.inference.inner.failure = ErrorCode::worker_lost;
    api.inference.inner.tokens.clear();
    CHECK(api.pay(api.wallet.payment(5)).status >= 500);
    CHECK(api.payments.settles == settled);
}

}  // namespace api_test
