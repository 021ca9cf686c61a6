// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/base64.hpp"
#include "tests/unit/worker/model/fixture.hpp"
#include "tests/unit/worker/model/reference_networks.hpp"
#include "worker/model/dataset.hpp"
#include "worker/model/layout.hpp"
#include "worker/model/philox.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <png.h>
#include <turbojpeg.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

using namespace worker::model;
using ledger::base::as_bytes;
using ledger::base::ErrorCode;
using ledger::base::Result;
using test::TempDir;

namespace {

/// Pixels of some structure, as RGB.
RgbImage drawn(std::uint32_t height, std::uint32_t width) {
    RgbImage out{height, width, {}};
    for (std::uint32_t y = 0; y < height; ++y)
        for (std::uint32_t x = 0; x < width; ++x)
            for (std::uint32_t c = 0; c < 3; ++c)
                out.pixels.push_back(static_cast<std::uint8_t>(40 + 3 * y + 5 * x + 30 * c));
    return out;
}

std::string ppm_of(const RgbImage& image) {
    return fmt::format("P6\n# drawn\n{} {}\n255\n", image.width, image.height) +
           std::string(image.pixels.begin(), image.pixels.end());
}

std::string png_of(const RgbImage& image) {
    png_image png{};
    png.version = PNG_IMAGE_VERSION;
    png.width = image.width;
    png.height = image.height;
    png.format = PNG_FORMAT_RGB;
    std::string out(image.pixels.size() + 4096, '\0');
    png_alloc_size_t size = out.size();
    REQUIRE(png_image_write_to_memory(&png, out.data(), &size, 0, image.pixels.data(), 0,
                                      nullptr) != 0);
    out.resize(size);
    return out;
}

std::string jpeg_of(const RgbImage& image) {
    tjhandle encoder = tjInitCompress();
    unsigned char* bytes = nullptr;
    unsigned long size = 0;
    REQUIRE(tjCompress2(encoder, image.pixels.data(), static_cast<int>(image.width), 0,
                        static_cast<int>(image.height), TJPF_RGB, &bytes, &size, TJSAMP_444, 95,
                        0) == 0);
    std::string out(bytes, bytes + size);
    tjFree(bytes);
    tjDestroy(encoder);
    return out;
}

/// One entry of a tar with a right checksum.
std::string tar_entry(const std::string& name, std::string_view content, char type = '0') {
    std::string header(512, '\0');
    header.replace(0, name.size(), name);
    header.replace(124, 11, fmt::format("{:011o}", content.size()));
    header[156] = type;
    header.replace(257, 6, std::string("ustar\0", 6));
    header.replace(148, 8, 8, ' ');
    unsigned sum = 0;
    for (const char c : header)
        sum += static_cast<unsigned char>(c);
    header.replace(148, 7, fmt::format("{:06o}", sum) + std::string(1, '\0'));
    std::string out = header + std::string(content);
    out.resize((out.size() + 511) / 512 * 512, '\0');
    return out;
}

constexpr ImageSize kSize{3, 8, 8};

Result<ImageSourcePtr> open_tar(const TempDir& dir, const std::string& bytes,
                                std::uint32_t classes = 2) {
    return open_image_tar(dir.write("tar", bytes), kSize, classes, 7);
}

void refused(const Result<ImageSourcePtr>& opened, std::string_view why) {
    REQUIRE_FALSE(opened.has_value());
    CHECK(opened.error().code() == ErrorCode::data_invalid);
    CHECK_MESSAGE(opened.error().detail().find(why) != std::string::npos, opened.error().detail());
}

void refused_image(const std::string& bytes, std::string_view why) {
    const auto image = decode_image(as_bytes(bytes));
    REQUIRE_FALSE(image.has_value());
    CHECK(image.error().code() == ErrorCode::data_invalid);
    CHECK_MESSAGE(image.error().detail().find(why) != std::string::npos, image.error().detail());
}

}  // namespace

