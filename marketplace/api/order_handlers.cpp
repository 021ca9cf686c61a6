// SPDX-License-Identifier: Apache-2.0
// Market facts, asks, the book, quotes.
#include "ledger/base/hex.hpp"
#include "ledger/base/limits.hpp"
#include "ledger/crypto/address.hpp"
#include "marketplace/api/handlers.hpp"
#include "marketplace/api/signatures.hpp"
#include "marketplace/api/views.hpp"
#include "marketplace/wire/market_json.hpp"
#include "marketplace/wire/order_json.hpp"

#include <algorithm>
#include <set>

namespace marketplace::api {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using ledger::crypto::to_checksum;
using ledger::eth::UnitKind;

namespace {

constexpr std::size_t kBookMax = 500;

constexpr const char* kAskSchema = R"({"type":"object","required":["ask","signature","resource"],
"properties":{"ask":{"type":"object","description":"EIP-712 message Ask"},
"signature":{"type":"string"},"resource":{"type":"string",
"description":"canonical resource document whose SHA-256 the ask signs"}},
"additionalProperties":false})";

/// Everything that bounds an account, in one place.
[[nodiscard]] Json limits_document(const Context& context) {
    namespace limits = ledger::base::limits;
    const ApiOptions& options = context.options;
    return {{"requests_per_s", options.requests_per_s},  // per address
            {"request_burst", options.request_burst},
            {"orders_per_s", options.orders_per_s},  // per account; quotes per address
            {"order_burst", options.order_burst},
            {"open_orders_per_account", limits::kOpenOrdersPerAccount},
            {"max_units", std::to_string(limits::kMaxUnits)},
            {"max_price", std::to_string(limits::kMaxPriceAtoms)},
            {"max_training_steps", limits::kMaxTrainingSteps},
            {"job_spec_bytes", limits::kJobSpecBytes},
            {"body_bytes", limits::kHttpBodyBytes},
            {"engine_queue", limits::kEngineQueue}};
}

[[nodiscard]] Json info_document(const Context& context) {
    Json out;
    out["version"] = context.info.version;
    out["chain_id"] = context.domain.chain_id;
    Json deployment = Json::parse(context.info.deployment_json, nullptr, false);
    out["deployment"] = deployment.is_discarded() ? Json(nullptr) : std::move(deployment);
    out["leases_contract"] = to_checksum(context.domain.contract);
    out["operator_address"] = to_checksum(context.info.rules.operator_address);
    out["delegate_address"] = to_checksum(context.info.delegate_address);
    out["voucher_period_atoms"] = std::to_string(context.info.rules.voucher_period_atoms);
    out["max_failovers"] = context.info.rules.max_failovers;
    out["batch_period_ms"] = context.info.rules.batch_period_ms;
    out["limits"] = limits_document(context);
    out["eip712_domain"] = {{"name", "Millrace"},
                            {"version", "1"},
                            {"chainId", context.domain.chain_id},
                            {"verifyingContract", to_checksum(context.domain.contract)}};
    return out;
}

/// Answers with an ask as it is now. The engine's thread copies it, the connection's makes the
/// text.
void answer_with_ask(Services& services, const http::RequestPtr& request, const http::Reply& reply,
                     const domain::Hash32& id, int status) {
    const bool queued = services.context.engine.query([request, reply, id,
                                                       status](const engine::Engine& engine) {
        const auto* ask = engine.find_ask(id);
        if (ask == nullptr)
            return reply(error_response(*request, Error(ErrorCode::not_found, "no such order")));
        reply.later([ask = *ask, status] {
            return http::Response(status, "application/json", ask_text(ask));
        });
    });
    if (!queued) reply(error_response(*request, Error(ErrorCode::queue_full, "the engine")));
}

/// Submits a command and answers with the ask as it is then.
void submit_ask(Services& services, const http::RequestPtr& request, const http::Reply& reply,
                domain::Command command, const domain::Hash32& id, int status) {
    services.context.engine.submit(std::move(command),
                                   [&services, request, reply, id, status](const auto& events) {
                                       if (!events)
                                           return reply(error_response(*request, events.error()));
                                       answer_with_ask(services, request, reply, id, status);
                                   });
}

struct SignedAsk {
    domain::Hash32 id;
    domain::PostAsk command;
};

/// The signed ask of the body, or an answer that says what is wrong with it.
[[nodiscard]] std::optional<SignedAsk> read_ask(Services& services, const http::RequestPtr& request,
                                                const http::Reply& reply) {
    auto command = wire::parse_post_ask(request->body, services.resources);
    if (!command) {
        reply(error_response(*request, command.error()));
        return std::nullopt;
    }
    const auto id = check_ask(services.order_domain, *command);
    if (!id) {
        reply(error_response(*request, id.error()));
        return std::nullopt;
    }
    if (!allow_order(services, *request, reply, to_hex(command->ask.provider))) return std::nullopt;
    return SignedAsk{*id, std::move(*command)};
}

