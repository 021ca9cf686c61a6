// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/witness.hpp"

#include "marketplace/cli/public_log.hpp"
#include "marketplace/engine/journal.hpp"
#include "tests/support/temp_database.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <sstream>

using namespace marketplace;  // NOLINT: a test of its own
using cli::Witness;
using ledger::base::Bytes;
using ledger::base::ErrorCode;
using ledger::base::Hash32;
using ledger::crypto::PrivateKey;

namespace {

struct Market {
    Market() : key(PrivateKey::generate()) {}
    /// Another market of the same operator.
    explicit Market(const PrivateKey& market_operator)
        : key(PrivateKey::from_bytes(market_operator.secret()).value()) {}
    /// A log of `count` records; `salt` makes another one.
    void grow(std::size_t count, std::uint64_t salt = 0) {
        while (records.size() < count) {
            engine::Record record;
            record.sequence = records.size();
            record.time_ms = 1000 + records.size() + salt;
            record.previous = records.empty() ? Hash32() : engine::record_hash(records.back());
            record.command = domain::Tick{};
            records.push_back(engine::encode_record(record));
            tree.append_data(records.back());
        }
    }
    [[nodiscard]] wire::SignedHead head(std::uint64_t size, std::uint64_t time_ms) const {
        wire::SignedHead out;
        out.head = {size, tree.root_at(size).value(), time_ms};
        out.signature = key.sign(ledger::eth::digest(domain, out.head));
        return out;
    }
    [[nodiscard]] ledger::base::Result<ledger::base::Signature> show(Witness& witness,
                                                                     std::uint64_t size,
                                                                     std::uint64_t time_ms) const {
        while (witness.size() < size)
            TRY(witness.append(records[witness.size()]));
        return witness.cosign(head(size, time_ms), domain, key.address(), own);
    }

    ledger::eth::Domain domain{31337, {}};
    PrivateKey key;
    PrivateKey own = PrivateKey::generate();
    std::vector<Bytes> records;
    ledger::log::MerkleTree tree;
};

std::string read_text(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

void write_text(const std::filesystem::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

template <typename T>
ErrorCode code_of(const ledger::base::Result<T>& result) {
    REQUIRE(!result);
    return result.error().code();
}

}  // namespace

TEST_CASE("witness: another history, a shorter log and an earlier time are refused with evidence") {
    tests::TempFolder folder;
    Market market;
    market.grow(10);
    auto witness = Witness::open(folder.file("w"));
    REQUIRE(witness);
    REQUIRE(market.show(*witness, 5, 100));
    SUBCASE("rewritten from the start, with the same size") {
        Market other(market.key);
        other.grow(5, 1);
        CHECK(code_of(other.show(*witness, 5, 101)) == ErrorCode::audit_failed);
        CHECK(std::filesystem::exists(folder.file("w/alarm-5.json")));
    }
    SUBCASE("rewritten after what was co-signed") {
        Market other(market.key);
        other.grow(8, 1);
        CHECK(code_of(other.show(*witness, 8, 101)) == ErrorCode::audit_failed);
    }
    SUBCASE("a record left out") {
        CHECK(code_of(witness->append(market.records[6])) == ErrorCode::audit_failed);
    }
    SUBCASE("the operator signs what it does not show") {
        for (std::size_t i = 5; i < 8; ++i)
            REQUIRE(witness->append(market.records[i]));
        wire::SignedHead forged = market.head(8, 101);
        forged.head.root.data()[3] ^= 1;
        forged.signature = market.key.sign(ledger::eth::digest(market.domain, forged.head));
        CHECK(code_of(witness->cosign(forged, market.domain, market.key.address(), market.own)) ==
              ErrorCode::audit_failed);
    }
    SUBCASE("shorter") {
        CHECK(code_of(market.show(*witness, 4, 101)) == ErrorCode::audit_failed);
        CHECK(std::filesystem::exists(folder.file("w/alarm-4.json")));
    }
    SUBCASE("back in time") {
        CHECK(code_of(market.show(*witness, 7, 99)) == ErrorCode::audit_failed);
    }
}

TEST_CASE("witness: what is not the operator's, or not read yet, is no alarm") {
    tests::TempFolder folder;
    Market market;
    market.grow(10);
    auto witness = Witness::open(folder.file("w"));
    REQUIRE(witness);
    CHECK(code_of(witness->cosign(market.head(3, 1), market.domain, market.own.address(),
                                  market.own)) == ErrorCode::invalid_signature);
    CHECK(code_of(witness->cosign(market.head(3, 1), market.domain, market.key.address(),
                                  market.own)) == ErrorCode::wrong_state);
    CHECK(market.show(*witness, 3, 1));
}

TEST_CASE("witness: it goes on from its copy after a stop, also one in the middle of a line") {
    tests::TempFolder folder;
    Market market;
    market.grow(10);
    const auto path = folder.file("w");
    ledger::base::Signature first;
    {
        auto witness = Witness::open(path);
        REQUIRE(witness);
        const auto signature = market.show(*witness, 5, 100);
        REQUIRE(signature);
        first = *signature;
        CHECK(ledger::crypto::verify(ledger::eth::digest(market.domain, market.head(5, 100).head),
                                     *signature, market.own.address()));
        REQUIRE(witness->append(market.records[5]));
    }
    std::string copy = read_text(path / "log.jsonl");
    copy.resize(copy.size() - 7);
    write_text(path / "log.jsonl", copy);
    auto witness = Witness::open(path);
    REQUIRE(witness);
    CHECK(witness->size() == 5);
    CHECK(market.show(*witness, 5, 100) == first);  // asked again: the same signature
    CHECK(market.show(*witness, 10, 200));
}

TEST_CASE("witness: a copy that changed, or is older than its last head, is refused") {
    tests::TempFolder folder;
    Market market;
    market.grow(6);
    const auto path = folder.file("w");
    {
        auto witness = Witness::open(path);
        REQUIRE(witness);
        REQUIRE(market.show(*witness, 6, 100));
    }
    const std::string copy = read_text(path / "log.jsonl");
    for (std::size_t at = 0; at < copy.size(); at += 17) {
        std::string damaged = copy;
        damaged[at] = static_cast<char>(damaged[at] ^ 1);
        write_text(path / "log.jsonl", damaged);
        CHECK(code_of(Witness::open(path)) == ErrorCode::log_damaged);
    }
    write_text(path / "log.jsonl", copy.substr(0, copy.size() / 2));
    CHECK(code_of(Witness::open(path)) == ErrorCode::log_damaged);
    std::filesystem::remove(path / "log.jsonl");
    CHECK(code_of(Witness::open(path)) == ErrorCode::log_damaged);
}
