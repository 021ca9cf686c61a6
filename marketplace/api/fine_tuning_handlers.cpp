// SPDX-License-Identifier: Apache-2.0
// OpenAI's fine-tuning jobs, as a view of jobs that their buyers have ordered.
#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/api/handlers.hpp"
#include "marketplace/wire/document.hpp"

#include <fmt/format.h>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace marketplace::api {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;

namespace {

constexpr const char* kHowToOrder =
    "a fine-tuning is paid by a bid that its buyer signs, which no API key can: post it with "
    "`millrace finetune --detach` (or POST /v1/jobs), then name the job in metadata.order";
constexpr std::size_t kRecordsMax = 1000;

/// What is read of a job on the engine's thread.
struct Snapshot {
    domain::JobId id;
    domain::Address buyer;
    domain::JobState state = domain::JobState::kOpen;
    std::string reason;
    std::uint64_t units_done = 0;
    domain::Hash32 checkpoint;
    domain::TimeMs created_ms = 0;
    domain::TimeMs changed_ms = 0;
    domain::Hash32 spec_hash;
};

Snapshot snapshot_of(const engine::Job& job) {
    return {job.id,         job.buyer,      job.state,
            job.reason,     job.units_done, job.checkpoint,
            job.created_ms, job.changed_ms, job.legs.front().bid.job_spec_hash};
}

std::string tuning_id(const domain::JobId& id) {
    return "ftjob-" + id.to_string().substr(4);
}

/// "ftjob-…", or the market's own "job_…".
Result<domain::JobId> parse_tuning_id(std::string_view text) {
    if (text.starts_with("ftjob-"))
        return domain::JobId::parse("job_" + std::string(text.substr(6)));
    return domain::JobId::parse(text);
}

std::string_view status_of(domain::JobState state) {
    switch (state) {
        case domain::JobState::kOpen:
            return "queued";
        case domain::JobState::kCompleted:
            return "succeeded";
        case domain::JobState::kFailed:
            return "failed";
        case domain::JobState::kCancelled:
        case domain::JobState::kExpired:
            return "cancelled";
        default:
            return "running";
    }
}

/// A text field of a spec; the market checks only what it sells, so any may be missing.
std::string text_or(const Json& spec, const char* name, const char* otherwise) {
    return ledger::rpc::string_at(spec, name).value_or(otherwise);
}
Json number_or_null(const Json& of, const char* name) {
    const auto found = of.is_object() ? of.find(name) : of.end();
    return found != of.end() && found->is_number() ? *found : Json();
}

/// The spec of a job, when it is a fine-tuning. On the desk.
std::optional<Json> tuning_spec(const CatalogPort& catalog, const domain::Hash32& hash) {
    const auto text = catalog.job_spec(hash);
    if (!text) return std::nullopt;
    auto spec = ledger::rpc::parse_json(*text);
    if (!spec || !spec->is_object() || text_or(*spec, "kind", "") != "finetune")
        return std::nullopt;
    return std::move(*spec);
}

/// A fine-tuning with what is known around it.
class Tuning {
 public:
    Tuning(Services& services, const Snapshot& job, Json spec)
        : services_(services), job_(job), spec_(std::move(spec)), model_(base_model()) {}

    [[nodiscard]] const std::string& model() const noexcept { return model_; }
    [[nodiscard]] bool has_model() const {
        return job_.state == domain::JobState::kCompleted && !job_.checkpoint.is_zero() &&
               text_or(spec_, "result", "merged") == "merged";
    }
    [[nodiscard]] std::string result_name() const {
        return fmt::format("ft-{}-{}", model_.substr(0, 52), job_.id.to_string().substr(4, 8));
    }

    /// Names are taken by who comes first: another's model must not pass for this one.
    [[nodiscard]] bool is_listed() const {
        const auto model = services_.context.catalog.model(result_name());
        return has_model() && model && model->owner == job_.buyer;
    }

    /// Lists the finished model under its name; the first time only.
    Result<void> publish() const {
        if (!has_model() || services_.context.catalog.model(result_name())) return {};
        Json files = Json::object();
        for (const auto& [name, hash] : spec_.at("files").items())
            if (name.find(".safetensors") == std::string::npos) files[name] = hash;
        files["model.safetensors"] = to_hex(job_.checkpoint);
        PublishedModel model;
        model.name = result_name();
        model.owner = job_.buyer;
        model.spec = ledger::rpc::to_text({{"version", 1},
                                           {"kind", "infer.serve"},
                                           {"files", std::move(files)},
                                           {"weights_format", "bf16"},
                                           {"name", model.name}});
        model.created_ms = services_.context.clock.now_ms();
        return services_.context.catalog.put_model(model);
    }

