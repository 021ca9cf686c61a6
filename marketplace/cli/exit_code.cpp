// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/exit_code.hpp"

namespace marketplace::cli {

std::string_view to_sentence(ExitCode code) noexcept {
    switch (code) {
        case ExitCode::kOk:
            return "done";
        case ExitCode::kFailed:
            return "failed";
        case ExitCode::kUsage:
            return "wrong usage, setting or input";
        case ExitCode::kAuth:
            return "not signed in, wrong key or password, or not yours";
        case ExitCode::kPayment:
            return "not enough money, or above a cap";
        case ExitCode::kNoCapacity:
            return "nobody offers this now";
        case ExitCode::kJobFailed:
            return "the job ended without its result";
        case ExitCode::kVerificationFailed:
            return "an audit, a proof or a hash does not hold";
        case ExitCode::kUnreachable:
            return "market or chain does not answer";
    }
    return "failed";
}

ExitCode exit_code_for(ledger::base::ErrorCode code) noexcept {
    using ledger::base::ErrorCode;
    switch (code) {
        case ErrorCode::invalid_json:
        case ErrorCode::invalid_request:
        case ErrorCode::invalid_field:
        case ErrorCode::unknown_field:
        case ErrorCode::missing_field:
        case ErrorCode::out_of_range:
        case ErrorCode::too_large:
        case ErrorCode::unsupported:
        case ErrorCode::invalid_encoding:
        case ErrorCode::invalid_price:
        case ErrorCode::invalid_quantity:
        case ErrorCode::invalid_window:
        case ErrorCode::job_spec_invalid:
        case ErrorCode::job_limit:
        case ErrorCode::config_invalid:
        case ErrorCode::data_missing:
        case ErrorCode::data_invalid:
            return ExitCode::kUsage;
        case ErrorCode::invalid_signature:
        case ErrorCode::wrong_chain:
        case ErrorCode::unauthorized:
        case ErrorCode::forbidden:
        case ErrorCode::session_expired:
        case ErrorCode::nonce_used:
        case ErrorCode::delegation_revoked:
            return ExitCode::kAuth;
        case ErrorCode::insufficient_funds:
        case ErrorCode::insufficient_bond:
        case ErrorCode::delegation_cap_exceeded:
            return ExitCode::kPayment;
        case ErrorCode::no_match:
        case ErrorCode::no_capacity:
        case ErrorCode::unknown_model:
            return ExitCode::kNoCapacity;
        case ErrorCode::worker_failed:
        case ErrorCode::worker_lost:
        case ErrorCode::sandbox_unavailable:
        case ErrorCode::out_of_memory:
        case ErrorCode::context_length_exceeded:
            return ExitCode::kJobFailed;
        case ErrorCode::audit_failed:
            return ExitCode::kVerificationFailed;
        case ErrorCode::chain_unreachable:
        case ErrorCode::chain_bad_answer:
        case ErrorCode::unavailable:
        case ErrorCode::timeout:
        case ErrorCode::rate_limited:
        case ErrorCode::queue_full:
            return ExitCode::kUnreachable;
        default:
            return ExitCode::kFailed;
    }
}

}  // namespace marketplace::cli
