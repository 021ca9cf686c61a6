// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/json.hpp"
#include "ledger/settlement/providers_abi.hpp"
#include "worker/agent/commands.hpp"
#include "worker/agent/gpu_facts.hpp"
#include "worker/agent/job_options.hpp"
#include "worker/agent/keys.hpp"
#include "worker/agent/market_facts.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <optional>
#include <vector>

namespace worker::agent {
namespace {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Money;
using ledger::crypto::PrivateKey;
using ledger::crypto::to_checksum;
using ledger::rpc::BlockTag;

struct Check {
    std::string name;
    bool ok = false;
    std::string actual;
    std::string fix;  ///< empty when ok
};

class Report {
 public:
    void pass(std::string name, std::string actual) {
        checks_.push_back({std::move(name), true, std::move(actual), {}});
    }
    void miss(std::string name, std::string actual, std::string fix) {
        checks_.push_back({std::move(name), false, std::move(actual), std::move(fix)});
    }
    void miss(std::string name, const Error& error) {
        const std::string_view help = ledger::base::help_for(error.code());
        miss(std::move(name),
             error.detail().empty() ? std::string(to_string(error.code())) : error.detail(),
             std::string(help));
    }
    [[nodiscard]] std::size_t failed() const {
        std::size_t count = 0;
        for (const Check& check : checks_)
            count += check.ok ? 0 : 1;
        return count;
    }
    void print(Output output) const {
        if (output == Output::kJson) {
            nlohmann::json list = nlohmann::json::array();
            for (const Check& check : checks_)
                list.push_back({{"name", check.name},
                                {"ok", check.ok},
                                {"actual", check.actual},
                                {"fix", check.fix}});
            fmt::print("{}\n",
                       ledger::rpc::to_text({{"ok", failed() == 0}, {"checks", std::move(list)}}));
            return;
        }
        for (const Check& check : checks_) {
            fmt::print("{} {:<14} {}\n", check.ok ? "✓" : "✗", check.name, check.actual);
            if (!check.ok) fmt::print("  {:<14} → {}\n", "", check.fix);
        }
    }

