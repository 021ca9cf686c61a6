// SPDX-License-Identifier: Apache-2.0
#include "tests/support/anvil.hpp"

#include "ledger/base/hex.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <stdexcept>

extern char** environ;

namespace tests::support {

namespace {

// The first account of every development chain: its key is public knowledge.
constexpr const char* kDeployerKey =
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

std::vector<char*> pointers(std::vector<std::string>& words) {
    std::vector<char*> out;
    for (std::string& word : words)
        out.push_back(word.data());
    out.push_back(nullptr);
    return out;
}

}  // namespace

std::optional<ChildProcess> ChildProcess::start(const std::vector<std::string>& arguments,
                                                const std::vector<std::string>& environment) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return std::nullopt;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    std::vector<std::string> words = arguments;
    std::vector<std::string> variables = environment;
    for (char** variable = environ; *variable != nullptr; ++variable)
        variables.emplace_back(*variable);
    ChildProcess child;
    const int failed = ::posix_spawnp(&child.pid_, words[0].c_str(), &actions, nullptr,
                                      pointers(words).data(), pointers(variables).data());
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    child.output_ = ends[0];
    if (failed != 0) {
        child.pid_ = -1;
        return std::nullopt;
    }
    return child;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), output_(std::exchange(other.output_, -1)) {}

ChildProcess::~ChildProcess() {
    kill();
    if (output_ >= 0) ::close(output_);
}

void ChildProcess::kill() noexcept {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
}

int ChildProcess::join() {
    // Drained first, so that a full pipe cannot hold the child up.
    char piece[4096];
    while (::read(output_, piece, sizeof(piece)) > 0) {
    }
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::optional<std::string> ChildProcess::wait_for(const std::string& text) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    std::string seen;
    while (true) {
        const std::size_t at = seen.find(text);
        const std::size_t end = at == seen.npos ? seen.npos : seen.find('\n', at);
        if (end != seen.npos) return seen.substr(at + text.size(), end - at - text.size());
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            deadline - std::chrono::steady_clock::now());
        if (left.count() <= 0) return std::nullopt;
        pollfd watched{output_, POLLIN, 0};
        if (::poll(&watched, 1, static_cast<int>(left.count())) <= 0) continue;
        char piece[4096];
        const ssize_t count = ::read(output_, piece, sizeof(piece));
        if (count <= 0) return std::nullopt;
        seen.append(piece, static_cast<std::size_t>(count));
    }
}

std::optional<Anvil> Anvil::start(const std::vector<std::string>& extra) {
    const char* chosen = std::getenv("MILLRACE_ANVIL");
    const std::string program =
        chosen != nullptr ? chosen
                          : "contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil";
    if (!std::filesystem::exists(program)) return std::nullopt;
    std::vector<std::string> arguments = {program, "--port", "0", "--host", "127.0.0.1"};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    auto process = ChildProcess::start(arguments);
    if (!process) return std::nullopt;
    const auto address = process->wait_for("Listening on ");
    if (!address) return std::nullopt;
    Anvil anvil(std::move(*process), "http://" + *address);
    // Nobody reads on: a log of many calls would fill the pipe and stop it.
    if (!anvil.client()->raw_call("anvil_setLoggingEnabled", {false})) return std::nullopt;
    return anvil;
}

std::unique_ptr<ledger::rpc::EthClient> Anvil::client() const {
    return std::make_unique<ledger::rpc::EthClient>(url_);
}

void Anvil::fund(const ledger::base::Address& account) const {
    const auto done = client()->raw_call("anvil_setBalance",
                                         {ledger::base::to_hex(account), "0x3635c9adc5dea00000"});
    if (!done) throw std::runtime_error(done.error().message());
}

std::optional<ledger::settlement::Deployment> Anvil::deploy(
    const ledger::base::Address& market_operator, const std::vector<ledger::base::Address>& minted,
    std::uint64_t atoms) const {
    if (!std::filesystem::exists("contracts/out/Leases.sol/Leases.json")) return std::nullopt;
    const std::string out = (std::filesystem::temp_directory_path() /
                             ("millrace-deployment-" + std::to_string(::getpid()) + ".json"))
                                .string();
    std::vector<std::string> arguments = {"node",           "contracts/deploy/deploy.mjs",
                                          "--rpc",          url_,
                                          "--key-env",      "DEPLOYER_KEY",
                                          "--operator",     ledger::base::to_hex(market_operator),
                                          "--out",          out,
                                          "--close-window", "10",
                                          "--key-delay",    "0",
                                          "--no-build"};
    for (const ledger::base::Address& account : minted) {
        arguments.emplace_back("--mint");
        arguments.push_back(ledger::base::to_hex(account) + "=" + std::to_string(atoms));
    }
    auto process = ChildProcess::start(arguments, {std::string("DEPLOYER_KEY=") + kDeployerKey});
    if (!process || process->join() != 0) return std::nullopt;
    const auto deployment = ledger::settlement::read_deployment(out);
    std::filesystem::remove(out);
    if (!deployment) throw std::runtime_error(deployment.error().message());
    return *deployment;
}

}  // namespace tests::support
