// SPDX-License-Identifier: Apache-2.0
#include "ledger/rpc/checked_chain.hpp"

#include "ledger/crypto/secp256k1.hpp"
#include "tests/support/chain_view.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace ledger::rpc;  // NOLINT: the room under test
using tests::support::Bytes;
using tests::support::ChainView;
using tests::support::Error;
using tests::support::ErrorCode;
using tests::support::FakeChain;
using tests::support::Hash32;

namespace {

constexpr auto kLatest = BlockTag::Name::kLatest;

class FakeClock final : public ledger::base::Clock {
 public:
    [[nodiscard]] ledger::base::TimeMs now_ms() const override { return now; }
    ledger::base::TimeMs now = 1'000'000;
};

struct Fixture {
    explicit Fixture(std::size_t count, std::size_t quorum = 0) {
        std::vector<ChainNode> nodes;
        for (std::size_t i = 0; i < count; ++i) {
            auto view = std::make_unique<ChainView>(chain);
            views.push_back(view.get());
            nodes.push_back({std::string(1, static_cast<char>('a' + i)), std::move(view)});
        }
        CheckedChainOptions options;
        options.chain_id = chain.id;
        options.quorum = quorum;
        options.on_news = [this](const std::string& text) { news.push_back(text); };
        checked = std::make_unique<CheckedChain>(std::move(nodes), clock, std::move(options));
        for (int i = 0; i < 10; ++i)
            chain.mine();
    }
    /// A mined transaction.
    Hash32 transaction() {
        static const auto key = ledger::crypto::PrivateKey::generate();
        ledger::eth::Transaction wanted;
        wanted.chain_id = chain.id;
        wanted.nonce = *chain.nonce(key.address(), kLatest);
        wanted.max_fee_per_gas = 5'000'000'000;
        const Bytes raw = encode_signed(wanted, key.sign(ledger::eth::signing_digest(wanted)));
        const Hash32 hash = checked->send_raw(raw).value();
        chain.mine();
        return hash;
    }
    [[nodiscard]] bool said(const std::string& text) const {
        return std::find(news.begin(), news.end(), text) != news.end();
    }

    FakeChain chain;
    FakeClock clock;
    std::vector<ChainView*> views;
    std::vector<std::string> news;
    std::unique_ptr<CheckedChain> checked;
};

LogEntry log_at(std::uint64_t block) {
    LogEntry entry;
    entry.block_number = block;
    return entry;
}

}  // namespace

TEST_CASE("checked_chain: more than half must agree unless told otherwise") {
    for (const auto& [count, needed] : {std::pair(1U, 1U), std::pair(2U, 2U), std::pair(3U, 2U),
                                        std::pair(4U, 3U), std::pair(5U, 3U)}) {
        Fixture f(count);
        for (std::size_t i = needed - 1; i < count; ++i)
            f.views[i]->dead.emplace(ErrorCode::timeout);
        CHECK_FALSE(f.checked->nonce({}, kLatest));
        Fixture enough(count);
        for (std::size_t i = needed; i < count; ++i)
            enough.views[i]->dead.emplace(ErrorCode::timeout);
        CHECK(enough.checked->nonce({}, kLatest) == 0U);
    }
    Fixture one(3, 1);
    one.views[0]->dead.emplace(ErrorCode::timeout);
    one.views[1]->dead.emplace(ErrorCode::timeout);
    CHECK(one.checked->block_number() == 10U);
}

TEST_CASE("checked_chain: a node alone is passed through, with its own errors") {
    Fixture f(1);
    CHECK(f.checked->chain_id() == 31337U);
    CHECK(f.checked->block(BlockTag::number(99)).error().code() == ErrorCode::not_found);
    CHECK(f.checked->call({}, kLatest).error().code() == ErrorCode::chain_refused);
    f.views[0]->dead.emplace(ErrorCode::timeout, "the node");
    for (int i = 0; i < 3; ++i)  // no back-off
        CHECK(f.checked->block(kLatest).error() == Error(ErrorCode::timeout, "the node"));
    f.views[0]->dead.reset();
    CHECK(f.checked->block(kLatest)->number == 10);
}

