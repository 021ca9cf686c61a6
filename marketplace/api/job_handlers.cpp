// SPDX-License-Identifier: Apache-2.0
// Jobs: post, read, cancel, watch.
#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "marketplace/api/handlers.hpp"
#include "marketplace/api/job_events.hpp"
#include "marketplace/api/signatures.hpp"
#include "marketplace/api/views.hpp"
#include "marketplace/engine/journal.hpp"
#include "marketplace/wire/order_json.hpp"

#include <algorithm>

namespace marketplace::api {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;

namespace {

constexpr const char* kJobSchema = R"({"type":"object","required":["id","spec","bids"],
"properties":{"id":{"type":"string","description":"job_ and 32 hex digits, chosen by the client"},
"spec":{"type":"string","description":"canonical job spec whose SHA-256 every bid signs"},
"bids":{"type":"array","items":{"type":"object","required":["bid","signature","constraints"],
"properties":{"bid":{"type":"object","description":"EIP-712 message Bid"},
"signature":{"type":"string"},"constraints":{"type":"string"}}}},
"delegation":{"type":"object"},"delegation_signature":{"type":"string"}},
"additionalProperties":false})";

/// One job and, while it is open, why it is not matched: every ask is looked at.
[[nodiscard]] Result<Json> read_job(const engine::Engine& engine, const domain::JobId& id,
                                    domain::TimeMs now_ms) {
    const auto* job = engine.find_job(id);
    if (job == nullptr) return fail(ErrorCode::not_found, "no such job");
    Json out = job_view(*job);
    if (job->state == domain::JobState::kOpen)
        out["mismatches"] = mismatches_view(engine.reasons(id, now_ms));
    return out;
}

void answer_with_job(Services& services, const http::RequestPtr& request, const http::Reply& reply,
                     const domain::JobId& id, int status) {
    answer_from_engine(
        services, request, reply,
        [id, now_ms = services.context.clock.now_ms()](const engine::Engine& engine) {
            return read_job(engine, id, now_ms);
        },
        status);
}

/// Posts the job, or replaces the open job `amends` by it.
[[nodiscard]] domain::Command to_command(domain::PostJob job,
                                         const std::optional<domain::JobId>& amends) {
    if (!amends) return job;
    domain::AmendJob command;
    command.old_job = *amends;
    command.replacement = std::move(job);
    return command;
}

/// Keeps the spec's bytes (and a serve job's model name), then posts. On the desk.
void store_and_submit(Services& services, const http::RequestPtr& request, const http::Reply& reply,
                      wire::PostJobBody body, const std::optional<domain::JobId>& amends) {
    CatalogPort& catalog = services.context.catalog;
    const domain::Hash32 spec_hash = wire::document_hash(body.spec);
    if (const auto kept = catalog.put_job_spec(spec_hash, body.spec); !kept)
        return reply(error_response(*request, kept.error()));
    std::optional<PublishedModel> model;
    if (body.parsed.kind == domain::JobKind::kServe && !catalog.model(body.parsed.model_name)) {
        model.emplace();
        model->name = body.parsed.model_name;
        model->owner = body.command.legs.front().bid.buyer;
        model->spec = body.spec;
        model->created_ms = services.context.clock.now_ms();
    }
    const domain::JobId id = body.command.id;
    services.context.engine.submit(
        to_command(std::move(body.command), amends),
        [&services, request, reply, id, model](const auto& events) {
            if (!events) return reply(error_response(*request, events.error()));
            // A served model is listed under its name, unless somebody has the name already.
            if (model) {
                const bool queued = services.desk.post([&services, model] {
                    static_cast<void>(services.context.catalog.put_model(*model));
                });
                static_cast<void>(queued);
            }
            answer_with_job(services, request, reply, id, 201);
        });
}

/// What follows when a job's signatures are good.
void take_signed_job(Services& services, const http::RequestPtr& request, const http::Reply& reply,
                     const std::shared_ptr<wire::PostJobBody>& shared,
                     const std::optional<domain::JobId>& amends) {
    if (!allow_order(services, *request, reply, to_hex(shared->command.legs.front().bid.buyer)))
        return;
    const bool queued = services.desk.post([&services, request, reply, shared, amends] {
        for (const domain::Hash32& blob : shared->parsed.blobs)
            if (!services.context.blobs.has(blob))
                return reply(error_response(
                    *request,
                    Error(ErrorCode::data_missing, "the market has no blob " + to_hex(blob))));
        store_and_submit(services, request, reply, std::move(*shared), amends);
    });
    if (!queued) reply(error_response(*request, Error(ErrorCode::queue_full, "the disk")));
}

