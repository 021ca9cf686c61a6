// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/log_checker.hpp"

#include "ledger/crypto/secp256k1.hpp"

#include <algorithm>
#include <string>
#include <variant>

namespace ledger::audit::detail {

using base::Address;
using base::Hash32;
using base::Result;

namespace {
constexpr std::size_t kMarks = 256;
}

LogChecker::LogChecker(rpc::Chain& chain, const settlement::Deployment& deployment,
                       const ChainFacts& facts, AuditReport& report, unsigned threads)
    : chain_(chain),
      deployment_(deployment),
      facts_(facts),
      report_(report),
      findings_(report),
      signatures_(findings_, threads),
      separator_(eth::domain_separator(deployment.leases_domain())),
      heads_(facts.heads) {
    std::sort(heads_.begin(), heads_.end(),
              [](const auto& a, const auto& b) { return a.size < b.size; });
    report_.records_anchored = heads_.empty() ? 0 : heads_.back().size;
    for (const auto& [id, lease] : facts_.leases) {
        Track& track = tracks_[id];
        track.facts = &lease;
        by_ask_.emplace(lease.opened.ask_hash, &track);
        by_bid_.emplace(lease.opened.bid_hash, &track);
    }
}

std::string LogChecker::here() const {
    return "record " + std::to_string(tree_.size() - 1);
}

Result<void> LogChecker::take(const LogRecord& record) {
    tree_.append_data(record.bytes);
    ++report_.records;
    for (; heads_met_ < heads_.size() && heads_[heads_met_].size <= tree_.size(); ++heads_met_) {
        ++report_.heads_checked;
        findings_.expect_equal(FindingCode::root_mismatch,
                               "log of " + std::to_string(tree_.size()) + " records", "root",
                               heads_[heads_met_].root, tree_.root());
    }
    if (!record.defect.empty()) findings_.add(FindingCode::record_invalid, here(), record.defect);
    for (const LogItem& item : record.items)
        TRY(std::visit([this](const auto& value) { return on(value); }, item));
    return {};
}

Result<bool> LogChecker::is_contract(const Address& account) {
    if (const auto known = contracts_.find(account); known != contracts_.end())
        return known->second;
    TRY_ASSIGN(const base::Bytes code, chain_.code(account, rpc::BlockTag::Name::kLatest));
    return contracts_.emplace(account, !code.empty()).first->second;
}

Result<void> LogChecker::check_order_signature(const Hash32& message,
                                               const base::Signature& signature,
                                               const Address& owner, const Address& delegate) {
    const auto signer = crypto::recover(eth::typed_digest(separator_, message), signature);
    if (signer && (*signer == owner || (!delegate.is_zero() && *signer == delegate))) return {};
    TRY_ASSIGN(const bool contract, is_contract(owner));
    if (!contract)
        findings_.add(FindingCode::order_signature, here(), "not signed by " + base::to_hex(owner));
    return {};
}

Result<void> LogChecker::on(const PostedAsk& item) {
    const Hash32 hash = eth::struct_hash(item.ask);
    ++report_.asks_checked;
    TRY(check_order_signature(hash, item.signature, item.ask.provider, Address()));
    const auto [begin, end] = by_ask_.equal_range(hash);
    for (auto place = begin; place != end; ++place) {
        Track& track = *place->second;
        track.has_ask = true;
        const settlement::LeaseOpened& lease = track.facts->opened;
        if (lease.price_atoms < item.ask.price_atoms)
            findings_.add(FindingCode::price_outside_limits, lease_text(lease.lease),
                          "below the ask of " + std::to_string(item.ask.price_atoms));
        if (lease.unit_kind != item.ask.unit_kind || lease.provider != item.ask.provider ||
            lease.max_units < item.ask.min_units || lease.max_units > item.ask.max_units)
            findings_.add(FindingCode::terms_outside_limits, lease_text(lease.lease), "of the ask");
    }
    return {};
}

Result<void> LogChecker::on(const PostedBid& item) {
    const Hash32 hash = eth::struct_hash(item.bid);
    ++report_.bids_checked;
    Address delegate;
    if (item.delegation) {
        TRY(check_order_signature(eth::struct_hash(*item.delegation), item.delegation_signature,
                                  item.bid.buyer, Address()));
        if ((item.delegation->scope & eth::kScopeOrders) != 0) delegate = item.delegation->delegate;
    }
    TRY(check_order_signature(hash, item.signature, item.bid.buyer, delegate));
    const auto [begin, end] = by_bid_.equal_range(hash);
    for (auto place = begin; place != end; ++place) {
        Track& track = *place->second;
        track.has_bid = true;
        const settlement::LeaseOpened& lease = track.facts->opened;
        if (lease.price_atoms > item.bid.price_ceiling_atoms)
            findings_.add(FindingCode::price_outside_limits, lease_text(lease.lease),
                          "above the ceiling of " + std::to_string(item.bid.price_ceiling_atoms));
        if (lease.unit_kind != item.bid.unit_kind || lease.buyer != item.bid.buyer ||
            lease.locked_atoms > item.bid.max_amount_atoms)
            findings_.add(FindingCode::terms_outside_limits, lease_text(lease.lease), "of the bid");
    }
    return {};
}

void LogChecker::check_receipt(const eth::Receipt& receipt, const Track& track,
                               const std::string& where) {
    const settlement::LeaseOpened& lease = track.facts->opened;
    if (receipt.unit_kind != lease.unit_kind || receipt.price_atoms != lease.price_atoms)
        findings_.add(FindingCode::receipt_terms, where, "not those of the lease");
    const auto amount =
        eth::amount_for(lease.unit_kind, receipt.cumulative_units, lease.price_atoms);
    if (!amount || *amount != receipt.cumulative_amount_atoms)
        findings_.add(FindingCode::receipt_amount, where,
                      "expected " + (amount ? std::to_string(*amount) : "less") + ", found " +
                          std::to_string(receipt.cumulative_amount_atoms));
    if (receipt.cumulative_amount_atoms > lease.locked_atoms)
        findings_.add(FindingCode::receipt_above_lock, where,
                      std::to_string(receipt.cumulative_amount_atoms) + " of " +
                          std::to_string(lease.locked_atoms));
    if (receipt.sequence == track.sequence && track.sequence != 0)
        findings_.add(FindingCode::receipt_equivocation, where,
                      "sequence " + std::to_string(receipt.sequence) + " again");
    else if (receipt.sequence != track.sequence + 1 || receipt.previous != track.previous ||
             receipt.cumulative_units < track.units || receipt.end_ms < receipt.start_ms)
        findings_.add(FindingCode::receipt_chain, where,
                      "sequence " + std::to_string(receipt.sequence) + " after " +
                          std::to_string(track.sequence));
}

Result<void> LogChecker::on(const SignedReceipt& item) {
    const eth::Receipt& receipt = item.receipt;
    const auto found = tracks_.find(receipt.lease);
    if (found == tracks_.end()) {
        // Beyond the last anchored record the lease may be newer than the block we read up to.
        if (tree_.size() <= report_.records_anchored)
            findings_.add(FindingCode::receipt_without_lease, here(), lease_text(receipt.lease));
        return {};
    }
    ++report_.receipts_checked;
    Track& track = found->second;
    const std::string where = here();
    check_receipt(receipt, track, where);
    const Hash32 hash = eth::struct_hash(receipt);
    signatures_.add(eth::typed_digest(separator_, hash), item.signature,
                    track.facts->opened.worker_key, FindingCode::receipt_signature, where);
    track.sequence = receipt.sequence;
    track.previous = hash;
    track.units = receipt.cumulative_units;
    track.amount_atoms = receipt.cumulative_amount_atoms;
    track.tree.append_data(hash.span());
    meet_claims(track, where);
    if (track.marks.size() == kMarks) track.marks.pop_front();
    track.marks.push_back({track.sequence, track.units, track.amount_atoms, track.tree.root()});
    return {};
}

/// Compares the claim the chain paid at this sequence with what the receipts say.
void LogChecker::meet_claims(Track& track, const std::string& where) {
    const auto& claims = track.facts->claims;
    for (; track.claims_met < claims.size(); ++track.claims_met) {
        const settlement::Claimed& claim = claims[track.claims_met];
        if (claim.sequence > track.sequence) return;
        if (claim.sequence == track.sequence && claim.cumulative_units == track.units &&
            claim.cumulative_amount_atoms == track.amount_atoms &&
            claim.receipts_root == track.tree.root())
            continue;
        findings_.add(FindingCode::claim_mismatch, lease_text(claim.lease),
                      "claim at sequence " + std::to_string(claim.sequence) + ", " + where);
    }
}

Result<void> LogChecker::on(const SignedVoucher& item) {
    const eth::Voucher& voucher = item.voucher;
    const auto found = tracks_.find(voucher.lease);
    if (found == tracks_.end()) return {};
    ++report_.vouchers_checked;
    const Track& track = found->second;
    const settlement::LeaseOpened& lease = track.facts->opened;
    const Hash32 digest = eth::typed_digest(separator_, eth::struct_hash(voucher));
    signatures_.add(digest, item.worker_signature, lease.worker_key, FindingCode::voucher_signature,
                    here());
    TRY_ASSIGN(const bool contract, lease.voucher_signer == lease.buyer ? is_contract(lease.buyer)
                                                                        : Result<bool>(false));
    if (!contract)
        signatures_.add(digest, item.buyer_signature, lease.voucher_signer,
                        FindingCode::voucher_signature, here());
    const auto mark =
        std::find_if(track.marks.rbegin(), track.marks.rend(),
                     [&](const Track::Mark& m) { return m.sequence == voucher.sequence; });
    const bool too_old = !track.marks.empty() && voucher.sequence < track.marks.front().sequence &&
                         track.marks.size() == kMarks;
    if (mark == track.marks.rend()) {
        if (!too_old)
            findings_.add(FindingCode::voucher_mismatch, here(),
                          "no receipt of sequence " + std::to_string(voucher.sequence));
        return {};
    }
    if (mark->units != voucher.cumulative_units ||
        mark->amount_atoms != voucher.cumulative_amount_atoms ||
        mark->root != voucher.receipts_root)
        findings_.add(FindingCode::voucher_mismatch, here(),
                      "at sequence " + std::to_string(voucher.sequence));
    return {};
}

void LogChecker::finish() {
    signatures_.finish();
    for (; heads_met_ < heads_.size(); ++heads_met_)
        findings_.add(FindingCode::log_too_short,
                      "log of " + std::to_string(tree_.size()) + " records",
                      std::to_string(heads_[heads_met_].size) + " were anchored");
    for (const auto& [id, track] : tracks_) {
        if (!track.has_ask || !track.has_bid)
            findings_.add(FindingCode::order_missing, lease_text(id),
                          track.has_ask ? "its bid" : "its ask");
        const auto& claims = track.facts->claims;
        if (track.claims_met < claims.size())
            findings_.add(FindingCode::claim_without_receipts, lease_text(id),
                          "paid up to sequence " + std::to_string(claims.back().sequence) +
                              ", the log ends at " + std::to_string(track.sequence));
    }
}

}  // namespace ledger::audit::detail
