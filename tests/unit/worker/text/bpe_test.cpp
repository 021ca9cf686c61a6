// SPDX-License-Identifier: Apache-2.0
#include "worker/text/bpe.hpp"

#include "worker/text/limits.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <random>
#include <set>

namespace {

using ledger::base::ErrorCode;
using worker::text::Bpe;
using worker::text::BpeOptions;
using worker::text::Vocabulary;
using Merges = std::vector<std::pair<std::string, std::string>>;
using Ids = std::vector<std::uint32_t>;

Vocabulary vocabulary_of(const std::vector<std::string>& tokens) {
    Vocabulary out;
    std::int64_t id = 0;
    for (const std::string& token : tokens)
        REQUIRE(out.add(token, id++));
    return out;
}

Ids encode(const Bpe& bpe, std::string_view word) {
    Ids out;
    Bpe::Session(bpe).encode(word, out);
    return out;
}

unsigned seed() {
    const char* given = std::getenv("MILLRACE_SEED");
    return given == nullptr ? 20261126U : static_cast<unsigned>(std::strtoul(given, nullptr, 10));
}

/// The definition: join the leftmost pair of the lowest rank until none is left.
std::vector<std::string> naive(const std::string& word, const Merges& merges) {
    std::vector<std::string> out;
    for (const char c : word)
        out.emplace_back(1, c);
    while (true) {
        std::size_t best_rank = merges.size();
        std::size_t place = 0;
        for (std::size_t i = 0; i + 1 < out.size(); ++i) {
            for (std::size_t rank = 0; rank < best_rank; ++rank) {
                if (merges[rank] == std::pair(out[i], out[i + 1])) {
                    best_rank = rank;
                    place = i;
                }
            }
        }
        if (best_rank == merges.size()) return out;
        out[place] += out[place + 1];
        out.erase(out.begin() + static_cast<std::ptrdiff_t>(place) + 1);
    }
}

}  // namespace

TEST_CASE("vocabulary: refuses what is taken and what is too large") {
    Vocabulary vocabulary;
    REQUIRE(vocabulary.add("a", 7));
    CHECK(vocabulary.add("b", 7).error().code() == ErrorCode::data_invalid);
    CHECK(vocabulary.add("a", 8).error().code() == ErrorCode::data_invalid);
    CHECK(vocabulary.add("c", -1).error().code() == ErrorCode::job_limit);
    CHECK(vocabulary.add("c", 1 << 20).error().code() == ErrorCode::job_limit);
    CHECK(
        vocabulary.add(std::string(worker::text::limits::kTokenBytes + 1, 'x'), 9).error().code() ==
        ErrorCode::job_limit);
    CHECK(vocabulary.size() == 8);
    CHECK(vocabulary.token(3) == nullptr);
    CHECK(vocabulary.token(8) == nullptr);
    CHECK(*vocabulary.token(7) == "a");
}

TEST_CASE("bpe: refuses merges that name a token that is none") {
    const auto refusal = [](const Merges& merges) {
        return Bpe::make(vocabulary_of({"a", "b", "ab"}), merges, {}).error().code();
    };
    CHECK(refusal({{"a", "c"}}) == ErrorCode::data_invalid);
    CHECK(refusal({{"c", "a"}}) == ErrorCode::data_invalid);
    CHECK(refusal({{"b", "a"}}) == ErrorCode::data_invalid);
    CHECK(refusal({{"ab", "a"}}) == ErrorCode::data_invalid);
    BpeOptions options;
    options.unk_token = "<unk>";
    CHECK(Bpe::make(vocabulary_of({"a"}), {}, options).error().code() == ErrorCode::data_invalid);
    options = {};
    options.byte_fallback = true;
    CHECK(Bpe::make(vocabulary_of({"a"}), {}, options).error().code() == ErrorCode::data_invalid);
}

TEST_CASE("bpe: an empty token and merges that seem to turn in a circle come to an end") {
    // "" + "a" = "a": a join that would change nothing, were "" ever a symbol.
    const auto bpe = Bpe::make(vocabulary_of({"", "a", "b", "aa", "ab", "ba", "aaa", "aba"}),
                               {{"", "a"},
                                {"a", ""},
                                {"a", "a"},
                                {"aa", "a"},
                                {"a", "aa"},
                                {"a", "b"},
                                {"b", "a"},
                                {"ab", "a"},
                                {"a", "ba"},
                                {"", ""}},
                               {});
    REQUIRE(bpe);
    CHECK(encode(**bpe, "aaa") == Ids{6});
    CHECK(encode(**bpe, std::string(300'000, 'a')).size() == 150'000);
    CHECK(encode(**bpe, "").empty());
}

TEST_CASE("bpe: the ids of the definition, for short words and long") {
    std::mt19937 random(seed());
    INFO("seed " << seed());
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    for (int round = 0; round < 60; ++round) {
        std::vector<std::string> tokens{"a", "b", "c", "d"};
        std::set<std::string> known(tokens.begin(), tokens.end());
        Merges merges;
        for (int i = 0; i < 40; ++i) {
            const std::string left = tokens[below(tokens.size())];
            const std::string right = tokens[below(tokens.size())];
            if (left.size() + right.size() > 9) continue;
            if (known.insert(left + right).second) tokens.push_back(left + right);
            // A merge that is listed twice takes the later rank; the definition here knows one.
            if (std::find(merges.begin(), merges.end(), std::pair(left, right)) == merges.end())
                merges.emplace_back(left, right);
        }
        const auto bpe = Bpe::make(vocabulary_of(tokens), merges, {});
        REQUIRE(bpe);
        for (int i = 0; i < 30; ++i) {
            std::string word;
            for (std::size_t n = 1 + below(i % 2 == 0 ? 24 : 120); n > 0; --n)
                word += static_cast<char>('a' + below(4));
            std::vector<std::string> shown;
            for (const auto id : encode(**bpe, word))
                shown.push_back(*(*bpe)->vocabulary().token(id));
            CHECK(shown == naive(word, merges));
        }
    }
}

TEST_CASE("bpe: what is unknown becomes unk, fused or not, bytes, or nothing") {
    BpeOptions options;
    options.unk_token = "?";
    const std::string word =
        "a\u00e9\u00e8\u65e5"
        "a";
    CHECK(encode(**Bpe::make(vocabulary_of({"?", "a"}), {}, options), word) == Ids{1, 0, 0, 0, 1});
    options.fuse_unk = true;
    CHECK(encode(**Bpe::make(vocabulary_of({"?", "a"}), {}, options), word) == Ids{1, 0, 1});
    CHECK(encode(**Bpe::make(vocabulary_of({"?", "a"}), {}, {}), word) == Ids{1, 1});
}

TEST_CASE("bpe: two sessions at once give the same ids, the second without the cache") {
    const auto bpe = Bpe::make(vocabulary_of({"a", "b", "ab"}), {{"a", "b"}}, {});
    REQUIRE(bpe);
    Bpe::Session first(**bpe);
    Bpe::Session second(**bpe);
    Ids a;
    Ids b;
    for (int i = 0; i < 3; ++i) {
        first.encode("abba", a);
        second.encode("abba", b);
    }
    CHECK(a == b);
    CHECK(a == Ids{2, 1, 0, 2, 1, 0, 2, 1, 0});
}
