// SPDX-License-Identifier: Apache-2.0
// Market data: trades, candles, index prices, depth, and the stream of changes.
#include "ledger/base/limits.hpp"
#include "ledger/base/money.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/api/handlers.hpp"
#include "marketplace/api/market_views.hpp"
#include "marketplace/api/sse.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <limits>

namespace marketplace::api {

using engine::MarketData;
using ledger::base::ErrorCode;
using ledger::base::fail;

namespace {

constexpr std::size_t kLevelsMax = 500;
constexpr std::size_t kCandlesMax = 1500;
constexpr std::size_t kChangesPerRead = 1024;
/// At most this much is queued for a reader, and one event.
constexpr std::size_t kBytesPerWrite = ledger::base::limits::kHttpStreamQueueBytes / 2;

[[nodiscard]] Json sequence_view(const MarketData& market) {
    return market.sequence() ? Json(*market.sequence()) : Json(nullptr);
}

/// Runs `read` over the market data and answers with what it returns.
void answer_from_market(Services& services, const http::RequestPtr& request,
                        const http::Reply& reply,
                        const std::function<Result<Json>(const MarketData&)>& read) {
    Result<Json> out = Json();
    services.context.market.read([&](const MarketData& market) { out = read(market); });
    reply(to_response(*request, out));
}

// Trades ----------------------------------------------------------------------------------------

struct TradePlace {
    std::uint64_t sequence = 0;
    std::uint64_t index = 0;
    friend auto operator<=>(const TradePlace&, const TradePlace&) = default;
};

/// "<sequence>-<index>".
[[nodiscard]] Result<TradePlace> parse_trade_id(std::string_view text) {
    const auto dash = text.find('-');
    const auto sequence = ledger::base::parse_u64(text.substr(0, dash));
    const auto index = ledger::base::parse_u64(
        dash == std::string_view::npos ? std::string_view() : text.substr(dash + 1));
    if (!sequence || !index) return fail(ErrorCode::invalid_field, "?after names no trade");
    return TradePlace{*sequence, *index};
}

struct TradeQuery {
    engine::BookFilter filter;
    std::optional<TradePlace> after;
    bool newest_first = true;
    std::size_t limit = 0;
};

[[nodiscard]] Result<TradeQuery> parse_trade_query(const http::Request& request) {
    TradeQuery out;
    TRY_ASSIGN(out.filter, read_book_filter(request));
    TRY_ASSIGN(out.limit, read_limit(request, 50, 500));
    const std::string order = request.query_value("order").value_or("desc");
    if (order != "asc" && order != "desc")
        return fail(ErrorCode::invalid_field, "?order must be asc or desc");
    out.newest_first = order == "desc";
    if (const auto after = request.query_value("after")) {
        TRY_ASSIGN(out.after, parse_trade_id(*after));
    }
    return out;
}

template <typename Iterator>
[[nodiscard]] Json trades_between(Iterator at, Iterator end, const TradeQuery& query) {
    Json items = Json::array();
    bool has_more = false;
    for (; at != end && !has_more; ++at) {
        const engine::Trade& trade = *at;
        const auto& filter = query.filter;
        const bool fits = (!filter.unit_kind || trade.good.unit_kind == *filter.unit_kind) &&
                          (!filter.gpu_model || trade.good.gpu_model == *filter.gpu_model) &&
                          (!filter.region || trade.region == *filter.region);
        if (!fits) continue;
        has_more = items.size() == query.limit;
        if (!has_more) items.push_back(trade_view(trade));
    }
    return list_of(std::move(items), has_more);
}

[[nodiscard]] Json trades_of(const MarketData& market, const TradeQuery& query) {
    const auto& trades = market.history().trades();
    const auto place_of = [](const engine::Trade& trade) {
        return TradePlace{trade.sequence, trade.index};
    };
    if (!query.newest_first) {
        auto begin = trades.begin();
        if (query.after)
            begin = std::upper_bound(
                begin, trades.end(), *query.after,
                [&](const TradePlace& place, const auto& t) { return place < place_of(t); });
        return trades_between(begin, trades.end(), query);
    }
    auto end = trades.end();
    if (query.after)
        end = std::lower_bound(
            trades.begin(), end, *query.after,
            [&](const auto& t, const TradePlace& place) { return place_of(t) < place; });
    return trades_between(std::make_reverse_iterator(end), trades.rend(), query);
}

void list_trades(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto query = parse_trade_query(*request);
    if (!query) return reply(error_response(*request, query.error()));
    answer_from_market(services, request, reply, [&](const MarketData& market) -> Result<Json> {
        return trades_of(market, *query);
    });
}

// Candles, index, depth -------------------------------------------------------------------------

struct CandleQuery {
    engine::Good good;
    engine::Interval interval = engine::Interval::kMinute;
    std::uint64_t from_ms = 0;
    std::uint64_t to_ms = 0;
    std::size_t limit = 0;
};

[[nodiscard]] Result<CandleQuery> parse_candle_query(const http::Request& request) {
    CandleQuery out;
    TRY_ASSIGN(const engine::BookFilter filter, read_book_filter(request));
    if (!filter.unit_kind || !filter.gpu_model)
        return fail(ErrorCode::missing_field, "?unit_kind and ?gpu_model say which good");
    out.good = {*filter.unit_kind, *filter.gpu_model};
    const auto interval = engine::parse_interval(request.query_value("interval").value_or("1h"));
    if (!interval) return fail(ErrorCode::invalid_field, "?interval must be 1m, 5m, 1h or 1d");
    out.interval = *interval;
    TRY_ASSIGN(out.from_ms, read_query_u64(request, "from", 0));
    TRY_ASSIGN(out.to_ms, read_query_u64(request, "to", std::numeric_limits<std::uint64_t>::max()));
    if (out.from_ms >= out.to_ms)
        return fail(ErrorCode::invalid_window, "?from must be before ?to");
    TRY_ASSIGN(out.limit, read_limit(request, 500, kCandlesMax));
    return out;
}

void list_candles(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto query = parse_candle_query(*request);
    if (!query) return reply(error_response(*request, query.error()));
    answer_from_market(services, request, reply, [&](const MarketData& market) -> Result<Json> {
        const auto& candles = market.history().candles(query->good, query->interval);
        const auto starts_before = [](const engine::Candle& candle, std::uint64_t at_ms) {
            return candle.start_ms < at_ms;
        };
        auto first =
            std::lower_bound(candles.begin(), candles.end(), query->from_ms, starts_before);
        const auto last = std::lower_bound(first, candles.end(), query->to_ms, starts_before);
        const auto count = static_cast<std::size_t>(last - first);
        const bool has_more = count > query->limit;
        if (has_more) first = last - static_cast<std::ptrdiff_t>(query->limit);
        Json out;
        out["object"] = "candles";
        out["unit_kind"] = std::string(to_string(query->good.unit_kind));
        out["gpu_model"] = query->good.gpu_model;
        out["interval"] = std::string(to_string(query->interval));
        out["has_more"] = has_more;
        out["data"] = Json::array();
        for (; first != last; ++first)
            out["data"].push_back(candle_view(*first));
        return out;
    });
}

void get_index(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const domain::TimeMs now_ms = services.context.clock.now_ms();
    answer_from_market(services, request, reply, [&](const MarketData& market) -> Result<Json> {
        Json out;
        out["object"] = "index";
        out["window_ms"] = engine::TradeHistory::kIndexWindowMs;
        out["data"] = Json::array();
        for (const engine::IndexPrice& price : market.index(now_ms))
            out["data"].push_back(index_view(price));
        return out;
    });
}

[[nodiscard]] Json levels_of(const MarketData& market, engine::Side side,
                             const engine::BookFilter& filter, std::size_t limit) {
    Json out = Json::array();
    for (const engine::PriceLevel& level : market.book().levels(side, filter, limit))
        out.push_back(level_view(level));
    return out;
}

void get_depth(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto filter = read_book_filter(*request);
    if (!filter) return reply(error_response(*request, filter.error()));
    if (!filter->unit_kind)
        return reply(
            error_response(*request, ledger::base::Error(ErrorCode::missing_field, "?unit_kind")));
    const auto limit = read_limit(*request, 50, kLevelsMax);
    if (!limit) return reply(error_response(*request, limit.error()));
    answer_from_market(services, request, reply, [&](const MarketData& market) -> Result<Json> {
        Json out;
        out["object"] = "depth";
        out["sequence"] = sequence_view(market);
        out["unit_kind"] = std::string(to_string(*filter->unit_kind));
        out["asks"] = levels_of(market, engine::Side::kAsk, *filter, *limit);
        out["bids"] = levels_of(market, engine::Side::kBid, *filter, *limit);
        return out;
    });
}

// The stream ------------------------------------------------------------------------------------

/// One reader's place among the changes. Only a record's last change carries its sequence as `id`:
/// who is cut off in the middle of a record gets it once more, whole.
class ChangeFeed final : public EventFeed {
 public:
    ChangeFeed(const MarketDataPort& market, std::optional<std::uint64_t> after)
        : market_(market), after_(after), known_(after.has_value()) {}

