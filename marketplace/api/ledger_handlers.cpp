// SPDX-License-Identifier: Apache-2.0
// What an auditor reads: accounts, leases, settlements, the public log and its proofs.
#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"
#include "ledger/crypto/address.hpp"
#include "marketplace/api/handlers.hpp"
#include "marketplace/api/views.hpp"
#include "marketplace/wire/log_json.hpp"

#include <fmt/format.h>

namespace marketplace::api {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using ledger::crypto::to_checksum;

namespace {

constexpr std::size_t kLogPageMax = 1000;
constexpr std::size_t kLogPageBytes = 4 * 1024 * 1024;

[[nodiscard]] Json hashes(const std::vector<domain::Hash32>& list) {
    Json out = Json::array();
    for (const domain::Hash32& hash : list)
        out.push_back(to_hex(hash));
    return out;
}

void get_account(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto address = ledger::crypto::parse_address(request->param("address"));
    if (!address) return reply(error_response(*request, address.error()));
    answer_from_engine(services, request, reply,
                       [address = *address](const engine::Engine& engine) -> Result<Json> {
                           const engine::Balance balance = engine.balance(address);
                           Json out;
                           out["id"] = to_checksum(address);
                           out["object"] = "account";
                           out["address"] = to_checksum(address);
                           out["available"] = std::to_string(balance.available);
                           out["held"] = std::to_string(balance.held);
                           out["earned"] = std::to_string(balance.earned);
                           return out;
                       });
}

/// Filters of the lease list: addresses by role, and the job.
struct LeaseFilter {
    std::optional<domain::Address> buyer;
    std::optional<domain::Address> provider;
    std::optional<domain::Address> worker;
    std::optional<std::string> state;

