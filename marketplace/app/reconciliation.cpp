// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/reconciliation.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/settlement/escrow_abi.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <map>

namespace marketplace::app {
namespace {

namespace settlement = ledger::settlement;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using ledger::base::to_hex;

constexpr std::size_t kNamed = 3;  // differences in the error; all are logged

bool is_on_chain(const domain::Lease& lease) {
    return lease.state == domain::LeaseState::kOpen ||
           lease.state == domain::LeaseState::kRunning ||
           lease.state == domain::LeaseState::kClosing;
}

/// What differs about a lease; empty when nothing does.
std::string difference(const domain::Lease& lease, const settlement::LeaseView& found) {
    if (!is_on_chain(lease))
        return found.state == settlement::LeaseState::kNone
                   ? ""
                   : "is on chain, and was not opened as far as this ledger knows";
    if (found.state == settlement::LeaseState::kNone) return "is not on chain";
    if (found.state == settlement::LeaseState::kClosed) return "is closed on chain, not here";
    if (found.locked_atoms != lease.locked_atoms)
        return fmt::format("locks {} on chain, {} here", found.locked_atoms, lease.locked_atoms);
    if (found.paid_atoms != lease.claimed_atoms)
        return fmt::format("paid {} on chain, {} here", found.paid_atoms, lease.claimed_atoms);
    return "";
}

std::string difference(const LedgerItems::Account& account,
                       const settlement::EscrowAccount& found) {
    if (account.free_atoms < 0 ||
        found.free_atoms != static_cast<std::uint64_t>(account.free_atoms))
        return fmt::format("has {} free on chain, {} here", found.free_atoms, account.free_atoms);
    if (found.locked_atoms < account.locked_atoms)
        return fmt::format("has {} locked on chain, {} here", found.locked_atoms,
                           account.locked_atoms);
    return "";
}

}  // namespace

settlement::Parties parties_of(const domain::Lease& lease) {
    return {lease.buyer, lease.provider, lease.voucher_signer, lease.worker};
}

LedgerItems ledger_items(const engine::Engine& engine) {
    LedgerItems out;
    std::map<domain::Address, LedgerItems::Account> accounts;
    engine.for_each_account([&](const domain::Address& owner, const engine::Balance& balance) {
        accounts[owner].free_atoms =
            balance.available + balance.held - static_cast<std::int64_t>(balance.overdrawn);
    });
    engine.for_each_lease([&](const domain::Lease& lease) {
        if (lease.state == domain::LeaseState::kMatched) out.leases.push_back(lease);
        if (!is_on_chain(lease)) return true;
        LedgerItems::Account& account = accounts[lease.buyer];
        account.free_atoms -= static_cast<std::int64_t>(lease.locked_atoms - lease.claimed_atoms);
        account.locked_atoms += lease.locked_atoms;
        out.leases.push_back(lease);
        return true;
    });
    for (auto& [owner, account] : accounts) {
        account.owner = owner;
        out.accounts.push_back(account);
    }
    return out;
}

Result<void> reconcile(ledger::rpc::Chain& chain, const settlement::Deployment& deployment,
                       const LedgerItems& items, ledger::rpc::BlockTag at) {
    std::string first;
    std::size_t count = 0;
    const auto note = [&](const std::string& what, const std::string& how) {
        if (how.empty()) return;
        spdlog::error("ledger and chain differ at block {}: {} {}", at.value(), what, how);
        if (++count <= kNamed) first += fmt::format("; {} {}", what, how);
    };
    for (const domain::Lease& lease : items.leases) {
        TRY_ASSIGN(
            const settlement::LeaseView found,
            settlement::read_lease(chain, deployment.leases, lease.id, parties_of(lease), at));
        note("lease " + to_hex(lease.id), difference(lease, found));
    }
    for (const LedgerItems::Account& account : items.accounts) {
        TRY_ASSIGN(const settlement::EscrowAccount found,
                   settlement::read_escrow_account(chain, deployment.escrow, account.owner, at));
        note("account " + to_hex(account.owner), difference(account, found));
    }
    if (count == 0) return {};
    return fail(
        ErrorCode::ledger_mismatch,
        fmt::format("{} of {} items{}", count, items.leases.size() + items.accounts.size(), first));
}

}  // namespace marketplace::app
