// SPDX-License-Identifier: Apache-2.0
#include "marketplace/storage/catalog_store.hpp"

#include "marketplace/storage/columns.hpp"

namespace marketplace::storage {
namespace {

using domain::Address;
using domain::Hash32;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

ModelRow read_model(SQLite::Statement& row) {
    return {row.getColumn(0).getString(), fixed<Address>(row.getColumn(1)),
            row.getColumn(2).getString(), number(row.getColumn(3)), row.getColumn(4).getInt() != 0};
}

ApiKey read_key(SQLite::Statement& row) {
    ApiKey key;
    key.id = row.getColumn(0).getString();
    key.key_hash = fixed<Hash32>(row.getColumn(1));
    key.owner = fixed<Address>(row.getColumn(2));
    key.label = row.getColumn(3).getString();
    key.created_ms = number(row.getColumn(4));
    key.revoked = row.getColumn(5).getInt() != 0;
    key.scopes = row.getColumn(6).getUInt();
    if (!row.isColumnNull(7)) key.spend_cap_atoms = number(row.getColumn(7));
    key.spent_atoms = number(row.getColumn(8));
    key.expires_ms = number(row.getColumn(9));
    if (!row.isColumnNull(10)) key.delegation_nonce = number(row.getColumn(10));
    key.requests_per_minute = number(row.getColumn(11));
    return key;
}

StoredFile read_file(SQLite::Statement& row) {
    return {row.getColumn(0).getString(),    fixed<Address>(row.getColumn(1)),
            row.getColumn(2).getString(),    row.getColumn(3).getString(),
            fixed<Hash32>(row.getColumn(4)), number(row.getColumn(5)),
            number(row.getColumn(6))};
}

constexpr const char* kSelectKey =
    "SELECT id, key_hash, owner, label, created_ms, revoked, scopes, spend_cap_atoms, spent_atoms, "
    "expires_ms, delegation_nonce, requests_per_minute FROM api_keys WHERE ";

void bind_optional(SQLite::Statement& statement, int index,
                   const std::optional<std::uint64_t>& value) {
    if (value)
        statement.bind(index, to_column(*value));
    else
        statement.bind(index);
}

constexpr const char* kSelectFile =
    "SELECT id, owner, filename, purpose, blob, bytes, created_ms FROM files WHERE owner = ?";

}  // namespace

Result<void> CatalogStore::put_model(const ModelRow& model) {
    TRY_ASSIGN(const auto existing, this->model(model.name));
    if (existing && existing->owner != model.owner)
        return fail(ErrorCode::exists_with_different_body, "model " + model.name);
    return database_.run([&](SQLite::Database& db) {
        SQLite::Statement insert(
            db,
            "INSERT OR REPLACE INTO models(name, owner, spec, created_ms, public) "
            "VALUES(?, ?, ?, ?, ?)");
        insert.bind(1, model.name);
        bind_blob(insert, 2, model.owner.span());
        insert.bind(3, model.spec);
        insert.bind(4, to_column(model.created_ms));
        insert.bind(5, model.is_public ? 1 : 0);
        insert.exec();
    });
}

Result<std::optional<ModelRow>> CatalogStore::model(const std::string& name) {
    std::optional<ModelRow> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(
            db, "SELECT name, owner, spec, created_ms, public FROM models WHERE name = ?");
        select.bind(1, name);
        if (select.executeStep()) out = read_model(select);
    }));
    return out;
}

Result<std::vector<ModelRow>> CatalogStore::models() {
    std::vector<ModelRow> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(
            db,
            "SELECT name, owner, spec, created_ms, public FROM models ORDER BY created_ms, name");
        while (select.executeStep())
            out.push_back(read_model(select));
    }));
    return out;
}

Result<void> CatalogStore::put_job_spec(const Hash32& hash, const std::string& spec) {
    return database_.run([&](SQLite::Database& db) {
        SQLite::Statement insert(db, "INSERT OR IGNORE INTO job_specs(hash, spec) VALUES(?, ?)");
        bind_blob(insert, 1, hash.span());
        insert.bind(2, spec);
        insert.exec();
    });
}

Result<std::optional<std::string>> CatalogStore::job_spec(const Hash32& hash) {
    std::optional<std::string> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db, "SELECT spec FROM job_specs WHERE hash = ?");
        bind_blob(select, 1, hash.span());
        if (select.executeStep()) out = select.getColumn(0).getString();
    }));
    return out;
}

Result<void> CatalogStore::put_api_key(const ApiKey& key) {
    return database_.run([&](SQLite::Database& db) {
        SQLite::Statement insert(db,
                                 "INSERT INTO api_keys(id, key_hash, owner, label, created_ms, "
                                 "revoked, scopes, spend_cap_atoms, spent_atoms, expires_ms, "
                                 "delegation_nonce, requests_per_minute) "
                                 "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
        insert.bind(1, key.id);
        bind_blob(insert, 2, key.key_hash.span());
        bind_blob(insert, 3, key.owner.span());
        insert.bind(4, key.label);
        insert.bind(5, to_column(key.created_ms));
        insert.bind(6, key.revoked ? 1 : 0);
        insert.bind(7, key.scopes);
        bind_optional(insert, 8, key.spend_cap_atoms);
        insert.bind(9, to_column(key.spent_atoms));
        insert.bind(10, to_column(key.expires_ms));
        bind_optional(insert, 11, key.delegation_nonce);
        insert.bind(12, to_column(key.requests_per_minute));
        insert.exec();
    });
}

Result<void> CatalogStore::spend_api_key(const std::string& id, std::uint64_t atoms) {
    int changed = 0;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement update(db,
                                 "UPDATE api_keys SET spent_atoms = spent_atoms + ? WHERE id = ?");
        update.bind(1, to_column(atoms));
        update.bind(2, id);
        changed = update.exec();
    }));
    if (changed == 0) return fail(ErrorCode::not_found, "API key " + id);
    return {};
}