void take_job(Services& services, const http::RequestPtr& request, const http::Reply& reply,
              const std::optional<domain::JobId>& amends) {
    auto body = wire::parse_post_job(request->body);
    if (!body) return reply(error_response(*request, body.error()));
    auto shared = std::make_shared<wire::PostJobBody>(std::move(*body));
    const domain::TimeMs now_ms = services.context.clock.now_ms();
    const auto by_key = check_job(services.order_domain, shared->command, now_ms);
    if (by_key) return take_signed_job(services, request, reply, shared, amends);
    if (by_key.error().code() != ErrorCode::invalid_signature)
        return reply(error_response(*request, by_key.error()));
    // No key of the buyer's: perhaps its contract takes the signature.
    run_on_chain_desk(
        services, request, reply, [&services, request, reply, shared, now_ms, amends] {
            const auto accepted =
                check_job(services.order_domain, shared->command, now_ms, &services.context.chain);
            if (!accepted) return reply(error_response(*request, accepted.error()));
            take_signed_job(services, request, reply, shared, amends);
        });
}

/// Nobody reads a sealed bid in a list; who posted it knows its id.
[[nodiscard]] bool is_sealed(const engine::Job& job, domain::TimeMs now_ms,
                             std::uint64_t batch_period_ms) {
    return job.legs.front().constraints.clearing == domain::Clearing::kBatch &&
           now_ms < engine::unsealed_ms(job.created_ms, batch_period_ms);
}

void list_jobs(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto limit = read_limit(*request, 50, 100);
    if (!limit) return reply(error_response(*request, limit.error()));
    std::optional<domain::Address> buyer;
    if (const auto text = request->query_value("buyer")) {
        const auto parsed = ledger::crypto::parse_address(*text);
        if (!parsed) return reply(error_response(*request, parsed.error()));
        buyer = *parsed;
    }
    const bool newest_first = request->query_value("order").value_or("desc") != "asc";
    answer_from_engine(
        services, request, reply,
        [limit = *limit, buyer, newest_first, after = request->query_value("after"),
         state = request->query_value("state"), now_ms = services.context.clock.now_ms(),
         period_ms = services.context.info.rules.batch_period_ms](
            const engine::Engine& engine) -> Result<Json> {
            std::vector<const engine::Job*> found;
            engine.for_each_job([&](const engine::Job& job) {
                if (is_sealed(job, now_ms, period_ms)) return true;
                if ((!buyer || job.buyer == *buyer) && (!state || *state == to_string(job.state)))
                    found.push_back(&job);
                return true;
            });
            if (newest_first) std::reverse(found.begin(), found.end());
            auto at = found.begin();
            if (after) {
                at = std::find_if(found.begin(), found.end(), [&](const engine::Job* job) {
                    return job->id.to_string() == *after;
                });
                if (at == found.end())
                    return fail(ErrorCode::invalid_field, "?after names no job of this list");
                ++at;
            }
            Json items = Json::array();
            for (; at != found.end() && items.size() < limit; ++at)
                items.push_back(job_view(**at));
            return list_of(std::move(items), at != found.end());
        });
}

/// The job id of the path, or an answer that there is no such job.
[[nodiscard]] std::optional<domain::JobId> path_job(const http::RequestPtr& request,
                                                    const http::Reply& reply) {
    const auto id = domain::JobId::parse(request->param("id"));
    if (id) return *id;
    reply(error_response(*request, Error(ErrorCode::not_found, "no such job")));
    return std::nullopt;
}

void cancel_job(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto account = services.context.auth.account_of(*request, kScopeJobs);
    if (!account) return reply(error_response(*request, account.error()));
    if (!allow_order(services, *request, reply, to_hex(*account))) return;
    const auto id = path_job(request, reply);
    if (!id) return;
    domain::CancelJob command;
    command.job = *id;
    command.by = *account;
    services.context.engine.submit(command,
                                   [&services, request, reply, id = *id](const auto& events) {
                                       if (!events)
                                           return reply(error_response(*request, events.error()));
                                       answer_with_job(services, request, reply, id, 200);
                                   });
}

