// SPDX-License-Identifier: Apache-2.0
// Published models, OpenAI-shaped.
#include "ledger/base/hex.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/api/handlers.hpp"
#include "marketplace/api/views.hpp"
#include "marketplace/wire/document.hpp"

namespace marketplace::api {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;

namespace {

struct PublishInput {
    std::string spec;
    wire::JobSpec parsed;
    bool is_public = false;
};

[[nodiscard]] Result<PublishInput> parse_publish(const http::Request& request) {
    TRY_ASSIGN(const Json body, ledger::rpc::parse_json(request.body));
    const bool has_more = body.is_object() && body.contains("public");
    if (!body.is_object() || body.size() != (has_more ? 2 : 1))
        return fail(ErrorCode::invalid_request,
                    "send {\"spec\":\"<canonical serve spec>\"}, and \"public\" if you wish");
    PublishInput input;
    if (has_more && !body["public"].is_boolean())
        return fail(ErrorCode::invalid_field, "/public must be true or false");
    if (has_more) input.is_public = body["public"].get<bool>();
    TRY_ASSIGN(input.spec, ledger::rpc::string_at(body, "spec"));
    TRY_ASSIGN(input.parsed, wire::parse_job_spec(input.spec));
    if (input.parsed.kind != domain::JobKind::kServe)
        return fail(ErrorCode::job_spec_invalid, "kind must be \"infer.serve\"");
    return input;
}

void publish(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto account = services.context.auth.account_of(*request, kScopeModels);
    if (!account) return reply(error_response(*request, account.error()));
    auto input = parse_publish(*request);
    if (!input) return reply(error_response(*request, input.error()));
    answer_from_desk(services, request, reply,
                     [&services, request, account = *account, input = std::move(*input)] {
                         for (const domain::Hash32& blob : input.parsed.blobs)
                             if (!services.context.blobs.has(blob))
                                 return error_response(
                                     *request, Error(ErrorCode::data_missing,
                                                     "the market has no blob " + to_hex(blob)));
                         PublishedModel model;
                         model.name = input.parsed.model_name;
                         model.owner = account;
                         model.spec = input.spec;
                         model.created_ms = services.context.clock.now_ms();
                         model.is_public = input.is_public;
                         if (const auto kept = services.context.catalog.put_model(model); !kept)
                             return error_response(*request, kept.error());
                         const auto now = services.context.catalog.model(model.name);
                         return json_response(model_view(now.value_or(model)), 201);
                     });
}

[[nodiscard]] Error unknown_model(const std::string& name) {
    return Error(ErrorCode::unknown_model, "The model '" + name + "' does not exist");
}

/// The bytes that a bid for serving the model signs the hash of. Of a model that is not public they
/// are its publisher's only.
void model_spec(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    answer_from_desk(services, request, reply, [&services, request] {
        const std::string name(request->param("id"));
        const auto model = services.context.catalog.model(name);
        if (!model) return error_response(*request, unknown_model(name));
        if (!model->is_public) {
            const auto account = services.context.auth.account_of(*request, kScopeModels);
            if (!account) return error_response(*request, account.error());
            if (*account != model->owner)
                return error_response(
                    *request, Error(ErrorCode::forbidden, "its publisher keeps the spec private"));
        }
        return http::Response::json(model->spec);
    });
}

}  // namespace

void add_model_routes(RouteTable& table, Services& services) {
    RouteDoc post{http::Method::kPost,
                  "/v1/models",
                  "publishModel",
                  "inference",
                  "Publish a model under the name of its serve spec",
                  Access::kAccount};
    post.request_schema =
        R"({"type":"object","required":["spec"],"properties":{"spec":{"type":"string"}}})";
    post.success = 201;
    table.add(std::move(post),
              services.idempotency.wrap([&services](const auto& request, const auto& reply) {
                  publish(services, request, reply);
              }));
    table.add({http::Method::kGet, "/v1/models", "listModels", "inference", "Published models"},
              [&services](const auto& request, const auto& reply) {
                  answer_from_desk(services, request, reply, [&services] {
                      Json out;
                      out["object"] = "list";
                      out["data"] = Json::array();
                      for (const PublishedModel& model : services.context.catalog.models())
                          out["data"].push_back(model_view(model));
                      return json_response(out);
                  });
              });
    table.add({http::Method::kGet, "/v1/models/{id}", "getModel", "inference", "One model"},
              [&services](const auto& request, const auto& reply) {
                  answer_from_desk(services, request, reply, [&services, request] {
                      const std::string name(request->param("id"));
                      const auto model = services.context.catalog.model(name);
                      if (!model) return error_response(*request, unknown_model(name));
                      return json_response(model_view(*model));
                  });
              });
    table.add({http::Method::kGet, "/v1/models/{id}/spec", "getModelSpec", "inference",
               "The serve spec of a public model, or of one's own"},
              [&services](const auto& request, const auto& reply) {
                  model_spec(services, request, reply);
              });
}

}  // namespace marketplace::api