    [[nodiscard]] Json view() const {
        const bool over = domain::is_final(job_.state);
        const bool failed = job_.state == domain::JobState::kFailed;
        Json out{{"id", tuning_id(job_.id)},
                 {"object", "fine_tuning.job"},
                 {"created_at", job_.created_ms / 1000},
                 {"estimated_finish", nullptr},
                 {"finished_at", nullptr},
                 {"fine_tuned_model", nullptr},
                 {"model", model_},
                 {"organization_id", ledger::crypto::to_checksum(job_.buyer)},
                 {"result_files", Json::array()},
                 {"seed", number_or_null(spec_, "seed")},
                 {"status", std::string(status_of(job_.state))},
                 {"trained_tokens", nullptr},
                 {"training_file", file_of("data")},
                 {"validation_file", nullptr},
                 {"integrations", Json::array()},
                 {"metadata", {{"order", job_.id.to_string()}}},
                 {"error", nullptr}};
        const Json parameters{{"n_epochs", "auto"},
                              {"batch_size", number_or_null(spec_, "batch")},
                              {"learning_rate_multiplier", "auto"}};
        out["hyperparameters"] = parameters;
        out["method"] = {{"type", "supervised"}, {"supervised", {{"hyperparameters", parameters}}}};
        if (over) out["finished_at"] = job_.changed_ms / 1000;
        if (is_listed()) out["fine_tuned_model"] = result_name();
        if (spec_.contains("validation")) out["validation_file"] = file_of("validation");
        if (failed)
            out["error"] = {{"code", job_.reason}, {"message", job_.reason}, {"param", nullptr}};
        return out;
    }

    /// Whether a request that names these speaks of this job.
    Result<void> check(const std::string& model, const std::string& file) const {
        const auto known = services_.context.catalog.model(model);
        if (!known) return fail(ErrorCode::unknown_model, "The model '" + model + "' is not there");
        const auto spec = ledger::rpc::parse_json(known->spec);
        if (!spec || !spec->contains("files") || (*spec)["files"] != spec_.at("files"))
            return fail(ErrorCode::invalid_field,
                        "the order in metadata.order is for another model than " + model);
        const auto found = services_.context.catalog.file(file, job_.buyer);
        if (!found) return fail(ErrorCode::not_found, "no such file: " + file);
        if (to_hex(found->blob) != spec_.at("data").at("blob"))
            return fail(ErrorCode::invalid_field,
                        "the order in metadata.order is for other examples than " + file);
        return {};
    }

 private:
    /// The published model of these files; a name made of them where there is none.
    [[nodiscard]] std::string base_model() const {
        for (const PublishedModel& model : services_.context.catalog.models()) {
            const auto spec = ledger::rpc::parse_json(model.spec);
            if (spec && spec->contains("files") && (*spec)["files"] == spec_.at("files"))
                return model.name;
        }
        return "folder-" + to_hex(job_.spec_hash).substr(2, 8);
    }
    /// The buyer's file with the examples; their hash where he keeps none.
    [[nodiscard]] std::string file_of(const char* field) const {
        const std::string blob = spec_.at(field).at("blob").get<std::string>();
        std::string id = blob;  // of several files with these bytes the newest
        for (const FileRow& file : services_.context.catalog.files(job_.buyer))
            if (to_hex(file.blob) == blob) id = file.id;
        return id;
    }

