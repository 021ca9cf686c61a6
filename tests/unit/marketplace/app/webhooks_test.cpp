// SPDX-License-Identifier: Apache-2.0
#include "ledger/crypto/secp256k1.hpp"
#include "marketplace/app/webhook_sender.hpp"
#include "marketplace/storage/journal_store.hpp"
#include "marketplace/storage/webhook_store.hpp"
#include "tests/support/temp_database.hpp"

#include <doctest/doctest.h>

#include <condition_variable>

namespace marketplace::app {
namespace {

using ledger::base::ErrorCode;
using webhooks::Delivery;
using webhooks::DeliveryState;
using webhooks::Disabled;
using webhooks::Failure;
using webhooks::Outcome;

domain::Address account(std::uint8_t n) {
    domain::Address out;
    out.data()[19] = n;
    return out;
}

/// Takes calls and answers with what the test wants.
class Receiver {
 public:
    Outcome take(const WebhookCall& call, const std::stop_token& stop) {
        std::unique_lock lock(mutex_);
        calls_.push_back(call);
        news_.notify_all();
        if (hangs) news_.wait(lock, stop, [] { return false; });
        return {status, webhooks::failure_of_status(status), 0};
    }
    /// Waits until `count` calls came.
    std::vector<WebhookCall> calls(std::size_t count) {
        std::unique_lock lock(mutex_);
        REQUIRE(
            news_.wait_for(lock, std::chrono::seconds(20), [&] { return calls_.size() >= count; }));
        return calls_;
    }
    std::size_t count() {
        const std::scoped_lock lock(mutex_);
        return calls_.size();
    }
    std::atomic<std::uint32_t> status{200};
    std::atomic<bool> hangs{false};

 private:
    std::mutex mutex_;
    std::condition_variable_any news_;
    std::vector<WebhookCall> calls_;
};

/// Engine, journal and webhooks on one file, as the application has them.
class Market {
 public:
    Market(const tests::TempFolder& folder, Receiver& receiver)
        : database_(open(folder, storage::Database::Mode::kReadWrite)),
          reads_(open(folder, storage::Database::Mode::kReadOnly)),
          engine_({}, *database_, clock_, 1024) {
        REQUIRE(engine_.load([](const auto&, auto) {}));
        Webhooks::Deps deps{engine_, reads_, clock_, {}, {}, {}, {}};
        deps.journal = [this](std::uint64_t first, std::size_t limit) {
            return reads_
                .with([&](storage::Database& db) {
                    return storage::JournalStore(db).read(first, limit);
                })
                .value();
        };
        deps.check_url = [](const std::string& url) -> ledger::base::Result<void> {
            if (url == "https://bad/") return ledger::base::fail(ErrorCode::invalid_field, "/url");
            return {};
        };
        deps.post = [&receiver](const WebhookCall& call, const std::stop_token& stop) {
            return receiver.take(call, stop);
        };
        deps.random_bytes = ledger::crypto::random_bytes;
        webhooks_ = std::make_unique<Webhooks>(std::move(deps));
        engine_.add_observer([this](const engine::Record& record, auto, const auto&) {
            webhooks_->note(record.sequence + 1);
        });
        webhooks_->note(engine_.stand().records);
        engine_.start();
    }
    ~Market() {
        webhooks_->stop();
        engine_.stop();
    }
    Market(const Market&) = delete;
    Market& operator=(const Market&) = delete;