    void feed(http::StreamWriter& writer) override {
        std::string text;
        while (text.size() < kBytesPerWrite) {
            if (pending_.empty()) text += refill();
            if (pending_.empty()) break;
            text += take_one();
        }
        if (!text.empty()) writer.write(std::move(text));
    }

 private:
    /// Fetches what is new; the text of a reset when the reader's place is unknown or lost.
    [[nodiscard]] std::string refill() {
        std::string text;
        market_.read([&](const MarketData& market) {
            auto fresh = market.changes(after_, kChangesPerRead);
            const bool ahead = after_ && (!market.sequence() || *after_ > *market.sequence());
            if (!known_ || !fresh || ahead) {
                after_ = market.sequence();
                known_ = true;
                const Json data{{"sequence", sequence_view(market)}};
                const std::string id = after_ ? std::to_string(*after_) : std::string();
                text = event_text(id, "reset", ledger::rpc::to_text(data));
                return;
            }
            pending_.assign(std::make_move_iterator(fresh->begin()),
                            std::make_move_iterator(fresh->end()));
            if (!pending_.empty()) after_ = pending_.back().sequence;
        });
        return text;
    }
    [[nodiscard]] std::string take_one() {
        const engine::NumberedChange change = std::move(pending_.front());
        pending_.pop_front();
        const bool last = pending_.empty() || pending_.front().sequence != change.sequence;
        return event_text(last ? std::to_string(change.sequence) : std::string(),
                          change_name(change.change), ledger::rpc::to_text(change_view(change)));
    }

