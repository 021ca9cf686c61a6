// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/cli/blob.hpp"
#include "marketplace/cli/evidence_commands.hpp"
#include "marketplace/cli/explain.hpp"
#include "marketplace/cli/job_keys.hpp"
#include "marketplace/cli/watch.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using nlohmann::json;

struct JobOptions {
    std::string id;
    std::string state;
    std::string file;
    std::uint64_t limit = 20;
    bool all = false;
};

std::string progress_of(const json& job) {
    const std::string done = job.value("units_done", "0");
    const std::string total = job.value("total_units", "0");
    return total == "0" ? "" : done + "/" + total;
}

Result<void> list(Context& context, const JobOptions& options) {
    std::string target = "/v1/jobs?limit=" + std::to_string(options.limit);
    if (!options.all) {
        TRY_ASSIGN(const Address account, context.account());
        target += "&buyer=" + ledger::crypto::to_checksum(account);
    }
    if (!options.state.empty()) target += "&state=" + options.state;
    TRY_ASSIGN(const json page, context.market().get(target, Auth::kNone));
    if (context.json()) {
        context.print_json(page);
        return {};
    }
    Table table({{"job"}, {"kind"}, {"state"}, {"steps", Table::Align::kRight}, {"note"}});
    for (const json& job : page.value("data", json::array())) {
        std::string note = job.value("reason", "");
        if (job.contains("mismatches") && job["mismatches"].is_object())
            note = job["mismatches"].value("text", note);
        table.row({job.value("id", ""), job.value("kind", ""), job.value("state", ""),
                   progress_of(job), note});
    }
    if (table.empty()) {
        context.say("No jobs yet. Next: millrace train --help");
        return {};
    }
    table.print(context.out);
    return {};
}

Result<void> show(Context& context, const JobOptions& options) {
    TRY_ASSIGN(json job, context.market().get("/v1/jobs/" + options.id, Auth::kNone));
    TRY_ASSIGN(const json leases,
               context.market().get("/v1/jobs/" + options.id + "/leases", Auth::kNone));
    if (context.json()) {
        job["lease_details"] = leases.value("data", json::array());
        context.print_json(job);
        return {};
    }
    context.say(fmt::format(
        "Job         {}\nKind        {}\nState       {}{}", printable(job.value("id", "")),
        printable(job.value("kind", "")), printable(job.value("state", "")),
        job.value("reason", "").empty() ? "" : " (" + printable(job.value("reason", "")) + ")"));
    if (const std::string progress = progress_of(job); !progress.empty())
        context.say("Steps       " + progress);
    if (job.contains("checkpoint") && job["checkpoint"].is_string())
        context.say("Checkpoint  " + job["checkpoint"].get<std::string>());
    if (job.contains("mismatches") && job["mismatches"].is_object())
        context.say("Why not     " + printable(job["mismatches"].value("text", "")));
    if (context.settings.explain && job.contains("mismatches"))
        for (const std::string& line : explain_mismatches(job["mismatches"]))
            context.say(line);
    Table table({{"lease"},
                 {"unit"},
                 {"state"},
                 {"worker"},
                 {"receipts", Table::Align::kRight},
                 {"amount", Table::Align::kRight},
                 {"paid", Table::Align::kRight}});
    for (const json& lease : leases.value("data", json::array()))
        table.row({lease.value("lease", "").substr(0, 12), lease.value("unit_kind", ""),
                   lease.value("state", ""), lease.value("worker", "").substr(0, 12),
                   lease.value("sequence", ""),
                   tokens(ledger::rpc::u64_text_at(lease, "amount").value_or(0)),
                   tokens(ledger::rpc::u64_text_at(lease, "claimed").value_or(0))});
    if (!table.empty()) table.print(context.out);
    return {};
}

Result<void> watch(Context& context, const JobOptions& options) {
    TRY(watch_job(context, options.id));
    if (!context.json()) context.say("Next: millrace jobs show " + options.id);
    return {};
}

Result<void> cancel(Context& context, const JobOptions& options) {
    TRY(context.confirm("Cancel " + options.id + "? What was done stays paid."));
    TRY_ASSIGN(const json job, context.market().post("/v1/jobs/" + options.id + "/cancel",
                                                     json::object(), Auth::kSession));
    if (context.json()) {
        context.print_json(job);
    } else {
        context.say("Cancelled. What was locked and not earned comes back when its leases close.");
    }
    return {};
}

Result<void> artifacts(Context& context, const JobOptions& options) {
    TRY_ASSIGN(const json job, context.market().get("/v1/jobs/" + options.id, Auth::kNone));
    if (!job.contains("checkpoint") || !job["checkpoint"].is_string())
        return fail(ErrorCode::not_found, "the job has no checkpoint yet");
    TRY_ASSIGN(const Hash32 hash,
               ledger::base::parse_fixed<Hash32>(job["checkpoint"].get<std::string>()));
    TRY(fetch_artifact(context, options.id, hash, options.file));
    if (context.json()) {
        context.print_json({{"hash", ledger::base::to_hex(hash)}, {"file", options.file}});
    } else {
        context.say(options.file + "  (safetensors, hash checked)");
    }
    return {};
}

Result<void> unlock(Context& context, const JobOptions& options) {
    TRY_ASSIGN(auto giver, KeyGiver::make(context, options.id));
    if (!giver)
        return fail(ErrorCode::not_found,
                    "this folder keeps no data key of the job: it is where the job was posted "
                    "from, if the job is sealed at all");
    TRY_ASSIGN(const auto leases, giver->give());
    if (leases.empty())
        return fail(ErrorCode::wrong_state,
                    "no worker has the job now: unlock it when `millrace jobs show` lists a lease, "
                    "or let `millrace jobs watch` do it");
    if (context.json()) {
        context.print_json({{"id", options.id}, {"leases", leases}});
        return {};
    }
    for (const std::string& lease : leases)
        context.say("Data key given to the worker of lease " + lease.substr(0, 12));
    context.say("Next: millrace jobs watch " + options.id);
    return {};
}

}  // namespace

void add_job_commands(CLI::App& app, const Choose& choose) {
    auto options = std::make_shared<JobOptions>();
    CLI::App* jobs = app.add_subcommand("jobs", "Jobs and what became of them");
    jobs->require_subcommand(1);
    add_job_record_commands(*jobs, choose);
    CLI::App* all = jobs->add_subcommand("list", "Your jobs, newest first");
    all->add_flag("--all", options->all, "Everybody's");
    all->add_option("--state", options->state, "Only these");
    all->add_option("--limit", options->limit)->check(CLI::Range(1, 100))->capture_default_str();
    choose(all, [options](Context& c) { return list(c, *options); });
    const auto with_id = [&](const char* name, const char* text, auto run) {
        CLI::App* command = jobs->add_subcommand(name, text);
        command->add_option("JOB", options->id, "job_…")->required();
        choose(command, [options, run](Context& c) { return run(c, *options); });
        return command;
    };
    with_id("show", "One job with its leases and costs", show);
    with_id("watch", "Follow a job live; Ctrl-C leaves it running", watch);
    with_id("cancel", "End a job", cancel);
    with_id("unlock", "Give a sealed job's data key to the worker that has the job now", unlock);
    with_id("artifacts", "Fetch the last checkpoint", artifacts)
        ->add_option("FILE", options->file, "Where to write it")
        ->required();
    add_evidence_command(*jobs, choose);
}

}  // namespace marketplace::cli
