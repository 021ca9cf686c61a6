// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/webhook_sender.hpp"

#include "ledger/base/check.hpp"
#include "marketplace/storage/catalog_store.hpp"
#include "marketplace/storage/webhook_store.hpp"
#include "marketplace/webhooks/signing.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <set>

namespace marketplace::app {

using ledger::base::Bytes;
using ledger::base::ByteView;
using ledger::base::Result;
using storage::CatalogStore;
using storage::Database;
using storage::WebhookStore;
using webhooks::Schedule;

namespace {

constexpr const char* kPlaceName = "webhooks_next_record";
constexpr std::size_t kBatchRecords = 256;
constexpr std::uint64_t kKeepPlaceEvery = 4096;  // records that concerned nobody
constexpr std::chrono::milliseconds kLookAgain{200};
constexpr std::chrono::milliseconds kLookAtClock{1000};  // which may be set
constexpr std::chrono::milliseconds kAfterFailure{1000};
constexpr domain::TimeMs kUnwrittenMs = 5000;
constexpr domain::TimeMs kSlowMs = 2000;

Bytes to_eight_bytes(std::uint64_t place) {
    Bytes out(8);
    for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = static_cast<std::uint8_t>(place >> (8 * i));
    return out;
}

std::uint64_t from_eight_bytes(ByteView bytes) {
    std::uint64_t out = 0;
    for (std::size_t i = std::min<std::size_t>(bytes.size(), 8); i > 0; --i)
        out = out << 8U | bytes[i - 1];
    return out;
}

/// Until an endpoint is due; what is due and may not be called yet is looked at again.
std::chrono::milliseconds time_to_wait(domain::TimeMs due_ms, domain::TimeMs now_ms) {
    if (due_ms <= now_ms) return kLookAgain;
    return std::min(std::chrono::milliseconds(due_ms - now_ms), kLookAtClock);
}

WebhookCall call_of(const webhooks::Endpoint& endpoint, const webhooks::Delivery& delivery,
                    domain::TimeMs now_ms) {
    WebhookCall out;
    out.url = endpoint.url;
    out.body = delivery.body;
    out.headers = {
        {"content-type", "application/json"},
        {"webhook-id", delivery.id},
        {"webhook-timestamp", std::to_string(now_ms / 1000)},
        {"webhook-signature", webhooks::signatures(endpoint, delivery.id, delivery.body, now_ms)}};
    return out;
}

}  // namespace

Webhooks::Webhooks(Deps deps) : deps_(std::move(deps)), schedule_(deps_.senders) {}

Webhooks::~Webhooks() {
    stop();
}

void Webhooks::note(std::uint64_t size) {
    {
        const std::scoped_lock lock(mutex_);
        size_ = size;
    }
    news_.notify_one();
}

Result<void> Webhooks::start() {
    TRY_ASSIGN(const auto endpoints,
               deps_.reads.with([](Database& db) { return WebhookStore(db).endpoints(); }));
    TRY_ASSIGN(const auto place,
               deps_.reads.with([](Database& db) { return CatalogStore(db).setting(kPlaceName); }));
    {
        const std::scoped_lock lock(mutex_);
        kept_next_ = place ? from_eight_bytes(*place) : 0;
        next_ = size_;
    }
    std::uint64_t first = size_;
    for (const Endpoint& endpoint : endpoints) {
        listen_to(endpoint);
        if (endpoint.disabled == webhooks::Disabled::kNo)
            first = std::min(first, endpoint.from_sequence);
        TRY_ASSIGN(const auto due, deps_.reads.with([&](Database& db) {
            return WebhookStore(db).next_pending(endpoint.id);
        }));
        const std::scoped_lock lock(mutex_);
        if (due) schedule_.add(endpoint.id, endpoint.owner, due->next_attempt_ms);
    }
    {
        const std::scoped_lock lock(mutex_);
        next_ = std::min<std::uint64_t>(std::max(first, kept_next_), size_);
    }
    threads_.emplace_back([this](const std::stop_token& stop) { read_on(stop); });
    for (std::size_t i = 0; i < deps_.senders; ++i)
        threads_.emplace_back([this](const std::stop_token& stop) { send_on(stop); });
    return {};
}

void Webhooks::stop() {
    for (std::jthread& thread : threads_)
        thread.request_stop();
    threads_.clear();
}

void Webhooks::listen_to(const Endpoint& endpoint) {
    const std::scoped_lock lock(mutex_);
    forget_locked(endpoint.id);
    if (endpoint.disabled != webhooks::Disabled::kNo) return;
    listeners_[endpoint.owner].push_back({endpoint.id, endpoint.events, endpoint.from_sequence});
    owners_[endpoint.id] = endpoint.owner;
}

void Webhooks::forget_locked(const std::string& id) {
    const auto owner = owners_.find(id);
    if (owner == owners_.end()) return;
    auto& listeners = listeners_[owner->second];
    std::erase_if(listeners, [&](const Listener& listener) { return listener.id == id; });
    if (listeners.empty()) listeners_.erase(owner->second);
    owners_.erase(owner);
}

void Webhooks::forget(const std::string& id) {
    const std::scoped_lock lock(mutex_);
    forget_locked(id);
}

void Webhooks::read_on(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
        std::uint64_t first = 0;
        std::uint64_t end = 0;
        {
            std::unique_lock lock(mutex_);
            news_.wait(lock, stop, [this] { return next_ < size_; });
            if (stop.stop_requested()) return;
            end = std::min<std::uint64_t>(size_, next_ + kBatchRecords);
            if (listeners_.empty()) {
                next_ = size_;
                continue;
            }
            first = next_;
        }
        const auto read = read_batch(first, end);
        if (read) continue;
        spdlog::warn("webhooks: {}", read.error().message());
        std::unique_lock lock(mutex_);
        news_.wait_for(lock, stop, kAfterFailure, [] { return false; });
    }
}

