// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/x402.hpp"

#include "ledger/base/base64.hpp"
#include "tests/unit/marketplace/api/api_fixture.hpp"

namespace api_test {
namespace {

using api::PaymentTerms;
using api::TokenPayment;
using api::UptoPayment;

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
    out.upto = api::UptoTerms{small_address(0xc1), small_address(0xc2), small_address(0xc3)};
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

/// A payment up to an amount as the public client writes it, changed and then signed.
json upto_payment(const PrivateKey& key, const std::string& nonce,
                  const std::function<void(json&)>& change = {}) {
    const json required = json::parse(
        api::payment_required_json(terms(), "http://localhost/v1/completions", kAtoms, ""));
    const json& accepted = required["accepts"][1];
    json signed_one{{"from", to_hex(key.address())},
                    {"permitted", {{"token", accepted["asset"]}, {"amount", accepted["amount"]}}},
                    {"spender", to_hex(terms().upto->proxy)},
                    {"nonce", nonce},
                    {"deadline", std::to_string(kNowS + 1800)},
                    {"witness",
                     {{"to", accepted["payTo"]},
                      {"facilitator", accepted["extra"]["facilitatorAddress"]},
                      {"validAfter", "0"}}}};
    json out{{"x402Version", 2},
             {"accepted", accepted},
             {"payload", {{"permit2Authorization", signed_one}}}};
    if (change) change(out);
    const json& wanted = out["payload"]["permit2Authorization"];
    const auto address = [](const json& text) {
        return *ledger::base::parse_fixed<domain::Address>(text.get<std::string>());
    };
    ledger::eth::UptoPermit permit;
    permit.token = address(wanted["permitted"]["token"]);
    permit.amount_max =
        *ledger::eth::parse_decimal(wanted["permitted"]["amount"].get<std::string>());
    permit.spender = address(wanted["spender"]);
    permit.nonce = *ledger::eth::parse_decimal(nonce);
    permit.deadline_s = std::stoull(wanted["deadline"].get<std::string>());
    permit.receiver = address(wanted["witness"]["to"]);
    permit.facilitator = address(wanted["witness"]["facilitator"]);
    permit.valid_after_s = std::stoull(wanted["witness"]["validAfter"].get<std::string>());
    const auto separator = ledger::eth::permit2_separator(31337, terms().upto->permit2);
    out["payload"]["signature"] = to_hex(key.sign(ledger::eth::digest(separator, permit)));
    return out;
}

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
    using Done = std::function<void(Result<domain::Hash32>)>;
    PaymentTerms terms() const override { return terms_; }
    void check(api::Payment, std::function<void(Result<void>)> done) override {
        ++checks;
        if (check_fails) return done(fail(*check_fails, "what to do"));
        done({});
    }
    void settle(TokenPayment payment, Done done) override {
        ++settles;
        last = payment;
        answer(done);
    }
    void charge(UptoPayment payment, std::uint64_t atoms, api::Answer given, Done done) override {
        {
            const std::lock_guard lock(mutex);
            charges.push_back({payment, atoms, given});
        }
        if (atoms == 0) return done(domain::Hash32());
        answer(done);
    }
    Result<api::UptoStanding> standing(const domain::Hash32& name) const override {
        const std::lock_guard lock(mutex);
        for (const Charged& charged : charges)
            if (api::name_of(charged.payment) == name)
                return api::UptoStanding{"owed", charged.atoms, std::nullopt};
        return fail(ErrorCode::not_found);
    }
    struct Charged {
        UptoPayment payment;
        std::uint64_t atoms = 0;
        api::Answer answer = api::Answer::kGiven;
    };
    Charged only_charge() const {
        const std::lock_guard lock(mutex);
        REQUIRE(charges.size() == 1);
        return charges.front();
    }
    std::atomic<int> checks{0};
    std::atomic<int> settles{0};
    std::optional<ErrorCode> check_fails;
    std::optional<ErrorCode> settle_fails;
    TokenPayment last;
    mutable std::mutex mutex;
    std::vector<Charged> charges;

