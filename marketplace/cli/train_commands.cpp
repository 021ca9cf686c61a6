// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/cli/blob.hpp"
#include "marketplace/cli/job_order.hpp"
#include "marketplace/cli/job_seal.hpp"
#include "marketplace/cli/job_spec.hpp"
#include "marketplace/cli/watch.hpp"
#include "marketplace/wire/document.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;

struct TrainOptions {
    TrainPlan plan;
    OrderOptions order;
    std::string spec_file;
    std::string text_file;
    std::string jsonl_file;
    std::string tokens_file;
    std::string tar_file;
    std::string images_file;
    std::string labels_file;
    std::string init_file;
    std::string max_price;
    std::string max_amount;
    bool encrypt = false;
    bool detach = false;
    bool dry_run = false;
};

/// How the files of a job become blobs.
struct Intake {
    Blobs blobs = Blobs::kHashOnly;
    const JobSeal* seal = nullptr;  ///< null: as they are
};

Result<std::optional<Hash32>> take_file(Context& context, const std::string& file,
                                        const Intake& intake) {
    if (file.empty()) return std::optional<Hash32>();
    // A hash stands for a blob that the market has already.
    if (const auto hash = ledger::base::parse_fixed<Hash32>(file)) {
        if (intake.seal != nullptr)
            return fail(ErrorCode::invalid_field,
                        "--encrypt takes files: what the market has already is not sealed");
        return std::optional(*hash);
    }
    const auto hash = intake.seal != nullptr ? intake.seal->take(context, file, intake.blobs)
                      : intake.blobs == Blobs::kUpload ? upload_file(context, file)
                                                       : hash_file(file);
    if (!hash) return tl::make_unexpected(hash.error());
    return std::optional(*hash);
}

Result<std::string> make_spec(Context& context, TrainOptions& options, const Intake& intake) {
    if (!options.spec_file.empty()) {
        if (intake.seal != nullptr)
            return fail(ErrorCode::invalid_field,
                        "--encrypt seals the files it is given, and a --spec names blobs");
        TRY_ASSIGN(const auto text, read_small_file(options.spec_file, 64 * 1024));
        if (!text) return fail(ErrorCode::data_missing, "cannot read " + options.spec_file);
        return wire::canonicalise(*text);
    }
    TrainPlan& plan = options.plan;
    TRY_ASSIGN(plan.text, take_file(context, options.text_file, intake));
    TRY_ASSIGN(plan.jsonl, take_file(context, options.jsonl_file, intake));
    TRY_ASSIGN(plan.tokens, take_file(context, options.tokens_file, intake));
    TRY_ASSIGN(plan.image_tar, take_file(context, options.tar_file, intake));
    TRY_ASSIGN(plan.images, take_file(context, options.images_file, intake));
    TRY_ASSIGN(plan.labels, take_file(context, options.labels_file, intake));
    TRY_ASSIGN(plan.init, take_file(context, options.init_file, intake));
    if (intake.seal != nullptr) plan.sealed = intake.seal->salt();
    if ((plan.images || plan.labels) && plan.arch == "gpt") plan.arch = "cnn";
    if (plan.image_tar && plan.arch == "gpt") plan.arch = "resnet";
    plan.segment_steps = std::min(plan.segment_steps, plan.steps);
    return make_train_spec(plan);
}

void print_plan(Context& context, const TrainOptions& options, std::uint64_t steps) {
    if (context.json() || !options.spec_file.empty()) return;
    context.messages.line(fmt::format("Model       {} with {} parameters, {:.1f} GFLOP a step",
                                      options.plan.arch, parameter_count(options.plan),
                                      static_cast<double>(flops_per_step(options.plan)) / 1e9));
    context.messages.line(fmt::format("Work        {} steps, a checkpoint every {}", steps,
                                      options.plan.segment_steps));
}

