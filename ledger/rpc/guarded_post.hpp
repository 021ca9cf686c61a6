// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "ledger/rpc/http_client.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace ledger::rpc {

/// Where a POST may go.
enum class Reach : std::uint8_t {
    kPublic,    ///< https to addresses of the open Internet
    kAnywhere,  ///< also plain http, and every address: for networks that trust who names the URL
};

/// A URL that somebody else chose.
struct PostUrl {
    Url url;
    bool tls = false;
};
/// http:// or https://, at most 2,048 visible ASCII signs, without user info or fragment; also
/// refuses http and literal addresses that `reach` does not allow. invalid_field.
[[nodiscard]] base::Result<PostUrl> parse_post_url(std::string_view text, Reach reach);

struct PostLimits {
    std::chrono::milliseconds connect_timeout{5000};  ///< with the TLS handshake
    std::chrono::milliseconds exchange_timeout{10'000};
    std::size_t header_bytes = base::limits::kHttpHeaderBytes;
};

struct PostAnswer {
    unsigned status = 0;
    std::uint64_t retry_after_s = 0;  ///< 0: not said, or not in seconds
};

/// Sends POSTs to URLs that strangers chose. The addresses a name stands for are checked, and the
/// connection goes to one of those checked, not to what the name stands for a moment later.
/// Redirects are answers like others. Only the head of the answer is read, and the connection is
/// closed. Thread-safe; blocks its caller.
class GuardedPoster {
 public:
    explicit GuardedPoster(Reach reach, PostLimits limits = {});
    ~GuardedPoster();
    GuardedPoster(const GuardedPoster&) = delete;
    GuardedPoster& operator=(const GuardedPoster&) = delete;

    /// forbidden: the name stands for addresses out of reach only; invalid_signature: the
    /// certificate or the handshake; unavailable: unknown name, refused, closed early; timeout;
    /// too_large, invalid_encoding: the answer's head; invalid_field: URL or header; cancelled: by
    /// `stop`.
    [[nodiscard]] base::Result<PostAnswer> post(std::string_view url,
                                                const std::vector<HttpHeader>& headers,
                                                const std::string& body,
                                                const std::stop_token& stop) const;

 private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace ledger::rpc
