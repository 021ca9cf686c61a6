// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/log_checker.hpp"

#include "ledger/base/cpu_count.hpp"
#include "ledger/crypto/secp256k1.hpp"

#include <algorithm>
#include <atomic>
#include <string>
#include <variant>

namespace ledger::audit::detail {

using base::Address;
using base::Hash32;
using base::Result;

namespace {
constexpr std::size_t kMarks = 256;   // receipts of a lease that a voucher may lag behind
constexpr std::size_t kBatch = 4096;  // records
constexpr std::size_t kShare = 32;    // of a batch that a thread takes at a time
}  // namespace

LogChecker::LogChecker(rpc::Chain& chain, const settlement::Deployment& deployment,
                       ChainFacts& facts, AuditReport& report, unsigned threads)
    : chain_(chain),
      report_(report),
      findings_(report),
      verifiers_(threads != 0 ? threads : base::cpu_count()),
      reports_all_(!report.lease && !report.account && report.from_block == deployment.block),
      separator_(eth::domain_separator(deployment.leases_domain())),
      heads_(facts.heads) {
    std::sort(heads_.begin(), heads_.end(),
              [](const auto& a, const auto& b) { return a.size < b.size; });
    report_.records_anchored = heads_.empty() ? 0 : heads_.back().size;
    tracks_.reserve(facts.leases.size());
    for (AuditedLease& lease : facts.leases) {
        Track& track = tracks_[lease.opened.lease];
        track.lease = &lease;
        by_ask_.emplace(lease.opened.ask_hash, &track);
        by_bid_.emplace(lease.opened.bid_hash, &track);
    }
    filling_.reserve(kBatch);
    running_.reserve(kBatch);
}

LogChecker::~LogChecker() {
    for (auto& worker : workers_)
        if (worker.valid()) worker.wait();
}

std::string LogChecker::here() const {
    return "record " + std::to_string(tree_.size() - 1);
}

// ---- on all cores -------------------------------------------------------------------------------

void LogChecker::check(const SignedReceipt& item, CheckedItem& out, crypto::Verifier& verifier) {
    out.hash = eth::struct_hash(item.receipt);
    const auto found = tracks_.find(item.receipt.lease);
    if (found == tracks_.end()) return;
    out.track = &found->second;
    out.worker_signed = verifier.verify(eth::typed_digest(separator_, out.hash), item.signature,
                                        out.track->lease->opened.worker_key);
}

void LogChecker::check(const SignedVoucher& item, CheckedItem& out, crypto::Verifier& verifier) {
    const auto found = tracks_.find(item.voucher.lease);
    if (found == tracks_.end()) return;
    out.track = &found->second;
    const settlement::LeaseOpened& lease = out.track->lease->opened;
    const Hash32 digest = eth::typed_digest(separator_, eth::struct_hash(item.voucher));
    out.worker_signed = verifier.verify(digest, item.worker_signature, lease.worker_key);
    out.buyer_signed = verifier.verify(digest, item.buyer_signature, lease.voucher_signer);
}

void LogChecker::check(CheckedRecord& record, crypto::Verifier& verifier) {
    record.leaf = log::leaf_hash(record.record.bytes);
    record.items.resize(record.record.items.size());
    for (std::size_t i = 0; i < record.items.size(); ++i)
        std::visit([&](const auto& item) { check(item, record.items[i], verifier); },
                   record.record.items[i]);
}

void LogChecker::start_batch() {
    running_.swap(filling_);
    filling_.clear();
    const auto next = std::make_shared<std::atomic<std::size_t>>(0);
    if (running_.empty()) return;
    for (crypto::Verifier& verifier : verifiers_)
        workers_.push_back(std::async(std::launch::async, [this, next, &verifier] {
            while (true) {
                const std::size_t begin = next->fetch_add(kShare);
                if (begin >= running_.size()) return;
                const std::size_t end = std::min(begin + kShare, running_.size());
                for (std::size_t at = begin; at < end; ++at)
                    check(running_[at], verifier);
            }
        }));
}

void LogChecker::wait() {
    for (auto& worker : workers_)
        worker.get();
    workers_.clear();
}

Result<void> LogChecker::take(LogRecord record) {
    filling_.push_back({std::move(record), {}, {}});
    if (filling_.size() < kBatch) return {};
    wait();
    Batch checked;
    checked.swap(running_);
    start_batch();
    return follow(checked);
}

// ---- in the order of the log --------------------------------------------------------------------

Result<void> LogChecker::follow(Batch& batch) {
    for (const CheckedRecord& checked : batch) {
        tree_.append(checked.leaf);
        ++report_.records;
        for (; heads_met_ < heads_.size() && heads_[heads_met_].size <= tree_.size();
             ++heads_met_) {
            ++report_.heads_checked;
            findings_.expect_equal(FindingCode::root_mismatch,
                                   "log of " + std::to_string(tree_.size()) + " records", "root",
                                   heads_[heads_met_].root, tree_.root());
        }
        if (!checked.record.defect.empty())
            findings_.add(FindingCode::record_invalid, here(), checked.record.defect);
        for (std::size_t i = 0; i < checked.items.size(); ++i)
            TRY(std::visit([&](const auto& item) { return on(item, checked.items[i]); },
                           checked.record.items[i]));
    }
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
                                               const Address& owner, const Address& delegate,
                                               bool reported) {
    if (!reported) return {};
    const auto signer = crypto::recover(eth::typed_digest(separator_, message), signature);
    if (signer && (*signer == owner || (!delegate.is_zero() && *signer == delegate))) return {};
    TRY_ASSIGN(const bool contract, is_contract(owner));
    if (!contract)
        findings_.add(FindingCode::order_signature, here(), "not signed by " + base::to_hex(owner));
    return {};
}

Result<void> LogChecker::on(const PostedAsk& item, const CheckedItem& /*checked*/) {
    const Hash32 hash = eth::struct_hash(item.ask);
    bool reported = reports_all_;
    const auto [begin, end] = by_ask_.equal_range(hash);
    for (auto place = begin; place != end; ++place) {
        AuditedLease& lease = *place->second->lease;
        reported |= lease.selected;
        if (!lease.ask_record) lease.ask_record = tree_.size() - 1;
        const settlement::LeaseOpened& opened = lease.opened;
        if (opened.price_atoms < item.ask.price_atoms)
            findings_.add(lease, FindingCode::price_outside_limits, lease_text(opened.lease),
                          "below the ask of " + std::to_string(item.ask.price_atoms));
        if (opened.unit_kind != item.ask.unit_kind || opened.provider != item.ask.provider ||
            opened.max_units < item.ask.min_units || opened.max_units > item.ask.max_units)
            findings_.add(lease, FindingCode::terms_outside_limits, lease_text(opened.lease),
                          "of the ask");
    }
    if (reported) ++report_.asks_checked;
    return check_order_signature(hash, item.signature, item.ask.provider, Address(), reported);
}

Result<void> LogChecker::on(const PostedBid& item, const CheckedItem& /*checked*/) {
    const Hash32 hash = eth::struct_hash(item.bid);
    bool reported = reports_all_;
    const auto [begin, end] = by_bid_.equal_range(hash);
    for (auto place = begin; place != end; ++place) {
        AuditedLease& lease = *place->second->lease;
        reported |= lease.selected;
        if (!lease.bid_record) lease.bid_record = tree_.size() - 1;
        const settlement::LeaseOpened& opened = lease.opened;
        if (opened.price_atoms > item.bid.price_ceiling_atoms)
            findings_.add(lease, FindingCode::price_outside_limits, lease_text(opened.lease),
                          "above the ceiling of " + std::to_string(item.bid.price_ceiling_atoms));
        if (opened.unit_kind != item.bid.unit_kind || opened.buyer != item.bid.buyer ||
            opened.locked_atoms > item.bid.max_amount_atoms)
            findings_.add(lease, FindingCode::terms_outside_limits, lease_text(opened.lease),
                          "of the bid");
    }
    if (reported) ++report_.bids_checked;
    Address delegate;
    if (item.delegation) {
        TRY(check_order_signature(eth::struct_hash(*item.delegation), item.delegation_signature,
                                  item.bid.buyer, Address(), reported));
        if ((item.delegation->scope & eth::kScopeOrders) != 0) delegate = item.delegation->delegate;
    }
    return check_order_signature(hash, item.signature, item.bid.buyer, delegate, reported);
}

void LogChecker::check_receipt(const eth::Receipt& receipt, Track& track) {
    AuditedLease& lease = *track.lease;
    const settlement::LeaseOpened& opened = lease.opened;
    const auto wrong = [&](FindingCode code, std::string detail) {
        if (lease.reports(receipt.sequence)) findings_.add(lease, code, here(), std::move(detail));
    };
    if (receipt.unit_kind != opened.unit_kind || receipt.price_atoms != opened.price_atoms)
        wrong(FindingCode::receipt_terms, "not those of the lease");
    const auto amount =
        eth::amount_for(opened.unit_kind, receipt.cumulative_units, opened.price_atoms);
    if (!amount || *amount != receipt.cumulative_amount_atoms)
        wrong(FindingCode::receipt_amount,
              "expected " + (amount ? std::to_string(*amount) : "less") + ", found " +
                  std::to_string(receipt.cumulative_amount_atoms));
    if (receipt.cumulative_amount_atoms > opened.locked_atoms)
        wrong(FindingCode::receipt_above_lock, std::to_string(receipt.cumulative_amount_atoms) +
                                                   " of " + std::to_string(opened.locked_atoms));
    if (receipt.sequence == track.sequence && track.sequence != 0)
        wrong(FindingCode::receipt_equivocation,
              "sequence " + std::to_string(receipt.sequence) + " again");
    else if (receipt.sequence != track.sequence + 1 || receipt.previous != track.previous ||
             receipt.cumulative_units < track.units || receipt.end_ms < receipt.start_ms)
        wrong(FindingCode::receipt_chain, "sequence " + std::to_string(receipt.sequence) +
                                              " after " + std::to_string(track.sequence));
}

Result<void> LogChecker::on(const SignedReceipt& item, const CheckedItem& checked) {
    const eth::Receipt& receipt = item.receipt;
    if (checked.track == nullptr) {
        // Beyond the last anchored record the lease may be newer than the block we read up to.
        if (tree_.size() <= report_.records_anchored && !report_.lease && !report_.account)
            findings_.add(FindingCode::receipt_without_lease, here(), lease_text(receipt.lease));
        return {};
    }
    Track& track = *checked.track;
    AuditedLease& lease = *track.lease;
    if (lease.reports(receipt.sequence)) ++report_.receipts_checked;
    if (!lease.first_receipt_record) lease.first_receipt_record = tree_.size() - 1;
    lease.last_receipt_record = tree_.size() - 1;
    ++lease.receipts;
    check_receipt(receipt, track);
    if (!checked.worker_signed && lease.reports(receipt.sequence))
        findings_.add(lease, FindingCode::receipt_signature, here(),
                      "not signed by " + base::to_hex(lease.opened.worker_key));
    track.sequence = receipt.sequence;
    track.previous = checked.hash;
    track.units = receipt.cumulative_units;
    track.amount_atoms = receipt.cumulative_amount_atoms;
    const Hash32 leaf = log::leaf_hash(checked.hash.span());
    track.tree.append(leaf);
    meet_claims(track);
    if (lease.has_lone_claims) meet_lone_claims(track);
    if (track.marks.size() == 2 * kMarks) track.forget(kMarks);
    track.marks.push_back({track.sequence, track.units, track.amount_atoms, leaf});
    return {};
}

/// Evidence against a worker; the payments are none the worse for it.
Result<void> LogChecker::on(const EquivocalReceipt& item, const CheckedItem& checked) {
    if (checked.track == nullptr) return {};
    AuditedLease& lease = *checked.track->lease;
    const std::uint64_t sequence = item.other.receipt.sequence;
    if (!lease.reports(sequence)) return {};
    if (!checked.worker_signed || sequence == 0 || sequence > checked.track->sequence) {
        findings_.add(lease, FindingCode::receipt_equivocation, here(),
                      "says that sequence " + std::to_string(sequence) + " was signed twice");
        return {};
    }
    report_.equivocations.push_back({lease.opened.lease, sequence, tree_.size() - 1});
    return {};
}

/// Compares the claim the chain paid at this sequence with what the receipts say.
void LogChecker::meet_claims(Track& track) {
    AuditedLease& lease = *track.lease;
    for (; track.claims_met < lease.claims.size(); ++track.claims_met) {
        const auto& [claim, at, is_lone] = lease.claims[track.claims_met];
        if (is_lone) continue;
        if (claim.sequence > track.sequence) return;
        if (claim.sequence == track.sequence && claim.cumulative_units == track.units &&
            claim.cumulative_amount_atoms == track.amount_atoms &&
            claim.receipts_root == track.tree.root())
            continue;
        if (lease.reports(claim.sequence))
            findings_.add(lease, FindingCode::claim_mismatch, lease_text(claim.lease),
                          "claim at sequence " + std::to_string(claim.sequence) + ", " + here());
    }
}

/// A worker that was paid by its receipt alone may never have handed it in; when it did, it is
/// this.
void LogChecker::meet_lone_claims(const Track& track) {
    AuditedLease& lease = *track.lease;
    for (const auto& [claim, at, is_lone] : lease.claims) {
        if (!is_lone || claim.sequence != track.sequence) continue;
        if (claim.receipts_root != track.previous && lease.reports(claim.sequence))
            findings_.add(lease, FindingCode::claim_mismatch, lease_text(claim.lease),
                          "paid by another receipt of sequence " + std::to_string(claim.sequence) +
                              ", " + here());
    }
}

void LogChecker::Track::forget(std::size_t count) {
    if (count == 0) return;
    for (std::size_t i = 0; i < count; ++i)
        tree_before.append(marks[i].leaf);
    before = marks[count - 1];
    marks.erase(marks.begin(), marks.begin() + static_cast<std::ptrdiff_t>(count));
}

/// Against the receipt the voucher names. Only the highest voucher matters: what lies before it is
/// forgotten, and so is what lies too far back.
void LogChecker::check_totals(const eth::Voucher& voucher, Track& track) {
    const auto mark = std::find_if(track.marks.rbegin(), track.marks.rend(),
                                   [&](const auto& m) { return m.sequence == voucher.sequence; });
    track.forget(static_cast<std::size_t>(track.marks.rend() - mark));
    const Track::Mark& met = track.before;
    const bool known = voucher.sequence != 0 && voucher.sequence == met.sequence;
    if (known ? met.units == voucher.cumulative_units &&
                    met.amount_atoms == voucher.cumulative_amount_atoms &&
                    track.tree_before.root() == voucher.receipts_root
              : voucher.sequence != 0 && voucher.sequence < met.sequence)
        return;
    findings_.add(
        *track.lease, FindingCode::voucher_mismatch, here(),
        (known ? "at sequence " : "no receipt of sequence ") + std::to_string(voucher.sequence));
}

Result<void> LogChecker::on(const SignedVoucher& item, const CheckedItem& checked) {
    if (checked.track == nullptr) return {};
    Track& track = *checked.track;
    AuditedLease& lease = *track.lease;
    ++lease.vouchers;
    if (!lease.reports(item.voucher.sequence)) return {};
    ++report_.vouchers_checked;
    const settlement::LeaseOpened& opened = lease.opened;
    const auto unsigned_by = [&](const Address& signer) {
        findings_.add(lease, FindingCode::voucher_signature, here(),
                      "not signed by " + base::to_hex(signer));
    };
    if (!checked.worker_signed) unsigned_by(opened.worker_key);
    if (!checked.buyer_signed) {
        TRY_ASSIGN(const bool contract, opened.voucher_signer == opened.buyer
                                            ? is_contract(opened.buyer)
                                            : Result<bool>(false));
        if (!contract) unsigned_by(opened.voucher_signer);
    }
    check_totals(item.voucher, track);
    return {};
}

Result<void> LogChecker::finish() {
    wait();
    TRY(follow(running_));
    start_batch();
    wait();
    TRY(follow(running_));
    for (; heads_met_ < heads_.size(); ++heads_met_)
        findings_.add(FindingCode::log_too_short,
                      "log of " + std::to_string(tree_.size()) + " records",
                      std::to_string(heads_[heads_met_].size) + " were anchored");
    for (auto& [id, track] : tracks_) {
        AuditedLease& lease = *track.lease;
        if (!lease.ask_record || !lease.bid_record)
            findings_.add(lease, FindingCode::order_missing, lease_text(id),
                          lease.ask_record ? "its bid" : "its ask");
        while (track.claims_met < lease.claims.size() && lease.claims[track.claims_met].is_lone)
            ++track.claims_met;
        if (track.claims_met < lease.claims.size())
            findings_.add(lease, FindingCode::claim_without_receipts, lease_text(id),
                          "paid up to sequence " +
                              std::to_string(lease.claims.back().event.sequence) +
                              ", the log ends at " + std::to_string(track.sequence));
    }
    return {};
}

}  // namespace ledger::audit::detail
