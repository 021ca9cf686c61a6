// SPDX-License-Identifier: Apache-2.0
#include "worker/text/tokenizer.hpp"

#include "worker/text/byte_alphabet.hpp"
#include "worker/text/json_writer.hpp"
#include "worker/text/limits.hpp"
#include "worker/text/pre_tokenizer.hpp"
#include "worker/text/utf8.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <random>

namespace {

using ledger::base::ErrorCode;
using worker::text::Skip;
using worker::text::StreamDecoder;
using worker::text::Tokenizer;
using Ids = std::vector<std::uint32_t>;

unsigned seed() {
    const char* given = std::getenv("MILLRACE_SEED");
    return given == nullptr ? 20261126U : static_cast<unsigned>(std::strtoul(given, nullptr, 10));
}

/// A file around a small model; `more` are further members, each with a comma before it.
std::string file_with(std::string_view more, std::string_view vocabulary = R"("a":0,"b":1,"ab":2)",
                      std::string_view merges = R"("a b")", std::string_view model_more = "") {
    return fmt::format(R"({{"model":{{"type":"BPE","vocab":{{{}}},"merges":[{}]{}}}{}}})",
                       vocabulary, merges, model_more, more);
}

ErrorCode refusal(const std::string& file) {
    const auto tokenizer = Tokenizer::from_json(file);
    REQUIRE(!tokenizer);
    return tokenizer.error().code();
}

std::string quoted(std::string_view text) {
    return *worker::text::to_json(worker::text::Value(text), {}, 1 << 20);
}

/// All 256 bytes in GPT-2's alphabet, ids 0 to 255, and what `more` adds.
Tokenizer byte_level(std::string_view more, std::string_view merges = "",
                     std::string_view extra = "") {
    std::string vocabulary;
    for (std::size_t byte = 0; byte < 256; ++byte)
        vocabulary += fmt::format("{}{}:{}", byte == 0 ? "" : ",",
                                  quoted(worker::text::byte_alphabet()[byte]), byte);
    vocabulary += extra;
    const auto out = Tokenizer::from_json(file_with(more, vocabulary, merges));
    if (!out) FAIL(out.error().message());
    return *out;
}

constexpr std::string_view kByteLevel =
    R"(,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},"decoder":{"type":"ByteLevel"})";

/// Characters with <0xNN> tokens behind them, as Llama 2 has it; id 0 to 2 are special.
Tokenizer fallback(std::string_view more) {
    std::string vocabulary = R"("<unk>":0,"<s>":1,"</s>":2)";
    for (std::size_t byte = 0; byte < 256; ++byte)
        vocabulary += fmt::format(",\"<0x{:02X}>\":{}", byte, byte + 3);
    vocabulary += ",\"\u2581\":300,\"h\":301,\"i\":302,\"\u2581h\":303,\"\u2581hi\":304";
    const std::string all =
        std::string(more) +
        R"(,"added_tokens":[{"id":1,"content":"<s>","special":true},{"id":2,"content":"</s>","special":true}])";
    const auto out = Tokenizer::from_json(
        file_with(all, vocabulary, "[\"\u2581\",\"h\"],[\"\u2581h\",\"i\"]",
                  R"(,"byte_fallback":true,"unk_token":"<unk>","fuse_unk":true)"));
    if (!out) FAIL(out.error().message());
    return *out;
}

constexpr std::string_view kLlama =
    ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":"
    "\"\u2581\"},"
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\u2581\"}]},"
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{"
    "\"String\":\"\u2581\"},\"content\":\" \"},"
    "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" "
    "\",\"start\":1,\"stop\":0}]}";

std::vector<std::string> words_of(std::string_view pre_tokenizer, const std::string& text) {
    const auto part = worker::text::parse_json(pre_tokenizer, 100);
    REQUIRE(part);
    const auto made = worker::text::PreTokenizer::parse(&*part);
    if (!made) FAIL(made.error().message());
    worker::text::RegexScratch scratch;
    const auto words = made->apply(text, true, scratch);
    REQUIRE(words);
    std::vector<std::string> out;
    for (const auto& range : words->ranges)
        out.push_back(words->text.substr(range.begin, range.end - range.begin));
    return out;
}

}  // namespace

TEST_CASE("tokenizer: refuses what is no tokenizer file") {
    CHECK(refusal("") == ErrorCode::data_invalid);
    CHECK(refusal("{") == ErrorCode::data_invalid);
    CHECK(refusal("[]") == ErrorCode::data_invalid);
    CHECK(refusal("{}") == ErrorCode::data_invalid);
    CHECK(refusal(R"({"model":[]})") == ErrorCode::data_invalid);
    CHECK(refusal(R"({"model":{"type":"BPE"}})") == ErrorCode::data_invalid);
    CHECK(refusal(R"({"model":{"type":"BPE","vocab":{}},"model":{}})") == ErrorCode::data_invalid);
    CHECK(refusal(std::string(100'000, '[')) == ErrorCode::job_limit);
    CHECK(refusal(std::string(worker::text::limits::kFileBytes + 1, ' ')) == ErrorCode::job_limit);
    CHECK(refusal(file_with("", R"("a":0,"b":0)", "")) == ErrorCode::data_invalid);
    CHECK(refusal(file_with("", R"("a":0,"a":1)", "")) == ErrorCode::data_invalid);
    CHECK(refusal(file_with("", R"("a":-1)", "")) == ErrorCode::job_limit);
    CHECK(refusal(file_with("", R"("a":1048576)", "")) == ErrorCode::job_limit);
    CHECK(refusal(file_with("", R"("a":0.5)", "")) == ErrorCode::data_invalid);
    CHECK(refusal(file_with("", R"("a":[0])", "")) == ErrorCode::data_invalid);
    CHECK(refusal(file_with("", "\"\xff\":0", "")) == ErrorCode::data_invalid);
    CHECK(refusal(file_with("", R"("\ud800":0)", "")) == ErrorCode::data_invalid);
    for (const char* merge : {R"("ab")", R"("a b c")", "\"a \"", R"(["a"])", R"(["a","b","c"])",
                              R"([["a","b"]])", R"({"a":"b"})", "1", R"(["a",1])", R"("a x")"})
        CHECK(refusal(file_with("", R"("a":0,"b":1,"ab":2)", merge)) == ErrorCode::data_invalid);
}

TEST_CASE("tokenizer: names the part that it has not") {
    const auto names = [](const std::string& file, std::string_view part) {
        const auto tokenizer = Tokenizer::from_json(file);
        REQUIRE(!tokenizer);
        CHECK(tokenizer.error().code() == ErrorCode::unsupported);
        CHECK(tokenizer.error().detail().find(part) != std::string::npos);
    };
    names(R"({"model":{"type":"Unigram","vocab":[["a",-1.5]]}})", "model Unigram");
    names(R"({"model":{"type":"WordPiece","vocab":{"a":0}}})", "model WordPiece");
    names(file_with(R"(,"normalizer":{"type":"Nmt"})"), "normalizer Nmt");
    names(file_with(R"(,"pre_tokenizer":{"type":"UnicodeScripts"})"),
          "pre-tokenizer UnicodeScripts");
    names(file_with(R"(,"post_processor":{"type":"BertProcessing"})"),
          "post-processor BertProcessing");
    names(file_with(R"(,"decoder":{"type":"CTC"})"), "decoder CTC");
    names(
        file_with(
            R"(,"decoder":{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"ByteFallback"}]})"),
        "ByteFallback");
    names(file_with("", R"("a":0)", "", R"(,"dropout":0.1)"), "dropout");
    names(file_with("", R"("a":0)", "", R"(,"end_of_word_suffix":"</w>")"), "end_of_word_suffix");
    names(
        file_with(
            R"(,"pre_tokenizer":{"type":"Split","pattern":{"Regex":"[a[b]]"},"behavior":"Isolated"})"),
        "class");
}

TEST_CASE(
    "tokenizer: refuses added tokens that contradict the vocabulary, and templates of nothing") {
    const auto added = [](std::string_view token) {
        return refusal(file_with(fmt::format(",\"added_tokens\":[{}]", token)));
    };
    CHECK(added(R"({"id":1,"content":"a"})") == ErrorCode::data_invalid);
    CHECK(added(R"({"id":1,"content":"x"})") == ErrorCode::data_invalid);
    CHECK(added(R"({"id":5,"content":""})") == ErrorCode::job_limit);
    CHECK(added(R"({"id":5,"content":"x"},{"id":5,"content":"y"})") == ErrorCode::data_invalid);
    CHECK(added(R"({"id":5,"content":"x"},{"id":6,"content":"x"})") == ErrorCode::data_invalid);
    CHECK(added(R"({"id":1048576,"content":"x"})") == ErrorCode::data_invalid);
    CHECK(added(fmt::format(R"({{"id":5,"content":"{}"}})", std::string(257, 'x'))) ==
          ErrorCode::job_limit);
    CHECK(refusal(file_with(R"(,"post_processor":{"type":"TemplateProcessing","single":[]})")) ==
          ErrorCode::data_invalid);
    CHECK(
        refusal(file_with(
            R"(,"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}},{"Sequence":{}}]})")) ==
        ErrorCode::data_invalid);
    std::string deep = R"({"type":"NFC"})";
    for (int i = 0; i < 20; ++i)
        deep = fmt::format(R"({{"type":"Sequence","normalizers":[{}]}})", deep);
    CHECK(refusal(file_with(",\"normalizer\":" + deep)) == ErrorCode::job_limit);
    std::string wide = R"({"type":"NFC"})";
    for (int i = 0; i < 20; ++i)
        wide += R"(,{"type":"NFC"})";
    CHECK(refusal(file_with(fmt::format(R"(,"normalizer":{{"type":"Sequence","normalizers":[{}]}})",
                                        wide))) == ErrorCode::job_limit);
}

TEST_CASE("tokenizer: ten million merges are refused before they fill the memory") {
    std::string merges = R"("a b")";
    merges.reserve(61'000'000);
    for (int i = 1; i < 10'000'000; ++i)
        merges += R"(,"a b")";
    const auto start = std::chrono::steady_clock::now();
    CHECK(refusal(file_with("", R"("a":0,"b":1,"ab":2)", merges)) == ErrorCode::job_limit);
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
}

TEST_CASE("tokenizer: a pattern that would take for ever is an error") {
    const auto tokenizer = byte_level(
        R"(,"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(?:a+)+$"},"behavior":"Isolated"})");
    const auto ids = tokenizer.encode(std::string(40, 'a') + "b");
    REQUIRE(!ids);
    CHECK(ids.error().code() == ErrorCode::job_limit);
    CHECK(tokenizer.encode("aaaa"));
    CHECK(
        refusal(file_with(fmt::format(
            R"(,"pre_tokenizer":{{"type":"Split","pattern":{{"Regex":"{}"}},"behavior":"Isolated"}})",
            std::string(8193, 'a')))) == ErrorCode::job_limit);
    CHECK(
        refusal(file_with(
            R"(,"pre_tokenizer":{"type":"Split","pattern":{"Regex":"("},"behavior":"Isolated"})")) ==
        ErrorCode::data_invalid);
}

TEST_CASE("tokenizer: a megabyte without a space takes no quadratic time") {
    const std::string text(1 << 20, 'h');
    std::string mixed;
    while (mixed.size() < (1 << 20))
        mixed += "hi\u65e5";
    for (const Tokenizer& tokenizer : {byte_level(kByteLevel), fallback(kLlama)}) {
        for (const std::string& one :
             {text, mixed, std::string(1 << 20, ' '), std::string(1 << 20, '\n')}) {
            const auto start = std::chrono::steady_clock::now();
            const auto ids = tokenizer.encode(one);
            REQUIRE(ids);
            CHECK(tokenizer.decode(*ids) == one);
            // Some tenths of a second; a sanitizer's build is slower, a quadratic one takes hours.
            CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(60));
        }
    }
    CHECK(byte_level(kByteLevel)
              .encode(std::string(worker::text::limits::kTextBytes + 1, 'a'))
              .error()
              .code() == ErrorCode::job_limit);
}

TEST_CASE("tokenizer: bytes that are no UTF-8 count as U+FFFD, a broken part at a time") {
    CHECK(worker::text::to_utf8("a\xffz") == "a\uFFFDz");
    CHECK(worker::text::to_utf8("\xe2\x82") == "\uFFFD");
    CHECK(worker::text::to_utf8("\xe2\x82z") == "\uFFFDz");
    CHECK(worker::text::to_utf8("\xed\xa0\x80") == "\uFFFD\uFFFD\uFFFD");  // a surrogate
    CHECK(worker::text::to_utf8("\xf4\x90\x80\x80") == "\uFFFD\uFFFD\uFFFD\uFFFD");
    CHECK(worker::text::to_utf8("\xc0\x80") == "\uFFFD\uFFFD");  // overlong
    CHECK(worker::text::to_utf8("\xf0\x9f\x91\x41") ==
          "\uFFFD"
          "A");
    for (const Tokenizer& tokenizer : {byte_level(kByteLevel), fallback(kLlama)}) {
        CHECK(*tokenizer.encode("hi \xff\xe2\x82 x") == *tokenizer.encode("hi \uFFFD\uFFFD x"));
        const std::string nul("a\0b\x01\x7f", 5);
        CHECK(tokenizer.decode(*tokenizer.encode(nul)) == nul);
    }
}

TEST_CASE("tokenizer: added tokens go before the model, the longest of the leftmost") {
    const auto tokenizer = byte_level(
        std::string(kByteLevel) +
        R"(,"added_tokens":[{"id":300,"content":"<a>","special":true},{"id":301,"content":"<a><b>","special":true},)"
        R"({"id":302,"content":"word","single_word":true,"special":false,"normalized":false},)"
        R"({"id":303,"content":"<l>","lstrip":true,"special":true},{"id":304,"content":"<r>","rstrip":true,"special":true}])");
    CHECK(*tokenizer.encode("<a>") == Ids{300});
    CHECK(*tokenizer.encode("<a><b>") == Ids{301});
    CHECK(*tokenizer.encode("<a><a><b><b") == Ids{300, 301, '<', 'b'});
    CHECK(tokenizer.encode("<a>", {true, false})->size() == 3);
    CHECK(*tokenizer.encode("word") == Ids{302});
    CHECK(tokenizer.encode("words")->size() == 5);
    CHECK(tokenizer.encode("\u00e9word")->size() == 6);
    CHECK(*tokenizer.encode("(word)") == Ids{'(', 302, ')'});
    CHECK(*tokenizer.encode("x \n<l>") == Ids{'x', 303});
    CHECK(*tokenizer.encode("<r>\u00a0\t x") == Ids{304, 'x'});
    CHECK(tokenizer.decode(Ids{300, 'x', 302, 999}) == "xword");
    CHECK(tokenizer.decode(Ids{300, 'x', 302, 999}, Skip::kNothing) == "<a>xword");
    CHECK(tokenizer.is_special(300));
    CHECK(!tokenizer.is_special(302));
    CHECK(tokenizer.id_of("<r>") == 304U);
    CHECK(tokenizer.token_of(299).empty());
    CHECK(tokenizer.vocabulary_size() == 305);
}

TEST_CASE("tokenizer: a Split does with its matches what it says") {
    const auto split = [](std::string_view behavior, bool invert = false) {
        return words_of(
            fmt::format(
                R"({{"type":"Split","pattern":{{"String":"-"}},"behavior":"{}","invert":{}}})",
                behavior, invert),
            "the-final--countdown");
    };
    using Words = std::vector<std::string>;
    CHECK(split("Removed") == Words{"the", "final", "countdown"});
    CHECK(split("Isolated") == Words{"the", "-", "final", "-", "-", "countdown"});
    CHECK(split("MergedWithPrevious") == Words{"the-", "final-", "-", "countdown"});
    CHECK(split("MergedWithNext") == Words{"the", "-final", "-", "-countdown"});
    CHECK(split("Contiguous") == Words{"the", "-", "final", "--", "countdown"});
    CHECK(split("Removed", true) == Words{"-", "-", "-"});
    CHECK(words_of(R"({"type":"Digits","individual_digits":true})", "ab12\u00bd") ==
          Words{"ab", "1", "2", "\u00bd"});
    CHECK(words_of(R"({"type":"Digits","individual_digits":false})", "ab12c") ==
          Words{"ab", "12", "c"});
    CHECK(words_of(R"({"type":"Whitespace"})", "a_b, c!?") == Words{"a_b", ",", "c", "!?"});
    CHECK(words_of(R"({"type":"Punctuation"})", "a+b!!") == Words{"a", "+", "b", "!", "!"});
    CHECK(words_of("{\"type\":\"Metaspace\"}", " a  b") == Words{"\u2581"
                                                                 "a",
                                                                 "\u2581",
                                                                 "\u2581"
                                                                 "b"});
    CHECK(words_of(R"x({"type":"Split","pattern":{"Regex":"(?=B)"},"behavior":"Isolated"})x",
                   "aBcB") == Words{"a", "Bc", "B"});
}

TEST_CASE("tokenizer: text that comes piece by piece is whole UTF-8 and adds up to the decoded") {
    std::minstd_rand random(seed());
    INFO("seed " << seed());
    const std::string metaspace =
        "\"decoder\":{\"type\":\"Metaspace\"},\"pre_tokenizer\":{\"type\":\"Metaspace\"}";
    const std::string strip =
        R"("decoder":{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":"h","start":2,"stop":2}]})";
    const std::string each =
        R"("decoder":{"type":"Sequence","decoders":[{"type":"Strip","content":"h","start":1,"stop":1},{"type":"ByteFallback"}]})";
    const std::vector<Tokenizer> tokenizers{
        byte_level(kByteLevel), Tokenizer::bytes(),   fallback(kLlama), fallback("," + metaspace),
        fallback("," + strip),  fallback("," + each), fallback("")};
    for (std::size_t which = 0; which < tokenizers.size(); ++which) {
        const Tokenizer& tokenizer = tokenizers[which];
        for (int round = 0; round < 300; ++round) {
            Ids ids;
            for (auto n = random() % 30; n > 0; --n)
                ids.push_back(
                    static_cast<std::uint32_t>(random() % (tokenizer.vocabulary_size() + 2)));
            for (const Skip skip : {Skip::kSpecial, Skip::kNothing}) {
                StreamDecoder stream(tokenizer, skip);
                std::string text;
                for (const auto id : ids) {
                    const std::string piece = stream.push(id);
                    CHECK(worker::text::is_utf8(piece));
                    text += piece;
                }
                text += stream.finish();
                CHECK(text == tokenizer.decode(ids, skip));
            }
        }
    }
    const std::string euro = "\u20ac";
    StreamDecoder stream(tokenizers[0]);
    CHECK(stream.push(static_cast<unsigned char>(euro[0])).empty());
    CHECK(stream.push(static_cast<unsigned char>(euro[1])).empty());
    CHECK(stream.push(static_cast<unsigned char>(euro[2])) == euro);
    CHECK(stream.push('x') == "x");
    CHECK(stream.push(0xe2).empty());
    CHECK(stream.finish() == "\uFFFD");
}