void job_leases(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto id = path_job(request, reply);
    if (!id) return;
    answer_from_engine(services, request, reply,
                       [id = *id](const engine::Engine& engine) -> Result<Json> {
                           const auto* job = engine.find_job(id);
                           if (job == nullptr) return fail(ErrorCode::not_found, "no such job");
                           Json items = Json::array();
                           for (const domain::Hash32& lease_id : job->leases)
                               if (const auto* lease = engine.find_lease(lease_id))
                                   items.push_back(lease_view(*lease));
                           return list_of(std::move(items), false);
                       });
}

/// The spec is the buyer's: only the buyer reads it back.
void job_spec(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto account = services.context.auth.account_of(*request, kScopeJobs);
    if (!account) return reply(error_response(*request, account.error()));
    const auto id = path_job(request, reply);
    if (!id) return;
    const bool queued = services.context.engine.query(
        [&services, request, reply, id = *id, account = *account](const engine::Engine& engine) {
            const auto* job = engine.find_job(id);
            if (job == nullptr)
                return reply(error_response(*request, Error(ErrorCode::not_found, "no such job")));
            if (job->buyer != account)
                return reply(error_response(*request, Error(ErrorCode::forbidden)));
            const domain::Hash32 hash = job->legs.front().bid.job_spec_hash;
            answer_from_desk(services, request, reply, [&services, request, hash] {
                const auto spec = services.context.catalog.job_spec(hash);
                if (!spec) return error_response(*request, Error(ErrorCode::not_found, "its spec"));
                return http::Response::json(*spec);
            });
        });
    if (!queued) reply(error_response(*request, Error(ErrorCode::queue_full, "the engine")));
}

}  // namespace

void add_job_routes(RouteTable& table, Services& services) {
    RouteDoc post{http::Method::kPost,        "/v1/jobs",     "postJob", "jobs",
                  "Post a job with its bids", Access::kSigned};
    post.request_schema = kJobSchema;
    post.success = 201;
    table.add(std::move(post),
              services.idempotency.wrap([&services](const auto& request, const auto& reply) {
                  take_job(services, request, reply, std::nullopt);
              }));
    RouteDoc list{http::Method::kGet, "/v1/jobs", "listJobs", "jobs", "Jobs, newest first"};
    list.query = {{"limit", "integer", "1 to 100"},
                  {"after", "string", "id of the last job seen"},
                  {"order", "string", "desc (usual) or asc"},
                  {"buyer", "string", "address"},
                  {"state", "string", "a job state"}};
    table.add(std::move(list), [&services](const auto& request, const auto& reply) {
        list_jobs(services, request, reply);
    });
    table.add({http::Method::kGet, "/v1/jobs/{id}", "getJob", "jobs", "One job"},
              [&services](const auto& request, const auto& reply) {
                  if (const auto id = path_job(request, reply))
                      answer_with_job(services, request, reply, *id, 200);
              });
    table.add({http::Method::kPost, "/v1/jobs/{id}/cancel", "cancelJob", "jobs",
               "End a job; what was done stays paid", Access::kAccount},
              [&services](const auto& request, const auto& reply) {
                  cancel_job(services, request, reply);
              });
    RouteDoc amend{http::Method::kPost,
                   "/v1/jobs/{id}/amend",
                   "amendJob",
                   "jobs",
                   "Replace an open job by a newly signed one, whole or not at all",
                   Access::kSigned};
    amend.request_schema = kJobSchema;
    amend.success = 201;
    table.add(std::move(amend),
              services.idempotency.wrap([&services](const auto& request, const auto& reply) {
                  if (const auto id = path_job(request, reply))
                      take_job(services, request, reply, *id);
              }));
    table.add({http::Method::kGet, "/v1/jobs/{id}/leases", "listJobLeases", "jobs",
               "The leases a job ran under"},
              [&services](const auto& request, const auto& reply) {
                  job_leases(services, request, reply);
              });
    table.add({http::Method::kGet, "/v1/jobs/{id}/spec", "getJobSpec", "jobs",
               "The canonical job spec, for its buyer", Access::kAccount},
              [&services](const auto& request, const auto& reply) {
                  job_spec(services, request, reply);
              });
    RouteDoc events{http::Method::kGet, "/v1/jobs/{id}/events", "listJobEvents", "jobs",
                    "Phases and metrics; as server-sent events with Accept: text/event-stream"};
    events.may_stream = true;
    events.query = {{"after", "integer", "sequence of the last event seen"},
                    {"limit", "integer", "1 to 1000"}};
    table.add(std::move(events), [&services](const auto& request, const auto& reply) {
        if (const auto id = path_job(request, reply))
            answer_job_events(services, request, reply, *id);
    });
}

}  // namespace marketplace::api
