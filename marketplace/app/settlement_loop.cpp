// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/settlement_loop.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"
#include "ledger/settlement/batch.hpp"
#include "ledger/settlement/leases_abi.hpp"
#include "ledger/settlement/receipt_log_abi.hpp"

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

constexpr std::size_t kOpensPerBatch = 20;
constexpr std::size_t kClaimsPerBatch = 50;
constexpr std::size_t kClosesPerRound = 8;
constexpr domain::TimeMs kSetAsideMs = 60'000;
constexpr const char* kCursor = "chain_cursor";

template <typename... Fs>
struct Overloaded : Fs... {
    using Fs::operator()...;
};
template <typename... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

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

/// Name of a contract's error without its arguments: it goes into the public log.
std::string error_name(ledger::base::ByteView reason) {
    const std::string text = settlement::explain_revert(reason);
    return text.substr(0, text.find('('));
}

settlement::Parties parties_of(const domain::Lease& lease) {
    return {lease.buyer, lease.provider, lease.voucher_signer, lease.worker};
}

domain::Bytes to_bytes(const domain::Signature& signature) {
    return {signature.begin(), signature.end()};
}

// What an event of the contracts means to the engine.

/// As if the owner had cancelled here. A job at work goes on: the chain leaves its leases alone,
/// and refuses the next one.
void add_commands(std::vector<domain::Command>& out, const settlement::OrderCancelled& event,
                  const engine::Engine& engine) {
    const engine::Job* job = engine.find_job_of_bid(event.order);
    if (job == nullptr)
        out.push_back(domain::CancelAsk{event.order, event.by});
    else if (job->state == domain::JobState::kOpen)
        out.push_back(domain::CancelJob{job->id, event.by});
}

/// A cancelled order ends before the lease that the chain refused it: afterwards the job would look
/// for another ask, and others would be tried under the ask.
void add_commands(std::vector<domain::Command>& out, const settlement::ItemFailed& event,
                  const engine::Engine& engine) {
    spdlog::warn("the chain refused lease {}: {}", ledger::base::to_hex(event.lease),
                 settlement::explain_revert(event.reason));
    const domain::Lease* lease = engine.find_lease(event.lease);
    const auto cancelled = settlement::cancelled_order(event.reason);
    if (lease != nullptr && cancelled == lease->ask_hash)
        out.push_back(domain::CancelAsk{lease->ask_hash, lease->provider});
    if (lease != nullptr && cancelled == lease->bid_hash)
        out.push_back(domain::CancelJob{lease->job, lease->buyer});
    out.push_back(domain::LeaseOpenFailed{event.lease, error_name(event.reason)});
}

std::vector<domain::Command> commands_of(const settlement::WatchBatch& batch,
                                         const engine::Engine& engine) {
    std::vector<domain::Command> out;
    for (const settlement::ChainEvent& event : batch.events) {
        const domain::Hash32& txn = event.transaction_hash;
        const auto index = static_cast<std::uint32_t>(event.log_index);
        const auto leases = Overloaded{
            [&](const settlement::LeaseOpened& e) {
                out.push_back(domain::LeaseOpened{e.lease, e.locked_atoms, txn});
            },
            [&](const settlement::Claimed& e) {
                out.push_back(domain::ClaimConfirmed{e.lease, e.sequence, e.cumulative_amount_atoms,
                                                     e.paid_atoms, e.fee_atoms, txn});
            },
            [&](const settlement::CloseRequested& e) {
                out.push_back(domain::LeaseCloseRequested{e.lease, txn});
            },
            [&](const settlement::LeaseClosed& e) {
                out.push_back(
                    domain::LeaseCloseConfirmed{e.lease, e.paid_atoms, e.refunded_atoms, txn});
            },
            [&](const auto& e) { add_commands(out, e, engine); }};
        const auto escrow = Overloaded{
            [&](const settlement::Deposited& e) {
                out.push_back(domain::EscrowDeposited{e.account, e.amount_atoms, txn, index});
            },
            [&](const settlement::WithdrawRequested& e) {
                out.push_back(domain::EscrowWithdrawn{e.account, e.amount_atoms, txn, index});
            },
            [](const auto&) {}};
        std::visit(Overloaded{[&](const settlement::LeasesEvent& e) { std::visit(leases, e); },
                              [&](const settlement::EscrowEvent& e) { std::visit(escrow, e); },
                              [](const settlement::Anchored&) {}},
                   event.event);
    }
    return out;
}

}  // namespace

// ---- rows ----

