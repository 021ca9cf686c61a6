// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/marketplace/api/api_fixture.hpp"

using namespace api_test;

namespace {

const std::string kDigits = "00112233445566778899aabbccddeeff";

std::string put_blob(Fixture& f, const PrivateKey& key, const std::string& bytes) {
    const std::string hash = to_hex(ledger::base::sha256(ledger::base::as_bytes(bytes)));
    auto client = f.client();
    const auto answer = client.request("PUT", "/v1/blobs/" + hash, bytes, f.bearer(key));
    CHECK(answer.status == 201);
    return hash;
}

void deposit(Fixture& f, const domain::Address& account, std::uint64_t atoms) {
    domain::EscrowDeposited command;
    command.account = account;
    command.amount_atoms = atoms;
    command.transaction = ledger::base::sha256(account.span());
    f.engine.apply(command);
}

}  // namespace

TEST_CASE("jobs: missing data, bad specs, bad signatures and empty accounts are refused") {
    Fixture f;
    const auto buyer = PrivateKey::generate();
    const std::string nowhere = to_hex(ledger::base::sha256(ledger::base::as_bytes("nowhere")));
    const auto post = [&](const wire::PostJobBody& body, int status) {
        return code_of(f.post("/v1/jobs", wire::post_job_json(body), status));
    };
    CHECK(post(test_job(f, buyer, train_spec(nowhere), kDigits), 422) == "data_missing");
    const std::string blob = put_blob(f, buyer, "call me ishmael");
    auto job = test_job(f, buyer, train_spec(blob), kDigits);
    job.command.legs[0].signature =
        PrivateKey::generate().sign(ledger::eth::digest(test_domain(), job.command.legs[0].bid));
    CHECK(post(job, 401) == "invalid_signature");
    job = test_job(f, buyer, "{\"version\":1}", kDigits);
    CHECK(post(job, 422) == "job_spec_invalid");
    std::string spec = train_spec(blob);
    spec.insert(1, " ");
    CHECK(post(test_job(f, buyer, spec, kDigits), 400) == "invalid_encoding");
    json huge = json::parse(train_spec(blob));
    huge["steps"] = 100'000'000;
    CHECK(post(test_job(f, buyer, huge.dump(), kDigits), 422) == "job_limit");
    CHECK(post(test_job(f, buyer, train_spec(blob), kDigits), 402) == "insufficient_funds");
    CHECK(code_of(f.get("/v1/jobs/job_" + kDigits, 404)) == "not_found");
    CHECK(code_of(f.get("/v1/jobs/nonsense", 404)) == "not_found");
}

TEST_CASE("jobs: a contract account buys by what its code accepts") {
    Fixture f;
    const auto key = PrivateKey::generate();  // of nobody: the contract knows its signatures
    const auto buyer = PrivateKey::generate();
    const std::string blob = put_blob(f, buyer, "call me ishmael");
    deposit(f, buyer.address(), 10'000'000);
    auto job = test_job(f, buyer, train_spec(blob), kDigits);
    const auto signature = key.sign(ledger::base::sha256(ledger::base::as_bytes("a wallet's own")));
    job.command.legs[0].signature = signature;
    const std::string body = wire::post_job_json(job);
    const auto code = [&](int status) { return code_of(f.post("/v1/jobs", body, status)); };
    CHECK(code(401) == "invalid_signature");
    CHECK(f.chain.questions == 1);
    f.chain.wallet = buyer.address();
    CHECK(code(401) == "invalid_signature");
    f.chain.good.assign(signature.span().begin(), signature.span().end());
    f.chain.away = true;  // and nothing follows from it
    CHECK(code(503) == "chain_unreachable");
    f.chain.away = false;
    const json posted = f.post("/v1/jobs", body, 201);
    CHECK(posted["buyer"] == ledger::crypto::to_checksum(buyer.address()));
    // A signature for another chain is told without a question.
    const int before = f.chain.questions;
    ledger::eth::Domain other = test_domain();
    other.chain_id = 1;
    auto elsewhere = test_job(f, buyer, train_spec(blob), std::string(32, 'a'));
    elsewhere.command.legs[0].signature =
        buyer.sign(ledger::eth::digest(other, elsewhere.command.legs[0].bid));
    CHECK(code_of(f.post("/v1/jobs", wire::post_job_json(elsewhere), 422)) == "wrong_chain");
    CHECK(f.chain.questions == before);
}

