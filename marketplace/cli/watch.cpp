// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/watch.hpp"

#include "ledger/base/clock.hpp"
#include "ledger/rpc/json.hpp"
#include "ledger/rpc/poll.hpp"
#include "marketplace/cli/job_keys.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <optional>
#include <utility>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using nlohmann::json;

std::string* detach_text = nullptr;

extern "C" void on_interrupt(int /*signal*/) {
    // Async-signal-safe: the text was made before.
    if (detach_text != nullptr) {
        const auto ignored = ::write(STDERR_FILENO, detach_text->data(), detach_text->size());
        (void)ignored;
    }
    std::_Exit(0);
}

double number_at(const json& data, const char* name) {
    const auto found = data.find(name);
    return found != data.end() && found->is_number() ? found->get<double>() : 0;
}

std::uint64_t count_at(const json& data, const char* name) {
    const auto found = data.find(name);
    return found != data.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

std::string meter(std::uint64_t done, std::uint64_t total, std::size_t columns) {
    const std::uint64_t permille = total == 0 ? 0 : std::min(done, total) * 1000 / total;
    return fmt::format("{} {:>3} %", bar(permille, columns), permille / 10);
}

}  // namespace

std::string JobView::take(std::string_view kind, std::string_view text) {
    const auto parsed = ledger::rpc::parse_json(text);
    if (!parsed || !parsed->is_object()) return {};
    const json& data = *parsed;
    if (kind == "phase") {
        const std::string before = state_;
        state_ = printable(data.value("state", state_));
        reason_ = printable(data.value("reason", std::string()));
        units_done_ = count_at(data, "units_done");
        step_ = std::max(step_, units_done_);
        if (state_ == before) return {};
        return reason_.empty() ? state_ : fmt::format("{} ({})", state_, reason_);
    }
    if (kind == "train") {
        step_ = count_at(data, "step");
        loss_ = number_at(data, "loss");
        rate_ = number_at(data, "tokens_per_s");
        losses_.push_back(loss_);
        const std::uint64_t tenth = total_ == 0 ? 0 : step_ * 10 / total_;
        if (tenth <= printed_tenth_) return {};
        printed_tenth_ = tenth;
        return fmt::format("step {} of {}: loss {}", step_, total_, format_number(loss_));
    }
    if (kind == "eval") {
        last_eval_ = number_at(data, "loss");
        accuracy_ = number_at(data, "metric");
        if (!has_eval_) first_eval_ = last_eval_;
        has_eval_ = true;
        return fmt::format("step {}: held-out loss {}, accuracy {:.1f} %", count_at(data, "step"),
                           format_number(last_eval_), accuracy_ * 100);
    }
    return {};
}

std::vector<std::string> JobView::render(const Terminal& terminal, std::uint64_t elapsed_ms) const {
    std::vector<std::string> lines;
    const Paint paint = state_ == "completed" ? Paint::kGreen
                        : is_final()          ? Paint::kRed
                        : state_ == "running" ? Paint::kCyan
                                              : Paint::kYellow;
    std::string head =
        fmt::format("{}  {}", terminal.paint(paint, state_), format_duration(elapsed_ms));
    if (!reason_.empty()) head += "  " + reason_;
    lines.push_back(head);
    if (total_ > 0)
        lines.push_back(fmt::format("steps {}  {} of {}", meter(step_, total_, 24), step_, total_));
    if (!losses_.empty()) {
        const auto plot = curve(losses_, std::min<std::size_t>(terminal.columns() - 2, 72), 6);
        lines.insert(lines.end(), plot.begin(), plot.end());
        std::string text = fmt::format("loss {}", format_number(loss_));
        if (has_eval_)
            text +=
                fmt::format("  held-out {} (from {}), accuracy {:.1f} %", format_number(last_eval_),
                            format_number(first_eval_), accuracy_ * 100);
        if (rate_ > 0) text += fmt::format("  {:.0f}/s", rate_);
        lines.push_back(text);
    }
    if (cap_ > 0)
        lines.push_back(
            fmt::format("cost  {}  {} of {}", meter(cost_, cap_, 24), tokens(cost_), tokens(cap_)));
    return lines;
}

bool JobView::is_final() const {
    return state_ == "completed" || state_ == "failed" || state_ == "cancelled" ||
           state_ == "expired";
}

Result<JobCost> read_cost(Context& context, const std::string& job) {
    TRY_ASSIGN(const json leases, context.market().get("/v1/jobs/" + job + "/leases", Auth::kNone));
    JobCost cost;
    for (const json& lease : leases.value("data", json::array())) {
        cost.amount_atoms += ledger::rpc::u64_text_at(lease, "amount").value_or(0);
        cost.receipts += ledger::rpc::u64_text_at(lease, "sequence").value_or(0);
        const std::string state = lease.value("state", "");
        if (state == "open" || state == "running")
            cost.locked_atoms += ledger::rpc::u64_text_at(lease, "locked").value_or(0) -
                                 ledger::rpc::u64_text_at(lease, "amount").value_or(0);
    }
    return cost;
}

namespace {

/// One job being watched.
class Watch {
 public:
    Watch(Context& context, std::string job, const json& document, std::optional<KeyGiver> keys)
        : context_(context),
          job_(std::move(job)),
          view_(ledger::rpc::u64_text_at(document, "total_units").value_or(0)),
          created_ms_(ledger::rpc::integer_at(document, "created_ms").value_or(0)),
          keys_(std::move(keys)) {}

