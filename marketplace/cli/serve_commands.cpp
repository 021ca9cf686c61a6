// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/checked.hpp"
#include "ledger/base/clock.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/rpc/json.hpp"
#include "ledger/rpc/poll.hpp"
#include "marketplace/cli/blob.hpp"
#include "marketplace/cli/job_order.hpp"
#include "marketplace/cli/job_spec.hpp"
#include "marketplace/cli/model_files.hpp"
#include "marketplace/cli/watch.hpp"
#include "marketplace/wire/document.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using ledger::eth::UnitKind;
using nlohmann::json;

struct ServeOptions {
    OrderOptions order;
    std::string name;
    std::string job;
    std::string weights;
    std::string train_spec;
    std::string folder;
    std::string spec_file;
    std::string max_amount;
    std::string max_price_input = "1";
    std::string max_price_output = "1";
    std::uint64_t timeout_s = 120;
    bool detach = false;
    bool is_public = false;
};

struct ChatOptions {
    std::string model;
    std::string prompt;
    std::string api_key_file;
    std::string temperature;  ///< empty: as the model's publisher advises
    std::uint64_t max_tokens = 128;
    std::uint64_t seed = 0;
    bool no_stream = false;
};

/// Where the serve spec of a model that was published from here is kept.
std::filesystem::path spec_path(const Context& context, const std::string& name) {
    return context.settings.data / "models" / (name + ".json");
}