Result<void> CatalogStore::revoke_api_key(const std::string& id, const Address& owner) {
    int changed = 0;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement update(db, "UPDATE api_keys SET revoked = 1 WHERE id = ? AND owner = ?");
        update.bind(1, id);
        bind_blob(update, 2, owner.span());
        changed = update.exec();
    }));
    if (changed == 0) return fail(ErrorCode::not_found, "API key " + id);
    return {};
}

Result<std::optional<ApiKey>> CatalogStore::api_key(const Hash32& hash) {
    std::optional<ApiKey> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db, std::string(kSelectKey) + "key_hash = ?");
        bind_blob(select, 1, hash.span());
        if (select.executeStep()) out = read_key(select);
    }));
    return out;
}

Result<std::vector<ApiKey>> CatalogStore::api_keys(const Address& owner) {
    std::vector<ApiKey> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db, std::string(kSelectKey) + "owner = ? ORDER BY created_ms, id");
        bind_blob(select, 1, owner.span());
        while (select.executeStep())
            out.push_back(read_key(select));
    }));
    return out;
}

Result<void> CatalogStore::put_job_key(const Hash32& lease, ledger::base::ByteView wrapped) {
    return database_.run([&](SQLite::Database& db) {
        SQLite::Statement insert(db,
                                 "INSERT OR REPLACE INTO job_keys(lease, wrapped) VALUES(?, ?)");
        bind_blob(insert, 1, lease.span());
        bind_blob(insert, 2, wrapped);
        insert.exec();
    });
}

Result<std::optional<ledger::base::Bytes>> CatalogStore::job_key(const Hash32& lease) {
    std::optional<ledger::base::Bytes> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db, "SELECT wrapped FROM job_keys WHERE lease = ?");
        bind_blob(select, 1, lease.span());
        if (select.executeStep()) out = blob(select.getColumn(0));
    }));
    return out;
}

Result<void> CatalogStore::put_file(const StoredFile& file) {
    return database_.run([&](SQLite::Database& db) {
        SQLite::Statement insert(db,
                                 "INSERT INTO files(id, owner, filename, purpose, blob, bytes, "
                                 "created_ms) VALUES(?, ?, ?, ?, ?, ?, ?)");
        insert.bind(1, file.id);
        bind_blob(insert, 2, file.owner.span());
        insert.bind(3, file.filename);
        insert.bind(4, file.purpose);
        bind_blob(insert, 5, file.blob.span());
        insert.bind(6, to_column(file.bytes));
        insert.bind(7, to_column(file.created_ms));
        insert.exec();
    });
}

Result<void> CatalogStore::delete_file(const std::string& id, const Address& owner) {
    int changed = 0;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement remove(db, "DELETE FROM files WHERE id = ? AND owner = ?");
        remove.bind(1, id);
        bind_blob(remove, 2, owner.span());
        changed = remove.exec();
    }));
    if (changed == 0) return fail(ErrorCode::not_found, "file " + id);
    return {};
}

Result<std::optional<StoredFile>> CatalogStore::file(const std::string& id, const Address& owner) {
    std::optional<StoredFile> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db, std::string(kSelectFile) + " AND id = ?");
        bind_blob(select, 1, owner.span());
        select.bind(2, id);
        if (select.executeStep()) out = read_file(select);
    }));
    return out;
}

Result<std::vector<StoredFile>> CatalogStore::files(const Address& owner) {
    std::vector<StoredFile> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db, std::string(kSelectFile) + " ORDER BY created_ms, id");
        bind_blob(select, 1, owner.span());
        while (select.executeStep())
            out.push_back(read_file(select));
    }));
    return out;
}

Result<std::vector<Hash32>> CatalogStore::file_blobs() {
    std::vector<domain::Hash32> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db, "SELECT DISTINCT blob FROM files");
        while (select.executeStep())
            out.push_back(fixed<Hash32>(select.getColumn(0)));
    }));
    return out;
}

Result<void> CatalogStore::put_setting(const std::string& name, ledger::base::ByteView value) {
    return database_.run([&](SQLite::Database& db) {
        SQLite::Statement insert(db, "INSERT OR REPLACE INTO settings(name, value) VALUES(?, ?)");
        insert.bind(1, name);
        bind_blob(insert, 2, value);
        insert.exec();
    });
}

Result<std::optional<ledger::base::Bytes>> CatalogStore::setting(const std::string& name) {
    std::optional<ledger::base::Bytes> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db, "SELECT value FROM settings WHERE name = ?");
        select.bind(1, name);
        if (select.executeStep()) out = blob(select.getColumn(0));
    }));
    return out;
}

}  // namespace marketplace::storage
