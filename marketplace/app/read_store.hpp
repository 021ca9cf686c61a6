// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/api/ports.hpp"
#include "marketplace/app/engine_thread.hpp"
#include "marketplace/storage/catalog_store.hpp"
#include "marketplace/storage/database.hpp"

#include <memory>
#include <mutex>

namespace marketplace::app {

/// A read-only connection beside the writer's; WAL keeps the two out of each other's way.
/// Thread-safe: one query at a time.
class ReadStore {
 public:
    explicit ReadStore(std::unique_ptr<storage::Database> database)
        : database_(std::move(database)) {}

    template <typename Use>
    auto with(Use use) {
        const std::scoped_lock lock(mutex_);
        return use(*database_);
    }

 private:
    std::mutex mutex_;
    std::unique_ptr<storage::Database> database_;
};

/// The catalog for handlers: reads on the side connection, writes on the engine thread.
class Catalog final : public api::CatalogPort {
 public:
    Catalog(EngineThread& engine, ReadStore& reads) : engine_(engine), reads_(reads) {}

    ledger::base::Result<void> put_model(const api::PublishedModel& model) override;
    [[nodiscard]] std::optional<api::PublishedModel> model(const std::string& name) const override;
    [[nodiscard]] std::vector<api::PublishedModel> models() const override;
    ledger::base::Result<void> put_job_spec(const domain::Hash32& spec_hash,
                                            std::string bytes) override;
    [[nodiscard]] std::optional<std::string> job_spec(
        const domain::Hash32& spec_hash) const override;
    ledger::base::Result<void> put_api_key(const api::ApiKeyRow& key) override;
    ledger::base::Result<void> revoke_api_key(const std::string& id,
                                              const domain::Address& owner) override;
    ledger::base::Result<void> spend_api_key(const std::string& id, std::uint64_t atoms) override;
    [[nodiscard]] std::optional<api::ApiKeyRow> api_key(const domain::Hash32& hash) const override;
    [[nodiscard]] std::vector<api::ApiKeyRow> api_keys(const domain::Address& owner) const override;
    ledger::base::Result<void> put_job_key(const domain::Hash32& lease,
                                           domain::Bytes wrapped) override;
    [[nodiscard]] std::optional<domain::Bytes> job_key(const domain::Hash32& lease) const override;
    ledger::base::Result<void> put_file(const api::FileRow& file) override;
    ledger::base::Result<void> delete_file(const std::string& id,
                                           const domain::Address& owner) override;
    [[nodiscard]] std::optional<api::FileRow> file(const std::string& id,
                                                   const domain::Address& owner) const override;
    [[nodiscard]] std::vector<api::FileRow> files(const domain::Address& owner) const override;

 private:
    EngineThread& engine_;
    ReadStore& reads_;
};

}  // namespace marketplace::app