Result<std::vector<settlement::TransactionRecord>> SettlementRows::load_alive() {
    auto out = std::make_shared<std::vector<settlement::TransactionRecord>>();
    TRY(engine_.transact({}, [out](Database& db) -> Result<void> {
        TRY_ASSIGN(*out, SettlementStore(db).load_alive());
        return {};
    }));
    return std::move(*out);
}

Result<std::optional<settlement::TransactionRecord>> SettlementRows::find(
    std::string_view instruction_id) {
    auto out = std::make_shared<std::optional<settlement::TransactionRecord>>();
    TRY(engine_.transact({}, [out, id = std::string(instruction_id)](Database& db) -> Result<void> {
        TRY_ASSIGN(*out, SettlementStore(db).find(id));
        return {};
    }));
    return std::move(*out);
}

Result<std::optional<std::uint64_t>> SettlementRows::next_nonce() {
    auto out = std::make_shared<std::optional<std::uint64_t>>();
    TRY(engine_.transact({}, [out](Database& db) -> Result<void> {
        TRY_ASSIGN(*out, SettlementStore(db).next_nonce());
        return {};
    }));
    return *out;
}

Result<void> SettlementRows::insert(const settlement::TransactionRecord& record) {
    return engine_.transact({}, [record, items = items_, now = clock_.now_ms()](Database& db) {
        return SettlementStore(db).insert(record, items, now);
    });
}

Result<void> SettlementRows::update(const settlement::TransactionRecord& record) {
    return engine_.transact({},
                            [record](Database& db) { return SettlementStore(db).update(record); });
}

// ---- loop ----

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
      watcher_(deps_.chain, deps_.deployment, [this] {
          settlement::WatcherOptions options;
          options.finality_depth = deps_.config.finality_depth;
          return options;
      }()) {}

SettlementLoop::~SettlementLoop() {
    stop();
}

void SettlementLoop::observe() {
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
    std::optional<ledger::base::Bytes> cursor;
    TRY(deps_.reads.with([&](Database& db) -> Result<void> {
        TRY_ASSIGN(bound_, SettlementStore(db).bound_items());
        TRY_ASSIGN(cursor, storage::CatalogStore(db).setting(kCursor));
        return {};
    }));
    cursor_ = watcher_.beginning();
    if (cursor) {
        const auto stored = decode_cursor(*cursor);
        if (!stored) return fail(ErrorCode::config_invalid, "the stored chain cursor is damaged");
        cursor_ = *stored;
    }
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
        if (const auto result = round(); !result) {
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
        wake_.wait_for(lock, std::chrono::milliseconds(deps_.config.settle_poll_ms),
                       [this] { return stopping_ || woken_; });
        woken_ = false;
        if (stopping_) return;
    }
}

Result<void> SettlementLoop::round() {
    if (!started_) {
        TRY(submitter_.start());
        started_ = true;
    }
    TRY(follow_chain());
    TRY(track_transactions());
    TRY(open_leases());
    TRY(claim_vouchers());
    TRY(close_leases());
    return anchor_log();
}

Result<void> SettlementLoop::follow_chain() {
    TRY_ASSIGN(const settlement::WatchBatch batch, watcher_.poll(cursor_));
    {
        const std::scoped_lock lock(mutex_);
        head_time_s_ = batch.head_time_s;
    }
    if (batch.cursor == cursor_) return {};
    TRY_ASSIGN(std::vector<domain::Command> commands,
               deps_.engine.ask(
                   [&batch](const engine::Engine& engine) { return commands_of(batch, engine); }));
    TRY(deps_.engine.transact(std::move(commands), [cursor = batch.cursor](Database& db) {
        return storage::CatalogStore(db).put_setting(kCursor, encode_cursor(cursor));
    }));
    cursor_ = batch.cursor;
    return {};
}

Result<void> SettlementLoop::track_transactions() {
    TRY_ASSIGN(const std::vector<settlement::SubmitterEvent> events, submitter_.poll());
    for (const settlement::SubmitterEvent& event : events) {
        if (event.kind != settlement::SubmitterEvent::Kind::kFinal) continue;
        const settlement::TransactionRecord& record = event.record;
        if (record.instruction.kind == "anchor") {
            anchor_in_flight_ = false;
            anchored_size_.reset();  // read it from the chain
        }
        const bool succeeded = record.mined && record.mined->succeeded;
        std::vector<Item> items;
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
        }
        if (!succeeded)
            spdlog::error("transaction {} ({}) {}; its items are tried again", record.nonce,
                          record.instruction.kind,
                          record.mined ? "was reverted" : "lost its nonce");
    }
    return {};
}

