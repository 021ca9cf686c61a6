// SPDX-License-Identifier: Apache-2.0
#include "marketplace/wire/job_evidence.hpp"

#include "ledger/crypto/secp256k1.hpp"
#include "marketplace/wire/document.hpp"
#include "marketplace/wire/message_fields.hpp"

#include <algorithm>
#include <utility>

namespace marketplace::wire {
namespace {

using ledger::eth::struct_hash;

constexpr std::size_t kLineBytesMax = 256 * 1024;
constexpr std::uint64_t kVersion = 1;

struct Head {
    std::uint64_t version = kVersion;
    ledger::eth::Domain domain;
    domain::JobId job;
    std::string spec;
};
/// A lease's line: the documents as the texts that are hashed.
struct LeaseLine {
    LeaseEvidence lease;
    std::string resource;
};

constexpr auto domain_fields = [](auto& v, auto& m) {
    v.decimal("chainId", m.chain_id);
    v.address("verifyingContract", m.contract);
};
constexpr auto head_fields = [](auto& v, auto& m) {
    v.integer("millrace_job_evidence", m.version);
    v.object("domain", m.domain, domain_fields);
    v.id("job", m.job);
    v.text("spec", m.spec);
};
constexpr auto lease_fields = [](auto& v, auto& m) {
    v.object("ask", m.lease.ask, ask_fields);
    v.object("bid", m.lease.bid, bid_fields);
    v.decimal("index", m.lease.index);
    v.text("resource", m.resource);
    v.address("voucher_signer", m.lease.voucher_signer);
};
constexpr auto receipt_line_fields = [](auto& v, auto& m) {
    v.object("receipt", m.receipt, receipt_fields);
    v.hex("signature", m.signature);
};

tl::unexpected<Error> refuted(std::string what) {
    return fail(ErrorCode::audit_failed, std::move(what));
}

Result<LeaseEvidence> read_lease(const json& document, const std::string& spec) {
    TRY_ASSIGN(LeaseLine line, read_fields<LeaseLine>(document, lease_fields));
    if (document_hash(line.resource) != line.lease.ask.resource_hash)
        return refuted("the machine is not the one that the ask signs");
    if (document_hash(spec) != line.lease.bid.job_spec_hash)
        return refuted("the job's spec is not the one that the bid signs");
    TRY_ASSIGN(line.lease.resource, parse_resource(line.resource));
    return std::move(line.lease);
}

/// The next receipt of a lease whose id is `id`.
Result<void> check_receipt(const SignedReceipt& item, const LeaseEvidence& lease, const Hash32& id,
                           const ledger::eth::Domain& domain) {
    const ledger::eth::Receipt& receipt = item.receipt;
    const std::string name = "receipt " + std::to_string(receipt.sequence) + " of lease " +
                             ledger::base::to_hex(receipt.lease);
    if (receipt.lease != id) return refuted(name + " is not of the lease before it");
    const Hash32 previous =
        lease.receipts.empty() ? Hash32() : struct_hash(lease.receipts.back().receipt);
    if (receipt.sequence != lease.receipts.size() + 1 || receipt.previous != previous)
        return refuted(name + " does not follow the one before");
    if (!lease.receipts.empty() &&
        receipt.cumulative_units <= lease.receipts.back().receipt.cumulative_units)
        return refuted(name + " is for no work");
    if (!ledger::crypto::verify(ledger::eth::digest(domain, receipt), item.signature,
                                lease.resource.worker))
        return refuted(name + " is not signed by its worker");
    return {};
}

/// Takes lines off the front of a text.
class Lines {
 public:
    explicit Lines(std::string_view text) : rest_(text) {}
    [[nodiscard]] bool ended() const { return rest_.empty(); }
    [[nodiscard]] Result<json> next() {
        const auto end = std::min(rest_.find('\n'), rest_.size());
        if (end > kLineBytesMax) return fail(ErrorCode::too_large, "a line passes 256 KiB");
        ledger::rpc::JsonLimits bounds;
        bounds.bytes = kLineBytesMax;
        TRY_ASSIGN(json document, ledger::rpc::parse_json(rest_.substr(0, end), bounds));
        rest_.remove_prefix(std::min(end + 1, rest_.size()));
        return document;
    }

 private:
    std::string_view rest_;
};

}  // namespace

Hash32 LeaseEvidence::id() const {
    return ledger::eth::lease_id(struct_hash(ask), struct_hash(bid), index);
}

LeaseParties LeaseEvidence::parties() const {
    return {bid.buyer, ask.provider, voucher_signer, resource.worker};
}

std::string to_text(const JobEvidence& evidence) {
    const Head head{kVersion, evidence.domain, evidence.job, evidence.spec};
    std::string out = write_fields(head, head_fields) + "\n";
    for (const LeaseEvidence& lease : evidence.leases) {
        const LeaseLine line{lease, resource_document(lease.resource)};
        out += write_fields(line, lease_fields) + "\n";
        for (const SignedReceipt& receipt : lease.receipts)
            out += write_fields(receipt, receipt_line_fields) + "\n";
    }
    return out;
}

Result<JobEvidence> parse_job_evidence(std::string_view text) {
    if (text.size() > kEvidenceBytesMax) return fail(ErrorCode::too_large, "it passes 256 MiB");
    Lines lines(text);
    TRY_ASSIGN(const json first, lines.next());
    TRY_ASSIGN(Head head, read_fields<Head>(first, head_fields));
    if (head.version != kVersion)
        return fail(ErrorCode::unsupported, "evidence of another version of millrace");
    JobEvidence out{head.domain, head.job, std::move(head.spec), {}};
    Hash32 id;
    while (!lines.ended()) {
        TRY_ASSIGN(const json line, lines.next());
        if (line.is_object() && line.contains("ask")) {
            TRY_ASSIGN(LeaseEvidence lease, read_lease(line, out.spec));
            id = lease.id();
            out.leases.push_back(std::move(lease));
            continue;
        }
        TRY_ASSIGN(const auto receipt, read_fields<SignedReceipt>(line, receipt_line_fields));
        if (out.leases.empty()) return refuted("a receipt stands before its lease");
        TRY(check_receipt(receipt, out.leases.back(), id, out.domain));
        out.leases.back().receipts.push_back(receipt);
    }
    return out;
}

}  // namespace marketplace::wire