TEST_CASE("tokenizer: fallback bytes, spaces and the strip of Llama 2") {
    const auto tokenizer = fallback(kLlama);
    CHECK(*tokenizer.encode("hi") == Ids{304});
    CHECK(*tokenizer.encode(" hi") == Ids{300, 304});
    CHECK(*tokenizer.encode("hi<s>hi") == Ids{304, 1, 304});
    CHECK(*tokenizer.encode("\u65e5") == Ids{300, 0xE6 + 3, 0x97 + 3, 0xA5 + 3});
    CHECK(tokenizer.decode(Ids{304, 304}) == "hi hi");
    CHECK(tokenizer.decode(Ids{0xE6 + 3, 0x97 + 3, 301}) == "\uFFFD\uFFFDh");
    CHECK(fallback(",\"decoder\":{\"type\":\"Strip\",\"content\":\"h\",\"start\":1,\"stop\":1}")
              .decode(Ids{301, 302, 301}) == "i");
    CHECK(fallback("").decode(Ids{301, 302}) == "h i");  // no decoder: a space between tokens
}

TEST_CASE("tokenizer: the normalizers") {
    const auto normalized = [](std::string_view normalizer, std::string_view text) {
        const auto tokenizer = byte_level(fmt::format(
            R"(,"normalizer":{},"pre_tokenizer":{{"type":"ByteLevel","add_prefix_space":false}},"decoder":{{"type":"ByteLevel"}})",
            normalizer));
        return tokenizer.decode(*tokenizer.encode(text));
    };
    CHECK(normalized(R"({"type":"NFC"})", "e\u0301") == "\u00e9");
    CHECK(normalized(R"({"type":"NFD"})", "\u00e9") == "e\u0301");
    CHECK(normalized(R"({"type":"NFKC"})", "\ufb01") == "fi");
    CHECK(normalized(R"({"type":"NFKD"})", "\u00bd") == "1\u20442");
    CHECK(normalized(R"({"type":"Lowercase"})", "\u00c9A\u0130\u03a3") == "\u00e9ai\u0307\u03c3");
    CHECK(normalized(R"({"type":"Strip"})", "\u3000 a \n") == "a");
    CHECK(normalized(R"({"type":"Prepend","prepend":"_"})", "a") == "_a");
    CHECK(normalized(R"({"type":"Prepend","prepend":"_"})", "") == "");
    CHECK(normalized(R"({"type":"Replace","pattern":{"Regex":"\\s+"},"content":"-"})", "a \n b") ==
          "a-b");
    CHECK(normalized(R"({"type":"Replace","pattern":{"String":"aa"},"content":"b"})", "aaa") ==
          "ba");
}

TEST_CASE("tokenizer: a template puts its ids around a text") {
    const auto tokenizer = byte_level(
        std::string(kByteLevel) +
        R"(,"post_processor":{"type":"Sequence","processors":[{"type":"ByteLevel"},{"type":"TemplateProcessing","single":)"
        R"([{"SpecialToken":{"id":"B","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"E","type_id":0}}],)"
        R"("special_tokens":{"B":{"id":"B","ids":[500,501]},"E":{"id":"E","ids":[502]}}}]})");
    CHECK(*tokenizer.encode("x") == Ids{500, 501, 'x', 502});
    CHECK(*tokenizer.encode("x", {false, true}) == Ids{'x'});
    CHECK(*tokenizer.encode("") == Ids{500, 501, 502});
}

TEST_CASE("tokenizer: bytes are their own ids") {
    const Tokenizer tokenizer = Tokenizer::bytes();
    CHECK(*tokenizer.encode("a\xff") == Ids{'a', 255});
    CHECK(tokenizer.decode(Ids{'a', 0xc3, 0xa9, 300}) == "a\u00e9");
    CHECK(tokenizer.vocabulary_size() == 256);
}
