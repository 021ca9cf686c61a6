// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "marketplace/domain/command.hpp"
#include "marketplace/domain/event.hpp"
#include "marketplace/engine/engine.hpp"
#include "marketplace/engine/market_data.hpp"
#include "marketplace/wire/worker_json.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

/// What the handlers need from the rest of the market; the composition root (app) provides it.
/// All calls are thread-safe; callbacks come on the thread named.
namespace marketplace::api {

using ledger::base::Result;

/// The single writer behind a bounded queue.
class EnginePort {
 public:
    virtual ~EnginePort() = default;
    /// `done` is called once, on the engine thread, after the change is on disk (fsync), or at
    /// once with queue_full. It must not block.
    virtual void submit(domain::Command command,
                        std::function<void(Result<std::vector<domain::Event>>)> done) = 0;
    /// Runs `read` on the engine thread between commands; false when the queue is full.
    [[nodiscard]] virtual bool query(std::function<void(const engine::Engine&)> read) = 0;
};

/// What a caller may still pay for one request. Thread-safe.
class Budget {
 public:
    virtual ~Budget() = default;
    /// Sets up to `atoms` aside and tells how much that was; 0 when nothing is left.
    [[nodiscard]] virtual std::uint64_t hold(std::uint64_t atoms) = 0;
    /// Lets the hold go; `paid_atoms` of it were paid.
    virtual void settle(std::uint64_t paid_atoms) = 0;
};

/// A completion on its way to a worker and back.
struct InferenceRequest {
    domain::Address buyer;
    std::string model;   ///< published name
    std::string prompt;  ///< bytes after the chat template; empty with messages
    wire::Sampling sampling;
    std::string messages;  ///< as in wire::Infer
    // Vectors of texts instead of a completion.
    std::string embed;  ///< as wire::Embed::inputs; empty: a completion
    std::size_t embed_count = 0;
    std::uint64_t embed_dimensions = 0;  ///< as wire::Embed::dimensions
    /// Bounds what the request may cost: the most it can cost is held before it goes to a worker,
    /// so that requests at the same time cannot pass it together. Output is cut to what is left;
    /// delegation_cap_exceeded when that is not one token. Null: no bound but the lease's.
    std::shared_ptr<Budget> budget;
};
struct InferenceDone {
    std::uint64_t prompt_tokens = 0;
    std::uint64_t completion_tokens = 0;
    std::vector<std::string> finish_reasons;  ///< "stop", "length", by choice
    std::vector<std::string> vectors;         ///< base64 of little-endian floats, by input
    std::uint64_t cost_atoms = 0;
    std::vector<std::string> receipts;  ///< struct hashes, 0x-hex
    bool cut_by_budget = false;         ///< it ended where the budget did
};
/// Routes completions to workers with an open serving lease of the buyer.
class InferencePort {
 public:
    virtual ~InferencePort() = default;
    using OnToken = std::function<void(const wire::Token&)>;
    using OnDone = std::function<void(Result<InferenceDone>)>;
    /// Starts a completion; callbacks come on any io thread, `on_done` exactly once and last.
    /// Returns an id for `abort`.
    virtual std::uint64_t start(InferenceRequest request, OnToken on_token, OnDone on_done) = 0;
    virtual void abort(std::uint64_t id) = 0;
    /// The most that this request can cost, at the highest prices of the leases that may serve it.
    /// no_capacity when there are none.
    [[nodiscard]] virtual Result<std::uint64_t> most_atoms(const InferenceRequest&) const {
        return ledger::base::fail(ledger::base::ErrorCode::no_capacity);
    }
    enum class Pace : std::uint8_t { kGo, kHold };
    /// Holds a completion whose reader is slow, and lets it go on. Tokens under way still come.
    virtual void pace(std::uint64_t id, Pace pace) = 0;
};

/// A job's live record: phases, log lines and metrics, each with a rising sequence per job.
struct JobRecord {
    std::uint64_t sequence = 0;
    domain::TimeMs time_ms = 0;
    std::string kind;  ///< "phase", "train", "eval", "log"
    std::string data;  ///< a JSON object as text
};
class JobRecordsPort {
 public:
    virtual ~JobRecordsPort() = default;
    /// Records after `after`, oldest first, at most `limit`.
    [[nodiscard]] virtual std::vector<JobRecord> after(const domain::JobId& job,
                                                       std::uint64_t after,
                                                       std::size_t limit) const = 0;
};

/// Trades, prices and the book, as far as the journal on disk goes.
class MarketDataPort {
 public:
    virtual ~MarketDataPort() = default;
    /// Runs `use` at once, on the caller's thread; it must be short.
    virtual void read(const std::function<void(const engine::MarketData&)>& use) const = 0;
};

/// Non-engine rows behind the same database; written on the engine thread, durable when `done`.
struct PublishedModel {
    std::string name;
    domain::Address owner;
    std::string spec;  ///< the serve job spec's canonical bytes
    domain::TimeMs created_ms = 0;
    bool is_public = false;  ///< anybody may read the spec, and serve the model by it
};
struct ApiKeyRow {
    std::string id;           ///< "key_…"
    domain::Hash32 key_hash;  ///< SHA-256 of the secret
    domain::Address owner;
    std::string label;
    domain::TimeMs created_ms = 0;
    bool revoked = false;
    std::uint32_t scopes = 0;                      ///< of KeyScope
    std::optional<std::uint64_t> spend_cap_atoms;  ///< none: whatever the owner may spend
    std::uint64_t spent_atoms = 0;
    domain::TimeMs expires_ms = 0;                  ///< 0: never
    std::optional<std::uint64_t> delegation_nonce;  ///< of the delegation it is bound to
    std::uint64_t requests_per_minute = 0;          ///< 0: as many as its address may make
};
/// An account's name for a blob, as OpenAI's files.
struct FileRow {
    std::string id;  ///< "file-…"
    domain::Address owner;
    std::string filename;
    std::string purpose;
    domain::Hash32 blob;
    std::uint64_t bytes = 0;
    domain::TimeMs created_ms = 0;
};
class CatalogPort {
 public:
    virtual ~CatalogPort() = default;
    virtual Result<void> put_model(const PublishedModel& model) = 0;  ///< blocking, durable
    [[nodiscard]] virtual std::optional<PublishedModel> model(const std::string& name) const = 0;
    [[nodiscard]] virtual std::vector<PublishedModel> models() const = 0;
    virtual Result<void> put_job_spec(const domain::Hash32& spec_hash, std::string bytes) = 0;
    [[nodiscard]] virtual std::optional<std::string> job_spec(
        const domain::Hash32& spec_hash) const = 0;
    virtual Result<void> put_api_key(const ApiKeyRow& key) = 0;
    virtual Result<void> revoke_api_key(const std::string& id, const domain::Address& owner) = 0;
    virtual Result<void> spend_api_key(const std::string& id, std::uint64_t atoms) = 0;
    [[nodiscard]] virtual std::optional<ApiKeyRow> api_key(
        const domain::Hash32& key_hash) const = 0;
    [[nodiscard]] virtual std::vector<ApiKeyRow> api_keys(const domain::Address& owner) const = 0;
    virtual Result<void> put_file(const FileRow& file) = 0;
    virtual Result<void> delete_file(const std::string& id, const domain::Address& owner) = 0;
    [[nodiscard]] virtual std::optional<FileRow> file(const std::string& id,
                                                      const domain::Address& owner) const = 0;
    /// The data key of a sealed job, wrapped for the lease's worker; a later one takes its place.
    virtual Result<void> put_job_key(const domain::Hash32& lease, domain::Bytes wrapped) = 0;
    [[nodiscard]] virtual std::optional<domain::Bytes> job_key(
        const domain::Hash32& lease) const = 0;
    /// Oldest first.
    [[nodiscard]] virtual std::vector<FileRow> files(const domain::Address& owner) const = 0;
};

/// Questions to the chain's node. They block: ask them on `Services::chain_desk`.
/// chain_unreachable, timeout: it could not be asked, nothing follows from it.
class ChainPort {
 public:
    virtual ~ChainPort() = default;
    /// Whether the contract at `account`, if any, accepts the signature (ERC-1271).
    [[nodiscard]] virtual Result<bool> accepts_signature(const domain::Address& account,
                                                         const domain::Hash32& digest,
                                                         ledger::base::ByteView signature) = 0;
    /// What a delegation's nonce must be to hold; raised when its owner revokes.
    [[nodiscard]] virtual Result<std::uint64_t> delegation_nonce(const domain::Address& owner) = 0;
};

/// The public log: records as stored, and proofs over them.
class LogPort {
 public:
    virtual ~LogPort() = default;
    struct Head {
        ledger::eth::TreeHead head;
        domain::Signature signature;  ///< by the operator, for the ReceiptLog contract
        std::optional<domain::Signature> cosignature;  ///< by the witness, of the same head
    };
    [[nodiscard]] virtual std::uint64_t size() const = 0;
    [[nodiscard]] virtual std::optional<Head> signed_head() const = 0;
    /// Who co-signs heads; empty: nobody is asked to.
    [[nodiscard]] virtual std::optional<domain::Address> witness() const = 0;
    /// Takes the witness's signature of the head that waits for it. invalid_signature; wrong_state
    /// when it is another head; unsupported without a witness.
    [[nodiscard]] virtual Result<void> cosign(const ledger::eth::TreeHead& head,
                                              const domain::Signature& signature) = 0;
    /// Record bytes of [first, first + limit).
    [[nodiscard]] virtual std::vector<domain::Bytes> records(std::uint64_t first,
                                                             std::size_t limit) const = 0;
    [[nodiscard]] virtual Result<std::vector<domain::Hash32>> inclusion_proof(
        std::uint64_t index, std::uint64_t size) const = 0;
    [[nodiscard]] virtual Result<std::vector<domain::Hash32>> consistency_proof(
        std::uint64_t old_size, std::uint64_t size) const = 0;
};

/// Settlement as people ask about it.
struct SettlementRow {
    std::uint64_t id = 0;
    std::string kind;   ///< "open", "claim", "close", "anchor"
    std::string state;  ///< "signed", "broadcast", "mined", "final", "failed"
    domain::Hash32 transaction;
    std::uint64_t nonce = 0;
    std::uint64_t gas_used = 0;
    std::vector<domain::Hash32> leases;
    domain::TimeMs created_ms = 0;
};
class SettlementPort {
 public:
    virtual ~SettlementPort() = default;
    [[nodiscard]] virtual std::vector<SettlementRow> settlements(std::uint64_t after,
                                                                 std::size_t limit) const = 0;
    /// "ok"; "starting", "reconciling"; or the code of the error it waits for.
    [[nodiscard]] virtual std::string status() const = 0;
};

/// Facts everybody may know: where to sign, whom to trust with what.
struct MarketInfo {
    std::string version;
    std::string deployment_json;       ///< as in the deployment file
    domain::Address delegate_address;  ///< signs vouchers for buyers who delegate
    engine::EngineConfig rules;        ///< what a replay of the log needs
};

}  // namespace marketplace::api
