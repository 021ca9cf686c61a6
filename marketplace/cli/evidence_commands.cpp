// SPDX-License-Identifier: Apache-2.0
// `jobs evidence`: what was signed about a job's work and the files it was signed for, in a folder
// that `millrace-worker recheck` reads without the market.
#include "marketplace/cli/evidence_commands.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/cli/blob.hpp"
#include "marketplace/cli/output_file.hpp"
#include "marketplace/cli/public_log.hpp"
#include "marketplace/wire/document.hpp"
#include "marketplace/wire/job_evidence.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using nlohmann::json;

constexpr std::size_t kSpecBytesMax = 64 * 1024;
constexpr std::uint64_t kRecordsPerLook = 4096;

struct EvidenceOptions {
    std::string job;
    std::string folder;
    std::string log;
    std::string spec_file;
    std::vector<std::uint64_t> segments;
};

/// Takes from the log what belongs to one job, whatever else is in it.
class Gatherer {
 public:
    explicit Gatherer(wire::JobEvidence& out) : out_(out) {}

    void take(const engine::Record& record) {
        std::visit([this](const auto& command) { on(command); }, record.command);
        for (const domain::Event& event : record.events)
            if (const auto* matched = std::get_if<domain::Matched>(&event)) on(*matched);
    }

 private:
    void on(const domain::PostAsk& command) {
        asks_.insert_or_assign(ledger::eth::struct_hash(command.ask), command);
    }
    void on(const domain::AmendAsk& command) { on(command.replacement); }
    void on(const domain::PostJob& command) {
        if (command.id != out_.job) return;
        for (const domain::BidLeg& leg : command.legs)
            bids_.insert_or_assign(ledger::eth::struct_hash(leg.bid), leg.bid);
    }
    void on(const domain::AmendJob& command) { on(command.replacement); }
    void on(const domain::Matched& event) {
        const auto ask = asks_.find(event.ask_hash);
        const auto bid = bids_.find(event.bid_hash);
        if (event.job != out_.job || ask == asks_.end() || bid == bids_.end()) return;
        wire::LeaseEvidence lease;
        lease.ask = ask->second.ask;
        lease.resource = ask->second.resource;
        lease.bid = bid->second;
        lease.index = event.index;
        places_.emplace(lease.id(), out_.leases.size());
        out_.leases.push_back(std::move(lease));
    }
    void on(const domain::SubmitReceipt& command) {
        const auto place = places_.find(command.receipt.lease);
        if (place == places_.end()) return;
        auto& receipts = out_.leases[place->second].receipts;
        // A second one of a sequence is evidence of something else.
        if (command.receipt.sequence == receipts.size() + 1)
            receipts.push_back({command.receipt, command.signature});
    }
    template <typename Other>
    void on(const Other& /*command*/) {}

    wire::JobEvidence& out_;
    std::unordered_map<Hash32, domain::PostAsk> asks_;
    std::unordered_map<Hash32, ledger::eth::Bid> bids_;
    std::unordered_map<Hash32, std::size_t> places_;  // of leases in the evidence
};

Result<std::string> read_spec(Context& context, const EvidenceOptions& options) {
    if (options.spec_file.empty())
        return context.market().get_text("/v1/jobs/" + options.job + "/spec", Auth::kSession);
    TRY_ASSIGN(const auto text, read_small_file(options.spec_file, kSpecBytesMax));
    if (!text) return fail(ErrorCode::data_missing, "cannot read " + options.spec_file);
    return *text;
}

Result<void> read_log(Context& context, const std::string& where, wire::JobEvidence& out) {
    TRY_ASSIGN(const auto reader, open_log(context, where));
    Gatherer gatherer(out);
    for (std::uint64_t index = 0;; ++index) {
        TRY_ASSIGN(const auto bytes, reader->next());
        if (!bytes) break;
        TRY_ASSIGN(const engine::Record record, engine::decode_record(*bytes));
        gatherer.take(record);
        if (index % kRecordsPerLook == 0)
            context.messages.redraw({fmt::format("Log {} {:>3} %", bar(reader->permille(), 24),
                                                 reader->permille() / 10)});
    }
    context.messages.redraw({});
    return {};
}

/// Who may sign vouchers is part of a lease on chain; the market is asked, the chain has the word.
Result<void> ask_voucher_signers(Context& context, wire::JobEvidence& out) {
    TRY_ASSIGN(const json page,
               context.market().get("/v1/jobs/" + out.job.to_string() + "/leases", Auth::kNone));
    for (const json& item : page.value("data", json::array()))
        for (wire::LeaseEvidence& lease : out.leases)
            if (item.value("lease", "") == to_hex(lease.id())) {
                TRY_ASSIGN(lease.voucher_signer, ledger::rpc::string_at(item, "voucher_signer")
                                                     .and_then([](const std::string& text) {
                                                         return ledger::crypto::parse_address(text);
                                                     }));
            }
    return {};
}