Result<void> Webhooks::read_batch(std::uint64_t first, std::uint64_t end) {
    TRY_ASSIGN(const Batch batch, make_batch(first, end));
    bool keep = !batch.deliveries.empty();
    {
        const std::scoped_lock lock(mutex_);
        keep = keep || batch.next >= kept_next_ + kKeepPlaceEvery;
    }
    if (keep) TRY(write_batch(batch));
    const std::scoped_lock lock(mutex_);
    next_ = batch.next;
    if (keep) kept_next_ = batch.next;
    for (const Delivery& delivery : batch.deliveries)
        if (const auto owner = owners_.find(delivery.endpoint); owner != owners_.end())
            schedule_.add(delivery.endpoint, owner->second, delivery.next_attempt_ms);
    if (!batch.deliveries.empty()) due_.notify_all();
    return {};
}

Result<Webhooks::Batch> Webhooks::make_batch(std::uint64_t first, std::uint64_t end) {
    std::vector<engine::Record> records;
    for (const domain::Bytes& bytes : deps_.journal(first, end - first)) {
        TRY_ASSIGN(engine::Record record, engine::decode_record(bytes));
        records.push_back(std::move(record));
    }
    if (records.empty()) return fail(ledger::base::ErrorCode::io_error, "reading the journal");
    // The engine says whom each event concerns.
    TRY_ASSIGN(const auto events, deps_.engine.ask([&records](const engine::Engine& engine) {
        std::vector<api::AccountEvent> all;
        for (const engine::Record& record : records) {
            auto some = api::account_events(record, engine);
            all.insert(all.end(), std::make_move_iterator(some.begin()),
                       std::make_move_iterator(some.end()));
        }
        return all;
    }));
    Batch out;
    out.next = first + records.size();
    const std::scoped_lock lock(mutex_);
    for (const api::AccountEvent& event : events)
        add_deliveries(event, out);
    return out;
}

void Webhooks::add_deliveries(const api::AccountEvent& event, Batch& batch) const {
    std::optional<api::EventText> text;  // of what nobody listens to none is made
    for (const domain::Address& who : event.to()) {
        const auto found = listeners_.find(who);
        if (found == listeners_.end()) continue;
        if (!text) text = api::text_of(event);
        for (const Listener& listener : found->second) {
            if (event.place.sequence < listener.from_sequence ||
                !webhooks::is_wanted(listener.events, text->type))
                continue;
            Delivery delivery;
            delivery.id =
                webhooks::message_id(listener.id, event.place.sequence, event.place.index);
            delivery.endpoint = listener.id;
            delivery.type = text->type;
            delivery.body = text->body;
            delivery.created_ms = delivery.next_attempt_ms = deps_.clock.now_ms();
            batch.deliveries.push_back(std::move(delivery));
        }
    }
}

/// Endpoints with too many that wait are disabled.
Result<void> Webhooks::write_batch(const Batch& batch) {
    auto overfull = std::make_shared<std::set<std::string>>();
    const auto write = [batch, overfull](Database& db) -> Result<void> {
        WebhookStore store(db);
        std::map<std::string, std::uint64_t> pending;
        for (const Delivery& delivery : batch.deliveries) {
            if (!pending.contains(delivery.endpoint)) {
                TRY_ASSIGN(pending[delivery.endpoint], store.pending_count(delivery.endpoint));
            }
            TRY_ASSIGN(auto endpoint, store.endpoint(delivery.endpoint));
            if (!endpoint || endpoint->disabled != webhooks::Disabled::kNo) continue;
            if (pending[delivery.endpoint] >= webhooks::kPendingPerEndpoint) {
                endpoint->disabled = webhooks::Disabled::kBacklog;
                TRY(store.put_endpoint(*endpoint));
                TRY(store.give_up_pending(endpoint->id));
                overfull->insert(endpoint->id);
                continue;
            }
            TRY_ASSIGN(const bool added, store.add_delivery(delivery));
            pending[delivery.endpoint] += added ? 1 : 0;
        }
        return CatalogStore(db).put_setting(kPlaceName, to_eight_bytes(batch.next));
    };
    TRY(deps_.engine.transact({}, write));
    for (const std::string& id : *overfull)
        forget(id);
    return {};
}