    [[nodiscard]] Result<void> run();

 private:
    using Moment = std::chrono::steady_clock::time_point;

    [[nodiscard]] bool take(const ServerEvent& event);
    [[nodiscard]] bool give_keys(KeyGiver::Urgency urgency);
    void show();

    Context& context_;
    const std::string job_;
    JobView view_;
    const std::uint64_t created_ms_;
    std::optional<KeyGiver> keys_;
    std::optional<ledger::base::Error> trouble_;  // ends the watch
    std::string last_id_ = "0";
    Moment next_cost_{};
    int failures_ = 0;
};

void Watch::show() {
    const std::uint64_t now_ms = ledger::base::SystemClock().now_ms();
    context_.messages.redraw(
        view_.render(context_.messages, now_ms > created_ms_ ? now_ms - created_ms_ : 0));
}

bool Watch::give_keys(KeyGiver::Urgency urgency) {
    if (!keys_) return true;
    const auto given = keys_->keep_giving(urgency);
    if (given) return true;
    trouble_ = given.error();
    return false;
}

bool Watch::take(const ServerEvent& event) {
    using std::chrono::steady_clock;
    failures_ = 0;
    if (event.name == "end") return false;
    if (!event.id.empty()) last_id_ = event.id;
    const std::string line = view_.take(event.name, event.data);
    if (context_.json()) {
        context_.out.line(fmt::format(R"({{"event":"{}","data":{}}})", event.name, event.data));
    } else if (!context_.messages.live() && !line.empty()) {
        context_.messages.line(line);
    }
    if (context_.messages.live() && steady_clock::now() >= next_cost_) {
        next_cost_ = steady_clock::now() + std::chrono::seconds(2);
        if (const auto cost = read_cost(context_, job_))
            view_.set_cost(cost->amount_atoms, cost->amount_atoms + cost->locked_atoms);
    }
    // A match comes with a phase; leases of a job that runs already are found by and by.
    const bool goes_on = event.name != "phase" || give_keys(KeyGiver::Urgency::kNow);
    show();
    return goes_on && !view_.is_final();
}

Result<void> Watch::run() {
    while (!view_.is_final()) {
        if (!give_keys(KeyGiver::Urgency::kWhenDue)) break;
        MarketClient events(context_.settings, context_.messages,
                            [this] { return context_.key(); });
        const auto streamed = events.stream(
            "GET", "/v1/jobs/" + job_ + "/events?after=" + last_id_, nullptr, "none",
            [this](const ServerEvent& event) { return take(event); },
            [this] { return give_keys(KeyGiver::Urgency::kWhenDue); });
        if (trouble_ || view_.is_final()) break;
        const auto now = context_.market().get("/v1/jobs/" + job_, Auth::kNone);
        if (now && now->value("final", false)) {
            (void)view_.take("phase", ledger::rpc::to_text(*now));
            break;
        }
        // A restart of the market is waited for: half a minute.
        if (!streamed && ++failures_ > 15) return streamed;
        ledger::rpc::pause_for(std::chrono::seconds(failures_ > 0 ? 2 : 1));
    }
    if (trouble_) return tl::make_unexpected(*trouble_);
    if (const auto cost = read_cost(context_, job_))
        view_.set_cost(cost->amount_atoms, cost->amount_atoms + cost->locked_atoms);
    show();
    context_.messages.settle();
    if (view_.state() == "completed") return {};
    return fail(ErrorCode::worker_failed,
                fmt::format("job {} ended as {}{}", job_, view_.state(),
                            view_.reason().empty() ? "" : ": " + view_.reason()));
}

/// A sealed job that nobody watches stands still at its next worker.
std::string unlock_hint(const std::string& job) {
    return fmt::format(
        "Its data is sealed: a worker that takes the job waits 15 minutes for the key. Give it "
        "with "
        "`millrace jobs unlock {}`, after each match anew; `jobs watch` does it by itself.",
        job);
}

}  // namespace

Result<void> watch_job(Context& context, const std::string& job) {
    TRY_ASSIGN(const json document, context.market().get("/v1/jobs/" + job, Auth::kNone));
    TRY_ASSIGN(auto keys, KeyGiver::make(context, job));
    static std::string text;
    text = "\nDetached; the job goes on. Come back with:\nmillrace jobs watch " + job + "\n";
    if (keys) text += unlock_hint(job) + "\n";
    detach_text = &text;
    std::signal(SIGINT, on_interrupt);
    Watch watch(context, job, document, std::move(keys));
    const auto watched = watch.run();
    detach_text = nullptr;
    std::signal(SIGINT, SIG_DFL);
    return watched;
}

void print_detached(Context& context, const std::string& job, std::uint64_t worst_case_atoms) {
    const bool sealed = keeps_seal(context, job);
    if (context.json()) {
        json document{{"id", job}, {"worst_case", std::to_string(worst_case_atoms)}};
        if (sealed) document["sealed"] = true;
        context.print_json(document);
        return;
    }
    if (sealed) context.messages.line(unlock_hint(job));
    context.say(
        fmt::format("{}\nNext: millrace jobs {} {}", job, sealed ? "unlock" : "watch", job));
}

}  // namespace marketplace::cli
