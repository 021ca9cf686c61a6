// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/cli/blob.hpp"
#include "marketplace/cli/finetune_spec.hpp"
#include "marketplace/cli/job_order.hpp"
#include "marketplace/cli/job_seal.hpp"
#include "marketplace/cli/job_spec.hpp"
#include "marketplace/cli/model_files.hpp"
#include "marketplace/cli/watch.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>

namespace marketplace::cli {
namespace {

namespace fs = std::filesystem;
using ledger::base::ErrorCode;
using ledger::base::fail;
using nlohmann::json;

constexpr std::uint64_t kLineMax = std::uint64_t{1} << 20U;
constexpr std::uint64_t kHeaderMax = std::uint64_t{64} << 20U;

struct FinetuneOptions {
    FinetunePlan plan;
    OrderOptions order;
    Ceiling ceiling;
    std::string folder;
    std::string data_file;
    std::string validation_file;
    std::string out;
    std::string job;
    std::uint64_t epochs = 3;
    bool full = false;
    bool encrypt = false;
    bool detach = false;
    bool dry_run = false;
};

/// Lines that hold something. data_invalid names a line that is longer than a worker reads.
Result<std::uint64_t> count_examples(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    if (!in) return fail(ErrorCode::data_missing, "cannot read " + file);
    std::uint64_t lines = 1;
    std::uint64_t examples = 0;
    std::uint64_t length = 0;
    bool filled = false;
    std::array<char, 65536> piece{};
    const auto end_line = [&] {
        examples += filled ? 1 : 0;
        ++lines;
        length = 0;
        filled = false;
    };
    while (in.read(piece.data(), piece.size()), in.gcount() > 0) {
        for (std::streamsize i = 0; i < in.gcount(); ++i) {
            const char c = piece[static_cast<std::size_t>(i)];
            if (c == '\n') {
                end_line();
                continue;
            }
            filled = filled || (c != ' ' && c != '\t' && c != '\r');
            if (++length > kLineMax)
                return fail(ErrorCode::data_invalid,
                            fmt::format("{}: line {} is longer than 1 MiB", file, lines));
        }
    }
    end_line();
    if (examples == 0) return fail(ErrorCode::data_invalid, file + " has no examples");
    return examples;
}

Result<Hash32> take_file(Context& context, const fs::path& file, Blobs blobs) {
    return blobs == Blobs::kUpload ? upload_file(context, file) : hash_file(file);
}

/// The buyer's own data: sealed when the job is.
Result<Hash32> take_data(Context& context, const fs::path& file, Blobs blobs, const JobSeal* seal) {
    return seal != nullptr ? seal->take(context, file, blobs) : take_file(context, file, blobs);
}

/// What the options leave open, from the data and the model.
Result<void> complete(FinetuneOptions& options, const ModelShape& shape) {
    FinetunePlan& plan = options.plan;
    if (options.full) plan.rank = 0;
    if (plan.learning_rate.empty()) plan.learning_rate = plan.rank == 0 ? "0.00002" : "0.0002";
    plan.context = std::min(plan.context, shape.context);
    TRY_ASSIGN(const std::uint64_t examples, count_examples(options.data_file));
    if (!options.validation_file.empty()) TRY(count_examples(options.validation_file));
    plan.batch = std::min(plan.batch, examples);
    if (plan.steps == 0) {
        if (plan.packed)
            return fail(ErrorCode::invalid_field,
                        "--packed rows have no known number: give --steps instead of --epochs");
        plan.steps =
            std::max<std::uint64_t>(1, (examples * options.epochs + plan.batch - 1) / plan.batch);
    }
    if (plan.segment_steps == 0) plan.segment_steps = std::max<std::uint64_t>(1, plan.steps / 10);
    plan.segment_steps = std::min(plan.segment_steps, plan.steps);
    plan.warmup_steps = std::min(plan.warmup_steps, plan.steps);
    return {};
}

Result<std::string> make_spec(Context& context, FinetuneOptions& options, Blobs blobs,
                              const JobSeal* seal) {
    const fs::path folder = options.folder;
    TRY_ASSIGN(const auto names, list_model_files(folder));
    TRY_ASSIGN(const auto config, read_small_file(folder / "config.json", 1U << 20U));
    if (!config) return fail(ErrorCode::data_missing, "cannot read config.json");
    TRY_ASSIGN(const ModelShape shape, read_model_shape(*config));
    TRY(complete(options, shape));
    TRY(make_finetune_spec(options.plan, shape));  // before anything is sent
    for (const std::string& name : names) {
        TRY_ASSIGN(options.plan.files[name], take_file(context, folder / name, blobs));
    }
    if (seal != nullptr) options.plan.sealed = seal->salt();
    TRY_ASSIGN(options.plan.data, take_data(context, options.data_file, blobs, seal));
    if (!options.validation_file.empty()) {
        TRY_ASSIGN(options.plan.validation,
                   take_data(context, options.validation_file, blobs, seal));
    }
    TRY_ASSIGN(const std::uint64_t flops, flops_per_step(options.plan, shape));
    if (!context.json())
        context.messages.line(
            fmt::format("Work        {} steps of {} examples, {:.1f} GFLOP a step",
                        options.plan.steps, options.plan.batch, static_cast<double>(flops) / 1e9));
    return make_finetune_spec(options.plan, shape);
}

/// The metadata in the header of a safetensors file.
Result<json> read_metadata(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::array<char, 8> size{};
    if (!in.read(size.data(), size.size()))
        return fail(ErrorCode::data_invalid, "the result is no safetensors file");
    std::uint64_t length = 0;  // little endian, as is every machine this runs on
    std::memcpy(&length, size.data(), size.size());
    if (length > kHeaderMax)
        return fail(ErrorCode::data_invalid, "the result's header is too long");
    std::string header(length, '\0');
    if (!in.read(header.data(), static_cast<std::streamsize>(length)))
        return fail(ErrorCode::data_invalid, "the result's header is cut off");
    const json parsed = json::parse(header, nullptr, false);
    if (!parsed.is_object()) return fail(ErrorCode::data_invalid, "the result's header is no JSON");
    return parsed.value("__metadata__", json::object());
}

Result<void> write_adapter_config(const fs::path& out) {
    TRY_ASSIGN(const json metadata, read_metadata(out / "adapter_model.safetensors"));
    TRY_ASSIGN(const std::string text, ledger::rpc::string_at(metadata, "adapter_config"));
    std::ofstream file(out / "adapter_config.json", std::ios::binary);
    file << text << '\n';
    if (!file.flush()) return fail(ErrorCode::io_error, "cannot write adapter_config.json");
    return {};
}

/// Puts a finished job's result into a folder: the model's small files with new weights, ready to
/// publish, or PEFT's two files.
Result<void> fetch_result(Context& context, const FinetuneOptions& options,
                          const std::string& job) {
    const fs::path folder = options.folder;
    const fs::path out = options.out;
    TRY_ASSIGN(const json document, context.market().get("/v1/jobs/" + job, Auth::kNone));
    if (document.value("state", "") != "completed")
        return fail(ErrorCode::wrong_state, "the job is not completed: it has no result yet");
    TRY_ASSIGN(const std::string checkpoint, ledger::rpc::string_at(document, "checkpoint"));
    TRY_ASSIGN(const Hash32 hash, ledger::base::parse_fixed<Hash32>(checkpoint));
    TRY_ASSIGN(const std::string text,
               context.market().get_text("/v1/jobs/" + job + "/spec", Auth::kSession));
    TRY_ASSIGN(const json spec, ledger::rpc::parse_json(text));
    if (spec.value("kind", "") != "finetune")
        return fail(ErrorCode::wrong_state, "the job is no fine-tuning");
    std::error_code error;
    fs::create_directories(out, error);
    if (error) return fail(ErrorCode::io_error, "cannot make " + out.string());
    if (spec.value("result", "") == "adapter") {
        TRY(fetch_artifact(context, job, hash, out / "adapter_model.safetensors"));
        return write_adapter_config(out);
    }
    TRY_ASSIGN(const auto names, list_model_files(folder));
    for (const std::string& name : names) {
        if (name.find(".safetensors") != std::string::npos) continue;
        fs::copy_file(folder / name, out / name, fs::copy_options::overwrite_existing, error);
        if (error) return fail(ErrorCode::io_error, "cannot copy " + name);
    }
    return fetch_artifact(context, job, hash, out / "model.safetensors");
}

Result<void> check_options(const FinetuneOptions& options) {
    if (options.folder.empty())
        return fail(ErrorCode::missing_field, "give the model's folder: --folder DIR");
    std::error_code error;
    if (!options.out.empty() && fs::equivalent(options.out, options.folder, error))
        return fail(ErrorCode::invalid_field, "--out must not be the model's own folder");
    if (!options.job.empty() && options.out.empty())
        return fail(ErrorCode::missing_field, "give --out DIR for the result");
    if (options.job.empty() && options.data_file.empty())
        return fail(ErrorCode::missing_field, "give examples to learn: --data FILE.jsonl");
    return {};
}

Result<void> say_result(Context& context, const FinetuneOptions& options, const std::string& id) {
    if (!options.out.empty()) TRY(fetch_result(context, options, id));
    TRY_ASSIGN(const JobCost cost, read_cost(context, id));
    if (context.json()) {
        context.print_json({{"id", id},
                            {"state", "completed"},
                            {"folder", options.out},
                            {"amount", std::to_string(cost.amount_atoms)},
                            {"receipts", cost.receipts}});
        return {};
    }
    const std::string next =
        options.out.empty()
            ? fmt::format("millrace finetune --job {} --folder {} --out DIR", id, options.folder)
        : options.plan.adapter ? "load " + options.out + " with PEFT"
                               : "millrace publish NAME --folder " + options.out;
    context.say(fmt::format("Done: {} receipts, {} tokens.\nNext: {}", cost.receipts,
                            tokens(cost.amount_atoms), next));
    return {};
}

Result<void> finetune(Context& context, FinetuneOptions options) {
    TRY(check_options(options));
    if (!options.job.empty()) return say_result(context, options, options.job);
    const Blobs blobs = options.dry_run ? Blobs::kHashOnly : Blobs::kUpload;
    const auto seal = options.encrypt ? std::optional(JobSeal::make()) : std::nullopt;
    TRY_ASSIGN(std::string spec, make_spec(context, options, blobs, seal ? &*seal : nullptr));
    TRY_ASSIGN(const BidTerms terms,
               training_terms(options.order, options.ceiling, options.plan.steps));
    TRY_ASSIGN(const auto job, sign_job(context, std::move(spec), {terms}, options.order));
    const std::uint64_t worst = worst_case_atoms({terms});
    if (options.dry_run || !context.json() || !context.settings.yes) {
        TRY_ASSIGN(const QuoteAnswer answer, ask_quote(context, job));
        print_quote(context, answer, worst);
        if (options.dry_run && context.json()) {
            json document = answer.document;
            document["worst_case"] = std::to_string(worst);
            context.print_json(document);
        }
        if (options.dry_run && !answer.matches) return fail(ErrorCode::no_match, answer.why);
        if (options.dry_run) return {};
        TRY(context.confirm("Post the job?"));
    }
    if (seal) TRY(seal->keep(context, job.command.id.to_string()));
    TRY_ASSIGN(const std::string id, post_job(context, job));
    if (options.detach) {
        print_detached(context, id, worst);
        return {};
    }
    context.messages.line("Posted " + id);
    TRY(watch_job(context, id));
    return say_result(context, options, id);
}

}  // namespace

void add_finetune_commands(CLI::App& app, const Choose& choose) {
    auto options = std::make_shared<FinetuneOptions>();
    CLI::App* run = app.add_subcommand(
        "finetune", "Train a published model's folder on with your examples; gives a folder");
    FinetunePlan& plan = options->plan;
    const auto work = [&](const char* name, auto& value, const char* text) {
        return run->add_option(name, value, text)->group("Work");
    };
    work("--folder", options->folder, "The model: a folder as model hubs publish them");
    work("--data", options->data_file,
         "Examples, one JSON object a line: messages, or prompt and completion, or text");
    work("--validation", options->validation_file, "Examples to judge by, of the same form");
    work("--out", options->out, "Folder for the result");
    work("--job", options->job, "Only fetch the result of this finished job");
    work("--lora", plan.rank, "Rank of the adapters")->capture_default_str();
    work("--alpha", plan.alpha, "Their scale; twice the rank if not given");
    work("--targets", plan.targets, "Some of q,k,v,o,gate,up,down; all if not given")
        ->delimiter(',');
    run->add_flag("--full", options->full, "Train every weight instead")->group("Work");
    run->add_flag("--adapter", plan.adapter, "The result is the adapter alone, as PEFT has it")
        ->group("Work");
    run->add_flag("--packed", plan.packed, "Several examples in a row; needs --steps")
        ->group("Work");
    work("--context", plan.context, "Tokens of an example, at most")->capture_default_str();
    work("--epochs", options->epochs, "Times that each example is seen")->capture_default_str();
    work("--steps", plan.steps, "Steps instead of epochs");
    work("--segment-steps", plan.segment_steps, "Steps between checkpoints; a tenth if not given");
    work("--batch", plan.batch, "Examples a step")->capture_default_str();
    work("--learning-rate", plan.learning_rate, "Peak; 0.0002, or 0.00002 with --full");
    work("--warmup-steps", plan.warmup_steps, "Steps until the peak")->capture_default_str();
    work("--weight-decay", plan.weight_decay, "Of matrices")->capture_default_str();
    work("--eval-batches", plan.eval_batches, "Most that a validation takes")
        ->capture_default_str();
    work("--seed", plan.seed, "Of the order and the adapters")->capture_default_str();
    work("--precision", plan.precision, "fp32 or bf16")->capture_default_str();
    run->add_option("--max-price", options->ceiling.max_price, "Most per step, in tokens")
        ->group("Money");
    run->add_option("--max-amount", options->ceiling.max_amount,
                    "Most for the whole job, in tokens")
        ->group("Money");
    add_order_options(*run, options->order);
    add_training_options(*run, options->order);
    run->add_flag("--encrypt", options->encrypt,
                  "Seal the examples and the results: only you and the job's worker read them");
    run->add_flag("--detach", options->detach, "Print the job's id and return");
    run->add_flag("--dry-run", options->dry_run, "Show what it would cost and stop");
    choose(run, [options](Context& c) { return finetune(c, *options); });
}

}  // namespace marketplace::cli
