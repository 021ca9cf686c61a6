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
    const int given = int{plan.text.has_value()} + int{plan.jsonl.has_value()} +
                      int{plan.tokens.has_value()} + int{plan.image_tar.has_value()} +
                      int{plan.images || plan.labels};
    if (plan.arch == "gpt") {
        if (given != 1 || plan.image_tar || plan.images || plan.labels)
            return fail(ErrorCode::invalid_field,
                        "a gpt trains on one text: give --text, --jsonl or --tokens FILE");
        if (plan.tokens) return json{{"format", "tokens"}, {"blob", to_hex(*plan.tokens)}};
        if (plan.vocab != 256)
            return fail(ErrorCode::invalid_field, "--vocab is for --tokens: text is bytes");
        if (plan.text) return json{{"format", "text"}, {"blob", to_hex(*plan.text)}};
        return json{{"format", "jsonl"}, {"blob", to_hex(*plan.jsonl)}, {"field", plan.field}};
    }
    if (given == 1 && plan.jsonl) return json{{"format", "jsonl"}, {"blob", to_hex(*plan.jsonl)}};
    if (given == 1 && plan.image_tar)
        return json{{"format", "tar"}, {"blob", to_hex(*plan.image_tar)}};
    if (given != 1 || !plan.images || !plan.labels)
        return fail(ErrorCode::invalid_field,
                    fmt::format("a {} trains on labelled images: give --images FILE and --labels "
                                "FILE, --image-tar FILE, or --jsonl FILE",
                                plan.arch));
    return json{
        {"format", "idx"}, {"images", to_hex(*plan.images)}, {"labels", to_hex(*plan.labels)}};
}

Result<json> image_model_of(const TrainPlan& plan) {
    json model{{"arch", plan.arch},
               {"classes", plan.classes},
               {"height", plan.image_height},
               {"width", plan.image_width}};
    if (plan.arch == "cnn") {
        if (plan.colors != 1)
            return fail(ErrorCode::invalid_field, "a cnn sees one colour: take --arch resnet");
        model["channels"] = plan.channels;
        return model;
    }
    model["colors"] = plan.colors;
    if (plan.arch == "resnet") {
        if (plan.stages == 0 || plan.stages > 5)
            return fail(ErrorCode::invalid_field, "--stages must be 1 to 5");
        model["channels"] = plan.channels;
        model["stages"] = plan.stages;
        model["blocks"] = plan.blocks;
    } else if (plan.arch == "vit") {
        if (plan.patch == 0 || plan.image_height % plan.patch != 0 ||
            plan.image_width % plan.patch != 0)
            return fail(ErrorCode::invalid_field, "--patch must divide the image's sides");
        model["patch"] = plan.patch;
        model["dim"] = plan.width;
        model["depth"] = plan.depth;
        model["heads"] = plan.heads;
    } else {
        model["hidden"] = plan.hidden;
        model["depth"] = plan.depth;
    }
    return model;
}

Result<json> model_of(const TrainPlan& plan) {
    if (plan.arch == "gpt" || plan.arch == "vit") {
        if (plan.heads == 0 || plan.width % plan.heads != 0)
            return fail(ErrorCode::invalid_field, "--width must be a multiple of --heads");
    }
    if (plan.arch == "gpt")
        return json{{"arch", "gpt"},       {"vocab", plan.vocab}, {"width", plan.width},
                    {"depth", plan.depth}, {"heads", plan.heads}, {"context", plan.context}};
    if (plan.arch == "cnn" || plan.arch == "resnet" || plan.arch == "vit" || plan.arch == "mlp")
        return image_model_of(plan);
    return fail(ErrorCode::invalid_field, "--arch must be gpt, cnn, resnet, vit or mlp");
}

/// A decimal that was given goes into the object under `name`.
Result<void> put_decimal(json& object, const char* name, const std::string& value) {
    if (value.empty()) return {};
    if (!is_decimal(value, true))
        return fail(ErrorCode::invalid_field, fmt::format("{} must be a decimal like 0.9", name));
    object[name] = value;
    return {};
}

/// The fields that a plain job does not have.
Result<void> put_options(json& spec, const TrainPlan& plan) {
    json optimizer{{"name", plan.optimizer.empty() ? "adamw" : plan.optimizer}};
    TRY(put_decimal(optimizer, "beta1", plan.beta1));
    TRY(put_decimal(optimizer, "beta2", plan.beta2));
    TRY(put_decimal(optimizer, "epsilon", plan.epsilon));
    TRY(put_decimal(optimizer, "momentum", plan.momentum));
    if (plan.nesterov) optimizer["nesterov"] = true;
    if (optimizer.size() > 1 || !plan.optimizer.empty()) spec["optimizer"] = std::move(optimizer);
    if (!plan.schedule.empty()) spec["schedule"] = plan.schedule;
    TRY(put_decimal(spec, "min_rate_share", plan.min_rate_share));
    TRY(put_decimal(spec, "clip_norm", plan.clip_norm));
    const std::uint64_t ranks = std::max<std::uint64_t>(plan.ranks, 1);
    const std::uint64_t accumulate = std::max<std::uint64_t>(plan.accumulate, 1);
    if (plan.batch % ranks != 0 || plan.batch / ranks % accumulate != 0)
        return fail(ErrorCode::invalid_field, "--ranks times --accumulate must divide --batch");
    if (plan.ranks != 0) spec["ranks"] = plan.ranks;
    if (plan.accumulate != 0) spec["accumulate"] = plan.accumulate;
    if (plan.patience == 0 && !plan.min_delta.empty())
        return fail(ErrorCode::invalid_field, "--min-delta goes with --patience");
    if (plan.patience != 0) {
        json stop{{"patience", plan.patience}};
        TRY(put_decimal(stop, "min_delta", plan.min_delta));
        spec["early_stop"] = std::move(stop);
    }
    return {};
}