Result<void> check_name(const std::string& name) {
    const bool plain = !name.empty() && name.size() <= 64 && name.front() != '.' &&
                       name.find_first_not_of(
                           "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                           "0123456789-_.") == std::string::npos;
    if (plain) return {};
    return fail(ErrorCode::invalid_field,
                "a model's name has 1 to 64 letters, digits, dots, dashes and underscores");
}

/// Uploads what serving needs of a folder; what the market has is not sent again.
Result<std::string> publish_folder(Context& context, const ServeOptions& options) {
    if (!options.job.empty() || !options.train_spec.empty())
        return fail(ErrorCode::invalid_field, "--folder stands alone, without --job, --train-spec");
    const std::filesystem::path folder = options.folder;
    const std::string format = options.weights.empty() ? "bf16" : options.weights;
    TRY(make_folder_spec({}, format, options.name));  // before anything is sent
    TRY_ASSIGN(const auto names, list_model_files(folder));
    std::error_code error;
    if (std::filesystem::exists(folder / "chat_template.jinja", error) && !context.json())
        context.messages.line(
            "chat_template.jinja is not read: put it into tokenizer_config.json as chat_template");
    std::map<std::string, Hash32> files;
    for (const std::string& name : names) {
        if (!context.json()) context.messages.line(name);
        TRY_ASSIGN(files[name], upload_file(context, folder / name));
    }
    return make_folder_spec(files, format, options.name);
}

/// Train spec and weights of a finished job, or as given.
Result<std::string> make_published_spec(Context& context, const ServeOptions& options) {
    std::string train_spec;
    std::string weights = options.weights;
    if (!options.job.empty()) {
        TRY_ASSIGN(const json job, context.market().get("/v1/jobs/" + options.job, Auth::kNone));
        TRY_ASSIGN(train_spec,
                   context.market().get_text("/v1/jobs/" + options.job + "/spec", Auth::kSession));
        if (weights.empty()) {
            if (!job.contains("checkpoint") || !job["checkpoint"].is_string())
                return fail(ErrorCode::wrong_state, "the job has no checkpoint to publish yet");
            weights = job["checkpoint"].get<std::string>();
        }
    } else if (!options.train_spec.empty()) {
        TRY_ASSIGN(const auto text, read_small_file(options.train_spec, 64 * 1024));
        if (!text) return fail(ErrorCode::data_missing, "cannot read " + options.train_spec);
        train_spec = *text;
    } else {
        return fail(ErrorCode::missing_field,
                    "give --folder DIR, --job JOB, or --weights HASH with --train-spec FILE");
    }
    TRY_ASSIGN(const Hash32 hash, ledger::base::parse_fixed<Hash32>(weights));
    return make_serve_spec(train_spec, hash, options.name);
}

/// Lists the model and keeps its serve spec here.
Result<json> list_model(Context& context, const ServeOptions& options) {
    TRY(check_name(options.name));
    TRY_ASSIGN(const std::string spec, options.folder.empty()
                                           ? make_published_spec(context, options)
                                           : publish_folder(context, options));
    json body{{"spec", spec}};
    if (options.is_public) body["public"] = true;
    TRY_ASSIGN(json model, context.market().post("/v1/models", body, Auth::kSession));
    TRY(write_private_file(spec_path(context, options.name), spec));
    return model;
}

Result<void> publish(Context& context, const ServeOptions& options) {
    TRY_ASSIGN(const json model, list_model(context, options));
    if (context.json()) {
        context.print_json(model);
    } else {
        context.say(fmt::format("Published {}\nNext: millrace serve {} --max-amount TOKENS",
                                options.name, options.name));
    }
    return {};
}

/// Waits for the job's leases to run: then a worker has the model loaded.
Result<void> wait_until_served(Context& context, const std::string& job, std::uint64_t timeout_s) {
    json document;
    std::string state;
    const auto look = [&]() -> Result<bool> {
        TRY_ASSIGN(document, context.market().get("/v1/jobs/" + job, Auth::kNone));
        const std::string now = document.value("state", "");
        if (now == "running") return true;
        if (document.value("final", false))
            return fail(ErrorCode::worker_failed,
                        fmt::format("job {} ended as {} {}", job, now,
                                    printable(document.value("reason", ""))));
        if (now != state && !context.json()) context.messages.line(now);
        state = now;
        return false;
    };
    ledger::rpc::PollOptions patience;
    patience.timeout = std::chrono::seconds(timeout_s);
    TRY_ASSIGN(const bool served, ledger::rpc::poll_until(patience, look));
    if (served) return {};
    std::string why = "it is still " + state;
    if (document.contains("mismatches") && document["mismatches"].is_object())
        why = printable(document["mismatches"].value("text", why));
    return fail(
        ErrorCode::no_capacity,
        fmt::format("no worker serves it yet: {}; the offer stands, see `millrace jobs show {}`",
                    why, job));
}

/// Half the money for what is read, half for what is written, as far as the ceilings go.
Result<std::vector<BidTerms>> serve_bids(const ServeOptions& options) {
    TRY_ASSIGN(const std::uint64_t total, parse_amount(options.max_amount, "--max-amount"));
    std::vector<BidTerms> bids(2);
    bids[0].unit_kind = UnitKind::kInputToken;
    bids[1].unit_kind = UnitKind::kOutputToken;
    TRY_ASSIGN(bids[0].price_ceiling_atoms,
               parse_amount(options.max_price_input, "--max-price-input"));
    TRY_ASSIGN(bids[1].price_ceiling_atoms,
               parse_amount(options.max_price_output, "--max-price-output"));
    for (BidTerms& bid : bids) {
        bid.order_class = ledger::eth::OrderClass::kStanding;
        bid.max_amount_atoms = total / 2;
        const auto units = ledger::base::mul_div_down(
            bid.max_amount_atoms, ledger::eth::unit_scale(bid.unit_kind), bid.price_ceiling_atoms);
        if (!units || *units == 0)
            return fail(ErrorCode::invalid_quantity, "--max-amount buys no token at these prices");
        bid.volume_units = *units;
    }
    return bids;
}

/// What another account published for everybody. The bids sign its hash, so the buyer is told whose
/// it is, and it must be a spec for serving a model of that name.
Result<std::string> fetch_public_spec(Context& context, const std::string& name) {
    TRY(check_name(name));
    TRY_ASSIGN(const json model, context.market().get("/v1/models/" + name, Auth::kNone));
    if (!model.value("public", false))
        return fail(ErrorCode::unknown_model,
                    fmt::format("{} was not published from here, and its publisher keeps its spec "
                                "private; give it with --spec",
                                name));
    TRY_ASSIGN(const std::string spec,
               context.market().get_text("/v1/models/" + name + "/spec", Auth::kNone));
    TRY_ASSIGN(const wire::JobSpec parsed, wire::parse_job_spec(spec));
    if (parsed.kind != domain::JobKind::kServe || parsed.model_name != name)
        return fail(ErrorCode::job_spec_invalid,
                    fmt::format("the market's spec of {} is of something else", name));
    if (!context.json())
        context.messages.line(fmt::format("{} is published by {}; its spec is {}", name,
                                          printable(model.value("owned_by", "?")),
                                          to_hex(wire::document_hash(spec))));
    return spec;
}

/// The serve spec: from the file named, as published from here, or as published for everybody.
Result<std::string> read_serve_spec(Context& context, const ServeOptions& options) {
    const std::filesystem::path file = options.spec_file.empty()
                                           ? spec_path(context, options.name)
                                           : std::filesystem::path(options.spec_file);
    TRY_ASSIGN(const auto text, read_small_file(file, 64 * 1024));
    if (text) return wire::canonicalise(*text);
    if (options.spec_file.empty()) return fetch_public_spec(context, options.name);
    return fail(ErrorCode::data_missing, "cannot read " + options.spec_file);
}

Result<void> serve(Context& context, const ServeOptions& options) {
    if (!options.folder.empty() || !options.job.empty()) TRY(list_model(context, options));
    TRY_ASSIGN(std::string spec, read_serve_spec(context, options));
    TRY_ASSIGN(const auto bids, serve_bids(options));
    TRY_ASSIGN(const auto job, sign_job(context, std::move(spec), bids, options.order));
    if (context.settings.dry_run || !context.json() || !context.settings.yes) {
        TRY_ASSIGN(const QuoteAnswer answer, ask_quote(context, job));
        print_quote(context, answer, worst_case_atoms(bids));
        if (context.settings.dry_run && context.json())
            context.print_json({{"matches", answer.matches},
                                {"worst_case", std::to_string(worst_case_atoms(bids))},
                                {"quote", answer.document}});
        TRY(context.confirm("Open the serving leases?"));
    }
    TRY_ASSIGN(const std::string id, post_job(context, job));
    if (!options.detach) TRY(wait_until_served(context, id, options.timeout_s));
    if (context.json()) {
        context.print_json({{"id", id},
                            {"model", options.name},
                            {"state", options.detach ? "open" : "running"},
                            {"worst_case", std::to_string(worst_case_atoms(bids))}});
    } else {
        context.say(fmt::format("{} {} as {}\nNext: millrace chat {} \"Call me\"",
                                options.detach ? "Offered" : "Serving", options.name, id,
                                options.name));
    }
    return {};
}

Result<std::string> read_api_key(const Context& /*context*/, const ChatOptions& options) {
    if (!options.api_key_file.empty()) {
        TRY_ASSIGN(const auto text, read_small_file(options.api_key_file, 4096));
        if (!text) return fail(ErrorCode::data_missing, "cannot read " + options.api_key_file);
        return text->substr(0, text->find_first_of("\r\n"));
    }
    return system_environment("MILLRACE_API_KEY");  // empty: the wallet's session
}

double decimal(const std::string& text) {
    return std::strtod(text.c_str(), nullptr);
}

/// What one stream of completion chunks said.
struct Streamed {
    std::string text;
    std::string finish_reason;
    json usage;
    std::optional<ledger::base::Error> error;
};

bool take_chunk(const ServerEvent& event, Streamed& out, Context& context, bool chat) {
    if (event.data == "[DONE]") return false;
    const auto chunk = ledger::rpc::parse_json(event.data);
    if (!chunk || !chunk->is_object()) return true;
    if (chunk->contains("error")) {
        const json& error = (*chunk)["error"];
        const auto code = ledger::base::parse_error_code(
            ledger::rpc::string_at(error, "code").value_or("worker_failed"));
        out.error.emplace(code.value_or(ErrorCode::worker_failed),
                          printable(ledger::rpc::string_at(error, "message").value_or("")));
        return false;
    }
    if (chunk->contains("usage") && (*chunk)["usage"].is_object()) out.usage = (*chunk)["usage"];
    for (const json& choice : chunk->value("choices", json::array())) {
        std::string piece;
        if (chat && choice.contains("delta")) {
            const json& delta = choice["delta"];
            if (delta.contains("content") && delta["content"].is_string())
                piece = delta["content"].get<std::string>();
        } else if (!chat && choice.contains("text") && choice["text"].is_string()) {
            piece = choice["text"].get<std::string>();
        }
        out.text += piece;
        // Tokens of a model are a stranger's text: line ends stay, control characters do not.
        if (!context.json()) {
            std::string safe;
            for (std::size_t at = 0; at <= piece.size();) {
                const auto end = std::min(piece.find('\n', at), piece.size());
                safe += printable(piece.substr(at, end - at));
                if (end < piece.size()) safe += '\n';
                at = end + 1;
            }
            context.out.write(safe);
        }
        if (choice.contains("finish_reason") && choice["finish_reason"].is_string())
            out.finish_reason = choice["finish_reason"].get<std::string>();
    }
    return true;
}

Result<void> complete(Context& context, const ChatOptions& options, bool chat) {
    TRY_ASSIGN(const std::string key, read_api_key(context, options));
    json body{{"model", options.model},
              {"max_tokens", options.max_tokens},
              {"stream", true},
              {"stream_options", {{"include_usage", true}}}};
    if (!options.temperature.empty()) body["temperature"] = decimal(options.temperature);
    if (options.seed > 0) body["seed"] = options.seed;
    if (chat) {
        body["messages"] = json::array({{{"role", "user"}, {"content", options.prompt}}});
    } else {
        body["prompt"] = options.prompt;
    }
    const auto began = std::chrono::steady_clock::now();
    Streamed out;
    TRY(context.market().stream(
        "POST", chat ? "/v1/chat/completions" : "/v1/completions", body, key,
        [&](const ServerEvent& event) { return take_chunk(event, out, context, chat); }));
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                        std::chrono::steady_clock::now() - began)
                        .count();
    if (out.error) return tl::make_unexpected(*out.error);
    if (context.json()) {
        context.print_json({{"model", options.model},
                            {"text", out.text},
                            {"finish_reason", out.finish_reason},
                            {"usage", out.usage},
                            {"milliseconds", ms}});
        return {};
    }
    context.out.write("\n");
    if (out.usage.is_object())
        context.messages.line(context.messages.paint(
            Paint::kDim,
            fmt::format("{} tokens in, {} out, {} s", out.usage.value("prompt_tokens", 0),
                        out.usage.value("completion_tokens", 0), static_cast<double>(ms) / 1000)));
    return {};
}

