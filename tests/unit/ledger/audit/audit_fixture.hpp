// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/audit/audit.hpp"
#include "tests/support/fake_market.hpp"

#include <doctest/doctest.h>

#include <set>
#include <variant>

namespace tests {

using namespace ledger::audit;  // NOLINT: the room under test
using ledger::base::Address;
using ledger::base::Bytes;
using ledger::base::ErrorCode;
using ledger::base::Hash32;
using support::FakeMarket;

class MemoryLog final : public LogSource {
 public:
    explicit MemoryLog(std::vector<LogRecord> records) : records_(std::move(records)) {}
    ledger::base::Result<std::optional<LogRecord>> next() override {
        if (at_ == records_.size()) return std::nullopt;
        return records_[at_++];
    }

 private:
    std::vector<LogRecord> records_;
    std::size_t at_ = 0;
};

/// Two leases, worked, paid and closed, of 10 and 4 receipts; a second, idle depositor. Blocks: 2
/// and 3 deposits, 4 and 5 opened, 6 anchor, 7 and 8 claims of the first, 9 of the second, 10 close
/// of the first, 11 sweep, 12 to 14 withdrawals, 15 anchor.
struct Market {
    FakeMarket chain;
    std::vector<LogRecord> log;
    ledger::log::MerkleTree tree;
    std::vector<FakeMarket::Lease> leases;
    Address idle = FakeMarket::key(9).address();

    Market() {
        chain.deposit(chain.buyer.address(), 100'000);
        chain.deposit(idle, 500);
        open(1000, 20);
        open(700, 8);
        chain.anchor(tree.size(), tree.root());
        work(0, 6);
        chain.claim(leases[0]);
        work(0, 4);
        chain.claim(leases[0]);
        work(1, 4);
        chain.claim(leases[1]);
        chain.close(leases[0]);
        chain.sweep(chain.provider.address());
        chain.request_withdraw(idle, 300);
        chain.cancel_withdraw(idle);
        chain.request_withdraw(idle, 200);
        chain.withdraw(idle);
        chain.anchor(tree.size(), tree.root());
    }

    void open(std::uint64_t price, std::uint64_t units) {
        auto [ask, bid] = chain.make_orders(leases.size(), price, units);
        leases.push_back(chain.open(ask.ask, bid.bid));
        append(ask);
        append(bid);
    }
    /// Receipts and the voucher over them.
    void work(std::size_t lease, std::uint64_t count) {
        for (const SignedReceipt& receipt : chain.work(leases[lease], count))
            append(receipt);
        append(chain.make_voucher(leases[lease]));
    }
    void append(LogItem item) {
        Bytes bytes(8);
        bytes[0] = static_cast<std::uint8_t>(log.size());
        tree.append_data(bytes);
        log.push_back({std::move(bytes), {std::move(item)}, ""});
    }

    ledger::base::Result<AuditReport> audit(const AuditOptions& options = {}) {
        MemoryLog source(log);
        return ledger::audit::audit(chain, source, chain.deployment, options);
    }
    AuditReport audited(const AuditOptions& options = {}) {
        auto report = audit(options);
        REQUIRE_MESSAGE(report, report.error().message());
        return std::move(*report);
    }
    /// The only codes found; empty when all is well.
    std::set<FindingCode> found(const AuditOptions& options = {}) {
        std::set<FindingCode> codes;
        for (const Finding& finding : audited(options).findings)
            codes.insert(finding.code);
        return codes;
    }
    template <typename Item>
    Item& item(std::size_t record) {
        return std::get<Item>(log.at(record).items.at(0));
    }
    /// The n-th event with this name.
    ledger::rpc::LogEntry& event(std::string_view signature, std::size_t n = 0) {
        const Hash32 topic = ledger::eth::abi::event_topic(signature);
        for (auto& entry : chain.events)
            if (entry.topics[0] == topic && n-- == 0) return entry;
        FAIL("no such event");
        return chain.events.front();
    }
};

inline void add(Bytes& data, std::size_t slot, int change) {
    data.at(slot * 32 + 31) = static_cast<std::uint8_t>(data[slot * 32 + 31] + change);
}

}  // namespace tests