void Webhooks::send_on(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
        std::optional<std::string> endpoint;
        {
            std::unique_lock lock(mutex_);
            const domain::TimeMs now_ms = deps_.clock.now_ms();
            endpoint = schedule_.take(now_ms);
            if (!endpoint && !schedule_.next_due_ms())
                due_.wait(lock, stop, [this] { return schedule_.next_due_ms().has_value(); });
            else if (!endpoint)
                due_.wait_for(lock, stop, time_to_wait(*schedule_.next_due_ms(), now_ms),
                              [] { return false; });
        }
        if (endpoint) send_next(*endpoint, stop);
    }
}

void Webhooks::send_next(const std::string& id, const std::stop_token& stop) {
    const auto found = deps_.reads.with([&](Database& db) -> Result<std::pair<Endpoint, Delivery>> {
        WebhookStore store(db);
        TRY_ASSIGN(const auto endpoint, store.endpoint(id));
        TRY_ASSIGN(const auto delivery, store.next_pending(id));
        if (!endpoint || !delivery || endpoint->disabled != webhooks::Disabled::kNo)
            return fail(ledger::base::ErrorCode::not_found);
        return std::pair(*endpoint, *delivery);
    });
    if (!found) return finish(id, Schedule::Speed::kGood, std::nullopt);
    const auto& [endpoint, delivery] = *found;
    const domain::TimeMs now_ms = deps_.clock.now_ms();
    if (delivery.next_attempt_ms > now_ms)
        return finish(id, Schedule::Speed::kGood, delivery.next_attempt_ms);
    const Outcome outcome = deps_.post(call_of(endpoint, delivery, now_ms), stop);
    // Cut short by the stop: it counts as not tried.
    if (stop.stop_requested()) return finish(id, Schedule::Speed::kGood, std::nullopt);
    const domain::TimeMs after_ms = deps_.clock.now_ms();
    const bool slow = outcome.failure != webhooks::Failure::kNone || after_ms - now_ms > kSlowMs;
    const auto speed = slow ? Schedule::Speed::kSlow : Schedule::Speed::kGood;
    const auto noted = note_outcome(endpoint, delivery, outcome);
    if (!noted) {
        spdlog::warn("webhooks: {}", noted.error().message());
        return finish(id, speed, after_ms + kUnwrittenMs);
    }
    const auto next =
        deps_.reads.with([&](Database& db) { return WebhookStore(db).next_pending(id); });
    finish(id, speed, next && *next ? std::optional((*next)->next_attempt_ms) : std::nullopt);
}

Result<void> Webhooks::note_outcome(const Endpoint& endpoint, const Delivery& delivery,
                                    const Outcome& outcome) {
    const domain::TimeMs now_ms = deps_.clock.now_ms();
    const std::uint64_t random = from_eight_bytes(deps_.random_bytes(8));
    auto disabled = std::make_shared<bool>(false);
    const auto write = [id = endpoint.id, message = delivery.id, outcome, now_ms, random,
                        disabled](Database& db) -> Result<void> {
        WebhookStore store(db);
        // Its owner may have changed or deleted it meanwhile.
        TRY_ASSIGN(auto current, store.endpoint(id));
        TRY_ASSIGN(auto sent, store.delivery(id, message));
        if (!current || !sent) return {};
        webhooks::note_attempt(*current, *sent, outcome, now_ms, random);
        TRY(store.put_endpoint(*current));
        TRY(store.update_delivery(*sent));
        *disabled = current->disabled != webhooks::Disabled::kNo;
        if (*disabled) TRY(store.give_up_pending(id));
        return store.prune(id, now_ms - std::min(now_ms, webhooks::kLogMs),
                           webhooks::kFinishedPerEndpoint);
    };
    TRY(deps_.engine.transact({}, write));
    if (*disabled) forget(endpoint.id);
    return {};
}

void Webhooks::finish(const std::string& endpoint, Schedule::Speed speed,
                      std::optional<domain::TimeMs> due_ms) {
    {
        const std::scoped_lock lock(mutex_);
        schedule_.done(endpoint, speed, due_ms);
    }
    due_.notify_all();
}

}  // namespace marketplace::app
