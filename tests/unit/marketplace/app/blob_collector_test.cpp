// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/blob_collector.hpp"

#include "ledger/base/hex.hpp"
#include "marketplace/wire/document.hpp"
#include "tests/support/market.hpp"
#include "tests/support/temp_database.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <string>

using namespace marketplace;
using ledger::base::as_bytes;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using ledger::base::sha256;
using ledger::base::to_hex;

namespace {

class FakeClock final : public ledger::base::Clock {
 public:
    [[nodiscard]] ledger::base::TimeMs now_ms() const override { return now; }
    std::atomic<ledger::base::TimeMs> now{tests::kStartS * 1000};
};

struct Setup {
    explicit Setup(std::vector<app::BlobSource> sources)
        : blobs(std::move(*api::BlobStore::open(folder.file("blobs"), 1 << 20, clock))),
          uploads(std::move(*api::BlobUploads::open(*blobs))),
          collector(*blobs, *uploads, std::move(sources)) {}

    domain::Hash32 store(const std::string& bytes) {
        const auto hash = sha256(as_bytes(bytes));
        auto upload = blobs->begin(hash, bytes.size());
        REQUIRE(upload);
        REQUIRE((*upload)->write(bytes));
        std::atomic<bool> done = false;
        std::atomic<bool> stored = false;
        blobs->commit(std::move(*upload), [&](const auto& result) {
            stored = result.has_value();
            done = true;
            done.notify_one();
        });
        done.wait(false);
        REQUIRE(stored);
        return hash;
    }
    void let_all_age() { clock.now += blobs->limits().keep_ms; }
    [[nodiscard]] bool lies_there(const domain::Hash32& hash) const {
        const std::string name = to_hex(hash).substr(2);
        return std::filesystem::exists(folder.file("blobs") / name.substr(0, 2) / name);
    }

    tests::TempFolder folder;
    FakeClock clock;
    std::unique_ptr<api::BlobStore> blobs;
    std::unique_ptr<api::BlobUploads> uploads;
    app::BlobCollector collector;
};

std::string serve_spec(const domain::Hash32& weights) {
    return R"({"kind":"infer.serve","model":{"arch":"gpt","context":64,"depth":2,"heads":2,)"
           R"("vocab":256,"width":64},"name":"m","tokenizer":"bytes","version":1,"weights":")" +
           to_hex(weights) + "\"}";
}

}  // namespace

TEST_CASE("blob_collector: while a source cannot be read nothing is dropped") {
    bool broken = true;
    Setup setup({[&broken](app::BlobReferences&) -> Result<void> {
        if (broken) return fail(ErrorCode::io_error, "test");
        return {};
    }});
    const auto blob = setup.store("blob");
    setup.let_all_age();
    CHECK(setup.collector.collect().error().code() == ErrorCode::io_error);
    CHECK(setup.lies_there(blob));
    broken = false;
    CHECK(*setup.collector.collect() == 4);
    CHECK_FALSE(setup.lies_there(blob));
    CHECK(*setup.collector.collect() == 0);
}

TEST_CASE("blob_collector: what is young, referred to, or asked for during the round stays") {
    domain::Hash32 named;
    domain::Hash32 asked;
    Setup* all = nullptr;
    Setup setup({[&](app::BlobReferences& out) -> Result<void> {
        out.insert(named);
        CHECK(all->blobs->has(asked));  // a job that names it is being posted
        return {};
    }});
    all = &setup;
    named = setup.store("named");
    asked = setup.store("asked for");
    const auto old = setup.store("old");
    setup.let_all_age();
    const auto young = setup.store("young");
    CHECK(*setup.collector.collect() == 3);
    CHECK(setup.lies_there(named));
    CHECK(setup.lies_there(asked));
    CHECK(setup.lies_there(young));
    CHECK_FALSE(setup.lies_there(old));
}

TEST_CASE("blob_collector: models and live jobs keep their blobs; unknown specs stop the round") {
    const tests::TempFolder folder;
    auto database = std::move(*storage::Database::open(folder.file("market.db")));
    app::ReadStore reads(std::move(
        *storage::Database::open(folder.file("market.db"), storage::Database::Mode::kReadOnly)));
    FakeClock clock;
    app::EngineThread engine(tests::make_config(), *database, clock, 16);
    engine.start();
    app::Catalog catalog(engine, reads);
    Setup setup({app::job_blobs(engine, reads), app::model_blobs(reads)});
    const auto weights = setup.store("weights");
    const auto job_weights = setup.store("weights of a job");
    const auto old = setup.store("old");
    REQUIRE(catalog.put_model({"m", tests::fixed(1), serve_spec(weights), 1}));
    setup.let_all_age();

    domain::PostJob job = tests::make_serve_job(1, 1, 1'000);
    const std::string spec = serve_spec(job_weights);
    for (domain::BidLeg& leg : job.legs)
        leg.bid.job_spec_hash = wire::document_hash(spec);
    REQUIRE(engine.apply(domain::EscrowDeposited{tests::buyer(1), 1'000'000, {}, 0}));
    REQUIRE(engine.apply(job));
    CHECK(setup.collector.collect().error().code() == ErrorCode::data_missing);
    CHECK(setup.lies_there(old));
    REQUIRE(catalog.put_job_spec(wire::document_hash(spec), spec));
    CHECK(*setup.collector.collect() == 3);
    CHECK(setup.lies_there(weights));
    CHECK(setup.lies_there(job_weights));
    CHECK_FALSE(setup.lies_there(old));

    REQUIRE(engine.apply(domain::CancelJob{job.id, tests::buyer(1)}));
    CHECK(*setup.collector.collect() == std::string("weights of a job").size());
    CHECK(setup.lies_there(weights));
    engine.stop();
}
