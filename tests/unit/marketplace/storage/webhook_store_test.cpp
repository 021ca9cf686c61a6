// SPDX-License-Identifier: Apache-2.0
#include "marketplace/storage/webhook_store.hpp"

#include "tests/support/temp_database.hpp"

#include <doctest/doctest.h>

namespace marketplace::storage {
namespace {

using webhooks::Delivery;
using webhooks::DeliveryState;
using webhooks::Disabled;
using webhooks::Endpoint;
using webhooks::Failure;

domain::Address account(std::uint8_t n) {
    domain::Address out;
    out.data()[19] = n;
    return out;
}

Endpoint endpoint(const std::string& id, std::uint8_t owner) {
    Endpoint out;
    out.id = id;
    out.owner = account(owner);
    out.url = "https://a.example/'; DROP TABLE webhooks";
    out.events = {"job.*", "settlement.paid"};
    out.secret = {1, 2, 3};
    out.old_secret = {4, 5};
    out.old_secret_until_ms = 6;
    out.disabled = Disabled::kFailing;
    out.created_ms = 7;
    out.failing_since_ms = 8;
    out.from_sequence = 9;
    return out;
}

Delivery delivery(const std::string& of, const std::string& id, domain::TimeMs due_ms) {
    Delivery out;
    out.id = id;
    out.endpoint = of;
    out.type = "job.completed";
    out.body = R"({"type":"job.completed"})";
    out.created_ms = 10;
    out.next_attempt_ms = due_ms;
    return out;
}

}  // namespace

TEST_CASE("webhook_store: an endpoint comes back as it was put, and belongs to its owner") {
    const tests::TempFolder folder;
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    WebhookStore store(**database);
    CHECK_FALSE(store.endpoint("whk_1")->has_value());
    const Endpoint one = endpoint("whk_1", 1);
    REQUIRE(store.put_endpoint(one));
    REQUIRE(store.put_endpoint(endpoint("whk_2", 2)));
    CHECK(**store.endpoint("whk_1") == one);
    CHECK(store.endpoints(account(1))->size() == 1);
    CHECK(store.endpoints()->size() == 2);
    CHECK(*store.endpoint_count() == 2);
}

TEST_CASE("webhook_store: writing an endpoint again keeps its deliveries, deleting drops them") {
    const tests::TempFolder folder;
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    WebhookStore store(**database);
    Endpoint one = endpoint("whk_1", 1);
    REQUIRE(store.put_endpoint(one));
    REQUIRE(*store.add_delivery(delivery("whk_1", "msg_1", 5)));
    one.url = "https://b.example/";
    one.disabled = Disabled::kNo;
    REQUIRE(store.put_endpoint(one));
    CHECK(**store.endpoint("whk_1") == one);
    CHECK(store.delivery("whk_1", "msg_1")->has_value());
    REQUIRE(store.delete_endpoint("whk_1"));
    CHECK_FALSE(store.delivery("whk_1", "msg_1")->has_value());
    CHECK_FALSE(store.add_delivery(delivery("whk_1", "msg_1", 5)));  // of no endpoint
}

TEST_CASE("webhook_store: a delivery is made once") {
    const tests::TempFolder folder;
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    WebhookStore store(**database);
    REQUIRE(store.put_endpoint(endpoint("whk_1", 1)));
    REQUIRE(store.put_endpoint(endpoint("whk_2", 1)));
    Delivery sent = delivery("whk_1", "msg_1", 5);
    CHECK(*store.add_delivery(sent));
    sent.state = DeliveryState::kDelivered;
    sent.attempts = 3;
    sent.last_attempt_ms = 12;
    sent.last_status = 204;
    sent.next_attempt_ms = 0;
    REQUIRE(store.update_delivery(sent));
    CHECK_FALSE(*store.add_delivery(delivery("whk_1", "msg_1", 5)));
    CHECK(**store.delivery("whk_1", "msg_1") == sent);
    CHECK(*store.add_delivery(delivery("whk_2", "msg_1", 5)));
}

TEST_CASE("webhook_store: what is pending comes by its time, and can be given up") {
    const tests::TempFolder folder;
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    WebhookStore store(**database);
    REQUIRE(store.put_endpoint(endpoint("whk_1", 1)));
    CHECK_FALSE(store.next_pending("whk_1")->has_value());
    for (const auto& [id, due_ms] : {std::pair("msg_1", 30), {"msg_2", 20}, {"msg_3", 20}})
        REQUIRE(store.add_delivery(delivery("whk_1", id, static_cast<domain::TimeMs>(due_ms))));
    CHECK((*store.next_pending("whk_1"))->id == "msg_2");
    CHECK(*store.pending_count("whk_1") == 3);
    CHECK(*store.pending_count("whk_1", "job.completed") == 3);
    CHECK(*store.pending_count("whk_1", "webhook.test") == 0);
    REQUIRE(store.give_up_pending("whk_1"));
    CHECK_FALSE(store.next_pending("whk_1")->has_value());
    CHECK((*store.delivery("whk_1", "msg_3"))->last_failure == Failure::kDisabled);
}

TEST_CASE("webhook_store: the log is read in pages and pruned, what is pending stays") {
    const tests::TempFolder folder;
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    WebhookStore store(**database);
    REQUIRE(store.put_endpoint(endpoint("whk_1", 1)));
    for (int i = 0; i < 10; ++i) {
        Delivery one = delivery("whk_1", "msg_" + std::to_string(i), 5);
        one.state = i == 0 ? DeliveryState::kPending : DeliveryState::kDelivered;
        one.created_ms = static_cast<domain::TimeMs>(100 + i);
        REQUIRE(store.add_delivery(one));
    }
    const auto page = store.deliveries("whk_1", "", 3);
    REQUIRE(page->size() == 3);
    CHECK(page->front().id == "msg_9");
    CHECK(store.deliveries("whk_1", page->back().id, 100)->front().id == "msg_6");
    CHECK(store.deliveries("whk_1", "msg_0", 100)->empty());
    REQUIRE(store.prune("whk_1", 0, 5));
    CHECK(store.deliveries("whk_1", "", 100)->size() == 6);
    REQUIRE(store.prune("whk_1", 108, 5));
    const auto left = store.deliveries("whk_1", "", 100);
    REQUIRE(left->size() == 3);
    CHECK(left->back().id == "msg_0");
}

}  // namespace marketplace::storage
