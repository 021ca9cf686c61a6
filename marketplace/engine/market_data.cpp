// SPDX-License-Identifier: Apache-2.0
#include "marketplace/engine/market_data.hpp"

#include "ledger/base/checked.hpp"

#include <algorithm>
#include <iterator>
#include <limits>
#include <set>

namespace marketplace::engine {

using domain::JobState;

void MarketData::add(const Record& record) {
    sequence_ = record.sequence;
    now_ms_ = record.time_ms;
    trades_ = 0;
    for (ClosedCandle& closed : history_.close_candles(now_ms_))
        tell(std::move(closed));
    if (const auto* ask = std::get_if<domain::PostAsk>(&record.command)) expect(*ask);
    if (const auto* ask = std::get_if<domain::AmendAsk>(&record.command)) expect(ask->replacement);
    if (const auto* job = std::get_if<domain::PostJob>(&record.command)) expect(*job);
    if (const auto* job = std::get_if<domain::AmendJob>(&record.command)) expect(job->replacement);
    for (const domain::Event& event : record.events)
        std::visit([this](const auto& alternative) { on(alternative); }, event);
    new_ask_ = nullptr;
    for (PriceLevel& level : book_.take_changed_levels())
        tell(std::move(level));
    while (changes_.size() > kChangesKept) {
        dropped_ = changes_.front().sequence;
        while (!changes_.empty() && changes_.front().sequence == *dropped_)
            changes_.pop_front();
    }
}

void MarketData::tell(Change change) {
    changes_.push_back({*sequence_, now_ms_, std::move(change)});
}

// Orders ----------------------------------------------------------------------------------------

void MarketData::expect(const domain::PostAsk& command) {
    new_ask_ = &command;
}

void MarketData::on(const domain::AskAccepted& event) {
    if (new_ask_ == nullptr) return;
    const ledger::eth::Ask& ask = new_ask_->ask;
    const domain::Resource& resource = new_ask_->resource;
    book_.add_ask(event.ask, {ask.unit_kind, resource.gpu_model, resource.region, ask.order_class,
                              ask.price_atoms, ask.volume_units, ask.provider, resource.worker});
    OrderAccepted out;
    out.ask = event.ask;
    out.unit_kind = ask.unit_kind;
    out.gpu_models = {resource.gpu_model};
    out.region = resource.region;
    out.order_class = ask.order_class;
    out.price_atoms = ask.price_atoms;
    out.units = ask.volume_units;
    tell(std::move(out));
}

void MarketData::on(const domain::AskClosed& event) {
    if (book_.remove_ask(event.ask)) tell(OrderClosed{Side::kAsk, event.ask, {}, event.reason});
}

void MarketData::expect(const domain::PostJob& command) {
    JobRow row;
    row.total_units = command.terms.total_units;
    for (const domain::BidLeg& leg : command.legs) {
        // A sealed bid is not shown; its group's result is.
        if (leg.constraints.clearing == domain::Clearing::kBatch) return;
        row.legs.push_back(
            {leg.bid.unit_kind, leg.constraints.gpu_models, leg.bid.price_ceiling_atoms});
        row.classes.push_back(leg.bid.order_class);
        row.volumes.push_back(leg.bid.volume_units);
        row.gang = leg.constraints.gang;
    }
    jobs_.try_emplace(command.id, std::move(row));
}

void MarketData::on(const domain::JobChanged& event) {
    const auto found = jobs_.find(event.job);
    if (found == jobs_.end()) return;
    JobRow& job = found->second;
    if (event.state == JobState::kOpen) return list(event.job, job, event.units_done);
    if (job.listed) {
        for (std::uint8_t leg = 0; leg < job.legs.size(); ++leg) {
            book_.remove_bid({event.job, leg});
            tell(
                OrderClosed{Side::kBid, {}, {event.job, leg}, std::string(to_string(event.state))});
        }
        job.listed = false;
    }
    if (domain::is_final(event.state)) jobs_.erase(found);
}

void MarketData::list(const domain::JobId& id, JobRow& job, std::uint64_t units_done) {
    for (std::uint8_t leg = 0; leg < job.legs.size(); ++leg) {
        const std::uint64_t left =
            job.total_units == 0 ? job.volumes[leg] : job.total_units - units_done;
        const std::uint64_t units = ledger::base::checked_mul(left, job.gang)
                                        .value_or(std::numeric_limits<std::uint64_t>::max());
        const MarketBook::Bid& bid = job.legs[leg];
        if (!book_.set_bid({id, leg}, bid, units)) continue;
        OrderAccepted out;
        out.side = Side::kBid;
        out.bid = {id, leg};
        out.unit_kind = bid.unit_kind;
        out.gpu_models = bid.gpu_models;
        out.order_class = job.classes[leg];
        out.price_atoms = bid.ceiling_atoms;
        out.units = units;
        tell(std::move(out));
    }
    job.listed = true;
}

// What becomes of them --------------------------------------------------------------------------

void MarketData::on(const domain::Matched& event) {
    const auto ask = book_.find_ask(event.ask_hash);
    if (!ask) return;
    Trade trade;
    trade.sequence = *sequence_;
    trade.index = trades_++;
    trade.time_ms = now_ms_;
    trade.lease = event.lease;
    trade.good = {ask->unit_kind, ask->gpu_model};
    trade.region = ask->region;
    trade.order_class = ask->order_class;
    trade.price_atoms = event.price_atoms;
    trade.units = event.max_units;
    book_.take(event.lease, event.ask_hash, event.max_units);
    history_.add(trade);
    tell(std::move(trade));
}

void MarketData::on(const domain::LeaseChanged& event) {
    // Room is free when a lease begins to close, or is to close as soon as the chain opened it.
    if (event.state >= domain::LeaseState::kClosing || event.reason != domain::CloseReason::kNone)
        book_.give_back(event.lease);
}

void MarketData::on(const domain::WorkerChanged& event) {
    book_.set_worker(event.worker, event.provider, event.connected);
}

void MarketData::on(const domain::BatchCleared& event) {
    tell(event);
}

// Readers ---------------------------------------------------------------------------------------

std::vector<IndexPrice> MarketData::index(TimeMs now_ms) const {
    std::vector<Good> goods;
    const std::vector<Good> traded = history_.goods();
    const std::vector<Good> offered = book_.goods();
    std::set_union(traded.begin(), traded.end(), offered.begin(), offered.end(),
                   std::back_inserter(goods));
    std::vector<IndexPrice> out;
    for (Good& good : goods) {
        IndexPrice price;
        price.price_atoms = history_.mean_price(good, now_ms);
        if (price.price_atoms) {
            price.source = IndexPrice::Source::kTrades;
        } else {
            const BookFilter filter{good.unit_kind, good.gpu_model, std::nullopt};
            const auto best = book_.levels(Side::kAsk, filter, 1);
            if (!best.empty()) {
                price.price_atoms = best.front().price_atoms;
                price.source = IndexPrice::Source::kBestAsk;
            }
        }
        price.good = std::move(good);
        out.push_back(std::move(price));
    }
    return out;
}

std::optional<std::vector<NumberedChange>> MarketData::changes(std::optional<std::uint64_t> after,
                                                               std::size_t limit) const {
    if (dropped_ && (!after || *after < *dropped_)) return std::nullopt;
    std::vector<NumberedChange> out;
    auto at = changes_.begin();
    if (after)
        at = std::upper_bound(
            changes_.begin(), changes_.end(), *after,
            [](std::uint64_t sequence, const auto& change) { return sequence < change.sequence; });
    for (; at != changes_.end(); ++at) {
        if (out.size() >= limit && out.back().sequence != at->sequence) break;
        out.push_back(*at);
    }
    return out;
}

}  // namespace marketplace::engine
