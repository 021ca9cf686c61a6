// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "worker/model/image_decode.hpp"
#include "worker/model/philox.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace worker::model {

/// Labelled images of one size. Files stay mapped.
class ImageSource {
 public:
    virtual ~ImageSource() = default;
    [[nodiscard]] virtual std::uint32_t count() const noexcept = 0;
    [[nodiscard]] virtual std::uint32_t label(std::uint32_t index) const = 0;
    /// Fills [colors][height][width] bytes.
    virtual void read(std::uint32_t index, std::span<std::uint8_t> out) const = 0;
};

using ImageSourcePtr = std::unique_ptr<ImageSource>;

/// An IDX array of unsigned bytes (the format of MNIST).
struct IdxArray {
    std::vector<std::uint32_t> extents;
    ledger::base::ByteView values;
};
/// data_invalid for another element type, a cut file, trailing bytes or an extent of 0.
[[nodiscard]] ledger::base::Result<IdxArray> parse_idx(ledger::base::ByteView bytes);

/// Images as IDX, count × height × width or, in colour, count × height × width × 3, and one label
/// below `classes` for each.
[[nodiscard]] ledger::base::Result<ImageSourcePtr> open_idx(const std::filesystem::path& images,
                                                            const std::filesystem::path& labels,
                                                            const ImageSize& size,
                                                            std::uint32_t classes);

/// A tar of a folder per label with PNG, JPEG or PPM files, each stretched to `size`. Labels count
/// in the order of their folders' names, and there must be `classes` of them. The images come in an
/// order drawn from `seed`, so that a held-out tail has some of every label. data_invalid names the
/// entry that is wrong: a link, a name of more than 100 bytes, a file that is no whole image. Every
/// image is decoded once at opening; files whose name begins with a dot are passed over.
[[nodiscard]] ledger::base::Result<ImageSourcePtr> open_image_tar(const std::filesystem::path& path,
                                                                  const ImageSize& size,
                                                                  std::uint32_t classes,
                                                                  std::uint64_t seed);

/// JSON lines of {"image", "label"}, other members are passed over: a PNG, JPEG or PPM in base64
/// (or a data URL of it, or an object with that in "bytes"), and a number below `classes` or a
/// name; names count in their order, and there must be `classes` of them. Stretched, ordered and
/// checked as a tar's images are; data_invalid names the line, which has at most 16 MiB.
[[nodiscard]] ledger::base::Result<ImageSourcePtr> open_image_jsonl(
    const std::filesystem::path& path, const ImageSize& size, std::uint32_t classes,
    std::uint64_t seed);

/// Draws an order from `seed`, so that a held-out tail has some of every label.
template <typename Image>
void shuffle_images(std::vector<Image>& images, std::uint64_t seed) {
    constexpr std::uint64_t kOrderEpoch = 1ULL << 40U;  // no epoch of training is that late
    const Philox random(seed, Philox::Stream::kShuffle);
    for (auto i = static_cast<std::uint32_t>(images.size() - 1); i > 0; --i)
        std::swap(images[i], images[random.below(std::uint64_t{i} + 1, kOrderEpoch, i)]);
}

}  // namespace worker::model
