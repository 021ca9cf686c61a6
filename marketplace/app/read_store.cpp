// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/read_store.hpp"

namespace marketplace::app {
namespace {

using ledger::base::Result;
using storage::CatalogStore;
using storage::Database;

api::PublishedModel to_model(const storage::ModelRow& row) {
    return {row.name, row.owner, row.spec, row.created_ms, row.is_public};
}
api::ApiKeyRow to_key(const storage::ApiKey& row) {
    api::ApiKeyRow key;
    key.id = row.id;
    key.key_hash = row.key_hash;
    key.owner = row.owner;
    key.label = row.label;
    key.created_ms = row.created_ms;
    key.revoked = row.revoked;
    key.scopes = row.scopes;
    key.spend_cap_atoms = row.spend_cap_atoms;
    key.spent_atoms = row.spent_atoms;
    key.expires_ms = row.expires_ms;
    key.delegation_nonce = row.delegation_nonce;
    key.requests_per_minute = row.requests_per_minute;
    return key;
}
api::FileRow to_file(const storage::StoredFile& row) {
    return {row.id, row.owner, row.filename, row.purpose, row.blob, row.bytes, row.created_ms};
}

}  // namespace

Result<void> Catalog::put_model(const api::PublishedModel& model) {
    return engine_.transact({}, [model](Database& db) {
        return CatalogStore(db).put_model(
            {model.name, model.owner, model.spec, model.created_ms, model.is_public});
    });
}

std::optional<api::PublishedModel> Catalog::model(const std::string& name) const {
    const auto row = reads_.with([&](Database& db) { return CatalogStore(db).model(name); });
    if (!row || !*row) return std::nullopt;
    return to_model(**row);
}

std::vector<api::PublishedModel> Catalog::models() const {
    std::vector<api::PublishedModel> out;
    const auto rows = reads_.with([](Database& db) { return CatalogStore(db).models(); });
    if (rows)
        for (const auto& row : *rows)
            out.push_back(to_model(row));
    return out;
}

Result<void> Catalog::put_job_spec(const domain::Hash32& spec_hash, std::string bytes) {
    return engine_.transact({}, [spec_hash, bytes = std::move(bytes)](Database& db) {
        return CatalogStore(db).put_job_spec(spec_hash, bytes);
    });
}

std::optional<std::string> Catalog::job_spec(const domain::Hash32& spec_hash) const {
    auto spec = reads_.with([&](Database& db) { return CatalogStore(db).job_spec(spec_hash); });
    if (!spec) return std::nullopt;
    return std::move(*spec);
}

Result<void> Catalog::put_api_key(const api::ApiKeyRow& key) {
    return engine_.transact({}, [key](Database& db) {
        return CatalogStore(db).put_api_key({key.id, key.key_hash, key.owner, key.label,
                                             key.created_ms, key.revoked, key.scopes,
                                             key.spend_cap_atoms, key.spent_atoms, key.expires_ms,
                                             key.delegation_nonce, key.requests_per_minute});
    });
}

Result<void> Catalog::spend_api_key(const std::string& id, std::uint64_t atoms) {
    return engine_.transact(
        {}, [id, atoms](Database& db) { return CatalogStore(db).spend_api_key(id, atoms); });
}

Result<void> Catalog::revoke_api_key(const std::string& id, const domain::Address& owner) {
    return engine_.transact(
        {}, [id, owner](Database& db) { return CatalogStore(db).revoke_api_key(id, owner); });
}

std::optional<api::ApiKeyRow> Catalog::api_key(const domain::Hash32& hash) const {
    const auto row = reads_.with([&](Database& db) { return CatalogStore(db).api_key(hash); });
    if (!row || !*row) return std::nullopt;
    return to_key(**row);
}

std::vector<api::ApiKeyRow> Catalog::api_keys(const domain::Address& owner) const {
    std::vector<api::ApiKeyRow> out;
    const auto rows = reads_.with([&](Database& db) { return CatalogStore(db).api_keys(owner); });
    if (rows)
        for (const auto& row : *rows)
            out.push_back(to_key(row));
    return out;
}

Result<void> Catalog::put_job_key(const domain::Hash32& lease, domain::Bytes wrapped) {
    return engine_.transact({}, [lease, wrapped = std::move(wrapped)](Database& db) {
        return CatalogStore(db).put_job_key(lease, wrapped);
    });
}

std::optional<domain::Bytes> Catalog::job_key(const domain::Hash32& lease) const {
    auto row = reads_.with([&](Database& db) { return CatalogStore(db).job_key(lease); });
    return row ? std::move(*row) : std::nullopt;
}

Result<void> Catalog::put_file(const api::FileRow& file) {
    return engine_.transact({}, [file](Database& db) {
        return CatalogStore(db).put_file({file.id, file.owner, file.filename, file.purpose,
                                          file.blob, file.bytes, file.created_ms});
    });
}

Result<void> Catalog::delete_file(const std::string& id, const domain::Address& owner) {
    return engine_.transact(
        {}, [id, owner](Database& db) { return CatalogStore(db).delete_file(id, owner); });
}

std::optional<api::FileRow> Catalog::file(const std::string& id,
                                          const domain::Address& owner) const {
    const auto row = reads_.with([&](Database& db) { return CatalogStore(db).file(id, owner); });
    if (!row || !*row) return std::nullopt;
    return to_file(**row);
}

std::vector<api::FileRow> Catalog::files(const domain::Address& owner) const {
    std::vector<api::FileRow> out;
    const auto rows = reads_.with([&](Database& db) { return CatalogStore(db).files(owner); });
    if (rows)
        for (const auto& row : *rows)
            out.push_back(to_file(row));
    return out;
}

}  // namespace marketplace::app