void post_ask(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    auto ask = read_ask(services, request, reply);
    if (!ask) return;
    submit_ask(services, request, reply, std::move(ask->command), ask->id, 201);
}

void amend_ask(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto old_id = ledger::base::parse_fixed<domain::Hash32>(request->param("id"));
    if (!old_id)
        return reply(error_response(*request, Error(ErrorCode::not_found, "no such order")));
    auto ask = read_ask(services, request, reply);
    if (!ask) return;
    domain::AmendAsk command;
    command.old_ask = *old_id;
    command.replacement = std::move(ask->command);
    submit_ask(services, request, reply, std::move(command), ask->id, 201);
}

void cancel_ask(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto account = services.context.auth.account_of(*request, kScopeOrders);
    if (!account) return reply(error_response(*request, account.error()));
    if (!allow_order(services, *request, reply, to_hex(*account))) return;
    const auto id = ledger::base::parse_fixed<domain::Hash32>(request->param("id"));
    if (!id) return reply(error_response(*request, Error(ErrorCode::not_found, "no such order")));
    const auto cancel = [&services, request, reply, id = *id,
                         by = *account](const engine::Engine& engine) {
        const auto* entry = engine.find_ask(id);
        if (entry == nullptr)
            return reply(error_response(*request, Error(ErrorCode::not_found, "no such order")));
        domain::CancelAsk command;
        command.ask = id;
        // The worker an ask sells may take it down as well as its provider.
        command.by = by == entry->resource.worker ? entry->ask.provider : by;
        submit_ask(services, request, reply, command, id, 200);
    };
    if (!services.context.engine.query(cancel))
        reply(error_response(*request, Error(ErrorCode::queue_full, "the engine")));
}

void list_asks(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto limit = read_limit(*request, 50, 100);
    if (!limit) return reply(error_response(*request, limit.error()));
    std::optional<domain::Address> provider;
    if (const auto text = request->query_value("provider")) {
        const auto parsed = ledger::crypto::parse_address(*text);
        if (!parsed) return reply(error_response(*request, parsed.error()));
        provider = *parsed;
    }
    answer_from_engine(
        services, request, reply,
        [limit = *limit, provider, after = request->query_value("after"),
         state = request->query_value("state")](const engine::Engine& engine) -> Result<Json> {
            Json items = Json::array();
            bool begun = !after;
            bool has_more = false;
            engine.for_each_ask([&](const engine::AskEntry& entry) {
                const bool skip = !begun;
                if (!begun) begun = to_hex(entry.id) == *after;
                if (skip || (provider && entry.ask.provider != *provider)) return true;
                if (state && (*state == "open") != entry.open) return true;
                has_more = items.size() == limit;
                if (!has_more) items.push_back(ask_view(entry));
                return !has_more;
            });
            if (!begun) return fail(ErrorCode::invalid_field, "?after names no order");
            return list_of(std::move(items), has_more);
        });
}

/// Units of an ask that a new lease may still take.
[[nodiscard]] std::uint64_t units_free(const engine::AskEntry& entry) {
    return entry.ask.volume_units - std::min(entry.ask.volume_units, entry.units_out);
}

[[nodiscard]] Json book_ask(const engine::Engine& engine, const engine::AskEntry& entry,
                            bool online) {
    return {{"id", to_hex(entry.id)},
            {"unit_kind", std::string(to_string(entry.ask.unit_kind))},
            {"order_class", std::string(to_string(entry.ask.order_class))},
            {"price", std::to_string(entry.ask.price_atoms)},
            {"units_free", std::to_string(units_free(entry))},
            {"max_units", std::to_string(entry.ask.max_units)},
            {"provider", to_checksum(entry.ask.provider)},
            {"worker", to_checksum(entry.resource.worker)},
            {"online", online},
            {"reliability_bp", engine.reliability_bp(entry.resource.worker)},
            {"gpu_model", entry.resource.gpu_model},
            {"gpu_count", entry.resource.gpu_count},
            {"vram_mib", entry.resource.vram_mib},
            {"gflop_per_s", entry.resource.gflop_per_s},
            {"memory_mb_per_s", entry.resource.memory_mb_per_s},
            {"region", entry.resource.region},
            {"runtime", entry.resource.runtime}};
}

