// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ledger::base {

/// Every outcome a caller can act on, grouped by room: X(name, what to do next).
/// The name is the stable code sent to clients; it never changes once released.
// clang-format off
#define MILLRACE_ERROR_CODES(X) \
    /* shape of the input */ \
    X(invalid_json, "send one JSON object; every key once, at most 32 levels deep") \
    X(invalid_request, "see the route in /openapi.json for the fields it takes") \
    X(invalid_field, "correct the named field and send the request again") \
    X(unknown_field, "remove the named field; unknown fields are refused") \
    X(missing_field, "add the named field") \
    X(out_of_range, "choose a value inside the limits named") \
    X(too_large, "send less: the limit is named in the message") \
    X(unsupported, "use one of the supported values named in the message") \
    X(invalid_encoding, "the bytes are not in the expected canonical form") \
    /* signatures and identity */ \
    X(invalid_signature, "sign the message again with the key of the account it names") \
    X(wrong_chain, "sign for the chain id and contract that /v1/market/info names") \
    X(unauthorized, "sign in, or send an API key in the Authorization header") \
    X(forbidden, "use the account that owns this object") \
    X(session_expired, "sign in again") \
    X(nonce_used, "ask for a new nonce and sign again") \
    X(delegation_revoked, "sign a new delegation") \
    X(delegation_cap_exceeded, "raise the delegation's spend cap or wait for a refund") \
    /* existence and state */ \
    X(not_found, "check the id; list the objects you own") \
    X(exists_with_different_body, "choose a new id: this one is bound to another body") \
    X(idempotency_conflict, "choose a new Idempotency-Key: this one is bound to another body") \
    X(already_cancelled, "nothing to do: it is cancelled") \
    X(already_filled, "nothing to do: it is filled") \
    X(expired, "sign a new one with a later expiry") \
    X(wrong_state, "read the object's state first; this step does not apply to it") \
    X(replayed_order, "change the salt and sign again: this order was posted before") \
    /* market */ \
    X(invalid_price, "give a price of at least one atom per scale") \
    X(invalid_quantity, "give a quantity of at least one and at most the limit named") \
    X(invalid_window, "give an end after the start, in the future") \
    X(no_match, "read the reasons; raise the ceiling or relax the constraint with most failures") \
    X(insufficient_funds, "deposit into escrow with `millrace deposit AMOUNT` and try again") \
    X(insufficient_bond, "bond more with `millrace-worker register --bond AMOUNT`") \
    X(unknown_model, "list models with GET /v1/models, or publish one with `millrace publish`") \
    X(unknown_worker, "register the worker key with `millrace-worker register`") \
    X(no_capacity, "no worker serves this now; try again or open a lease with `millrace serve`") \
    X(job_spec_invalid, "correct the named field of the job spec") \
    X(job_limit, "the job is larger than this market accepts; the limit is named") \
    X(rate_limited, "wait for the time in Retry-After") \
    X(queue_full, "wait for the time in Retry-After") \
    X(clock_backwards, "the clock went back; nothing was changed") \
    /* receipts, vouchers, settlement */ \
    X(receipt_out_of_order, "send the receipt that follows the last accepted one") \
    X(receipt_equivocation, "two receipts carry one sequence; both are kept as evidence") \
    X(voucher_not_higher, "nothing to do: a higher voucher is known") \
    X(voucher_above_lock, "the total passes the lease's lock; open a new lease") \
    X(lease_closed, "the lease is closed; no further work is paid under it") \
    X(policy_refused, "the signer's policy does not allow this; see its audit log") \
    X(already_signed_differently, "this lease and sequence has another digest; it is never signed twice") \
    X(chain_refused, "the chain rejected the call; the reason is in the message") \
    X(chain_unreachable, "start the node, or point --rpc at one that answers") \
    X(chain_mismatch, "the node serves another chain than the deployment; check --rpc") \
    X(chain_bad_answer, "the node's answer makes no sense; point --rpc at another node") \
    X(foreign_nonce, "another program uses the operator key, or this database is an older copy; see ledger/settlement/README.md") \
    X(ledger_mismatch, "nothing is signed until the ledger and the chain agree; see ledger/settlement/README.md") \
    X(log_damaged, "bring back the newest good copy of the data folder; no head is signed over changed records") \
    X(audit_failed, "read the findings; the first one names the record") \
    /* work */ \
    X(data_missing, "upload the blob the job names with `millrace upload FILE`") \
    X(data_invalid, "the file is not of the format named; convert it") \
    X(worker_failed, "the worker could not run the job; its message follows") \
    X(worker_lost, "the worker went away; the job is reopened elsewhere") \
    X(sandbox_unavailable, "install bubblewrap and allow user namespaces, or see worker/README.md") \
    X(out_of_memory, "choose a smaller model or batch, or an ask with more memory") \
    X(context_length_exceeded, "shorten the prompt or max_tokens") \
    /* the machine */ \
    X(port_in_use, "choose another port with --listen, or stop the program that uses it") \
    X(io_error, "check the disk and its permissions") \
    X(disk_full, "free some space; reading goes on meanwhile") \
    X(config_invalid, "correct the named setting") \
    X(unavailable, "try again in a moment") \
    X(cancelled, "the caller gave up") \
    X(timeout, "try again; the other side did not answer in time") \
    X(internal, "report the incident id; nothing was changed")
// clang-format on

enum class ErrorCode : std::uint16_t {
#define MILLRACE_ERROR_ENUM(name, help) name,
    MILLRACE_ERROR_CODES(MILLRACE_ERROR_ENUM)
#undef MILLRACE_ERROR_ENUM
};

/// Stable text of a code, e.g. "insufficient_funds".
[[nodiscard]] std::string_view to_string(ErrorCode code) noexcept;

/// The code of that name, for programs that read what another said.
[[nodiscard]] std::optional<ErrorCode> parse_error_code(std::string_view text) noexcept;

/// One sentence that says what to do next.
[[nodiscard]] std::string_view help_for(ErrorCode code) noexcept;

/// An expected failure. `detail` is for the caller's eyes: no paths, SQL or node text.
class Error {
 public:
    explicit Error(ErrorCode code, std::string detail = {})
        : code_(code), detail_(std::move(detail)) {}

    [[nodiscard]] ErrorCode code() const noexcept { return code_; }
    [[nodiscard]] const std::string& detail() const noexcept { return detail_; }
    /// "code: detail. What to do next." for logs and terminals.
    [[nodiscard]] std::string message() const;

    friend bool operator==(const Error&, const Error&) = default;

 private:
    ErrorCode code_;
    std::string detail_;
};

}  // namespace ledger::base
