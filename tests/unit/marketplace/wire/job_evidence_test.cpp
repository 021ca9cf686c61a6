// SPDX-License-Identifier: Apache-2.0
#include "marketplace/wire/job_evidence.hpp"

#include "ledger/crypto/secp256k1.hpp"
#include "marketplace/wire/document.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

using namespace marketplace::wire;
using ledger::base::ErrorCode;
using ledger::crypto::PrivateKey;
using ledger::eth::struct_hash;
namespace domain = marketplace::domain;

namespace {

PrivateKey key_of(std::uint8_t seed) {
    std::array<std::uint8_t, 32> secret{};
    secret.fill(seed);
    auto key = PrivateKey::from_bytes(secret);
    REQUIRE(key.has_value());
    return std::move(*key);
}

/// A lease of `count` receipts of ten steps, all signed as they should be.
LeaseEvidence lease_of(const JobEvidence& job, std::uint64_t index, std::size_t count,
                       const PrivateKey& worker) {
    LeaseEvidence lease;
    lease.resource.gpu_model = "cpu";
    lease.resource.runtime = "libtorch-1.13.1-cpu";
    lease.resource.gpu_count = 1;
    lease.resource.cpu_cores = 1;
    lease.resource.region = "local";
    lease.resource.worker = worker.address();
    lease.ask.provider = key_of(3).address();
    lease.ask.resource_hash = document_hash(resource_document(lease.resource));
    lease.bid.buyer = key_of(4).address();
    lease.bid.job_spec_hash = document_hash(job.spec);
    lease.index = index;
    lease.voucher_signer = key_of(5).address();
    for (std::size_t i = 1; i <= count; ++i) {
        SignedReceipt item;
        item.receipt.lease = lease.id();
        item.receipt.sequence = i;
        if (i > 1) item.receipt.previous = struct_hash(lease.receipts.back().receipt);
        item.receipt.cumulative_units = 10 * i;
        item.receipt.response_hash.data()[0] = static_cast<std::uint8_t>(i);
        item.signature = worker.sign(ledger::eth::digest(job.domain, item.receipt));
        lease.receipts.push_back(item);
    }
    return lease;
}

struct Case {
    Case() {
        job.domain = {31337, key_of(2).address()};
        job.job = domain::JobId::parse("job_00112233445566778899aabbccddeeff").value();
        job.spec = R"({"kind":"train"})";
        job.leases = {lease_of(job, 0, 3, worker), lease_of(job, 1, 0, worker)};
    }
    PrivateKey worker = key_of(1);
    JobEvidence job;
};

}  // namespace

TEST_CASE("job_evidence: texts that are none are refused") {
    const Case given;
    const std::string good = to_text(given.job);
    const std::string first = good.substr(0, good.find('\n'));
    for (const std::string& text :
         {std::string(), std::string("\n"), std::string("junk"), std::string("[]"), first + "\n{}",
          first + "\n\n", good + "{\"receipt\":{}}", good + std::string(300'000, ' '),
          "{\"more\":1," + good.substr(1)}) {
        CAPTURE(text.substr(0, 200));
        CHECK_FALSE(parse_job_evidence(text).has_value());
    }
    std::string other = good;
    other.replace(other.find("evidence\":1"), 11, "evidence\":2");
    CHECK(parse_job_evidence(other).error().code() == ErrorCode::unsupported);
}

TEST_CASE("job_evidence: whatever was changed after it was signed is found") {
    const auto refused = [](const std::function<void(Case&)>& change) {
        Case given;
        change(given);
        const auto parsed = parse_job_evidence(to_text(given.job));
        REQUIRE_FALSE(parsed.has_value());
        CHECK_MESSAGE(parsed.error().code() == ErrorCode::audit_failed, parsed.error().message());
        return parsed.error().detail();
    };
    const auto has = [](const std::string& text, const char* part) {
        CHECK_MESSAGE(text.find(part) != std::string::npos, text);
    };
    has(refused([](Case& c) { c.job.spec = R"({"kind":"other"})"; }), "spec");
    has(refused([](Case& c) { c.job.leases[0].resource.cpu_cores = 9; }), "machine");
    // Another order or place gives another lease.
    has(refused([](Case& c) { c.job.leases[0].ask.price_atoms = 9; }), "not of the lease");
    has(refused([](Case& c) { c.job.leases[0].bid.price_ceiling_atoms = 9; }), "not of the lease");
    has(refused([](Case& c) { c.job.leases[0].index = 7; }), "not of the lease");
    // Another contract, another worker's signature, another checkpoint.
    has(refused([](Case& c) { c.job.domain.chain_id = 1; }), "not signed");
    has(refused([](Case& c) { c.job.domain.contract = key_of(9).address(); }), "not signed");
    has(refused([](Case& c) { c.job.leases[0].receipts[2].receipt.response_hash = Hash32(); }),
        "not signed");
    has(refused([](Case& c) {
            auto& item = c.job.leases[0].receipts[0];
            item.signature = key_of(9).sign(ledger::eth::digest(c.job.domain, item.receipt));
        }),
        "not signed");
    // Receipts that are left out, come twice or stand under another lease.
    has(refused([](Case& c) { c.job.leases[0].receipts.erase(c.job.leases[0].receipts.begin()); }),
        "does not follow");
    has(refused([](Case& c) {
            auto& list = c.job.leases[0].receipts;
            list.push_back(list.back());
        }),
        "does not follow");
    has(refused([](Case& c) { std::swap(c.job.leases[0].receipts, c.job.leases[1].receipts); }),
        "not of the lease");
    has(refused([](Case& c) {
            auto& item = c.job.leases[0].receipts[2];
            item.receipt.cumulative_units = 20;
            item.signature = c.worker.sign(ledger::eth::digest(c.job.domain, item.receipt));
        }),
        "no work");
    Case given;
    std::string text = to_text(given.job);
    const auto lease = text.find("{\"ask\"");
    const auto receipt = text.find("{\"receipt\"");
    text.erase(lease, receipt - lease);
    has(parse_job_evidence(text).error().detail(), "before its lease");
}

TEST_CASE("job_evidence: what was signed comes back as it was") {
    const Case given;
    const auto parsed = parse_job_evidence(to_text(given.job));
    REQUIRE_MESSAGE(parsed.has_value(), parsed.error().message());
    CHECK(*parsed == given.job);
    CHECK(parsed->leases[0].id() == given.job.leases[0].receipts[0].receipt.lease);
    CHECK(parsed->leases[0].parties().worker == given.worker.address());
    // Receipts that are left out at the end are still a chain.
    JobEvidence cut = given.job;
    cut.leases[0].receipts.pop_back();
    CHECK(parse_job_evidence(to_text(cut)).has_value());
}
