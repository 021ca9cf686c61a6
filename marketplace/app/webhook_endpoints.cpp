// SPDX-License-Identifier: Apache-2.0
// Webhooks as their owners see and change them.
#include "ledger/base/hex.hpp"
#include "marketplace/api/account_events.hpp"
#include "marketplace/app/webhook_sender.hpp"
#include "marketplace/storage/webhook_store.hpp"
#include "marketplace/webhooks/signing.hpp"

#include <fmt/format.h>

namespace marketplace::app {

using api::WebhookPort;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using storage::Database;
using storage::WebhookStore;
using webhooks::Delivery;
using webhooks::DeliveryState;
using webhooks::Disabled;
using webhooks::Endpoint;

namespace {

constexpr std::size_t kIdBytes = 12;

std::string fresh_id(const char* prefix, const domain::Bytes& random) {
    return prefix + ledger::base::to_hex(random).substr(2);
}

/// The endpoint when it is this owner's; nobody learns of others'.
Result<Endpoint> read_own(Database& db, const domain::Address& owner, const std::string& id) {
    TRY_ASSIGN(auto endpoint, WebhookStore(db).endpoint(id));
    if (!endpoint || endpoint->owner != owner) return fail(ErrorCode::not_found, "no such webhook");
    return std::move(*endpoint);
}

// What a request may be refused for is asked of the side connection first and, since it may have
// changed meanwhile, again where it is written: there a refusal is an incident for the log.

Result<void> check_room(Database& db, const domain::Address& owner) {
    WebhookStore store(db);
    TRY_ASSIGN(const auto own, store.endpoints(owner));
    if (own.size() >= webhooks::kEndpointsPerAccount)
        return fail(ErrorCode::out_of_range, fmt::format("an account has at most {} webhooks",
                                                         webhooks::kEndpointsPerAccount));
    TRY_ASSIGN(const std::uint64_t all, store.endpoint_count());
    if (all >= webhooks::kEndpoints)
        return fail(ErrorCode::queue_full, "this market has no room for more webhooks");
    return {};
}

Result<Endpoint> read_enabled(Database& db, const domain::Address& owner, const std::string& id) {
    TRY_ASSIGN(Endpoint endpoint, read_own(db, owner, id));
    if (endpoint.disabled != Disabled::kNo)
        return fail(ErrorCode::wrong_state, "the webhook is disabled; enable it first");
    return endpoint;
}

Result<void> check_tests(Database& db, const std::string& id) {
    TRY_ASSIGN(const std::uint64_t waiting,
               WebhookStore(db).pending_count(id, std::string(webhooks::kTestType)));
    if (waiting >= webhooks::kPendingTests)
        return fail(ErrorCode::rate_limited, "other test events still wait");
    return {};
}

Result<Delivery> read_finished(Database& db, const std::string& id, const std::string& delivery) {
    TRY_ASSIGN(auto found, WebhookStore(db).delivery(id, delivery));
    if (!found) return fail(ErrorCode::not_found, "no such delivery");
    if (found->state == DeliveryState::kPending)
        return fail(ErrorCode::wrong_state, "the delivery is under way already");
    return std::move(*found);
}

}  // namespace

Result<Endpoint> Webhooks::create(const domain::Address& owner, const std::string& url,
                                  const std::vector<std::string>& events) {
    TRY(deps_.check_url(url));
    TRY(webhooks::check_patterns(events));
    TRY(deps_.reads.with([&](Database& db) { return check_room(db, owner); }));
    auto made = std::make_shared<Endpoint>();
    made->id = fresh_id("whk_", deps_.random_bytes(kIdBytes));
    made->owner = owner;
    made->url = url;
    made->events = events;
    made->secret = deps_.random_bytes(webhooks::kSecretBytes);
    made->created_ms = deps_.clock.now_ms();
    const auto write = [this, made](Database& db) -> Result<void> {
        TRY(check_room(db, made->owner));
        made->from_sequence = size_;
        return WebhookStore(db).put_endpoint(*made);
    };
    TRY(deps_.engine.transact({}, write));
    listen_to(*made);
    return *made;
}

Result<Endpoint> Webhooks::find(const domain::Address& owner, const std::string& id) {
    return deps_.reads.with([&](Database& db) { return read_own(db, owner, id); });
}

Result<std::vector<Endpoint>> Webhooks::list(const domain::Address& owner) {
    return deps_.reads.with([&](Database& db) { return WebhookStore(db).endpoints(owner); });
}

Result<Endpoint> Webhooks::edit(const domain::Address& owner, const std::string& id,
                                std::function<Result<void>(Endpoint&)> edit) {
    TRY(find(owner, id));
    auto edited = std::make_shared<Endpoint>();
    const auto write = [owner, id, edited, edit = std::move(edit)](Database& db) -> Result<void> {
        TRY_ASSIGN(*edited, read_own(db, owner, id));
        TRY(edit(*edited));
        TRY(WebhookStore(db).put_endpoint(*edited));
        if (edited->disabled == Disabled::kNo) return {};
        return WebhookStore(db).give_up_pending(id);
    };
    TRY(deps_.engine.transact({}, write));
    listen_to(*edited);
    return *edited;
}

Result<Endpoint> Webhooks::change(const domain::Address& owner, const std::string& id,
                                  const Change& change) {
    if (change.url) TRY(deps_.check_url(*change.url));
    if (change.events) TRY(webhooks::check_patterns(*change.events));
    return edit(owner, id, [this, change](Endpoint& endpoint) -> Result<void> {
        if (change.url) endpoint.url = *change.url;
        if (change.events) endpoint.events = *change.events;
        if (!change.enabled) return {};
        endpoint.failing_since_ms = 0;
        endpoint.from_sequence = size_;
        endpoint.disabled = *change.enabled ? Disabled::kNo : Disabled::kPaused;
        return {};
    });
}

Result<void> Webhooks::remove(const domain::Address& owner, const std::string& id) {
    TRY(find(owner, id));
    const auto write = [owner, id](Database& db) -> Result<void> {
        TRY(read_own(db, owner, id));
        return WebhookStore(db).delete_endpoint(id);
    };
    TRY(deps_.engine.transact({}, write));
    const std::scoped_lock lock(mutex_);
    forget_locked(id);
    schedule_.remove(id);
    return {};
}

Result<Endpoint> Webhooks::rotate(const domain::Address& owner, const std::string& id) {
    return edit(owner, id,
                [fresh = deps_.random_bytes(webhooks::kSecretBytes),
                 now_ms = deps_.clock.now_ms()](Endpoint& endpoint) -> Result<void> {
                    webhooks::rotate(endpoint, fresh, now_ms);
                    return {};
                });
}

Result<Delivery> Webhooks::enqueue(
    const domain::Address& owner, const std::string& id,
    std::function<Result<Delivery>(Database&, const Endpoint&)> make) {
    TRY(deps_.reads.with([&](Database& db) { return read_enabled(db, owner, id); }));
    auto made = std::make_shared<Delivery>();
    const auto write = [owner, id, made, make = std::move(make)](Database& db) -> Result<void> {
        TRY_ASSIGN(const Endpoint endpoint, read_enabled(db, owner, id));
        TRY_ASSIGN(*made, make(db, endpoint));
        return {};
    };
    TRY(deps_.engine.transact({}, write));
    {
        const std::scoped_lock lock(mutex_);
        schedule_.add(id, owner, made->next_attempt_ms);
    }
    due_.notify_all();
    return *made;
}

Result<Delivery> Webhooks::test(const domain::Address& owner, const std::string& id) {
    Delivery delivery;
    delivery.id = fresh_id("msg_", deps_.random_bytes(kIdBytes));
    delivery.endpoint = id;
    delivery.type = webhooks::kTestType;
    delivery.created_ms = delivery.next_attempt_ms = deps_.clock.now_ms();
    delivery.body = api::webhook_test_body(id, delivery.created_ms);
    TRY(find(owner, id));
    TRY(deps_.reads.with([&](Database& db) { return check_tests(db, id); }));
    return enqueue(owner, id, [delivery](Database& db, const Endpoint&) -> Result<Delivery> {
        TRY(check_tests(db, delivery.endpoint));
        TRY(WebhookStore(db).add_delivery(delivery));
        return delivery;
    });
}

Result<std::vector<Delivery>> Webhooks::deliveries(const domain::Address& owner,
                                                   const std::string& id, const std::string& after,
                                                   std::size_t limit) {
    return deps_.reads.with([&](Database& db) -> Result<std::vector<Delivery>> {
        TRY(read_own(db, owner, id));
        return WebhookStore(db).deliveries(id, after, limit);
    });
}

Result<Delivery> Webhooks::redeliver(const domain::Address& owner, const std::string& id,
                                     const std::string& delivery) {
    TRY(find(owner, id));
    TRY(deps_.reads.with([&](Database& db) { return read_finished(db, id, delivery); }));
    const domain::TimeMs now_ms = deps_.clock.now_ms();
    return enqueue(owner, id,
                   [id, delivery, now_ms](Database& db, const Endpoint&) -> Result<Delivery> {
                       TRY_ASSIGN(Delivery found, read_finished(db, id, delivery));
                       webhooks::redeliver(found, now_ms);
                       TRY(WebhookStore(db).update_delivery(found));
                       return found;
                   });
}

}  // namespace marketplace::app
