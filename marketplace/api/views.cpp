// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/views.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/wire/document.hpp"
#include "marketplace/wire/log_json.hpp"
#include "marketplace/wire/market_json.hpp"

#include <fmt/format.h>

namespace marketplace::api {

using ledger::base::to_hex;
using ledger::crypto::to_checksum;
using nlohmann::json;

namespace {

/// Our own writers' text as a member of a larger document.
[[nodiscard]] json embed(const std::string& text) {
    return json::parse(text, nullptr, false);
}

template <typename Hash>
[[nodiscard]] json hash_or_null(const Hash& hash) {
    return hash.is_zero() ? json(nullptr) : json(to_hex(hash));
}

}  // namespace

json mismatches_view(const domain::Mismatches& reasons) {
    return embed(wire::mismatches_json(reasons));
}

json lease_view(const domain::Lease& lease) {
    json out = embed(wire::lease_json(lease));
    out["id"] = to_hex(lease.id);
    out["object"] = "lease";
    return out;
}

json job_view(const engine::Job& job) {
    json out;
    out["id"] = job.id.to_string();
    out["object"] = "job";
    out["buyer"] = to_checksum(job.buyer);
    out["kind"] = std::string(to_string(job.terms.kind));
    out["state"] = std::string(to_string(job.state));
    out["reason"] = job.reason;
    out["final"] = domain::is_final(job.state);
    out["units_done"] = std::to_string(job.units_done);
    out["total_units"] = std::to_string(job.terms.total_units);
    out["segment_units"] = std::to_string(job.terms.segment_units);
    out["checkpoint"] = hash_or_null(job.checkpoint);
    out["attempts"] = job.attempts;
    out["created_ms"] = job.created_ms;
    out["changed_ms"] = job.changed_ms;
    out["bids"] = json::array();
    for (std::size_t i = 0; i < job.legs.size(); ++i) {
        json leg = embed(wire::bid_json(job.legs[i].bid));
        leg["id"] = i < job.bid_hashes.size() ? json(to_hex(job.bid_hashes[i])) : json(nullptr);
        out["bids"].push_back(std::move(leg));
    }
    out["leases"] = json::array();
    for (const domain::Hash32& lease : job.leases)
        out["leases"].push_back(to_hex(lease));
    out["excluded"] = json::array();
    for (const domain::Address& worker : job.excluded)
        out["excluded"].push_back(to_checksum(worker));
    out["mismatches"] = nullptr;  // counted where one job is read
    return out;
}

std::string ask_text(const engine::AskEntry& entry) {
    return fmt::format(
        R"({{"ask":{},"id":"{}","object":"order","posted_ms":{},"resource":{},"side":"ask",)"
        R"("signature":"{}","state":"{}","units_out":"{}"}})",
        wire::ask_json(entry.ask), to_hex(entry.id), entry.posted_ms,
        wire::resource_document(entry.resource), to_hex(entry.signature),
        entry.open ? "open" : "closed", entry.units_out);
}

json ask_view(const engine::AskEntry& entry) {
    return embed(ask_text(entry));
}

json quote_view(const engine::Engine::Quote& quote) {
    json out;
    out["object"] = "quote";
    out["matches"] = quote.matches;
    out["legs"] = json::array();
    for (const domain::Matched& leg : quote.legs)
        out["legs"].push_back({{"ask", to_hex(leg.ask_hash)},
                               {"bid", to_hex(leg.bid_hash)},
                               {"price", std::to_string(leg.price_atoms)},
                               {"max_units", std::to_string(leg.max_units)},
                               {"locked", std::to_string(leg.locked_atoms)}});
    out["candidates"] = quote.candidates;
    out["total"] = std::to_string(quote.total_atoms);
    out["worst_case"] = std::to_string(quote.worst_case_atoms);
    out["starts_ms"] = quote.starts_ms == 0 ? json(nullptr) : json(quote.starts_ms);
    out["reasons"] = mismatches_view(quote.reasons);
    return out;
}

json log_head_view(const LogPort& log) {
    json out;
    out["object"] = "log_head";
    out["size"] = log.size();
    out["witness"] = nullptr;
    out["signed_head"] = nullptr;
    if (const auto witness = log.witness()) out["witness"] = to_checksum(*witness);
    if (const auto head = log.signed_head()) {
        out["signed_head"] = embed(wire::to_json(wire::SignedHead{head->head, head->signature}));
        out["signed_head"]["cosignature"] =
            head->cosignature ? json(to_hex(*head->cosignature)) : json(nullptr);
    }
    return out;
}

json settlement_view(const SettlementRow& row) {
    json out;
    out["id"] = std::to_string(row.id);
    out["object"] = "settlement";
    out["kind"] = row.kind;
    out["state"] = row.state;
    out["transaction"] = hash_or_null(row.transaction);
    out["nonce"] = row.nonce;
    out["gas_used"] = std::to_string(row.gas_used);
    out["created_ms"] = row.created_ms;
    out["leases"] = json::array();
    for (const domain::Hash32& lease : row.leases)
        out["leases"].push_back(to_hex(lease));
    return out;
}

json record_view(const JobRecord& record) {
    json out;
    out["sequence"] = record.sequence;
    out["time_ms"] = record.time_ms;
    out["kind"] = record.kind;
    json data = embed(record.data);
    out["data"] = data.is_discarded() ? json::object() : std::move(data);
    return out;
}

json model_view(const PublishedModel& model) {
    json out;
    out["id"] = model.name;
    out["object"] = "model";
    out["created"] = model.created_ms / 1000;
    out["owned_by"] = to_checksum(model.owner);
    out["public"] = model.is_public;
    if (const auto spec = wire::parse_job_spec(model.spec); spec && spec->context > 0)
        out["context_length"] = spec->context;
    return out;
}

}  // namespace marketplace::api
