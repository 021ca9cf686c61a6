// SPDX-License-Identifier: Apache-2.0
// 10,000 receipts over 200 leases to final on a chain with a block a second: opened, worked,
// claimed in two vouchers each. Then the same through a node where 4 of 5 calls fail. Both end with
// a proof from the chain that every lease was paid its voucher once.
#include "ledger/base/check.hpp"
#include "ledger/rpc/checked_chain.hpp"
#include "ledger/rpc/poll.hpp"
#include "ledger/settlement/batch.hpp"
#include "ledger/settlement/escrow_abi.hpp"
#include "ledger/settlement/submitter.hpp"
#include "ledger/settlement/watcher.hpp"
#include "marketplace/storage/database.hpp"
#include "marketplace/storage/settlement_store.hpp"
#include "tests/bench/report.hpp"
#include "tests/bench/settle/chain_market.hpp"
#include "tests/support/faulty_node.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

namespace {

using namespace bench;  // NOLINT: this program
namespace rpc = ledger::rpc;
namespace storage = marketplace::storage;
using ledger::base::ErrorCode;
using ledger::base::Result;
using storage::Database;
using storage::SettlementItem;
using storage::SettlementStore;

constexpr std::uint64_t kLeases = 200;
constexpr std::uint64_t kReceipts = 10'000;
constexpr std::uint64_t kPerLease = kReceipts / kLeases;
constexpr std::uint64_t kPerVoucher = kPerLease / 2;
constexpr std::size_t kOpensPerBatch = 20;  // as the market's loop
constexpr std::size_t kClaimsPerBatch = 50;
constexpr std::uint64_t kSeed = 20'261'126;
constexpr unsigned kFaultPercent = 80;
// Longer than an estimate takes on a busy machine.
constexpr std::chrono::milliseconds kFaultyTimeout{3'000};
constexpr double kGoalSeconds = 120;
constexpr double kFaultyGoalSeconds = 240;
constexpr std::chrono::minutes kGiveUp{8};

/// The submitter's records on a SQLite file, each call one durable transaction.
class Rows final : public settlement::TransactionStore {
 public:
    explicit Rows(Database& database) : database_(database) {}
    std::vector<SettlementItem> items;  ///< bound by the next insert

    Result<std::vector<settlement::TransactionRecord>> load_alive() override {
        return SettlementStore(database_).load_alive();
    }
    Result<std::optional<settlement::TransactionRecord>> find(std::string_view id) override {
        return SettlementStore(database_).find(id);
    }
    Result<std::optional<std::uint64_t>> next_nonce() override {
        return SettlementStore(database_).next_nonce();
    }
    Result<void> insert(const settlement::TransactionRecord& record) override {
        return durable([&](SettlementStore store) { return store.insert(record, items, 0); });
    }
    Result<void> update(const settlement::TransactionRecord& record) override {
        return durable([&](SettlementStore store) { return store.update(record); });
    }

    [[nodiscard]] std::set<SettlementItem> bound() const {
        return SettlementStore(database_).bound_items().value();
    }

 private:
    template <typename Work>
    Result<void> durable(const Work& work) {
        TRY(database_.begin());
        TRY(work(SettlementStore(database_)));
        return database_.commit();
    }
    Database& database_;
};

settlement::LeaseKey key_of(const settlement::OpenItem& item) {
    return {struct_hash(item.ask), struct_hash(item.bid), item.index};
}

struct Lease {
    settlement::OpenItem open;
    settlement::ClaimItem claim;  ///< newest voucher
    std::vector<Hash32> leaves;
    bool opened = false;
    std::uint64_t claimed_sequence = 0;
};

struct Figures {
    double seconds = 0;
    std::size_t bumps = 0;
    std::size_t restarts = 0;
    double failed_percent = 0;  ///< of the calls
    std::uint64_t calls = 0;
    // From the proof:
    std::size_t transactions = 0;
    std::uint64_t gas = 0;
    std::size_t wrong = 0;  ///< leases, batches and rows that are not as they must be
};

/// What the market's settlement loop does, on the same parts, without its engine.
class Settling {
 public:
    Settling(const ChainMarket& market, rpc::Chain& chain, Database& database)
        : market_(market),
          chain_(chain),
          rows_(database),
          signer_(market.market_operator()),
          watcher_(chain, market.deployment(), {}),
          cursor_(watcher_.beginning()) {
        for (std::uint64_t i = 0; i < kLeases; ++i) {
            Lease lease;
            lease.open = market.make_lease(i, kPerLease);
            const Hash32 id = settlement::lease_id(key_of(lease.open));
            leases_.emplace(id, std::move(lease));
        }
    }

    Figures run() {
        const auto begin = std::chrono::steady_clock::now();
        const auto done = [&] {
            return final_claims_ == 2 * kLeases && submitter_ && submitter_->in_flight() == 0;
        };
        for (std::uint64_t round = 0; !done(); ++round) {
            MR_CHECK(std::chrono::steady_clock::now() - begin < kGiveUp);
            // A crash now and then: what is on disk must be enough.
            if (round % 30 == 29) submitter_.reset();
            if (!submitter_) restart();
            if (submitter_) step();
            rpc::pause_for(std::chrono::milliseconds(20));
        }
        figures_.seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        return figures_;
    }
    [[nodiscard]] const std::map<Hash32, Lease>& leases() const { return leases_; }

 private:
    void restart() {
        settlement::SubmitterOptions options;
        options.chain_id = market_.deployment().chain_id;
        submitter_.emplace(chain_, signer_, rows_, clock_, options);
        if (const auto started = submitter_->start(); !started) {
            MR_CHECK(started.error().code() != ErrorCode::foreign_nonce);
            submitter_.reset();
            return;
        }
        ++figures_.restarts;
        bound_ = rows_.bound();
    }
    void step() {
        if (const auto batch = watcher_.poll(cursor_)) {
            for (const settlement::ChainEvent& event : batch->events)
                if (const auto* leases = std::get_if<settlement::LeasesEvent>(&event.event))
                    apply(*leases);
            cursor_ = batch->cursor;
        }
        if (const auto events = submitter_->poll())
            for (const settlement::SubmitterEvent& event : *events) {
                figures_.bumps += event.kind == settlement::SubmitterEvent::Kind::kBumped ? 1U : 0U;
                if (event.kind == settlement::SubmitterEvent::Kind::kFinal)
                    MR_CHECK(event.record.mined && event.record.mined->succeeded);
            }
        MR_CHECK(!submitter_->halted());
        offer("open", kOpensPerBatch, settlement::encode_open,
              [](const Hash32&, const Lease& lease) {
                  return lease.opened ? std::nullopt : std::optional(std::pair(lease.open, 0UL));
              });
        offer("claim", kClaimsPerBatch, settlement::encode_claim,
              [](const Hash32&, const Lease& lease) {
                  return lease.claim.voucher.sequence > lease.claimed_sequence
                             ? std::optional(std::pair(lease.claim, lease.claim.voucher.sequence))
                             : std::nullopt;
              });
    }
    void apply(const settlement::LeasesEvent& event) {
        MR_CHECK(!std::holds_alternative<settlement::ItemFailed>(event));
        if (const auto* opened = std::get_if<settlement::LeaseOpened>(&event)) {
            Lease& lease = leases_.at(opened->lease);
            MR_CHECK(!lease.opened);
            lease.opened = true;
            lease.claim = market_.work(opened->lease, lease.leaves, kPerVoucher);
        } else if (const auto* claimed = std::get_if<settlement::Claimed>(&event)) {
            Lease& lease = leases_.at(claimed->lease);
            MR_CHECK(claimed->sequence > lease.claimed_sequence);
            lease.claimed_sequence = claimed->sequence;
            ++final_claims_;
            if (claimed->sequence == kPerLease) return;
            // The claim of the last unit closes its lease, and names it by its orders.
            lease.claim = market_.work(claimed->lease, lease.leaves, kPerLease);
            lease.claim.key = key_of(lease.open);
        }
    }
    /// One batch of what is wanted and not bound yet.
    template <typename Call, typename Wanted>
    void offer(const std::string& kind, std::size_t most, Bytes (*encode)(const std::vector<Call>&),
               const Wanted& wanted) {
        std::vector<Call> calls;
        std::vector<SettlementItem> items;
        for (const auto& [id, lease] : leases_) {
            if (calls.size() == most) break;
            const auto call = wanted(id, lease);
            if (!call || bound_.contains({kind, id, call->second})) continue;
            calls.push_back(call->first);
            items.push_back({kind, id, call->second});
        }
        const auto sent = settlement::submit_fitting(
            items.size(), [&](const settlement::Positions& chosen) -> Result<void> {
                rows_.items = settlement::pick(items, chosen);
                const auto next = rows_.next_nonce().value();
                TRY(submitter_->submit({kind + "-" + std::to_string(next.value_or(0)), kind,
                                        market_.deployment().leases,
                                        encode(settlement::pick(calls, chosen))}));
                return {};
            });
        if (!sent) return;
        MR_CHECK(sent->set_aside.empty());
        for (const SettlementItem& item : settlement::pick(items, sent->sent))
            bound_.insert(item);
    }

    const ChainMarket& market_;
    rpc::Chain& chain_;
    ledger::base::SystemClock clock_;
    Rows rows_;
    settlement::LocalTransactionSigner signer_;
    std::optional<settlement::Submitter> submitter_;
    settlement::Watcher watcher_;
    settlement::WatchCursor cursor_;
    std::map<Hash32, Lease> leases_;
    std::set<SettlementItem> bound_;
    std::size_t final_claims_ = 0;
    Figures figures_;
};

/// From the chain itself: each lease paid its last voucher in two claims, each batch one successful
/// transaction, each row final, no other transaction of the operator.
void prove(const ChainMarket& market, const std::map<Hash32, Lease>& leases, Database& database,
           Figures& figures) {
    const auto expect = [&figures](bool holds, const std::string& what) {
        if (holds) return;
        ++figures.wrong;
        fmt::print("wrong: {}\n", what);
    };
    rpc::EthClient& chain = market.chain();
    const auto latest = rpc::BlockTag::Name::kLatest;
    rpc::LogFilter filter;
    filter.from_block = market.deployment().block;
    filter.to_block = chain.block_number().value();
    filter.addresses = {market.deployment().leases};
    std::map<Hash32, std::uint64_t> paid;
    std::map<Hash32, std::size_t> claims;
    std::uint64_t earned = 0;
    const auto entries = chain.logs(filter).value();
    for (const rpc::LogEntry& entry : entries) {
        const auto event = settlement::decode_leases_event(entry).value();
        if (!event) continue;
        if (const auto* claimed = std::get_if<settlement::Claimed>(&*event)) {
            paid[claimed->lease] += claimed->paid_atoms;
            earned += claimed->paid_atoms - claimed->fee_atoms;
            ++claims[claimed->lease];
        }
    }
    for (const auto& [id, lease] : leases) {
        const std::uint64_t due = kPerLease * kUnitsPerReceipt * kPriceAtoms;
        const auto view =
            settlement::read_lease(chain, market.deployment().leases, id, market.parties(), latest);
        expect(paid[id] == due && claims[id] == 2 && view->paid_atoms == due &&
                   view->state == settlement::LeaseState::kClosed &&
                   lease.claim.voucher.cumulative_amount_atoms == due,
               fmt::format("a lease was paid {} of {} in {} claims", paid[id], due, claims[id]));
    }
    const auto account = settlement::read_escrow_account(chain, market.deployment().escrow,
                                                         market.provider(), latest);
    expect(account->credit_atoms == earned,
           fmt::format("the provider has {} of {}", account->credit_atoms, earned));
    const auto rows = SettlementStore(database).list(0, 100'000).value();
    const std::uint64_t nonce = chain.nonce(market.market_operator().address(), latest).value();
    expect(nonce == rows.size(), fmt::format("{} transactions for {} rows", nonce, rows.size()));
    figures.transactions = rows.size();
    for (const settlement::TransactionRecord& row : rows) {
        std::size_t landed = 0;
        for (const settlement::TransactionVersion& version : row.versions)
            if (const auto receipt = chain.receipt(version.hash).value()) {
                landed += receipt->succeeded ? 1U : 100U;
                figures.gas += receipt->gas_used;
            }
        expect(landed == 1 && row.state == settlement::TransactionState::kFinal,
               fmt::format("batch {} landed {} times", row.nonce, landed));
    }
}

Figures measure(unsigned fault_percent) {
    const auto folder = std::filesystem::current_path() / "build" / "bench" /
                        fmt::format("settle-{}-{}", ::getpid(), fault_percent);
    std::filesystem::create_directories(folder);
    const ChainMarket market;
    auto database = Database::open(folder / "market.db").value();
    tests::support::FaultyNode node(market.url(), kSeed, fault_percent);
    rpc::HttpLimits limits;
    if (fault_percent > 0) limits.exchange_timeout = kFaultyTimeout;
    const ledger::base::SystemClock clock;
    rpc::CheckedChainOptions options;
    options.chain_id = market.deployment().chain_id;
    rpc::CheckedChain chain(rpc::dial({fault_percent > 0 ? node.url() : market.url()}, limits),
                            clock, options);
    Settling settling(market, chain, *database);
    Figures figures = settling.run();
    figures.calls = node.asked();
    if (node.asked() > 0) figures.failed_percent = node.failed_percent();
    prove(market, settling.leases(), *database, figures);
    database.reset();
    std::filesystem::remove_all(folder);
    return figures;
}

void report_run(Report& report, const std::string& name, const Figures& figures) {
    fmt::print("{}: {:.1f} s, {} transactions, {} fee bumps, {} restarts, {} items wrong\n", name,
               figures.seconds, figures.transactions, figures.bumps, figures.restarts,
               figures.wrong);
    std::fflush(stdout);
    report.metric(name + "_transactions", static_cast<double>(figures.transactions));
    report.metric(name + "_gas_per_receipt",
                  static_cast<double>(figures.gas) / static_cast<double>(kReceipts));
    report.metric(name + "_bumps", static_cast<double>(figures.bumps));
    report.metric(name + "_restarts", static_cast<double>(figures.restarts));
}

}  // namespace

int main() {
    Report report("settle");
    const Figures clean = measure(0);
    report_run(report, "clean", clean);
    fmt::print("through a node where {} % of the calls fail, time-outs shortened to {} ms:\n",
               kFaultPercent, kFaultyTimeout.count());
    const Figures faulty = measure(kFaultPercent);
    report_run(report, "faulty", faulty);
    report.metric("faulty_calls", static_cast<double>(faulty.calls));
    report.metric("faulty_calls_failed_percent", faulty.failed_percent);
    report.goal("10,000 receipts over 200 leases to final", clean.seconds, kGoalSeconds, "s",
                Better::kLower);
    report.goal("not paid exactly once", static_cast<double>(clean.wrong), 0, "items",
                Better::kLower);
    report.goal("to final with 80 % of calls failing", faulty.seconds, kFaultyGoalSeconds, "s",
                Better::kLower);
    report.goal("not paid exactly once with faults", static_cast<double>(faulty.wrong), 0, "items",
                Better::kLower);
    fmt::print("{}\n", report.json());
    return 0;
}