/// Best orders first, from the market data's index; the facts of each from the engine.
[[nodiscard]] Json book_of(const MarketDataPort& market, const engine::Engine& engine,
                           const engine::BookFilter& filter, std::size_t limit) {
    std::vector<domain::Hash32> asks;
    std::vector<engine::BidRef> bids;
    Json out;
    out["object"] = "book";
    market.read([&](const engine::MarketData& data) {
        asks = data.book().best_asks(filter, limit);
        bids = data.book().best_bids(filter, limit);
        out["sequence"] = data.sequence() ? Json(*data.sequence()) : Json(nullptr);
    });
    const auto workers = engine.connected_workers();
    const std::set<domain::Address> online(workers.begin(), workers.end());
    out["asks"] = Json::array();
    for (const domain::Hash32& id : asks)
        if (const auto* entry = engine.find_ask(id))
            out["asks"].push_back(
                book_ask(engine, *entry, online.contains(entry->resource.worker)));
    out["bids"] = Json::array();
    for (const engine::BidRef& ref : bids) {
        const auto* job = engine.find_job(ref.job);
        if (job == nullptr || ref.leg >= job->legs.size()) continue;
        const auto& bid = job->legs[ref.leg].bid;
        out["bids"].push_back({{"job", job->id.to_string()},
                               {"unit_kind", std::string(to_string(bid.unit_kind))},
                               {"price_ceiling", std::to_string(bid.price_ceiling_atoms)},
                               {"volume", std::to_string(bid.volume_units)},
                               {"buyer", to_checksum(bid.buyer)}});
    }
    return out;
}

void get_book(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto filter = read_book_filter(*request);
    if (!filter) return reply(error_response(*request, filter.error()));
    const auto limit = read_limit(*request, 100, kBookMax);
    if (!limit) return reply(error_response(*request, limit.error()));
    answer_from_engine(services, request, reply,
                       [&services, filter = *filter,
                        limit = *limit](const engine::Engine& engine) -> Result<Json> {
                           return book_of(services.context.market, engine, filter, limit);
                       });
}

struct BidQuery {
    std::optional<domain::Address> buyer;
    std::optional<domain::Address> caller;
    std::optional<std::string> state;
    std::optional<UnitKind> unit_kind;
    std::optional<std::string> after;
    std::size_t limit = 0;
};

[[nodiscard]] Json bid_view(const engine::Job& job, std::size_t leg) {
    Json out;
    out["id"] = to_hex(job.bid_hashes[leg]);
    out["object"] = "order";
    out["side"] = "bid";
    out["job"] = job.id.to_string();
    out["leg"] = leg;
    out["state"] = std::string(to_string(job.state));
    out["reason"] = job.reason;
    out["units_done"] = std::to_string(job.units_done);
    out["posted_ms"] = job.created_ms;
    out["bid"] = Json::parse(wire::bid_json(job.legs[leg].bid), nullptr, false);
    out["constraints"] =
        Json::parse(wire::constraints_document(job.legs[leg].constraints), nullptr, false);
    return out;
}

/// A sealed bid that waits is shown to its buyer only.
[[nodiscard]] bool is_shown(const engine::Job& job, std::size_t leg, const BidQuery& query) {
    if (query.buyer && job.buyer != *query.buyer) return false;
    if (query.state && *query.state != to_string(job.state)) return false;
    if (query.unit_kind && job.legs[leg].bid.unit_kind != *query.unit_kind) return false;
    const bool sealed = job.state == domain::JobState::kOpen &&
                        job.legs[leg].constraints.clearing == domain::Clearing::kBatch;
    return !sealed || query.caller == job.buyer;
}

[[nodiscard]] Result<Json> bids_of(const engine::Engine& engine, const BidQuery& query) {
    Json items = Json::array();
    bool begun = !query.after;
    bool has_more = false;
    engine.for_each_job([&](const engine::Job& job) {
        for (std::size_t leg = 0; leg < job.legs.size() && !has_more; ++leg) {
            const bool skip = !begun;
            if (!begun) begun = to_hex(job.bid_hashes[leg]) == *query.after;
            if (skip || !is_shown(job, leg, query)) continue;
            has_more = items.size() == query.limit;
            if (!has_more) items.push_back(bid_view(job, leg));
        }
        return !has_more;
    });
    if (!begun) return fail(ErrorCode::invalid_field, "?after names no bid");
    return list_of(std::move(items), has_more);
}

[[nodiscard]] Result<BidQuery> parse_bid_query(Services& services, const http::Request& request) {
    BidQuery out;
    TRY_ASSIGN(out.limit, read_limit(request, 50, 100));
    TRY_ASSIGN(const engine::BookFilter filter, read_book_filter(request));
    out.unit_kind = filter.unit_kind;
    out.state = request.query_value("state");
    out.after = request.query_value("after");
    if (const auto text = request.query_value("buyer")) {
        TRY_ASSIGN(out.buyer, ledger::crypto::parse_address(*text));
    }
    if (request.header("authorization")) {
        TRY_ASSIGN(out.caller, services.context.auth.account_of(request, kScopeOrders));
    }
    return out;
}

