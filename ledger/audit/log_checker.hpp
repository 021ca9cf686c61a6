// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/audit/chain_facts.hpp"
#include "ledger/audit/log_source.hpp"
#include "ledger/audit/signature_checker.hpp"
#include "ledger/log/merkle_tree.hpp"

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ledger::audit::detail {

/// Walks the public log once: root at every anchored size, orders, receipts, vouchers, claims.
class LogChecker {
 public:
    LogChecker(rpc::Chain& chain, const settlement::Deployment& deployment, const ChainFacts& facts,
               AuditReport& report, unsigned threads);

    [[nodiscard]] base::Result<void> take(const LogRecord& record);
    /// After the last record.
    void finish();

 private:
    /// A lease as its receipts tell it.
    struct Track {
        const LeaseFacts* facts = nullptr;
        std::uint64_t sequence = 0;
        base::Hash32 previous;
        std::uint64_t units = 0;
        std::uint64_t amount_atoms = 0;
        log::CompactTree tree;
        std::size_t claims_met = 0;
        bool has_ask = false;
        bool has_bid = false;
        /// Totals after recent receipts, for vouchers that come a little late.
        struct Mark {
            std::uint64_t sequence, units, amount_atoms;
            base::Hash32 root;
        };
        std::deque<Mark> marks;
    };

    [[nodiscard]] base::Result<void> on(const PostedAsk& item);
    [[nodiscard]] base::Result<void> on(const PostedBid& item);
    [[nodiscard]] base::Result<void> on(const SignedReceipt& item);
    [[nodiscard]] base::Result<void> on(const SignedVoucher& item);
    void check_receipt(const eth::Receipt& receipt, const Track& track, const std::string& where);
    void meet_claims(Track& track, const std::string& where);
    /// Whether the account is a contract, whose signatures the chain judged when it opened.
    [[nodiscard]] base::Result<bool> is_contract(const base::Address& account);
    [[nodiscard]] base::Result<void> check_order_signature(const base::Hash32& message,
                                                           const base::Signature& signature,
                                                           const base::Address& owner,
                                                           const base::Address& delegate);
    [[nodiscard]] std::string here() const;

    rpc::Chain& chain_;
    const settlement::Deployment& deployment_;
    const ChainFacts& facts_;
    AuditReport& report_;
    Findings findings_;
    SignatureChecker signatures_;
    base::Hash32 separator_;
    log::CompactTree tree_;
    std::size_t heads_met_ = 0;
    std::vector<eth::TreeHead> heads_;  // by size
    std::unordered_map<base::Hash32, Track> tracks_;
    std::unordered_map<base::Address, bool> contracts_;  // answers of is_contract
    std::unordered_multimap<base::Hash32, Track*> by_ask_;
    std::unordered_multimap<base::Hash32, Track*> by_bid_;
};

}  // namespace ledger::audit::detail
