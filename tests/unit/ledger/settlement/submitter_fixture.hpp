// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/settlement/submitter.hpp"
#include "tests/support/fake_chain.hpp"

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tests {

using namespace ledger::settlement;  // NOLINT: the room under test
using support::Bytes;
using support::Error;
using support::ErrorCode;
using support::FakeChain;
using Kind = SubmitterEvent::Kind;

class FakeClock final : public ledger::base::Clock {
 public:
    [[nodiscard]] ledger::base::TimeMs now_ms() const override { return now; }
    ledger::base::TimeMs now = 1'000'000;
};

/// Signing is deterministic: each transaction is signed once per test run.
class CachingSigner final : public TransactionSigner {
 public:
    explicit CachingSigner(const ledger::crypto::PrivateKey& key) : local_(key) {}
    [[nodiscard]] support::Address address() const override { return local_.address(); }
    support::Result<Bytes> sign(const ledger::eth::Transaction& transaction) override {
        if (broken) return ledger::base::fail(ErrorCode::unavailable, "signer down");
        const auto digest = ledger::eth::signing_digest(transaction);
        auto found = cache_.find(digest);
        if (found == cache_.end())
            found = cache_.emplace(digest, local_.sign(transaction).value()).first;
        Bytes raw = found->second;
        if (tamper) raw = local_.sign(other(transaction)).value();
        return raw;
    }
    bool broken = false;
    bool tamper = false;

 private:
    static ledger::eth::Transaction other(ledger::eth::Transaction transaction) {
        transaction.value += 1;
        return transaction;
    }
    LocalTransactionSigner local_;
    std::map<support::Hash32, Bytes> cache_;
};

inline const ledger::crypto::PrivateKey& test_key() {
    static const auto key = ledger::crypto::PrivateKey::generate();
    return key;
}
inline CachingSigner& test_signer() {
    static CachingSigner signer(test_key());
    return signer;
}

inline Instruction instruction(const std::string& id) {
    Instruction out;
    out.id = id;
    out.kind = "claim";
    out.to.data()[19] = 5;
    const auto bytes = ledger::base::as_bytes(id);
    out.data.assign(bytes.begin(), bytes.end());
    return out;
}

/// A submitter that can be crashed: the store and the chain live on.
struct SubmitterFixture {
    SubmitterFixture() {
        options.chain_id = 31337;
        options.finality_depth = 2;
        make();
    }
    void make() {
        submitter = std::make_unique<Submitter>(chain, test_signer(), store, clock, options);
    }
    void restart() {
        make();
        REQUIRE(submitter->start());
    }
    std::size_t poll_count(Kind kind) {
        const auto events = submitter->poll();
        REQUIRE(events);
        std::size_t count = 0;
        for (const auto& event : *events)
            count += event.kind == kind ? 1U : 0U;
        return count;
    }

    FakeChain chain;
    MemoryTransactionStore store;
    FakeClock clock;
    SubmitterOptions options;
    std::unique_ptr<Submitter> submitter;
};

}  // namespace tests
