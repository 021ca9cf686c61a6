// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "marketplace/domain/lease.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// The messages between a worker and the market: JSON text over one WebSocket that the worker
/// dials (GET /v1/worker/ws). Each has a "type". Unknown fields and types are refused.
/// Integers of signed messages are decimal strings; other integers are JSON numbers.
namespace marketplace::wire {

using domain::Address;
using domain::Hash32;
using domain::Signature;

/// Counts up when a message changes so that a side of the older form does not understand it. 2: a
/// reason for each choice, and the dimensions of vectors.
inline constexpr std::uint32_t kWorkerProtocol = 2;

struct SignedReceipt {
    ledger::eth::Receipt receipt;
    Signature signature;
    friend bool operator==(const SignedReceipt&, const SignedReceipt&) = default;
};
struct LeaseProgress {
    Hash32 lease;
    std::uint64_t sequence = 0;  ///< of the last receipt the worker signed
    friend bool operator==(const LeaseProgress&, const LeaseProgress&) = default;
};
/// Who does what under a lease; stored on chain as one hash.
struct LeaseParties {
    Address buyer;
    Address provider;
    Address voucher_signer;
    Address worker;
    friend bool operator==(const LeaseParties&, const LeaseParties&) = default;
};

// ---- worker to market ----

/// First message of a connection.
struct Hello {
    std::uint32_t version = kWorkerProtocol;
    Address worker;
    Address provider;
    domain::Resource resource;
    std::vector<LeaseProgress> leases;  ///< the worker still holds these
    std::vector<Hash32> serving;        ///< output leases whose model is loaded
    friend bool operator==(const Hello&, const Hello&) = default;
};
/// The worker is ready: billing begins.
struct Started {
    Hash32 lease;
    friend bool operator==(const Started&, const Started&) = default;
};
/// Progress for people; never billed from. Not finite numbers travel as null.
struct Metrics {
    Hash32 lease;
    std::uint64_t step = 0;
    std::string kind = "train";  ///< "train" or "eval"
    double loss = 0;
    double metric = 0;  ///< accuracy, or 0
    double tokens_per_s = 0;
    friend bool operator==(const Metrics&, const Metrics&) = default;
};
struct ReceiptMessage {
    SignedReceipt receipt;
    std::uint64_t step = 0;  ///< of the job, all leases together
    Hash32 checkpoint;       ///< blob of the state at that step; zero: none
    friend bool operator==(const ReceiptMessage&, const ReceiptMessage&) = default;
};
struct WorkerVoucher {
    ledger::eth::Voucher voucher;
    Signature worker_signature;
    friend bool operator==(const WorkerVoucher&, const WorkerVoucher&) = default;
};
struct WorkFailed {
    Hash32 lease;
    std::string code;
    std::string detail;
    friend bool operator==(const WorkFailed&, const WorkFailed&) = default;
};
struct WorkFinished {
    Hash32 lease;
    friend bool operator==(const WorkFinished&, const WorkFinished&) = default;
};
/// The model of a serving lease is loaded: completions may come.
struct Serving {
    Hash32 lease;
    std::string model;
    friend bool operator==(const Serving&, const Serving&) = default;
};
struct TokenLogprob {
    std::string bytes;  ///< of the token, perhaps part of a character; hex on the wire
    double logprob = 0;
    friend bool operator==(const TokenLogprob&, const TokenLogprob&) = default;
};
struct Token {
    std::uint64_t request = 0;
    std::string text;
    std::uint64_t index = 0;
    std::uint64_t choice = 0;
    std::vector<TokenLogprob> logprobs;  ///< when asked for: the token, then the alternatives
    friend bool operator==(const Token&, const Token&) = default;
};
/// The vector of one input of an Embed, in the order of the inputs.
struct Embedding {
    std::uint64_t request = 0;
    std::uint64_t index = 0;
    std::string vector;  ///< base64 of little-endian 32-bit floats
    friend bool operator==(const Embedding&, const Embedding&) = default;
};
struct CompletionDone {
    std::uint64_t request = 0;
    std::uint64_t prompt_tokens = 0;          ///< once, whatever the number of choices
    std::uint64_t completion_tokens = 0;      ///< of all choices
    std::vector<std::string> finish_reasons;  ///< by choice; none for embeddings
    std::vector<SignedReceipt> receipts;      ///< one on the input lease, one on the output lease
    friend bool operator==(const CompletionDone&, const CompletionDone&) = default;
};
struct CompletionRefused {
    std::uint64_t request = 0;
    std::string code;
    std::string detail;
    friend bool operator==(const CompletionRefused&, const CompletionRefused&) = default;
};
using WorkerMessage =
    std::variant<Hello, Started, Metrics, ReceiptMessage, WorkerVoucher, WorkFailed, WorkFinished,
                 Serving, Token, Embedding, CompletionDone, CompletionRefused>;

// ---- market to worker ----

/// Answer to hello.
struct Welcome {
    std::uint64_t chain_id = 0;
    Address leases;
    Address receipt_log;
    std::uint64_t market_time_ms = 0;
    friend bool operator==(const Welcome&, const Welcome&) = default;
};
/// Work under an open lease, or the same again after a reconnect.
struct Assign {
    Hash32 lease;
    LeaseParties parties;
    Hash32 ask_hash;
    Hash32 bid_hash;
    std::uint64_t index = 0;
    ledger::eth::UnitKind unit_kind = ledger::eth::UnitKind::kTrainingStep;
    std::uint64_t price_atoms = 0;
    std::uint64_t max_units = 0;
    std::string spec;  ///< canonical bytes of the job spec
    Hash32 salt;       ///< of request and response hashes, shared by buyer and worker only
    domain::JobId job;
    std::uint64_t start_step = 0;
    Hash32 start_checkpoint;  ///< zero: from the beginning
    // The lease's receipts that the market has: the next one follows these.
    std::uint64_t receipts_sequence = 0;
    Hash32 receipts_previous;
    std::uint64_t receipts_cumulative_units = 0;
    friend bool operator==(const Assign&, const Assign&) = default;
};
/// The receipt is on disk.
struct Ack {
    Hash32 lease;
    std::uint64_t sequence = 0;
    friend bool operator==(const Ack&, const Ack&) = default;
};
struct BuyerVoucher {
    ledger::eth::Voucher voucher;
    Signature buyer_signature;
    friend bool operator==(const BuyerVoucher&, const BuyerVoucher&) = default;
};
struct CancelWork {
    Hash32 lease;
    std::string reason;
    friend bool operator==(const CancelWork&, const CancelWork&) = default;
};
struct TokenBias {
    std::uint64_t token = 0;
    std::string bias;  ///< decimal, -100 to 100
    friend bool operator==(const TokenBias&, const TokenBias&) = default;
};
/// How tokens are chosen. Decimals are text.
struct Sampling {
    std::uint64_t max_tokens = 16;   ///< of each choice
    std::string temperature = "1";   ///< empty: as the model's publisher advises
    std::string top_p = "1";         ///< empty: as the model's publisher advises
    std::string repetition_penalty;  ///< empty: as the model's publisher advises
    std::string min_p;               ///< empty: 0
    std::string presence_penalty;    ///< empty: 0
    std::string frequency_penalty;   ///< empty: 0
    std::uint64_t top_k = 0;         ///< 0: as the model's publisher advises
    std::uint64_t seed = 0;          ///< of the first choice; those of the others follow from it
    std::vector<std::string> stop;
    std::vector<TokenBias> logit_bias;
    std::uint64_t logprobs = 0;  ///< 0: none, else one more than the alternatives wanted
    std::uint64_t choices = 1;
    std::string schema;  ///< the JSON schema that the text must follow; empty: any text
    friend bool operator==(const Sampling&, const Sampling&) = default;
};
struct Infer {
    std::uint64_t request = 0;
    Hash32 input_lease;
    Hash32 output_lease;
    std::string prompt;
    Sampling sampling;
    /// Instead of the prompt, for models with a chat template of their own: a canonical JSON list
    /// of {"content","role"}.
    std::string messages;
    friend bool operator==(const Infer&, const Infer&) = default;
};
/// Vectors of texts, billed as input tokens.
struct Embed {
    std::uint64_t request = 0;
    Hash32 input_lease;
    Hash32 output_lease;
    std::string inputs;  ///< canonical JSON: a list of strings, or of lists of token numbers
    /// A model of shorter vectors refuses, before it works; the market cuts what comes. 0: all.
    std::uint64_t dimensions = 0;
    friend bool operator==(const Embed&, const Embed&) = default;
};
/// The buyer reads more slowly than tokens come: the completion waits, or goes on.
struct HoldCompletion {
    std::uint64_t request = 0;
    std::uint64_t hold = 0;  ///< 1: wait, 0: go on
    friend bool operator==(const HoldCompletion&, const HoldCompletion&) = default;
};
struct AbortCompletion {
    std::uint64_t request = 0;
    friend bool operator==(const AbortCompletion&, const AbortCompletion&) = default;
};
struct MarketError {
    std::string code;
    std::string detail;
    friend bool operator==(const MarketError&, const MarketError&) = default;
};
using MarketMessage = std::variant<Welcome, Assign, Ack, BuyerVoucher, CancelWork, Infer, Embed,
                                   HoldCompletion, AbortCompletion, MarketError>;

/// Tokens that the input of one completion may be billed at most; the worker refuses an input that
/// has more. A token is at least a byte of text, special tokens and what a chat template puts
/// around the messages come on top: 16 around a prompt, 1024 around messages.
[[nodiscard]] std::uint64_t input_tokens_max(std::string_view prompt,
                                             std::string_view messages) noexcept;
/// The same for an Embed: each input has some of the bytes of `inputs`, and 16 tokens around it.
[[nodiscard]] std::uint64_t embed_tokens_max(std::string_view inputs) noexcept;

[[nodiscard]] std::string encode(const WorkerMessage& message);
[[nodiscard]] std::string encode(const MarketMessage& message);
/// unsupported, saying which side to upgrade, for a Hello of another version, whatever else is in
/// it.
[[nodiscard]] ledger::base::Result<WorkerMessage> decode_worker_message(std::string_view json);
[[nodiscard]] ledger::base::Result<MarketMessage> decode_market_message(std::string_view json);

}  // namespace marketplace::wire
