// SPDX-License-Identifier: Apache-2.0
// OpenAI-exact embeddings.
#include "ledger/base/limits.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/api/handlers.hpp"
#include "marketplace/api/key_use.hpp"
#include "marketplace/wire/base64.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <optional>

namespace marketplace::api {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;

namespace {

constexpr std::chrono::minutes kTimeout{15};
constexpr std::size_t kInputsMax = 256;
constexpr std::size_t kInputBytesMax = 60 * 1024;  // one message to the worker
constexpr std::uint64_t kTokenMax = (1ULL << 32U) - 1;

struct EmbeddingInput {
    std::string model;
    std::string inputs;  // canonical JSON: a list of strings, or of lists of token numbers
    std::size_t count = 0;
    std::optional<std::size_t> dimensions;
    bool base64 = false;
};

[[nodiscard]] bool is_token_list(const Json& value) {
    if (!value.is_array() || value.empty()) return false;
    for (const Json& token : value)
        if (!token.is_number_unsigned() || token.get<std::uint64_t>() > kTokenMax) return false;
    return true;
}

/// A string, a list of tokens, or a list of either kind.
[[nodiscard]] Result<Json> read_input(const Json& value) {
    Json list = value.is_string() || is_token_list(value) ? Json::array({value}) : value;
    if (!list.is_array() || list.empty() || list.size() > kInputsMax)
        return fail(ErrorCode::invalid_field,
                    fmt::format("'input' must be a string, a list of token numbers, or a list of "
                                "1 to {} of either",
                                kInputsMax));
    for (const Json& item : list) {
        const bool alike = item.is_string() == list.front().is_string();
        const bool text = item.is_string() && !item.get_ref<const std::string&>().empty();
        if (!alike || (!text && !is_token_list(item)))
            return fail(ErrorCode::invalid_field,
                        "'input' must hold texts that are not empty, or lists of token numbers");
    }
    return list;
}

[[nodiscard]] Result<EmbeddingInput> parse_embedding(std::string_view body) {
    ledger::rpc::JsonLimits bounds;
    bounds.bytes = ledger::base::limits::kHttpBodyBytes;
    TRY_ASSIGN(const Json document, ledger::rpc::parse_json(body, bounds));
    if (!document.is_object()) return fail(ErrorCode::invalid_request, "send a JSON object");
    const auto find = [&](const char* name) -> const Json* {
        const auto member = document.find(name);
        return member == document.end() || member->is_null() ? nullptr : &*member;
    };
    EmbeddingInput out;
    const Json* model = find("model");
    if (model == nullptr || !model->is_string())
        return fail(ErrorCode::missing_field, "you must provide a 'model'");
    out.model = model->get<std::string>();
    const Json* input = find("input");
    if (input == nullptr) return fail(ErrorCode::missing_field, "you must provide 'input'");
    TRY_ASSIGN(const Json list, read_input(*input));
    out.inputs = ledger::rpc::to_text(list);
    out.count = list.size();
    if (out.inputs.size() > kInputBytesMax)
        return fail(ErrorCode::too_large, "'input' passes 60 KiB; send it in parts");
    if (const Json* format = find("encoding_format")) {
        if (*format != "float" && *format != "base64")
            return fail(ErrorCode::invalid_field, "'encoding_format' must be float or base64");
        out.base64 = *format == "base64";
    }
    if (const Json* dimensions = find("dimensions")) {
        if (!dimensions->is_number_unsigned() || *dimensions == 0)
            return fail(ErrorCode::invalid_field, "'dimensions' must be at least 1");
        out.dimensions = dimensions->get<std::size_t>();
    }
    return out;
}

/// The first `dimensions` of a vector, at length 1 again.
[[nodiscard]] Result<std::vector<float>> shorten(std::vector<float> vector,
                                                 std::size_t dimensions) {
    if (dimensions > vector.size())
        return fail(ErrorCode::out_of_range,
                    fmt::format("'dimensions' is at most {} with this model", vector.size()));
    vector.resize(dimensions);
    double squares = 0;
    for (const float value : vector)
        squares += static_cast<double>(value) * static_cast<double>(value);
    const double scale = squares > 0 ? 1.0 / std::sqrt(squares) : 0.0;
    for (float& value : vector)
        value = static_cast<float>(static_cast<double>(value) * scale);
    return vector;
}

[[nodiscard]] Result<Json> to_document(const EmbeddingInput& input, const InferenceDone& done) {
    Json data = Json::array();
    for (std::size_t i = 0; i < done.vectors.size(); ++i) {
        auto vector = wire::decode_floats(done.vectors[i]);
        if (!vector) return fail(ErrorCode::worker_failed, "the worker's vector is no vector");
        if (input.dimensions) {
            TRY_ASSIGN(*vector, shorten(std::move(*vector), *input.dimensions));
        }
        Json item{{"object", "embedding"}, {"index", i}};
        item["embedding"] =
            input.base64 ? Json(wire::encode_floats(*vector)) : Json(std::move(*vector));
        data.push_back(std::move(item));
    }
    Json out;
    out["object"] = "list";
    out["data"] = std::move(data);
    out["model"] = input.model;
    out["usage"] = {{"prompt_tokens", done.prompt_tokens}, {"total_tokens", done.prompt_tokens}};
    out["millrace"] = {{"cost_atoms", std::to_string(done.cost_atoms)},
                       {"receipts", done.receipts}};
    return out;
}

void embed(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto caller = services.context.auth.caller_of(*request, kScopeInference);
    if (!caller) return reply(error_response(*request, caller.error()));
    auto input = parse_embedding(request->body);
    if (!input) return reply(error_response(*request, input.error()));
    const bool queued = services.desk.post([&services, request, reply, caller = *caller,
                                            input = std::move(*input)] {
        if (!services.context.catalog.model(input.model))
            return reply(error_response(
                *request,
                Error(ErrorCode::unknown_model, "The model '" + input.model + "' does not exist")));
        InferenceRequest asked;
        asked.buyer = caller.account;
        asked.model = input.model;
        asked.embed = input.inputs;
        asked.embed_count = input.count;
        asked.embed_dimensions = input.dimensions.value_or(0);
        asked.budget = make_budget(services, caller.key);
        watch_delegation(services, caller.key);
        services.context.inference.start(
            std::move(asked), [](const wire::Token&) {},
            [request, reply, input](const Result<InferenceDone>& done) {
                if (!done) return reply(error_response(*request, done.error()));
                reply(to_response(*request, to_document(input, *done), 200));
            });
    });
    if (!queued) reply(error_response(*request, Error(ErrorCode::queue_full)));
}

}  // namespace

void add_embedding_routes(RouteTable& table, Services& services) {
    http::RouteOptions options;
    options.handler_timeout = kTimeout;
    RouteDoc doc{http::Method::kPost, "/v1/embeddings",    "createEmbedding",
                 "inference",         "OpenAI embeddings", Access::kAccount};
    doc.request_schema = R"({"type":"object","required":["model","input"]})";
    table.add(
        std::move(doc),
        [&services](const auto& request, const auto& reply) { embed(services, request, reply); },
        options);
}

}  // namespace marketplace::api
