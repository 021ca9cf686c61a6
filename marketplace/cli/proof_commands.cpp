// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/proof.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/cli/public_log.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <memory>

namespace marketplace::cli {
namespace {

using ledger::audit::Proof;
using ledger::audit::SignedReceipt;
using ledger::base::Bytes;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using nlohmann::json;

constexpr std::size_t kProofBytesMax = 16U << 20U;

struct ProofOptions {
    std::string target;
    std::string log;
    std::string deployment_file;
    std::string out;
    std::string verify;
};

/// What a person names a record by: its number, a receipt's hash, or lease:sequence.
struct Target {
    std::optional<std::uint64_t> record;
    std::optional<Hash32> receipt;
    std::optional<Hash32> lease;
    std::uint64_t sequence = 0;

    [[nodiscard]] bool is(std::uint64_t index, ledger::base::ByteView bytes) const {
        if (record) return index == *record;
        const auto found = receipt_in(bytes);
        if (!found) return false;
        if (lease) return found->receipt.lease == *lease && found->receipt.sequence == sequence;
        return ledger::eth::struct_hash(found->receipt) == *receipt;
    }
};

Result<Target> parse_target(const std::string& text) {
    Target target;
    const auto colon = text.find(':');
    const auto hash = ledger::base::parse_fixed<Hash32>(text.substr(0, colon));
    if (colon != std::string::npos) {
        const auto sequence = ledger::base::parse_u64(text.substr(colon + 1));
        if (hash && sequence) {
            target.lease = *hash;
            target.sequence = *sequence;
            return target;
        }
    } else if (hash) {
        target.receipt = *hash;
        return target;
    } else if (const auto record = ledger::base::parse_u64(text)) {
        target.record = *record;
        return target;
    }
    return fail(
        ErrorCode::invalid_field,
        fmt::format("\"{}\": give a receipt's hash, LEASE:SEQUENCE or a record's number", text));
}

/// One record of the log, and the head it is under.
struct Found {
    std::uint64_t index = 0;
    Bytes record;
    ledger::audit::AnchoredHead head;
    ledger::log::Proof path;
};

/// Reads the log as far as it is anchored; the path is computed here.
Result<Found> find_in_log(RecordReader& reader, const Target& target,
                          const std::vector<ledger::audit::AnchoredHead>& heads) {
    ledger::log::MerkleTree tree;
    std::optional<Found> found;
    const std::uint64_t anchored_size = heads.empty() ? 0 : heads.back().head.size;
    while (!found || tree.size() < anchored_size) {
        TRY_ASSIGN(std::optional<Bytes> record, reader.next());
        if (!record) break;
        const std::uint64_t index = tree.append_data(*record);
        if (!found && target.is(index, *record)) found = Found{index, std::move(*record), {}, {}};
    }
    if (!found) return fail(ErrorCode::not_found, "the log has no such record");
    // The newest head that this copy of the log reaches.
    const auto head = std::find_if(heads.rbegin(), heads.rend(), [&](const auto& anchored) {
        return anchored.head.size <= tree.size();
    });
    if (head == heads.rend() || head->head.size <= found->index)
        return fail(
            ErrorCode::wrong_state,
            fmt::format("record {} is not under an anchored head of this log yet", found->index));
    found->head = *head;
    TRY_ASSIGN(const Hash32 root, tree.root_at(head->head.size));
    if (root != head->head.root)
        return fail(ErrorCode::audit_failed,
                    "the log's records do not lead to the root anchored on chain");
    TRY_ASSIGN(found->path, tree.inclusion_proof(found->index, head->head.size));
    return std::move(*found);
}

Result<ledger::log::Proof> parse_path(const json& document) {
    TRY_ASSIGN(const json* path, ledger::rpc::member_at(document, "path"));
    ledger::log::Proof out;
    if (!path->is_array()) return fail(ErrorCode::invalid_encoding, "the proof has no path");
    for (const json& entry : *path) {
        TRY_ASSIGN(const Hash32 hash, ledger::base::parse_fixed<Hash32>(
                                          entry.is_string() ? entry.get<std::string>() : ""));
        out.push_back(hash);
    }
    return out;
}

/// The market knows a record by its number: two requests instead of the whole log.
Result<Found> ask_market(Context& context, std::uint64_t index,
                         const std::vector<ledger::audit::AnchoredHead>& heads) {
    if (heads.empty() || index >= heads.back().head.size)
        return fail(ErrorCode::wrong_state,
                    fmt::format("record {} is not anchored yet: the chain has {} records", index,
                                heads.empty() ? 0 : heads.back().head.size));
    Found found{index, {}, heads.back(), {}};
    TRY_ASSIGN(
        const std::string page,
        context.market().get_text(fmt::format("/v1/log?first={}&limit=1", index), Auth::kNone));
    TRY_ASSIGN(found.record, parse_log_line(page.substr(0, page.find('\n')), index));
    TRY_ASSIGN(const json answer,
               context.market().get(fmt::format("/v1/log/proof/inclusion?index={}&size={}", index,
                                                found.head.head.size),
                                    Auth::kNone));
    TRY_ASSIGN(found.path, parse_path(answer));
    return found;
}

void print(Context& context, const Proof& proof, bool on_chain) {
    const auto record = engine::decode_record(proof.record);
    const std::string what = record ? std::string(domain::name_of(record->command)) : "unknown";
    if (context.json()) {
        json path = json::array();
        for (const Hash32& hash : proof.path)
            path.push_back(to_hex(hash));
        json out{{"ok", true},
                 {"record", proof.index},
                 {"command", what},
                 {"leaf", to_hex(ledger::log::leaf_hash(proof.record))},
                 {"size", proof.size},
                 {"root", to_hex(proof.root)},
                 {"path", std::move(path)},
                 {"chain_id", proof.chain_id},
                 {"receipt_log", to_hex(proof.receipt_log)},
                 {"anchor_block", proof.anchor.block},
                 {"anchor_transaction", to_hex(proof.anchor.transaction)},
                 {"on_chain", on_chain}};
        if (proof.receipt) {
            out["receipt"] = to_hex(ledger::eth::struct_hash(proof.receipt->receipt));
            out["lease"] = to_hex(proof.receipt->receipt.lease);
            out["sequence"] = proof.receipt->receipt.sequence;
        }
        context.print_json(out);
        return;
    }
    context.say(fmt::format(
        "Record {} ({}) is under root {}\nof {} records, {} on chain {} by "
        "ReceiptLog {}\nin block {}, transaction {}.",
        proof.index, what, to_hex(proof.root), proof.size,
        on_chain ? "anchored" : "said to be anchored", proof.chain_id, to_hex(proof.receipt_log),
        proof.anchor.block, to_hex(proof.anchor.transaction)));
    if (proof.receipt) {
        const auto& receipt = proof.receipt->receipt;
        context.say(fmt::format(
            "It holds receipt {}\nof lease {}: sequence {}, {} {} and {} tokens "
            "so far, signed by worker {}.",
            to_hex(ledger::eth::struct_hash(receipt)), to_hex(receipt.lease), receipt.sequence,
            receipt.cumulative_units, ledger::eth::to_string(receipt.unit_kind),
            tokens(receipt.cumulative_amount_atoms), to_hex(proof.parties.worker_key)));
    }
    if (!on_chain)
        context.say(
            "Checked without the chain. Next: the same with --rpc URL asks whether the head "
            "was anchored.");
}

Result<void> make_proof(Context& context, const ProofOptions& options) {
    TRY_ASSIGN(const Target target, parse_target(options.target));
    TRY_ASSIGN(const auto reader, open_log(context, options.log));  // may name another market
    TRY_ASSIGN(const auto deployment, read_deployment(context, options.deployment_file));
    TRY_ASSIGN(const auto heads, ledger::audit::read_heads(context.chain(), deployment));
    const bool asks_market =
        target.record && (options.log.empty() || options.log.starts_with("http"));
    TRY_ASSIGN(Found found, asks_market ? ask_market(context, *target.record, heads)
                                        : find_in_log(*reader, target, heads));
    Proof proof;
    proof.chain_id = deployment.chain_id;
    proof.leases = deployment.leases;
    proof.receipt_log = deployment.receipt_log;
    proof.index = found.index;
    proof.record = std::move(found.record);
    proof.size = found.head.head.size;
    proof.root = found.head.head.root;
    proof.anchor = found.head.at;
    proof.path = std::move(found.path);
    proof.receipt = receipt_in(proof.record);
    if (proof.receipt) {
        TRY_ASSIGN(proof.parties, ledger::audit::read_parties(context.chain(), deployment,
                                                              proof.receipt->receipt.lease));
    }
    TRY(ledger::audit::verify(proof, receipt_in));
    TRY(ledger::audit::verify_on_chain(proof, context.chain()));
    if (!options.out.empty()) {
        std::ofstream file(options.out, std::ios::binary | std::ios::trunc);
        file << ledger::audit::to_text(proof);
        file.close();
        if (!file) return fail(ErrorCode::io_error, "cannot write " + options.out);
    }
    print(context, proof, true);
    return {};
}

/// Offline; with a node that the auditor names, what the chain says, too.
Result<void> verify_proof(Context& context, const ProofOptions& options) {
    TRY_ASSIGN(const auto text, read_small_file(options.verify, kProofBytesMax));
    if (!text) return fail(ErrorCode::data_missing, "cannot read " + options.verify);
    TRY_ASSIGN(const Proof proof, ledger::audit::parse_proof(*text));
    TRY(ledger::audit::verify(proof, receipt_in));
    if (!options.deployment_file.empty()) {
        TRY_ASSIGN(const auto deployment,
                   ledger::settlement::read_deployment(options.deployment_file));
        if (proof.chain_id != deployment.chain_id || proof.leases != deployment.leases ||
            proof.receipt_log != deployment.receipt_log)
            return fail(ErrorCode::audit_failed, "the proof is about other contracts");
    }
    if (context.settings.rpc_given) TRY(ledger::audit::verify_on_chain(proof, context.chain()));
    print(context, proof, context.settings.rpc_given);
    return {};
}

}  // namespace

void add_proof_commands(CLI::App& app, const Choose& choose) {
    auto options = std::make_shared<ProofOptions>();
    CLI::App* proof = app.add_subcommand(
        "proof", "Prove that a receipt is under a head anchored on chain; 7 when it is not");
    CLI::Option* target = proof->add_option("RECEIPT", options->target,
                                            "Receipt hash, LEASE:SEQUENCE or record number");
    proof->add_option("--log", options->log, "A file from `log fetch` (default: the market)");
    proof->add_option("--deployment", options->deployment_file,
                      "Contracts to check against (default: as the market says)");
    proof->add_option("--out", options->out, "Write the proof to a file that anybody can verify");
    proof->add_option("--verify", options->verify, "Verify such a file, offline or with --rpc")
        ->excludes(target);
    choose(proof, [options](Context& c) -> Result<void> {
        if (!options->verify.empty()) return verify_proof(c, *options);
        if (options->target.empty())
            return fail(ErrorCode::missing_field, "give RECEIPT, or --verify FILE");
        return make_proof(c, *options);
    });
}

}  // namespace marketplace::cli
