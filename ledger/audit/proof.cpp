// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/proof.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/eth/abi.hpp"
#include "ledger/rpc/json.hpp"
#include "ledger/settlement/receipt_log_abi.hpp"

#include <utility>

namespace ledger::audit {

using base::Address;
using base::ErrorCode;
using base::fail;
using base::Hash32;
using base::Result;
using base::to_hex;
using nlohmann::json;

namespace {

constexpr std::size_t kRecordBytesMax = 4U << 20U;

tl::unexpected<base::Error> refuted(std::string what) {
    return fail(ErrorCode::audit_failed, std::move(what));
}

rpc::LogFilter filter_of(const Address& contract, std::uint64_t from, std::uint64_t to) {
    rpc::LogFilter filter;
    filter.from_block = from;
    filter.to_block = to;
    filter.addresses = {contract};
    return filter;
}

// ---- the file -----------------------------------------------------------------------------------

json to_json(const SignedReceipt& item) {
    const eth::Receipt& r = item.receipt;
    return {{"lease", to_hex(r.lease)},
            {"sequence", std::to_string(r.sequence)},
            {"previous", to_hex(r.previous)},
            {"unit_kind", eth::to_string(r.unit_kind)},
            {"cumulative_units", std::to_string(r.cumulative_units)},
            {"price", std::to_string(r.price_atoms)},
            {"cumulative_amount", std::to_string(r.cumulative_amount_atoms)},
            {"model_hash", to_hex(r.model_hash)},
            {"request_hash", to_hex(r.request_hash)},
            {"response_hash", to_hex(r.response_hash)},
            {"start_ms", std::to_string(r.start_ms)},
            {"end_ms", std::to_string(r.end_ms)},
            {"hash", to_hex(eth::struct_hash(r))},
            {"signature", to_hex(item.signature)}};
}

json to_json(const settlement::Parties& parties) {
    return {{"buyer", to_hex(parties.buyer)},
            {"provider", to_hex(parties.provider)},
            {"voucher_signer", to_hex(parties.voucher_signer)},
            {"worker_key", to_hex(parties.worker_key)}};
}

/// Reads members one after the other; the first that fails is the result.
class Members {
 public:
    explicit Members(const json& object) : object_(object) {}

    template <typename Fixed>
    Members& fixed(const char* name, Fixed& out) {
        return take(rpc::string_at(object_, name).and_then(base::parse_fixed<Fixed>), out);
    }
    Members& text(const char* name, std::uint64_t& out) {
        return take(rpc::u64_text_at(object_, name), out);
    }
    Members& integer(const char* name, std::uint64_t& out) {
        return take(rpc::integer_at(object_, name), out);
    }
    Members& kind(const char* name, eth::UnitKind& out) {
        return take(rpc::string_at(object_, name).and_then(eth::parse_unit_kind), out);
    }
    Members& bytes(const char* name, base::Bytes& out) {
        const auto parse = [](const std::string& hex) {
            return base::parse_hex(hex, kRecordBytesMax);
        };
        return take(rpc::string_at(object_, name).and_then(parse), out);
    }
    [[nodiscard]] const Result<void>& result() const { return result_; }

