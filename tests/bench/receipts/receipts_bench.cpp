// SPDX-License-Identifier: Apache-2.0
// Receipts signed and verified per second on all cores, and stored, each beside the bare library
// call that nothing can beat: libsecp256k1 alone, and a prepared SQLite insert with the same
// pragmas.
#include "ledger/base/check.hpp"
#include "ledger/base/cpu_count.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/crypto/verifier.hpp"
#include "ledger/eth/messages.hpp"
#include "marketplace/engine/journal.hpp"
#include "marketplace/storage/database.hpp"
#include "marketplace/storage/journal_store.hpp"
#include "tests/bench/report.hpp"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <secp256k1.h>
#include <secp256k1_recovery.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

namespace {

namespace crypto = ledger::crypto;
namespace eth = ledger::eth;
namespace storage = marketplace::storage;
using ledger::base::Bytes;
using ledger::base::ByteView;
using ledger::base::Hash32;

constexpr std::uint64_t kCount = 2'000;
constexpr int kRounds = 5;
constexpr std::size_t kGroup = 100;  // records of one commit, as the market groups them under load

struct ContextCloser {
    void operator()(secp256k1_context* context) const noexcept {
        secp256k1_context_destroy(context);
    }
};
using Context = std::unique_ptr<secp256k1_context, ContextCloser>;

struct Signed {
    eth::Receipt receipt;
    Hash32 digest;
    ledger::base::Signature signature;
};

eth::Receipt make_receipt(std::uint64_t i) {
    eth::Receipt receipt;
    receipt.sequence = i + 1;
    receipt.cumulative_units = (i + 1) * 25;
    receipt.price_atoms = 500;
    receipt.cumulative_amount_atoms = receipt.cumulative_units * receipt.price_atoms;
    receipt.start_ms = 1'790'000'000'000 + i * 1'000;
    receipt.end_ms = receipt.start_ms + 900;
    return receipt;
}

/// Times per second that `work(i)` ran on all cores; `make_work()` gives each its own.
template <typename MakeWork>
double rate_on_cores(const MakeWork& make_work) {
    const unsigned cores = ledger::base::cpu_count();
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::jthread> threads;
    for (unsigned core = 0; core < cores; ++core)
        threads.emplace_back([&make_work] {
            auto work = make_work();
            for (std::uint64_t i = 0; i < kCount; ++i)
                work(i);
        });
    threads.clear();  // joins
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    return static_cast<double>(kCount * cores) / passed.count();
}

Hash32 hash_again(const Hash32& separator, const Signed& item) {
    return eth::typed_digest(separator, eth::struct_hash(item.receipt));
}

void bench_sign(bench::Report& report, const crypto::PrivateKey& key,
                const std::vector<Signed>& receipts) {
    const auto compared = bench::compare(
        kRounds,
        [&] {
            return rate_on_cores([&] {
                return [&](std::uint64_t i) {
                    MR_CHECK(key.sign(receipts[i].digest) == receipts[i].signature);
                };
            });
        },
        [&] {
            return rate_on_cores([&] {
                return [&, context = Context(secp256k1_context_create(SECP256K1_CONTEXT_SIGN))](
                           std::uint64_t i) {
                    secp256k1_ecdsa_recoverable_signature signature;
                    MR_CHECK(secp256k1_ecdsa_sign_recoverable(
                                 context.get(), &signature, receipts[i].digest.data(),
                                 key.secret().data(), nullptr, nullptr) == 1);
                };
            });
        });
    report.metric("sign_per_s", compared.ours);
    report.metric("sign_limit_per_s", compared.limit);
    report.goal("sign against bare secp256k1, all cores", compared.ratio, 0.95, "ratio",
                bench::Better::kHigher);
}

double recover_bare(const std::vector<Signed>& receipts) {
    return rate_on_cores([&] {
        return [&, context = Context(secp256k1_context_create(SECP256K1_CONTEXT_VERIFY))](
                   std::uint64_t i) {
            const std::uint8_t* bytes = receipts[i].signature.data();
            secp256k1_ecdsa_recoverable_signature signature;
            secp256k1_pubkey signer;
            MR_CHECK(secp256k1_ecdsa_recoverable_signature_parse_compact(
                         context.get(), &signature, bytes, bytes[64] - 27) == 1);
            MR_CHECK(secp256k1_ecdsa_recover(context.get(), &signer, &signature,
                                             receipts[i].digest.data()) == 1);
        };
    });
}

void bench_verify(bench::Report& report, const crypto::PrivateKey& key, const Hash32& separator,
                  const std::vector<Signed>& receipts) {
    const auto compared = bench::compare(
        kRounds,
        [&] {
            return rate_on_cores([&] {
                return [&](std::uint64_t i) {
                    MR_CHECK(crypto::verify(hash_again(separator, receipts[i]),
                                            receipts[i].signature, key.address())
                                 .has_value());
                };
            });
        },
        [&] { return recover_bare(receipts); });
    report.metric("verify_per_s", compared.ours);
    report.metric("verify_limit_per_s", compared.limit);
    report.goal("hash, recover and address against bare recover, all cores", compared.ratio, 0.9,
                "ratio", bench::Better::kHigher);

    const auto known = bench::compare(
        kRounds,
        [&] {
            return rate_on_cores([&] {
                return [&, verifier = crypto::Verifier()](std::uint64_t i) mutable {
                    MR_CHECK(
                        verifier.verify(receipts[i].digest, receipts[i].signature, key.address()));
                };
            });
        },
        [&] { return recover_bare(receipts); });
    report.metric("verify_known_key_per_s", known.ours);
    report.goal("verify of a known key against bare recover, all cores", known.ratio, 1.1, "ratio",
                bench::Better::kHigher);
}

std::vector<Bytes> make_records(const std::vector<Signed>& receipts) {
    std::vector<Bytes> records;
    records.reserve(receipts.size());
    for (const Signed& item : receipts) {
        marketplace::engine::Record record;
        record.sequence = records.size();
        record.command = marketplace::domain::SubmitReceipt{.receipt = item.receipt,
                                                            .signature = item.signature};
        records.push_back(marketplace::engine::encode_record(record));
    }
    return records;
}

/// Through the market's own store, `group` records per commit, each commit fsynced.
double store_ours(const std::filesystem::path& file, const std::vector<Bytes>& records,
                  std::size_t group) {
    std::filesystem::remove(file);
    auto database = storage::Database::open(file);
    MR_CHECK(database.has_value());
    storage::JournalStore journal(**database);
    return bench::rate(records.size(), [&](std::uint64_t i) {
        if (i % group == 0) MR_CHECK((*database)->begin().has_value());
        MR_CHECK(journal.append(i, records[i]).has_value());
        const bool last = i + 1 == records.size();
        if (last || i % group == group - 1) MR_CHECK((*database)->commit().has_value());
    });
}

/// The same rows by one prepared statement, with the same pragmas and commits.
double store_bare(const std::filesystem::path& file, const std::vector<Bytes>& records,
                  std::size_t group) {
    std::filesystem::remove(file);
    SQLite::Database database(file.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    database.exec("PRAGMA journal_mode=WAL");
    database.exec("PRAGMA synchronous=FULL");
    database.exec(
        "CREATE TABLE journal(sequence INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT");
    SQLite::Statement insert(database, "INSERT INTO journal VALUES(?, ?)");
    return bench::rate(records.size(), [&](std::uint64_t i) {
        if (i % group == 0) database.exec("BEGIN");
        insert.reset();
        insert.bind(1, static_cast<std::int64_t>(i));
        insert.bindNoCopy(2, records[i].data(), static_cast<int>(records[i].size()));
        insert.exec();
        const bool last = i + 1 == records.size();
        if (last || i % group == group - 1) database.exec("COMMIT");
    });
}

void bench_store(bench::Report& report, const std::vector<Signed>& receipts) {
    const auto folder =
        std::filesystem::current_path() / "build" / "bench" / fmt::format("receipts-{}", getpid());
    std::filesystem::create_directories(folder);
    const auto records = make_records(receipts);
    const auto grouped = bench::compare(
        kRounds, [&] { return store_ours(folder / "ours.db", records, kGroup); },
        [&] { return store_bare(folder / "bare.db", records, kGroup); });
    const auto single = bench::compare(
        1, [&] { return store_ours(folder / "ours1.db", records, 1); },
        [&] { return store_bare(folder / "bare1.db", records, 1); });
    std::filesystem::remove_all(folder);
    report.metric("store_per_s", grouped.ours);
    report.metric("store_limit_per_s", grouped.limit);
    report.metric("store_one_by_one_per_s", single.ours);
    report.metric("store_one_by_one_limit_per_s", single.limit);
    report.goal("store against bare SQLite, 100 per commit", grouped.ratio, 0.7, "ratio",
                bench::Better::kHigher);
}

}  // namespace

int main() {
    const auto key = crypto::PrivateKey::generate();
    const eth::Domain domain{.chain_id = 31337, .contract = key.address()};
    std::vector<Signed> receipts;
    for (std::uint64_t i = 0; i < kCount; ++i) {
        const auto receipt = make_receipt(i);
        const auto digest = eth::digest(domain, receipt);
        receipts.push_back({receipt, digest, key.sign(digest)});
    }
    bench::Report report("receipts");
    const Hash32 separator = eth::domain_separator(domain);
    bench_sign(report, key, receipts);
    bench_verify(report, key, separator, receipts);
    bench_store(report, receipts);
    fmt::print("{}\n", report.json());
    return 0;
}