/// The checkpoints before and after the segments that are wanted, or all, counted from 1.
Result<std::set<Hash32>> checkpoints_of(const wire::JobEvidence& evidence,
                                        const std::vector<std::uint64_t>& wanted) {
    std::set<Hash32> all;
    std::set<Hash32> out;
    std::uint64_t number = 0;
    for (const wire::LeaseEvidence& lease : evidence.leases)
        for (const wire::SignedReceipt& item : lease.receipts) {
            ++number;
            const bool is_wanted =
                wanted.empty() || std::find(wanted.begin(), wanted.end(), number) != wanted.end();
            // The first of all begins from the job's own data.
            if (is_wanted && all.contains(item.receipt.model_hash))
                out.insert(item.receipt.model_hash);
            if (is_wanted) out.insert(item.receipt.response_hash);
            all.insert(item.receipt.response_hash);
        }
    for (const std::uint64_t one : wanted)
        if (one == 0 || one > number)
            return fail(ErrorCode::out_of_range,
                        fmt::format("--segment {}: the job has {} so far", one, number));
    return out;
}

/// Fetches what is not there yet; the hashes of what the market has no more.
template <typename Hashes>
Result<std::vector<std::string>> fetch_blobs(Context& context, const Hashes& hashes,
                                             const std::filesystem::path& folder) {
    std::vector<std::string> gone;
    for (const Hash32& hash : hashes) {
        const auto file = folder / to_hex(hash);
        std::error_code ignored;
        if (std::filesystem::exists(file, ignored)) {
            const auto found = hash_file(file);
            if (found && *found == hash) continue;
        }
        const auto fetched = download_blob(context, hash, file);
        if (fetched) continue;
        const ErrorCode code = fetched.error().code();
        if (code != ErrorCode::not_found && code != ErrorCode::data_missing)
            return tl::make_unexpected(fetched.error());
        gone.push_back(to_hex(hash));
    }
    return gone;
}

Result<void> gather(Context& context, const EvidenceOptions& options) {
    TRY_ASSIGN(const MarketFacts* facts, context.facts());
    wire::JobEvidence evidence;
    evidence.domain = {facts->deployment.chain_id, facts->deployment.leases};
    TRY_ASSIGN(evidence.job, domain::JobId::parse(options.job));
    TRY_ASSIGN(evidence.spec, read_spec(context, options));
    TRY_ASSIGN(const wire::JobSpec spec, wire::parse_job_spec(evidence.spec));
    if (spec.kind != domain::JobKind::kTrain)  // of both kinds
        return fail(ErrorCode::unsupported, "only the work of training jobs can be run again");
    TRY(read_log(context, options.log, evidence));
    TRY(ask_voucher_signers(context, evidence));
    const std::string text = wire::to_text(evidence);
    // Not a word of the market's is taken for what somebody should have signed.
    TRY(wire::parse_job_evidence(text));
    std::error_code error;
    const std::filesystem::path folder = options.folder;
    std::filesystem::create_directories(folder / "blobs", error);
    if (error) return fail(ErrorCode::io_error, "cannot make " + options.folder);
    TRY_ASSIGN(const auto checkpoints, checkpoints_of(evidence, options.segments));
    TRY(write_output(context.out, (folder / "evidence.jsonl").string(), text));
    TRY_ASSIGN(auto gone, fetch_blobs(context, spec.blobs, folder / "blobs"));
    TRY_ASSIGN(const auto more, fetch_blobs(context, checkpoints, folder / "blobs"));
    gone.insert(gone.end(), more.begin(), more.end());
    std::size_t receipts = 0;
    for (const wire::LeaseEvidence& lease : evidence.leases)
        receipts += lease.receipts.size();
    if (context.json()) {
        context.print_json({{"job", options.job},
                            {"folder", options.folder},
                            {"leases", evidence.leases.size()},
                            {"receipts", receipts},
                            {"checkpoints", checkpoints.size()},
                            {"gone", gone}});
        return {};
    }
    context.say(fmt::format("{} signed receipts of {} leases, {} checkpoints in {}", receipts,
                            evidence.leases.size(), checkpoints.size(), options.folder));
    if (!gone.empty())
        context.say(
            fmt::format("{} files are no longer kept by the market: what needs them cannot "
                        "be checked",
                        gone.size()));
    context.say("Next: millrace-worker recheck " + options.folder);
    return {};
}

}  // namespace

void add_evidence_command(CLI::App& jobs, const Choose& choose) {
    auto options = std::make_shared<EvidenceOptions>();
    CLI::App* command = jobs.add_subcommand(
        "evidence", "Gather a training's signed receipts and checkpoints, to be run again");
    command->add_option("JOB", options->job, "job_…")->required();
    command->add_option("DIR", options->folder, "A folder; what is there is kept")->required();
    command
        ->add_option("--segment", options->segments,
                     "Only these segments' checkpoints, counted from 1: 2 or 2,5 (default: all)")
        ->delimiter(',')
        ->allow_extra_args(false);
    command->add_option("--log", options->log, "A file from `log fetch` (default: the market)");
    command->add_option("--spec", options->spec_file,
                        "The job's spec (default: the market's, which gives it to the buyer)");
    choose(command, [options](Context& c) { return gather(c, *options); });
}

}  // namespace marketplace::cli
