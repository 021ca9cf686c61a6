// SPDX-License-Identifier: Apache-2.0
#include "ledger/crypto/key_wrap.hpp"
#include "tests/unit/marketplace/api/api_fixture.hpp"

using namespace api_test;

namespace {

using ledger::crypto::DataKey;

const std::string kDigits = "00112233445566778899aabbccddeeff";

/// A job that is matched to a worker.
struct Matched {
    Fixture f;
    PrivateKey buyer = PrivateKey::generate();
    PrivateKey provider = PrivateKey::generate();
    PrivateKey worker = PrivateKey::generate();
    std::string job = "/v1/jobs/job_" + kDigits;
    domain::Hash32 lease;

    Matched() {
        const std::string text = "sealed bytes";
        const std::string blob = to_hex(ledger::base::sha256(ledger::base::as_bytes(text)));
        auto client = f.client();
        REQUIRE(client.request("PUT", "/v1/blobs/" + blob, text, f.bearer(buyer)).status == 201);
        f.engine.apply(domain::EscrowDeposited{buyer.address(), 10'000'000,
                                               ledger::base::sha256(buyer.address().span()), 0});
        f.engine.apply(domain::WorkerConnected{worker.address(), provider.address()});
        f.post("/v1/market/orders", signed_ask(test_ask(f, provider, worker.address()), provider),
               201);
        f.post("/v1/jobs", wire::post_job_json(test_job(f, buyer, train_spec(blob), kDigits)), 201);
        const json leases = f.get(job + "/leases")["data"];
        REQUIRE(leases.size() == 1);
        lease = *ledger::base::parse_fixed<domain::Hash32>(leases[0]["id"].get<std::string>());
    }
    [[nodiscard]] std::string target() const { return job + "/keys/" + to_hex(lease); }
    std::string put(const PrivateKey& who, const std::string& where, const std::string& body,
                    int status) {
        auto client = f.client();
        const auto answer = client.request("PUT", where, body, f.bearer(who));
        CHECK_MESSAGE(answer.status == status, answer.body);
        return code_of(json::parse(answer.body, nullptr, false));
    }
    json get(const PrivateKey& who, const std::string& where, int status) {
        auto client = f.client();
        const auto answer = client.request("GET", where, "", f.bearer(who));
        CHECK_MESSAGE(answer.status == status, answer.body);
        return json::parse(answer.body, nullptr, false);
    }
};

std::string body_of(ledger::base::ByteView key) {
    return json{{"wrapped_key", to_hex(key)}}.dump();
}

}  // namespace

TEST_CASE("job_keys: only the buyer gives a key, of its size, for a lease of the job") {
    Matched m;
    const domain::Bytes key(ledger::crypto::kWrappedKeyBytes, 1);
    auto client = m.f.client();
    CHECK(client.request("PUT", m.target(), body_of(key)).status == 401);
    CHECK(m.put(m.buyer, m.job + "/keys/0x12", body_of(key), 404) == "not_found");
    CHECK(m.put(m.buyer, m.target(), "{", 400) == "invalid_json");
    CHECK(m.put(m.buyer, m.target(), "[]", 400) == "invalid_request");
    CHECK(m.put(m.buyer, m.target(), R"({"key":"0x"})", 400) == "unknown_field");
    const domain::Bytes shorter(key.begin() + 1, key.end());
    CHECK(m.put(m.buyer, m.target(), body_of(shorter), 400) == "invalid_field");
    domain::Bytes longer = key;
    longer.push_back(1);
    CHECK(m.put(m.buyer, m.target(), body_of(longer), 413) == "too_large");
    const std::string other = m.job + "/keys/" + to_hex(domain::Hash32());
    CHECK(m.put(m.buyer, other, body_of(key), 404) == "not_found");
    const std::string job = "/v1/jobs/job_" + std::string(32, 'f');
    CHECK(m.put(m.buyer, job + "/keys/" + to_hex(m.lease), body_of(key), 404) == "not_found");
    CHECK(m.put(m.worker, m.target(), body_of(key), 403) == "forbidden");
    CHECK(code_of(m.get(m.worker, m.target(), 404)) == "not_found");  // nothing was kept
}

TEST_CASE("job_keys: the worker reads what the buyer wrapped, and nobody else does") {
    Matched m;
    // The buyer takes the worker's public key from the market and believes its address alone.
    const std::string account = "/v1/accounts/" + to_hex(m.worker.address()) + "/public-key";
    CHECK(code_of(m.f.get(account, 404)) == "not_found");
    (void)m.f.bearer(m.worker);
    const json published = m.f.get(account);
    const auto bytes = ledger::base::parse_hex(published["public_key"].get<std::string>(), 64);
    REQUIRE(bytes.has_value());
    ledger::crypto::PublicKey reader{};
    REQUIRE(bytes->size() == reader.size());
    std::copy(bytes->begin(), bytes->end(), reader.begin());
    CHECK(ledger::crypto::address_of(reader) == m.worker.address());
    CHECK(reader == m.worker.public_key());

    const DataKey key = DataKey::generate();
    const auto wrapped = ledger::crypto::wrap_key(key, reader, m.lease.span());
    REQUIRE(wrapped.has_value());
    m.put(m.buyer, m.target(), body_of(domain::Bytes(wrapped->size(), 7)), 200);
    m.put(m.buyer, m.target(), body_of(*wrapped), 200);  // the later one counts
    CHECK(code_of(m.get(m.provider, m.target(), 403)) == "forbidden");
    const json read = m.get(m.worker, m.target(), 200);
    const auto taken = ledger::base::parse_hex(read["wrapped_key"].get<std::string>(), 256);
    REQUIRE(taken.has_value());
    const auto opened = ledger::crypto::unwrap_key(*taken, m.worker, m.lease.span());
    REQUIRE(opened.has_value());
    CHECK(std::equal(opened->bytes().begin(), opened->bytes().end(), key.bytes().begin()));
}
