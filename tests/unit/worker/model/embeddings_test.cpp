// SPDX-License-Identifier: Apache-2.0
#include "worker/model/embeddings.hpp"

#include "tests/unit/worker/model/decoder_fixture.hpp"

#include <doctest/doctest.h>

using namespace worker::model;
using namespace worker::model::test;
using ledger::base::ErrorCode;

namespace {

RandomModel llama() {
    return make_random_model(
        R"({"model_type":"llama","vocab_size":97,"hidden_size":32,"num_hidden_layers":2,
            "num_attention_heads":4,"num_key_value_heads":2,"intermediate_size":48,
            "max_position_embeddings":300})",
        3);
}

}  // namespace

TEST_CASE("embeddings: texts without tokens, with too many or with unknown ones are refused") {
    Running running(llama());
    const auto code = [&](const Tokens& tokens) {
        return embed_text(*running.decoder, running.weights->config, *running.cache, tokens,
                          Pooling::kMean)
            .error()
            .code();
    };
    CHECK(code({}) == ErrorCode::context_length_exceeded);
    CHECK(code(Tokens(301, 1)) == ErrorCode::context_length_exceeded);
    CHECK(code({1, 97}) == ErrorCode::out_of_range);
}

TEST_CASE("embeddings: the mean or the last of the hidden states, of length one") {
    Running running(llama());
    const Tokens tokens = some_tokens(290, 97);  // three chunks
    KvSequence sequence = running.begin(tokens);
    std::vector<DecoderRow> rows;
    for (std::uint32_t i = 0; i < tokens.size(); ++i)
        rows.push_back({tokens[i], i, &sequence, true});
    const auto span = running.decoder->hidden(rows);
    const Floats hidden(span.begin(), span.end());
    for (const Pooling pooling : {Pooling::kMean, Pooling::kLast}) {
        std::vector<double> expected(32);
        for (std::size_t t = pooling == Pooling::kMean ? 0 : 289; t < 290; ++t)
            for (std::size_t i = 0; i < 32; ++i)
                expected[i] += static_cast<double>(hidden[t * 32 + i]);
        const auto got =
            embed_text(*running.decoder, running.weights->config, *running.cache, tokens, pooling);
        REQUIRE(got.has_value());
        CHECK(cosine(*got, expected) == doctest::Approx(1.0).epsilon(1e-6));
        double squares = 0;
        for (const float v : *got)
            squares += static_cast<double>(v) * static_cast<double>(v);
        CHECK(squares == doctest::Approx(1.0).epsilon(1e-5));
        CHECK(*got == *embed_text(*running.decoder, running.weights->config, *running.cache, tokens,
                                  pooling));
    }
}