TEST_CASE("images: what is no whole image of a sane size is refused") {
    refused_image("", "neither");
    refused_image("\x7f\x45LF binary junk of some length", "neither");
    refused_image("P6\n0 4\n255\n", "a side is 0");
    refused_image("P6\n4 0\n255\n", "a side is 0");
    refused_image("P6\n8193 1\n255\n", "at most");
    refused_image("P6\n8000 8000\n255\n", "at most");
    refused_image("P6\n99999999999999999999 1\n255\n", "header");
    refused_image("P6\n2 2\n65535\n", "header");
    refused_image("P6\n2 2\n255", "header");
    refused_image("P6\n2 2\n255\nshort", "cut off");
    refused_image("P6 #", "header");
    const std::string png = png_of(drawn(6, 5));
    // Cut in its pixels; without the closing chunk alone an image is whole.
    for (std::size_t size = 8; size + 24 < png.size(); size += 7)
        refused_image(png.substr(0, size), "PNG");
    std::string huge = png;
    huge[16] = 0x7f;  // the width in IHDR; its checksum is wrong too
    refused_image(huge, "PNG");
    const std::string jpeg = jpeg_of(drawn(16, 16));
    for (std::size_t size = 3; size + 2 < jpeg.size(); size += 11)
        refused_image(jpeg.substr(0, size), "JPEG");
}

TEST_CASE("images: every format gives its pixels") {
    const RgbImage image = drawn(6, 5);
    for (const std::string& bytes : {ppm_of(image), png_of(image)}) {
        const auto decoded = decode_image(as_bytes(bytes));
        REQUIRE_MESSAGE(decoded.has_value(), decoded.error().message());
        CHECK(decoded->height == 6);
        CHECK(decoded->width == 5);
        CHECK(decoded->pixels == image.pixels);
    }
    const auto jpeg = decode_image(as_bytes(jpeg_of(image)));
    REQUIRE(jpeg.has_value());
    REQUIRE(jpeg->pixels.size() == image.pixels.size());
    for (std::size_t i = 0; i < image.pixels.size(); ++i)
        CHECK(std::abs(int{jpeg->pixels[i]} - int{image.pixels[i]}) <= 12);
    const auto gray = decode_image(as_bytes("P5 2 1 255 \x05\x06"));
    REQUIRE(gray.has_value());
    CHECK(gray->pixels == std::vector<std::uint8_t>{5, 5, 5, 6, 6, 6});
}

TEST_CASE("images: fitting keeps what fits, mixes neighbours, and knows gray") {
    const RgbImage image = drawn(6, 5);
    std::vector<std::uint8_t> same(3 * 6 * 5);
    fit_image(image, {3, 6, 5}, same);
    for (std::size_t c = 0; c < 3; ++c)
        for (std::size_t i = 0; i < 30; ++i)
            CHECK(same[c * 30 + i] == image.pixels[3 * i + c]);
    const RgbImage two{1, 2, {0, 0, 0, 100, 200, 40}};
    std::vector<std::uint8_t> wide(3 * 4);
    fit_image(two, {3, 1, 4}, wide);
    CHECK(wide == std::vector<std::uint8_t>{0, 25, 75, 100, 0, 50, 150, 200, 0, 10, 30, 40});
    std::vector<std::uint8_t> one(1);
    fit_image(two, {1, 1, 1}, one);
    CHECK(one[0] == (77 * 50 + 150 * 100 + 29 * 20 + 128) / 256);
}

