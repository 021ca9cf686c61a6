// SPDX-License-Identifier: Apache-2.0
#include "worker/model/dataset.hpp"

#include "tests/unit/worker/model/fixture.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

using namespace worker::model;
using ledger::base::as_bytes;
using ledger::base::ErrorCode;
using namespace std::string_view_literals;

TEST_CASE("dataset: a wrong IDX file is refused") {
    for (const std::string_view bad :
         {""sv, "\0\0\x08"sv, "\1\0\x08\1\0\0\0\1x"sv, "\0\0\x0D\1\0\0\0\1x"sv, "\0\0\x08\0"sv,
          "\0\0\x08\5"sv, "\0\0\x08\1\0\0\0"sv, "\0\0\x08\1\0\0\0\0"sv, "\0\0\x08\1\0\0\0\2x"sv,
          "\0\0\x08\1\0\0\0\1xy"sv,
          "\0\0\x08\4\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"sv})
        CHECK_FALSE(parse_idx(as_bytes(bad)).has_value());
}

namespace {

using ledger::base::Result;

Result<SequenceDataset> open_rows(Result<SymbolSourcePtr> source, std::uint32_t context,
                                  std::uint32_t holdout_bp, std::uint64_t seed) {
    TRY(source);
    return SequenceDataset::open(std::move(*source), context, holdout_bp, seed);
}

std::string row_of(const SequenceDataset& data, std::uint64_t step, std::uint32_t row) {
    std::vector<std::int64_t> out(9);
    data.training_row(step, row, out);
    return {out.begin(), out.end()};
}

Result<ImageDataset> open_images(const std::filesystem::path& images,
                                 const std::filesystem::path& labels, std::uint32_t width,
                                 std::uint32_t classes, std::uint32_t holdout_bp,
                                 std::uint64_t seed) {
    TRY_ASSIGN(auto source, open_idx(images, labels, {1, 28, width}, classes));
    return ImageDataset(std::move(source), holdout_bp, seed);
}

std::vector<std::int64_t> read_all(const SymbolSource& source) {
    std::vector<std::int64_t> out(source.size());
    source.read(0, out);
    return out;
}

void refused(const Result<SymbolSourcePtr>& opened, std::string_view why) {
    REQUIRE_FALSE(opened.has_value());
    CHECK(opened.error().code() == ErrorCode::data_invalid);
    CHECK_MESSAGE(opened.error().detail().find(why) != std::string::npos, opened.error().detail());
}

/// As numpy.save writes it: version 1.0, padded to 64 bytes.
std::string npy(std::string_view type, std::string_view shape, std::string_view values) {
    std::string header = "{'descr': '" + std::string(type) +
                         "', 'fortran_order': False, 'shape': " + std::string(shape) + ", }";
    while ((10 + header.size() + 1) % 64 != 0)
        header.push_back(' ');
    header.push_back('\n');
    std::string out = "\x93NUMPY\x01";
    out.push_back('\0');
    out.push_back(static_cast<char>(header.size() & 0xFFU));
    out.push_back(static_cast<char>(header.size() >> 8U));
    return out + header + std::string(values);
}

}  // namespace

TEST_CASE("dataset: text that is empty or shorter than the context is refused") {
    const test::TempDir dir;
    refused(open_text(dir.write("a", "")), "empty");
    CHECK(open_rows(open_text(dir.write("b", "12345678")), 8, 500, 1).error().code() ==
          ErrorCode::data_invalid);
    CHECK(open_text(dir / "none").error().code() == ErrorCode::data_missing);
}

TEST_CASE("dataset: rows repeat for a seed and never reach the held-out tail") {
    const test::TempDir dir;
    std::string text(1000, 'a');
    std::fill(text.end() - 100, text.end(), 'z');
    const auto path = dir.write("t", text);
    const auto data = open_rows(open_text(path), 8, 1000, 5);
    const auto again = open_rows(open_text(path), 8, 1000, 5);
    REQUIRE(data.has_value());
    REQUIRE(data->has_holdout());
    for (std::uint64_t step = 0; step < 50; ++step)
        for (std::uint32_t row = 0; row < 4; ++row) {
            const std::string bytes = row_of(*data, step, row);
            CHECK(bytes.find('z') == std::string::npos);
            CHECK(bytes == row_of(*again, step, row));
        }
    for (std::uint64_t i = 0; i < 7; ++i) {
        std::vector<std::int64_t> out(9);
        data->holdout_row(i, 7, out);
        CHECK(std::string(out.begin(), out.end()) == std::string(9, 'z'));
    }
}

TEST_CASE("dataset: jsonl that is none names its line") {
    const test::TempDir dir;
    const auto open = [&](std::string_view text) {
        return open_jsonl(dir.write("j", text), "text");
    };
    const std::string good = "{\"text\":\"one\"}\n";
    refused(open(""), "no line");
    refused(open("\n \r\n\n"), "no line");
    refused(open(good + "{\"text\":\"cut"), "line 2");
    refused(open(good + "\n[1]\n"), "line 3 has no text");
    refused(open(good + "{\"body\":\"x\"}"), "line 2 has no text in \"text\"");
    refused(open(good + "{\"text\":7}"), "line 2");
    refused(open("\x7f\x45\x4c\x46\x02\x01\n"), "line 1");
    refused(open("{\"text\":\"\xff\xfe\"}"), "line 1");
    refused(open(good + std::string(100, '[') + "\n"), "line 2");
}

