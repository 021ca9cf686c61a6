// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "ledger/rpc/http_client.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace ledger::rpc {

/// Carries one JSON-RPC request body to a node and its answer back. Faked in tests.
class RpcTransport {
 public:
    virtual ~RpcTransport() = default;
    /// Errors: chain_unreachable (no or no useful answer), timeout, chain_bad_answer (too large).
    [[nodiscard]] virtual base::Result<std::string> exchange(const std::string& body) = 0;
};

/// POST to an http URL. Any status but 200 is chain_unreachable: the node did not answer.
class HttpRpcTransport final : public RpcTransport {
 public:
    explicit HttpRpcTransport(std::string url, HttpLimits limits = {});
    [[nodiscard]] base::Result<std::string> exchange(const std::string& body) override;

 private:
    std::string url_;
    HttpClient client_;
};

/// JSON-RPC 2.0: numbers requests, checks version and id, tells three failures apart:
/// chain_refused (the node's own error object), chain_unreachable/timeout (could not ask),
/// chain_bad_answer (nonsense: not JSON, wrong id, neither or both of result and error).
/// One thread at a time.
class JsonRpcClient {
 public:
    explicit JsonRpcClient(std::unique_ptr<RpcTransport> transport);

    [[nodiscard]] base::Result<nlohmann::json> call(std::string_view method, nlohmann::json params);

 private:
    std::unique_ptr<RpcTransport> transport_;
    std::uint64_t next_id_ = 1;
};

}  // namespace ledger::rpc
