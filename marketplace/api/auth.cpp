// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/auth.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "marketplace/api/siwe.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace marketplace::api {

using ledger::base::as_bytes;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::TimeMs;

namespace {

constexpr TimeMs kClockSkewMs = 5 * 60 * 1000;
constexpr std::size_t kKeysCached = 10'000;
constexpr std::string_view kSessionPrefix = "mrs_";
constexpr std::string_view kKeyPrefix = "mrk_";
constexpr std::size_t kNonceTimeDigits = 12;
constexpr std::size_t kNonceRandomDigits = 16;
constexpr std::size_t kNonceTagDigits = 20;

[[nodiscard]] std::string random_hex(std::size_t bytes) {
    return ledger::base::to_hex(ledger::crypto::random_bytes(bytes)).substr(2);
}

/// "localhost", "127.0.0.1" or "[::1]", with any port.
[[nodiscard]] bool is_loopback(std::string_view host) {
    for (const std::string_view name : {"localhost", "127.0.0.1", "[::1]"}) {
        if (!host.starts_with(name)) continue;
        const std::string_view rest = host.substr(name.size());
        if (rest.empty() || rest.front() == ':') return true;
    }
    return false;
}

[[nodiscard]] Result<std::string_view> bearer_token(const http::Request& request) {
    const auto header = request.header("authorization");
    if (!header) return fail(ErrorCode::unauthorized, "no Authorization header");
    constexpr std::string_view kBearer = "bearer ";
    std::string scheme(header->substr(0, std::min(header->size(), kBearer.size())));
    std::transform(scheme.begin(), scheme.end(), scheme.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    if (scheme != kBearer) return fail(ErrorCode::unauthorized, "send \"Bearer <token>\"");
    return header->substr(kBearer.size());
}

/// Equal without telling by time how much of it was.
[[nodiscard]] bool equal_constant_time(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    unsigned difference = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
        difference |= static_cast<unsigned>(static_cast<unsigned char>(a[i])) ^
                      static_cast<unsigned>(static_cast<unsigned char>(b[i]));
    return difference == 0;
}

}  // namespace

Auth::Auth(AuthOptions options, CatalogPort& catalog, const ledger::base::Clock& clock)
    : options_(std::move(options)),
      catalog_(catalog),
      clock_(clock),
      secret_(ledger::crypto::random_bytes(32)) {}

/// Keyed hash: secret ‖ SHA-256(secret ‖ text), so that lengths cannot be extended.
std::string Auth::nonce_tag(std::string_view text) const {
    ledger::base::Bytes inner = secret_;
    ledger::base::append(inner, as_bytes(text));
    const domain::Hash32 first = ledger::base::sha256(inner);
    ledger::base::Bytes outer = secret_;
    ledger::base::append(outer, first.span());
    return ledger::base::to_hex(ledger::base::sha256(outer)).substr(2, kNonceTagDigits);
}

std::string Auth::issue_nonce() {
    const std::string head = fmt::format("{:0{}x}", clock_.now_ms(), kNonceTimeDigits) +
                             random_hex(kNonceRandomDigits / 2);
    return head + nonce_tag(head);
}

Result<void> Auth::check_nonce(std::string_view nonce) const {
    const auto stale = [] { return fail(ErrorCode::nonce_used, "the nonce is not known here"); };
    constexpr std::size_t kHead = kNonceTimeDigits + kNonceRandomDigits;
    if (nonce.size() != kHead + kNonceTagDigits) return stale();
    if (!equal_constant_time(nonce_tag(nonce.substr(0, kHead)), nonce.substr(kHead)))
        return stale();
    const auto time = ledger::base::parse_hex(nonce.substr(0, kNonceTimeDigits), 8);
    if (!time) return stale();
    TimeMs issued_ms = 0;
    for (const std::uint8_t byte : *time)
        issued_ms = issued_ms * 256 + byte;
    if (clock_.now_ms() > issued_ms + options_.nonce_ms)
        return fail(ErrorCode::nonce_used, "the nonce has expired");
    return {};
}

Result<void> Auth::use_nonce(const std::string& nonce) {
    const std::lock_guard lock(mutex_);
    const TimeMs now_ms = clock_.now_ms();
    drop_expired(now_ms);
    if (used_nonces_.contains(nonce))
        return fail(ErrorCode::nonce_used, "this message was used before");
    if (used_nonces_.size() >= options_.used_nonces_max)
        return fail(ErrorCode::unavailable, "too many sign-ins");
    used_nonces_.emplace(nonce, now_ms + options_.nonce_ms);
    used_order_.push_back(nonce);
    return {};
}

void Auth::drop_expired(TimeMs now_ms) {
    while (!used_order_.empty()) {
        const auto found = used_nonces_.find(used_order_.front());
        if (found != used_nonces_.end() && found->second >= now_ms) break;
        if (found != used_nonces_.end()) used_nonces_.erase(found);
        used_order_.pop_front();
    }
    while (!session_order_.empty()) {
        const auto found = sessions_.find(session_order_.front());
        const bool keep = found != sessions_.end() && found->second.expires_ms >= now_ms &&
                          sessions_.size() < options_.sessions_max;
        if (keep) break;
        const domain::Hash32 oldest = session_order_.front();
        session_order_.pop_front();
        erase_session(oldest);
    }
}

void Auth::erase_session(const domain::Hash32& key) {
    const auto found = sessions_.find(key);
    if (found == sessions_.end()) return;
    const auto mine = account_sessions_.find(found->second.account);
    if (mine != account_sessions_.end()) {
        std::erase(mine->second, key);
        if (mine->second.empty()) account_sessions_.erase(mine);
    }
    sessions_.erase(found);
}

bool Auth::is_our_domain(std::string_view domain, std::string_view host) const {
    for (const std::string& ours : options_.domains)
        if (domain == ours) return true;
    return domain == host && is_loopback(domain);
}

Result<void> Auth::check_message(const SiweMessage& message, std::string_view host) const {
    if (!is_our_domain(message.domain, host))
        return fail(ErrorCode::forbidden, "the message was signed for " + message.domain);
    const std::string_view uri = message.uri;
    const auto scheme_end = uri.find("://");
    const std::string_view authority =
        scheme_end == std::string_view::npos ? "" : uri.substr(scheme_end + 3);
    const bool same_site = authority == message.domain ||
                           authority.starts_with(message.domain + "/") ||
                           authority.starts_with(message.domain + "?");
    if (!same_site) return fail(ErrorCode::forbidden, "its URI belongs to another site");
    if (message.chain_id != options_.chain_id)
        return fail(ErrorCode::wrong_chain,
                    fmt::format("the market is on chain {}, the message on {}", options_.chain_id,
                                message.chain_id));
    const TimeMs now_ms = clock_.now_ms();
    if (message.issued_at_ms > now_ms + kClockSkewMs ||
        (message.not_before_ms && *message.not_before_ms > now_ms + kClockSkewMs))
        return fail(ErrorCode::invalid_window, "the message is not valid yet");
    if (message.issued_at_ms + options_.nonce_ms + kClockSkewMs < now_ms ||
        (message.expires_at_ms && *message.expires_at_ms <= now_ms))
        return fail(ErrorCode::expired, "the message has expired");
    return check_nonce(message.nonce);
}

Result<Auth::Session> Auth::open_session(
    const SiweMessage& message, const std::optional<ledger::crypto::PublicKey>& public_key) {
    TRY(use_nonce(message.nonce));
    Session session;
    session.token = std::string(kSessionPrefix) + random_hex(32);
    session.account = message.address;
    session.expires_ms = clock_.now_ms() + options_.session_ms;
    const std::lock_guard lock(mutex_);
    const domain::Hash32 key = ledger::base::sha256(as_bytes(session.token));
    sessions_.emplace(key, Known{session.account, session.expires_ms, public_key});
    session_order_.push_back(key);
    auto& mine = account_sessions_[session.account];
    mine.push_back(key);
    if (mine.size() > options_.sessions_per_account_max) {
        const domain::Hash32 oldest = mine.front();
        erase_session(oldest);
    }
    return session;
}

std::optional<ledger::crypto::PublicKey> Auth::public_key_of(const domain::Address& account) {
    const std::lock_guard lock(mutex_);
    const auto mine = account_sessions_.find(account);
    if (mine == account_sessions_.end() || mine->second.empty()) return std::nullopt;
    const auto newest = sessions_.find(mine->second.back());
    if (newest == sessions_.end()) return std::nullopt;
    return newest->second.public_key;
}

void Auth::sign_out(std::string_view token) {
    const std::lock_guard lock(mutex_);
    erase_session(ledger::base::sha256(as_bytes(token)));
}

Result<Caller> Auth::caller_of(const http::Request& request, std::uint32_t scope) {
    TRY_ASSIGN(const std::string_view token, bearer_token(request));
    const domain::Hash32 hash = ledger::base::sha256(as_bytes(token));
    if (token.starts_with(kKeyPrefix)) {
        TRY_ASSIGN(auto key, live_key(hash));
        TRY(key->check(scope, clock_.now_ms()));
        return Caller{key->row().owner, key};
    }
    const std::lock_guard lock(mutex_);
    const auto known = sessions_.find(hash);
    if (known == sessions_.end()) return fail(ErrorCode::unauthorized, "this token is not known");
    if (known->second.expires_ms <= clock_.now_ms()) {
        erase_session(hash);
        return fail(ErrorCode::session_expired);
    }
    return Caller{known->second.account, nullptr};
}

std::shared_ptr<LiveKey> Auth::key_of(const http::Request& request) {
    const auto token = bearer_token(request);
    if (!token || !token->starts_with(kKeyPrefix)) return nullptr;
    const auto key = live_key(ledger::base::sha256(as_bytes(*token)));
    return key ? *key : nullptr;
}

Result<domain::Address> Auth::account_of(const http::Request& request, std::uint32_t scope) {
    TRY_ASSIGN(const Caller caller, caller_of(request, scope));
    return caller.account;
}

Result<domain::Address> Auth::session_of(const http::Request& request) {
    TRY_ASSIGN(const Caller caller, caller_of(request, 0));
    if (caller.key != nullptr)
        return fail(ErrorCode::forbidden, "API keys are made and revoked by a signed-in session");
    return caller.account;
}

Result<std::shared_ptr<LiveKey>> Auth::live_key(const domain::Hash32& hash) {
    for (;;) {
        std::uint64_t epoch = 0;
        {
            const std::lock_guard lock(mutex_);
            epoch = keys_epoch_;
            if (const auto known = keys_.find(hash); known != keys_.end()) return known->second;
        }
        auto row = catalog_.api_key(hash);
        if (!row) return fail(ErrorCode::unauthorized, "this API key is not known");
        if (row->revoked) return fail(ErrorCode::unauthorized, "this API key was revoked");
        const std::lock_guard lock(mutex_);
        if (epoch != keys_epoch_) continue;  // one was revoked meanwhile, perhaps this
        drop_idle_keys();
        return keys_.try_emplace(hash, std::make_shared<LiveKey>(std::move(*row))).first->second;
    }
}

/// Keys that something is under way with stay: they know what is held, and what is not saved yet.
void Auth::drop_idle_keys() {
    if (keys_.size() < kKeysCached) return;
    std::erase_if(keys_, [](const auto& key) {
        return key.second.use_count() == 1 && key.second->is_saved();
    });
}

Auth::NewKey Auth::make_api_key(const domain::Address& owner, ApiKeyRow terms) const {
    NewKey key;
    key.secret = std::string(kKeyPrefix) + random_hex(32);
    key.row = std::move(terms);
    key.row.id = "key_" + random_hex(12);
    key.row.key_hash = ledger::base::sha256(as_bytes(key.secret));
    key.row.owner = owner;
    key.row.created_ms = clock_.now_ms();
    return key;
}

void Auth::end_api_key(const std::string& id) {
    std::shared_ptr<LiveKey> ended;
    {
        const std::lock_guard lock(mutex_);
        ++keys_epoch_;
        const auto found = std::find_if(keys_.begin(), keys_.end(), [&](const auto& key) {
            return key.second->row().id == id;
        });
        if (found == keys_.end()) return;
        ended = found->second;
        keys_.erase(found);
    }
    ended->revoke();
}

std::uint64_t Auth::spent_atoms(const ApiKeyRow& row) {
    const std::lock_guard lock(mutex_);
    const auto known = keys_.find(row.key_hash);
    return known == keys_.end() ? row.spent_atoms : known->second->spent_atoms();
}

}  // namespace marketplace::api
