// SPDX-License-Identifier: Apache-2.0
#include "marketplace/wire/order_json.hpp"

#include "ledger/base/limits.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/wire/message_fields.hpp"

namespace marketplace::wire {
namespace {

Result<json> parse_body(std::string_view body) {
    ledger::rpc::JsonLimits bounds;
    bounds.bytes = ledger::base::limits::kHttpBodyBytes;
    return ledger::rpc::parse_json(body, bounds);
}

/// A bid as it travels; the constraints are parsed once the shape is known to be right.
struct LegBody {
    ledger::eth::Bid bid;
    domain::Signature signature;
    std::string constraints;
};
constexpr auto leg_fields = [](auto& v, auto& m) {
    v.object("bid", m.bid, bid_fields);
    v.hex("signature", m.signature);
    v.text("constraints", m.constraints);
};

Result<domain::BidLeg> to_leg(const LegBody& body, const domain::Hash32& spec_hash) {
    if (body.bid.job_spec_hash != spec_hash)
        return fail(ErrorCode::invalid_field, "/bids jobSpecHash is not the hash of /spec");
    if (body.bid.constraints_hash != document_hash(body.constraints))
        return fail(ErrorCode::invalid_field,
                    "/bids constraintsHash is not the hash of the constraints");
    domain::BidLeg leg;
    leg.bid = body.bid;
    leg.signature = body.signature;
    TRY_ASSIGN(leg.constraints, parse_constraints(body.constraints));
    return leg;
}

template <typename ParseResource>
Result<domain::PostAsk> read_post_ask(std::string_view body, ParseResource parse) {
    TRY_ASSIGN(const json document, parse_body(body));
    domain::PostAsk out;
    std::string resource;
    FieldReader reader(document);
    reader.object("ask", out.ask, ask_fields);
    reader.hex("signature", out.signature);
    reader.text("resource", resource);
    TRY(reader.finish());
    if (document_hash(resource) != out.ask.resource_hash)
        return fail(ErrorCode::invalid_field,
                    "/ask/resourceHash is not the hash of the resource document");
    TRY_ASSIGN(out.resource, parse(resource));
    return out;
}

}  // namespace

Result<domain::PostAsk> parse_post_ask(std::string_view body) {
    return read_post_ask(body, parse_resource);
}

Result<domain::PostAsk> parse_post_ask(std::string_view body, ResourceCache& resources) {
    return read_post_ask(body, [&](std::string_view text) { return resources.parse(text); });
}

std::string post_ask_json(const domain::PostAsk& ask) {
    FieldWriter writer;
    writer.object("ask", ask.ask, ask_fields);
    writer.hex("signature", ask.signature);
    writer.text("resource", resource_document(ask.resource));
    return writer.take();
}

Result<ledger::eth::Ask> parse_ask(std::string_view text) {
    TRY_ASSIGN(const json document, parse_body(text));
    return read_fields<ledger::eth::Ask>(document, ask_fields);
}

Result<ledger::eth::Bid> parse_bid(std::string_view text) {
    TRY_ASSIGN(const json document, parse_body(text));
    return read_fields<ledger::eth::Bid>(document, bid_fields);
}

Result<ledger::eth::Delegation> parse_delegation(std::string_view text) {
    TRY_ASSIGN(const json document, parse_body(text));
    return read_fields<ledger::eth::Delegation>(document, delegation_fields);
}

Result<PostJobBody> parse_post_job(std::string_view body) {
    TRY_ASSIGN(const json document, parse_body(body));
    PostJobBody out;
    std::vector<LegBody> legs;
    FieldReader reader(document);
    reader.id("id", out.command.id);
    reader.text("spec", out.spec);
    reader.objects("bids", legs, leg_fields);
    if (reader.has("delegation")) {
        out.command.delegation.emplace();
        reader.object("delegation", *out.command.delegation, delegation_fields);
        reader.hex("delegation_signature", out.command.delegation_signature);
    }
    TRY(reader.finish());
    TRY_ASSIGN(out.parsed, parse_job_spec(out.spec));
    out.command.terms = out.parsed.terms;
    const domain::Hash32 spec_hash = document_hash(out.spec);
    for (const LegBody& leg : legs) {
        TRY_ASSIGN(domain::BidLeg parsed, to_leg(leg, spec_hash));
        // The rules know GPU time; a spec's work is metered by the step, so it cannot be sold yet.
        if (parsed.bid.unit_kind == ledger::eth::UnitKind::kGpuMs)
            return fail(ErrorCode::unsupported, "/bids unitKind: bid for training_step");
        out.command.legs.push_back(std::move(parsed));
    }
    return out;
}

std::string post_job_json(const PostJobBody& job) {
    std::vector<LegBody> legs;
    for (const domain::BidLeg& leg : job.command.legs)
        legs.push_back({leg.bid, leg.signature, constraints_document(leg.constraints)});
    FieldWriter writer;
    writer.id("id", job.command.id);
    writer.text("spec", job.spec);
    writer.objects("bids", legs, leg_fields);
    if (job.command.delegation) {
        writer.object("delegation", *job.command.delegation, delegation_fields);
        writer.hex("delegation_signature", job.command.delegation_signature);
    }
    return writer.take();
}

}  // namespace marketplace::wire
