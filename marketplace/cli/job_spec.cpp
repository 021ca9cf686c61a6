// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/job_spec.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/rpc/json.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Hash32;
using ledger::base::Result;
using ledger::base::to_hex;
using nlohmann::json;

/// "0.001", "12": digits with at most one point between them, above zero unless `zero_allowed`.
bool is_decimal(std::string_view text, bool zero_allowed) {
    const auto point = text.find('.');
    const std::string_view whole = text.substr(0, point);
    const std::string_view part = point == std::string_view::npos ? "0" : text.substr(point + 1);
    const auto all_digits = [](std::string_view digits) {
        return !digits.empty() && digits.size() <= 12 &&
               std::all_of(digits.begin(), digits.end(),
                           [](char c) { return c >= '0' && c <= '9'; });
    };
    if (!all_digits(whole) || !all_digits(part)) return false;
    const bool zero = whole.find_first_not_of('0') == std::string_view::npos &&
                      part.find_first_not_of('0') == std::string_view::npos;
    return zero_allowed || !zero;
}

Result<json> data_of(const TrainPlan& plan) {
    if (plan.arch == "gpt") {
        if (!plan.text || plan.images || plan.labels)
            return fail(ErrorCode::invalid_field, "a gpt trains on one text: give --text FILE");
        return json{{"format", "text"}, {"blob", to_hex(*plan.text)}};
    }
    if (!plan.images || !plan.labels || plan.text)
        return fail(ErrorCode::invalid_field,
                    "a cnn trains on labelled images: give --images FILE and --labels FILE");
    return json{
        {"format", "idx"}, {"images", to_hex(*plan.images)}, {"labels", to_hex(*plan.labels)}};
}

Result<json> model_of(const TrainPlan& plan) {
    if (plan.arch == "gpt") {
        if (plan.heads == 0 || plan.width % plan.heads != 0)
            return fail(ErrorCode::invalid_field, "--width must be a multiple of --heads");
        return json{{"arch", "gpt"},       {"vocab", plan.vocab}, {"width", plan.width},
                    {"depth", plan.depth}, {"heads", plan.heads}, {"context", plan.context}};
    }
    if (plan.arch == "cnn")
        return json{{"arch", "cnn"},
                    {"classes", plan.classes},
                    {"channels", plan.channels},
                    {"height", plan.image_height},
                    {"width", plan.image_width}};
    return fail(ErrorCode::invalid_field, "--arch must be gpt or cnn");
}

Result<void> check_plan(const TrainPlan& plan) {
    if (plan.steps == 0) return fail(ErrorCode::invalid_field, "--steps must be above 0");
    if (plan.batch == 0) return fail(ErrorCode::invalid_field, "--batch must be above 0");
    if (plan.segment_steps == 0 || plan.segment_steps > plan.steps)
        return fail(ErrorCode::invalid_field, "--segment-steps must be 1 to --steps");
    if (!is_decimal(plan.learning_rate, false))
        return fail(ErrorCode::invalid_field, "--learning-rate must be a decimal like 0.001");
    if (!is_decimal(plan.weight_decay, true))
        return fail(ErrorCode::invalid_field, "--weight-decay must be a decimal like 0.01");
    if (plan.precision != "fp32" && plan.precision != "bf16")
        return fail(ErrorCode::invalid_field, "--precision must be fp32 or bf16");
    return {};
}

}  // namespace

std::uint64_t parameter_count(const TrainPlan& plan) noexcept {
    if (plan.arch == "gpt") {
        const std::uint64_t w = plan.width;
        return (plan.vocab + plan.context) * w + plan.depth * (12 * w * w + 13 * w) + 2 * w;
    }
    const std::uint64_t c = plan.channels;
    const std::uint64_t quarter = (plan.image_height / 4) * (plan.image_width / 4);
    return 10 * c + 18 * c * c + 2 * c + (2 * c * quarter + 1) * plan.classes;
}

std::uint64_t flops_per_step(const TrainPlan& plan) noexcept {
    std::uint64_t forward = 0;
    if (plan.arch == "gpt") {
        const std::uint64_t w = plan.width;
        const std::uint64_t layer = 24 * w * w + 4 * plan.context * w;
        forward = plan.batch * plan.context * (plan.depth * layer + 2 * w * plan.vocab);
    } else {
        const std::uint64_t c = plan.channels;
        const std::uint64_t half = (plan.image_height / 2) * (plan.image_width / 2);
        const std::uint64_t quarter = (plan.image_height / 4) * (plan.image_width / 4);
        forward = plan.batch * (18 * c * plan.image_height * plan.image_width + 36 * c * c * half +
                                4 * c * quarter * plan.classes);
    }
    return 3 * forward + 16 * parameter_count(plan);
}

Result<std::string> make_train_spec(const TrainPlan& plan) {
    TRY(check_plan(plan));
    TRY_ASSIGN(json model, model_of(plan));
    TRY_ASSIGN(json data, data_of(plan));
    json spec{{"version", 1},
              {"kind", "train"},
              {"model", std::move(model)},
              {"data", std::move(data)},
              {"holdout_bp", plan.holdout_bp},
              {"batch", plan.batch},
              {"steps", plan.steps},
              {"segment_steps", plan.segment_steps},
              {"eval_batches", plan.eval_batches},
              {"learning_rate", plan.learning_rate},
              {"warmup_steps", plan.warmup_steps},
              {"weight_decay", plan.weight_decay},
              {"seed", plan.seed},
              {"precision", plan.precision},
              {"numeric_class", "D1"},
              {"flops_per_step", flops_per_step(plan)}};
    if (plan.init) spec["init"] = to_hex(*plan.init);
    return ledger::rpc::to_text(spec);
}

Result<std::string> make_serve_spec(std::string_view train_spec, const Hash32& weights,
                                    const std::string& name) {
    TRY_ASSIGN(const json train, ledger::rpc::parse_json(train_spec));
    TRY_ASSIGN(const json* model, ledger::rpc::member_at(train, "model"));
    if (model->value("arch", std::string()) != "gpt")
        return fail(ErrorCode::unsupported, "only text models (gpt) can be served");
    return ledger::rpc::to_text({{"version", 1},
                                 {"kind", "infer.serve"},
                                 {"model", *model},
                                 {"weights", to_hex(weights)},
                                 {"tokenizer", "bytes"},
                                 {"name", name}});
}

Result<std::string> make_folder_spec(const std::map<std::string, Hash32>& files,
                                     const std::string& format, const std::string& name) {
    if (format != "fp32" && format != "bf16" && format != "int8" && format != "int4")
        return fail(ErrorCode::invalid_field, "--weights must be fp32, bf16, int8 or int4");
    json blobs = json::object();
    for (const auto& [file, hash] : files)
        blobs[file] = to_hex(hash);
    return ledger::rpc::to_text({{"version", 1},
                                 {"kind", "infer.serve"},
                                 {"files", std::move(blobs)},
                                 {"weights_format", format},
                                 {"name", name}});
}

Result<SpecSummary> summarise(std::string_view spec) {
    TRY_ASSIGN(const json document, ledger::rpc::parse_json(spec));
    SpecSummary out;
    TRY_ASSIGN(out.kind, ledger::rpc::string_at(document, "kind"));
    if (out.kind == "train" || out.kind == "finetune") {
        TRY_ASSIGN(out.steps, ledger::rpc::integer_at(document, "steps"));
    }
    return out;
}

}  // namespace marketplace::cli
