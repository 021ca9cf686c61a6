// SPDX-License-Identifier: Apache-2.0
#include "worker/model/kv_cache.hpp"

#include "tests/unit/worker/model/decoder_fixture.hpp"
#include "worker/model/philox.hpp"

#include <doctest/doctest.h>

#include <map>
#include <set>

using namespace worker::model;
using namespace worker::model::test;
using ledger::base::ErrorCode;

namespace {

DecoderConfig small_config() {
    return decoder_config_of(GptShape{97, 32, 2, 2, 256});
}

KvSequence begin(KvCache& cache, const Tokens& tokens, std::size_t length) {
    auto out = cache.begin(tokens, length);
    REQUIRE_MESSAGE(out.has_value(), out.error().message());
    return std::move(*out);
}

}  // namespace

TEST_CASE("kv_cache: what cannot fit and what does not fit now are told apart") {
    KvCache cache(small_config(), {4});
    const Tokens tokens = some_tokens(20, 97);
    CHECK(cache.begin(tokens, 65).error().code() == ErrorCode::too_large);
    CHECK(cache.begin(tokens, 0).has_value());  // at least the tokens
    const KvSequence held = begin(cache, tokens, 33);
    CHECK(held.capacity() == 48);
    CHECK(cache.counts().pages_used == 3);
    CHECK(cache.begin(tokens, 20).error().code() == ErrorCode::queue_full);
    CHECK(cache.begin(some_tokens(3, 97), 16).has_value());
}

TEST_CASE("kv_cache: full pages of a shared prefix are shared, and only those") {
    KvCache cache(small_config(), {16});
    const Tokens tokens = some_tokens(50, 97);
    KvSequence first = begin(cache, tokens, 50);
    CHECK(first.reused() == 0);
    CHECK(begin(cache, tokens, 50).reused() == 0);  // nothing is published yet
    cache.publish(first, tokens);
    const KvSequence same = begin(cache, tokens, 50);
    CHECK(same.reused() == 48);
    for (std::size_t i = 0; i < 3; ++i)
        CHECK(same.pages()[i] == first.pages()[i]);
    CHECK(same.pages()[3] != first.pages()[3]);
    CHECK(cache.counts().pages_used == 5);

    Tokens changed = tokens;
    changed[20] ^= 1U;
    CHECK(begin(cache, changed, 50).reused() == 16);
    changed = tokens;
    changed[0] ^= 1U;
    CHECK(begin(cache, changed, 50).reused() == 0);
    // The same tokens at another place are another page.
    const Tokens later(tokens.begin() + 16, tokens.end());
    CHECK(begin(cache, later, 34).reused() == 0);
    // One token is left to run.
    CHECK(begin(cache, Tokens(tokens.begin(), tokens.begin() + 48), 48).reused() == 32);
    CHECK(begin(cache, Tokens(tokens.begin(), tokens.begin() + 49), 49).reused() == 48);
}

TEST_CASE("kv_cache: pages outlive their sequence until their memory is needed") {
    KvCache cache(small_config(), {4});
    const Tokens a = some_tokens(33, 97, 1);
    const Tokens b = some_tokens(33, 97, 2);
    {
        KvSequence first = begin(cache, a, 33);
        cache.publish(first, a);
    }
    CHECK(cache.counts().pages_used == 0);
    CHECK(begin(cache, a, 33).reused() == 32);
    {
        KvSequence second = begin(cache, b, 33);  // takes both blank pages and the last of a
        cache.publish(second, b);
    }
    CHECK(begin(cache, b, 33).reused() == 32);
    CHECK(begin(cache, a, 33).reused() == 16);  // takes the last of b
    CHECK(begin(cache, b, 64).reused() == 16);  // wants the page that it has found: counted once
    CHECK(cache.counts().pages_used == 0);
}

TEST_CASE("kv_cache: of two sequences that made the same page both go on from it") {
    KvCache cache(small_config(), {16});
    const Tokens tokens = some_tokens(40, 97);
    KvSequence one = begin(cache, tokens, 40);
    KvSequence two = begin(cache, tokens, 40);
    cache.publish(one, std::span(tokens).first(16));
    cache.publish(two, std::span(tokens).first(32));
    const KvSequence three = begin(cache, tokens, 40);
    CHECK(three.reused() == 32);
    CHECK(three.pages()[0] == one.pages()[0]);
    CHECK(three.pages()[1] == two.pages()[1]);
}

