// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/api/route_table.hpp"
#include "marketplace/api/services.hpp"

/// Each group of routes adds itself to the table. `services` outlives the router.
namespace marketplace::api {

void add_ops_routes(RouteTable& table, Services& services);
void add_error_page(RouteTable& table);
void add_auth_routes(RouteTable& table, Services& services);
void add_market_routes(RouteTable& table, Services& services);
void add_order_routes(RouteTable& table, Services& services);
void add_job_routes(RouteTable& table, Services& services);
void add_job_key_routes(RouteTable& table, Services& services);
void add_blob_routes(RouteTable& table, Services& services);
void add_file_routes(RouteTable& table, Services& services);
void add_fine_tuning_routes(RouteTable& table, Services& services);
void add_model_routes(RouteTable& table, Services& services);
void add_embedding_routes(RouteTable& table, Services& services);
void add_completion_routes(RouteTable& table, Services& services);
void add_payment_routes(RouteTable& table, Services& services);
void add_ledger_routes(RouteTable& table, Services& services);
void add_webhook_routes(RouteTable& table, Services& services);
void add_account_routes(RouteTable& table, Services& services);

}  // namespace marketplace::api