TEST_CASE("images: a tar that is wrong is refused with its entry") {
    const TempDir dir;
    const std::string image = ppm_of(drawn(8, 8));
    const std::string good = tar_entry("a/1.ppm", image) + tar_entry("b/1.ppm", image);
    REQUIRE_MESSAGE(open_tar(dir, good).has_value(), "the good one");
    refused(open_tar(dir, ""), "no image");
    refused(open_tar(dir, std::string(1024, '\0')), "no image");
    refused(open_tar(dir, std::string(2000, 'x')), "checksum");
    refused(open_tar(dir, good.substr(0, 300)), "cut");
    refused(open_tar(dir, good.substr(0, 600)), "cut");
    std::string endless = good;
    endless.replace(124, 11, "77777777777");
    refused(open_tar(dir, endless), "checksum");
    refused(open_tar(dir, good + tar_entry("c/1.ppm", image)), "at least 3 labels");
    refused(open_tar(dir, tar_entry("a/1.ppm", image)), "1 labels");
    refused(open_tar(dir, tar_entry("top.ppm", image)), "no folder");
    refused(open_tar(dir, tar_entry("./top.ppm", image)), "no folder");
    refused(open_tar(dir, good + tar_entry("b/link", "", '2')), "b/link is a link");
    refused(open_tar(dir, good + tar_entry("b/readme", "hello")), "b/readme is no image");
    refused(open_tar(dir, good + tar_entry("b/zero", "P6 0 0 255 ")), "a side is 0");
    refused(open_tar(dir, good + tar_entry("././@LongLink", "b/long", 'L')), "--format=ustar");
    refused(open_tar(dir, good + tar_entry("pax", "20 path=b/long/name\n", 'x')), "--format=ustar");
    CHECK(open_image_tar(dir / "none", kSize, 2, 7).error().code() == ErrorCode::data_missing);
}

TEST_CASE("images: a tar of folders gives labels by name, in an order that the seed draws") {
    const TempDir dir;
    std::string bytes = tar_entry("data/", "", '5') + tar_entry("data/.hidden", "junk");
    for (int i = 0; i < 20; ++i)
        for (const char* label : {"cat", "ant"})
            bytes += tar_entry(fmt::format("data/{}/{}.x", label, i),
                               i % 2 == 0 ? png_of(drawn(8, 8)) : ppm_of(drawn(9, 7)));
    const auto source = open_tar(dir, bytes + std::string(1024, '\0'));
    REQUIRE_MESSAGE(source.has_value(), source.error().message());
    REQUIRE((*source)->count() == 40);
    std::string order;
    for (std::uint32_t i = 0; i < 40; ++i)
        order += (*source)->label(i) == 0 ? 'a' : 'c';
    CHECK(std::count(order.begin(), order.end(), 'a') == 20);
    CHECK(order.substr(20) != std::string(20, 'c'));
    CHECK(order.substr(20) != std::string(20, 'a'));
    std::vector<std::uint8_t> pixels(3 * 8 * 8);
    (*source)->read(0, pixels);
    const auto again = open_tar(dir, bytes);
    for (std::uint32_t i = 0; i < 40; ++i)
        CHECK((*again)->label(i) == (*source)->label(i));
}

namespace {

std::string base64_of(const std::string& bytes) {
    return ledger::base::to_base64(as_bytes(bytes));
}

/// A line of labelled image; the label as JSON.
std::string line_of(const std::string& image, const std::string& label) {
    return fmt::format(R"({{"image":"{}","label":{}}})", base64_of(image), label) + "\n";
}

Result<ImageSourcePtr> open_lines(const TempDir& dir, const std::string& bytes,
                                  std::uint32_t classes = 2) {
    return open_image_jsonl(dir.write("images.jsonl", bytes), kSize, classes, 7);
}

}  // namespace

