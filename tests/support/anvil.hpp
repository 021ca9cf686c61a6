// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/crypto/secp256k1.hpp"
#include "ledger/rpc/eth_client.hpp"
#include "ledger/settlement/deployment.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tests::support {

/// A child process with its standard output; killed and reaped when it goes.
class ChildProcess {
 public:
    /// Empty when it cannot be started. `arguments[0]` is the program.
    [[nodiscard]] static std::optional<ChildProcess> start(
        const std::vector<std::string>& arguments,
        const std::vector<std::string>& environment = {});
    ChildProcess(ChildProcess&& other) noexcept;
    ChildProcess& operator=(ChildProcess&&) = delete;
    ~ChildProcess();

    /// Reads output until `text` appears; the line's rest after it. Empty at the end or after 30 s.
    [[nodiscard]] std::optional<std::string> wait_for(const std::string& text);
    /// Waits for the end; the exit code.
    [[nodiscard]] int join();
    void kill() noexcept;
    [[nodiscard]] int pid() const noexcept { return pid_; }

 private:
    ChildProcess() = default;
    int pid_ = -1;
    int output_ = -1;
};

/// A chain of our own on a free port: anvil from contracts/node_modules.
class Anvil {
 public:
    /// Empty when anvil is not installed: the test says so and ends.
    [[nodiscard]] static std::optional<Anvil> start(const std::vector<std::string>& extra = {});

    [[nodiscard]] const std::string& url() const noexcept { return url_; }
    [[nodiscard]] std::unique_ptr<ledger::rpc::EthClient> client() const;
    /// Gives an account 1,000 ether.
    void fund(const ledger::base::Address& account) const;
    /// Deploys the contracts with deploy.mjs; mints `atoms` to each account. Empty when they are
    /// not compiled.
    [[nodiscard]] std::optional<ledger::settlement::Deployment> deploy(
        const ledger::base::Address& market_operator,
        const std::vector<ledger::base::Address>& minted, std::uint64_t atoms) const;

 private:
    explicit Anvil(ChildProcess process, std::string url)
        : process_(std::move(process)), url_(std::move(url)) {}
    ChildProcess process_;
    std::string url_;
};

}  // namespace tests::support