Result<void> SettlementLoop::try_submit(const std::string& kind, const domain::Address& to,
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

Result<bool> SettlementLoop::submit(const std::string& kind, const domain::Address& to,
                                    domain::Bytes data, std::vector<Item> items) {
    const auto submitted = try_submit(kind, to, std::move(data), items);
    if (submitted) return true;
    const ErrorCode code = submitted.error().code();
    if (code == ErrorCode::queue_full || code == ErrorCode::chain_refused) return false;
    return tl::make_unexpected(submitted.error());
}

template <typename Call>
Result<void> SettlementLoop::submit_batch(const std::string& kind, const std::vector<Call>& calls,
                                          const std::vector<Item>& items,
                                          domain::Bytes (*encode)(const std::vector<Call>&)) {
    const auto fit =
        settlement::submit_fitting(items.size(), [&](const settlement::Positions& chosen) {
            return try_submit(kind, deps_.deployment.leases,
                              encode(settlement::pick(calls, chosen)),
                              settlement::pick(items, chosen));
        });
    if (!fit && fit.error().code() != ErrorCode::queue_full)
        return tl::make_unexpected(fit.error());
    if (!fit) return {};
    std::erase_if(set_aside_until_,
                  [now = deps_.clock.now_ms()](const auto& entry) { return entry.second <= now; });
    for (const Item& item : settlement::pick(items, fit->set_aside)) {
        spdlog::warn("{} of lease {} cannot be sent now", kind, ledger::base::to_hex(item.lease));
        set_aside_until_[item] = deps_.clock.now_ms() + kSetAsideMs;
    }
    return {};
}

bool SettlementLoop::is_bound(const Item& item) const {
    const auto aside = set_aside_until_.find(item);
    if (aside != set_aside_until_.end() && deps_.clock.now_ms() < aside->second) return true;
    return bound_.contains(item);
}

Result<void> SettlementLoop::open_leases() {
    struct Wanted {
        settlement::OpenItem open;
        domain::Hash32 lease;
    };
    const auto collect = [this](const engine::Engine& engine) {
        std::vector<Wanted> out;
        for (const domain::Hash32& id : engine.leases_to_open(10 * kOpensPerBatch)) {
            if (out.size() == kOpensPerBatch) break;
            if (is_bound({"open", id, 0})) continue;
            const domain::Lease* lease = engine.find_lease(id);
            const engine::AskEntry* ask = engine.find_ask(lease->ask_hash);
            const engine::Job* job = engine.find_job(lease->job);
            if (ask == nullptr || job == nullptr) continue;
            const domain::BidLeg& leg = job->legs.at(lease->leg);
            Wanted wanted;
            wanted.lease = id;
            wanted.open.ask = ask->ask;
            wanted.open.ask_signature = to_bytes(ask->signature);
            wanted.open.bid = leg.bid;
            wanted.open.bid_signature = to_bytes(leg.signature);
            if (job->delegation) {
                wanted.open.delegation = *job->delegation;
                wanted.open.delegation_signature = to_bytes(job->delegation_signature);
            }
            wanted.open.price_atoms = lease->price_atoms;
            wanted.open.max_units = lease->max_units;
            wanted.open.worker_key = lease->worker;
            wanted.open.index = lease->index;
            out.push_back(std::move(wanted));
        }
        return out;
    };
    // bound_ is this thread's; the engine thread reads it while this one waits.
    TRY_ASSIGN(const std::vector<Wanted> wanted, deps_.engine.ask(collect));
    if (wanted.empty()) return {};
    std::vector<settlement::OpenItem> opens;
    std::vector<Item> items;
    for (const Wanted& w : wanted) {
        opens.push_back(w.open);
        items.push_back({"open", w.lease, 0});
    }
    return submit_batch("open", opens, items, settlement::encode_open);
}

Result<void> SettlementLoop::claim_vouchers() {
    struct Wanted {
        settlement::ClaimItem claim;
        Item item;
    };
    const auto collect = [this](const engine::Engine& engine) {
        std::vector<Wanted> out;
        for (const domain::Hash32& id : engine.leases_to_claim(10 * kClaimsPerBatch)) {
            if (out.size() == kClaimsPerBatch) break;
            const domain::Lease* lease = engine.find_lease(id);
            const auto voucher = engine.best_voucher(id);
            if (lease == nullptr || !voucher) continue;
            const std::uint64_t unclaimed = lease->voucher_amount_atoms - lease->claimed_atoms;
            // An open lease is claimed when it is worth its gas; a closing one at once.
            if (lease->state < domain::LeaseState::kClosing &&
                unclaimed < deps_.config.claim_at_atoms)
                continue;
            // No more receipts may come under the last voucher of a closing lease.
            const Item item{"claim", id, voucher->voucher.sequence};
            if (is_bound(item)) continue;
            Wanted wanted;
            wanted.claim.voucher = voucher->voucher;
            wanted.claim.parties = parties_of(*lease);
            wanted.claim.buyer_signature = to_bytes(voucher->buyer_signature);
            wanted.claim.worker_signature = to_bytes(voucher->worker_signature);
            wanted.item = item;
            out.push_back(std::move(wanted));
        }
        return out;
    };
    TRY_ASSIGN(const std::vector<Wanted> wanted, deps_.engine.ask(collect));
    if (wanted.empty()) return {};
    std::vector<settlement::ClaimItem> claims;
    std::vector<Item> items;
    for (const Wanted& w : wanted) {
        claims.push_back(w.claim);
        items.push_back(w.item);
    }
    return submit_batch("claim", claims, items, settlement::encode_claim);
}

Result<void> SettlementLoop::close_leases() {
    const auto collect = [](const engine::Engine& engine) {
        std::vector<domain::Lease> out;
        for (const domain::Hash32& id : engine.leases_to_close(1000))
            out.push_back(*engine.find_lease(id));
        return out;
    };
    TRY_ASSIGN(const std::vector<domain::Lease> leases, deps_.engine.ask(collect));
    std::size_t submitted = 0;
    const domain::TimeMs now = deps_.clock.now_ms();
    for (const domain::Lease& lease : leases) {
        if (submitted == kClosesPerRound) break;
        const Item request{"close", lease.id, 0};
        const Item finalize{"finalize", lease.id, 0};
        bool sent = false;
        if (!is_bound(request)) {
            const settlement::LeaseKey key{lease.ask_hash, lease.bid_hash, lease.index};
            const auto reason = static_cast<settlement::CloseReason>(lease.close_reason);
            TRY_ASSIGN(sent,
                       submit("close", deps_.deployment.leases,
                              settlement::encode_request_close(key, parties_of(lease), reason),
                              {request}));
        } else if (finished_.contains(request) && !is_bound(finalize)) {
            // Refused by the chain until the close window is over.
            domain::TimeMs& retry_at = retry_at_[lease.id];
            if (now < retry_at) continue;
            retry_at = now + 1000;
            TRY_ASSIGN(sent, submit("finalize", deps_.deployment.leases,
                                    settlement::encode_finalize_close(lease.id, parties_of(lease)),
                                    {finalize}));
            if (sent) retry_at_.erase(lease.id);
        }
        submitted += sent ? 1 : 0;
    }
    return {};
}

Result<void> SettlementLoop::anchor_log() {
    const domain::TimeMs now = deps_.clock.now_ms();
    const std::uint64_t size = deps_.log.size();
    if (anchor_in_flight_ || size == 0 || now < anchored_ms_ + deps_.config.anchor_every_ms)
        return {};
    if (!anchored_size_) {
        TRY_ASSIGN(const ledger::eth::TreeHead latest,
                   settlement::read_latest_head(deps_.chain, deps_.deployment.receipt_log,
                                                ledger::rpc::BlockTag::Name::kLatest));
        anchored_size_ = latest.size;
    }
    if (*anchored_size_ > size)
        return fail(ErrorCode::chain_mismatch, "the chain anchored a longer log than this one");
    if (*anchored_size_ == size) return {};
    ledger::eth::TreeHead head;
    head.size = size;
    head.time_ms = now;
    TRY_ASSIGN(head.root, deps_.log.root_at(size));
    TRY_ASSIGN(const domain::Signature signature,
               deps_.signer.sign_tree_head(deps_.deployment.market_operator,
                                           deps_.deployment.log_domain(), head));
    deps_.log.set_signed_head({head.size, head.root, head.time_ms, signature});
    TRY_ASSIGN(const std::vector<domain::Hash32> proof,
               deps_.log.consistency_proof(*anchored_size_, size));
    TRY_ASSIGN(const bool sent, submit("anchor", deps_.deployment.receipt_log,
                                       settlement::encode_anchor(head, signature, proof), {}));
    anchored_ms_ = now;
    anchor_in_flight_ = sent;
    if (!sent) anchored_size_.reset();
    return {};
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
                    row.leases.push_back(item.lease);
            out.push_back(std::move(row));
        }
    });
    return out;
}

}  // namespace marketplace::app
