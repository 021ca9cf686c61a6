// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/webhook_post.hpp"

#include <memory>

namespace marketplace::app {

using ledger::base::ErrorCode;
using ledger::base::Result;
using ledger::rpc::GuardedPoster;
using ledger::rpc::Reach;
using webhooks::Failure;

namespace {

Failure failure_of(ErrorCode code) {
    switch (code) {
        case ErrorCode::forbidden:
        case ErrorCode::invalid_field:  // a URL from before the operator closed its network
            return Failure::kPrivateAddress;
        case ErrorCode::timeout:
            return Failure::kTimeout;
        case ErrorCode::invalid_signature:
            return Failure::kTls;
        case ErrorCode::too_large:
        case ErrorCode::invalid_encoding:
            return Failure::kBadAnswer;
        default:
            return Failure::kUnreachable;
    }
}

}  // namespace

WebhookPost make_webhook_post(Reach reach) {
    auto poster = std::make_shared<const GuardedPoster>(reach);
    return [poster](const WebhookCall& call, const std::stop_token& stop) {
        std::vector<ledger::rpc::HttpHeader> headers;
        for (const auto& [name, value] : call.headers)
            headers.push_back({name, value});
        const auto answer = poster->post(call.url, headers, call.body, stop);
        webhooks::Outcome out;
        if (!answer) {
            out.failure = failure_of(answer.error().code());
            return out;
        }
        out.status = answer->status;
        out.failure = webhooks::failure_of_status(answer->status);
        out.retry_after_s = answer->retry_after_s;
        return out;
    };
}

Result<void> check_webhook_url(const std::string& url, Reach reach) {
    const auto parsed = ledger::rpc::parse_post_url(url, reach);
    if (!parsed)
        return ledger::base::fail(ErrorCode::invalid_field, "/url: " + parsed.error().detail());
    return {};
}

}  // namespace marketplace::app