Result<void> models(Context& context) {
    TRY_ASSIGN(const json list, context.market().get("/v1/models", Auth::kNone));
    if (context.json()) {
        context.print_json(list);
        return {};
    }
    Table table({{"model"}, {"owner"}, {"public"}, {"context", Table::Align::kRight}});
    for (const json& model : list.value("data", json::array()))
        table.row({model.value("id", ""), model.value("owned_by", ""),
                   model.value("public", false) ? "yes" : "no",
                   std::to_string(model.value("context_length", 0))});
    if (table.empty())
        context.say("No models yet. Next: millrace publish --help");
    else
        table.print(context.out);
    return {};
}

void add_chat(CLI::App& app, const Choose& choose, const char* name, const char* text, bool chat) {
    auto options = std::make_shared<ChatOptions>();
    CLI::App* command = app.add_subcommand(name, text);
    command->add_option("MODEL", options->model)->required();
    command->add_option("PROMPT", options->prompt)->required();
    command->add_option("--max-tokens", options->max_tokens)->capture_default_str();
    command->add_option("--temperature", options->temperature,
                        "0 to 2 (default: as the model's publisher advises, else 1)");
    command->add_option("--seed", options->seed, "Same seed, same text");
    command->add_option("--api-key-file", options->api_key_file,
                        "Use a key (or set MILLRACE_API_KEY) instead of the wallet");
    choose(command, [options, chat](Context& c) { return complete(c, *options, chat); });
}

}  // namespace