void list_bids(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto query = parse_bid_query(services, *request);
    if (!query) return reply(error_response(*request, query.error()));
    answer_from_engine(services, request, reply, [query = *query](const engine::Engine& engine) {
        return bids_of(engine, query);
    });
}

void quote(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    auto body = wire::parse_post_job(request->body);
    if (!body) return reply(error_response(*request, body.error()));
    if (!allow_order(services, *request, reply, request->remote_address)) return;
    answer_from_engine(
        services, request, reply,
        [command = std::move(body->command),
         now_ms = services.context.clock.now_ms()](const engine::Engine& engine) -> Result<Json> {
            TRY_ASSIGN(const engine::Engine::Quote answer, engine.quote(command, now_ms));
            return quote_view(answer);
        });
}

/// The same handlers under the order routes and their short names.
void add_ask_routes(RouteTable& table, Services& services, const std::string& path,
                    const std::string& suffix) {
    RouteDoc post{http::Method::kPost,           path,           "postAsk" + suffix, "market",
                  "List capacity: a signed ask", Access::kSigned};
    post.request_schema = kAskSchema;
    post.success = 201;
    table.add(std::move(post),
              services.idempotency.wrap([&services](const auto& request, const auto& reply) {
                  post_ask(services, request, reply);
              }));
    RouteDoc list{http::Method::kGet, path, "listAsks" + suffix, "market", "Asks, oldest first"};
    list.query = {{"limit", "integer", "1 to 100"},
                  {"after", "string", "id of the last order seen"},
                  {"provider", "string", "address"},
                  {"state", "string", "open or closed"}};
    table.add(std::move(list), [&services](const auto& request, const auto& reply) {
        list_asks(services, request, reply);
    });
    RouteDoc one{http::Method::kGet, path + "/{id}", "getAsk" + suffix, "market", "One ask"};
    table.add(std::move(one), [&services](const auto& request, const auto& reply) {
        const auto id = ledger::base::parse_fixed<domain::Hash32>(request->param("id"));
        if (!id)
            return reply(error_response(*request, Error(ErrorCode::not_found, "no such order")));
        answer_with_ask(services, request, reply, *id, 200);
    });
    RouteDoc cancel{http::Method::kDelete,
                    path + "/{id}",
                    "cancelAsk" + suffix,
                    "market",
                    "Take an ask off the book; its leases go on",
                    Access::kAccount};
    table.add(std::move(cancel), [&services](const auto& request, const auto& reply) {
        cancel_ask(services, request, reply);
    });
    RouteDoc amend{http::Method::kPost,
                   path + "/{id}/amend",
                   "amendAsk" + suffix,
                   "market",
                   "Replace an ask by a newly signed one, whole or not at all",
                   Access::kSigned};
    amend.request_schema = kAskSchema;
    amend.success = 201;
    table.add(std::move(amend),
              services.idempotency.wrap([&services](const auto& request, const auto& reply) {
                  amend_ask(services, request, reply);
              }));
}

}  // namespace

void add_order_routes(RouteTable& table, Services& services) {
    table.add({http::Method::kGet, "/v1/market/info", "getMarketInfo", "market",
               "Where to sign and whom to trust with what"},
              [&services](const auto&, const auto& reply) {
                  reply(json_response(info_document(services.context)));
              });
    add_ask_routes(table, services, "/v1/market/orders", "");
    add_ask_routes(table, services, "/v1/asks", "Short");
    const QueryDoc kind{"unit_kind", "string",
                        "gpu_ms, input_token, output_token or training_step"};
    RouteDoc book{http::Method::kGet, "/v1/market/book", "getBook", "market",
                  "Open asks and bids, best price first; no sealed bids"};
    book.query = {kind,
                  {"gpu_model", "string", "of the asks, or accepted by the bids"},
                  {"region", "string", "of the asks"},
                  {"limit", "integer", "orders per side, 1 to 500"}};
    table.add(std::move(book), [&services](const auto& request, const auto& reply) {
        get_book(services, request, reply);
    });
    RouteDoc bids{http::Method::kGet, "/v1/market/bids", "listBids", "market",
                  "Bids, oldest first; sealed ones that wait only for their signed-in buyer"};
    bids.query = {{"limit", "integer", "1 to 100"},
                  {"after", "string", "id of the last bid seen"},
                  {"buyer", "string", "address"},
                  {"state", "string", "a job state"},
                  kind};
    table.add(std::move(bids), [&services](const auto& request, const auto& reply) {
        list_bids(services, request, reply);
    });
    RouteDoc quotes{http::Method::kPost, "/v1/market/quotes", "quote", "market",
                    "Would this job match now, and why not? Signatures may be zero"};
    quotes.request_schema = R"({"type":"object"})";
    table.add(std::move(quotes), [&services](const auto& request, const auto& reply) {
        quote(services, request, reply);
    });
}

}  // namespace marketplace::api
