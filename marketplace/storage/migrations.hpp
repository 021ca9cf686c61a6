// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>

/// Numbered, forward only: entry n brings the schema from version n to n + 1. Never edit one
/// that was released; add another.
namespace marketplace::storage {

inline constexpr std::array<const char*, 8> kMigrations = {R"sql(
-- The market itself: one record per command. Everything the engine knows is replayed from here.
CREATE TABLE journal(
    sequence INTEGER PRIMARY KEY,
    record BLOB NOT NULL
) STRICT;

-- Beside the engine: documents, models and keys.
CREATE TABLE job_specs(
    hash BLOB PRIMARY KEY CHECK(length(hash) = 32),
    spec TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE models(
    name TEXT PRIMARY KEY,
    owner BLOB NOT NULL CHECK(length(owner) = 20),
    spec TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys(
    id TEXT PRIMARY KEY,
    key_hash BLOB NOT NULL UNIQUE CHECK(length(key_hash) = 32),
    owner BLOB NOT NULL CHECK(length(owner) = 20),
    label TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    revoked INTEGER NOT NULL CHECK(revoked IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX api_keys_by_owner ON api_keys(owner, created_ms);

-- Settlement: one intent per nonce, signed bytes before they are sent.
CREATE TABLE transactions(
    nonce INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    destination BLOB NOT NULL CHECK(length(destination) = 20),
    data BLOB NOT NULL,
    gas_limit INTEGER NOT NULL,
    state INTEGER NOT NULL CHECK(state BETWEEN 0 AND 3),
    mined_hash BLOB,
    mined_block INTEGER,
    mined_block_hash BLOB,
    mined_succeeded INTEGER,
    mined_gas INTEGER,
    last_sent_ms INTEGER NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX transactions_alive ON transactions(nonce) WHERE state < 3;

CREATE TABLE transaction_versions(
    nonce INTEGER NOT NULL REFERENCES transactions(nonce),
    position INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK(length(hash) = 32),
    raw BLOB NOT NULL,
    max_fee TEXT NOT NULL,
    priority_fee TEXT NOT NULL,
    signed_at_ms INTEGER NOT NULL,
    PRIMARY KEY(nonce, position)
) STRICT, WITHOUT ROWID;

-- Which lease (and which of its vouchers) a transaction settles: each at most once.
CREATE TABLE settlement_items(
    kind TEXT NOT NULL,
    lease BLOB NOT NULL CHECK(length(lease) = 32),
    sequence INTEGER NOT NULL,
    nonce INTEGER NOT NULL REFERENCES transactions(nonce),
    PRIMARY KEY(kind, lease, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX settlement_items_by_nonce ON settlement_items(nonce);

-- Chain cursor, salt secret, identity of the deployment this file belongs to.
CREATE TABLE settings(
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
)sql",
                                                           R"sql(
-- Claims by workers alone that wait on the chain: the buyer's side may have to object.
CREATE TABLE lone_claims(
    lease BLOB PRIMARY KEY CHECK(length(lease) = 32),
    receipt BLOB NOT NULL CHECK(length(receipt) = 32),
    units INTEGER NOT NULL,
    amount_atoms INTEGER NOT NULL,
    payable_at_s INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX transaction_versions_by_hash ON transaction_versions(hash);
)sql",
                                                           R"sql(
-- Names that accounts gave to blobs (OpenAI's files).
CREATE TABLE files(
    id TEXT PRIMARY KEY,
    owner BLOB NOT NULL CHECK(length(owner) = 20),
    filename TEXT NOT NULL,
    purpose TEXT NOT NULL,
    blob BLOB NOT NULL CHECK(length(blob) = 32),
    bytes INTEGER NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX files_by_owner ON files(owner, created_ms);
)sql",
                                                           R"sql(
-- Data keys of sealed jobs, each readable by its lease's worker alone.
CREATE TABLE job_keys(
    lease BLOB PRIMARY KEY CHECK(length(lease) = 32),
    wrapped BLOB NOT NULL CHECK(length(wrapped) <= 256)
) STRICT, WITHOUT ROWID;
)sql",
                                                           R"sql(
-- URLs that want to hear of their owner's affairs, and what is or was on its way to them.
CREATE TABLE webhooks(
    id TEXT PRIMARY KEY,
    owner BLOB NOT NULL CHECK(length(owner) = 20),
    url TEXT NOT NULL,
    events TEXT NOT NULL,
    secret BLOB NOT NULL,
    old_secret BLOB NOT NULL,
    old_secret_until_ms INTEGER NOT NULL,
    disabled INTEGER NOT NULL CHECK(disabled BETWEEN 0 AND 4),
    created_ms INTEGER NOT NULL,
    failing_since_ms INTEGER NOT NULL,
    from_sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX webhooks_by_owner ON webhooks(owner, created_ms);

CREATE TABLE webhook_deliveries(
    number INTEGER PRIMARY KEY,
    endpoint TEXT NOT NULL REFERENCES webhooks(id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    body TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    state INTEGER NOT NULL CHECK(state BETWEEN 0 AND 2),
    attempts INTEGER NOT NULL,
    next_attempt_ms INTEGER NOT NULL,
    last_attempt_ms INTEGER NOT NULL,
    last_status INTEGER NOT NULL,
    last_failure INTEGER NOT NULL CHECK(last_failure BETWEEN 0 AND 8),
    UNIQUE(endpoint, id)
) STRICT;
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries(endpoint, next_attempt_ms, number)
    WHERE state = 0;
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries(endpoint, number);
)sql",
                                                           R"sql(
-- What an API key may do, pay, and until when. Those made before may do everything.
ALTER TABLE api_keys ADD COLUMN scopes INTEGER NOT NULL DEFAULT 63;
ALTER TABLE api_keys ADD COLUMN spend_cap_atoms INTEGER;
ALTER TABLE api_keys ADD COLUMN spent_atoms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN expires_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN delegation_nonce INTEGER;
)sql",
                                                           R"sql(
-- Payments up to an amount: each serves one call, and is taken when its price is known.
CREATE TABLE upto_payments(
    name BLOB PRIMARY KEY CHECK(length(name) = 32),
    payer BLOB NOT NULL CHECK(length(payer) = 20),
    deadline_s INTEGER NOT NULL,
    state INTEGER NOT NULL CHECK(state BETWEEN 0 AND 5),
    atoms INTEGER NOT NULL,
    proxy BLOB NOT NULL CHECK(length(proxy) = 20),
    call BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX upto_payments_by_payer ON upto_payments(payer, state);
CREATE INDEX upto_payments_unsettled ON upto_payments(state) WHERE state < 3;
)sql",
                                                           R"sql(
-- A key's own limit, 0 for none; whether anybody may read a model's spec.
ALTER TABLE api_keys ADD COLUMN requests_per_minute INTEGER NOT NULL DEFAULT 0;
ALTER TABLE models ADD COLUMN public INTEGER NOT NULL DEFAULT 0 CHECK(public IN (0, 1));
)sql"};

}  // namespace marketplace::storage
