// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace worker::model {

/// Eight bits a channel, three channels (red, green, blue) side by side, rows from the top.
struct RgbImage {
    std::uint32_t height = 0;
    std::uint32_t width = 0;
    std::vector<std::uint8_t> pixels;  // height × width × 3
};

/// A PNG, JPEG or binary PPM/PGM (8 bits), by its first bytes. data_invalid for anything else, a
/// cut file, a side of 0 or above 8,192, or more than 2^25 pixels; the size is known before any
/// pixel is decoded.
[[nodiscard]] ledger::base::Result<RgbImage> decode_image(ledger::base::ByteView bytes);

/// Writes `out`, [colors][height][width] bytes: stretched by bilinear interpolation in integers,
/// the same on any machine; one colour is the luma.
struct ImageSize {
    std::uint32_t colors = 3;  // 1 or 3
    std::uint32_t height = 0;
    std::uint32_t width = 0;
};
void fit_image(const RgbImage& image, const ImageSize& size, std::span<std::uint8_t> out);

}  // namespace worker::model