void add_serve_commands(CLI::App& app, const Choose& choose) {
    auto options = std::make_shared<ServeOptions>();
    CLI::App* give = app.add_subcommand("publish", "List a model under a name");
    give->add_option("NAME,--name", options->name)->required();
    give->add_option("--folder", options->folder,
                     "A model as hubs publish them: config.json, tokenizer, safetensors");
    give->add_option("--job", options->job, "The training job whose result it is");
    give->add_option(
        "--weights", options->weights,
        "Weights blob (default: the job's last); with --folder fp32, bf16, int8 or int4");
    give->add_option("--train-spec", options->train_spec, "Job spec with the model's shape");
    give->add_flag("--public", options->is_public,
                   "Anybody may read its spec and files, and serve it by its name");
    choose(give, [options](Context& c) { return publish(c, *options); });
    CLI::App* open = app.add_subcommand("serve", "Pay a worker to keep a model loaded");
    open->add_option("MODEL", options->name)->required();
    open->add_option("--max-amount", options->max_amount, "Most for all tokens, in tokens")
        ->required();
    open->add_option("--max-price-input", options->max_price_input, "Most per million tokens read")
        ->capture_default_str();
    open->add_option("--max-price-output", options->max_price_output,
                     "Most per million tokens written")
        ->capture_default_str();
    open->add_option("--spec", options->spec_file,
                     "Serve spec of a model that is not public and was published elsewhere");
    open->add_option("--folder", options->folder, "Publish this folder first, as `publish` does");
    open->add_option("--job", options->job, "Publish what this job trained first");
    open->add_option("--weights", options->weights,
                     "With --folder: fp32, bf16, int8 or int4; with --job: a weights blob");
    open->add_option("--wait", options->timeout_s, "Seconds to wait for a worker")
        ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{86'400}))
        ->capture_default_str();
    open->add_flag("--detach", options->detach, "Do not wait");
    add_order_options(*open, options->order);
    choose(open, [options](Context& c) { return serve(c, *options); });
    choose(app.add_subcommand("models", "Published models"), models);
    add_chat(app, choose, "chat", "Ask a served model (chat format)", true);
    add_chat(app, choose, "infer", "Let a served model go on with a text", false);
}

}  // namespace marketplace::cli