    Services& services_;
    const Snapshot& job_;
    Json spec_;
    std::string model_;
};

using UseTuning = std::function<Result<Json>(const Snapshot&, const Tuning&)>;

/// Finds the caller's fine-tuning on the engine's thread and answers from the desk.
void with_tuning(Services& services, const http::RequestPtr& request, const http::Reply& reply,
                 const domain::JobId& id, UseTuning use) {
    const auto account = services.context.auth.account_of(*request, kScopeJobs);
    if (!account) return reply(error_response(*request, account.error()));
    const bool queued =
        services.context.engine.query([&services, request, reply, id, account = *account,
                                       use = std::move(use)](const engine::Engine& engine) {
            const engine::Job* job = engine.find_job(id);
            if (job == nullptr || job->buyer != account)
                return reply(error_response(
                    *request, Error(ErrorCode::not_found, "no such fine-tuning job")));
            answer_from_desk(
                services, request, reply, [&services, request, job = snapshot_of(*job), use] {
                    auto spec = tuning_spec(services.context.catalog, job.spec_hash);
                    if (!spec)
                        return error_response(
                            *request, Error(ErrorCode::not_found, "no such fine-tuning job"));
                    const Tuning tuning(services, job, std::move(*spec));
                    if (const auto listed = tuning.publish(); !listed)
                        return error_response(*request, listed.error());
                    return to_response(*request, use(job, tuning));
                });
        });
    if (!queued) reply(error_response(*request, Error(ErrorCode::queue_full, "the engine")));
}

/// The id of the path, or an answer that there is no such job.
std::optional<domain::JobId> path_tuning(const http::RequestPtr& request,
                                         const http::Reply& reply) {
    const auto id = parse_tuning_id(request->param("id"));
    if (id) return *id;
    reply(error_response(*request, Error(ErrorCode::not_found, "no such fine-tuning job")));
    return std::nullopt;
}

void create_tuning(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto parse = [&]() -> Result<std::array<std::string, 3>> {
        TRY_ASSIGN(const Json body, ledger::rpc::parse_json(request->body));
        TRY_ASSIGN(std::string model, ledger::rpc::string_at(body, "model"));
        TRY_ASSIGN(std::string file, ledger::rpc::string_at(body, "training_file"));
        const auto metadata = body.find("metadata");
        if (metadata == body.end() || !metadata->is_object() || !metadata->contains("order"))
            return fail(ErrorCode::missing_field, kHowToOrder);
        TRY_ASSIGN(std::string order, ledger::rpc::string_at(*metadata, "order"));
        return std::array{std::move(model), std::move(file), std::move(order)};
    };
    if (const auto account = services.context.auth.account_of(*request, kScopeJobs); !account)
        return reply(error_response(*request, account.error()));
    const auto input = parse();
    if (!input) return reply(error_response(*request, input.error()));
    const auto id = parse_tuning_id((*input)[2]);
    if (!id) return reply(error_response(*request, id.error()));
    with_tuning(services, request, reply, *id,
                [model = (*input)[0], file = (*input)[1]](const Snapshot&,
                                                          const Tuning& tuning) -> Result<Json> {
                    TRY(tuning.check(model, file));
                    return tuning.view();
                });
}

void list_tunings(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto account = services.context.auth.account_of(*request, kScopeJobs);
    if (!account) return reply(error_response(*request, account.error()));
    const auto limit = read_limit(*request, 20, 100);
    if (!limit) return reply(error_response(*request, limit.error()));
    const bool queued =
        services.context.engine.query([&services, request, reply, account = *account,
                                       limit = *limit](const engine::Engine& engine) {
            auto jobs = std::make_shared<std::vector<Snapshot>>();
            engine.for_each_job([&](const engine::Job& job) {
                if (job.buyer == account) jobs->push_back(snapshot_of(job));
                return true;
            });
            answer_from_desk(services, request, reply, [&services, request, jobs, limit] {
                bool found = !request->query_value("after");
                const std::string after = request->query_value("after").value_or("");
                Json items = Json::array();
                bool more = false;
                for (auto job = jobs->rbegin(); job != jobs->rend() && !more; ++job) {
                    if (!found) {
                        found = tuning_id(job->id) == after;
                        continue;
                    }
                    auto spec = tuning_spec(services.context.catalog, job->spec_hash);
                    if (!spec) continue;
                    more = items.size() == limit;
                    if (!more) items.push_back(Tuning(services, *job, std::move(*spec)).view());
                }
                return json_response(list_of(std::move(items), more));
            });
        });
    if (!queued) reply(error_response(*request, Error(ErrorCode::queue_full, "the engine")));
}

/// A record of the job as OpenAI's event: figures as metrics, phases as messages.
Json event_view(const JobRecord& record) {
    const Json data = Json::parse(record.data, nullptr, false);
    const bool figures = record.kind == "train" || record.kind == "eval";
    Json out{{"id", fmt::format("ftevent-{}", record.sequence)},
             {"object", "fine_tuning.job.event"},
             {"created_at", record.time_ms / 1000},
             {"level", "info"},
             {"type", figures ? "metrics" : "message"},
             {"message", record.kind},
             {"data", nullptr}};
    if (!data.is_object()) return out;
    if (!figures) {
        out["message"] = text_or(data, "state", record.kind.c_str());
        return out;
    }
    const bool held_out = record.kind == "eval";
    const Json step = number_or_null(data, "step");
    out["data"] = {{"step", step},
                   {held_out ? "valid_loss" : "train_loss", number_or_null(data, "loss")}};
    if (held_out) out["data"]["valid_mean_token_accuracy"] = number_or_null(data, "metric");
    out["message"] =
        fmt::format("Step {}: {} loss={}", step.dump(), held_out ? "validation" : "training",
                    number_or_null(data, "loss").dump());
    return out;
}

void tuning_events(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto id = path_tuning(request, reply);
    if (!id) return;
    const auto limit = read_limit(*request, 20, 100);
    if (!limit) return reply(error_response(*request, limit.error()));
    with_tuning(services, request, reply, *id,
                [&services, limit = *limit, after = request->query_value("after")](
                    const Snapshot& job, const Tuning&) -> Result<Json> {
                    const auto records = services.context.records.after(job.id, 0, kRecordsMax);
                    bool found = !after;
                    Json items = Json::array();
                    bool more = false;
                    for (auto at = records.rbegin(); at != records.rend() && !more; ++at) {
                        Json event = event_view(*at);
                        if (!found) {
                            found = event["id"] == *after;
                            continue;
                        }
                        more = items.size() == limit;
                        if (!more) items.push_back(std::move(event));
                    }
                    return list_of(std::move(items), more);
                });
}

/// The last state that was handed in; earlier ones are no longer kept.
void tuning_checkpoints(Services& services, const http::RequestPtr& request,
                        const http::Reply& reply) {
    const auto id = path_tuning(request, reply);
    if (!id) return;
    with_tuning(services, request, reply, *id,
                [](const Snapshot& job, const Tuning& tuning) -> Result<Json> {
                    Json items = Json::array();
                    if (!job.checkpoint.is_zero())
                        items.push_back(
                            {{"id", "ftckpt-" + to_hex(job.checkpoint).substr(2, 32)},
                             {"object", "fine_tuning.job.checkpoint"},
                             {"created_at", job.changed_ms / 1000},
                             {"fine_tuned_model_checkpoint",
                              tuning.is_listed() ? tuning.result_name() : to_hex(job.checkpoint)},
                             {"fine_tuning_job_id", tuning_id(job.id)},
                             {"step_number", job.units_done},
                             {"metrics", {{"step", job.units_done}}}});
                    return list_of(std::move(items), false);
                });
}

void cancel_tuning(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto account = services.context.auth.account_of(*request, kScopeJobs);
    if (!account) return reply(error_response(*request, account.error()));
    if (!allow_order(services, *request, reply, to_hex(*account))) return;
    const auto id = path_tuning(request, reply);
    if (!id) return;
    domain::CancelJob command;
    command.job = *id;
    command.by = *account;
    services.context.engine.submit(
        command, [&services, request, reply, id = *id](const auto& events) {
            if (!events) return reply(error_response(*request, events.error()));
            with_tuning(services, request, reply, id,
                        [](const Snapshot&, const Tuning& tuning) -> Result<Json> {
                            return tuning.view();
                        });
        });
}

}  // namespace

