// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/audit/chain_facts.hpp"
#include "ledger/audit/log_source.hpp"
#include "ledger/crypto/verifier.hpp"
#include "ledger/log/merkle_tree.hpp"

#include <cstdint>
#include <future>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ledger::audit::detail {

/// Walks the public log once: root at every anchored size, orders, receipts, vouchers, claims.
/// Records are gathered in batches: while one is read, the hashes and signatures of the one before
/// are checked on all cores, and of the one before that the order is followed. At most three
/// batches are in memory.
class LogChecker {
 public:
    LogChecker(rpc::Chain& chain, const settlement::Deployment& deployment, ChainFacts& facts,
               AuditReport& report, unsigned threads);
    ~LogChecker();
    LogChecker(const LogChecker&) = delete;
    LogChecker& operator=(const LogChecker&) = delete;

    [[nodiscard]] base::Result<void> take(LogRecord record);
    /// After the last record.
    [[nodiscard]] base::Result<void> finish();

 private:
    /// A lease as its receipts tell it.
    struct Track {
        AuditedLease* lease = nullptr;
        std::uint64_t sequence = 0;
        base::Hash32 previous;
        std::uint64_t units = 0;
        std::uint64_t amount_atoms = 0;
        log::CompactTree tree;
        std::size_t claims_met = 0;
        /// Recent receipts, for vouchers that come a little late.
        struct Mark {
            std::uint64_t sequence = 0, units = 0, amount_atoms = 0;
            base::Hash32 leaf;
        };
        std::vector<Mark> marks;
        Mark before;  ///< the receipt before the first mark, and the tree up to it
        log::CompactTree tree_before;
        /// Drops the first marks.
        void forget(std::size_t count);
    };
    /// What the threads found out about one item.
    struct CheckedItem {
        base::Hash32 hash;  ///< struct hash
        Track* track = nullptr;
        bool worker_signed = true;
        bool buyer_signed = true;
    };
    struct CheckedRecord {
        LogRecord record;
        base::Hash32 leaf;
        std::vector<CheckedItem> items;
    };
    using Batch = std::vector<CheckedRecord>;

    void start_batch();
    void wait();
    void check(CheckedRecord& record, crypto::Verifier& verifier);
    void check(const SignedReceipt& item, CheckedItem& out, crypto::Verifier& verifier);
    void check(const EquivocalReceipt& item, CheckedItem& out, crypto::Verifier& verifier) {
        check(item.other, out, verifier);
    }
    void check(const SignedVoucher& item, CheckedItem& out, crypto::Verifier& verifier);
    template <typename Order>
    void check(const Order& /*item*/, CheckedItem& /*out*/, crypto::Verifier& /*verifier*/) {}

    [[nodiscard]] base::Result<void> follow(Batch& batch);
    [[nodiscard]] base::Result<void> on(const PostedAsk& item, const CheckedItem& checked);
    [[nodiscard]] base::Result<void> on(const PostedBid& item, const CheckedItem& checked);
    [[nodiscard]] base::Result<void> on(const SignedReceipt& item, const CheckedItem& checked);
    [[nodiscard]] base::Result<void> on(const EquivocalReceipt& item, const CheckedItem& checked);
    [[nodiscard]] base::Result<void> on(const SignedVoucher& item, const CheckedItem& checked);
    void check_receipt(const eth::Receipt& receipt, Track& track);
    void check_totals(const eth::Voucher& voucher, Track& track);
    void meet_claims(Track& track);
    void meet_lone_claims(const Track& track);
    /// Whether the account is a contract, whose signatures the chain judged when it opened.
    [[nodiscard]] base::Result<bool> is_contract(const base::Address& account);
    [[nodiscard]] base::Result<void> check_order_signature(const base::Hash32& message,
                                                           const base::Signature& signature,
                                                           const base::Address& owner,
                                                           const base::Address& delegate,
                                                           bool reported);
    [[nodiscard]] std::string here() const;

    rpc::Chain& chain_;
    AuditReport& report_;
    Findings findings_;
    std::vector<crypto::Verifier> verifiers_;  // one per thread
    bool reports_all_;                         // orders without leases, too
    base::Hash32 separator_;
    log::CompactTree tree_;
    std::size_t heads_met_ = 0;
    std::vector<eth::TreeHead> heads_;  // by size
    std::unordered_map<base::Hash32, Track> tracks_;
    std::unordered_map<base::Address, bool> contracts_;  // answers of is_contract
    std::unordered_multimap<base::Hash32, Track*> by_ask_;
    std::unordered_multimap<base::Hash32, Track*> by_bid_;
    Batch filling_;
    Batch running_;
    std::vector<std::future<void>> workers_;
};

}  // namespace ledger::audit::detail
