// SPDX-License-Identifier: Apache-2.0
// `recheck`: runs segments of a job again from its evidence, and says which came out as receipted.
#include "worker/agent/recheck.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/json.hpp"
#include "ledger/settlement/deployment.hpp"
#include "ledger/settlement/leases_abi.hpp"
#include "worker/agent/durable_file.hpp"
#include "worker/agent/folder_links.hpp"
#include "worker/agent/market_facts.hpp"
#include "worker/agent/market_http.hpp"
#include "worker/agent/recheck_plan.hpp"
#include "worker/executor/job_program.hpp"
#include "worker/executor/process_executor.hpp"
#include "worker/verify/choice.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <future>
#include <optional>
#include <set>
#include <unordered_set>
#include <utility>
#include <vector>

namespace worker::agent {
namespace {

namespace fs = std::filesystem;
namespace wire = marketplace::wire;
using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using verify::Verdict;

constexpr std::uint64_t kPrepareSecondsMax = 1800;  // words of a fine-tuning job

/// The files of the evidence by hash, each hashed once before it is used.
class EvidenceBlobs final : public Blobs {
 public:
    explicit EvidenceBlobs(fs::path folder) : folder_(std::move(folder)) {}
    Result<fs::path> fetch(const Hash32& hash) override {
        const fs::path file = folder_ / to_hex(hash);
        if (hashed_.contains(hash)) return file;
        std::error_code error;
        if (!fs::is_regular_file(fs::symlink_status(file, error)))
            return fail(ErrorCode::data_missing, "there is no file " + file.string());
        TRY_ASSIGN(const Hash32 found, hash_file(file));
        if (found != hash)
            return fail(ErrorCode::data_invalid, file.string() + " has another hash than its name");
        hashed_.insert(hash);
        return file;
    }
    Result<void> publish(const fs::path& /*file*/, const Hash32& /*hash*/) override {
        return fail(ErrorCode::unsupported, "evidence is only read");
    }

 private:
    const fs::path folder_;
    std::unordered_set<Hash32> hashed_;
};

/// A scratch folder, gone with its owner.
class Scratch {
 public:
    static Result<Scratch> make() {
        std::string path = (fs::temp_directory_path() / "millrace-recheck-XXXXXX").string();
        if (::mkdtemp(path.data()) == nullptr)
            return fail(ErrorCode::io_error, "no temporary folder can be made");
        std::error_code error;
        fs::create_directory(fs::path(path) / "job", error);
        return Scratch(std::move(path));
    }
    ~Scratch() {
        std::error_code ignored;
        if (!path_.empty()) fs::remove_all(path_, ignored);
    }
    Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, {})) {}
    Scratch& operator=(Scratch&&) = delete;
    [[nodiscard]] fs::path job() const { return path_ / "job"; }
    [[nodiscard]] fs::path model() const { return path_ / "model"; }

 private:
    explicit Scratch(fs::path path) : path_(std::move(path)) {}
    fs::path path_;
};

/// "segment 3: step 25 of 20–30", redrawn on a terminal, nothing on a pipe.
class Progress {
 public:
    explicit Progress(const RecheckSegment& segment) : segment_(segment) {}
    void show(std::uint64_t step) const {
        if (!live_) return;
        constexpr std::uint64_t kColumns = 24;
        const std::uint64_t all = segment_.end_step - segment_.begin_step;
        const std::uint64_t done = step - std::min(step, segment_.begin_step);
        const std::uint64_t filled = all == 0 ? 0 : std::min(done, all) * kColumns / all;
        std::string bar;
        for (std::uint64_t i = 0; i < kColumns; ++i)
            bar += i < filled ? "█" : "░";
        fmt::print(stderr, "\r\x1b[KSegment {} {} step {} of {}", segment_.number, bar, step,
                   segment_.end_step);
        std::fflush(stderr);
    }
    void clear() const {
        if (live_) fmt::print(stderr, "\r\x1b[K");
    }

 private:
    const RecheckSegment& segment_;
    const bool live_ = isatty(STDERR_FILENO) == 1;
};

/// What became of one segment: a verdict, or why there is none.
struct Answer {
    std::optional<verify::AuditReport> report;
    std::string why_not;
    int threads = 0;
};

