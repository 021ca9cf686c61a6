// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/wire/fields.hpp"

/// Field lists of the signed messages, under their EIP-712 names. For the .cpp files of this room.
namespace marketplace::wire {

inline constexpr auto ask_fields = [](auto& v, auto& m) {
    v.address("provider", m.provider);
    v.hex("resourceHash", m.resource_hash);
    v.unit_kind("unitKind", m.unit_kind);
    v.decimal("price", m.price_atoms);
    v.decimal("minUnits", m.min_units);
    v.decimal("maxUnits", m.max_units);
    v.order_class("orderClass", m.order_class);
    v.integer("reclaimWindow", m.reclaim_window_s);
    v.decimal("earliest", m.earliest_s);
    v.decimal("expiry", m.expiry_s);
    v.decimal("volume", m.volume_units);
    v.address("matcher", m.matcher);
    v.hex("salt", m.salt);
};

inline constexpr auto bid_fields = [](auto& v, auto& m) {
    v.address("buyer", m.buyer);
    v.hex("jobSpecHash", m.job_spec_hash);
    v.unit_kind("unitKind", m.unit_kind);
    v.decimal("priceCeiling", m.price_ceiling_atoms);
    v.decimal("maxAmount", m.max_amount_atoms);
    v.hex("constraintsHash", m.constraints_hash);
    v.order_class("orderClass", m.order_class);
    v.integer("verificationTier", m.verification_tier);
    v.decimal("earliest", m.earliest_s);
    v.decimal("deadline", m.deadline_s);
    v.decimal("expiry", m.expiry_s);
    v.decimal("volume", m.volume_units);
    v.address("matcher", m.matcher);
    v.hex("salt", m.salt);
};

inline constexpr auto delegation_fields = [](auto& v, auto& m) {
    v.address("owner", m.owner);
    v.address("delegate", m.delegate);
    v.integer("scope", m.scope);
    v.decimal("spendCap", m.spend_cap_atoms);
    v.decimal("expiry", m.expiry_s);
    v.decimal("nonce", m.nonce);
};

inline constexpr auto receipt_fields = [](auto& v, auto& m) {
    v.hex("lease", m.lease);
    v.decimal("sequence", m.sequence);
    v.hex("previous", m.previous);
    v.unit_kind("unitKind", m.unit_kind);
    v.decimal("cumulativeUnits", m.cumulative_units);
    v.decimal("price", m.price_atoms);
    v.decimal("cumulativeAmount", m.cumulative_amount_atoms);
    v.hex("modelHash", m.model_hash);
    v.hex("requestHash", m.request_hash);
    v.hex("responseHash", m.response_hash);
    v.decimal("startMs", m.start_ms);
    v.decimal("endMs", m.end_ms);
};

inline constexpr auto voucher_fields = [](auto& v, auto& m) {
    v.hex("lease", m.lease);
    v.decimal("sequence", m.sequence);
    v.decimal("cumulativeUnits", m.cumulative_units);
    v.decimal("cumulativeAmount", m.cumulative_amount_atoms);
    v.hex("receiptsRoot", m.receipts_root);
};

}  // namespace marketplace::wire
