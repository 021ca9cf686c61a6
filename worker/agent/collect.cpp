// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"
#include "ledger/rpc/json.hpp"
#include "ledger/settlement/transaction_signer.hpp"
#include "worker/agent/collection.hpp"
#include "worker/agent/commands.hpp"
#include "worker/agent/keys.hpp"
#include "worker/agent/lease_book.hpp"
#include "worker/agent/market_facts.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

namespace worker::agent {
namespace {

namespace settlement = ledger::settlement;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Money;
using ledger::base::to_hex;
using ledger::rpc::BlockTag;

constexpr std::size_t kItemsPerBatch = 20;

struct Line {
    std::shared_ptr<LeaseBook> book;
    LeaseOnChain on_chain;
    CollectStep step = CollectStep::kNothing;
};

Result<std::vector<Line>> survey(ledger::rpc::Chain& chain,
                                 const settlement::Deployment& deployment,
                                 const LeaseStore& store) {
    TRY_ASSIGN(const auto head, chain.block(BlockTag::Name::kLatest));
    std::vector<Line> out;
    for (const auto& book : store.all()) {
        if (book->amount_atoms() == 0) continue;
        Line line;
        line.book = book;
        TRY_ASSIGN(line.on_chain, read_on_chain(chain, deployment.leases, book->terms().lease,
                                                book->terms().parties));
        line.step = next_collect_step({book->amount_atoms(), book->voucher_amount_atoms()},
                                      line.on_chain, deployment.close_window_s, head.time_s);
        if (line.step != CollectStep::kNothing) out.push_back(std::move(line));
    }
    return out;
}

settlement::ClaimItem voucher_item(const LeaseBook& book) {
    const StoredVoucher stored = book.last_voucher().value();
    settlement::ClaimItem out;
    out.voucher = stored.voucher;
    out.parties = book.terms().parties;
    if (stored.voucher.cumulative_units == book.terms().max_units) out.key = book.terms().key;
    out.buyer_signature = {stored.buyer_signature.begin(), stored.buyer_signature.end()};
    out.worker_signature = {stored.worker_signature.begin(), stored.worker_signature.end()};
    return out;
}

/// The call that takes this step for these leases.
ledger::base::Bytes call_of(CollectStep step, const std::vector<const LeaseBook*>& books) {
    if (step == CollectStep::kClaimVoucher) {
        std::vector<settlement::ClaimItem> items;
        for (const LeaseBook* book : books)
            items.push_back(voucher_item(*book));
        return settlement::encode_claim(items);
    }
    if (step == CollectStep::kClaimAlone) {
        std::vector<settlement::LoneItem> items;
        for (const LeaseBook* book : books) {
            const StoredReceipt last = book->last_receipt().value();
            items.push_back({book->terms().parties, {last.receipt, last.signature}});
        }
        return settlement::encode_claim_alone(items);
    }
    std::vector<settlement::FinalItem> items;
    for (const LeaseBook* book : books)
        items.push_back({book->terms().key, book->terms().parties});
    return settlement::encode_pay_alone(items);
}

constexpr std::array kTaken = {CollectStep::kClaimVoucher, CollectStep::kPayAlone,
                               CollectStep::kClaimAlone};

bool can_be_taken(const std::vector<Line>& lines) {
    return std::any_of(lines.begin(), lines.end(), [](const Line& line) {
        return std::find(kTaken.begin(), kTaken.end(), line.step) != kTaken.end();
    });
}

Result<void> take(ledger::rpc::Chain& chain, const ledger::crypto::PrivateKey& provider,
                  const settlement::Deployment& deployment, CollectStep step,
                  const std::vector<Line>& lines) {
    settlement::LocalTransactionSigner signer(provider);
    std::vector<const LeaseBook*> books;
    for (const Line& line : lines) {
        if (line.step != step) continue;
        books.push_back(line.book.get());
        if (books.size() < kItemsPerBatch) continue;
        TRY(send_call(chain, signer, deployment.leases, call_of(step, books)));
        books.clear();
    }
    if (books.empty()) return {};
    return send_call(chain, signer, deployment.leases, call_of(step, books));
}

std::string when(const Line& line) {
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                       fmt::gmtime(static_cast<std::time_t>(line.on_chain.lone.payable_at_s)));
}

std::string_view advice(CollectStep step) {
    switch (step) {
        case CollectStep::kClaimVoucher:
        case CollectStep::kClaimAlone:
        case CollectStep::kPayAlone:
            return "the chain refused it for now: collect again";
        case CollectStep::kWait:
            return "claimed alone: collect again when its window is over, at ";
        case CollectStep::kObjected:
            return "the buyer's side does not accept what no voucher covers";
        case CollectStep::kTooLate:
            return "the lease has ended: nothing more can be claimed";
        case CollectStep::kNothing:
            break;
    }
    return "";
}

void print(Output output, const std::vector<Line>& lines) {
    nlohmann::json list = nlohmann::json::array();
    for (const Line& line : lines) {
        const std::uint64_t due = line.book->amount_atoms() - line.on_chain.lease.paid_atoms;
        const std::string lease = to_hex(line.book->terms().lease);
        list.push_back({{"lease", lease},
                        {"step", std::string(to_string(line.step))},
                        {"due", std::to_string(due)},
                        {"payable_at_s", line.on_chain.lone.payable_at_s}});
        if (output == Output::kText)
            fmt::print("{}  {:>12}  {}{}\n", lease.substr(0, 10),
                       Money(static_cast<std::int64_t>(due)).to_tokens(), advice(line.step),
                       line.step == CollectStep::kWait ? when(line) : "");
    }
    if (output == Output::kJson)
        fmt::print("{}\n", ledger::rpc::to_text({{"leases", std::move(list)}}));
    else if (lines.empty())
        fmt::print("All that was earned is paid. Take it out: millrace withdraw --sweep\n");
}

}  // namespace

Result<void> run_collect(const WorkerConfig& config, Output output) {
    LeaseStore store(config.data / "leases");
    std::vector<std::string> damaged;
    TRY(store.open(damaged));
    for (const std::string& text : damaged)
        fmt::print(stderr, "damaged lease: {}\n", text);
    TRY_ASSIGN(const ledger::crypto::PrivateKey provider, open_key(config.provider_key, config));
    TRY_ASSIGN(const settlement::Deployment deployment, pinned_deployment(config));
    const auto chain = dial_chain(config);
    TRY_ASSIGN(std::vector<Line> lines, survey(*chain, deployment, store));
    // A voucher may be claimed, a claim alone that is due be paid, and the rest be claimed alone.
    for (int round = 0; round < 3 && can_be_taken(lines); ++round) {
        for (const CollectStep step : kTaken)
            TRY(take(*chain, provider, deployment, step, lines));
        TRY_ASSIGN(lines, survey(*chain, deployment, store));
    }
    print(output, lines);
    return {};
}

}  // namespace worker::agent
