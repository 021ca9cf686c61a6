// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/webhook_commands.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>
#include <vector>

namespace marketplace::cli {
namespace {

using nlohmann::json;

struct WebhookOptions {
    std::string id;
    std::string url;
    std::vector<std::string> events;
    std::string delivery;
    Result<void> (*run)(Context&, const WebhookOptions&) = nullptr;  ///< of the subcommand
};

std::string path_of(const WebhookOptions& options, const std::string& rest = {}) {
    return "/v1/webhooks/" + options.id + rest;
}

/// What a member holds as text; "-" for null.
std::string text_of(const json& object, const char* name) {
    const auto found = object.find(name);
    if (found == object.end() || found->is_null()) return "-";
    return printable(found->is_string() ? found->get<std::string>() : found->dump());
}

Result<void> list(Context& context) {
    TRY_ASSIGN(const json page, context.market().get("/v1/webhooks", Auth::kSession));
    if (context.json()) {
        context.print_json(page);
        return {};
    }
    Table table({{"webhook"}, {"state"}, {"events"}, {"url"}});
    for (const json& hook : page.value("data", json::array()))
        table.row({text_of(hook, "id"),
                   hook.value("enabled", false) ? "enabled" : text_of(hook, "disabled_reason"),
                   text_of(hook, "events"), text_of(hook, "url")});
    if (table.empty())
        context.say("You have no webhooks. Next: millrace webhooks add URL");
    else
        table.print(context.out);
    return {};
}

/// The JSON of an answer, or a line for people about it.
Result<void> tell(Context& context, const Result<json>& answer, const std::string& line) {
    if (!answer) return tl::make_unexpected(answer.error());
    if (context.json())
        context.print_json(*answer);
    else
        context.say(line);
    return {};
}

Result<void> tell_secret(Context& context, const Result<json>& answer, const std::string& what) {
    if (!answer) return tl::make_unexpected(answer.error());
    return tell(context, answer,
                fmt::format("{} {}\nSecret, shown this once: {}\nReceivers verify with any "
                            "Standard Webhooks library.",
                            what, text_of(*answer, "id"), text_of(*answer, "secret")));
}

Result<void> add(Context& context, const WebhookOptions& options) {
    json body = {{"url", options.url}};
    if (!options.events.empty()) body["events"] = options.events;
    return tell_secret(context, context.market().post("/v1/webhooks", body, Auth::kSession),
                       "Made webhook");
}

Result<void> rotate(Context& context, const WebhookOptions& options) {
    const std::string target = path_of(options, "/rotate");
    return tell_secret(context, context.market().post(target, json::object(), Auth::kSession),
                       "The secret before signs besides for a day. Webhook");
}

Result<void> remove(Context& context, const WebhookOptions& options) {
    return tell(context, context.market().del(path_of(options), Auth::kSession),
                "Removed, with its delivery log");
}

Result<void> test(Context& context, const WebhookOptions& options) {
    const std::string target = path_of(options, "/test");
    return tell(context, context.market().post(target, json::object(), Auth::kSession),
                "A test event is on its way. How it went: millrace webhooks deliveries " +
                    printable(options.id));
}

Result<void> redeliver(Context& context, const WebhookOptions& options) {
    const std::string target = path_of(options, "/deliveries/" + options.delivery + "/redeliver");
    return tell(context, context.market().post(target, json::object(), Auth::kSession),
                "It is on its way again, under the same id");
}

Result<void> deliveries(Context& context, const WebhookOptions& options) {
    const std::string target = path_of(options, "/deliveries?limit=100");
    TRY_ASSIGN(const json page, context.market().get(target, Auth::kSession));
    if (context.json()) {
        context.print_json(page);
        return {};
    }
    Table table({{"delivery"},
                 {"event"},
                 {"state"},
                 {"tries", Table::Align::kRight},
                 {"status", Table::Align::kRight},
                 {"failure"}});
    for (const json& one : page.value("data", json::array()))
        table.row({text_of(one, "id"), text_of(one, "type"), text_of(one, "state"),
                   text_of(one, "attempts"), text_of(one, "last_status"),
                   text_of(one, "last_failure")});
    if (table.empty())
        context.say("Nothing was sent yet. Next: millrace webhooks test " + printable(options.id));
    else
        table.print(context.out);
    return {};
}

}  // namespace

void add_webhook_commands(CLI::App& app, const Choose& choose) {
    auto options = std::make_shared<WebhookOptions>();
    CLI::App* hooks = app.add_subcommand("webhooks", "URLs that are told of your account's events");
    hooks->require_subcommand(0, 1);
    // CLI11 calls back the subcommand first, then its parent.
    choose(hooks, [options](Context& c) {
        return options->run == nullptr ? list(c) : options->run(c, *options);
    });
    const auto command = [&](const char* name, const char* text, auto run) {
        CLI::App* out = hooks->add_subcommand(name, text);
        out->fallthrough();
        out->callback([options, run] { options->run = run; });
        return out;
    };
    CLI::App* made = command("add", "Have events sent to a URL", add);
    made->add_option("URL", options->url, "https://…")->required();
    made->add_option("--event", options->events,
                     "Kind of event or group of them (job.*); several times; default: all");
    const auto names_one = [&](CLI::App* one) {
        one->add_option("WEBHOOK", options->id, "whk_…")->required();
        return one;
    };
    names_one(command("remove", "Remove it with its delivery log", remove));
    names_one(command("rotate", "Make a new secret", rotate));
    names_one(command("test", "Send a test event", test));
    names_one(command("deliveries", "What was sent and how it went", deliveries));
    names_one(command("redeliver", "Send a delivery again", redeliver))
        ->add_option("DELIVERY", options->delivery, "msg_…")
        ->required();
}

}  // namespace marketplace::cli
