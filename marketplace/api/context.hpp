// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"
#include "ledger/eth/messages.hpp"
#include "marketplace/api/auth.hpp"
#include "marketplace/api/blob_uploads.hpp"
#include "marketplace/api/payment_port.hpp"
#include "marketplace/api/ports.hpp"
#include "marketplace/api/request_times.hpp"
#include "marketplace/api/webhook_port.hpp"
#include "marketplace/http/router.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace marketplace::api {

class AccountHistory;

struct ApiOptions {
    /// Token bucket per client address, in front of every signature check.
    double requests_per_s = 500;
    double request_burst = 2000;
    /// Token bucket per account, for orders posted, amended and cancelled; quotes per address.
    double orders_per_s = 100;
    double order_burst = 1000;
    /// Exact origins that browsers may call from, besides the market's own.
    std::vector<std::string> cors_origins;
};

/// Everything the handlers use. All references outlive the server.
struct Context {
    EnginePort& engine;
    CatalogPort& catalog;
    LogPort& log;
    SettlementPort& settlement;
    InferencePort& inference;
    JobRecordsPort& records;
    MarketDataPort& market;
    ChainPort& chain;
    BlobStore& blobs;
    BlobUploads& uploads;
    Auth& auth;
    const ledger::base::Clock& clock;
    MarketInfo info;
    ledger::eth::Domain domain;  ///< orders are signed for this one
    ApiOptions options;
    WebhookPort* webhooks = nullptr;  ///< without it there are no such routes
    PaymentPort* payments = nullptr;  ///< without it every call of a model needs an account
    AccountHistory* account_history = nullptr;  ///< without it accounts have no stream
    /// For /metrics; whoever runs the server tells it.
    std::shared_ptr<RequestTimes> times = std::make_shared<RequestTimes>();
};

/// Adds every route of the market, its filters and its error documents. `context` outlives the
/// router and everything answered through it; call once per router.
void register_routes(http::Router& router, Context& context);

}  // namespace marketplace::api
