// SPDX-License-Identifier: Apache-2.0
#include "worker/model/safetensors.hpp"

#include "ledger/base/sha256.hpp"
#include "tests/unit/worker/model/fixture.hpp"
#include "worker/model/philox.hpp"

#include <doctest/doctest.h>

#include <cstring>

using namespace worker::model;
using ledger::base::as_bytes;
using ledger::base::ErrorCode;

namespace {

std::string file_of(std::string_view header, std::string_view data) {
    std::string out(8, '\0');
    const std::uint64_t size = header.size();
    std::memcpy(out.data(), &size, 8);
    return out.append(header).append(data);
}

void refused(std::string_view header, std::string_view data, std::string_view why) {
    CAPTURE(header);
    const auto index = parse_safetensors(as_bytes(file_of(header, data)));
    REQUIRE_FALSE(index.has_value());
    CHECK(index.error().code() == ErrorCode::data_invalid);
    CHECK_MESSAGE(index.error().detail().find(why) != std::string::npos, index.error().detail());
}

}  // namespace

TEST_CASE("safetensors: a file that is too short or lies about its header is refused") {
    CHECK_FALSE(parse_safetensors(as_bytes("")).has_value());
    CHECK_FALSE(parse_safetensors(as_bytes("1234567")).has_value());
    for (const std::uint64_t length : {1ULL << 63U, ~0ULL, 1ULL << 32U, 3ULL}) {
        std::string bytes(8, '\0');
        std::memcpy(bytes.data(), &length, 8);
        CHECK_FALSE(parse_safetensors(as_bytes(bytes + "{}")).has_value());
    }
    CHECK_FALSE(parse_safetensors(as_bytes(file_of("", ""))).has_value());
    CHECK_FALSE(parse_safetensors(as_bytes(file_of("[]", ""))).has_value());
    CHECK_FALSE(parse_safetensors(as_bytes(file_of("{", ""))).has_value());
}

TEST_CASE("safetensors: every wrong tensor is refused with its reason") {
    refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
               "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
            "1234", "repeated");
    refused(R"({"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}})", "1234", "dtype");
    refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", "1234", "outside");
    refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", "1234", "outside");
    refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "1234", "dtype and shape");
    refused(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", "1234", "extent");
    refused(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", "1234", "extent");
    refused(R"({"a":{"dtype":"F32","shape":[281474976710656,281474976710656],
               "data_offsets":[0,4]}})",
            "1234", "64 bits");
    refused(R"({"a":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}})", "1234",
            "extent");
    refused(R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", "1",
            "shape");
    refused(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}})", "1", "known");
    refused(R"({"a":{"dtype":"U8","shape":[1]}})", "1", "missing");
    refused(R"({"a":7})", "1", "object");
    refused(R"({"__metadata__":{"a":1}})", "", "strings");
}

TEST_CASE("safetensors: overlap, gap and trailing bytes are refused") {
    refused(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},
               "b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
            "1234", "overlaps");
    refused(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
               "b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
            "123", "gap");
    refused(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "123", "follow");
    refused("{" + std::string(100, '[') + "}", "", "nested");
}

TEST_CASE("safetensors: what is written is read back, and its hash is the file's") {
    const test::TempDir dir;
    const std::string a = "abcdefgh";
    const std::string b = "xyz";
    const std::vector<TensorView> tensors{{"weights", Dtype::kF32, {2, 1}, as_bytes(a)},
                                          {"flags", Dtype::kU8, {3}, as_bytes(b)},
                                          {"none", Dtype::kF32, {0, 4}, {}}};
    const auto written = write_safetensors(dir / "m.safetensors", tensors, {{"format", "pt"}});
    REQUIRE(written.has_value());
    const std::string content = test::read_file(dir / "m.safetensors");
    CHECK(written->bytes == content.size());
    CHECK(written->sha256 == ledger::base::sha256(as_bytes(content)));
    const auto file = SafetensorsFile::open(dir / "m.safetensors");
    REQUIRE(file.has_value());
    const auto& index = file->index();
    CHECK(index.metadata.at("format") == "pt");
    REQUIRE(index.find("weights") != nullptr);
    CHECK(index.find("weights")->shape == std::vector<std::int64_t>{2, 1});
    CHECK(ledger::base::as_text(index.find("weights")->data) == a);
    CHECK(ledger::base::as_text(index.find("flags")->data) == b);
    CHECK(index.find("none")->data.empty());
    CHECK(index.find("other") == nullptr);
}

TEST_CASE("safetensors: every truncation of a good file is refused") {
    const test::TempDir dir;
    const std::string a = "abcdefgh";
    REQUIRE(write_safetensors(dir / "m", {{"w", Dtype::kF32, {2}, as_bytes(a)}}, {}).has_value());
    const std::string content = test::read_file(dir / "m");
    for (std::size_t size = 0; size < content.size(); ++size)
        CHECK_FALSE(parse_safetensors(as_bytes(std::string_view(content).substr(0, size))));
}

TEST_CASE("safetensors: no mutation of a good file gives a view outside of it") {
    const test::TempDir dir;
    const std::string a = "abcdefgh";
    REQUIRE(write_safetensors(dir / "m",
                              {{"w", Dtype::kF32, {2}, as_bytes(a)},
                               {"v", Dtype::kU8, {2, 2}, as_bytes(std::string_view("1234"))}},
                              {{"format", "pt"}})
                .has_value());
    const std::string good = test::read_file(dir / "m");
    const Philox random(1, Philox::Stream::kShuffle);
    int accepted = 0;
    for (std::uint64_t i = 0; i < 20'000; ++i) {
        std::string bytes = good;
        const std::uint64_t flips = 1 + random.below(3, i, 0);
        for (std::uint32_t f = 0; f < flips; ++f)
            bytes[random.below(bytes.size(), i, 1 + 2 * f)] =
                static_cast<char>(random.below(256, i, 2 + 2 * f));
        const auto index = parse_safetensors(as_bytes(bytes));
        if (!index) continue;
        ++accepted;
        for (const TensorView& t : index->tensors) {
            const auto* begin = reinterpret_cast<const std::uint8_t*>(bytes.data());
            REQUIRE(t.data.data() >= begin);
            REQUIRE(t.data.data() + t.data.size() <= begin + bytes.size());
        }
    }
    CHECK(accepted > 0);  // data bytes and padding may change
}

TEST_CASE("safetensors: links, folders and missing files are refused") {
    const test::TempDir dir;
    dir.write("real", "x");
    std::filesystem::create_symlink(dir / "real", dir / "link");
    CHECK(SafetensorsFile::open(dir / "link").error().code() == ErrorCode::data_invalid);
    CHECK(SafetensorsFile::open(dir.path()).error().code() == ErrorCode::data_invalid);
    CHECK(SafetensorsFile::open(dir / "none").error().code() == ErrorCode::data_missing);
}