 private:
    template <typename T>
    Members& take(Result<T> value, T& out) {
        if (value)
            out = std::move(*value);
        else if (result_)
            result_ = tl::make_unexpected(value.error());
        return *this;
    }
    const json& object_;
    Result<void> result_;
};

Result<SignedReceipt> receipt_in(const json& document) {
    SignedReceipt out;
    eth::Receipt& r = out.receipt;
    TRY(Members(document)
            .fixed("lease", r.lease)
            .text("sequence", r.sequence)
            .fixed("previous", r.previous)
            .kind("unit_kind", r.unit_kind)
            .text("cumulative_units", r.cumulative_units)
            .text("price", r.price_atoms)
            .text("cumulative_amount", r.cumulative_amount_atoms)
            .fixed("model_hash", r.model_hash)
            .fixed("request_hash", r.request_hash)
            .fixed("response_hash", r.response_hash)
            .text("start_ms", r.start_ms)
            .text("end_ms", r.end_ms)
            .fixed("signature", out.signature)
            .result());
    return out;
}

Result<Proof> proof_in(const json& document) {
    Proof out;
    TRY_ASSIGN(const json* domain, rpc::member_at(document, "domain"));
    TRY(Members(*domain)
            .integer("chainId", out.chain_id)
            .fixed("verifyingContract", out.leases)
            .result());
    TRY(Members(document)
            .fixed("receipt_log", out.receipt_log)
            .integer("index", out.index)
            .bytes("record", out.record)
            .integer("size", out.size)
            .fixed("root", out.root)
            .integer("anchor_block", out.anchor.block)
            .fixed("anchor_transaction", out.anchor.transaction)
            .result());
    TRY_ASSIGN(const json* path, rpc::member_at(document, "path"));
    if (!path->is_array() || path->size() > 64) return fail(ErrorCode::invalid_field, "path");
    for (const json& step : *path) {
        if (!step.is_string()) return fail(ErrorCode::invalid_field, "path");
        TRY_ASSIGN(const Hash32 hash,
                   base::parse_fixed<Hash32>(step.get_ref<const std::string&>()));
        out.path.push_back(hash);
    }
    TRY_ASSIGN(const json* receipt, rpc::member_at(document, "receipt"));
    if (receipt->is_null()) return out;
    TRY_ASSIGN(out.receipt, receipt_in(*receipt));
    TRY_ASSIGN(const json* parties, rpc::member_at(document, "parties"));
    TRY(Members(*parties)
            .fixed("buyer", out.parties.buyer)
            .fixed("provider", out.parties.provider)
            .fixed("voucher_signer", out.parties.voucher_signer)
            .fixed("worker_key", out.parties.worker_key)
            .result());
    return out;
}

Result<bool> contract_agrees(const Proof& proof, rpc::Chain& chain) {
    std::vector<base::Bytes> steps;
    for (const Hash32& step : proof.path)
        steps.emplace_back(step.begin(), step.end());
    eth::abi::Encoder arguments;
    arguments.uint(proof.size).word(proof.root).word(log::leaf_hash(proof.record));
    arguments.uint(proof.index).dynamic(eth::abi::encode_static_array(steps));
    rpc::CallRequest request;
    request.to = proof.receipt_log;
    request.data =
        eth::abi::encode_call("checkInclusion(uint64,bytes32,bytes32,uint64,bytes32[])", arguments);
    TRY_ASSIGN(const base::Bytes answer, chain.call(request, rpc::BlockTag::Name::kLatest));
    const auto agrees = eth::abi::Decoder(answer).boolean(0);
    return agrees.value_or(false);
}

}  // namespace

std::string to_text(const Proof& proof) {
    json path = json::array();
    for (const Hash32& step : proof.path)
        path.push_back(to_hex(step));
    json out{{"millrace_proof", 1},
             {"domain",
              {{"name", "Millrace"},
               {"version", "1"},
               {"chainId", proof.chain_id},
               {"verifyingContract", to_hex(proof.leases)}}},
             {"receipt_log", to_hex(proof.receipt_log)},
             {"index", proof.index},
             {"record", to_hex(proof.record)},
             {"size", proof.size},
             {"root", to_hex(proof.root)},
             {"path", std::move(path)},
             {"anchor_block", proof.anchor.block},
             {"anchor_transaction", to_hex(proof.anchor.transaction)},
             {"receipt", proof.receipt ? to_json(*proof.receipt) : json()},
             {"parties", proof.receipt ? to_json(proof.parties) : json()}};
    out["digest"] = to_hex(base::sha256(base::as_bytes(rpc::to_text(out))));
    return rpc::to_text(out) + "\n";
}

Result<Proof> parse_proof(std::string_view text) {
    const auto document = rpc::parse_json(text);
    if (!document) return refuted("not a proof: " + document.error().detail());
    auto proof = proof_in(*document);
    if (!proof) return refuted("not a proof: " + proof.error().detail());
    // What is not read above, or could be written in two ways, is caught here.
    if (to_text(*proof) != text) return refuted("the proof's file was changed: its digest differs");
    return std::move(*proof);
}

Result<void> verify(const Proof& proof, const ReceiptDecoder& decode) {
    TRY(log::verify_inclusion(log::leaf_hash(proof.record), proof.index, proof.size, proof.path,
                              proof.root));
    const auto found = decode(proof.record);
    if (found.has_value() != proof.receipt.has_value() ||
        (found && (!(found->receipt == proof.receipt->receipt) ||
                   found->signature != proof.receipt->signature)))
        return refuted("the record does not hold the receipt that the proof shows");
    if (!found) return {};
    const Hash32 digest = eth::digest({proof.chain_id, proof.leases}, found->receipt);
    if (!crypto::verify(digest, found->signature, proof.parties.worker_key))
        return refuted("the receipt is not signed by " + to_hex(proof.parties.worker_key));
    return {};
}

Result<void> verify_on_chain(const Proof& proof, rpc::Chain& chain) {
    TRY_ASSIGN(const std::uint64_t chain_id, chain.chain_id());
    if (chain_id != proof.chain_id)
        return fail(ErrorCode::chain_mismatch, "the node serves chain " + std::to_string(chain_id) +
                                                   ", the proof is about chain " +
                                                   std::to_string(proof.chain_id));
    TRY_ASSIGN(const auto entries,
               chain.logs(filter_of(proof.receipt_log, proof.anchor.block, proof.anchor.block)));
    bool anchored = false;
    for (const rpc::LogEntry& entry : entries) {
        TRY_ASSIGN(const auto event, settlement::decode_receipt_log_event(entry));
        anchored |= event && entry.transaction_hash == proof.anchor.transaction &&
                    event->head.size == proof.size && event->head.root == proof.root;
    }
    if (!anchored) return refuted("that transaction did not anchor this head");
    TRY_ASSIGN(const bool agrees, contract_agrees(proof, chain));
    if (!agrees) return refuted("ReceiptLog does not find the record under the head");
    if (!proof.receipt) return {};
    TRY_ASSIGN(const settlement::LeaseView lease,
               settlement::read_lease(chain, proof.leases, proof.receipt->receipt.lease,
                                      proof.parties, rpc::BlockTag::Name::kLatest));
    if (lease.state == settlement::LeaseState::kNone)
        return refuted("the lease is not between these parties");
    return {};
}

Result<std::vector<AnchoredHead>> read_heads(rpc::Chain& chain,
                                             const settlement::Deployment& deployment) {
    TRY_ASSIGN(const std::uint64_t newest, chain.block_number());
    TRY_ASSIGN(const auto entries,
               chain.logs(filter_of(deployment.receipt_log, deployment.block, newest)));
    std::vector<AnchoredHead> heads;
    for (const rpc::LogEntry& entry : entries) {
        TRY_ASSIGN(const auto event, settlement::decode_receipt_log_event(entry));
        if (event) heads.push_back({event->head, {entry.block_number, entry.transaction_hash}});
    }
    return heads;
}

Result<settlement::Parties> read_parties(rpc::Chain& chain,
                                         const settlement::Deployment& deployment,
                                         const Hash32& lease) {
    TRY_ASSIGN(const std::uint64_t newest, chain.block_number());
    rpc::LogFilter filter = filter_of(deployment.leases, deployment.block, newest);
    filter.topic1 = {lease};
    TRY_ASSIGN(const auto entries, chain.logs(filter));
    for (const rpc::LogEntry& entry : entries) {
        TRY_ASSIGN(const auto event, settlement::decode_leases_event(entry));
        if (!event) continue;
        const auto* opened = std::get_if<settlement::LeaseOpened>(&*event);
        if (opened != nullptr && opened->lease == lease) return opened->parties();
    }
    return fail(ErrorCode::not_found, "lease " + to_hex(lease) + " is not on chain");
}

}  // namespace ledger::audit
