// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/rpc/http_client.hpp"
#include "marketplace/cli/settings.hpp"
#include "marketplace/cli/sse.hpp"
#include "marketplace/cli/terminal.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <string>

namespace marketplace::cli {

enum class Auth : std::uint8_t { kNone, kSession };

/// The market's REST interface. Errors carry the code and sentence of the market's problem
/// document; unavailable and timeout say that it did not answer. One thread.
class MarketClient {
 public:
    using OpenKey = std::function<ledger::base::Result<const ledger::crypto::PrivateKey*>()>;

    /// `open_key` is asked when a route wants a session and none is kept from before.
    MarketClient(const Settings& settings, Terminal& messages, OpenKey open_key);

    [[nodiscard]] ledger::base::Result<nlohmann::json> get(const std::string& target, Auth auth);
    [[nodiscard]] ledger::base::Result<nlohmann::json> post(const std::string& target,
                                                            const nlohmann::json& body, Auth auth);
    [[nodiscard]] ledger::base::Result<nlohmann::json> put(const std::string& target,
                                                           const nlohmann::json& body, Auth auth);
    [[nodiscard]] ledger::base::Result<nlohmann::json> del(const std::string& target, Auth auth);
    /// The answer's text as it is.
    [[nodiscard]] ledger::base::Result<std::string> get_text(const std::string& target, Auth auth);

    /// Puts a file under its hash, with a progress bar. A large one goes in parts and goes on
    /// where an upload ended that was cut, in this run or an earlier one.
    [[nodiscard]] ledger::base::Result<void> upload(const std::string& hash,
                                                    const std::filesystem::path& file);
    /// Fetches a body into a file, with a progress bar; goes on with a cut download while it still
    /// has `entity_tag` (empty: any). The contents are the caller's to check.
    [[nodiscard]] ledger::base::Result<void> download(const std::string& target, Auth auth,
                                                      const std::string& entity_tag,
                                                      const std::filesystem::path& file);

    /// Follows a stream of events until `on_event` returns false or the server ends it.
    /// `token`: an API key to send instead of the session; empty: the session. `on_piece` is
    /// called after whatever comes, heartbeats too (the market's come every 15 s); false ends it.
    [[nodiscard]] ledger::base::Result<void> stream(
        const std::string& method, const std::string& target, const nlohmann::json& body,
        const std::string& token, const std::function<bool(const ServerEvent&)>& on_event,
        const std::function<bool()>& on_piece = [] { return true; });

    /// A session's token: kept in the data folder, or a new one by signing in.
    [[nodiscard]] ledger::base::Result<std::string> session();
    void forget_session();

 private:
    [[nodiscard]] ledger::base::Result<ledger::rpc::HttpResponse> send(
        ledger::rpc::HttpRequest request, Auth auth);
    [[nodiscard]] ledger::base::Result<nlohmann::json> send_json(const char* method,
                                                                 const std::string& target,
                                                                 const nlohmann::json& body,
                                                                 Auth auth);
    /// Sends a file's request with the session, a new one when the market knows it no more. `body`:
    /// the file that goes up, for --curl.
    [[nodiscard]] ledger::base::Result<ledger::rpc::HttpResponse> transfer(
        ledger::rpc::HttpRequest request, Auth auth, const std::filesystem::path& body,
        const std::function<ledger::base::Result<ledger::rpc::HttpResponse>(
            const ledger::rpc::HttpRequest&)>& send);
    [[nodiscard]] ledger::base::Result<std::string> sign_in();
    [[nodiscard]] ledger::base::Result<bool> is_known(const std::string& token);
    void show_curl(const ledger::rpc::HttpRequest& request,
                   const std::filesystem::path& body = {}) const;

    const Settings& settings_;
    Terminal& messages_;
    OpenKey open_key_;
    ledger::rpc::HttpClient http_;
    std::string session_;
};

/// The request as a curl command for a shell, with variables where secrets stand. `body`: a file
/// that is sent; empty: the request's own.
[[nodiscard]] std::string curl_text(const ledger::rpc::HttpRequest& request,
                                    const std::filesystem::path& body);

/// The error of an answer that is not 2xx.
[[nodiscard]] ledger::base::Error error_of(const ledger::rpc::HttpResponse& response);

/// The text to sign in with (ERC-4361); domain and URI from `market`.
[[nodiscard]] std::string siwe_message(std::string_view market,
                                       const ledger::base::Address& account, std::uint64_t chain_id,
                                       std::string_view nonce, std::uint64_t now_ms);

}  // namespace marketplace::cli