    /// One event for the account.
    void deposit(std::uint8_t to) {
        domain::EscrowDeposited command;
        command.account = account(to);
        command.amount_atoms = 5;
        command.transaction = domain::Hash32(
            std::span<const std::uint8_t, 32>(ledger::crypto::random_bytes(32).data(), 32));
        REQUIRE(engine_.apply(command));
    }
    Webhooks& webhooks() { return *webhooks_; }
    /// Waits until a delivery is as wanted.
    Delivery until(std::uint8_t owner, const std::string& id,
                   const std::function<bool(const Delivery&)>& wanted) {
        for (int i = 0; i < 2000; ++i) {
            const auto found = webhooks_->deliveries(account(owner), id, "", 100);
            REQUIRE(found);
            for (const Delivery& delivery : *found)
                if (wanted(delivery)) return delivery;
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        FAIL("no such delivery");
        return {};
    }

 private:
    static std::unique_ptr<storage::Database> open(const tests::TempFolder& folder,
                                                   storage::Database::Mode mode) {
        auto out = storage::Database::open(folder.file("market.db"), mode);
        REQUIRE(out);
        return std::move(*out);
    }

    ledger::base::SystemClock clock_;
    std::unique_ptr<storage::Database> database_;
    ReadStore reads_;
    EngineThread engine_;
    std::unique_ptr<Webhooks> webhooks_;
};

std::string header(const WebhookCall& call, const std::string& name) {
    for (const auto& [key, value] : call.headers)
        if (key == name) return value;
    return {};
}

}  // namespace

TEST_CASE("webhooks: what may not be made or seen is refused") {
    const tests::TempFolder folder;
    Receiver receiver;
    Market market(folder, receiver);
    REQUIRE(market.webhooks().start());
    Webhooks& hooks = market.webhooks();
    CHECK(hooks.create(account(1), "https://bad/", {"*"}).error().code() ==
          ErrorCode::invalid_field);
    CHECK(hooks.create(account(1), "https://a/", {"nothing"}).error().code() ==
          ErrorCode::invalid_field);
    const auto own = hooks.create(account(1), "https://a/", {"*"});
    REQUIRE(own);
    for (const auto& other : {account(2), account(3)}) {
        CHECK(hooks.find(other, own->id).error().code() == ErrorCode::not_found);
        CHECK(hooks.change(other, own->id, {}).error().code() == ErrorCode::not_found);
        CHECK(hooks.rotate(other, own->id).error().code() == ErrorCode::not_found);
        CHECK(hooks.remove(other, own->id).error().code() == ErrorCode::not_found);
        CHECK(hooks.test(other, own->id).error().code() == ErrorCode::not_found);
        CHECK(hooks.deliveries(other, own->id, "", 1).error().code() == ErrorCode::not_found);
        CHECK(hooks.redeliver(other, own->id, "msg_1").error().code() == ErrorCode::not_found);
        CHECK(hooks.list(other)->empty());
    }
    CHECK(hooks.change(account(1), own->id, {"https://bad/", {}, {}}).error().code() ==
          ErrorCode::invalid_field);
    for (std::size_t i = 1; i < webhooks::kEndpointsPerAccount; ++i)
        REQUIRE(hooks.create(account(1), "https://a/", {"*"}));
    CHECK(hooks.create(account(1), "https://a/", {"*"}).error().code() == ErrorCode::out_of_range);
    CHECK(receiver.count() == 0);
}

TEST_CASE("webhooks: an account hears of its own affairs, in order, by what it subscribed to") {
    const tests::TempFolder folder;
    Receiver receiver;
    Market market(folder, receiver);
    market.deposit(1);  // before there is an endpoint
    REQUIRE(market.webhooks().start());
    const auto all = market.webhooks().create(account(1), "https://all/", {"*"});
    REQUIRE(market.webhooks().create(account(1), "https://jobs/", {"job.*"}));
    REQUIRE(all);
    market.deposit(2);
    market.deposit(1);
    market.deposit(1);
    const auto calls = receiver.calls(2);
    REQUIRE(calls.size() == 2);
    for (const WebhookCall& call : calls) {
        CHECK(call.url == "https://all/");
        CHECK(call.body.find("\"type\":\"account.balance\"") != std::string::npos);
        CHECK(header(call, "webhook-signature").starts_with("v1,"));
        CHECK(header(call, "webhook-id").starts_with("msg_"));
    }
    CHECK(calls[0].body.find("\"available\":\"10\"") != std::string::npos);
    CHECK(calls[1].body.find("\"available\":\"15\"") != std::string::npos);
    market.until(1, all->id, [&](const Delivery& delivery) {
        return delivery.id == header(calls[1], "webhook-id") &&
               delivery.state == DeliveryState::kDelivered;
    });
}

TEST_CASE("webhooks: what was cut off by a stop is sent after the start, under the same id") {
    const tests::TempFolder folder;
    Receiver receiver;
    receiver.hangs = true;
    std::string id;
    {
        Market market(folder, receiver);
        REQUIRE(market.webhooks().start());
        const auto made = market.webhooks().create(account(1), "https://a/", {"*"});
        REQUIRE(made);
        id = made->id;
        market.deposit(1);
        receiver.calls(1);
        market.webhooks().stop();
        market.deposit(1);  // while nobody reads
    }
    receiver.hangs = false;
    Market market(folder, receiver);
    REQUIRE(market.webhooks().start());
    const auto calls = receiver.calls(3);
    CHECK(header(calls[0], "webhook-id") == header(calls[1], "webhook-id"));
    CHECK(header(calls[1], "webhook-id") != header(calls[2], "webhook-id"));
    CHECK(calls[2].body.find("\"available\":\"10\"") != std::string::npos);
    market.until(1, id, [](const Delivery& d) { return d.state == DeliveryState::kDelivered; });
}

TEST_CASE("webhooks: a failed delivery waits, is shown, and can be asked for again") {
    const tests::TempFolder folder;
    Receiver receiver;
    receiver.status = 500;
    Market market(folder, receiver);
    REQUIRE(market.webhooks().start());
    const auto made = market.webhooks().create(account(1), "https://a/", {"*"});
    REQUIRE(made);
    const auto test = market.webhooks().test(account(1), made->id);
    REQUIRE(test);
    const Delivery failed =
        market.until(1, made->id, [](const Delivery& d) { return d.attempts == 1; });
    CHECK(failed.state == DeliveryState::kPending);
    CHECK(failed.last_status == 500);
    CHECK(failed.next_attempt_ms >= failed.last_attempt_ms + 4000);
    CHECK(market.webhooks().redeliver(account(1), made->id, failed.id).error().code() ==
          ErrorCode::wrong_state);
    // Paused: given up; enabled: asked for again.
    REQUIRE(market.webhooks().change(account(1), made->id, {{}, {}, false}));
    CHECK(market.webhooks().test(account(1), made->id).error().code() == ErrorCode::wrong_state);
    market.until(1, made->id,
                 [](const Delivery& d) { return d.last_failure == Failure::kDisabled; });
    receiver.status = 200;
    REQUIRE(market.webhooks().change(account(1), made->id, {{}, {}, true}));
    REQUIRE(market.webhooks().redeliver(account(1), made->id, failed.id));
    const Delivery done = market.until(
        1, made->id, [](const Delivery& d) { return d.state == DeliveryState::kDelivered; });
    CHECK(done.id == test->id);
}

TEST_CASE("webhooks: 410 disables the endpoint and ends what waits") {
    const tests::TempFolder folder;
    Receiver receiver;
    receiver.status = 410;
    Market market(folder, receiver);
    REQUIRE(market.webhooks().start());
    const auto made = market.webhooks().create(account(1), "https://a/", {"*"});
    REQUIRE(made);
    market.deposit(1);
    market.until(1, made->id, [](const Delivery& d) { return d.state == DeliveryState::kFailed; });
    CHECK(market.webhooks().find(account(1), made->id)->disabled == Disabled::kGone);
    market.deposit(1);
    CHECK(receiver.count() == 1);
}

}  // namespace marketplace::app