 private:
    void answer(const Done& done) const {
        if (settle_fails) return done(fail(*settle_fails));
        domain::Hash32 transaction;
        transaction.data()[0] = 7;
        done(transaction);
    }
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
    CHECK(changed([](json& p) { p["accepted"]["scheme"] = "later"; }) == "unsupported_scheme");
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

TEST_CASE("x402: a payment up to an amount is checked field by field") {
    const auto key = PrivateKey::generate();
    const auto parse = [](const json& payment, const PaymentTerms& asked = terms()) {
        return api::parse_payment(encoded(payment), asked, kAtoms, kNowS);
    };
    const auto good = parse(upto_payment(key, "77"));
    REQUIRE(good);
    CHECK(std::get<UptoPayment>(*good).permit.payer == key.address());
    CHECK(std::get<UptoPayment>(*good).permit.nonce == ledger::eth::U256(77U));
    const auto changed = [&](const std::function<void(json&)>& change) {
        const auto parsed = parse(upto_payment(
            key, "77", [&](json& p) { change(p["payload"]["permit2Authorization"]); }));
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error().status == 402);
        return parsed.error().reason;
    };
    const std::string other = to_hex(small_address(1));
    CHECK(changed([&](json& p) { p["spender"] = other; }) == "invalid_permit2_spender");
    CHECK(changed([&](json& p) { p["witness"]["to"] = other; }) ==
          "invalid_permit2_recipient_mismatch");
    CHECK(changed([&](json& p) { p["witness"]["facilitator"] = other; }) ==
          "upto_facilitator_mismatch");
    CHECK(changed([&](json& p) { p["permitted"]["token"] = other; }) == "permit2_token_mismatch");
    CHECK(changed([](json& p) { p["permitted"]["amount"] = "1499"; }) == "permit2_amount_mismatch");
    CHECK(changed([](json& p) { p["permitted"]["amount"] = "1501"; }) == "permit2_amount_mismatch");
    CHECK(changed([](json& p) { p["witness"]["validAfter"] = std::to_string(kNowS + 1); }) ==
          "permit2_not_yet_valid");
    CHECK(changed([](json& p) { p["deadline"] = std::to_string(kNowS + 899); }) ==
          "permit2_deadline_expired");
    CHECK(changed([](json& p) { p["deadline"] = "18446744073709551615"; }) ==
          "permit2_deadline_expired");
    json stolen = upto_payment(key, "77");
    stolen["payload"]["permit2Authorization"]["from"] = other;
    CHECK(parse(stolen).error().reason == "invalid_permit2_signature");
    json of_other_scheme = upto_payment(key, "77");
    of_other_scheme["accepted"] = Wallet().payment(1)["accepted"];
    CHECK(parse(of_other_scheme).error().reason == "invalid_payload");
    PaymentTerms exact_only = terms();
    exact_only.upto.reset();
    CHECK(parse(upto_payment(key, "77"), exact_only).error().reason == "unsupported_scheme");
    for (const char* missing : {"from", "permitted", "spender", "nonce", "deadline", "witness"}) {
        json cut = upto_payment(key, "77");
        cut["payload"]["permit2Authorization"].erase(missing);
        CHECK_MESSAGE(parse(cut).error().reason == "invalid_payload", missing);
    }
    // The specification writes nonces in hexadecimal, the client in decimal digits.
    json hex = upto_payment(key, "77");
    hex["payload"]["permit2Authorization"]["nonce"] = "0x" + std::string(62, '0') + "4d";
    REQUIRE(parse(hex));
    CHECK(api::name_of(std::get<UptoPayment>(*parse(hex))) ==
          api::name_of(std::get<UptoPayment>(*good)));
}

TEST_CASE("x402: a call is charged what it cost, within the least and what was signed for") {
    CHECK(api::upto_charge(terms(), 0, kAtoms) == 0);
    CHECK(api::upto_charge(terms(), 1, kAtoms) == 1000);
    CHECK(api::upto_charge(terms(), 1200, kAtoms) == 1200);
    CHECK(api::upto_charge(terms(), 9999, kAtoms) == kAtoms);
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

TEST_CASE("x402: up to an amount, a whole answer waits for its payment and a stream does not") {
    Paid api;
    const auto key = PrivateKey::generate();
    const HttpAnswer whole = api.pay(upto_payment(key, "1"));
    CHECK_MESSAGE(whole.status == 200, whole.body);
    const auto charged = api.payments.only_charge();
    const json receipt = json::parse(decoded(whole.header("payment-response")));
    CHECK(charged.answer == api::Answer::kHeldBack);
    CHECK(receipt["amount"] == std::to_string(charged.atoms));
    CHECK(json::parse(whole.body)["millrace"]["charged_atoms"] == std::to_string(charged.atoms));
    api.payments.charges.clear();
    api.payments.settle_fails = ErrorCode::chain_refused;
    const HttpAnswer unpaid = api.pay(upto_payment(key, "2"));
    CHECK(unpaid.status == 402);
    CHECK(unpaid.body.find("Ishmael") == std::string::npos);
    api.payments.charges.clear();
    const HttpAnswer stream = api.pay(upto_payment(key, "3"), true);
    CHECK(stream.status == 200);
    CHECK(stream.body.find("Ishmael") != std::string::npos);
    CHECK(stream.body.find("charged_atoms") != std::string::npos);
    CHECK(api.payments.only_charge().answer == api::Answer::kGiven);
    CHECK(api.payments.settles == 0);
}

TEST_CASE("x402: up to an amount, what fails is let go, and a missing approval is said") {
    Paid api;
    const auto key = PrivateKey::generate();
    api.payments.check_fails = ErrorCode::wrong_state;
    const HttpAnswer unapproved = api.pay(upto_payment(key, "1"));
    CHECK(unapproved.status == 412);
    CHECK(json::parse(decoded(unapproved.header("payment-response")))["errorReason"] ==
          "permit2_allowance_required");
    CHECK(json::parse(unapproved.body)["error"] == "permit2_allowance_required: what to do");
    api.payments.check_fails = ErrorCode::rate_limited;
    CHECK(api.pay(upto_payment(key, "2")).status == 429);
    api.payments.check_fails.reset();
    CHECK(api.payments.charges.empty());
    api.inference.inner.failure = ErrorCode::worker_lost;
    api.inference.inner.tokens.clear();
    CHECK(api.pay(upto_payment(key, "3")).status >= 500);
    CHECK(api.payments.only_charge().atoms == 0);
}

TEST_CASE("x402: what became of a payment up to an amount can be asked by payer and nonce") {
    Paid api;
    const auto key = PrivateKey::generate();
    HttpTestClient client(api.server->port());
    const auto ask = [&](const std::string& payer, const std::string& nonce) {
        return client.request("GET", "/v1/payments/" + payer + "/" + nonce);
    };
    CHECK(ask("0x12", "1").status == 400);
    CHECK(ask(to_hex(key.address()), "-1").status == 400);
    CHECK(ask(to_hex(key.address()), "1").status == 404);
    REQUIRE(api.pay(upto_payment(key, "1"), true).status == 200);
    const HttpAnswer known = ask(to_hex(key.address()), "1");
    CHECK(known.status == 200);
    CHECK(json::parse(known.body)["state"] == "owed");
    CHECK(ask(to_hex(key.address()), "0x" + std::string(63, '0') + "1").status == 200);
}

}  // namespace api_test