 private:
    std::vector<Check> checks_;
};

void check_gpus(const WorkerConfig& config, Report& report) {
    const auto gpus = read_gpus();
    if (!gpus) {
        report.miss("gpu", gpus.error().detail(),
                    gpus.error().code() == ErrorCode::unsupported
                        ? "install NVIDIA's driver, or set gpu_model = \"cpu\" in worker.toml"
                        : "run `nvidia-smi` and mend what it says; often a reboot does");
        return;
    }
    const auto faults = find_gpu_faults(*gpus, config.gpu_count, config.vram_mib);
    for (const GpuFault& fault : faults)
        report.miss("gpu", fault.what, fault.fix);
    if (faults.empty())
        report.pass("gpu", fmt::format("{} × {}, driver {}", gpus->gpus.size(),
                                       gpus->gpus.empty() ? "none" : gpus->gpus.front().name,
                                       gpus->driver));
}

/// What asks tell of the device's speed, as `setup` measured it. An ask may leave it out, so that
/// is no fault; bids that demand a speed pass such a machine over.
void check_speed(const WorkerConfig& config, Report& report) {
    const bool is_cpu = config.gpu_model == "cpu";
    if (config.gflop_per_s == 0 || config.memory_mb_per_s == 0) {
        report.pass("speed",
                    "not measured, so asks do not tell it: `millrace-worker setup --yes` measures");
        return;
    }
    report.pass("speed",
                fmt::format("{}: {} GFLOP/s and {} MB/s{}, measured by setup",
                            is_cpu ? fmt::format("cpu with {} threads", config.threads)
                                   : fmt::format("{} × {}", config.gpu_count, config.gpu_model),
                            config.gflop_per_s, config.memory_mb_per_s,
                            config.gpu_count > 1 && !is_cpu ? " each" : ""));
}

void check_machine(const WorkerConfig& config, Report& report) {
    constexpr std::uint64_t kFreeGibLeast = 5;
    std::error_code error;
    const auto space = std::filesystem::space(config.data, error);
    const std::uint64_t free_gib = error ? 0 : space.available >> 30U;
    if (free_gib >= kFreeGibLeast) {
        report.pass("disk", fmt::format("{} GiB free", free_gib));
    } else {
        report.miss("disk", fmt::format("{} GiB free", free_gib),
                    fmt::format("free at least {} GiB, or lower cache_mib", kFreeGibLeast));
    }
    const long pages = sysconf(_SC_PHYS_PAGES);
    const long page_bytes = sysconf(_SC_PAGE_SIZE);
    const std::uint64_t ram_mib =
        pages > 0 && page_bytes > 0
            ? (static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_bytes)) >> 20U
            : 0;
    if (config.job_memory_mib <= ram_mib) {
        report.pass("memory", fmt::format("{} MiB, {} for a job", ram_mib, config.job_memory_mib));
    } else {
        report.miss("memory", fmt::format("{} MiB", ram_mib),
                    "set job_memory_mib below what this machine has");
    }
    if (config.sandbox == sandbox::Mode::kNone) {
        report.miss("sandbox", "switched off",
                    "set sandbox = \"bwrap\" in worker.toml before running strangers' jobs");
    } else if (const auto probed = sandbox::probe(); !probed) {
        report.miss("sandbox", probed.error());
    } else {
        report.pass("sandbox", "bubblewrap and seccomp work");
    }
    const auto runtime = job_runtime(config);
    if (runtime) {
        report.pass("runtime", *runtime);
    } else {
        report.miss("runtime", runtime.error());
    }
    check_speed(config, report);
    if (config.gpu_model != "cpu") check_gpus(config, report);
}

std::optional<PrivateKey> check_key(const char* name, const std::filesystem::path& file,
                                    const WorkerConfig& config, Report& report) {
    auto key = open_key(file, config);
    if (!key) {
        report.miss(name, key.error());
        return std::nullopt;
    }
    report.pass(name, to_checksum(key->address()));
    return std::move(*key);
}

void check_clock(ledger::rpc::Chain& chain, Report& report) {
    constexpr std::uint64_t kSkewSecondsMax = 60;
    const auto head = chain.block(BlockTag::Name::kLatest);
    if (!head) return;  // said by the chain's own check
    const std::uint64_t now_s = ledger::base::SystemClock().now_ms() / 1000;
    // A block may be old on a quiet chain, but never from the future.
    if (head->time_s > now_s + kSkewSecondsMax) {
        report.miss("clock", fmt::format("{} s behind the chain", head->time_s - now_s),
                    "set the clock: run `timedatectl set-ntp true`");
    } else {
        report.pass("clock", "not behind the chain");
    }
}

void check_registration(const WorkerConfig& config, ledger::rpc::Chain& chain,
                        const MarketFacts& facts, const PrivateKey& worker, Report& report) {
    const auto provider = ledger::settlement::read_worker_of(
        chain, facts.deployment.providers, worker.address(), BlockTag::Name::kLatest);
    if (!provider) return report.miss("registration", provider.error());
    if (provider->is_zero())
        return report.miss("registration", "the worker key is not registered",
                           "run `millrace-worker register`");
    const auto active = ledger::settlement::read_is_active(
        chain, facts.deployment.providers, *provider, worker.address(), BlockTag::Name::kLatest);
    const auto bond = ledger::settlement::read_bond_of(chain, facts.deployment.providers, *provider,
                                                       BlockTag::Name::kLatest);
    const std::string bond_text =
        bond ? Money(static_cast<std::int64_t>(*bond)).to_tokens() : "unknown";
    if (!active) return report.miss("registration", active.error());
    if (!*active)
        return report.miss("registration", "the key is not active, bond " + bond_text,
                           "run `millrace-worker register`, or wait for the key delay");
    report.pass("registration", "active, bond " + bond_text);
    const auto gas = chain.balance(*provider, BlockTag::Name::kLatest);
    if (gas && *gas == 0) {
        report.miss("gas", "the provider holds no gas",
                    "send a little of the chain's own coin to " + to_checksum(*provider));
    } else if (gas) {
        report.pass("gas", "the provider can pay for transactions");
    }
    (void)config;
}

void check_world(const WorkerConfig& config, const std::optional<PrivateKey>& worker,
                 Report& report) {
    const auto chain = dial_chain(config);
    const auto chain_id = chain->chain_id();
    if (!chain_id) {
        report.miss("chain", chain_id.error());
    } else {
        report.pass("chain", fmt::format("{} serves chain {}", config.rpc, *chain_id));
        check_clock(*chain, report);
    }
    if (!worker) return;
    MarketHttp market(config.market, *worker);
    const auto facts = pinned_facts(config, market);
    if (!facts) {
        report.miss("market", facts.error());
        return;
    }
    report.pass("market", config.market);
    if (const auto token = market.token(); !token) {
        report.miss("sign-in", token.error());
    } else {
        report.pass("sign-in", "the market knows the worker key's session");
    }
    if (chain_id) check_registration(config, *chain, *facts, *worker, report);
}

}  // namespace

Result<void> run_doctor(const WorkerConfig& config, Output output) {
    Report report;
    report.pass("settings", (config.data / "worker.toml").string());
    check_machine(config, report);
    (void)check_key("provider key", config.provider_key, config, report);
    const auto worker = check_key("worker key", config.worker_key, config, report);
    check_world(config, worker, report);
    report.print(output);
    if (report.failed() > 0)
        return fail(ErrorCode::config_invalid, fmt::format("{} checks failed", report.failed()));
    return {};
}

}  // namespace worker::agent