TEST_CASE("images: a line that is wrong is refused with its number") {
    const TempDir dir;
    const std::string image = ppm_of(drawn(8, 8));
    const std::string good = line_of(image, "0") + "\n" + line_of(image, "1");
    REQUIRE_MESSAGE(open_lines(dir, good).has_value(), "the good one");
    refused(open_lines(dir, ""), "no image in it");
    refused(open_lines(dir, "\n \t\r\n\n"), "no image in it");
    refused(open_lines(dir, good + "{"), "line 4 is no JSON");
    refused(open_lines(dir, good + std::string(3000, '\x7f') + "\n"), "line 4 is no JSON");
    refused(open_lines(dir, good + std::string("\x89PNG\0\0binary junk", 18)), "line 4 is no JSON");
    refused(open_lines(dir, good + "[]"), "line 4 has neither");
    refused(open_lines(dir, good + R"({"label":0})"), R"(line 4 has no base64 text in "image")");
    refused(open_lines(dir, good + R"({"image":null,"label":0})"), "no base64 text");
    refused(open_lines(dir, good + R"({"image":{"path":"a.png"},"label":0})"), "no base64 text");
    refused(open_lines(dir, good + R"({"image":"%%%%","label":0})"), "not base64");
    refused(open_lines(dir, good + R"({"image":"QQ","label":0})"), "not base64");
    refused(open_lines(dir, good + R"({"image":"","label":0})"), "neither PNG");
    refused(open_lines(dir, good + line_of("P6 0 0 255 ", "0")),
            "line 4 has no image: a side is 0");
    refused(open_lines(dir, good + line_of(image.substr(0, 100), "0")), "cut off");
    for (const char* label : {"null", "-1", "1.5", "[]", "\"\"", "18446744073709551616"})
        refused(open_lines(dir, good + line_of(image, label)), "line 4 has neither a number");
    refused(open_lines(dir, good + line_of(image, "2")), "line 4 has a label that is not below 2");
    refused(open_lines(dir, good + line_of(image, "\"a\"")), "of another kind");
    refused(open_lines(dir, line_of(image, "\"a\"") + line_of(image, "1")), "of another kind");
    refused(open_lines(dir, line_of(image, "\"a\"")), "there are 1 labels");
    refused(open_lines(dir,
                       line_of(image, "\"a\"") + line_of(image, "\"b\"") + line_of(image, "\"c\"")),
            "line 3 has a label beyond");
    // One line of 100 MB is not looked at beyond its limit, nor taken into memory.
    const auto huge = dir.write("huge", good);
    std::filesystem::resize_file(huge, 100U << 20U);
    refused(open_image_jsonl(huge, kSize, 2, 7), "line 4 is longer than 16 MiB");
    CHECK(open_image_jsonl(dir / "none", kSize, 2, 7).error().code() == ErrorCode::data_missing);
}

TEST_CASE("images: lines give the images and labels that a tar gives, in the same order") {
    const TempDir dir;
    std::string tar;
    std::string named;
    std::string numbered;
    for (int label = 0; label < 2; ++label)
        for (int i = 0; i < 20; ++i) {
            RgbImage image = drawn(8, 8);
            image.pixels[0] = static_cast<std::uint8_t>(20 * label + i);
            const std::string bytes = i % 3 == 0 ? png_of(image) : ppm_of(image);
            const char* name = label == 0 ? "ant" : "cat";
            tar += tar_entry(fmt::format("{}/{:02}.x", name, i), bytes);
            named += line_of(bytes, fmt::format("\"{}\"", name));
            // The other ways to write an image, with what other data sets hold beside it.
            numbered +=
                i % 2 == 0
                    ? fmt::format(R"({{"label":{},"image":{{"path":null,"bytes":"{}"}}}})", label,
                                  base64_of(bytes))
                    : fmt::format(R"({{"id":7,"image":"data:image/png;base64,{}","label":{}}})",
                                  base64_of(bytes), label);
            numbered += "\r\n";
        }
    const auto expected = open_tar(dir, tar);
    const auto by_name = open_lines(dir, named);
    const auto by_number = open_image_jsonl(dir.write("numbered", numbered), kSize, 2, 7);
    REQUIRE(expected.has_value());
    REQUIRE_MESSAGE(by_name.has_value(), by_name.error().message());
    REQUIRE_MESSAGE(by_number.has_value(), by_number.error().message());
    std::vector<std::uint8_t> wanted(3 * 8 * 8);
    std::vector<std::uint8_t> got(wanted.size());
    for (const ImageSourcePtr* source : {&*by_name, &*by_number}) {
        REQUIRE((*source)->count() == 40);
        for (std::uint32_t i = 0; i < 40; ++i) {
            CHECK((*source)->label(i) == (*expected)->label(i));
            (*expected)->read(i, wanted);
            (*source)->read(i, got);
            CHECK(got == wanted);
        }
    }
}