class Recheck {
 public:
    Recheck(const RecheckOptions& options, wire::JobEvidence evidence, model::JobSpec spec,
            executor::Executor& executor)
        : options_(options),
          evidence_(std::move(evidence)),
          spec_(std::move(spec)),
          executor_(executor),
          blobs_(options.folder / "blobs") {}

    [[nodiscard]] Answer run(const RecheckSegment& segment) {
        Answer out;
        out.why_not = segment.why_not;
        if (!out.why_not.empty()) return out;
        std::vector<int> counts{options_.threads};
        if (options_.threads == 0) {
            counts = likely_threads(evidence_.leases[segment.lease].resource.cpu_cores);
            // What one segment came out with, the next most likely ran with.
            if (known_threads_ != 0) {
                std::erase(counts, known_threads_);
                counts.insert(counts.begin(), known_threads_);
            }
        }
        for (const int threads : counts) {
            const auto report = audit(segment, threads);
            if (!report) {
                if (!out.report) out.why_not = report.error().message();
                return out;
            }
            const bool nearer = !out.report || report->verdict < out.report->verdict;
            if (nearer) out = {*report, {}, threads};
            if (report->verdict == Verdict::kEqual) {
                known_threads_ = threads;
                break;
            }
        }
        return out;
    }

 private:
    Result<verify::AuditReport> audit(const RecheckSegment& segment, int threads) {
        TRY_ASSIGN(const Scratch scratch, Scratch::make());
        executor::AuditTask task;
        task.spec_json = evidence_.spec;
        task.job_dir = scratch.job();
        task.runtime = {threads, options_.device};
        task.limits.memory_bytes = options_.memory_mib << 20U;
        task.stop_at_step = segment.end_step;
        TRY_ASSIGN(task.claimed, blobs_.fetch(segment.claimed));
        task.claimed_hash = segment.claimed;
        if (segment.before) {
            TRY_ASSIGN(task.files.checkpoint, blobs_.fetch(*segment.before));
        }
        TRY(std::visit([&](const auto& spec) { return inputs(spec, scratch, task); }, spec_));
        const Progress progress(segment);
        std::promise<Result<verify::AuditReport>> promise;
        Result<verify::AuditReport> found = fail(ErrorCode::worker_failed, "no verdict came");
        TRY_ASSIGN(const auto job,
                   executor_.start_audit(task, [&](const executor::JobEvent& event) {
                       if (const auto* metrics = std::get_if<executor::Metrics>(&event))
                           progress.show(metrics->step);
                       if (const auto* audited = std::get_if<executor::Audited>(&event))
                           found = audited->report;
                       if (const auto* failed = std::get_if<executor::Failed>(&event))
                           found = tl::make_unexpected(failed->error);
                       if (std::holds_alternative<executor::Finished>(event) ||
                           std::holds_alternative<executor::Failed>(event))
                           promise.set_value(found);
                   }));
        auto report = promise.get_future().get();
        progress.clear();
        return report;
    }

    Result<void> inputs(const model::TrainSpec& spec, const Scratch& /*scratch*/,
                        executor::AuditTask& task) {
        const model::DataBlobs names = model::blobs_of(spec.data);
        if (names.text) {
            TRY_ASSIGN(task.files.text, blobs_.fetch(*names.text));
        }
        if (names.images) {
            TRY_ASSIGN(task.files.images, blobs_.fetch(*names.images));
        }
        if (names.labels) {
            TRY_ASSIGN(task.files.labels, blobs_.fetch(*names.labels));
        }
        if (spec.init && !task.files.checkpoint) {
            TRY_ASSIGN(task.files.init, blobs_.fetch(*spec.init));
        }
        return {};
    }
    Result<void> inputs(const model::FinetuneSpec& spec, const Scratch& scratch,
                        executor::AuditTask& task) {
        TRY_ASSIGN(task.examples, blobs_.fetch(spec.data));
        if (spec.validation) {
            TRY_ASSIGN(task.validation, blobs_.fetch(*spec.validation));
        }
        task.limits.start_seconds_max = kPrepareSecondsMax;
        task.folder = scratch.model();
        return link_folder(blobs_, spec.files, task.folder);
    }
    static Result<void> inputs(const model::ServeSpec& /*spec*/, const Scratch& /*scratch*/,
                               executor::AuditTask& /*task*/) {
        return fail(ErrorCode::unsupported, "only training can be run again");
    }