    const MarketDataPort& market_;
    std::optional<std::uint64_t> after_;  ///< all changes up to this record are sent or pending
    bool known_;                          ///< false: the reader has not said where it is
    std::deque<engine::NumberedChange> pending_;
};

void stream_changes(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto after = read_last_event(*request);
    if (!after) return reply(error_response(*request, after.error()));
    reply(stream_of(std::make_shared<ChangeFeed>(services.context.market, *after)));
}

using Handle = void (*)(Services&, const http::RequestPtr&, const http::Reply&);

[[nodiscard]] http::Handler bind(Services& services, Handle handle) {
    return [&services, handle](const http::RequestPtr& request, const http::Reply& reply) {
        handle(services, request, reply);
    };
}

}  // namespace

void add_market_routes(RouteTable& table, Services& services) {
    const QueryDoc kind{"unit_kind", "string",
                        "gpu_ms, input_token, output_token or training_step"};
    const QueryDoc model{"gpu_model", "string", "as the ask's resource names it"};
    RouteDoc trades{http::Method::kGet, "/v1/market/trades", "listTrades", "market",
                    "Matches, newest first: price, units, GPU model, region, class"};
    trades.query = {kind,
                    model,
                    {"region", "string", "of the ask"},
                    {"order", "string", "desc (usual) or asc"},
                    {"after", "string", "id of the last trade seen"},
                    {"limit", "integer", "1 to 500"}};
    table.add(std::move(trades), bind(services, list_trades));
    RouteDoc candles{http::Method::kGet, "/v1/market/candles", "listCandles", "market",
                     "Open, high, low, close, mean, volume and trades of one good; oldest first"};
    candles.query = {kind,
                     model,
                     {"interval", "string", "1m, 5m, 1h (usual) or 1d"},
                     {"from", "integer", "unix ms, first start"},
                     {"to", "integer", "unix ms, starts before it"},
                     {"limit", "integer", "1 to 1500, the newest of the window"}};
    table.add(std::move(candles), bind(services, list_candles));
    table.add({http::Method::kGet, "/v1/market/index", "getIndex", "market",
               "Volume-weighted price of the last 24 hours per good, else the best ask"},
              bind(services, get_index));
    RouteDoc depth{http::Method::kGet, "/v1/market/depth", "getDepth", "market",
                   "Free and wanted units per price, and the sequence they are of"};
    depth.query = {kind,
                   model,
                   {"region", "string", "of the asks"},
                   {"limit", "integer", "levels per side, 1 to 500"}};
    table.add(std::move(depth), bind(services, get_depth));
    RouteDoc stream{http::Method::kGet, "/v1/market/stream", "streamMarket", "market",
                    "Changes of the book as server-sent events; Last-Event-ID resumes"};
    stream.query = {{"after", "integer", "sequence of the last event seen"}};
    stream.content_type = "text/event-stream";
    table.add(std::move(stream), bind(services, stream_changes));
}

}  // namespace marketplace::api
