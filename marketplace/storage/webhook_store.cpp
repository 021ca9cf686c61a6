// SPDX-License-Identifier: Apache-2.0
#include "marketplace/storage/webhook_store.hpp"

#include "marketplace/storage/columns.hpp"

namespace marketplace::storage {
namespace {

using domain::Address;
using ledger::base::Result;
using webhooks::Delivery;
using webhooks::DeliveryState;
using webhooks::Disabled;
using webhooks::Endpoint;
using webhooks::Failure;

const std::string kSelectEndpoint =
    "SELECT id, owner, url, events, secret, old_secret, old_secret_until_ms, disabled, created_ms, "
    "failing_since_ms, from_sequence FROM webhooks ";
const std::string kSelectDelivery =
    "SELECT id, endpoint, type, body, created_ms, state, attempts, next_attempt_ms, "
    "last_attempt_ms, last_status, last_failure FROM webhook_deliveries ";

/// Patterns hold no spaces.
std::string join(const std::vector<std::string>& patterns) {
    std::string out;
    for (const std::string& pattern : patterns)
        out += (out.empty() ? "" : " ") + pattern;
    return out;
}

std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> out;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find(' ', at), text.size());
        out.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return out;
}

Endpoint read_endpoint(SQLite::Statement& row) {
    Endpoint out;
    out.id = row.getColumn(0).getString();
    out.owner = fixed<Address>(row.getColumn(1));
    out.url = row.getColumn(2).getString();
    out.events = split(row.getColumn(3).getString());
    out.secret = blob(row.getColumn(4));
    out.old_secret = blob(row.getColumn(5));
    out.old_secret_until_ms = number(row.getColumn(6));
    out.disabled = static_cast<Disabled>(row.getColumn(7).getInt());
    out.created_ms = number(row.getColumn(8));
    out.failing_since_ms = number(row.getColumn(9));
    out.from_sequence = number(row.getColumn(10));
    return out;
}

Delivery read_delivery(SQLite::Statement& row) {
    Delivery out;
    out.id = row.getColumn(0).getString();
    out.endpoint = row.getColumn(1).getString();
    out.type = row.getColumn(2).getString();
    out.body = row.getColumn(3).getString();
    out.created_ms = number(row.getColumn(4));
    out.state = static_cast<DeliveryState>(row.getColumn(5).getInt());
    out.attempts = row.getColumn(6).getUInt();
    out.next_attempt_ms = number(row.getColumn(7));
    out.last_attempt_ms = number(row.getColumn(8));
    out.last_status = row.getColumn(9).getUInt();
    out.last_failure = static_cast<Failure>(row.getColumn(10).getInt());
    return out;
}

/// The columns that attempts change, from parameter `first` on.
void bind_attempts(SQLite::Statement& statement, int first, const Delivery& delivery) {
    statement.bind(first, static_cast<int>(delivery.state));
    statement.bind(first + 1, delivery.attempts);
    statement.bind(first + 2, to_column(delivery.next_attempt_ms));
    statement.bind(first + 3, to_column(delivery.last_attempt_ms));
    statement.bind(first + 4, delivery.last_status);
    statement.bind(first + 5, static_cast<int>(delivery.last_failure));
}

std::uint64_t count_of(SQLite::Statement& select) {
    return select.executeStep() ? number(select.getColumn(0)) : 0;
}

}  // namespace

Result<void> WebhookStore::put_endpoint(const Endpoint& endpoint) {
    return database_.run([&](SQLite::Database& db) {
        // Not REPLACE: that would delete the row and with it the deliveries.
        SQLite::Statement insert(
            db,
            "INSERT INTO webhooks(id, owner, url, events, secret, old_secret, old_secret_until_ms, "
            "disabled, created_ms, failing_since_ms, from_sequence) "
            "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET "
            "url = excluded.url, events = excluded.events, secret = excluded.secret, "
            "old_secret = excluded.old_secret, old_secret_until_ms = excluded.old_secret_until_ms, "
            "disabled = excluded.disabled, failing_since_ms = excluded.failing_since_ms, "
            "from_sequence = excluded.from_sequence");
        insert.bind(1, endpoint.id);
        bind_blob(insert, 2, endpoint.owner.span());
        insert.bind(3, endpoint.url);
        insert.bind(4, join(endpoint.events));
        bind_blob(insert, 5, endpoint.secret);
        bind_blob(insert, 6, endpoint.old_secret);
        insert.bind(7, to_column(endpoint.old_secret_until_ms));
        insert.bind(8, static_cast<int>(endpoint.disabled));
        insert.bind(9, to_column(endpoint.created_ms));
        insert.bind(10, to_column(endpoint.failing_since_ms));
        insert.bind(11, to_column(endpoint.from_sequence));
        insert.exec();
    });
}

Result<void> WebhookStore::delete_endpoint(const std::string& id) {
    return database_.run([&](SQLite::Database& db) {
        SQLite::Statement remove(db, "DELETE FROM webhooks WHERE id = ?");
        remove.bind(1, id);
        remove.exec();
    });
}

Result<std::optional<Endpoint>> WebhookStore::endpoint(const std::string& id) {
    std::optional<Endpoint> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db, kSelectEndpoint + "WHERE id = ?");
        select.bind(1, id);
        if (select.executeStep()) out = read_endpoint(select);
    }));
    return out;
}

