// SPDX-License-Identifier: Apache-2.0
#include "marketplace/wire/market_json.hpp"

#include "ledger/rpc/json.hpp"
#include "marketplace/wire/message_fields.hpp"

namespace marketplace::wire {

using ledger::rpc::to_text;

std::string lease_json(const domain::Lease& lease) {
    FieldWriter v;
    v.hex("lease", lease.id);
    v.id("job", lease.job);
    v.integer("leg", lease.leg);
    v.hex("ask", lease.ask_hash);
    v.hex("bid", lease.bid_hash);
    v.decimal("index", lease.index);
    v.address("buyer", lease.buyer);
    v.address("provider", lease.provider);
    v.address("voucher_signer", lease.voucher_signer);
    v.address("worker", lease.worker);
    v.unit_kind("unit_kind", lease.unit_kind);
    v.decimal("price", lease.price_atoms);
    v.decimal("max_units", lease.max_units);
    v.decimal("locked", lease.locked_atoms);
    v.text("state", to_string(lease.state));
    v.text("close_reason", to_string(lease.close_reason));
    v.decimal("start_units", lease.start_units);
    v.hex("start_checkpoint", lease.start_checkpoint);
    v.decimal("sequence", lease.sequence);
    v.decimal("units", lease.units);
    v.decimal("amount", lease.amount_atoms);
    v.hex("checkpoint", lease.checkpoint);
    v.hex("receipts_root", lease.receipts_root);
    v.decimal("voucher_sequence", lease.voucher_sequence);
    v.decimal("voucher_amount", lease.voucher_amount_atoms);
    v.decimal("claimed", lease.claimed_atoms);
    v.decimal("fee", lease.fee_atoms);
    v.decimal("refunded", lease.refunded_atoms);
    v.integer("matched_ms", lease.matched_ms);
    v.integer("changed_ms", lease.changed_ms);
    return v.take();
}

std::string mismatches_json(const domain::Mismatches& reasons) {
    json failed = json::object();
    json nearest = json::object();
    for (std::size_t i = 0; i < domain::kMismatchCount; ++i) {
        if (reasons.failed[i] == 0) continue;
        const std::string name(to_string(static_cast<domain::Mismatch>(i)));
        failed[name] = reasons.failed[i];
        if (reasons.nearest[i] != 0) nearest[name] = std::to_string(reasons.nearest[i]);
    }
    json out;
    out["asks"] = reasons.asks;
    out["failed"] = std::move(failed);
    out["nearest"] = std::move(nearest);
    out["cheapest"] = std::to_string(reasons.nearest_of(domain::Mismatch::kPrice));
    out["text"] = describe(reasons);
    return to_text(out);
}

std::string ask_json(const ledger::eth::Ask& ask) {
    return write_fields(ask, ask_fields);
}

std::string bid_json(const ledger::eth::Bid& bid) {
    return write_fields(bid, bid_fields);
}

std::string receipt_json(const ledger::eth::Receipt& receipt) {
    return write_fields(receipt, receipt_fields);
}

std::string voucher_json(const ledger::eth::Voucher& voucher) {
    return write_fields(voucher, voucher_fields);
}

std::string delegation_json(const ledger::eth::Delegation& delegation) {
    return write_fields(delegation, delegation_fields);
}

}  // namespace marketplace::wire
