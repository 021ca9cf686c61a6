// SPDX-License-Identifier: Apache-2.0
#include "ledger/crypto/sealed_blob.hpp"
#include "marketplace/wire/sealed_job.hpp"
#include "tests/unit/worker/agent/fixture.hpp"
#include "worker/agent/market_http.hpp"
#include "worker/agent/sealed_files.hpp"
#include "worker/model/safetensors.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <thread>

namespace worker::agent::test {
namespace {

namespace fs = std::filesystem;
using ledger::crypto::DataKey;

const Hash32& salt() {
    static const Hash32 value = hash_of("a job's salt");
    return value;
}

std::string read(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// A buyer with a sealed job: its data key, and its data as a blob.
struct SealedWorld : World {
    DataKey key = DataKey::generate();
    wire::Assign order = assign();

    SealedWorld() {
        const fs::path plain = folder.path() / "plain";
        std::ofstream(plain) << "call me ishmael";
        const fs::path blob =
            folder.path() / "blobs" / ledger::base::to_hex(hash_of("text")).substr(2);
        MR_CHECK(ledger::crypto::seal_file(plain, blob, key, context_bytes()).has_value());
        order.spec = train_spec();
        order.spec.insert(order.spec.find("\"seed\""),
                          "\"sealed\":\"" + ledger::base::to_hex(salt()) + "\",");
    }
    [[nodiscard]] static ledger::base::Bytes context_bytes() {
        return wire::sealed_blob_context(salt());
    }
    void give_key(const DataKey& what, const PrivateKey& reader, const Hash32& lease) {
        auto wrapped =
            ledger::crypto::wrap_key(what, reader.public_key(), wire::wrapped_key_context(lease));
        MR_CHECK(wrapped.has_value());
        keys.give(order.lease, std::move(*wrapped));
    }
    [[nodiscard]] fs::path opened() const {
        return folder.path() / "jobs" / (ledger::base::to_hex(order.lease).substr(2) + ".opened");
    }
    /// The code of the error that the lease fails with.
    std::string failure() {
        const auto agent = make_agent();
        tell(*agent, welcome());
        tell(*agent, order);
        const auto failed = ear.wait_for<wire::WorkFailed>(1);
        MR_CHECK(failed.size() == 1);
        return failed.front().code;
    }
};

}  // namespace

TEST_CASE("sealed: a key for another worker or lease, or of another job, ends the lease") {
    {
        SealedWorld world;
        world.give_key(world.key, key_of(9), world.order.lease);
        CHECK(world.failure() == "data_invalid");
    }
    {
        SealedWorld world;
        world.give_key(world.key, world.worker, hash_of("another lease"));
        CHECK(world.failure() == "data_invalid");
    }
    {
        SealedWorld world;
        world.give_key(DataKey::generate(), world.worker, world.order.lease);
        CHECK(world.failure() == "data_invalid");
        CHECK_FALSE(fs::exists(world.opened()));
    }
    {
        SealedWorld world;
        world.keys.give(world.order.lease, {1, 2, 3});
        CHECK(world.failure() == "invalid_encoding");
    }
}

TEST_CASE("sealed: the lease waits for its key, and is given back when none comes") {
    SealedWorld world;
    const auto agent = world.make_agent();
    tell(*agent, world.welcome());
    tell(*agent, world.order);
    world.clock.now_ += 3'000;
    agent->tick();
    CHECK(world.ear.all<wire::WorkFailed>().empty());
    world.give_key(world.key, world.worker, world.order.lease);
    for (int i = 0; i < 50 && world.ear.all<wire::Started>().empty(); ++i) {
        world.clock.now_ += 3'000;
        agent->tick();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    CHECK_FALSE(world.ear.wait_for<wire::WorkFinished>(1).empty());

    SealedWorld forgotten;
    const auto other = forgotten.make_agent();
    tell(*other, forgotten.welcome());
    tell(*other, forgotten.order);
    const std::uint64_t began_ms = forgotten.clock.now_;
    for (int i = 0; i < 500 && forgotten.ear.all<wire::WorkFailed>().empty(); ++i) {
        forgotten.clock.now_ += 10'000;
        other->tick();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    const auto failed = forgotten.ear.all<wire::WorkFailed>();
    REQUIRE(failed.size() == 1);
    CHECK(failed.front().code == "unavailable");
    CHECK(forgotten.clock.now_ - began_ms >= 15 * 60'000);  // long enough for a person
}

TEST_CASE("sealed: data is opened beside the job, and only sealed checkpoints leave") {
    SealedWorld world;
    world.give_key(world.key, world.worker, world.order.lease);
    auto agent = world.make_agent();
    tell(*agent, world.welcome());
    tell(*agent, world.order);
    REQUIRE_FALSE(world.ear.wait_for<wire::WorkFinished>(1).empty());
    const auto receipts = world.ear.all<wire::ReceiptMessage>();
    REQUIRE(receipts.size() == 4);
    for (const auto& message : receipts) {
        const Hash32& hash = message.checkpoint;
        CHECK(hash == message.receipt.receipt.response_hash);
        const fs::path blob = world.folder.path() / "blobs" / ledger::base::to_hex(hash).substr(2);
        CHECK(*hash_file(blob) == hash);
        CHECK(read(blob).starts_with("MRSEALED"));
        CHECK_FALSE(model::SafetensorsFile::open(blob).has_value());
        const fs::path plain = world.folder.path() / "checkpoint";
        REQUIRE(ledger::crypto::open_file(blob, plain, world.key, SealedWorld::context_bytes()));
        CHECK(model::SafetensorsFile::open(plain).has_value());
    }
    agent.reset();  // its thread has ended the lease
    CHECK_FALSE(fs::exists(world.opened()));
}

TEST_CASE("sealed: files come out as they went in, for this worker's user alone") {
    SealedWorld world;
    world.give_key(world.key, world.worker, world.order.lease);
    LeaseTerms terms;
    terms.lease = world.order.lease;
    const auto files = SealedFiles::make(world.keys, terms, salt(), world.worker, world.opened());
    REQUIRE(files.has_value());
    CHECK((fs::status(world.opened()).permissions() & fs::perms::all) == fs::perms::owner_all);
    const auto text = files->open(*world.blobs.fetch(hash_of("text")), "text");
    REQUIRE(text.has_value());
    CHECK(read(*text) == "call me ishmael");
    const auto other =
        SealedFiles::make(world.keys, terms, hash_of("other"), world.worker, world.opened());
    REQUIRE(other.has_value());
    CHECK(other->open(*world.blobs.fetch(hash_of("text")), "text").error().code() ==
          ErrorCode::data_invalid);
}

TEST_CASE("sealed: another worker goes on from a sealed checkpoint with a key of its own") {
    SealedWorld world;
    world.executor.fail_next_at(50, Error(ErrorCode::out_of_memory, "killed"));
    world.give_key(world.key, world.worker, world.order.lease);
    CHECK(world.failure() == "out_of_memory");
    const auto before = world.ear.all<wire::ReceiptMessage>();
    REQUIRE(!before.empty());

    world.ear.forget();
    world.worker = key_of(7);
    world.order.parties.worker = world.worker.address();
    world.order.bid_hash = hash_of("the next bid");
    world.order.lease =
        ledger::settlement::lease_id({world.order.ask_hash, world.order.bid_hash, 0});
    world.order.start_step = before.back().step;
    world.order.start_checkpoint = before.back().checkpoint;
    world.order.max_units = 100 - before.back().step;
    world.give_key(world.key, world.worker, world.order.lease);
    const auto agent = world.make_agent();
    tell(*agent, world.welcome());
    tell(*agent, world.order);
    REQUIRE_FALSE(world.ear.wait_for<wire::WorkFinished>(1).empty());
    CHECK(world.ear.all<wire::ReceiptMessage>().back().step == 100);
}

}  // namespace worker::agent::test
