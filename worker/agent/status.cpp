// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/clock.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"
#include "ledger/rpc/json.hpp"
#include "ledger/settlement/escrow_abi.hpp"
#include "ledger/settlement/leases_abi.hpp"
#include "worker/agent/collection.hpp"
#include "worker/agent/commands.hpp"
#include "worker/agent/durable_file.hpp"
#include "worker/agent/gpu_facts.hpp"
#include "worker/agent/lease_book.hpp"
#include "worker/agent/market_facts.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <csignal>
#include <map>
#include <string>

namespace worker::agent {
namespace {

using ledger::base::Money;
using ledger::base::to_hex;
using ledger::rpc::BlockTag;

/// The device's GPUs for people and programs; nothing where there is no driver.
nlohmann::json gpus_json() {
    nlohmann::json out = nlohmann::json::array();
    const auto report = read_gpus();
    if (!report) return out;
    const auto or_null = [](const auto& value) {
        return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
    };
    for (const GpuFacts& gpu : report->gpus)
        out.push_back({{"uuid", gpu.uuid},
                       {"name", gpu.name},
                       {"driver", report->driver},
                       {"memory_mib", gpu.memory_mib},
                       {"free_mib", gpu.free_mib},
                       {"pcie_generation", or_null(gpu.pcie_generation)},
                       {"pcie_lanes", or_null(gpu.pcie_lanes)},
                       {"ecc_errors", or_null(gpu.ecc_errors)},
                       {"temperature_c", or_null(gpu.temperature_c)},
                       {"power_mw", or_null(gpu.power_mw)}});
    return out;
}

void print_gpus(const nlohmann::json& gpus) {
    for (const auto& gpu : gpus) {
        std::string line = fmt::format(
            "GPU        {}, {} of {} MiB free", gpu["name"].get<std::string>(),
            gpu["free_mib"].get<std::uint64_t>(), gpu["memory_mib"].get<std::uint64_t>());
        if (!gpu["temperature_c"].is_null())
            line += fmt::format(", {} °C", gpu["temperature_c"].get<std::uint64_t>());
        if (!gpu["power_mw"].is_null())
            line += fmt::format(", {} W", gpu["power_mw"].get<std::uint64_t>() / 1000);
        fmt::print("{}\n", line);
    }
}

/// Money of all leases: each atom in exactly one of `paid`, `promised`, `unpaid`, and in exactly
/// one part of `income`.
struct Earnings {
    Income income;
    std::uint64_t paid = 0;                       ///< claimed on chain, before the fee
    std::uint64_t promised = 0;                   ///< covered by a voucher, not claimed yet
    std::uint64_t unpaid = 0;                     ///< receipts no voucher covers
    std::map<std::string, std::uint64_t> leases;  ///< by outcome
    std::uint64_t receipts = 0;
    bool chain_asked = true;
};

std::string tokens(std::uint64_t atoms) {
    return Money(static_cast<std::int64_t>(atoms)).to_tokens();
}

Earnings count(const LeaseStore& store, const WorkerConfig& config) {
    Earnings out;
    const auto deployment = pinned_deployment(config);
    const auto chain = dial_chain(config);
    out.chain_asked = deployment.has_value();
    for (const auto& book : store.all()) {
        ++out.leases[std::string(to_string(book->outcome()))];
        out.receipts += book->sequence();
        out.unpaid += book->unpaid_atoms();
        LeaseOnChain on_chain;
        on_chain.lease.state =
            ledger::settlement::LeaseState::kOpen;  // as long as nobody says more
        if (out.chain_asked && book->amount_atoms() > 0) {
            const auto view = read_on_chain(*chain, deployment->leases, book->terms().lease,
                                            book->terms().parties);
            out.chain_asked = view.has_value();
            if (view) on_chain = *view;
        }
        out.income += split_income({book->amount_atoms(), book->voucher_amount_atoms()}, on_chain);
        const std::uint64_t paid = on_chain.lease.paid_atoms;
        out.paid += paid;
        const std::uint64_t covered = book->voucher_amount_atoms();
        out.promised += covered > paid ? covered - paid : 0;
    }
    return out;
}

/// What the running process wrote last; "stopped" when it is gone.
nlohmann::json read_live(const WorkerConfig& config) {
    nlohmann::json none{{"state", "stopped"}, {"sessions", nlohmann::json::array()}};
    const auto text = read_file(config.data / "status.json", 256 * 1024);
    if (!text) return none;
    auto live = ledger::rpc::parse_json(*text);
    if (!live || !live->is_object()) return none;
    const auto pid = ledger::rpc::integer_at(*live, "pid");
    if (!pid || ::kill(static_cast<pid_t>(*pid), 0) != 0) (*live)["state"] = "stopped";
    return *live;
}

void print_text(const nlohmann::json& live, const Earnings& earnings,
                const std::optional<ledger::settlement::EscrowAccount>& escrow) {
    fmt::print("State      {}\n", ledger::rpc::string_at(live, "state").value_or("unknown"));
    if (const auto market = ledger::rpc::string_at(live, "market"))
        fmt::print("Market     {}\n", *market);
    std::size_t active = 0;
    for (const auto& session : live.value("sessions", nlohmann::json::array())) {
        if (!session.value("active", false)) continue;
        ++active;
        fmt::print("Running    {} {} ({})\n", session.value("job", ""),
                   session.value("unit_kind", ""), session.value("lease", "").substr(0, 10));
    }
    if (active == 0) fmt::print("Running    nothing (ask why: millrace-worker why)\n");
    for (const auto& model : live.value("models", nlohmann::json::array())) {
        const std::string why = model.value("why", "");
        fmt::print("Model      {} {} ({} of {} MiB){}\n", model.value("name", ""),
                   model.value("state", ""), model.value("memory_mib", std::uint64_t{0}),
                   live.value("models_memory_mib", std::uint64_t{0}),
                   why.empty() ? "" : ": " + why);
    }
    for (const auto& [outcome, number] : earnings.leases)
        fmt::print("Leases     {} {}\n", number, outcome);
    fmt::print("Receipts   {}\n", earnings.receipts);
    fmt::print("Paid       {} on chain{}\n", tokens(earnings.paid),
               earnings.chain_asked ? "" : " (the chain cannot be asked: incomplete)");
    fmt::print("Promised   {} by vouchers, claimed later\n", tokens(earnings.promised));
    fmt::print("Unpaid     {} not yet covered by a voucher\n", tokens(earnings.unpaid));
    fmt::print("Income     {} settled, {} pending, {} disputed, {} failed\n",
               tokens(earnings.income.settled), tokens(earnings.income.pending),
               tokens(earnings.income.disputed), tokens(earnings.income.failed));
    if (escrow)
        fmt::print("Credit     {} in escrow, yours to sweep\n", tokens(escrow->credit_atoms));
}

}  // namespace

Result<void> run_status(const WorkerConfig& config, Output output) {
    LeaseStore store(config.data / "leases");
    std::vector<std::string> damaged;
    TRY(store.open(damaged));
    nlohmann::json live = read_live(config);
    const Earnings earnings = count(store, config);
    std::optional<ledger::settlement::EscrowAccount> escrow;
    const auto provider = ledger::rpc::string_at(live, "provider");
    if (const auto deployment = pinned_deployment(config); provider && deployment) {
        const auto address = ledger::base::parse_fixed<Address>(*provider);
        const auto chain = dial_chain(config);
        if (address) {
            if (auto account = ledger::settlement::read_escrow_account(
                    *chain, deployment->escrow, *address, BlockTag::Name::kLatest))
                escrow = *account;
        }
    }
    for (const std::string& text : damaged)
        fmt::print(stderr, "damaged lease: {}\n", text);
    const nlohmann::json gpus = gpus_json();
    if (output == Output::kText) {
        print_text(live, earnings, escrow);
        print_gpus(gpus);
        return {};
    }
    live["paid"] = std::to_string(earnings.paid);
    live["promised"] = std::to_string(earnings.promised);
    live["unpaid"] = std::to_string(earnings.unpaid);
    live["income"] = {{"settled", std::to_string(earnings.income.settled)},
                      {"pending", std::to_string(earnings.income.pending)},
                      {"disputed", std::to_string(earnings.income.disputed)},
                      {"failed", std::to_string(earnings.income.failed)}};
    live["gpus"] = gpus;
    live["receipts"] = earnings.receipts;
    live["leases"] = earnings.leases;
    live["chain_asked"] = earnings.chain_asked;
    if (escrow) live["credit"] = std::to_string(escrow->credit_atoms);
    fmt::print("{}\n", ledger::rpc::to_text(live));
    return {};
}

}  // namespace worker::agent