Result<void> check_plan(const TrainPlan& plan) {
    if (plan.steps == 0) return fail(ErrorCode::invalid_field, "--steps must be above 0");
    if (plan.depth == 0) return fail(ErrorCode::invalid_field, "--depth must be above 0");
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

namespace {

/// Parameters and floating-point operations of one row's forward pass.
struct Work {
    std::uint64_t parameters = 0;
    std::uint64_t forward = 0;
};

Work gpt_work(const TrainPlan& plan) {
    const std::uint64_t w = plan.width;
    const std::uint64_t layer = 24 * w * w + 4 * plan.context * w;
    return {(plan.vocab + plan.context) * w + plan.depth * (12 * w * w + 13 * w) + 2 * w,
            plan.context * (plan.depth * layer + 2 * w * plan.vocab)};
}

Work cnn_work(const TrainPlan& plan) {
    const std::uint64_t c = plan.channels;
    const std::uint64_t half = (plan.image_height / 2) * (plan.image_width / 2);
    const std::uint64_t quarter = (plan.image_height / 4) * (plan.image_width / 4);
    return {10 * c + 18 * c * c + 2 * c + (2 * c * quarter + 1) * plan.classes,
            18 * c * plan.image_height * plan.image_width + 36 * c * c * half +
                4 * c * quarter * plan.classes};
}

Work resnet_work(const TrainPlan& plan) {
    Work out;
    std::uint64_t height = plan.image_height;
    std::uint64_t width = plan.image_width;
    // A convolution without bias and its norm.
    const auto conv = [&](std::uint64_t in, std::uint64_t channels, std::uint64_t taps) {
        out.parameters += in * channels * taps + 2 * channels;
        out.forward += 2 * in * channels * taps * height * width;
    };
    std::uint64_t channels = plan.channels;
    conv(plan.colors, channels, 9);
    for (std::uint64_t stage = 0; stage < plan.stages; ++stage) {
        std::uint64_t into = channels;
        if (stage > 0) {
            channels *= 2;
            height = (height + 1) / 2;
            width = (width + 1) / 2;
            conv(into, channels, 1);
        }
        for (std::uint64_t block = 0; block < plan.blocks; ++block) {
            conv(into, channels, 9);
            conv(channels, channels, 9);
            into = channels;
        }
    }
    out.parameters += (channels + 1) * plan.classes;
    out.forward += 2 * channels * plan.classes;
    return out;
}

Work vit_work(const TrainPlan& plan) {
    const std::uint64_t d = plan.width;
    const std::uint64_t patch = std::max<std::uint64_t>(plan.patch, 1);
    const std::uint64_t tokens = (plan.image_height / patch) * (plan.image_width / patch);
    const std::uint64_t inputs = plan.colors * patch * patch;
    return {(inputs + 1) * d + tokens * d + plan.depth * (12 * d * d + 13 * d) + 2 * d +
                (d + 1) * plan.classes,
            tokens * (plan.depth * (24 * d * d + 4 * tokens * d) + 2 * inputs * d) +
                2 * d * plan.classes};
}

Work mlp_work(const TrainPlan& plan) {
    const std::uint64_t h = plan.hidden;
    const std::uint64_t pixels = plan.colors * plan.image_height * plan.image_width;
    const std::uint64_t products = pixels * h + (plan.depth - 1) * h * h + h * plan.classes;
    return {products + plan.depth * h + plan.classes, 2 * products};
}

Work work_of(const TrainPlan& plan) {
    if (plan.arch == "cnn") return cnn_work(plan);
    if (plan.arch == "resnet") return resnet_work(plan);
    if (plan.arch == "vit") return vit_work(plan);
    if (plan.arch == "mlp") return mlp_work(plan);
    return gpt_work(plan);
}

}  // namespace

std::uint64_t parameter_count(const TrainPlan& plan) noexcept {
    return work_of(plan).parameters;
}

std::uint64_t flops_per_step(const TrainPlan& plan) noexcept {
    const Work work = work_of(plan);
    return 3 * plan.batch * work.forward + 16 * work.parameters;
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
    if (plan.sealed) spec["sealed"] = to_hex(*plan.sealed);
    TRY(put_options(spec, plan));
    return ledger::rpc::to_text(spec);
}

Result<std::string> make_serve_spec(std::string_view train_spec, const Hash32& weights,
                                    const std::string& name) {
    TRY_ASSIGN(const json train, ledger::rpc::parse_json(train_spec));
    TRY_ASSIGN(const json* model, ledger::rpc::member_at(train, "model"));
    if (train.contains("sealed"))
        return fail(ErrorCode::unsupported,
                    "the job's result is sealed, and no worker could load it: fetch it with "
                    "`millrace jobs artifacts`");
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