void add_fine_tuning_routes(RouteTable& table, Services& services) {
    RouteDoc post{http::Method::kPost,
                  "/v1/fine_tuning/jobs",
                  "createFineTuningJob",
                  "fine-tuning",
                  "OpenAI's view of a fine-tuning that its buyer has ordered (metadata.order)",
                  Access::kAccount};
    post.request_schema =
        R"({"type":"object","required":["model","training_file","metadata"],"properties":{)"
        R"("model":{"type":"string"},"training_file":{"type":"string"},)"
        R"("metadata":{"type":"object","required":["order"],)"
        R"("properties":{"order":{"type":"string","description":"job_ and 32 hex digits"}}}}})";
    table.add(std::move(post), [&services](const auto& request, const auto& reply) {
        create_tuning(services, request, reply);
    });
    RouteDoc list{http::Method::kGet,
                  "/v1/fine_tuning/jobs",
                  "listFineTuningJobs",
                  "fine-tuning",
                  "The caller's fine-tunings, newest first",
                  Access::kAccount};
    const std::vector<QueryDoc> page{{"limit", "integer", "1 to 100"},
                                     {"after", "string", "id of the last one seen"}};
    list.query = page;
    table.add(std::move(list), [&services](const auto& request, const auto& reply) {
        list_tunings(services, request, reply);
    });
    table.add({http::Method::kGet, "/v1/fine_tuning/jobs/{id}", "getFineTuningJob", "fine-tuning",
               "One fine-tuning", Access::kAccount},
              [&services](const auto& request, const auto& reply) {
                  if (const auto id = path_tuning(request, reply))
                      with_tuning(services, request, reply, *id,
                                  [](const Snapshot&, const Tuning& tuning) -> Result<Json> {
                                      return tuning.view();
                                  });
              });
    RouteDoc events{http::Method::kGet, "/v1/fine_tuning/jobs/{id}/events", "listFineTuningEvents",
                    "fine-tuning",      "Phases and losses, newest first",  Access::kAccount};
    events.query = page;
    table.add(std::move(events), [&services](const auto& request, const auto& reply) {
        tuning_events(services, request, reply);
    });
    table.add({http::Method::kGet, "/v1/fine_tuning/jobs/{id}/checkpoints",
               "listFineTuningCheckpoints", "fine-tuning", "Its last state", Access::kAccount},
              [&services](const auto& request, const auto& reply) {
                  tuning_checkpoints(services, request, reply);
              });
    table.add({http::Method::kPost, "/v1/fine_tuning/jobs/{id}/cancel", "cancelFineTuningJob",
               "fine-tuning", "End it; what was done stays paid", Access::kAccount},
              [&services](const auto& request, const auto& reply) {
                  cancel_tuning(services, request, reply);
              });
}

}  // namespace marketplace::api
