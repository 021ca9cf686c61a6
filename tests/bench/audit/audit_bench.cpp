// SPDX-License-Identifier: Apache-2.0
// A log of a million receipts audited from its file as `millrace audit --log` does, beside what
// nothing can beat: libsecp256k1 recovering the signers of the same digests on every core.
//   bench_audit [RECEIPTS [ROUNDS]]
#include "ledger/audit/audit.hpp"
#include "ledger/base/check.hpp"
#include "ledger/base/cpu_count.hpp"
#include "ledger/base/money.hpp"
#include "marketplace/cli/public_log.hpp"
#include "tests/bench/report.hpp"
#include "tests/support/fake_market.hpp"

#include <fmt/format.h>
#include <secp256k1.h>
#include <secp256k1_recovery.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <vector>

namespace {

using ledger::audit::LogItem;
using ledger::audit::SignedReceipt;
using ledger::base::Bytes;
using ledger::base::Hash32;
using tests::support::FakeMarket;
namespace cli = marketplace::cli;
namespace domain = marketplace::domain;
namespace engine = marketplace::engine;

constexpr std::uint64_t kPerLease = 1000;
constexpr std::uint64_t kAtOnce = 50;  // leases whose receipts alternate in the log
constexpr std::size_t kSampled = 100'000;

struct Sample {
    Hash32 digest;
    ledger::base::Signature signature;
};

/// The file of a market's log; records as the market writes them.
class LogFile {
 public:
    explicit LogFile(const std::filesystem::path& path) : out_(path, std::ios::binary) {}

    void add(domain::Command command) {
        engine::Record record;
        record.sequence = tree.size();
        record.time_ms = 1'790'000'000'000 + record.sequence;
        record.previous = previous_;
        record.command = std::move(command);
        const Bytes bytes = engine::encode_record(record);
        previous_ = engine::record_hash(bytes);
        out_ << cli::log_line(bytes, record.sequence) << '\n';
        tree.append_data(bytes);
    }
    void close() {
        out_.close();
        MR_CHECK(!out_.fail());
    }
    ledger::log::CompactTree tree;

 private:
    std::ofstream out_;
    Hash32 previous_;
};

domain::PostAsk command_of(const ledger::audit::PostedAsk& item) {
    domain::PostAsk command;
    command.ask = item.ask;
    command.signature = item.signature;
    return command;
}

domain::PostJob command_of(const ledger::audit::PostedBid& item) {
    domain::PostJob command;
    domain::BidLeg leg;
    leg.bid = item.bid;
    leg.signature = item.signature;
    command.legs.push_back(std::move(leg));
    return command;
}

void make_log(FakeMarket& market, LogFile& file, std::uint64_t receipts,
              std::vector<Sample>& samples) {
    market.deposit(market.buyer.address(), 1'000'000'000'000);
    std::vector<FakeMarket::Lease> leases;
    for (std::uint64_t made = 0; made < receipts; made += leases.size() * kPerLease) {
        leases.clear();
        std::vector<std::future<std::vector<SignedReceipt>>> working;
        for (std::uint64_t i = 0; i < kAtOnce && made + i * kPerLease < receipts; ++i) {
            const auto [ask, bid] = market.make_orders(made + i, 1000, kPerLease + 1);
            leases.push_back(market.open(ask.ask, bid.bid));
            file.add(command_of(ask));
            file.add(command_of(bid));
        }
        for (auto& lease : leases)
            working.push_back(
                std::async(std::launch::deferred, [&] { return market.work(lease, kPerLease); }));
        // Two leases at a time: signing takes the cores.
        std::vector<std::vector<SignedReceipt>> work(leases.size());
        for (std::size_t i = 0; i < leases.size(); i += 2) {
            auto other = std::async(std::launch::async, [&] { work[i] = working[i].get(); });
            if (i + 1 < leases.size()) work[i + 1] = working[i + 1].get();
            other.get();
        }
        for (std::uint64_t n = 0; n < kPerLease; ++n)
            for (const auto& list : work) {
                const SignedReceipt& item = list[n];
                file.add(
                    domain::SubmitReceipt{.receipt = item.receipt, .signature = item.signature});
                if (samples.size() < kSampled)
                    samples.push_back(
                        {ledger::eth::typed_digest(market.separator, struct_hash(item.receipt)),
                         item.signature});
            }
        for (auto& lease : leases) {
            const auto voucher = market.make_voucher(lease);
            domain::RecordVoucher command;
            command.voucher = voucher.voucher;
            command.buyer_signature = voucher.buyer_signature;
            command.worker_signature = voucher.worker_signature;
            file.add(std::move(command));
            market.claim(lease);
            market.close(lease);
        }
        market.anchor(file.tree.size(), file.tree.root());
    }
    file.close();
}

/// Signers recovered per second on all cores.
double recover_all(const secp256k1_context* context, const std::vector<Sample>& samples) {
    const unsigned threads = ledger::base::cpu_count();
    const auto some = [&](std::size_t first) {
        for (std::size_t i = first; i < samples.size(); i += threads) {
            const std::uint8_t* bytes = samples[i].signature.data();
            secp256k1_ecdsa_recoverable_signature signature;
            secp256k1_pubkey signer;
            MR_CHECK(secp256k1_ecdsa_recoverable_signature_parse_compact(context, &signature, bytes,
                                                                         bytes[64] - 27) == 1);
            MR_CHECK(secp256k1_ecdsa_recover(context, &signer, &signature,
                                             samples[i].digest.data()) == 1);
        }
    };
    return bench::rate(1,
                       [&](std::uint64_t) {
                           std::vector<std::future<void>> working;
                           for (unsigned i = 0; i < threads; ++i)
                               working.push_back(std::async(std::launch::async, some, i));
                           for (auto& one : working)
                               one.get();
                       }) *
           static_cast<double>(samples.size());
}

/// Seconds that all threads of this process have computed.
double cpu_seconds() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double audit_all(FakeMarket& market, const std::string& path, std::uint64_t receipts) {
    return bench::rate(1,
                       [&](std::uint64_t) {
                           cli::Context context;
                           const auto reader = cli::open_log(context, path);
                           MR_CHECK(reader.has_value());
                           cli::JournalSource source(**reader);
                           const auto report =
                               ledger::audit::audit(market, source, market.deployment);
                           MR_CHECK(report.has_value());
                           if (!report->ok())
                               fmt::print(stderr, "{}\n", ledger::audit::to_text(*report));
                           MR_CHECK(report->ok());
                           MR_CHECK(report->receipts_checked == receipts);
                       }) *
           static_cast<double>(receipts);
}

/// Most memory since `forget_peak`, in MiB.
double peak_mib() {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;)
        if (word == "VmHWM:") {
            double kib = 0;
            status >> kib;
            return kib / 1024;
        }
    return 0;
}
void forget_peak() {
    std::ofstream("/proc/self/clear_refs") << "5";
}

}  // namespace

