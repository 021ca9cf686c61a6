// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/proof.hpp"

#include "ledger/base/hex.hpp"
#include "tests/unit/ledger/audit/audit_fixture.hpp"

#include <set>

using namespace tests;  // NOLINT: test file

namespace {

/// The proof of record 5, and its log.
struct Proved {
    Market market;
    ReceiptDecoder decode = [this](ledger::base::ByteView bytes) -> std::optional<SignedReceipt> {
        if (bytes.size() != 8 || bytes[0] >= market.log.size()) return std::nullopt;
        const auto* item = std::get_if<SignedReceipt>(&market.log[bytes[0]].items[0]);
        if (item == nullptr || market.log[bytes[0]].bytes != Bytes(bytes.begin(), bytes.end()))
            return std::nullopt;
        return *item;
    };
    Proof proof = make(5);

    Proof make(std::uint64_t index) {
        const auto heads = read_heads(market.chain, market.chain.deployment);
        REQUIRE(heads);
        Proof out;
        out.chain_id = market.chain.deployment.chain_id;
        out.leases = market.chain.deployment.leases;
        out.receipt_log = market.chain.deployment.receipt_log;
        out.index = index;
        out.record = market.log[index].bytes;
        out.size = heads->back().head.size;
        out.root = heads->back().head.root;
        out.anchor = heads->back().at;
        out.path = *market.tree.inclusion_proof(index, out.size);
        out.receipt = decode(out.record);
        if (out.receipt)
            out.parties =
                *read_parties(market.chain, market.chain.deployment, out.receipt->receipt.lease);
        return out;
    }
    ledger::base::Result<void> check(std::string_view text) {
        TRY_ASSIGN(const Proof read, parse_proof(text));
        return verify(read, decode);
    }
};

}  // namespace

TEST_CASE("proof: a receipt is proved by its file alone, and any other record, too") {
    Proved proved;
    CHECK(proved.check(to_text(proved.proof)));
    CHECK(proved.proof.parties.worker_key == proved.market.chain.worker.address());
    for (const std::uint64_t index : {0U, 10U, 20U}) {
        const Proof other = proved.make(index);
        CHECK(!other.receipt);
        CHECK(proved.check(to_text(other)));
    }
    CHECK(read_parties(proved.market.chain, proved.market.chain.deployment, Hash32())
              .error()
              .code() == ErrorCode::not_found);
}

TEST_CASE("proof: every flipped bit of the file is refused with audit_failed") {
    Proved proved;
    for (const std::uint64_t index : {5U, 0U}) {
        const std::string text = to_text(proved.make(index));
        for (std::size_t bit = 0; bit < text.size() * 8; ++bit) {
            std::string changed = text;
            changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
            const auto result = proved.check(changed);
            if (result || result.error().code() != ErrorCode::audit_failed)
                FAIL("bit " << bit << " of " << changed);
        }
        CHECK(!proved.check(text + " "));
        CHECK(!proved.check(text.substr(1)));
        CHECK(!proved.check(""));
    }
}

TEST_CASE("proof: a forger who writes the digest anew is refused all the same") {
    Proved proved;
    const auto refuses = [&](auto&& change) {
        Proof forged = proved.proof;
        change(forged);
        const auto result = proved.check(to_text(forged));
        return !result && result.error().code() == ErrorCode::audit_failed;
    };
    CHECK(refuses([](Proof& p) { ++p.chain_id; }));
    CHECK(refuses([](Proof& p) { p.leases.data()[0] ^= 1; }));
    CHECK(refuses([](Proof& p) { p.index ^= 1; }));
    CHECK(refuses([](Proof& p) { p.record[3] ^= 1; }));
    CHECK(refuses([](Proof& p) { p.size = 1; }));
    CHECK(refuses([](Proof& p) { p.root.data()[0] ^= 1; }));
    CHECK(refuses([](Proof& p) { p.path[2].data()[0] ^= 1; }));
    CHECK(refuses([](Proof& p) { p.path.pop_back(); }));
    CHECK(refuses([](Proof& p) { ++p.receipt->receipt.cumulative_units; }));
    CHECK(refuses([](Proof& p) { p.receipt->signature.data()[8] ^= 1; }));
    CHECK(refuses([](Proof& p) { p.receipt.reset(); }));
    CHECK(refuses([](Proof& p) { p.parties.worker_key.data()[0] ^= 1; }));
}
