// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/account_history.hpp"
#include "marketplace/webhooks/webhook.hpp"
#include "tests/unit/marketplace/api/api_fixture.hpp"

#include <algorithm>

namespace api_test {
namespace {

constexpr const char* kTarget = "/v1/account/events";

/// A buyer and a provider, both signed in.
struct Accounts : Fixture {
    Accounts() : mine(bearer(buyer)), theirs(bearer(provider)) {}

    void deposit(const PrivateKey& to, std::uint64_t atoms) {
        domain::EscrowDeposited command;
        command.account = to.address();
        command.amount_atoms = atoms;
        command.transaction =
            ledger::base::sha256(ledger::base::as_bytes("deposit " + std::to_string(++deposits)));
        engine.apply(command);
    }
    /// Begins to read; `more` are lines of the head.
    HttpTestClient stream(const std::string& more, const std::string& query = {}) {
        HttpTestClient out = client();
        out.send(
            fmt::format("GET {}{} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", kTarget, query, more));
        return out;
    }
    [[nodiscard]] static json events_of(HttpTestClient& reader) {
        json out = json::array();
        const std::string& text = reader.buffer();
        for (auto at = text.find("data: {"); at != std::string::npos;
             at = text.find("data: {", at + 1)) {
            const auto end = text.find('\n', at);
            const json body = json::parse(text.substr(at + 6, end - at - 6), nullptr, false);
            if (body.contains("type")) out.push_back(body);
        }
        return out;
    }