int main(int argc, char** argv) {
    const auto number = [&](int at, std::uint64_t otherwise) {
        return argc > at ? ledger::base::parse_u64(argv[at]).value_or(otherwise) : otherwise;
    };
    const std::uint64_t receipts = (number(1, 1'000'000) + kPerLease - 1) / kPerLease * kPerLease;
    const auto rounds = static_cast<int>(number(2, 3));
    const auto folder =
        std::filesystem::current_path() / "build" / "bench" / fmt::format("audit-{}", getpid());
    std::filesystem::create_directories(folder);
    const std::string path = folder / "log.jsonl";
    FakeMarket market;
    std::vector<Sample> samples;
    {
        LogFile file(path);
        make_log(market, file, receipts, samples);
    }
    auto* context = secp256k1_context_create(SECP256K1_CONTEXT_VERIFY);
    forget_peak();
    std::vector<double> our_cpu_us;
    std::vector<double> limit_cpu_us;
    const auto with_cpu = [](std::vector<double>& to, double count, auto&& work) {
        const double begin = cpu_seconds();
        const double rate = work();
        to.push_back((cpu_seconds() - begin) * 1e6 / count);
        return rate;
    };
    const auto compared = bench::compare(
        rounds,
        [&] {
            return with_cpu(our_cpu_us, static_cast<double>(receipts),
                            [&] { return audit_all(market, path, receipts); });
        },
        [&] {
            return with_cpu(limit_cpu_us, static_cast<double>(samples.size()),
                            [&] { return recover_all(context, samples); });
        });
    bench::Report report("audit");
    report.metric("receipts", static_cast<double>(receipts));
    report.metric("audited_per_s", compared.ours);
    report.metric("recover_limit_per_s", compared.limit);
    report.metric("audit_cpu_us", bench::median(our_cpu_us));
    report.metric("recover_cpu_us", bench::median(limit_cpu_us));
    report.metric("cpu_ratio", bench::median(limit_cpu_us) / bench::median(our_cpu_us));
    report.metric("log_bytes", static_cast<double>(std::filesystem::file_size(path)));
    report.goal("audit against bare recovery on all cores", compared.ratio, 0.85, "ratio",
                bench::Better::kHigher);
    report.goal("peak memory", peak_mib(), 300, "MiB", bench::Better::kLower);
    secp256k1_context_destroy(context);
    std::filesystem::remove_all(folder);
    fmt::print("{}\n", report.json());
    return 0;
}