TEST_CASE("checked_chain: a forged, hidden or failed receipt is not believed") {
    const std::vector<std::function<void(std::optional<TransactionReceipt>&)>> lies = {
        [](auto& receipt) { receipt->succeeded = false; },
        [](auto& receipt) { receipt->block_hash.data()[0] ^= 1; },
        [](auto& receipt) { receipt->gas_used += 1; },
        [](auto& receipt) { receipt->logs.push_back(log_at(1)); },
        [](auto& receipt) { receipt.reset(); },
    };
    for (std::size_t liar = 0; liar < 3; ++liar) {
        for (const auto& lie : lies) {
            Fixture two(2);
            const Hash32 hash = two.transaction();
            two.views[liar % 2]->forge_receipt = lie;
            const auto doubted = two.checked->receipt(hash);
            REQUIRE(!doubted);
            CHECK(doubted.error().code() == ErrorCode::chain_bad_answer);
            two.views[liar % 2]->forge_receipt = nullptr;  // it heals
            CHECK(two.checked->receipt(hash)->value().succeeded);
            CHECK(two.checked->nodes()[liar % 2].trouble.empty());

            Fixture three(3);
            const Hash32 other = three.transaction();
            three.views[liar]->forge_receipt = lie;
            CHECK(three.checked->receipt(other)->value().succeeded);
            const std::string name(1, static_cast<char>('a' + liar));
            if (liar == 2) continue;  // it was not asked: two were enough
            REQUIRE(three.news.size() == 1);
            CHECK(three.news[0].starts_with(name + ": differs from the others about the receipt"));
        }
    }
    Fixture f(2);
    f.views[0]->forge_receipt = [](auto& receipt) { receipt.emplace().block_number = 3; };
    CHECK(f.checked->receipt(Hash32()).error().code() == ErrorCode::chain_bad_answer);
}

TEST_CASE("checked_chain: a block that only some nodes have is not there yet") {
    Fixture f(2);
    const Hash32 hash = f.transaction();
    f.views[1]->lag = 1;
    CHECK(f.checked->block(kLatest)->number == 10);
    CHECK(!f.checked->receipt(hash).value());
    CHECK(f.news.empty());
    f.views[1]->lag = 0;
    CHECK(f.checked->block(kLatest)->number == 11);
    CHECK(f.checked->receipt(hash)->has_value());
    // The head goes back at one of them: so does the common one, and nobody is blamed.
    f.views[0]->lag = 5;
    CHECK(f.checked->block_number() == 6U);
    CHECK(f.news.empty());
}

TEST_CASE("checked_chain: forged, missing and early logs") {
    Fixture f(3);
    f.chain.events = {log_at(2), log_at(9)};
    const LogFilter filter{1, 9, {}, {}, {}, {}};
    CHECK(f.checked->logs(filter)->size() == 2);
    f.views[0]->forge_logs = [](auto& logs) { logs.pop_back(); };
    CHECK(f.checked->logs(filter)->size() == 2);
    CHECK(f.said("a: differs from the others about the events of blocks 1 to 9"));
    f.views[1]->forge_logs = [](auto& logs) { logs.push_back(log_at(9)); };
    CHECK(f.checked->logs(filter).error().code() == ErrorCode::chain_bad_answer);
    // A node that lags would answer with fewer: it is passed over.
    Fixture behind(3);
    behind.chain.events = f.chain.events;
    behind.views[0]->lag = 3;
    CHECK(behind.checked->logs(filter)->size() == 2);
    CHECK(behind.news.empty());
    behind.views[1]->lag = 3;
    CHECK_FALSE(behind.checked->logs(filter));
}

TEST_CASE("checked_chain: nodes on two forks do not agree, three nodes name the odd one") {
    Fixture two(2);
    two.views[0]->foreign.emplace();
    CHECK(two.checked->block(kLatest).error().code() == ErrorCode::chain_bad_answer);
    CHECK(two.checked->block(BlockTag::number(5)).error().code() == ErrorCode::chain_bad_answer);
    CHECK_FALSE(two.checked->nonce({}, kLatest));
    Fixture three(3);
    three.views[0]->foreign.emplace();
    CHECK(three.checked->block(kLatest)->hash == three.chain.block(kLatest)->hash);
    CHECK(three.said("a: differs from the others about block 10"));
}

