// SPDX-License-Identifier: Apache-2.0
#include "marketplace/wire/problem_json.hpp"

#include "ledger/rpc/json.hpp"

namespace marketplace::wire {
namespace {

using ledger::base::Error;
using ledger::base::ErrorCode;
using nlohmann::json;

std::string_view title(int status) {
    switch (status) {
        case 400:
            return "The request is wrong";
        case 401:
            return "Sign in first";
        case 402:
            return "Not enough money";
        case 403:
            return "Not yours";
        case 404:
            return "Not found";
        case 409:
            return "It conflicts with what is there";
        case 413:
            return "Too large";
        case 422:
            return "The content is wrong";
        case 429:
            return "Too many requests";
        case 503:
            return "Not now";
        default:
            return status >= 500 ? "A fault of the market" : "The request failed";
    }
}

}  // namespace

int http_status(ErrorCode code) noexcept {
    switch (code) {
        case ErrorCode::invalid_json:
        case ErrorCode::invalid_request:
        case ErrorCode::invalid_field:
        case ErrorCode::unknown_field:
        case ErrorCode::missing_field:
        case ErrorCode::invalid_encoding:
        case ErrorCode::context_length_exceeded:
            return 400;
        case ErrorCode::out_of_range:
        case ErrorCode::unsupported:
        case ErrorCode::wrong_chain:
        case ErrorCode::invalid_price:
        case ErrorCode::invalid_quantity:
        case ErrorCode::invalid_window:
        case ErrorCode::job_spec_invalid:
        case ErrorCode::job_limit:
        case ErrorCode::data_missing:
        case ErrorCode::data_invalid:
        case ErrorCode::expired:
        case ErrorCode::voucher_above_lock:
            return 422;
        case ErrorCode::invalid_signature:
        case ErrorCode::unauthorized:
        case ErrorCode::session_expired:
        case ErrorCode::nonce_used:
            return 401;
        case ErrorCode::insufficient_funds:
        case ErrorCode::delegation_cap_exceeded:
        case ErrorCode::insufficient_bond:
            return 402;
        case ErrorCode::forbidden:
        case ErrorCode::delegation_revoked:
        case ErrorCode::unknown_worker:
        case ErrorCode::policy_refused:
            return 403;
        case ErrorCode::not_found:
        case ErrorCode::unknown_model:
            return 404;
        case ErrorCode::timeout:
            return 504;
        case ErrorCode::exists_with_different_body:
        case ErrorCode::idempotency_conflict:
        case ErrorCode::already_cancelled:
        case ErrorCode::already_filled:
        case ErrorCode::wrong_state:
        case ErrorCode::replayed_order:
        case ErrorCode::no_match:
        case ErrorCode::receipt_out_of_order:
        case ErrorCode::receipt_equivocation:
        case ErrorCode::voucher_not_higher:
        case ErrorCode::lease_closed:
        case ErrorCode::already_signed_differently:
        case ErrorCode::chain_refused:
        case ErrorCode::cancelled:
            return 409;
        case ErrorCode::too_large:
            return 413;
        case ErrorCode::rate_limited:
            return 429;
        case ErrorCode::queue_full:
        case ErrorCode::no_capacity:
        case ErrorCode::chain_unreachable:
        case ErrorCode::chain_mismatch:
        case ErrorCode::chain_bad_answer:
        case ErrorCode::foreign_nonce:
        case ErrorCode::ledger_mismatch:
        case ErrorCode::log_damaged:
        case ErrorCode::worker_lost:
        case ErrorCode::worker_failed:
        case ErrorCode::out_of_memory:
        case ErrorCode::sandbox_unavailable:
        case ErrorCode::disk_full:
        case ErrorCode::unavailable:
            return 503;
        case ErrorCode::clock_backwards:
        case ErrorCode::audit_failed:
        case ErrorCode::port_in_use:
        case ErrorCode::io_error:
        case ErrorCode::config_invalid:
        case ErrorCode::internal:
            return 500;
    }
    return 500;
}

std::string problem_json(const Error& error, int status, std::string_view request_id) {
    const std::string code(ledger::base::to_string(error.code()));
    json out;
    out["type"] = "/docs/errors#" + code;
    out["title"] = title(status);
    out["status"] = status;
    out["code"] = code;
    out["detail"] = error.detail();
    out["help"] = ledger::base::help_for(error.code());
    out["instance"] = request_id;
    return ledger::rpc::to_text(out);
}

std::string openai_error_json(const Error& error, int status) {
    const char* type = "invalid_request_error";
    if (status == 401) type = "authentication_error";
    if (status == 402) type = "insufficient_quota";
    if (status == 403) type = "permission_error";
    if (status == 429) type = "rate_limit_error";
    if (status >= 500) type = "server_error";
    const std::string code(ledger::base::to_string(error.code()));
    json body;
    body["message"] =
        error.detail().empty() ? std::string(ledger::base::help_for(error.code())) : error.detail();
    body["type"] = type;
    // A detail that is about a parameter begins with its name in quotes.
    const std::string& detail = error.detail();
    const auto quote = detail.starts_with('\'') ? detail.find('\'', 1) : std::string::npos;
    body["param"] = quote == std::string::npos ? json(nullptr) : json(detail.substr(1, quote - 1));
    body["code"] = error.code() == ErrorCode::unknown_model ? "model_not_found" : code;
    json out;
    out["error"] = std::move(body);
    return ledger::rpc::to_text(out);
}

}  // namespace marketplace::wire
