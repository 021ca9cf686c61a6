// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/command_tree.hpp"

#include "marketplace/cli/completion.hpp"
#include "marketplace/cli/man_page.hpp"

#include <CLI/CLI.hpp>
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>

using namespace marketplace::cli;  // NOLINT: the room under test

namespace {

/// A small program: "tool [--data DIR] go fast|slow [--colour red|green] [--loud] PLACE".
struct Tool {
    CLI::App app{"Goes places. It's quick.", "tool"};
    std::string data;
    std::string colour;
    std::string place;
    bool loud = false;
    Tool() {
        app.add_option("--data", data, "A folder; \"quoted\", with a \\ and it's ~");
        CLI::App* go = app.add_subcommand("go", ".Somewhere");
        CLI::App* fast = go->add_subcommand("fast", "At once");
        fast->add_option("--colour", colour, "Of the light")
            ->check(CLI::IsMember({"red", "green"}));
        fast->add_flag("--loud,-l", loud, "'Heard");
        fast->add_option("PLACE", place, "Where")->required();
        go->add_subcommand("slow", "Later");
        app.add_subcommand("stay", "Not at all");
    }
};

std::string run(const std::string& command) {
    struct Close {
        void operator()(std::FILE* pipe) const { pclose(pipe); }
    };
    const std::unique_ptr<std::FILE, Close> pipe(popen(command.c_str(), "r"));
    REQUIRE(pipe != nullptr);
    std::string out;
    char buffer[256];
    while (std::fgets(buffer, sizeof buffer, pipe.get()) != nullptr)
        out += buffer;
    return out;
}

bool have(const char* program) {
    return !run(std::string("command -v ") + program).empty();
}

/// A file that is gone when the test ends.
class TempFile {
 public:
    explicit TempFile(const std::string& text) {
        std::string name = std::filesystem::temp_directory_path() / "millrace-tree-XXXXXX";
        const int fd = mkstemp(name.data());
        REQUIRE(fd >= 0);
        path_ = name;
        std::ofstream(path_) << text;
    }
    ~TempFile() {
        std::error_code ignored;
        std::filesystem::remove(path_, ignored);
    }
    TempFile(const TempFile&) = delete;
    TempFile& operator=(const TempFile&) = delete;
    [[nodiscard]] std::string path() const { return path_.string(); }

 private:
    std::filesystem::path path_;
};

/// What the shell offers for words typed so far, the last one incomplete.
std::string bash_offers(const std::string& script, const std::string& words, int count) {
    const TempFile file(script + "COMP_WORDS=(" + words + ")\nCOMP_CWORD=" +
                        std::to_string(count - 1) + "\n_tool\necho \"${COMPREPLY[*]}\"\n");
    return run("bash " + file.path() + " 2>&1");
}

}  // namespace

TEST_CASE("command_tree: every command and option of the parser, in its order") {
    const Tool tool;
    const auto commands = list_commands(tool.app);
    REQUIRE(commands.size() == 5);
    CHECK(commands[0].path.empty());
    CHECK(commands[0].subcommands == std::vector<std::string>{"go", "stay"});
    CHECK(commands[1].path == std::vector<std::string>{"go"});
    CHECK(commands[2].path == std::vector<std::string>{"go", "fast"});
    CHECK(commands[4].path == std::vector<std::string>{"stay"});
    const OptionFacts* colour = nullptr;
    const OptionFacts* loud = nullptr;
    const OptionFacts* place = nullptr;
    for (const OptionFacts& option : commands[2].options) {
        if (option.names.front() == "--colour") colour = &option;
        if (option.names.front() == "--loud") loud = &option;
        if (option.names.front() == "PLACE") place = &option;
    }
    REQUIRE(colour != nullptr);
    REQUIRE(loud != nullptr);
    REQUIRE(place != nullptr);
    CHECK(colour->choices == std::vector<std::string>{"red", "green"});
    CHECK_FALSE(colour->value.empty());
    CHECK(loud->value.empty());
    CHECK(loud->names == std::vector<std::string>{"--loud", "-l"});
    CHECK(place->is_positional);
    CHECK(place->is_required);
}

TEST_CASE("completion: bash offers what the parser would take at that place") {
    const Tool tool;
    const std::string script = completion_script("tool", "bash", list_commands(tool.app));
    CHECK(bash_offers(script, "tool ''", 2).find("go stay") != std::string::npos);
    CHECK(bash_offers(script, "tool g", 2) == "go\n");
    CHECK(bash_offers(script, "tool go ''", 3).find("fast slow") != std::string::npos);
    CHECK(bash_offers(script, "tool go fast --c", 4) == "--colour\n");
    CHECK(bash_offers(script, "tool go fast --colour ''", 5) == "red green\n");
    CHECK(bash_offers(script, "tool go fast --colour r", 5) == "red\n");
    CHECK(bash_offers(script, "tool --data go ''", 4).find("fast") != std::string::npos);
    CHECK(bash_offers(script, "tool go fast --d", 4) == "--data\n");  // of the program itself
    CHECK(bash_offers(script, "tool --data ''", 3) == "\n");          // a file's name: bash's own
}

TEST_CASE("completion: zsh and fish take their scripts") {
    const Tool tool;
    for (const char* shell : {"zsh", "fish"}) {
        if (!have(shell)) {
            MESSAGE("no ", shell, " here");
            continue;
        }
        const TempFile file(completion_script("tool", shell, list_commands(tool.app)));
        const std::string plain = shell == std::string("zsh") ? " -f" : " --no-config";
        CHECK(run(shell + plain + " -n " + file.path() + " 2>&1; echo $?") == "0\n");
    }
    if (!have("fish")) return;
    const TempFile file(completion_script("tool", "fish", list_commands(tool.app)));
    const auto offers = [&](const std::string& line) {
        return run("fish --no-config -c 'source " + file.path() + "; complete -C \"" + line +
                   "\"' 2>&1");
    };
    CHECK(offers("tool g").find("go") != std::string::npos);
    CHECK(offers("tool go ").find("slow") != std::string::npos);
    CHECK(offers("tool go ").find("stay") == std::string::npos);
    CHECK(offers("tool go fast --colour r").find("red") != std::string::npos);
}

TEST_CASE("man_page: groff and mandoc have nothing to say") {
    const Tool tool;
    const std::string page = man_page(
        {"tool", "1.0", "2024-01-31", {{"TOOL_DATA", "The folder."}}, {}, {{"0", "done."}}},
        list_commands(tool.app));
    CHECK(page.find(".SS \"go fast\"") != std::string::npos);
    CHECK(page.find("One of: red, green") != std::string::npos);
    CHECK(page.find("\n.Somewhere") == std::string::npos);  // text, not a request
    CHECK(page.find("\n'Heard") == std::string::npos);
    const TempFile file(page);
    if (have("groff")) CHECK(run("groff -ww -z -K utf8 -man " + file.path() + " 2>&1") == "");
    if (have("mandoc")) CHECK(run("mandoc -T lint -W warning " + file.path() + " 2>&1") == "");
}