TEST_CASE("dataset: a line of 100 MB is refused without being read to its end") {
    const test::TempDir dir;
    const auto path = dir.write("long", "{\"text\":\"one\"}\n{\"text\":\"");
    std::filesystem::resize_file(path, 100'000'000);  // a hole: zeros that no disk holds
    refused(open_jsonl(path, "text"), "line 2 is longer than 1 MiB");
    // Of the longest line that may be, everything arrives.
    const std::string longest = "{\"text\":\"" + std::string((1U << 20U) - 11, 'x') + "\"}";
    const auto fits = open_jsonl(dir.write("fits", longest), "text");
    REQUIRE_MESSAGE(fits.has_value(), fits.error().message());
    CHECK((*fits)->size() == (1U << 20U) - 10);
    refused(open_jsonl(dir.write("over", longest + " "), "text"), "line 1 is longer");
}

TEST_CASE("dataset: jsonl gives its texts one after another, from any place") {
    const test::TempDir dir;
    const auto source = open_jsonl(
        dir.write("j",
                  "{\"id\":1,\"text\":\"ab\"}\n\n{\"text\":\"\"}\r\n{\"text\":\"\\u00e9\\n\"}"),
        "text");
    REQUIRE_MESSAGE(source.has_value(), source.error().message());
    const std::string expected = "ab\n\n\xc3\xa9\n\n";
    std::vector<std::int64_t> wanted;
    for (const char c : expected)
        wanted.push_back(static_cast<unsigned char>(c));
    CHECK(read_all(**source) == wanted);
    for (std::size_t begin = 0; begin < wanted.size(); ++begin)
        for (std::size_t size = 1; begin + size <= wanted.size(); ++size) {
            std::vector<std::int64_t> out(size);
            (*source)->read(begin, out);
            CHECK(std::equal(out.begin(), out.end(),
                             wanted.begin() + static_cast<std::ptrdiff_t>(begin)));
        }
}

TEST_CASE("dataset: a token array that is wrong is refused") {
    const test::TempDir dir;
    const auto open = [&](std::string_view bytes) {
        return open_tokens(dir.write("t", bytes), 100);
    };
    const std::string good = npy("<u2", "(2,)", "\1\0\2\0"sv);
    REQUIRE(open(good).has_value());
    refused(open(""), "not a .npy");
    refused(open("tokens of some other kind"), "not a .npy");
    refused(open(std::string_view(good).substr(0, 20)), "cut");
    refused(open(std::string_view(good).substr(0, good.size() - 1)), "bytes of them");
    refused(open(good + "x"), "bytes of them");
    refused(open(npy("<i2", "(2,)", "\1\0\2\0"sv)), "uint16 or uint32");
    refused(open(npy(">u2", "(2,)", "\1\0\2\0"sv)), "uint16 or uint32");
    refused(open(npy("|O", "(2,)", "\1\0\2\0"sv)), "uint16 or uint32");
    refused(open(npy("<u2", "(1, 2)", "\1\0\2\0"sv)), "one dimension");
    refused(open(npy("<u2", "(99999999999999999999999,)", "\1\0\2\0"sv)), "one dimension");
    refused(open(npy("<u2", "(9223372036854775809,)", "\1\0\2\0"sv)), "bytes of them");
    refused(open(npy("<u2", "(0,)", "")), "has none");
    refused(open(npy("<u2", "(2,)", "\1\0\x64\0"sv)), "number 1 is 100");
}

TEST_CASE("dataset: token arrays of both widths are read") {
    const test::TempDir dir;
    const auto small = open_tokens(dir.write("s", npy("<u2", "(3,)", "\1\0\xff\xff\0\1"sv)), 65536);
    REQUIRE(small.has_value());
    CHECK(read_all(**small) == std::vector<std::int64_t>{1, 65535, 256});
    const auto wide = open_tokens(dir.write("w", npy("<u4", "(1,)", "\1\0\1\0"sv)), 262144);
    REQUIRE(wide.has_value());
    CHECK(read_all(**wide) == std::vector<std::int64_t>{65537});
}

TEST_CASE("dataset: images and labels must fit each other and the model") {
    const test::TempDir dir;
    const auto digits = test::make_digits(20, 1);
    const auto images = dir.write("images", digits.images);
    const auto labels = dir.write("labels", digits.labels);
    const auto short_labels = dir.write("short", test::make_digits(19, 1).labels);
    CHECK(open_images(images, labels, 28, 10, 500, 1).has_value());
    CHECK_FALSE(open_images(images, labels, 29, 10, 500, 1).has_value());
    CHECK_FALSE(open_images(images, labels, 28, 5, 500, 1).has_value());
    CHECK_FALSE(open_images(images, short_labels, 28, 10, 500, 1).has_value());
    CHECK_FALSE(open_images(labels, images, 28, 10, 500, 1).has_value());
    CHECK_FALSE(open_idx(images, labels, {3, 28, 28}, 10).has_value());
}

TEST_CASE("dataset: an epoch shows each training image once, another epoch in another order") {
    const test::TempDir dir;
    const auto digits = test::make_digits(50, 1);
    auto data =
        open_images(dir.write("i", digits.images), dir.write("l", digits.labels), 28, 10, 2000, 3);
    REQUIRE(data.has_value());
    CHECK(data->training_count() == 40);
    CHECK(data->holdout_count() == 10);
    std::vector<std::uint32_t> first;
    std::vector<std::uint32_t> second;
    for (std::uint64_t i = 0; i < 40; ++i)
        first.push_back(data->training_index(i));
    for (std::uint64_t i = 40; i < 80; ++i)
        second.push_back(data->training_index(i));
    CHECK(std::set<std::uint32_t>(first.begin(), first.end()).size() == 40);
    CHECK(*std::max_element(first.begin(), first.end()) == 39);
    CHECK(first != second);
    CHECK(data->training_index(7) == first[7]);
}