    const RecheckOptions& options_;
    const wire::JobEvidence evidence_;
    const model::JobSpec spec_;
    executor::Executor& executor_;
    EvidenceBlobs blobs_;
    int known_threads_ = 0;
};

/// Counts of a recheck, which its exit status follows from.
struct Tally {
    std::size_t same = 0;
    std::size_t differ = 0;
    std::size_t unsure = 0;

    void add(const Answer& answer) {
        if (answer.report && answer.report->verdict == Verdict::kEqual)
            ++same;
        else if (answer.report && answer.report->verdict == Verdict::kWrong)
            ++differ;
        else
            ++unsure;
    }
    [[nodiscard]] RecheckResult result() const {
        if (differ > 0) return RecheckResult::kDiffers;
        return unsure > 0 || same == 0 ? RecheckResult::kUnsure : RecheckResult::kSame;
    }
};

std::string_view word_of(const Answer& answer) {
    if (!answer.report) return "unchecked";
    switch (answer.report->verdict) {
        case Verdict::kEqual:
            return "same";
        case Verdict::kWithin:
            return "close";
        case Verdict::kGrey:
            return "unclear";
        case Verdict::kWrong:
            return "differs";
    }
    return "unchecked";
}

/// Names come from strangers and must not steer a terminal.
std::string printable(std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
    return text;
}

std::string explanation(const Answer& answer, const marketplace::domain::Resource& machine) {
    if (!answer.report) return "could not be checked: " + printable(answer.why_not);
    const verify::AuditReport& report = *answer.report;
    if (report.verdict == Verdict::kEqual)
        return fmt::format("same ({} steps run again, {} threads)", report.steps, answer.threads);
    const std::string where = fmt::format(
        "{}, {} of the way the segment moved", printable(report.difference),
        std::isfinite(report.distance) ? fmt::format("{:.2g}", report.distance) : "not comparable");
    if (report.verdict == Verdict::kWrong) return "differs: " + where;
    return fmt::format(
        "{}: {}. Other hardware, threads or libraries may explain it; where it ran ({}, {}) the "
        "bits are the same",
        word_of(answer), where, printable(machine.gpu_model), printable(machine.runtime));
}

nlohmann::json segment_json(const RecheckSegment& segment, const wire::LeaseEvidence& lease,
                            const Answer& answer) {
    nlohmann::json out{{"segment", segment.number},
                       {"lease", to_hex(lease.id())},
                       {"worker", ledger::crypto::to_checksum(lease.resource.worker)},
                       {"gpu_model", lease.resource.gpu_model},
                       {"runtime", lease.resource.runtime},
                       {"sequence", segment.sequence},
                       {"begin_step", segment.begin_step},
                       {"end_step", segment.end_step},
                       {"claimed", to_hex(segment.claimed)},
                       {"result", std::string(word_of(answer))},
                       {"reason", answer.why_not}};
    if (!answer.report) return out;
    out["found"] = to_hex(answer.report->found_hash);
    out["difference"] = answer.report->difference;
    out["distance"] = std::isfinite(answer.report->distance)
                          ? nlohmann::json(answer.report->distance)
                          : nlohmann::json(nullptr);
    out["threads"] = answer.threads;
    return out;
}

Result<wire::JobEvidence> read_evidence(const RecheckOptions& options) {
    const fs::path file = options.folder / "evidence.jsonl";
    TRY_ASSIGN(const std::string text, read_file(file, wire::kEvidenceBytesMax));
    TRY_ASSIGN(wire::JobEvidence evidence, wire::parse_job_evidence(text));
    if (options.deployment.empty()) return evidence;
    TRY_ASSIGN(const auto deployment, ledger::settlement::read_deployment(options.deployment));
    if (deployment.chain_id != evidence.domain.chain_id ||
        deployment.leases != evidence.domain.contract)
        return fail(ErrorCode::audit_failed, "the receipts are signed for other contracts");
    return evidence;
}