Result<std::vector<Endpoint>> WebhookStore::endpoints() {
    std::vector<Endpoint> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db, kSelectEndpoint + "ORDER BY created_ms, id");
        while (select.executeStep())
            out.push_back(read_endpoint(select));
    }));
    return out;
}

Result<std::vector<Endpoint>> WebhookStore::endpoints(const Address& owner) {
    std::vector<Endpoint> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db, kSelectEndpoint + "WHERE owner = ? ORDER BY created_ms, id");
        bind_blob(select, 1, owner.span());
        while (select.executeStep())
            out.push_back(read_endpoint(select));
    }));
    return out;
}

Result<std::uint64_t> WebhookStore::endpoint_count() {
    std::uint64_t out = 0;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db, "SELECT count(*) FROM webhooks");
        out = count_of(select);
    }));
    return out;
}

Result<bool> WebhookStore::add_delivery(const Delivery& delivery) {
    int added = 0;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement insert(
            db,
            "INSERT INTO webhook_deliveries(endpoint, id, type, body, created_ms, state, attempts, "
            "next_attempt_ms, last_attempt_ms, last_status, last_failure) "
            "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(endpoint, id) DO NOTHING");
        insert.bind(1, delivery.endpoint);
        insert.bind(2, delivery.id);
        insert.bind(3, delivery.type);
        insert.bind(4, delivery.body);
        insert.bind(5, to_column(delivery.created_ms));
        bind_attempts(insert, 6, delivery);
        added = insert.exec();
    }));
    return added > 0;
}

Result<void> WebhookStore::update_delivery(const Delivery& delivery) {
    return database_.run([&](SQLite::Database& db) {
        SQLite::Statement update(
            db,
            "UPDATE webhook_deliveries SET state = ?, attempts = ?, next_attempt_ms = ?, "
            "last_attempt_ms = ?, last_status = ?, last_failure = ? WHERE endpoint = ? AND id = ?");
        bind_attempts(update, 1, delivery);
        update.bind(7, delivery.endpoint);
        update.bind(8, delivery.id);
        update.exec();
    });
}

Result<std::optional<Delivery>> WebhookStore::delivery(const std::string& endpoint,
                                                       const std::string& id) {
    std::optional<Delivery> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db, kSelectDelivery + "WHERE endpoint = ? AND id = ?");
        select.bind(1, endpoint);
        select.bind(2, id);
        if (select.executeStep()) out = read_delivery(select);
    }));
    return out;
}

Result<std::optional<Delivery>> WebhookStore::next_pending(const std::string& endpoint) {
    std::optional<Delivery> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db, kSelectDelivery +
                                         "WHERE endpoint = ? AND state = 0 "
                                         "ORDER BY next_attempt_ms, number LIMIT 1");
        select.bind(1, endpoint);
        if (select.executeStep()) out = read_delivery(select);
    }));
    return out;
}

Result<std::uint64_t> WebhookStore::pending_count(const std::string& endpoint,
                                                  const std::string& type) {
    std::uint64_t out = 0;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db,
                                 "SELECT count(*) FROM webhook_deliveries "
                                 "WHERE endpoint = ?1 AND state = 0 AND (?2 = '' OR type = ?2)");
        select.bind(1, endpoint);
        select.bind(2, type);
        out = count_of(select);
    }));
    return out;
}

Result<std::vector<Delivery>> WebhookStore::deliveries(const std::string& endpoint,
                                                       const std::string& after,
                                                       std::size_t limit) {
    std::vector<Delivery> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(
            db, kSelectDelivery +
                    "WHERE endpoint = ?1 AND (?2 = '' OR number < (SELECT number FROM "
                    "webhook_deliveries WHERE endpoint = ?1 AND id = ?2)) "
                    "ORDER BY number DESC LIMIT ?3");
        select.bind(1, endpoint);
        select.bind(2, after);
        select.bind(3, to_column(limit));
        while (select.executeStep())
            out.push_back(read_delivery(select));
    }));
    return out;
}

Result<void> WebhookStore::give_up_pending(const std::string& endpoint) {
    return database_.run([&](SQLite::Database& db) {
        SQLite::Statement update(db,
                                 "UPDATE webhook_deliveries SET state = ?, next_attempt_ms = 0, "
                                 "last_failure = ? WHERE endpoint = ? AND state = 0");
        update.bind(1, static_cast<int>(DeliveryState::kFailed));
        update.bind(2, static_cast<int>(Failure::kDisabled));
        update.bind(3, endpoint);
        update.exec();
    });
}

Result<void> WebhookStore::prune(const std::string& endpoint, domain::TimeMs oldest_ms,
                                 std::size_t keep) {
    return database_.run([&](SQLite::Database& db) {
        SQLite::Statement remove(
            db,
            "DELETE FROM webhook_deliveries WHERE endpoint = ?1 AND state <> 0 AND "
            "(created_ms < ?2 OR number <= (SELECT number FROM webhook_deliveries "
            "WHERE endpoint = ?1 AND state <> 0 ORDER BY number DESC LIMIT 1 OFFSET ?3))");
        remove.bind(1, endpoint);
        remove.bind(2, to_column(oldest_ms));
        remove.bind(3, to_column(keep));
        remove.exec();
    });
}

}  // namespace marketplace::storage