Result<void> quote(Context& context, TrainOptions options) {
    const auto seal = options.encrypt ? std::optional(JobSeal::make()) : std::nullopt;
    TRY_ASSIGN(std::string spec,
               make_spec(context, options, {Blobs::kHashOnly, seal ? &*seal : nullptr}));
    TRY_ASSIGN(const SpecSummary summary, summarise(spec));
    TRY_ASSIGN(
        const BidTerms terms,
        training_terms(options.order, {options.max_price, options.max_amount}, summary.steps));
    print_plan(context, options, summary.steps);
    TRY_ASSIGN(const auto job, sign_job(context, std::move(spec), {terms}, options.order));
    TRY_ASSIGN(const QuoteAnswer answer, ask_quote(context, job));
    print_quote(context, answer, worst_case_atoms({terms}));
    if (context.json()) {
        nlohmann::json document = answer.document;
        document["worst_case"] = std::to_string(worst_case_atoms({terms}));
        context.print_json(document);
    }
    if (!answer.matches) return fail(ErrorCode::no_match, answer.why);
    return {};
}

Result<void> train(Context& context, TrainOptions options) {
    if (options.dry_run) return quote(context, std::move(options));
    const auto seal = options.encrypt ? std::optional(JobSeal::make()) : std::nullopt;
    TRY_ASSIGN(std::string spec,
               make_spec(context, options, {Blobs::kUpload, seal ? &*seal : nullptr}));
    TRY_ASSIGN(const SpecSummary summary, summarise(spec));
    if (summary.kind != "train")
        return fail(ErrorCode::job_spec_invalid, "the spec is not of kind \"train\"");
    TRY_ASSIGN(
        const BidTerms terms,
        training_terms(options.order, {options.max_price, options.max_amount}, summary.steps));
    print_plan(context, options, summary.steps);
    TRY_ASSIGN(const auto job, sign_job(context, std::move(spec), {terms}, options.order));
    if (!context.json() || !context.settings.yes) {
        TRY_ASSIGN(const QuoteAnswer answer, ask_quote(context, job));
        print_quote(context, answer, worst_case_atoms({terms}));
        TRY(context.confirm("Post the job?"));
    }
    if (seal) TRY(seal->keep(context, job.command.id.to_string()));
    TRY_ASSIGN(const std::string id, post_job(context, job));
    if (options.detach) {
        print_detached(context, id, worst_case_atoms({terms}));
        return {};
    }
    context.messages.line("Posted " + id);
    TRY(watch_job(context, id));
    TRY_ASSIGN(const JobCost cost, read_cost(context, id));
    if (context.json()) {
        context.print_json({{"id", id},
                            {"state", "completed"},
                            {"amount", std::to_string(cost.amount_atoms)},
                            {"receipts", cost.receipts}});
    } else {
        context.say(fmt::format("Done: {} receipts, {} tokens.\nNext: {}", cost.receipts,
                                tokens(cost.amount_atoms),
                                seal ? fmt::format("millrace jobs artifacts {} FILE", id)
                                     : "millrace publish --name NAME --job " + id));
    }
    return {};
}

template <typename Add>
void add_model_options(const Add& work, TrainPlan& plan) {
    work("--vocab", plan.vocab, "gpt on tokens: how many there are")->capture_default_str();
    work("--width", plan.width, "gpt, vit: width")->capture_default_str();
    work("--depth", plan.depth, "gpt, vit: layers; mlp: hidden layers")->capture_default_str();
    work("--heads", plan.heads, "gpt, vit: heads")->capture_default_str();
    work("--context", plan.context, "gpt: tokens seen")->capture_default_str();
    work("--classes", plan.classes, "images: classes")->capture_default_str();
    work("--colors", plan.colors, "images: 1 or 3")->capture_default_str();
    work("--image-height", plan.image_height, "images")->capture_default_str();
    work("--image-width", plan.image_width, "images")->capture_default_str();
    work("--channels", plan.channels, "cnn, resnet: channels")->capture_default_str();
    work("--stages", plan.stages, "resnet: stages, each half as large")->capture_default_str();
    work("--blocks", plan.blocks, "resnet: blocks a stage")->capture_default_str();
    work("--patch", plan.patch, "vit: pixels a side of a patch")->capture_default_str();
    work("--hidden", plan.hidden, "mlp: width of hidden layers")->capture_default_str();
}