/// Each lease was opened on chain between these parties, the signing worker among them.
Result<void> check_chain(const wire::JobEvidence& evidence, const std::string& rpc) {
    WorkerConfig config;
    config.rpc = rpc;
    const auto chain = dial_chain(config);
    TRY_ASSIGN(const std::uint64_t chain_id, chain->chain_id());
    if (chain_id != evidence.domain.chain_id)
        return fail(ErrorCode::chain_mismatch,
                    fmt::format("the node serves chain {}, the receipts are signed for {}",
                                chain_id, evidence.domain.chain_id));
    for (const wire::LeaseEvidence& lease : evidence.leases) {
        const wire::LeaseParties parties = lease.parties();
        TRY_ASSIGN(const auto view,
                   ledger::settlement::read_lease(
                       *chain, evidence.domain.contract, lease.id(),
                       {parties.buyer, parties.provider, parties.voucher_signer, parties.worker},
                       ledger::rpc::BlockTag::Name::kLatest));
        const bool is_there = view.state != ledger::settlement::LeaseState::kNone;
        if (!is_there && !lease.receipts.empty())
            return fail(ErrorCode::audit_failed,
                        "the chain knows no lease " + to_hex(lease.id()) + " of these parties");
    }
    return {};
}

/// The segments that were asked for: by number, by chance, or all.
Result<std::vector<RecheckSegment>> chosen(const RecheckOptions& options,
                                           std::vector<RecheckSegment> all) {
    std::set<std::uint64_t> wanted(options.segments.begin(), options.segments.end());
    if (options.sample > 0)
        for (const std::uint64_t index :
             verify::choose_segments(options.seed, all.size(), options.sample))
            wanted.insert(index + 1);
    if (wanted.empty()) return all;
    if (*wanted.begin() == 0 || *wanted.rbegin() > all.size())
        return fail(ErrorCode::out_of_range,
                    fmt::format("the evidence tells of segments 1 to {}", all.size()));
    std::erase_if(all, [&](const RecheckSegment& one) { return !wanted.contains(one.number); });
    return all;
}

}  // namespace

Result<RecheckResult> run_recheck(const RecheckOptions& options, Output output) {
    TRY_ASSIGN(const wire::JobEvidence evidence, read_evidence(options));
    if (!options.rpc.empty()) TRY(check_chain(evidence, options.rpc));
    TRY_ASSIGN(const model::JobSpec spec, model::parse_job_spec(evidence.spec));
    TRY_ASSIGN(std::vector<RecheckSegment> all, plan_recheck(evidence, spec));
    const std::uint64_t receipted = receipted_steps(all);
    TRY_ASSIGN(const std::vector<RecheckSegment> segments, chosen(options, std::move(all)));
    executor::ProcessExecutorOptions child;
    TRY_ASSIGN(child.program, executor::find_job_program());
    child.sandbox = options.sandbox;
    const auto executor = executor::make_process_executor(std::move(child));
    Recheck recheck(options, evidence, spec, *executor);
    Tally tally;
    nlohmann::json list = nlohmann::json::array();
    for (const RecheckSegment& segment : segments) {
        const Answer answer = recheck.run(segment);
        tally.add(answer);
        list.push_back(segment_json(segment, evidence.leases[segment.lease], answer));
        if (output == Output::kText)
            fmt::print("{} {:>3}  steps {}–{}  {}\n",
                       word_of(answer) == "same"      ? "✓"
                       : word_of(answer) == "differs" ? "✗"
                                                      : "?",
                       segment.number, segment.begin_step, segment.end_step,
                       explanation(answer, evidence.leases[segment.lease].resource));
    }
    if (output == Output::kJson)
        fmt::print("{}\n", ledger::rpc::to_text({{"job", evidence.job.to_string()},
                                                 {"chain_checked", !options.rpc.empty()},
                                                 {"receipted_steps", receipted},
                                                 {"same", tally.same},
                                                 {"differ", tally.differ},
                                                 {"unchecked", tally.unsure},
                                                 {"segments", std::move(list)}}));
    else
        fmt::print("{} same, {} differ, {} not told; receipts reach to step {}\n", tally.same,
                   tally.differ, tally.unsure, receipted);
    return tally.result();
}

}  // namespace worker::agent
