// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/eth/messages.hpp"
#include "ledger/rpc/http_client.hpp"
#include "ledger/settlement/deployment.hpp"
#include "marketplace/domain/command.hpp"
#include "worker/agent/ports.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace worker::agent {

/// Where to sign and for whom, as the market tells it.
struct MarketFacts {
    ledger::settlement::Deployment deployment;
    std::string deployment_json;
    Address operator_address;
    std::uint64_t voucher_period_atoms = 0;
};

/// The market's REST routes that a worker uses. Thread-safe: each call has a connection of its own.
/// Errors: those of the market's problem documents by their code; unavailable and timeout when it
/// did not answer.
class MarketHttp final : public KeySource {
 public:
    /// `key` signs in (Sign-In with Ethereum) when a route wants a session.
    MarketHttp(std::string market, const ledger::crypto::PrivateKey& key);

    [[nodiscard]] Result<MarketFacts> facts() const;
    /// A session token: the one from before, or a new one.
    [[nodiscard]] Result<std::string> token();
    /// The market refused the token: the next call signs in again.
    void forget_token();

    /// Lists an ask. Posting the same ask again is fine.
    [[nodiscard]] Result<void> post_ask(const marketplace::domain::PostAsk& ask);
    [[nodiscard]] Result<void> cancel_ask(const Hash32& ask);

    using OnProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;
    /// Writes the blob to `file` (goes on where a cut download ended); not checked here.
    [[nodiscard]] Result<void> download(const Hash32& hash, const std::filesystem::path& file,
                                        const OnProgress& on_progress = nullptr);
    /// A large file goes in parts and goes on after a cut.
    [[nodiscard]] Result<void> upload(const Hash32& hash, const std::filesystem::path& file,
                                      const OnProgress& on_progress = nullptr);

    [[nodiscard]] Result<ledger::base::Bytes> job_key(const std::string& job,
                                                      const Hash32& lease) override;

    /// Any GET with a session: the answer's text.
    [[nodiscard]] Result<std::string> get(const std::string& target);

    [[nodiscard]] const std::string& market() const noexcept { return market_; }

 private:
    [[nodiscard]] Result<std::string> sign_in();
    /// Once more with a new session when the market does not know this one any more.
    [[nodiscard]] Result<ledger::rpc::HttpResponse> with_session(
        const std::function<Result<ledger::rpc::HttpResponse>(const std::string& token)>& send);

    const std::string market_;
    const ledger::crypto::PrivateKey& key_;
    std::mutex mutex_;
    std::string token_;
};

/// SHA-256 of a file, read in pieces.
[[nodiscard]] Result<Hash32> hash_file(const std::filesystem::path& file);

}  // namespace worker::agent
