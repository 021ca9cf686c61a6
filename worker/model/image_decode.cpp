// SPDX-License-Identifier: Apache-2.0
#include "worker/model/image_decode.hpp"

#include "ledger/base/check.hpp"

#include <fmt/format.h>
#include <png.h>
#include <turbojpeg.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>

namespace worker::model {

using ledger::base::ByteView;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr std::uint64_t kSideMax = 8192;
constexpr std::uint64_t kPixelsMax = 1U << 25U;

Result<RgbImage> make_image(std::uint64_t height, std::uint64_t width) {
    if (height == 0 || width == 0) return fail(ErrorCode::data_invalid, "a side is 0");
    if (height > kSideMax || width > kSideMax || height * width > kPixelsMax)
        return fail(ErrorCode::data_invalid,
                    fmt::format("{} x {} pixels, at most {} a side and {} in all", width, height,
                                kSideMax, kPixelsMax));
    RgbImage out;
    out.height = static_cast<std::uint32_t>(height);
    out.width = static_cast<std::uint32_t>(width);
    out.pixels.resize(height * width * 3);
    return out;
}

Result<RgbImage> decode_png(ByteView bytes) {
    png_image png{};
    png.version = PNG_IMAGE_VERSION;
    if (png_image_begin_read_from_memory(&png, bytes.data(), bytes.size()) == 0)
        return fail(ErrorCode::data_invalid, fmt::format("PNG: {}", png.message));
    const std::unique_ptr<png_image, decltype(&png_image_free)> release(&png, &png_image_free);
    TRY_ASSIGN(RgbImage out, make_image(png.height, png.width));
    png.format = PNG_FORMAT_RGB;
    const png_color black{0, 0, 0};  // under what is transparent
    if (png_image_finish_read(&png, &black, out.pixels.data(), 0, nullptr) == 0)
        return fail(ErrorCode::data_invalid, fmt::format("PNG: {}", png.message));
    return out;
}

Result<RgbImage> decode_jpeg(ByteView bytes) {
    const std::unique_ptr<void, decltype(&tjDestroy)> decoder(tjInitDecompress(), &tjDestroy);
    if (!decoder) return fail(ErrorCode::out_of_memory, "no JPEG decoder");
    int width = 0;
    int height = 0;
    int sampling = 0;
    int colors = 0;
    const auto size = static_cast<unsigned long>(bytes.size());
    if (tjDecompressHeader3(decoder.get(), bytes.data(), size, &width, &height, &sampling,
                            &colors) != 0 ||
        width <= 0 || height <= 0)  // 0 also where the header ends too early
        return fail(ErrorCode::data_invalid,
                    fmt::format("JPEG: {}", tjGetErrorStr2(decoder.get())));
    TRY_ASSIGN(RgbImage out,
               make_image(static_cast<std::uint64_t>(height), static_cast<std::uint64_t>(width)));
    // The accurate transform gives the same bits with and without SIMD; a warning is a cut file.
    if (tjDecompress2(decoder.get(), bytes.data(), size, out.pixels.data(), width, 0, height,
                      TJPF_RGB, TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING) != 0)
        return fail(ErrorCode::data_invalid,
                    fmt::format("JPEG: {}", tjGetErrorStr2(decoder.get())));
    return out;
}

/// The next number of a PPM header, after blanks and comments; nothing past six digits.
std::optional<std::uint64_t> next_number(ByteView bytes, std::size_t& place) {
    const auto blank = [](std::uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
    while (place < bytes.size() && (blank(bytes[place]) || bytes[place] == '#')) {
        if (bytes[place] == '#')
            while (place < bytes.size() && bytes[place] != '\n')
                ++place;
        if (place < bytes.size()) ++place;
    }
    std::uint64_t out = 0;
    std::size_t digits = 0;
    for (; place < bytes.size() && bytes[place] >= '0' && bytes[place] <= '9'; ++place, ++digits)
        if (digits < 7) out = out * 10 + (bytes[place] - '0');
    if (digits == 0 || digits > 6) return std::nullopt;
    return out;
}

Result<RgbImage> decode_ppm(ByteView bytes) {
    const std::size_t channels = bytes[1] == '6' ? 3 : 1;
    std::size_t place = 2;
    const auto width = next_number(bytes, place);
    const auto height = next_number(bytes, place);
    const auto most = next_number(bytes, place);
    if (!width || !height || most != 255U || place >= bytes.size())
        return fail(ErrorCode::data_invalid, "PPM: the header is wrong, or not 8 bits a channel");
    TRY_ASSIGN(RgbImage out, make_image(*height, *width));
    const ByteView pixels = bytes.subspan(place + 1);
    const std::size_t count = std::size_t{out.height} * out.width;
    if (pixels.size() < count * channels)
        return fail(ErrorCode::data_invalid, "PPM: the pixels are cut off");
    for (std::size_t i = 0; i < count; ++i)
        for (std::size_t c = 0; c < 3; ++c)
            out.pixels[3 * i + c] = pixels[channels == 3 ? 3 * i + c : i];
    return out;
}

/// Where an output pixel lies between two input pixels; weights in 1/65,536.
struct Tap {
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    std::uint64_t weight = 0;  // of the higher
};

std::vector<Tap> taps_of(std::uint32_t from, std::uint32_t to) {
    std::vector<Tap> out(to);
    for (std::uint64_t i = 0; i < to; ++i) {
        // Centres of pixels: (i + ½) · from / to − ½, not outside the first and the last.
        const std::int64_t place =
            static_cast<std::int64_t>(((2 * i + 1) * from << 15U) / to) - 32768;
        const auto inside = static_cast<std::uint64_t>(std::clamp<std::int64_t>(
            place, 0, static_cast<std::int64_t>(std::uint64_t{from - 1} << 16U)));
        out[i].low = static_cast<std::uint32_t>(inside >> 16U);
        out[i].high = std::min(out[i].low + 1, from - 1);
        out[i].weight = inside & 0xFFFFU;
    }
    return out;
}

}  // namespace

Result<RgbImage> decode_image(ByteView bytes) {
    constexpr std::string_view kPng = "\x89PNG\r\n\x1a\n";
    constexpr std::string_view kJpeg = "\xff\xd8\xff";
    const std::string_view start = ledger::base::as_text(bytes).substr(0, 8);
    if (start == kPng) return decode_png(bytes);
    if (start.starts_with(kJpeg)) return decode_jpeg(bytes);
    if (start.starts_with("P6") || start.starts_with("P5")) return decode_ppm(bytes);
    return fail(ErrorCode::data_invalid, "neither PNG, JPEG nor binary PPM");
}

void fit_image(const RgbImage& image, const ImageSize& size, std::span<std::uint8_t> out) {
    MR_CHECK(out.size() == std::size_t{size.colors} * size.height * size.width);
    const std::vector<Tap> rows = taps_of(image.height, size.height);
    const std::vector<Tap> columns = taps_of(image.width, size.width);
    const auto value = [&](std::uint32_t y, std::uint32_t x, std::size_t c) {
        return std::uint64_t{image.pixels[(std::size_t{y} * image.width + x) * 3 + c]};
    };
    const std::size_t plane = std::size_t{size.height} * size.width;
    std::size_t place = 0;
    for (const Tap& y : rows) {
        for (const Tap& x : columns) {
            std::array<std::uint64_t, 3> mixed{};
            for (std::size_t c = 0; c < 3; ++c) {
                const std::uint64_t top = value(y.low, x.low, c) * (65536 - x.weight) +
                                          value(y.low, x.high, c) * x.weight;
                const std::uint64_t bottom = value(y.high, x.low, c) * (65536 - x.weight) +
                                             value(y.high, x.high, c) * x.weight;
                mixed[c] = (top * (65536 - y.weight) + bottom * y.weight + (1ULL << 31U)) >> 32U;
            }
            if (size.colors == 1) {
                out[place] = static_cast<std::uint8_t>(
                    (77 * mixed[0] + 150 * mixed[1] + 29 * mixed[2] + 128) >> 8U);
            } else {
                for (std::size_t c = 0; c < 3; ++c)
                    out[c * plane + place] = static_cast<std::uint8_t>(mixed[c]);
            }
            ++place;
        }
    }
}

}  // namespace worker::model