    const PrivateKey buyer = PrivateKey::generate();
    const PrivateKey provider = PrivateKey::generate();
    const std::string mine;
    const std::string theirs;
    int deposits = 0;
};

}  // namespace

TEST_CASE("account: strangers, narrow keys and nonsense get no stream") {
    Accounts f;
    CHECK(f.client().request("GET", kTarget).status == 401);
    const json key = f.post("/v1/api-keys", R"({"scopes":["inference"]})", 201, f.mine);
    const std::string narrow = "Authorization: Bearer " + key["key"].get<std::string>() + "\r\n";
    CHECK(f.client().request("GET", kTarget, "", narrow).status == 403);
    for (const auto& [query, code] : std::vector<std::pair<std::string, std::string>>{
             {"?after=x", "invalid_field"},
             {"?after=7-", "invalid_field"},
             {"?events=", "invalid_field"},
             {"?events=job.*,nothing", "invalid_field"},
             {"?events=" + std::string(3000, 'j'), "too_large"}}) {
        CAPTURE(query);
        const auto answer = f.client().request("GET", kTarget + query, "", f.mine);
        CHECK(code_of(json::parse(answer.body)) == code);
    }
    CHECK(f.client().request("GET", kTarget, "", f.mine + "Last-Event-ID: a\r\n").status == 400);
}

TEST_CASE("account: a stream begins with a reset, tells one's own events only, and resumes") {
    Accounts f;
    auto reader = f.stream(f.mine);
    REQUIRE(reader.read_until("event: reset\ndata: {\"sequence\":null}\n\n"));
    CHECK(reader.buffer().find("text/event-stream") != std::string::npos);
    f.deposit(f.buyer, 5);
    f.deposit(f.provider, 6);
    f.deposit(f.buyer, 7);
    REQUIRE(reader.read_until("id: 0-0\nevent: account.balance\n"));
    REQUIRE(reader.read_until("id: 2-0\nevent: account.balance\n"));
    REQUIRE(reader.read_until("\"available\":\"12\""));
    CHECK(reader.buffer().find("id: 1-0") == std::string::npos);
    reader.close();

    // What came while nobody listened.
    f.deposit(f.buyer, 8);
    auto again = f.stream(f.mine + "Last-Event-ID: 0-0\r\n");
    REQUIRE(again.read_until("id: 3-0\n"));
    REQUIRE(again.read_until("\n\n"));
    CHECK(again.buffer().find("event: reset") == std::string::npos);
    CHECK(again.buffer().find("id: 0-0") == std::string::npos);
    CHECK(again.buffer().find("id: 2-0") < again.buffer().find("id: 3-0"));

    // From now on, with the present place; and by ?after= the same as by the header.
    auto fresh = f.stream(f.theirs);
    REQUIRE(fresh.read_until("id: 3\nevent: reset\ndata: {\"sequence\":3}\n\n"));
    auto other = f.stream(f.theirs, "?after=0");
    REQUIRE(other.read_until("id: 1-0\nevent: account.balance\n"));
    // A place that this market never gave.
    auto ahead = f.stream(f.mine, "?after=500-1");
    CHECK(ahead.read_until("id: 3\nevent: reset\n"));
}

TEST_CASE("account: who was away too long is told so") {
    Accounts f;
    f.history.begin_at(100);
    auto lost = f.stream(f.mine + "Last-Event-ID: 42-1\r\n");
    CHECK(lost.read_until("id: 99\nevent: reset\ndata: {\"sequence\":99}\n\n"));
    auto kept = f.stream(f.mine + "Last-Event-ID: 99\r\n");
    REQUIRE(kept.read_until(": keep-alive"));
    CHECK(kept.buffer().find("event: reset") == std::string::npos);
}

TEST_CASE("account: only the kinds that were asked for, a job's among them") {
    Accounts f;
    f.deposit(f.buyer, 100'000'000);
    auto reader = f.stream(f.mine, "?after=0-0&events=job.*,lease.open");
    auto all = f.stream(f.mine, "?after=0-0");
    domain::PostJob job =
        test_job(f, f.buyer, train_spec("0x" + std::string(64, '1')), std::string(32, '1')).command;
    job.terms.total_units = 100;
    job.terms.segment_units = 25;
    f.engine.apply(job);
    f.engine.apply(domain::CancelJob{job.id, f.buyer.address()});
    REQUIRE(reader.read_until("event: job.open\n"));
    REQUIRE(reader.read_until("event: job.unmatched\n"));
    REQUIRE(reader.read_until("event: job.cancelled\n"));
    f.deposit(f.buyer, 1);
    REQUIRE(all.read_until("event: account.balance\n"));
    REQUIRE(all.read_until("\n\n"));
    CHECK(reader.buffer().find("account.balance") == std::string::npos);
    for (const json& event : f.events_of(all)) {
        const auto& known = webhooks::kEventTypes;
        CHECK(std::find(known.begin(), known.end(), event["type"]) != known.end());
        CHECK(event["timestamp"] == "2027-01-15T08:00:00.000Z");
        CHECK(event["data"]["sequence"].is_number());
    }
}

TEST_CASE("account: the end of a key or a session ends what it reads") {
    Accounts f;
    const json key = f.post("/v1/api-keys", R"({"scopes":["account"]})", 201, f.mine);
    auto reader = f.stream("Authorization: Bearer " + key["key"].get<std::string>() + "\r\n");
    auto session = f.stream(f.mine);
    REQUIRE(reader.read_until("event: reset"));
    REQUIRE(session.read_until("event: reset"));
    const std::string target = "/v1/api-keys/" + key["id"].get<std::string>();
    CHECK(f.client().request("DELETE", target, "", f.mine).status == 200);
    f.clock.time_ms += 1001;
    CHECK(reader.read_until("event: end\ndata: {\"code\":\"unauthorized\"}\n\n"));
    f.deposit(f.buyer, 5);
    CHECK(session.read_until("event: account.balance"));
    f.clock.time_ms += 25ULL * 3600 * 1000;
    CHECK(session.read_until("event: end\ndata: {\"code\":\"session_expired\"}\n\n"));
}

TEST_CASE("account: a reader that stands still loses nothing and holds up nobody") {
    Accounts f;
    f.deposit(f.buyer, 1);
    auto slow = f.stream(f.mine, "?after=0-0");
    REQUIRE(slow.read_until(": connected"));
    constexpr std::uint64_t kCount = 20'000;  // more than the socket and its queue take
    for (std::uint64_t i = 0; i < kCount; ++i)
        f.deposit(f.buyer, 1);
    auto quick = f.stream(f.mine, fmt::format("?after={}-0", kCount - 1));
    CHECK(quick.read_until(fmt::format("id: {}-0\n", kCount)));
    REQUIRE(slow.read_until(fmt::format("id: {}-0\n", kCount), 60'000));
    REQUIRE(slow.read_until("\n\n"));
    const json events = f.events_of(slow);
    REQUIRE(events.size() == kCount);
    for (std::uint64_t i = 0; i < kCount; ++i)
        REQUIRE(events[i]["data"]["available"] == std::to_string(i + 2));
}

TEST_CASE("account_events: each account is told of its own job, ask and balance, and why") {
    Fixture fixture;
    const auto buyer = PrivateKey::generate();
    const auto provider = PrivateKey::generate();
    engine::Engine engine(test_engine());
    const auto told = [&](const domain::Command& command) {
        const auto events = engine.apply(command, fixture.clock.now_ms());
        REQUIRE(events);
        const engine::Record record{3, fixture.clock.now_ms(), {}, command, *events, {}};
        return api::account_events(record, engine);
    };
    const auto worker = PrivateKey::generate().address();
    const auto connected = told(domain::WorkerConnected{worker, provider.address()});
    REQUIRE(connected.size() == 1);
    CHECK(api::text_of(connected[0]).type == "worker.connected");
    CHECK(connected[0].to()[0] == provider.address());
    const auto listed = told(test_ask(fixture, provider, worker));
    REQUIRE(listed.size() == 1);
    CHECK(api::text_of(listed[0]).type == "order.accepted");
    CHECK(listed[0].to()[0] == provider.address());

    domain::EscrowDeposited deposit;
    deposit.account = buyer.address();
    deposit.amount_atoms = 100'000'000;
    const auto paid_in = told(deposit);
    REQUIRE(paid_in.size() == 1);
    const auto text = api::text_of(paid_in[0]);
    CHECK(text.type == "account.balance");
    const json body = json::parse(text.body);
    CHECK(body["type"] == "account.balance");
    CHECK(body["timestamp"] == "2027-01-15T08:00:00.000Z");
    CHECK(body["data"]["cause"] == "deposit");
    CHECK(body["data"]["available"] == "100000000");
    CHECK(body["data"]["sequence"] == 3);

    domain::PostJob job =
        test_job(fixture, buyer, train_spec("0x" + std::string(64, '1')), std::string(32, '1'))
            .command;
    job.terms.total_units = 100;
    job.terms.segment_units = 25;
    std::string kinds;
    domain::Hash32 lease;
    for (const api::AccountEvent& event : told(job)) {
        kinds += api::text_of(event).type + " ";
        if (const auto* match = std::get_if<domain::Matched>(&event.event)) {
            lease = match->lease;
            CHECK(event.to().size() == 2);
        } else if (event.cause != api::BalanceCause::kNone) {
            CHECK(event.cause == api::BalanceCause::kHold);
        }
    }
    CHECK(kinds == "job.open lease.matched job.matched account.balance ");
    const auto failed = told(domain::LeaseOpenFailed{lease, "BidExpired"});
    const auto refund = std::find_if(failed.begin(), failed.end(), [](const auto& event) {
        return event.cause == api::BalanceCause::kRefund;
    });
    REQUIRE(refund != failed.end());
    CHECK(json::parse(api::text_of(*refund).body)["data"]["available"] == "100000000");
    domain::EscrowWithdrawn withdrawal;
    withdrawal.account = buyer.address();
    withdrawal.amount_atoms = 1;
    CHECK(told(withdrawal)[0].cause == api::BalanceCause::kWithdrawal);
}

}  // namespace api_test
