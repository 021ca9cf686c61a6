// SPDX-License-Identifier: Apache-2.0
// Market facts, asks, the book, quotes.
#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "marketplace/api/handlers.hpp"
#include "marketplace/api/signatures.hpp"
#include "marketplace/api/views.hpp"
#include "marketplace/wire/order_json.hpp"

#include <algorithm>
#include <set>

namespace marketplace::api {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using ledger::crypto::to_checksum;

namespace {

constexpr std::size_t kBookMax = 500;

constexpr const char* kAskSchema = R"({"type":"object","required":["ask","signature","resource"],
"properties":{"ask":{"type":"object","description":"EIP-712 message Ask"},
"signature":{"type":"string"},"resource":{"type":"string",
"description":"canonical resource document whose SHA-256 the ask signs"}},
"additionalProperties":false})";

[[nodiscard]] Json info_document(const Context& context) {
    Json out;
    out["version"] = context.info.version;
    out["chain_id"] = context.domain.chain_id;
    Json deployment = Json::parse(context.info.deployment_json, nullptr, false);
    out["deployment"] = deployment.is_discarded() ? Json(nullptr) : std::move(deployment);
    out["leases_contract"] = to_checksum(context.domain.contract);
    out["operator_address"] = to_checksum(context.info.operator_address);
    out["delegate_address"] = to_checksum(context.info.delegate_address);
    out["voucher_period_atoms"] = std::to_string(context.info.voucher_period_atoms);
    out["eip712_domain"] = {{"name", "Millrace"},
                            {"version", "1"},
                            {"chainId", context.domain.chain_id},
                            {"verifyingContract", to_checksum(context.domain.contract)}};
    return out;
}

void post_ask(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    auto command = wire::parse_post_ask(request->body);
    if (!command) return reply(error_response(*request, command.error()));
    if (const auto valid = check_ask(services.context.domain, *command); !valid)
        return reply(error_response(*request, valid.error()));
    const domain::Hash32 id = ledger::eth::struct_hash(command->ask);
    services.context.engine.submit(std::move(*command),
                                   [&services, request, reply, id](const auto& events) {
                                       if (!events)
                                           return reply(error_response(*request, events.error()));
                                       answer_from_engine(
                                           services, request, reply,
                                           [id](const engine::Engine& engine) -> Result<Json> {
                                               const auto* ask = engine.find_ask(id);
                                               if (ask == nullptr)
                                                   return fail(ErrorCode::not_found);
                                               return ask_view(*ask);
                                           },
                                           201);
                                   });
}

void cancel_ask(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto account = services.context.auth.account_of(*request);
    if (!account) return reply(error_response(*request, account.error()));
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
        services.context.engine.submit(
            command, [&services, request, reply, id](const auto& events) {
                if (!events) return reply(error_response(*request, events.error()));
                answer_from_engine(services, request, reply,
                                   [id](const engine::Engine& now) -> Result<Json> {
                                       const auto* ask = now.find_ask(id);
                                       if (ask == nullptr) return fail(ErrorCode::not_found);
                                       return ask_view(*ask);
                                   });
            });
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

[[nodiscard]] Json book_of(const engine::Engine& engine, const std::optional<std::string>& kind) {
    const auto workers = engine.connected_workers();
    const std::set<domain::Address> online(workers.begin(), workers.end());
    std::vector<const engine::AskEntry*> asks;
    engine.for_each_ask([&](const engine::AskEntry& entry) {
        if (entry.open && (!kind || *kind == to_string(entry.ask.unit_kind)))
            asks.push_back(&entry);
        return true;
    });
    std::stable_sort(asks.begin(), asks.end(), [](const auto* a, const auto* b) {
        return a->ask.price_atoms < b->ask.price_atoms;
    });
    Json out;
    out["object"] = "book";
    out["asks"] = Json::array();
    for (const auto* entry : asks) {
        if (out["asks"].size() == kBookMax) break;
        out["asks"].push_back({{"id", to_hex(entry->id)},
                               {"unit_kind", std::string(to_string(entry->ask.unit_kind))},
                               {"price", std::to_string(entry->ask.price_atoms)},
                               {"units_free", std::to_string(units_free(*entry))},
                               {"max_units", std::to_string(entry->ask.max_units)},
                               {"provider", to_checksum(entry->ask.provider)},
                               {"worker", to_checksum(entry->resource.worker)},
                               {"online", online.contains(entry->resource.worker)},
                               {"reliability_bp", engine.reliability_bp(entry->resource.worker)},
                               {"gpu_model", entry->resource.gpu_model},
                               {"gpu_count", entry->resource.gpu_count},
                               {"vram_mib", entry->resource.vram_mib},
                               {"region", entry->resource.region},
                               {"runtime", entry->resource.runtime}});
    }
    out["bids"] = Json::array();
    engine.for_each_job([&](const engine::Job& job) {
        if (job.state != domain::JobState::kOpen) return true;
        for (const domain::BidLeg& leg : job.legs) {
            if (kind && *kind != to_string(leg.bid.unit_kind)) continue;
            out["bids"].push_back({{"job", job.id.to_string()},
                                   {"unit_kind", std::string(to_string(leg.bid.unit_kind))},
                                   {"price_ceiling", std::to_string(leg.bid.price_ceiling_atoms)},
                                   {"volume", std::to_string(leg.bid.volume_units)},
                                   {"buyer", to_checksum(leg.bid.buyer)}});
        }
        return out["bids"].size() < kBookMax;
    });
    return out;
}

void quote(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    auto body = wire::parse_post_job(request->body);
    if (!body) return reply(error_response(*request, body.error()));
    answer_from_engine(
        services, request, reply,
        [command = std::move(body->command),
         now_ms = services.context.clock.now_ms()](const engine::Engine& engine) -> Result<Json> {
            return quote_view(engine.quote(command, now_ms));
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
        answer_from_engine(services, request, reply,
                           [id](const engine::Engine& engine) -> Result<Json> {
                               const auto* ask = id ? engine.find_ask(*id) : nullptr;
                               if (ask == nullptr)
                                   return fail(ErrorCode::not_found, "no such order");
                               return ask_view(*ask);
                           });
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
    RouteDoc book{http::Method::kGet, "/v1/market/book", "getBook", "market",
                  "Open asks by price, and open bids"};
    book.query = {{"unit_kind", "string", "gpu_ms, input_token, output_token or training_step"}};
    table.add(std::move(book), [&services](const auto& request, const auto& reply) {
        const auto kind = request->query_value("unit_kind");
        if (kind && !ledger::eth::parse_unit_kind(*kind))
            return reply(error_response(*request, Error(ErrorCode::invalid_field, "?unit_kind")));
        answer_from_engine(
            services, request, reply,
            [kind](const engine::Engine& engine) -> Result<Json> { return book_of(engine, kind); });
    });
    RouteDoc quotes{http::Method::kPost, "/v1/market/quotes", "quote", "market",
                    "Would this job match now, and why not? Signatures may be zero"};
    quotes.request_schema = R"({"type":"object"})";
    table.add(std::move(quotes), [&services](const auto& request, const auto& reply) {
        quote(services, request, reply);
    });
}

}  // namespace marketplace::api
