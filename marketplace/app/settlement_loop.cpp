// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/settlement_loop.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"
#include "ledger/settlement/leases_abi.hpp"
#include "ledger/settlement/receipt_log_abi.hpp"
#include "marketplace/app/chain_commands.hpp"
#include "marketplace/app/reconciliation.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <chrono>

namespace marketplace::app {
namespace {

namespace settlement = ledger::settlement;
using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using storage::Database;
using storage::SettlementStore;

constexpr domain::TimeMs kReconcileAgainMs = 5'000;
constexpr const char* kCursor = "chain_cursor";

domain::Bytes encode_cursor(const settlement::WatchCursor& cursor) {
    domain::Bytes out;
    for (int i = 0; i < 8; ++i)
        out.push_back(static_cast<std::uint8_t>(cursor.next_block >> (8 * i)));
    ledger::base::append(out, cursor.last_hash.span());
    return out;
}

std::optional<settlement::WatchCursor> decode_cursor(ledger::base::ByteView bytes) {
    if (bytes.size() != 40) return std::nullopt;
    settlement::WatchCursor out;
    for (std::size_t i = 0; i < 8; ++i)
        out.next_block |= std::uint64_t{bytes[i]} << (8 * i);
    out.last_hash = domain::Hash32(bytes.subspan(8).first<32>());
    return out;
}

}  // namespace

SettlementLoop::SettlementLoop(Deps deps)
    : deps_(std::move(deps)),
      rows_(deps_.engine, deps_.clock),
      signer_(deps_.deployment.market_operator,
              [this](const ledger::eth::Transaction& transaction) {
                  return deps_.signer.sign_transaction(deps_.deployment.market_operator,
                                                       transaction);
              }),
      submitter_(deps_.chain, signer_, rows_, deps_.clock,
                 [this] {
                     settlement::SubmitterOptions options;
                     options.chain_id = deps_.deployment.chain_id;
                     options.finality_depth = deps_.config.finality_depth;
                     options.adopt_chain_nonce = deps_.config.adopt_chain_nonce;
                     return options;
                 }()),
      watcher_(deps_.chain, deps_.deployment,
               [this] {
                   settlement::WatcherOptions options;
                   options.finality_depth = deps_.config.finality_depth;
                   return options;
               }()),
      upto_(deps_.engine, deps_.reads, deps_.config.x402_unpaid_calls),
      disk_check_(deps_.log) {}

SettlementLoop::~SettlementLoop() {
    stop();
}

void SettlementLoop::observe() {
    if (deps_.payments != nullptr) deps_.payments->on_task([this] { wake(); });
    deps_.engine.add_observer(
        [this](const engine::Record& record, ledger::base::ByteView, const engine::Engine&) {
            for (const domain::Event& event : record.events)
                if (std::holds_alternative<domain::Matched>(event) ||
                    std::holds_alternative<domain::LeaseChanged>(event) ||
                    std::holds_alternative<domain::VoucherAccepted>(event))
                    return wake();
        });
}

Result<void> SettlementLoop::start() {
    // A crash may have come between a transaction's end and this.
    TRY(deps_.engine.transact({},
                              [](Database& db) { return SettlementStore(db).release_failed(); }));
    TRY(upto_.load(deps_.clock.now_ms() / 1000));
    std::optional<ledger::base::Bytes> cursor;
    TRY(deps_.reads.with([&](Database& db) -> Result<void> {
        TRY_ASSIGN(bound_, SettlementStore(db).bound_items());
        TRY_ASSIGN(const auto waiting, SettlementStore(db).lone_claims());
        for (const settlement::ClaimedAlone& claim : waiting)
            lone_claims_[claim.lease] = claim;
        TRY_ASSIGN(cursor, storage::CatalogStore(db).setting(kCursor));
        return {};
    }));
    cursor_ = watcher_.beginning();
    if (cursor) {
        const auto stored = decode_cursor(*cursor);
        if (!stored) return fail(ErrorCode::config_invalid, "the stored chain cursor is damaged");
        cursor_ = *stored;
    }
    cosigned_ms_ = deps_.clock.now_ms();
    // Everything bound may be final already; asking the chain again is harmless.
    finished_ = bound_;
    thread_ = std::thread([this] { run(); });
    return {};
}

void SettlementLoop::stop() {
    {
        const std::scoped_lock lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
    const Error stopped(ErrorCode::cancelled, "the market stops");
    if (const auto kept = keep_charges(); !kept)
        spdlog::error("what calls came to is not written down: {}", kept.error().message());
    upto_.refuse_all(stopped);
    refuse_payments(stopped);
    for (auto& [call, payment] : payments_)
        payment.done(tl::make_unexpected(stopped));
    payments_.clear();
}

void SettlementLoop::wake() {
    {
        const std::scoped_lock lock(mutex_);
        woken_ = true;
    }
    wake_.notify_one();
}

std::uint64_t SettlementLoop::head_time_s() const {
    const std::scoped_lock lock(mutex_);
    return head_time_s_;
}

void SettlementLoop::run() {
    for (;;) {
        const auto result = round();
        if (!result) {
            if (!reached_payments_) refuse_payments(result.error());
            // The same trouble is said once, not twice a second.
            if (const std::string text = result.error().message(); text != last_error_) {
                spdlog::warn("settlement waits: {}", text);
                last_error_ = text;
            }
        } else if (!last_error_.empty()) {
            spdlog::info("settlement goes on");
            last_error_.clear();
        }
        std::unique_lock lock(mutex_);
        if (!result)
            status_ = to_string(result.error().code());
        else
            status_ = reconciled_ ? "ok" : "reconciling";
        wake_.wait_for(lock, std::chrono::milliseconds(deps_.config.settle_poll_ms),
                       [this] { return stopping_ || woken_; });
        woken_ = false;
        if (stopping_) return;
    }
}

std::string SettlementLoop::status() const {
    const std::scoped_lock lock(mutex_);
    return status_;
}

Result<void> SettlementLoop::round() {
    reached_payments_ = false;
    TRY(keep_charges());
    if (!started_) {
        TRY(submitter_.start());
        started_ = true;
    }
    TRY_ASSIGN(const bool caught_up, follow_chain());
    if (!reconciled_) {
        if (!caught_up) {
            wake();
            return {};
        }
        TRY(reconcile_all());
        reconciled_ = true;
    }
    TRY(track_transactions());
    handle_payments();
    TRY(take_owed());
    TRY(object_to_lone_claims());
    TRY(claim_vouchers());
    TRY(close_leases());
    TRY(anchor_log());
    return open_leases();
}

Result<bool> SettlementLoop::follow_chain() {
    TRY_ASSIGN(const settlement::WatchBatch batch, watcher_.poll(cursor_));
    {
        const std::scoped_lock lock(mutex_);
        head_time_s_ = batch.head_time_s;
    }
    if (batch.cursor == cursor_) return true;
    std::set<domain::Hash32> own_opens;
    TRY(deps_.reads.with([&](Database& db) -> Result<void> {
        TRY_ASSIGN(own_opens,
                   SettlementStore(db).own_opens_among(transactions_with_failures(batch)));
        return {};
    }));
    std::vector<storage::LoneClaimChange> changes;
    TRY_ASSIGN(std::vector<domain::Command> commands,
               deps_.engine.ask([&](const engine::Engine& engine) {
                   changes = lone_claim_changes(batch, engine);
                   return commands_of(batch, engine, own_opens);
               }));
    TRY(deps_.engine.transact(
        std::move(commands), [cursor = batch.cursor, changes](Database& db) -> Result<void> {
            if (auto applied = SettlementStore(db).apply(changes); !applied) return applied;
            return storage::CatalogStore(db).put_setting(kCursor, encode_cursor(cursor));
        }));
    cursor_ = batch.cursor;
    for (const storage::LoneClaimChange& change : changes) {
        if (change.waits)
            lone_claims_[change.lease] = *change.waits;
        else
            lone_claims_.erase(change.lease);
    }
    return batch.head_number + 1 < deps_.config.finality_depth + cursor_.next_block;
}

Result<void> SettlementLoop::reconcile_all() {
    // What differs is rarely healed by asking again at once.
    const domain::TimeMs now = deps_.clock.now_ms();
    if (mismatch_ && now < reconcile_at_ms_) return tl::make_unexpected(*mismatch_);
    const auto agrees = compare_with_chain();
    mismatch_.reset();
    reconcile_at_ms_ = now + kReconcileAgainMs;
    if (!agrees && agrees.error().code() == ErrorCode::ledger_mismatch)
        mismatch_.emplace(agrees.error());
    return agrees;
}

Result<void> SettlementLoop::compare_with_chain() {
    TRY_ASSIGN(const ledger::eth::TreeHead anchored,
               settlement::read_latest_head(deps_.chain, deps_.deployment.receipt_log,
                                            deps_.deployment.block));
    const auto root = deps_.log.root_at(anchored.size);
    if (!root)
        return fail(ErrorCode::ledger_mismatch,
                    fmt::format("the chain anchored a log of {} records, and here are fewer: this "
                                "database is an older copy",
                                anchored.size));
    if (anchored.size != 0 && *root != anchored.root)
        return fail(ErrorCode::ledger_mismatch,
                    fmt::format("the first {} records are not those that were anchored on chain",
                                anchored.size));
    if (cursor_ == watcher_.beginning()) return {};
    TRY_ASSIGN(const LedgerItems items, deps_.engine.ask(ledger_items));
    TRY(reconcile(deps_.chain, deps_.deployment, items,
                  ledger::rpc::BlockTag::number(cursor_.next_block - 1)));
    spdlog::info("ledger and chain agree: {} leases, {} accounts, {} records anchored",
                 items.leases.size(), items.accounts.size(), anchored.size);
    return {};
}

Result<void> SettlementLoop::track_transactions() {
    TRY_ASSIGN(const std::vector<settlement::SubmitterEvent> events, submitter_.poll());
    for (const settlement::SubmitterEvent& event : events) {
        note_payment(event);
        if (event.kind != settlement::SubmitterEvent::Kind::kFinal) continue;
        const settlement::TransactionRecord& record = event.record;
        const bool succeeded = record.mined && record.mined->succeeded;
        if (record.instruction.kind == "anchor") {
            // One sent before a restart is read from the chain, as is what somebody else anchored.
            anchored_ = succeeded ? anchoring_ : std::nullopt;
            anchoring_.reset();
        }
        const bool release = !succeeded;
        auto out = std::make_shared<std::vector<Item>>();
        TRY(deps_.engine.transact(
            {}, [out, release, nonce = record.nonce](Database& db) -> Result<void> {
                TRY_ASSIGN(*out, SettlementStore(db).items_of(nonce));
                if (release) return SettlementStore(db).release(nonce);
                return {};
            }));
        for (const Item& item : *out) {
            if (release)
                bound_.erase(item);
            else
                finished_.insert(item);
            TRY(settle_final_upto(item, succeeded));
        }
        if (!succeeded)
            spdlog::error("transaction {} ({}) {}; its items are tried again", record.nonce,
                          record.instruction.kind,
                          record.mined ? "was reverted" : "lost its nonce");
    }
    return {};
}

Result<void> SettlementLoop::submit(const std::string& kind, const domain::Address& to,
                                    domain::Bytes data, const std::vector<Item>& items) {
    settlement::Instruction instruction;
    // The same call is the same instruction, unless an earlier one was reverted.
    TRY_ASSIGN(const std::optional<std::uint64_t> next, rows_.next_nonce());
    instruction.id = kind + "-" + std::to_string(next.value_or(0)) + "-" +
                     ledger::base::to_hex(ledger::base::sha256(data)).substr(2, 16);
    instruction.kind = kind;
    instruction.to = to;
    instruction.data = std::move(data);
    rows_.set_items(items);
    const auto record = submitter_.submit(instruction);
    rows_.set_items({});
    if (!record) {
        if (record.error().code() == ErrorCode::chain_refused)
            spdlog::debug("{}: {}", kind, settlement::explain_revert(record.error()));
        return tl::make_unexpected(record.error());
    }
    spdlog::info("{}: nonce {}, {} item(s)", kind, record->nonce, items.size());
    bound_.insert(items.begin(), items.end());
    return {};
}

Result<void> SettlementLoop::anchor_log() {
    const domain::TimeMs now = deps_.clock.now_ms();
    if (anchoring_) return {};
    if (!anchored_) {
        TRY_ASSIGN(anchored_,
                   settlement::read_latest_head(deps_.chain, deps_.deployment.receipt_log,
                                                deps_.deployment.block));
    }
    auto head = deps_.log.signed_head();
    const bool waits = head && head->head.size > anchored_->size;
    // A head that a witness has signed goes to the chain; meanwhile a newer one takes its place.
    if (now >= signed_ms_ + deps_.config.anchor_every_ms && !(waits && head->cosignature)) {
        TRY_ASSIGN(const bool renewed, sign_head(now));
        if (!renewed) return {};
        head = deps_.log.signed_head();
    } else if (!waits) {
        return {};
    }
    if (!deps_.config.witness.is_zero()) {
        if (!head->cosignature) return {};
        cosigned_ms_ = now;
    }
    TRY_ASSIGN(const std::vector<domain::Hash32> proof,
               deps_.log.consistency_proof(anchored_->size, head->head.size));
    const auto sent = submit("anchor", deps_.deployment.receipt_log,
                             settlement::encode_anchor(*anchored_, head->head, {}, proof), {});
    if (sent) {
        anchoring_ = head->head;
        return {};
    }
    anchored_.reset();  // somebody else may have anchored a head
    const ErrorCode code = sent.error().code();
    if (code == ErrorCode::queue_full || code == ErrorCode::chain_refused) return {};
    return sent;
}

Result<bool> SettlementLoop::sign_head(domain::TimeMs now) {
    const std::uint64_t size = deps_.log.size();
    if (size <= anchored_->size) return false;
    TRY_ASSIGN(const bool checked, disk_check_.reach(size));
    if (!checked) {
        wake();
        return false;
    }
    ledger::eth::TreeHead head;
    head.size = size;
    head.time_ms = now;
    TRY_ASSIGN(head.root, deps_.log.root_at(size));
    TRY_ASSIGN(const domain::Signature signature,
               deps_.signer.sign_tree_head(deps_.deployment.market_operator,
                                           deps_.deployment.log_domain(), head));
    deps_.log.set_signed_head({head, signature, std::nullopt});
    signed_ms_ = now;
    return true;
}

/// Nobody's pay depends on the witness, but nothing new begins without it for long.
bool SettlementLoop::misses_witness() const {
    return !deps_.config.witness.is_zero() &&
           deps_.clock.now_ms() >= cosigned_ms_ + deps_.config.witness_patience_ms;
}

std::vector<api::SettlementRow> SettlementLoop::settlements(std::uint64_t after,
                                                            std::size_t limit) const {
    std::vector<api::SettlementRow> out;
    deps_.reads.with([&](Database& db) {
        SettlementStore store(db);
        const auto records = store.list(after, limit);
        if (!records) return;
        for (const settlement::TransactionRecord& record : *records) {
            api::SettlementRow row;
            row.id = record.nonce;
            row.kind = record.instruction.kind;
            row.state = std::string(to_string(record.state));
            row.nonce = record.nonce;
            row.transaction = record.versions.back().hash;
            row.created_ms = record.versions.front().signed_at_ms;
            if (record.mined) {
                row.transaction = record.mined->transaction_hash;
                row.gas_used = record.mined->gas_used;
                if (!record.mined->succeeded) row.state = "failed";
            } else if (record.state == settlement::TransactionState::kFinal) {
                row.state = "failed";  // another program took its nonce
            }
            if (const auto items = store.items_of(record.nonce))
                for (const Item& item : *items)
                    if (item.kind != "x402" && item.kind != storage::UptoStore::kItem)
                        row.leases.push_back(item.lease);
            out.push_back(std::move(row));
        }
    });
    return out;
}

}  // namespace marketplace::app
