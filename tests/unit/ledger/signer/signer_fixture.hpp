// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/hex.hpp"
#include "ledger/eth/abi.hpp"
#include "ledger/signer/service.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace tests {

using ledger::base::Address;
using ledger::base::Bytes;
using ledger::base::ErrorCode;
using ledger::base::Hash32;
using ledger::crypto::PrivateKey;
using namespace ledger::signer;  // NOLINT: the room under test

class FakeClock final : public ledger::base::Clock {
 public:
    [[nodiscard]] ledger::base::TimeMs now_ms() const override { return now; }
    ledger::base::TimeMs now = 100ULL * 86'400'000;
};

struct TempFolder {
    TempFolder() {
        static int count = 0;
        path = std::filesystem::temp_directory_path() /
               ("millrace-signer-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
        std::filesystem::create_directories(path);
    }
    ~TempFolder() { std::filesystem::remove_all(path); }
    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;
    std::filesystem::path path;
};

inline Address address_of(std::uint8_t number) {
    Address out;
    out.data()[19] = number;
    return out;
}
inline Hash32 hash_of(std::uint8_t number) {
    Hash32 out;
    out.data()[31] = number;
    return out;
}

/// A signer with an operator's and a delegate's key, whose service can be started again.
struct SignerFixture {
    SignerFixture() : market_operator(PrivateKey::generate()), delegate(PrivateKey::generate()) {
        const auto parsed = parse_policy(policy_text());
        REQUIRE_MESSAGE(parsed, parsed.error().message());
        policy = *parsed;
        policy.transactions_per_day = 3;
        policy.voucher_atoms_per_lease = 1000;
        policy.voucher_atoms_per_provider = 1500;
        policy.voucher_atoms_per_day = 1500;
        start();
    }

    [[nodiscard]] std::string policy_text() const {
        return make_policy_text({31337, leases, receipt_log, market_operator.address(),
                                 delegate.address(), 1000, 1200, 1500});
    }

    /// Like a new process on the same state folder.
    void start() {
        service.reset();
        auto log = SignatureLog::open(folder.path);
        REQUIRE_MESSAGE(log, log.error().message());
        std::vector<PrivateKey> keys;
        for (const PrivateKey* key : {&market_operator, &delegate})
            keys.push_back(PrivateKey::from_bytes(key->secret()).value());
        service = std::make_unique<SignerService>(std::move(keys), policy, std::move(*log), clock);
    }

    [[nodiscard]] SignVoucher voucher(std::uint64_t sequence, std::uint64_t amount,
                                      std::uint8_t lease = 1, std::uint8_t provider = 1) const {
        LeaseOrigin origin;
        origin.ask.provider = address_of(provider);
        origin.ask.reclaim_window_s = 7;
        origin.bid_hash = hash_of(lease);
        origin.index = 3;
        const Hash32 id = ledger::eth::lease_id(struct_hash(origin.ask), origin.bid_hash, 3);
        return {delegate.address(),
                {31337, leases},
                {id, sequence, amount, amount, hash_of(9)},
                origin};
    }
    [[nodiscard]] SignTreeHead head(std::uint64_t size, std::uint8_t root,
                                    std::uint64_t time_ms) const {
        return {market_operator.address(), {31337, receipt_log}, {size, hash_of(root), time_ms}};
    }
    [[nodiscard]] SignObjection objection() const {
        return {delegate.address(), {31337, leases}, {hash_of(1), hash_of(2)}};
    }
    [[nodiscard]] SignTransaction transaction(std::uint64_t nonce) const {
        SignTransaction request;
        request.from = market_operator.address();
        request.transaction.chain_id = 31337;
        request.transaction.nonce = nonce;
        request.transaction.max_fee_per_gas = 1'000'000'000;
        request.transaction.max_priority_fee_per_gas = 1;
        request.transaction.gas_limit = 1'000'000;
        request.transaction.to = receipt_log;
        const auto selector = ledger::eth::abi::selector(
            "anchor((uint64,bytes32,uint64),(uint64,bytes32,uint64),bytes,bytes32[])");
        request.transaction.data.assign(selector.begin(), selector.end());
        return request;
    }
    [[nodiscard]] ErrorCode code_of(const Request& request) {
        const auto answer = service->handle(request);
        REQUIRE(!answer);
        return answer.error().code();
    }

    TempFolder folder;
    FakeClock clock;
    PrivateKey market_operator;
    PrivateKey delegate;
    Address leases = address_of(0xa1);
    Address receipt_log = address_of(0xa2);
    Policy policy;
    std::unique_ptr<SignerService> service;
};

}  // namespace tests
