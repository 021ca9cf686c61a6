// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/check.hpp"
#include "ledger/base/clock.hpp"
#include "ledger/base/limits.hpp"
#include "marketplace/api/auth.hpp"
#include "marketplace/api/blob_store.hpp"
#include "marketplace/api/context.hpp"
#include "marketplace/app/engine_thread.hpp"
#include "marketplace/app/job_records.hpp"
#include "marketplace/app/market_feed.hpp"
#include "marketplace/app/public_log.hpp"
#include "marketplace/app/read_store.hpp"
#include "marketplace/http/server.hpp"

#include <filesystem>
#include <memory>
#include <vector>

namespace tests {

/// The market's own parts behind its REST routes, put together as the application does, without
/// chain, signer and workers. Rate limits are off: one address sends it all.
class RestMarket {
 public:
    RestMarket(const std::filesystem::path& folder, const marketplace::engine::EngineConfig& config,
               std::size_t queue_max = ledger::base::limits::kEngineQueue)
        : database_(open(folder, marketplace::storage::Database::Mode::kReadWrite)),
          reads_(open(folder, marketplace::storage::Database::Mode::kReadOnly)),
          log_([](auto, auto) { return std::vector<marketplace::domain::Bytes>(); }, clock_,
               config.batch_period_ms),
          engine_(config, *database_, clock_, queue_max),
          catalog_(engine_, reads_),
          blobs_(std::move(*marketplace::api::BlobStore::open(folder / "blobs", 1 << 20))),
          uploads_(std::move(*marketplace::api::BlobUploads::open(*blobs_))),
          auth_({}, catalog_, clock_),
          context_{engine_,  catalog_, log_,   settlement_,   inference_,
                   records_, market_,  chain_, *blobs_,       *uploads_,
                   auth_,    clock_,   {},     config.domain, unlimited()} {
        const auto publish = [this](const auto& record, auto bytes) {
            log_.append(record, bytes);
            market_.add(record);
        };
        MR_CHECK(engine_.load(publish).has_value());
        engine_.add_observer(
            [publish](const auto& record, auto bytes, const auto&) { publish(record, bytes); });
    }
    ~RestMarket() { stop(); }
    RestMarket(const RestMarket&) = delete;
    RestMarket& operator=(const RestMarket&) = delete;

    void start() {
        engine_.start();
        marketplace::http::Router router;
        marketplace::api::register_routes(router, context_);
        marketplace::http::ServerOptions options;
        options.threads = 1;
        options.requests_per_connection_max = SIZE_MAX;
        server_ = std::make_unique<marketplace::http::Server>(options, std::move(router));
        MR_CHECK(server_->start().has_value());
    }
    void stop() {
        if (server_) server_->stop(std::chrono::seconds(1));
        engine_.stop();
    }
    [[nodiscard]] std::uint16_t port() const { return server_->port(); }
    [[nodiscard]] marketplace::app::EngineThread& engine() { return engine_; }
    [[nodiscard]] marketplace::storage::Database& database() { return *database_; }
    [[nodiscard]] const marketplace::app::PublicLog& log() const { return log_; }

 private:
    // The ports that orders do not use.
    class NoSettlement final : public marketplace::api::SettlementPort {
     public:
        std::vector<marketplace::api::SettlementRow> settlements(std::uint64_t,
                                                                 std::size_t) const override {
            return {};
        }
        std::string status() const override { return "ok"; }
    };
    class NoInference final : public marketplace::api::InferencePort {
     public:
        std::uint64_t start(marketplace::api::InferenceRequest, OnToken, OnDone on_done) override {
            on_done(ledger::base::fail(ledger::base::ErrorCode::no_capacity));
            return 0;
        }
        void abort(std::uint64_t) override {}
        void pace(std::uint64_t, Pace) override {}
    };

    class NoChain final : public marketplace::api::ChainPort {
     public:
        ledger::base::Result<bool> accepts_signature(const marketplace::domain::Address&,
                                                     const marketplace::domain::Hash32&,
                                                     ledger::base::ByteView) override {
            return ledger::base::fail(ledger::base::ErrorCode::chain_unreachable);
        }
        ledger::base::Result<std::uint64_t> delegation_nonce(
            const marketplace::domain::Address&) override {
            return ledger::base::fail(ledger::base::ErrorCode::chain_unreachable);
        }
    };

    static std::unique_ptr<marketplace::storage::Database> open(
        const std::filesystem::path& folder, marketplace::storage::Database::Mode mode) {
        auto out = marketplace::storage::Database::open(folder / "market.db", mode);
        MR_CHECK(out.has_value());
        return std::move(*out);
    }
    static marketplace::api::ApiOptions unlimited() {
        marketplace::api::ApiOptions out;
        out.requests_per_s = out.request_burst = 1e12;
        out.orders_per_s = out.order_burst = 1e12;
        return out;
    }

    ledger::base::SystemClock clock_;
    std::unique_ptr<marketplace::storage::Database> database_;
    marketplace::app::ReadStore reads_;
    marketplace::app::PublicLog log_;
    marketplace::app::EngineThread engine_;
    marketplace::app::Catalog catalog_;
    marketplace::app::JobRecords records_;
    marketplace::app::MarketFeed market_;
    NoSettlement settlement_;
    NoInference inference_;
    NoChain chain_;
    std::unique_ptr<marketplace::api::BlobStore> blobs_;
    std::unique_ptr<marketplace::api::BlobUploads> uploads_;
    marketplace::api::Auth auth_;
    marketplace::api::Context context_;
    std::unique_ptr<marketplace::http::Server> server_;
};

}  // namespace tests