TEST_CASE("checked_chain: a stale node does not count") {
    Fixture f(2);
    f.clock.now = (f.chain.block(kLatest)->time_s + 61) * 1000;
    const auto stale = f.checked->block(kLatest);
    REQUIRE(!stale);
    CHECK(stale.error().code() == ErrorCode::chain_unreachable);
    CHECK(f.said("a: its newest block is older than 60 s"));
    for (int i = 0; i < 5; ++i)
        f.chain.mine();
    CHECK(f.checked->block(kLatest)->number == 15);
    f.views[1]->lag = 5;
    CHECK_FALSE(f.checked->block(kLatest));
    CHECK_FALSE(f.checked->receipt(Hash32()));
    CHECK(f.checked->nodes()[0].trouble.empty());
    CHECK(f.checked->nodes()[1].trouble == "its newest block is older than 60 s");
    Fixture alone(1);
    alone.clock.now = (alone.chain.block(kLatest)->time_s + 61) * 1000;
    CHECK(alone.checked->nonce({}, kLatest).error().code() == ErrorCode::chain_unreachable);
}

TEST_CASE("checked_chain: a node of another chain never counts and is named") {
    Fixture f(2);
    f.views[1]->id = 5;
    const auto refused = f.checked->chain_id();
    REQUIRE(!refused);
    CHECK(refused.error().code() == ErrorCode::chain_mismatch);
    CHECK(refused.error().detail().find("b: chain_mismatch, the node serves chain 5, not 31337") !=
          std::string::npos);
    Fixture three(3);
    three.views[0]->id = 5;
    CHECK(three.checked->chain_id() == 31337U);
    Fixture alone(1);
    alone.views[0]->id = 5;
    CHECK(alone.checked->block(kLatest).error().code() == ErrorCode::chain_mismatch);
}

TEST_CASE("checked_chain: a dead node is left alone, longer each time, and comes back") {
    Fixture f(3);
    f.views[0]->dead.emplace(ErrorCode::timeout, "the node");
    for (int i = 0; i < 20; ++i)
        CHECK(f.checked->block_number() == 10U);
    CHECK(f.views[0]->asked == 1);
    CHECK(f.said("a: timeout, the node"));
    f.clock.now += 1'000;
    CHECK(f.checked->block_number() == 10U);
    f.clock.now += 1'000;
    CHECK(f.checked->block_number() == 10U);
    CHECK(f.views[0]->asked == 2);
    f.clock.now += 1'000;
    f.views[0]->dead.reset();
    CHECK(f.checked->block_number() == 10U);
    CHECK(f.said("a: is well again"));
    CHECK(f.checked->nodes()[0].head_number == 10);
    // It may have come back as another one.
    f.views[0]->dead.emplace(ErrorCode::timeout);
    CHECK(f.checked->block_number() == 10U);
    f.views[0]->dead.reset();
    f.views[0]->id = 5;
    f.clock.now += 60'000;
    CHECK(f.checked->block_number());
    CHECK(f.said("a: chain_mismatch, the node serves chain 5, not 31337"));
}

TEST_CASE("checked_chain: when all are dead nothing is said, and nobody waits for them twice") {
    Fixture f(2);
    for (ChainView* view : f.views)
        view->dead.emplace(ErrorCode::chain_unreachable, "nobody listens there");
    for (int i = 0; i < 10; ++i) {
        CHECK(f.checked->block(kLatest).error().code() == ErrorCode::chain_unreachable);
        CHECK(f.checked->send_raw({}).error().code() == ErrorCode::chain_unreachable);
        CHECK(f.checked->suggest_fees().error().code() == ErrorCode::chain_unreachable);
        CHECK(f.checked->estimate_gas({}).error().code() == ErrorCode::chain_unreachable);
        CHECK(f.checked->receipt({}).error().code() == ErrorCode::chain_unreachable);
    }
    CHECK(f.views[0]->asked == 1);
    CHECK(f.news.size() == 2);
}

TEST_CASE("checked_chain: a send needs one node, and only a no of all is a no") {
    Fixture f(2);
    f.views[0]->dead.emplace(ErrorCode::timeout);
    CHECK_NOTHROW(f.transaction());
    f.views[1]->refuses_sends.emplace(ErrorCode::chain_refused, "nonce too low");
    CHECK(f.checked->send_raw({}).error().code() == ErrorCode::chain_unreachable);
    f.views[0]->dead.reset();
    f.views[0]->refuses_sends = f.views[1]->refuses_sends;
    f.clock.now += 60'000;
    CHECK(f.checked->send_raw({}).error().code() == ErrorCode::chain_refused);
}
