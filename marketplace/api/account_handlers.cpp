// SPDX-License-Identifier: Apache-2.0
// The stream of an account's own events.
#include "ledger/base/limits.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/api/account_history.hpp"
#include "marketplace/api/handlers.hpp"
#include "marketplace/api/sse.hpp"
#include "marketplace/webhooks/webhook.hpp"

#include <algorithm>
#include <optional>

namespace marketplace::api {

using ledger::base::Error;
using ledger::base::ErrorCode;

namespace {

constexpr std::size_t kEventsPerRead = 16;
constexpr int kReadsPerFeed = 64;  // then others on this thread have their turn
/// At most this much is queued for a reader, and one read.
constexpr std::size_t kBytesPerWrite = ledger::base::limits::kHttpStreamQueueBytes / 4;
constexpr domain::TimeMs kCheckCallerMs = 1000;
constexpr std::size_t kQueryBytesMax = 2048;

/// What a reader asks for.
struct StreamQuery {
    std::vector<std::string> kinds{"*"};  ///< as a webhook's `events`
    std::optional<EventPlace> after;      ///< none: from now on
};

[[nodiscard]] std::vector<std::string> split_at_commas(std::string_view text) {
    std::vector<std::string> out;
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t comma = std::min(text.find(',', at), text.size());
        out.emplace_back(text.substr(at, comma - at));
        at = comma + 1;
    }
    return out;
}

[[nodiscard]] Result<StreamQuery> parse_stream_query(const http::Request& request) {
    StreamQuery out;
    if (const auto kinds = request.query_value("events")) {
        if (kinds->size() > kQueryBytesMax)
            return ledger::base::fail(ErrorCode::too_large, "?events");
        out.kinds = split_at_commas(*kinds);
        TRY(webhooks::check_patterns(out.kinds));
    }
    const auto header = request.header("last-event-id");
    const auto place = header ? std::optional<std::string>(*header) : request.query_value("after");
    if (place) {
        TRY_ASSIGN(out.after, parse_event_place(*place));
    }
    return out;
}

/// One reader's place among an account's events. Holds no events: what waits, waits in the history.
class AccountFeed final : public EventFeed {
 public:
    AccountFeed(Services& services, http::RequestPtr request, domain::Address account,
                StreamQuery query)
        : services_(services),
          request_(std::move(request)),
          account_(account),
          kinds_(std::move(query.kinds)),
          after_(query.after),
          known_(query.after.has_value()),
          checked_ms_(services.context.clock.now_ms()) {}

    void feed(http::StreamWriter& writer) override {
        if (const auto ended = check_caller()) {
            const Json data{{"code", std::string(to_string(*ended))}};
            writer.write(event_text({}, "end", ledger::rpc::to_text(data)));
            writer.close();
            return;
        }
        std::string text;
        for (int i = 0; i < kReadsPerFeed && text.size() < kBytesPerWrite; ++i)
            if (!read_on(text)) break;
        if (!text.empty()) writer.write(std::move(text));
    }

 private:
    /// Why the caller may not read on: its session or key has ended meanwhile.
    [[nodiscard]] std::optional<ErrorCode> check_caller() {
        const domain::TimeMs now_ms = services_.context.clock.now_ms();
        if (now_ms < checked_ms_ + kCheckCallerMs) return std::nullopt;
        checked_ms_ = now_ms;
        const auto account = services_.context.auth.account_of(*request_);
        return account ? std::nullopt : std::optional(account.error().code());
    }
    /// Appends what comes next; false when nothing does.
    [[nodiscard]] bool read_on(std::string& text) {
        const AccountHistory& history = *services_.context.account_history;
        const auto end = history.end();
        if (known_ && after_ == end) return false;
        const auto page = known_ ? history.after(account_, after_, kEventsPerRead)
                                 : std::optional<AccountHistory::Page>();
        if (!page) {
            reset(text, end);
            return false;
        }
        for (const AccountEvent& event : page->events) {
            const EventText told = text_of(event);
            if (webhooks::is_wanted(kinds_, told.type))
                text += event_text(to_string(event.place), told.type, told.body);
        }
        after_ = page->through;
        return !page->events.empty();
    }
    /// The reader's place is unknown or lost: it goes on from the end.
    void reset(std::string& text, const std::optional<EventPlace>& end) {
        after_ = end;
        known_ = true;
        const Json data{{"sequence", end ? Json(end->sequence) : Json(nullptr)}};
        text +=
            event_text(end ? to_string(*end) : std::string(), "reset", ledger::rpc::to_text(data));
    }

    Services& services_;
    const http::RequestPtr request_;
    const domain::Address account_;
    const std::vector<std::string> kinds_;
    std::optional<EventPlace> after_;  ///< all before it is sent; empty: there was nothing
    bool known_;                       ///< false: the reader has not said where it is
    domain::TimeMs checked_ms_;
};

void stream_events(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto account = services.context.auth.account_of(*request);
    if (!account) return reply(error_response(*request, account.error()));
    auto query = parse_stream_query(*request);
    if (!query) return reply(error_response(*request, query.error()));
    reply(stream_of(std::make_shared<AccountFeed>(services, request, *account, std::move(*query))));
}

}  // namespace

void add_account_routes(RouteTable& table, Services& services) {
    if (services.context.account_history == nullptr) return;
    RouteDoc stream{http::Method::kGet,
                    "/v1/account/events",
                    "streamAccount",
                    "webhooks",
                    "My account's events as server-sent events, in the words of webhooks; "
                    "Last-Event-ID resumes",
                    Access::kAccount};
    stream.query = {{"events", "string", "kinds, by commas: job.*, account.balance (usual: all)"},
                    {"after", "string", "id of the last event seen"}};
    stream.content_type = "text/event-stream";
    table.add(std::move(stream), [&services](const auto& request, const auto& reply) {
        stream_events(services, request, reply);
    });
}

}  // namespace marketplace::api
