// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/job_seal.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/crypto/sealed_blob.hpp"
#include "marketplace/cli/finetune_spec.hpp"
#include "marketplace/cli/job_keys.hpp"
#include "marketplace/cli/job_order.hpp"
#include "marketplace/cli/job_spec.hpp"
#include "marketplace/wire/sealed_job.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

using namespace marketplace::cli;  // NOLINT: the room under test
using ledger::base::ErrorCode;
using ledger::base::to_hex;
using ledger::crypto::PrivateKey;

namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// A folder of its own with a file in it.
struct Files {
    fs::path folder = fs::temp_directory_path() / ("millrace-seal-" + to_hex(random_hash()));
    fs::path plain = folder / "plain";

    Files() {
        fs::create_directories(folder);
        std::ofstream(plain) << "call me ishmael";
    }
    Files(const Files&) = delete;
    Files& operator=(const Files&) = delete;
    ~Files() {
        std::error_code ignored;
        fs::remove_all(folder, ignored);
    }
};

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    const auto at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("job_seal: a record is refused when it is damaged, foreign or of another version") {
    const PrivateKey account = PrivateKey::generate();
    const JobSeal seal = JobSeal::make();
    const std::string record = *seal.to_record(account.public_key());
    REQUIRE(JobSeal::parse_record(record, account).has_value());
    const auto code = [&](const std::string& text, const PrivateKey& reader) {
        const auto parsed = JobSeal::parse_record(text, reader);
        REQUIRE_FALSE(parsed.has_value());
        return parsed.error().code();
    };
    CHECK(code("", account) == ErrorCode::data_invalid);
    CHECK(code("[]", account) == ErrorCode::data_invalid);
    CHECK(code(record.substr(0, record.size() / 2), account) == ErrorCode::data_invalid);
    CHECK(code("{}", account) == ErrorCode::unsupported);
    CHECK(code(replaced(record, "\"version\":1", "\"version\":2"), account) ==
          ErrorCode::unsupported);
    CHECK(code(record, PrivateKey::generate()) == ErrorCode::data_invalid);
    // A record with another job's salt would give a key that opens nothing.
    CHECK(code(replaced(record, to_hex(seal.salt()), to_hex(random_hash())), account) ==
          ErrorCode::data_invalid);
    CHECK(code(replaced(record, "\"wrapped_key\":\"0x01", "\"wrapped_key\":\"0x02"), account) ==
          ErrorCode::data_invalid);
}

TEST_CASE("job_seal: what is kept opens what was sealed, and shows neither key nor data") {
    const Files files;
    const PrivateKey account = PrivateKey::generate();
    const PrivateKey worker = PrivateKey::generate();
    const JobSeal seal = JobSeal::make();
    const std::string record = *seal.to_record(account.public_key());
    const auto kept = JobSeal::parse_record(record, account);
    REQUIRE(kept.has_value());
    CHECK(kept->salt() == seal.salt());

    // The worker's half: the key as it gets it.
    const auto lease = random_hash();
    const auto wrapped = kept->wrap(worker.public_key(), lease);
    REQUIRE(wrapped.has_value());
    const auto key =
        ledger::crypto::unwrap_key(*wrapped, worker, marketplace::wire::wrapped_key_context(lease));
    REQUIRE(key.has_value());
    CHECK(record.find(to_hex(key->bytes()).substr(2)) == std::string::npos);
    CHECK_FALSE(ledger::crypto::unwrap_key(*wrapped, worker,
                                           marketplace::wire::wrapped_key_context(random_hash())));

    const auto context = marketplace::wire::sealed_blob_context(seal.salt());
    const fs::path sealed = files.folder / "sealed";
    REQUIRE(ledger::crypto::seal_file(files.plain, sealed, *key, context).has_value());
    CHECK(read(sealed).find("ishmael") == std::string::npos);
    REQUIRE(kept->open(sealed, files.folder / "opened").has_value());
    CHECK(read(files.folder / "opened") == "call me ishmael");
    const auto other = JobSeal::make().open(sealed, files.folder / "other");
    REQUIRE_FALSE(other.has_value());
    CHECK(other.error().code() == ErrorCode::data_invalid);
    CHECK_FALSE(fs::exists(files.folder / "other"));
}

TEST_CASE("job_keys: a public key is believed when its address is the worker's") {
    const PrivateKey worker = PrivateKey::generate();
    const std::string good = to_hex(worker.public_key());
    const auto reader = parse_reader(good, worker.address());
    REQUIRE(reader.has_value());
    CHECK(*reader == worker.public_key());
    const std::string other = to_hex(PrivateKey::generate().public_key());
    for (const std::string& text :
         {other, std::string(), std::string("0x"), good.substr(0, 64), good + "00",
          replaced(good, good.substr(2, 2), good.substr(2, 2) == "00" ? "01" : "00")}) {
        const auto refused = parse_reader(text, worker.address());
        REQUIRE_FALSE(refused.has_value());
        CHECK(refused.error().code() == ErrorCode::audit_failed);
    }
}

TEST_CASE("job_seal: specs name the salt, and a sealed result cannot be served") {
    TrainPlan plan;
    plan.text = random_hash();
    const std::string open = *make_train_spec(plan);
    CHECK(open.find("sealed") == std::string::npos);
    CHECK(make_serve_spec(open, random_hash(), "m").has_value());
    plan.sealed = random_hash();
    const std::string sealed = *make_train_spec(plan);
    CHECK(sealed.find("\"sealed\":\"" + to_hex(*plan.sealed) + "\"") != std::string::npos);
    const auto served = make_serve_spec(sealed, random_hash(), "m");
    REQUIRE_FALSE(served.has_value());
    CHECK(served.error().code() == ErrorCode::unsupported);

    ModelShape shape;
    shape.vocab = shape.width = shape.depth = shape.heads = shape.kv_heads = shape.head_dim = 8;
    shape.ffn = shape.context = 64;
    FinetunePlan tune;
    tune.context = 64;
    tune.steps = tune.segment_steps = 4;
    tune.learning_rate = "0.001";
    tune.sealed = random_hash();
    const auto spec = make_finetune_spec(tune, shape);
    REQUIRE(spec.has_value());
    CHECK(spec->find("\"sealed\":\"" + to_hex(*tune.sealed) + "\"") != std::string::npos);
}
