// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/upto_book.hpp"

#include "ledger/base/check.hpp"

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

namespace marketplace::app {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using storage::Database;
using storage::UptoRow;
using storage::UptoState;
using storage::UptoStore;

Result<void> UptoBook::load(std::uint64_t now_s) {
    auto rows = std::make_shared<std::vector<UptoRow>>();
    TRY(engine_.transact({}, [rows](Database& db) -> Result<void> {
        UptoStore store(db);
        if (auto marked = store.mark_paid(); !marked) return marked;
        if (auto freed = store.free_unanswered(); !freed) return freed;
        TRY_ASSIGN(*rows, store.unsettled());
        return {};
    }));
    for (UptoRow& row : *rows) {
        const domain::Hash32 name = row.name;
        entries_[name].row = std::move(row);
    }
    return forget(now_s);
}

Result<void> UptoBook::check(const api::UptoPayment& payment) const {
    const domain::Hash32 name = api::name_of(payment);
    const domain::Address& payer = payment.permit.payer;
    std::optional<UptoRow> known;
    std::uint64_t unpaid = 0;
    TRY(reads_.with([&](Database& db) -> Result<void> {
        TRY_ASSIGN(known, UptoStore(db).find(name));
        TRY_ASSIGN(unpaid, UptoStore(db).count_lost(payer));
        return {};
    }));
    if (known) return fail(ErrorCode::nonce_used);
    for (const auto& [other, entry] : entries_)
        if (entry.row.payer == payer && !entry.is_mined) ++unpaid;
    if (unpaid >= unpaid_calls_)
        return fail(ErrorCode::rate_limited,
                    std::to_string(unpaid) + " calls of this payer are not paid yet");
    if (entries_.size() >= kUnsettledMax)
        return fail(ErrorCode::queue_full, "too many payments wait");
    return {};
}

Result<void> UptoBook::reserve(const api::UptoPayment& payment) {
    UptoRow row;
    row.name = api::name_of(payment);
    row.payer = payment.permit.payer;
    row.deadline_s = payment.permit.deadline_s;
    row.proxy = payment.permit.spender;
    const auto written =
        engine_.transact({}, [row](Database& db) { return UptoStore(db).insert(row); });
    if (!written && written.error().code() == ErrorCode::exists_with_different_body)
        return fail(ErrorCode::nonce_used);
    TRY(written);
    entries_[row.name].row = row;
    return {};
}

Result<void> UptoBook::keep(std::deque<PaymentDesk::Charge> charges,
                            const ledger::eth::U256& units_per_atom) {
    std::move(charges.begin(), charges.end(), std::back_inserter(charges_));
    while (!charges_.empty()) {
        TRY(keep(charges_.front(), units_per_atom));
        charges_.pop_front();
    }
    return {};
}

Result<void> UptoBook::keep(PaymentDesk::Charge& charge, const ledger::eth::U256& units_per_atom) {
    const domain::Hash32 name = api::name_of(charge.payment);
    if (charge.atoms == 0) {
        TRY(end(name, UptoState::kFree));
        charge.done(domain::Hash32());
        return {};
    }
    Entry* entry = find(name);
    MR_CHECK(entry != nullptr);
    UptoRow row = entry->row;
    const bool waits = charge.answer == api::Answer::kHeldBack;
    row.state = waits ? UptoState::kTaking : UptoState::kOwed;
    row.atoms = charge.atoms;
    row.call = ledger::eth::encode_upto_settle(charge.payment.permit, units_per_atom * charge.atoms,
                                               charge.payment.signature);
    TRY(engine_.transact({}, [row](Database& db) { return UptoStore(db).update(row); }));
    entry->row = std::move(row);
    if (waits) entry->done = std::move(charge.done);
    return {};
}

std::vector<domain::Hash32> UptoBook::owed() const {
    std::vector<domain::Hash32> out;
    for (const auto& [name, entry] : entries_)
        if (entry.row.state != UptoState::kServing) out.push_back(name);
    return out;
}

UptoBook::Entry* UptoBook::find(const domain::Hash32& name) {
    const auto found = entries_.find(name);
    return found == entries_.end() ? nullptr : &found->second;
}

UptoBook::Entry* UptoBook::find_call(ledger::base::ByteView call) {
    for (auto& [name, entry] : entries_)
        if (std::ranges::equal(entry.row.call, call)) return &entry;
    return nullptr;
}

Result<void> UptoBook::end(const domain::Hash32& name, UptoState state) {
    Entry* entry = find(name);
    MR_CHECK(entry != nullptr);
    UptoRow row = entry->row;
    row.state = state;
    TRY(engine_.transact({}, [row](Database& db) { return UptoStore(db).update(row); }));
    entries_.erase(name);
    return {};
}

Result<void> UptoBook::note_final(const domain::Hash32& name) {
    TRY(engine_.transact({}, [](Database& db) { return UptoStore(db).mark_paid(); }));
    entries_.erase(name);
    return {};
}

Result<void> UptoBook::forget(std::uint64_t now_s) {
    if (now_s < kRememberedS) return {};
    return engine_.transact({}, [before = now_s - kRememberedS](Database& db) {
        return UptoStore(db).forget_before(before);
    });
}

void UptoBook::refuse_all(const ledger::base::Error& error) {
    for (auto& [name, entry] : entries_)
        if (entry.done) std::exchange(entry.done, nullptr)(tl::make_unexpected(error));
    for (PaymentDesk::Charge& charge : charges_)
        charge.done(tl::make_unexpected(error));
    charges_.clear();
}

}  // namespace marketplace::app
