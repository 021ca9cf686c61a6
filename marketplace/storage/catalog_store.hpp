// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"
#include "marketplace/domain/resource.hpp"
#include "marketplace/storage/database.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace marketplace::storage {

/// A published model: the serve job spec's canonical bytes under a name.
struct ModelRow {
    std::string name;
    domain::Address owner;
    std::string spec;
    domain::TimeMs created_ms = 0;
    bool is_public = false;
};
struct ApiKey {
    std::string id;
    domain::Hash32 key_hash;
    domain::Address owner;
    std::string label;
    domain::TimeMs created_ms = 0;
    bool revoked = false;
    std::uint32_t scopes = 0;                      ///< bits
    std::optional<std::uint64_t> spend_cap_atoms;  ///< none: whatever the owner may spend
    std::uint64_t spent_atoms = 0;
    domain::TimeMs expires_ms = 0;                  ///< 0: never
    std::optional<std::uint64_t> delegation_nonce;  ///< of the delegation it is bound to
    std::uint64_t requests_per_minute = 0;          ///< 0: no limit of its own
};

/// An account's name for a blob.
struct StoredFile {
    std::string id;
    domain::Address owner;
    std::string filename;
    std::string purpose;
    domain::Hash32 blob;
    std::uint64_t bytes = 0;
    domain::TimeMs created_ms = 0;
};

/// Rows beside the engine. Writing needs the caller's transaction; same thread rule as its
/// database. exists_with_different_body: the name belongs to another owner.
class CatalogStore {
 public:
    explicit CatalogStore(Database& database) : database_(database) {}

    [[nodiscard]] ledger::base::Result<void> put_model(const ModelRow& model);
    [[nodiscard]] ledger::base::Result<std::optional<ModelRow>> model(const std::string& name);
    [[nodiscard]] ledger::base::Result<std::vector<ModelRow>> models();

    [[nodiscard]] ledger::base::Result<void> put_job_spec(const domain::Hash32& hash,
                                                          const std::string& spec);
    [[nodiscard]] ledger::base::Result<std::optional<std::string>> job_spec(
        const domain::Hash32& hash);

    [[nodiscard]] ledger::base::Result<void> put_api_key(const ApiKey& key);
    [[nodiscard]] ledger::base::Result<void> revoke_api_key(const std::string& id,
                                                            const domain::Address& owner);
    /// Adds to what was paid with a key. not_found.
    [[nodiscard]] ledger::base::Result<void> spend_api_key(const std::string& id,
                                                           std::uint64_t atoms);
    [[nodiscard]] ledger::base::Result<std::optional<ApiKey>> api_key(const domain::Hash32& hash);
    [[nodiscard]] ledger::base::Result<std::vector<ApiKey>> api_keys(const domain::Address& owner);

    /// The wrapped data key of a sealed job, by lease; replaces an earlier one.
    [[nodiscard]] ledger::base::Result<void> put_job_key(const domain::Hash32& lease,
                                                         ledger::base::ByteView wrapped);
    [[nodiscard]] ledger::base::Result<std::optional<ledger::base::Bytes>> job_key(
        const domain::Hash32& lease);

    [[nodiscard]] ledger::base::Result<void> put_file(const StoredFile& file);
    /// not_found when the owner has none of that id.
    [[nodiscard]] ledger::base::Result<void> delete_file(const std::string& id,
                                                         const domain::Address& owner);
    [[nodiscard]] ledger::base::Result<std::optional<StoredFile>> file(
        const std::string& id, const domain::Address& owner);
    /// Oldest first.
    [[nodiscard]] ledger::base::Result<std::vector<StoredFile>> files(const domain::Address& owner);
    /// Of all accounts, each blob once.
    [[nodiscard]] ledger::base::Result<std::vector<domain::Hash32>> file_blobs();

    [[nodiscard]] ledger::base::Result<void> put_setting(const std::string& name,
                                                         ledger::base::ByteView value);
    [[nodiscard]] ledger::base::Result<std::optional<ledger::base::Bytes>> setting(
        const std::string& name);

 private:
    Database& database_;
};

}  // namespace marketplace::storage