namespace {

/// A tar of images whose brighter half, left or right, is their label.
std::string halves(std::uint32_t count) {
    const Philox random(3, Philox::Stream::kShuffle);
    std::string out;
    for (std::uint32_t i = 0; i < count; ++i) {
        RgbImage image{8, 8, {}};
        const bool right = i % 2 == 1;
        for (std::uint32_t k = 0; k < 64 * 3; ++k) {
            const bool bright = ((k / 3) % 8 >= 4) == right;
            image.pixels.push_back(
                static_cast<std::uint8_t>((bright ? 140 : 60) + random.block(i, k)[0] % 60));
        }
        out += tar_entry(fmt::format("{}/{}.ppm", right ? "right" : "left", i), ppm_of(image));
    }
    return out;
}

TrainSpec image_spec(const ModelSpec& model) {
    TrainSpec spec = test::tiny_gpt();
    spec.model = model;
    spec.data = TarData{};
    spec.holdout_bp = 2000;
    spec.batch = 8;
    spec.steps = 40;
    spec.segment_steps = 20;
    spec.eval_batches = 2;
    spec.learning_rate = 0.01;
    return spec;
}

const std::vector<ModelSpec> kModels{
    ResnetShape{{2, 3, 8, 8}, 8, 2, 1},
    VitShape{{2, 3, 8, 8}, 4, 8, 1, 2},
    MlpShape{{2, 3, 8, 8}, 6, 2},
};

}  // namespace

TEST_CASE("images: loss and gradient of each model agree with the plain one in double") {
    const TempDir dir;
    TrainFiles files;
    files.images = dir.write("tar", halves(10));
    for (const ModelSpec& model : kModels) {
        CAPTURE(to_string(arch_of(model)));
        TrainSpec spec = image_spec(model);
        spec.batch = 1;
        auto source = open_image_tar(files.images, kSize, 2, spec.seed);
        REQUIRE(source.has_value());
        ImageDataset data(std::move(*source), spec.holdout_bp, spec.seed);
        const std::uint32_t index = data.training_index(0);
        std::vector<std::uint8_t> pixels(3 * 8 * 8);
        data.source().read(index, pixels);
        const auto layout = parameter_layout(model);
        std::vector<float> initial(parameter_count(model));
        fill_initial(layout, spec.seed, initial.data());
        std::vector<double> p(initial.begin(), initial.end());
        const auto loss_of = [&] {
            return test::reference_image_loss(model, p, pixels, data.source().label(index));
        };
        const double loss = loss_of();
        double squares = 0;
        for (double& value : p) {
            constexpr double kStep = 1e-5;
            const double kept = value;
            value = kept + kStep;
            const double above = loss_of();
            value = kept - kStep;
            const double below = loss_of();
            value = kept;
            squares += std::pow((above - below) / (2 * kStep), 2);
        }
        auto run = TrainingRun::create(spec, files, {});
        REQUIRE_MESSAGE(run.has_value(), run.error().message());
        const auto report = run->advance(1);
        REQUIRE(report.has_value());
        CHECK(report->loss == doctest::Approx(loss).epsilon(1e-4));
        CHECK(report->gradient_norm == doctest::Approx(std::sqrt(squares)).epsilon(1e-3));
    }
}

TEST_CASE("images: each model learns, in fp32 and bf16, and resumes bit for bit") {
    const TempDir dir;
    TrainFiles files;
    files.images = dir.write("tar", halves(60));
    for (const ModelSpec& model : kModels)
        for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
            CAPTURE(to_string(arch_of(model)));
            CAPTURE(precision == Precision::kBf16);
            TrainSpec spec = image_spec(model);
            spec.precision = precision;
            // A transformer has to find out first that places matter.
            const std::uint64_t half = arch_of(model) == Arch::kVit ? 150 : 20;
            spec.steps = 2 * half;
            auto run = TrainingRun::create(spec, files, {});
            REQUIRE_MESSAGE(run.has_value(), run.error().message());
            const double before = run->evaluate()->loss;
            REQUIRE(run->advance(half).has_value());
            REQUIRE(run->save_checkpoint(dir / "half").has_value());
            REQUIRE(run->advance(half).has_value());
            const auto after = run->evaluate();
            CHECK(after->loss < 0.5 * before);
            CHECK(after->accuracy >= 0.9);
            TrainFiles resumed_files = files;
            resumed_files.checkpoint = dir / "half";
            auto resumed = TrainingRun::create(spec, resumed_files, {});
            REQUIRE(resumed.has_value());
            REQUIRE(resumed->advance(half).has_value());
            CHECK(resumed->parameters_hash() == run->parameters_hash());
        }
}