    [[nodiscard]] bool fits(const domain::Lease& lease) const {
        return (!buyer || lease.buyer == *buyer) && (!provider || lease.provider == *provider) &&
               (!worker || lease.worker == *worker) && (!state || *state == to_string(lease.state));
    }
};

[[nodiscard]] Result<LeaseFilter> parse_lease_filter(const http::Request& request) {
    LeaseFilter filter;
    filter.state = request.query_value("state");
    const auto read = [&](const char* name, std::optional<domain::Address>& out) -> Result<void> {
        const auto text = request.query_value(name);
        if (!text) return {};
        TRY_ASSIGN(out, ledger::crypto::parse_address(*text));
        return {};
    };
    TRY(read("buyer", filter.buyer));
    TRY(read("provider", filter.provider));
    TRY(read("worker", filter.worker));
    return filter;
}

void list_leases(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto limit = read_limit(*request, 50, 100);
    if (!limit) return reply(error_response(*request, limit.error()));
    const auto filter = parse_lease_filter(*request);
    if (!filter) return reply(error_response(*request, filter.error()));
    answer_from_engine(services, request, reply,
                       [limit = *limit, filter = *filter, after = request->query_value("after")](
                           const engine::Engine& engine) -> Result<Json> {
                           Json items = Json::array();
                           bool begun = !after;
                           bool has_more = false;
                           engine.for_each_lease([&](const domain::Lease& lease) {
                               const bool skip = !begun;
                               if (!begun) begun = to_hex(lease.id) == *after;
                               if (skip || !filter.fits(lease)) return true;
                               has_more = items.size() == limit;
                               if (!has_more) items.push_back(lease_view(lease));
                               return !has_more;
                           });
                           if (!begun)
                               return fail(ErrorCode::invalid_field, "?after names no lease");
                           return list_of(std::move(items), has_more);
                       });
}

void get_lease(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto id = ledger::base::parse_fixed<domain::Hash32>(request->param("id"));
    answer_from_engine(services, request, reply,
                       [id](const engine::Engine& engine) -> Result<Json> {
                           const auto* lease = id ? engine.find_lease(*id) : nullptr;
                           if (lease == nullptr) return fail(ErrorCode::not_found, "no such lease");
                           return lease_view(*lease);
                       });
}

void list_settlements(Services& services, const http::RequestPtr& request,
                      const http::Reply& reply) {
    const auto limit = read_limit(*request, 50, 100);
    if (!limit) return reply(error_response(*request, limit.error()));
    const auto after = read_query_u64(*request, "after", 0);
    if (!after) return reply(error_response(*request, after.error()));
    answer_from_desk(
        services, request, reply, [&services, request, after = *after, limit = *limit] {
            const auto rows = services.context.settlement.settlements(after, limit + 1);
            Json items = Json::array();
            for (const SettlementRow& row : rows)
                if (items.size() < limit) items.push_back(settlement_view(row));
            return to_response(*request, list_of(std::move(items), rows.size() > limit));
        });
}

/// Records as JSON lines, one per leaf. A page ends early at 4 MiB; the reader asks on from there.
void get_log(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto limit = read_limit(*request, 100, kLogPageMax);
    if (!limit) return reply(error_response(*request, limit.error()));
    const auto first = read_query_u64(*request, "first", 0);
    if (!first) return reply(error_response(*request, first.error()));
    answer_from_desk(services, request, reply, [&services, first = *first, limit = *limit] {
        const std::uint64_t size = services.context.log.size();
        std::string body;
        std::uint64_t sequence = first;
        if (first < size) {
            for (const domain::Bytes& record : services.context.log.records(first, limit)) {
                body += fmt::format("{{\"sequence\":{},\"hash\":\"{}\",\"record\":\"{}\"}}\n",
                                    sequence++, to_hex(ledger::base::sha256(record)),
                                    to_hex(ledger::base::ByteView(record)));
                if (body.size() > kLogPageBytes) break;
            }
        }
        http::Response response(200, "application/jsonl", std::move(body));
        response.header("x-log-size", std::to_string(size));
        response.header("x-log-next", std::to_string(sequence));
        return response;
    });
}

void get_log_head(Services& services, const http::RequestPtr&, const http::Reply& reply) {
    reply(json_response(log_head_view(services.context.log)));
}

/// The signature is the permission: nobody needs to be signed in.
void post_cosignature(Services& services, const http::RequestPtr& request,
                      const http::Reply& reply) {
    const auto input = wire::parse_signed_head(request->body);
    if (!input) return reply(error_response(*request, input.error()));
    const auto taken = services.context.log.cosign(input->head, input->signature);
    if (!taken) return reply(error_response(*request, taken.error()));
    get_log_head(services, request, reply);
}

void get_inclusion(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto index = read_query_u64(*request, "index", 0);
    const auto size = read_query_u64(*request, "size", services.context.log.size());
    if (!index || !size)
        return reply(error_response(*request, index ? size.error() : index.error()));
    answer_from_desk(services, request, reply, [&services, request, index = *index, size = *size] {
        const auto proof = services.context.log.inclusion_proof(index, size);
        if (!proof) return error_response(*request, proof.error());
        return json_response({{"object", "inclusion_proof"},
                              {"index", index},
                              {"size", size},
                              {"path", hashes(*proof)}});
    });
}

void get_consistency(Services& services, const http::RequestPtr& request,
                     const http::Reply& reply) {
    const auto first = read_query_u64(*request, "first", 0);
    const auto second = read_query_u64(*request, "second", services.context.log.size());
    if (!first || !second)
        return reply(error_response(*request, first ? second.error() : first.error()));
    answer_from_desk(services, request, reply,
                     [&services, request, first = *first, second = *second] {
                         const auto proof = services.context.log.consistency_proof(first, second);
                         if (!proof) return error_response(*request, proof.error());
                         return json_response({{"object", "consistency_proof"},
                                               {"first", first},
                                               {"second", second},
                                               {"path", hashes(*proof)}});
                     });
}

using Handle = void (*)(Services&, const http::RequestPtr&, const http::Reply&);

[[nodiscard]] http::Handler bind(Services& services, Handle handle) {
    return [&services, handle](const http::RequestPtr& request, const http::Reply& reply) {
        handle(services, request, reply);
    };
}

}  // namespace

void add_ledger_routes(RouteTable& table, Services& services) {
    table.add({http::Method::kGet, "/v1/accounts/{address}", "getAccount", "ledger",
               "Balances of an account, in atoms"},
              bind(services, get_account));
    RouteDoc leases{http::Method::kGet, "/v1/leases", "listLeases", "ledger",
                    "Leases, oldest first"};
    leases.query = {{"limit", "integer", "1 to 100"},   {"after", "string", "last lease seen"},
                    {"buyer", "string", "address"},     {"provider", "string", "address"},
                    {"worker", "string", "worker key"}, {"state", "string", "a lease state"}};
    table.add(std::move(leases), bind(services, list_leases));
    table.add({http::Method::kGet, "/v1/leases/{id}", "getLease", "ledger", "One lease"},
              bind(services, get_lease));
    RouteDoc settlements{http::Method::kGet, "/v1/settlements", "listSettlements", "ledger",
                         "Transactions the market sent, oldest first"};
    settlements.query = {{"limit", "integer", "1 to 100"},
                         {"after", "integer", "id of the last one seen"}};
    table.add(std::move(settlements), bind(services, list_settlements));
    RouteDoc log{http::Method::kGet, "/v1/log", "getLog", "log",
                 "Records of the public log as JSON lines: sequence, hash, record"};
    log.query = {{"first", "integer", "sequence to begin with"}, {"limit", "integer", "1 to 1000"}};
    log.content_type = "application/jsonl";
    table.add(std::move(log), bind(services, get_log));
    table.add({http::Method::kGet, "/v1/log/head", "getLogHead", "log",
               "Size of the log and its last signed head"},
              bind(services, get_log_head));
    RouteDoc cosign{http::Method::kPost, "/v1/log/head/cosignature", "postLogCosignature", "log",
                    "The witness's signature of the head that waits for it"};
    table.add(std::move(cosign), bind(services, post_cosignature));
    RouteDoc inclusion{http::Method::kGet, "/v1/log/proof/inclusion", "getInclusionProof", "log",
                       "RFC 9162 inclusion proof"};
    inclusion.query = {{"index", "integer", "leaf"}, {"size", "integer", "tree size"}};
    table.add(std::move(inclusion), bind(services, get_inclusion));
    RouteDoc consistency{http::Method::kGet, "/v1/log/proof/consistency", "getConsistencyProof",
                         "log", "RFC 9162 consistency proof"};
    consistency.query = {{"first", "integer", "older size"}, {"second", "integer", "newer size"}};
    table.add(std::move(consistency), bind(services, get_consistency));
}

}  // namespace marketplace::api
