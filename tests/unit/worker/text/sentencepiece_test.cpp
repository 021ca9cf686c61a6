// SPDX-License-Identifier: Apache-2.0
// The library that trains and reads these models is the oracle; the models are made here.
#include "worker/text/tokenizer.hpp"
#include "worker/text/utf8.hpp"

#include <doctest/doctest.h>
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <random>

namespace {

using worker::text::StreamDecoder;
using worker::text::Tokenizer;

/// What the library trains on.
class Sentences final : public sentencepiece::SentenceIterator {
 public:
    bool done() const override { return left_ == 0; }
    void Next() override { --left_; }
    const std::string& value() const override { return left_ % 2 == 0 ? one_ : other_; }
    sentencepiece::util::Status status() const override { return {}; }

 private:
    int left_ = 80;
    std::string one_ = "the quick brown fox jumps over the lazy dog";
    std::string other_ = "call me Ishmael some years ago never mind how long precisely";
};

std::string trained(const std::string& more) {
    Sentences sentences;
    std::string model;
    const auto status = sentencepiece::SentencePieceTrainer::Train(
        "--vocab_size=340 --byte_fallback=true --minloglevel=3 --hard_vocab_limit=false " + more,
        &sentences, &model);
    REQUIRE(status.ok());
    return model;
}

}  // namespace

TEST_CASE("sentencepiece: refuses what is no model") {
    using ledger::base::ErrorCode;
    CHECK(Tokenizer::from_sentencepiece("").error().code() == ErrorCode::data_invalid);
    CHECK(Tokenizer::from_sentencepiece("no model").error().code() == ErrorCode::data_invalid);
    CHECK(
        Tokenizer::from_sentencepiece(trained("--model_type=bpe").substr(0, 900)).error().code() ==
        ErrorCode::data_invalid);
}

TEST_CASE("sentencepiece: ids and text as the library has them, streamed too") {
    std::minstd_rand random(20261126);
    for (const char* kind : {"--model_type=bpe --normalization_rule_name=identity "
                             "--remove_extra_whitespaces=false --split_digits=true",
                             "--model_type=unigram", "--model_type=bpe --add_dummy_prefix=false"}) {
        const std::string model = trained(kind);
        sentencepiece::SentencePieceProcessor library;
        REQUIRE(library.LoadFromSerializedProto(model).ok());
        const auto tokenizer = Tokenizer::from_sentencepiece(model);
        REQUIRE(tokenizer);
        for (const char* text : {"the quick fox", " the  fox ", "Ishmael 1234",
                                 "\u65e5\u672c \U0001f600", "", "a\nb\tc", "\u2581x"}) {
            const std::vector<int> expected = library.EncodeAsIds(text);
            const auto ids = tokenizer->encode(text, {false, true});
            REQUIRE(ids);
            CHECK(std::vector<int>(ids->begin(), ids->end()) == expected);
            CHECK(tokenizer->decode(*ids) == library.DecodeIds(expected));
        }
        for (int round = 0; round < 300; ++round) {
            std::vector<int> ids;
            StreamDecoder stream(*tokenizer);
            std::string streamed;
            for (auto n = random() % 12; n > 0; --n) {
                // Not 0: how unk looks beside a leading space differs between versions of the
                // library.
                ids.push_back(1 + static_cast<int>(random() % static_cast<unsigned>(
                                                                  library.GetPieceSize() - 1)));
                streamed += stream.push(static_cast<std::uint32_t>(ids.back()));
                CHECK(worker::text::is_utf8(streamed));
            }
            streamed += stream.finish();
            CHECK(streamed == library.DecodeIds(ids));
        }
    }
}

TEST_CASE("sentencepiece: a text begins with bos, and control tokens in it count") {
    const auto tokenizer = Tokenizer::from_sentencepiece(trained("--model_type=bpe"));
    REQUIRE(tokenizer);
    const auto ids = tokenizer->encode("</s>");
    REQUIRE(ids);
    CHECK(*ids == std::vector<std::uint32_t>{1, 2});
    CHECK(tokenizer->encode("</s>", {false, false})->size() > 1);
    CHECK(tokenizer->is_special(1));
    CHECK(tokenizer->id_of("</s>") == 2U);
    CHECK(!tokenizer->id_of("no such piece"));
}
