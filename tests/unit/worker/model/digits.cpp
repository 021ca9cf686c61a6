// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/worker/model/fixture.hpp"
#include "worker/model/philox.hpp"

#include <array>

namespace worker::model::test {

namespace {

// Rows of five pixels, most significant first.
constexpr std::array<std::array<std::uint8_t, 7>, 10> kFont{{
    {0x0E, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0E},
    {0x04, 0x0C, 0x04, 0x04, 0x04, 0x04, 0x0E},
    {0x0E, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1F},
    {0x1F, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0E},
    {0x02, 0x06, 0x0A, 0x12, 0x1F, 0x02, 0x02},
    {0x1F, 0x10, 0x1E, 0x01, 0x01, 0x11, 0x0E},
    {0x06, 0x08, 0x10, 0x1E, 0x11, 0x11, 0x0E},
    {0x1F, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08},
    {0x0E, 0x11, 0x11, 0x0E, 0x11, 0x11, 0x0E},
    {0x0E, 0x11, 0x11, 0x0F, 0x01, 0x02, 0x0C},
}};

void append_u32(std::string& to, std::uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8)
        to.push_back(static_cast<char>((value >> static_cast<unsigned>(shift)) & 0xFFU));
}

}  // namespace

Digits make_digits(std::uint32_t count, std::uint64_t seed) {
    const Philox random(seed, Philox::Stream::kShuffle);
    Digits out;
    append_u32(out.images, 0x00000803);
    for (const std::uint32_t extent : {count, 28U, 28U})
        append_u32(out.images, extent);
    append_u32(out.labels, 0x00000801);
    append_u32(out.labels, count);
    for (std::uint32_t i = 0; i < count; ++i) {
        const auto block = random.block(i, 0);
        const std::uint32_t digit = block[0] % 10;
        const std::uint32_t left = block[1] % 11;  // the glyph is 15 × 21 pixels
        const std::uint32_t top = block[2] % 6;
        out.labels.push_back(static_cast<char>(digit));
        for (std::uint32_t y = 0; y < 28; ++y)
            for (std::uint32_t x = 0; x < 28; ++x) {
                const std::uint32_t gx = (x - left) / 3;
                const std::uint32_t gy = (y - top) / 3;
                const bool ink = x >= left && y >= top && gx < 5 && gy < 7 &&
                                 ((kFont[digit][gy] >> (4 - gx)) & 1U) != 0;
                const std::uint32_t noise = random.block(i, 1 + y * 28 + x)[0] % 80;
                out.images.push_back(static_cast<char>(ink ? 255 - noise : noise));
            }
    }
    return out;
}

}  // namespace worker::model::test