/// What has a default at the worker and stays out of the spec when it is not given.
void add_loop_options(CLI::App& command, TrainPlan& plan) {
    const auto loop = [&](const char* name, auto& value, const char* text) {
        command.add_option(name, value, text)->group("Loop");
    };
    loop("--optimizer", plan.optimizer, "adamw (the default) or sgd");
    loop("--beta1", plan.beta1, "adamw: 0.9");
    loop("--beta2", plan.beta2, "adamw: 0.95");
    loop("--epsilon", plan.epsilon, "adamw: 0.00000001");
    loop("--momentum", plan.momentum, "sgd: 0");
    command.add_flag("--nesterov", plan.nesterov, "sgd: Nesterov's momentum")->group("Loop");
    loop("--schedule", plan.schedule, "After the warm-up: cosine (the default), linear, constant");
    loop("--min-rate-share", plan.min_rate_share, "Last rate as a share of the peak: 0.1");
    loop("--clip-norm", plan.clip_norm, "Largest gradient norm: 1; 0 for none");
    loop("--ranks", plan.ranks, "Processes that share a batch: 1");
    loop("--accumulate", plan.accumulate, "Pieces of a batch, one after another, for memory: 1");
    loop("--patience", plan.patience, "End when so many evaluations bring nothing better");
    loop("--min-delta", plan.min_delta, "What counts as better, in loss: 0");
}

void add_train_options(CLI::App& command, const std::shared_ptr<TrainOptions>& options) {
    TrainPlan& plan = options->plan;
    const auto work = [&](const char* name, auto& value, const char* text = "") {
        return command.add_option(name, value, text)->group("Work");
    };
    work("--spec", options->spec_file, "A job spec (JSON) instead of the options below");
    work("--text", options->text_file, "Text to train on: a file, or a blob's hash");
    work("--images", options->images_file, "IDX images: a file, or a blob's hash");
    work("--labels", options->labels_file, "IDX labels: a file, or a blob's hash");
    work("--init", options->init_file, "Weights to start from: a file, or a hash");
    work(
        "--jsonl", options->jsonl_file,
        "JSON lines to train on (text, or labelled images with another --arch): a file, or a hash");
    work("--field", plan.field, "jsonl: the field with the text")->capture_default_str();
    work("--tokens", options->tokens_file, "Tokens (.npy of uint16 or uint32) to train on");
    work("--image-tar", options->tar_file, "A tar of PNG, JPEG or PPM files, a folder per label");
    work("--arch", plan.arch, "gpt, cnn, resnet, vit or mlp")->capture_default_str();
    add_model_options(work, plan);
    work("--steps", plan.steps, "Training steps, at most with --patience")->capture_default_str();
    work("--segment-steps", plan.segment_steps, "Steps between checkpoints")->capture_default_str();
    work("--batch", plan.batch, "Samples a step")->capture_default_str();
    work("--learning-rate", plan.learning_rate, "Peak")->capture_default_str();
    work("--warmup-steps", plan.warmup_steps)->capture_default_str();
    work("--weight-decay", plan.weight_decay)->capture_default_str();
    work("--holdout-bp", plan.holdout_bp, "Held-out share in 1/10000")->capture_default_str();
    work("--eval-batches", plan.eval_batches)->capture_default_str();
    work("--seed", plan.seed)->capture_default_str();
    work("--precision", plan.precision, "fp32 or bf16")->capture_default_str();
    add_loop_options(command, plan);
    command.add_option("--max-price", options->max_price, "Most per step, in tokens")
        ->group("Money");
    command.add_option("--max-amount", options->max_amount, "Most for the whole job, in tokens")
        ->group("Money");
    command.add_flag("--encrypt", options->encrypt,
                     "Seal the files and the results: only you and the job's worker read them");
    add_order_options(command, options->order);
    add_training_options(command, options->order);
}

}  // namespace

void add_train_commands(CLI::App& app, const Choose& choose) {
    auto options = std::make_shared<TrainOptions>();
    CLI::App* ask = app.add_subcommand("quote", "What would this training cost, and why not less?");
    add_train_options(*ask, options);
    choose(ask, [options](Context& c) { return quote(c, *options); });
    CLI::App* run = app.add_subcommand("train", "Train a model; watches until it is done");
    add_train_options(*run, options);
    run->add_flag("--detach", options->detach, "Print the job's id and return");
    run->add_flag("--dry-run", options->dry_run, "Show what it would cost and stop");
    choose(run, [options](Context& c) { return train(c, *options); });
}

}  // namespace marketplace::cli
