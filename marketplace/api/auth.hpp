// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"
#include "ledger/base/result.hpp"
#include "ledger/crypto/key_wrap.hpp"
#include "marketplace/api/live_key.hpp"
#include "marketplace/api/ports.hpp"
#include "marketplace/api/siwe.hpp"
#include "marketplace/http/request.hpp"

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace marketplace::api {

struct AuthOptions {
    std::uint64_t chain_id = 0;
    /// Names people reach the market by ("market.example", "market.example:8460"). A message
    /// signed for another site must not open a session here. Loopback names of the request's own
    /// Host are accepted besides.
    std::vector<std::string> domains;
    ledger::base::TimeMs nonce_ms = 10 * 60 * 1000;
    ledger::base::TimeMs session_ms = 24ULL * 60 * 60 * 1000;
    std::size_t sessions_max = 100'000;
    std::size_t sessions_per_account_max = 64;
    std::size_t used_nonces_max = 200'000;
};

/// Who asks, and the key that says so; null: a session.
struct Caller {
    domain::Address account;
    std::shared_ptr<LiveKey> key;
};

/// Who calls: sessions by Sign-In with Ethereum (ERC-4361), and API keys. Tokens and keys are
/// kept as SHA-256 only. Thread-safe.
class Auth {
 public:
    Auth(AuthOptions options, CatalogPort& catalog, const ledger::base::Clock& clock);

    /// A nonce that this process recognises for `nonce_ms`; issuing stores nothing, so nobody can
    /// fill a table by asking.
    [[nodiscard]] std::string issue_nonce();

    struct Session {
        std::string token;  ///< shown once
        domain::Address account;
        ledger::base::TimeMs expires_ms = 0;
    };
    /// Checks everything of a message but its signature: domain, chain, times, nonce. Nothing is
    /// used up yet. `host` is the request's Host header.
    [[nodiscard]] Result<void> check_message(const SiweMessage& message,
                                             std::string_view host) const;
    /// A session for a message that was checked and whose signature is good; uses up the nonce.
    /// `public_key`: the one that signed; none when a contract answers for the account.
    [[nodiscard]] Result<Session> open_session(
        const SiweMessage& message, const std::optional<ledger::crypto::PublicKey>& public_key);
    void sign_out(std::string_view token);

    /// Who sends the bearer token or API key, which must have all of `scope` (bits of KeyScope).
    /// unauthorized, session_expired, forbidden.
    [[nodiscard]] Result<Caller> caller_of(const http::Request& request, std::uint32_t scope);
    /// The same where only the account matters. Without a scope named, a key must have the scope
    /// "account": what nobody thought of is not open to narrow keys.
    [[nodiscard]] Result<domain::Address> account_of(const http::Request& request,
                                                     std::uint32_t scope = kScopeAccount);
    /// The API key that a request bears; null when it bears none, or one that is not known.
    [[nodiscard]] std::shared_ptr<LiveKey> key_of(const http::Request& request);
    /// The account of a session; API keys are refused (forbidden).
    [[nodiscard]] Result<domain::Address> session_of(const http::Request& request);

    /// The public key that the account signed in with; empty when it has no session. Whose it is
    /// need not be believed: its address says so.
    [[nodiscard]] std::optional<ledger::crypto::PublicKey> public_key_of(
        const domain::Address& account);

    struct NewKey {
        ApiKeyRow row;
        std::string secret;  ///< shown once
    };
    /// `terms`: label, scopes, cap, expiry and delegation; the rest is filled in.
    [[nodiscard]] NewKey make_api_key(const domain::Address& owner, ApiKeyRow terms) const;
    /// After it was revoked in the catalog: ends what is under way with it.
    void end_api_key(const std::string& id);
    /// What was paid with a key so far; the row's own figure when it is not in use.
    [[nodiscard]] std::uint64_t spent_atoms(const ApiKeyRow& row);

 private:
    struct Known {
        domain::Address account;
        ledger::base::TimeMs expires_ms = 0;
        std::optional<ledger::crypto::PublicKey> public_key;
    };
    [[nodiscard]] bool is_our_domain(std::string_view domain, std::string_view host) const;
    [[nodiscard]] std::string nonce_tag(std::string_view time_text) const;
    [[nodiscard]] Result<void> check_nonce(std::string_view nonce) const;
    [[nodiscard]] Result<void> use_nonce(const std::string& nonce);
    [[nodiscard]] Result<std::shared_ptr<LiveKey>> live_key(const domain::Hash32& hash);
    // With mutex_ held:
    void drop_expired(ledger::base::TimeMs now_ms);
    void erase_session(const domain::Hash32& key);
    void drop_idle_keys();

    const AuthOptions options_;
    CatalogPort& catalog_;
    const ledger::base::Clock& clock_;
    const ledger::base::Bytes secret_;

    std::mutex mutex_;
    std::unordered_map<domain::Hash32, Known> sessions_;  // by SHA-256 of the token
    std::deque<domain::Hash32> session_order_;            // oldest first
    std::unordered_map<domain::Address, std::deque<domain::Hash32>> account_sessions_;
    std::unordered_map<std::string, ledger::base::TimeMs> used_nonces_;
    std::deque<std::string> used_order_;
    std::unordered_map<domain::Hash32, std::shared_ptr<LiveKey>> keys_;  // in use, by SHA-256
    std::uint64_t keys_epoch_ = 0;                                       // of revocations
};

}  // namespace marketplace::api
