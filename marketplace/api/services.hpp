// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/api/context.hpp"
#include "marketplace/api/idempotency.hpp"
#include "marketplace/api/rate_limiter.hpp"
#include "marketplace/api/signatures.hpp"
#include "marketplace/api/task_thread.hpp"
#include "marketplace/api/x402.hpp"
#include "marketplace/http/router.hpp"
#include "marketplace/wire/resource_cache.hpp"

#include <nlohmann/json.hpp>

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace marketplace::api {

/// What handlers share: the ports, and the state of the API itself.
class Services {
 public:
    explicit Services(Context& ports)
        : context(ports),
          order_domain(ports.domain),
          limiter(ports.options.requests_per_s, ports.options.request_burst, ports.clock),
          order_limiter(ports.options.orders_per_s, ports.options.order_burst, ports.clock),
          chain_limiter(kChainQuestionsPerS, kChainQuestionsBurst, ports.clock),
          idempotency(ports.clock) {}

    Context& context;
    const OrderDomain order_domain;
    wire::ResourceCache resources;
    RateLimiter limiter;        ///< per address
    RateLimiter order_limiter;  ///< per account
    RateLimiter chain_limiter;  ///< per address: questions to the chain that it makes us ask
    IdempotencyCache idempotency;
    PaymentsUnderWay payments_under_way;
    std::function<std::string()> openapi;

    /// Requests per (route template, status), for /metrics.
    void count(const std::string& route, int status);
    [[nodiscard]] std::map<std::pair<std::string, int>, std::uint64_t> counts() const;

 private:
    static constexpr double kChainQuestionsPerS = 5;
    static constexpr double kChainQuestionsBurst = 20;
    mutable std::mutex mutex_;
    std::map<std::pair<std::string, int>, std::uint64_t> counts_;

 public:
    /// For handlers that touch the disk or the database.
    TaskThread desk{1024};
    /// For questions to the chain. Last: it ends first.
    TaskThread chain_desk{64};
};

using Json = nlohmann::json;

/// Whether refusals of that path have OpenAI's form.
[[nodiscard]] bool is_openai_route(std::string_view path);
[[nodiscard]] http::Response json_response(const Json& document, int status = 200);
/// A problem document, or OpenAI's error object on its routes.
[[nodiscard]] http::Response error_response(const http::Request& request,
                                            const ledger::base::Error& error);
[[nodiscard]] http::Response render_error(const http::Request& request, int status,
                                          const ledger::base::Error& error);
/// The document or the problem.
[[nodiscard]] http::Response to_response(const http::Request& request, const Result<Json>& result,
                                         int status = 200);

/// 429 with the seconds to wait in Retry-After.
[[nodiscard]] http::Response rate_refusal(const http::Request& request, const RateState& state);
/// Counts one order of `client` (an account, or the address of who asks for a quote). False: it
/// came too fast and is answered.
[[nodiscard]] bool allow_order(Services& services, const http::Request& request,
                               const http::Reply& reply, const std::string& client);

/// Runs `read` on the engine thread and answers with what it returns.
void answer_from_engine(Services& services, const http::RequestPtr& request, http::Reply reply,
                        std::function<Result<Json>(const engine::Engine&)> read, int status = 200);
/// Runs `work` on the desk and answers with what it returns.
void answer_from_desk(Services& services, const http::RequestPtr& request, http::Reply reply,
                      std::function<http::Response()> work);
/// Runs `work`, which answers, on the thread that may ask the chain; so often only for one address.
void run_on_chain_desk(Services& services, const http::RequestPtr& request,
                       const http::Reply& reply, std::function<void()> work);
/// The same, and answers with what it returns.
void answer_from_chain(Services& services, const http::RequestPtr& request, http::Reply reply,
                       std::function<http::Response()> work);

/// "limit" of a list: 1 to `most`, `usual` when absent.
[[nodiscard]] Result<std::size_t> read_limit(const http::Request& request, std::size_t usual,
                                             std::size_t most);
[[nodiscard]] Result<std::uint64_t> read_query_u64(const http::Request& request,
                                                   std::string_view name, std::uint64_t usual);
/// ?unit_kind, ?gpu_model and ?region.
[[nodiscard]] Result<engine::BookFilter> read_book_filter(const http::Request& request);
/// {"object":"list","data":[…],"has_more":…,"first_id","last_id"} with the members' "id".
[[nodiscard]] Json list_of(Json items, bool has_more);

}  // namespace marketplace::api
