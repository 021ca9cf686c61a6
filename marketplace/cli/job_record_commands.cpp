// SPDX-License-Identifier: Apache-2.0
// What a job said while it ran: `jobs logs` and `jobs metrics`.
#include "ledger/rpc/json.hpp"
#include "marketplace/cli/context.hpp"
#include "marketplace/cli/output_file.hpp"

#include <CLI/CLI.hpp>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <memory>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using nlohmann::json;

constexpr std::size_t kCurveRows = 8;

struct RecordOptions {
    std::string id;
    std::string csv;
    bool follow = false;
};

std::uint64_t count_at(const json& data, const char* name) {
    return ledger::rpc::integer_at(data, name).value_or(0);
}

double number_at(const json& data, const char* name) {
    const auto found = data.find(name);
    return found != data.end() && found->is_number() ? found->get<double>() : 0;
}

std::string clock_text(const json& record) {
    const auto time_s = static_cast<std::time_t>(count_at(record, "time_ms") / 1000);
    return fmt::format("{:%m-%d %H:%M:%S}", fmt::gmtime(time_s));
}

/// "running, 40 steps done", "step 40: loss 3.102", "step 40: held-out loss 3.011, accuracy 12.0
/// %".
std::string record_text(const std::string& kind, const json& data) {
    if (kind == "phase") {
        std::string out = printable(data.value("state", ""));
        if (const std::uint64_t done = count_at(data, "units_done"); done > 0)
            out += fmt::format(", {} units done", done);
        if (const std::string reason = data.value("reason", ""); !reason.empty())
            out += ": " + printable(reason);
        return out;
    }
    if (kind == "train")
        return fmt::format("step {}: loss {}", count_at(data, "step"),
                           format_number(number_at(data, "loss")));
    if (kind == "eval")
        return fmt::format("step {}: held-out loss {}, accuracy {:.1f} %", count_at(data, "step"),
                           format_number(number_at(data, "loss")), number_at(data, "metric") * 100);
    return printable(kind) + " " + printable(ledger::rpc::to_text(data));
}

/// All records of a job that the market still has, page by page.
Result<std::vector<json>> read_records(Context& context, const std::string& job) {
    std::vector<json> out;
    for (std::uint64_t after = 0;;) {
        TRY_ASSIGN(
            const json page,
            context.market().get(fmt::format("/v1/jobs/{}/events?limit=1000&after={}", job, after),
                                 Auth::kNone));
        const json items = page.value("data", json::array());
        for (const json& record : items) {
            const std::uint64_t sequence = count_at(record, "sequence");
            if (!record.is_object() || sequence <= after)
                return fail(ErrorCode::invalid_encoding, "the job's records are out of order");
            after = sequence;
            out.push_back(record);
        }
        if (!page.value("has_more", false) || items.empty()) return out;
    }
}

Result<void> follow(Context& context, const std::string& job) {
    return context.market().stream(
        "GET", "/v1/jobs/" + job + "/events", nullptr, "none", [&](const ServerEvent& event) {
            if (event.name == "end") return false;
            const auto data = ledger::rpc::parse_json(event.data);
            if (!data || !data->is_object()) return true;
            if (context.json())
                context.print_json({{"kind", event.name}, {"data", *data}});
            else
                context.out.line(record_text(event.name, *data));
            return true;
        });
}

Result<void> logs(Context& context, const RecordOptions& options) {
    if (options.follow) return follow(context, options.id);
    TRY_ASSIGN(const auto records, read_records(context, options.id));
    if (context.json()) {
        context.print_json(records);
        return {};
    }
    for (const json& record : records)
        context.out.line(fmt::format(
            "{}  {}", clock_text(record),
            record_text(record.value("kind", ""), record.value("data", json::object()))));
    if (records.empty())
        context.say("Nothing is kept of it. Next: millrace jobs show " + options.id);
    return {};
}

bool is_metric(const json& record) {
    const std::string kind = record.value("kind", "");
    return kind == "train" || kind == "eval";
}

Result<void> write_metrics(Context& context, const std::vector<json>& records,
                           const std::string& file) {
    std::string text = "step,kind,loss,metric,tokens_per_s,time_ms\r\n";
    for (const json& record : records) {
        const json data = record.value("data", json::object());
        text +=
            fmt::format("{},{},{},{},{},{}\r\n", count_at(data, "step"), record.value("kind", ""),
                        number_at(data, "loss"), number_at(data, "metric"),
                        number_at(data, "tokens_per_s"), count_at(record, "time_ms"));
    }
    TRY(write_output(context.out, file, text));
    if (file == "-") return {};
    context.say(fmt::format("{} rows in {}", records.size(), file));
    return {};
}

void print_metrics(Context& context, const std::vector<json>& records) {
    std::vector<double> losses;
    Table table({{"step", Table::Align::kRight},
                 {"kind"},
                 {"loss", Table::Align::kRight},
                 {"accuracy", Table::Align::kRight},
                 {"per s", Table::Align::kRight}});
    for (const json& record : records) {
        const json data = record.value("data", json::object());
        const bool is_eval = record.value("kind", "") == "eval";
        if (!is_eval) losses.push_back(number_at(data, "loss"));
        const double rate = number_at(data, "tokens_per_s");
        table.row({std::to_string(count_at(data, "step")), is_eval ? "held-out" : "train",
                   format_number(number_at(data, "loss")),
                   is_eval ? fmt::format("{:.1f} %", number_at(data, "metric") * 100) : "",
                   rate > 0 ? fmt::format("{:.0f}", rate) : ""});
    }
    if (table.empty()) return context.say("No figures yet. Next: millrace jobs watch JOB");
    if (context.out.live())
        for (const std::string& line : curve(losses, context.out.columns() - 2, kCurveRows))
            context.out.line(line);
    table.print(context.out);
}

Result<void> metrics(Context& context, const RecordOptions& options) {
    TRY_ASSIGN(std::vector<json> records, read_records(context, options.id));
    std::erase_if(records, [](const json& record) { return !is_metric(record); });
    if (!options.csv.empty()) return write_metrics(context, records, options.csv);
    if (context.json())
        context.print_json(records);
    else
        print_metrics(context, records);
    return {};
}

}  // namespace

void add_job_record_commands(CLI::App& jobs, const Choose& choose) {
    auto options = std::make_shared<RecordOptions>();
    CLI::App* log = jobs.add_subcommand("logs", "What happened to a job, line by line");
    log->add_option("JOB", options->id, "job_…")->required();
    log->add_flag("--follow,-f", options->follow, "Go on until the job ends");
    choose(log, [options](Context& c) { return logs(c, *options); });
    CLI::App* figures = jobs.add_subcommand("metrics", "Loss, accuracy and speed of a training");
    figures->add_option("JOB", options->id, "job_…")->required();
    figures->add_option("--csv", options->csv, "Write them as CSV; - for stdout");
    choose(figures, [options](Context& c) { return metrics(c, *options); });
}

}  // namespace marketplace::cli
