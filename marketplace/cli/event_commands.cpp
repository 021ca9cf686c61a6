// SPDX-License-Identifier: Apache-2.0
// The account's events as they happen.
#include "marketplace/cli/event_commands.hpp"

#include "ledger/rpc/json.hpp"
#include "ledger/rpc/poll.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using nlohmann::json;

constexpr int kFailuresMax = 15;
constexpr std::size_t kShortName = 14;

struct EventOptions {
    std::vector<std::string> kinds;
    std::string after;
};

std::string text_at(const json& data, const char* name) {
    return printable(ledger::rpc::string_at(data, name).value_or("?"));
}

std::string tokens_at(const json& data, const char* name) {
    const auto atoms = ledger::rpc::u64_text_at(data, name);
    return atoms ? tokens(*atoms) : "?";
}

/// The beginning of a hash, an address or an id: enough to tell them apart.
std::string short_name(const json& data, const char* name) {
    return fit(text_at(data, name), kShortName);
}

/// "what: why", or "what" when there is nothing to say.
std::string with_reason(std::string what, const json& data) {
    const std::string reason = printable(ledger::rpc::string_at(data, "reason").value_or(""));
    return reason.empty() || reason == "none" ? what : fmt::format("{}: {}", what, reason);
}

/// "08:00:00" of "2027-01-15T08:00:00.000Z".
std::string clock_of(const json& event) {
    constexpr std::size_t kDate = 11;
    constexpr std::size_t kClock = 8;
    const std::string time = text_at(event, "timestamp");
    return time.size() < kDate + kClock ? "?" : time.substr(kDate, kClock);
}

/// Follows the stream, over restarts of the market.
class EventWatch {
 public:
    EventWatch(Context& context, const EventOptions& options)
        : context_(context), options_(options), place_(options.after) {}

    Result<void> run() {
        TRY(check_options());
        if (!context_.json()) context_.messages.line("Waiting for events; Ctrl-C ends it.");
        for (;;) {
            MarketClient market(context_.settings, context_.messages,
                                [this] { return context_.key(); });
            const auto streamed =
                market.stream("GET", target(), nullptr, "", [this](const ServerEvent& event) {
                    failures_ = 0;
                    return take(event);
                });
            const bool is_silence =
                !streamed && (streamed.error().code() == ErrorCode::unavailable ||
                              streamed.error().code() == ErrorCode::timeout);
            if (!streamed && !is_silence) return streamed;
            // A restart of the market is waited for: half a minute.
            if (++failures_ > kFailuresMax) return streamed;
            ledger::rpc::pause_for(std::chrono::seconds(2));
        }
    }

 private:
    /// They go into a URL as they are.
    [[nodiscard]] Result<void> check_options() const {
        for (const std::string& kind : options_.kinds)
            if (kind.empty() ||
                kind.find_first_not_of("abcdefghijklmnopqrstuvwxyz_.*") != std::string::npos)
                return fail(ErrorCode::invalid_field,
                            "--event is a kind like job.completed or job.*");
        if (options_.after.find_first_not_of("0123456789-") != std::string::npos)
            return fail(ErrorCode::invalid_field, "--after is the id of an event, like 7-2");
        return {};
    }
    [[nodiscard]] std::string target() const {
        const std::string kinds =
            options_.kinds.empty() ? "*" : fmt::format("{}", fmt::join(options_.kinds, ","));
        const std::string after = place_.empty() ? "" : "&after=" + place_;
        return "/v1/account/events?events=" + kinds + after;
    }

    bool take(const ServerEvent& event) {
        if (event.name == "end") return false;  // the session; the next one is a new one
        const bool had_place = !place_.empty();
        if (!event.id.empty()) place_ = event.id;
        auto body = ledger::rpc::parse_json(event.data);
        if (!body || !body->is_object()) return true;
        if (event.name == "reset") {
            tell_reset(*body, had_place);
        } else if (context_.json()) {
            (*body)["id"] = event.id;
            context_.print_json(*body);
        } else {
            const std::string line = fmt::format("{}  {:<19} {}", clock_of(*body),
                                                 text_at(*body, "type"), describe_event(*body));
            context_.out.line(context_.out.live() ? fit(line, context_.out.columns()) : line);
        }
        return true;
    }

    /// What was asked for is no longer kept, or never was.
    void tell_reset(const json& data, bool had_place) {
        if (!had_place) return;
        if (context_.json())
            context_.print_json({{"id", place_}, {"type", "reset"}, {"data", data}});
        else
            context_.messages.line(
                "Events before this are no longer kept; see millrace balance and millrace jobs.");
    }

    Context& context_;
    const EventOptions& options_;
    std::string place_;  ///< id of the last event
    int failures_ = 0;
};

}  // namespace

std::string describe_event(const json& event) {
    const std::string type = ledger::rpc::string_at(event, "type").value_or("");
    const auto found = event.find("data");
    if (found == event.end() || !found->is_object()) return "?";
    const json& data = *found;
    if (type == "account.balance")
        return fmt::format("{}: {} to spend, {} held, {} earned", text_at(data, "cause"),
                           tokens_at(data, "available"), tokens_at(data, "held"),
                           tokens_at(data, "earned"));
    if (type == "job.unmatched")
        return fmt::format("{}: {}", short_name(data, "job"), text_at(data, "text"));
    if (type.starts_with("job."))
        return with_reason(
            fmt::format("{} after {} units", short_name(data, "job"), text_at(data, "units_done")),
            data);
    if (type == "lease.matched")
        return fmt::format("{} for {}, {} locked", short_name(data, "lease"),
                           short_name(data, "job"), tokens_at(data, "locked"));
    if (type.starts_with("lease.")) return with_reason(short_name(data, "lease"), data);
    if (type == "settlement.paid")
        return fmt::format("{} for {}, fee {}", tokens_at(data, "paid"), short_name(data, "lease"),
                           tokens_at(data, "fee"));
    if (type.starts_with("order.")) return with_reason(short_name(data, "order"), data);
    return type.starts_with("worker.") ? text_at(data, "worker") : "";
}

void add_event_commands(CLI::App& app, const Choose& choose) {
    auto options = std::make_shared<EventOptions>();
    CLI::App* events = app.add_subcommand("events", "Your account's events as they happen");
    events->add_option("--event", options->kinds,
                       "Kind of event or group of them (job.*); several times; default: all");
    events->add_option("--after", options->after, "Begin behind the event of this id");
    choose(events, [options](Context& c) { return EventWatch(c, *options).run(); });
}

}  // namespace marketplace::cli