TEST_CASE("kv_cache: random use never gives a page to two, nor loses one") {
    constexpr std::uint64_t kSeed = 11;
    MESSAGE("seed " << kSeed);
    const Philox random(kSeed, Philox::Stream::kShuffle);
    KvCache cache(small_config(), {12});
    struct Held {
        Tokens tokens;
        KvSequence sequence;
    };
    std::vector<Held> held;
    // What each page was filled with by the sequence that stored it.
    std::map<const std::byte*, Tokens> content;
    std::uint64_t reused = 0;
    for (std::uint64_t step = 0; step < 5000; ++step) {
        if (!held.empty() && random.below(2, step, 0) == 0) {
            held.erase(held.begin() +
                       static_cast<std::ptrdiff_t>(random.below(held.size(), step, 1)));
            continue;
        }
        // Few choices a page, so that prefixes meet.
        Tokens tokens;
        const std::uint64_t size = 1 + random.below(60, step, 2);
        for (std::uint32_t i = 0; i < size; ++i)
            tokens.push_back(static_cast<std::uint32_t>(random.below(2, step, 3 + i / 16)));
        auto begun = cache.begin(tokens, tokens.size());
        if (!begun) {
            CHECK(begun.error().code() == ErrorCode::queue_full);
            continue;
        }
        KvSequence& sequence = *begun;
        reused += sequence.reused();
        std::set<const std::byte*> others;
        for (const Held& h : held)
            others.insert(h.sequence.pages().begin(), h.sequence.pages().end());
        for (std::size_t page = 0; page < sequence.pages().size(); ++page) {
            const std::byte* memory = sequence.pages()[page];
            const Tokens before(tokens.begin(),
                                tokens.begin() + static_cast<std::ptrdiff_t>(
                                                     std::min(tokens.size(), (page + 1) * 16)));
            if (page * 16 < sequence.reused()) {
                CHECK(content[memory] == before);
            } else {
                CHECK(others.count(memory) == 0);
                content[memory] = before;
            }
        }
        cache.publish(sequence, tokens);
        held.push_back({std::move(tokens), std::move(sequence)});
        std::set<const std::byte*> used;
        for (const Held& h : held)
            used.insert(h.sequence.pages().begin(), h.sequence.pages().end());
        CHECK(cache.counts().pages_used == used.size());
    }
    CHECK(reused > 1000);
    held.clear();
    CHECK(cache.counts().pages_used == 0);
    CHECK(cache.begin(Tokens{1}, std::size_t{12} * 16).has_value());
}

TEST_CASE("kv_cache: a text goes on from reused pages with the same bits") {
    const RandomModel model = make_random_model(
        R"({"model_type":"mistral","vocab_size":97,"hidden_size":32,"num_hidden_layers":2,
            "num_attention_heads":4,"num_key_value_heads":2,"intermediate_size":48,
            "max_position_embeddings":64,"sliding_window":20})",
        3);
    Running running(model);
    const Tokens tokens = some_tokens(45, 97);
    const Floats whole = running.run(tokens, 45);
    KvSequence first = running.begin(tokens);
    std::vector<DecoderRow> rows;
    for (std::uint32_t i = 0; i < 40; ++i)
        rows.push_back({tokens[i], i, &first, false});
    CHECK(running.decoder->logits(rows).empty());
    running.cache->publish(first, std::span(tokens).first(40));
    KvSequence second = running.begin(tokens);
    REQUIRE(second.reused() == 32);
    rows.clear();
    for (std::uint32_t i = 32; i < 45; ++i)
        rows.push_back({tokens[i], i, &second, true});
    const auto logits = running.decoder->logits(rows);
    CHECK(Floats(logits.begin(), logits.end()) ==
          Floats(whole.begin() + std::ptrdiff_t{32} * 97, whole.end()));
}
