// SPDX-License-Identifier: Apache-2.0
#include "worker/model/dataset.hpp"

#include "tests/unit/worker/model/fixture.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

using namespace worker::model;
using ledger::base::as_bytes;
using ledger::base::as_text;
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

TEST_CASE("dataset: text that is empty or shorter than the context is refused") {
    const test::TempDir dir;
    CHECK(TextDataset::open(dir.write("a", ""), 8, 500, 1).error().code() ==
          ErrorCode::data_invalid);
    CHECK(TextDataset::open(dir.write("b", "12345678"), 8, 500, 1).error().code() ==
          ErrorCode::data_invalid);
    CHECK(TextDataset::open(dir / "none", 8, 500, 1).error().code() == ErrorCode::data_missing);
}

TEST_CASE("dataset: rows repeat for a seed and never reach the held-out tail") {
    const test::TempDir dir;
    std::string text(1000, 'a');
    std::fill(text.end() - 100, text.end(), 'z');
    const auto path = dir.write("t", text);
    const auto data = TextDataset::open(path, 8, 1000, 5);
    const auto again = TextDataset::open(path, 8, 1000, 5);
    REQUIRE(data.has_value());
    REQUIRE(data->has_holdout());
    for (std::uint64_t step = 0; step < 50; ++step)
        for (std::uint32_t row = 0; row < 4; ++row) {
            const auto bytes = data->training_row(step, row);
            CHECK(bytes.size() == 9);
            CHECK(as_text(bytes).find('z') == std::string_view::npos);
            CHECK(as_text(bytes) == as_text(again->training_row(step, row)));
        }
    for (std::uint64_t i = 0; i < 7; ++i)
        CHECK(as_text(data->holdout_row(i, 7)) == std::string(9, 'z'));
}

TEST_CASE("dataset: images and labels must fit each other and the model") {
    const test::TempDir dir;
    const auto digits = test::make_digits(20, 1);
    const auto images = dir.write("images", digits.images);
    const auto labels = dir.write("labels", digits.labels);
    const auto short_labels = dir.write("short", test::make_digits(19, 1).labels);
    CHECK(ImageDataset::open(images, labels, 28, 28, 10, 500, 1).has_value());
    CHECK_FALSE(ImageDataset::open(images, labels, 28, 29, 10, 500, 1).has_value());
    CHECK_FALSE(ImageDataset::open(images, labels, 28, 28, 5, 500, 1).has_value());
    CHECK_FALSE(ImageDataset::open(images, short_labels, 28, 28, 10, 500, 1).has_value());
    CHECK_FALSE(ImageDataset::open(labels, images, 28, 28, 10, 500, 1).has_value());
}

TEST_CASE("dataset: an epoch shows each training image once, another epoch in another order") {
    const test::TempDir dir;
    const auto digits = test::make_digits(50, 1);
    auto data = ImageDataset::open(dir.write("i", digits.images), dir.write("l", digits.labels), 28,
                                   28, 10, 2000, 3);
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
