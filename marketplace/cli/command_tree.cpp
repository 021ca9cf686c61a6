// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/command_tree.hpp"

#include <CLI/CLI.hpp>

namespace marketplace::cli {
namespace {

/// The a, b, c of a type's name that ends in "{a,b,c}".
std::vector<std::string> choices_of(const std::string& type) {
    std::vector<std::string> out;
    const auto open = type.find('{');
    if (open == std::string::npos || !type.ends_with('}')) return out;
    std::string word;
    for (const char c : type.substr(open + 1)) {
        if (c == ',' || c == '}') {
            out.push_back(std::move(word));
            word.clear();
        } else {
            word.push_back(c);
        }
    }
    return out;
}

OptionFacts facts_of(const CLI::Option& option) {
    OptionFacts out;
    out.is_positional = option.get_positional() && option.get_lnames().empty();
    if (out.is_positional) {
        out.names.push_back(option.get_name(true));
    } else {
        for (const std::string& name : option.get_lnames())
            out.names.push_back("--" + name);
        for (const std::string& name : option.get_snames())
            out.names.push_back("-" + name);
    }
    const std::string type = option.get_type_name();
    const bool takes_value = option.get_items_expected_max() > 0;
    if (takes_value) {
        out.choices = choices_of(type);
        out.value = type.substr(0, type.find_first_of(":{ "));
        if (out.value.empty()) out.value = "VALUE";
        out.preset = option.get_default_str();
    }
    out.text = option.get_description();
    out.is_required = option.get_required();
    out.is_repeated = takes_value && option.get_items_expected_max() > 1;
    return out;
}

CommandFacts facts_of(const CLI::App& app, std::vector<std::string> path) {
    CommandFacts out;
    out.path = std::move(path);
    out.text = app.get_description();
    out.footer = app.get_footer();
    for (const CLI::Option* option : app.get_options())
        out.options.push_back(facts_of(*option));
    return out;
}

}  // namespace

std::vector<CommandFacts> list_commands(const CLI::App& app) {
    struct Open {
        const CLI::App* app;
        std::vector<std::string> path;
    };
    std::vector<CommandFacts> out;
    std::vector<Open> open{{&app, {}}};
    while (!open.empty()) {
        const Open next = std::move(open.back());
        open.pop_back();
        CommandFacts facts = facts_of(*next.app, next.path);
        const auto below = next.app->get_subcommands([](const CLI::App*) { return true; });
        for (const CLI::App* command : below)
            facts.subcommands.push_back(command->get_name());
        for (auto command = below.rbegin(); command != below.rend(); ++command) {
            std::vector<std::string> path = next.path;
            path.push_back((*command)->get_name());
            open.push_back({*command, std::move(path)});
        }
        out.push_back(std::move(facts));
    }
    return out;
}

}  // namespace marketplace::cli