TEST_CASE("jobs: posted, listed, quoted, cancelled by its buyer; its spec stays private") {
    Fixture f;
    const auto buyer = PrivateKey::generate();
    const auto stranger = PrivateKey::generate();
    const std::string blob = put_blob(f, buyer, "call me ishmael");
    deposit(f, buyer.address(), 10'000'000);
    const auto job = test_job(f, buyer, train_spec(blob), kDigits);
    const std::string body = wire::post_job_json(job);
    const json quote = f.post("/v1/market/quotes", body, 200);
    CHECK(quote["matches"] == false);
    const json posted = f.post("/v1/jobs", body, 201);
    CHECK(posted["id"] == "job_" + kDigits);
    CHECK(posted["state"] == "open");
    CHECK(posted["total_units"] == "100");
    CHECK(posted["mismatches"].is_object());
    CHECK(f.post("/v1/jobs", body, 201) == posted);  // the same again: the first answer
    const std::string target = "/v1/jobs/job_" + kDigits;
    CHECK(f.get(target)["buyer"] == ledger::crypto::to_checksum(buyer.address()));
    CHECK(f.get("/v1/jobs?buyer=" + to_hex(buyer.address()))["data"].size() == 1);
    CHECK(f.get("/v1/jobs?buyer=" + to_hex(stranger.address()))["data"].empty());
    CHECK(f.get(target + "/leases")["data"].empty());
    auto client = f.client();
    CHECK(client.request("GET", target + "/spec", "", f.bearer(stranger)).status == 403);
    CHECK(client.request("GET", target + "/spec", "", f.bearer(buyer)).body == train_spec(blob));
    CHECK(client.request("POST", target + "/cancel", "", f.bearer(stranger)).status == 403);
    const auto cancelled = client.request("POST", target + "/cancel", "", f.bearer(buyer));
    CHECK(cancelled.status == 200);
    CHECK(json::parse(cancelled.body)["state"] == "cancelled");
    const json account = f.get("/v1/accounts/" + to_hex(buyer.address()));
    CHECK(account["available"] == "10000000");
}

TEST_CASE("jobs: events come as a list, and as a stream that resumes and ends") {
    Fixture f;
    const auto buyer = PrivateKey::generate();
    const std::string blob = put_blob(f, buyer, "call me ishmael");
    deposit(f, buyer.address(), 10'000'000);
    f.post("/v1/jobs", wire::post_job_json(test_job(f, buyer, train_spec(blob), kDigits)), 201);
    const std::string target = "/v1/jobs/job_" + kDigits + "/events";
    f.records.add("phase", R"({"state":"running"})");
    f.records.add("train", R"({"step":1,"loss":2.5})");
    const json list = f.get(target);
    REQUIRE(list["data"].size() == 2);
    CHECK(list["data"][1]["data"]["loss"] == 2.5);
    CHECK(f.get(target + "?after=1")["data"].size() == 1);
    CHECK(f.get(target + "?limit=1")["has_more"] == true);

    auto client = f.client();
    client.send("GET " + target +
                " HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nLast-Event-ID: 1\r\n\r\n");
    CHECK(client.read_until("id: 2\nevent: train\ndata: {\"step\":1,\"loss\":2.5}\n\n"));
    CHECK(client.buffer().find("id: 1\n") == std::string::npos);
    CHECK(client.buffer().find("text/event-stream") != std::string::npos);
    f.records.add("phase", R"({"state":"completed"})");
    CHECK(client.read_until("id: 3\n"));
    CHECK(client.read_until("event: end\ndata: {}\n\n"));
    CHECK(client.read_until("0\r\n\r\n"));
    // A place beyond the record (the market was restarted): everything from the beginning.
    CHECK(f.get(target + "?after=3")["data"].empty());
    CHECK(f.get(target + "?after=500")["data"].size() == 3);
    f.get("/v1/jobs/job_ffffffffffffffffffffffffffffffff/events", 404);
}
