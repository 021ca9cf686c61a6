// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

namespace worker::model {

/// Philox4x32-10 (Salmon et al. 2011): four random words from a key and a counter, with no state.
/// The only source of randomness in a job, so that any machine draws the same numbers.
class Philox {
 public:
    using Block = std::array<std::uint32_t, 4>;

    /// What the numbers are for; streams never overlap.
    enum class Stream : std::uint32_t { kInit = 1, kBatch = 2, kShuffle = 3, kSample = 4 };

    constexpr Philox(std::uint64_t seed, Stream stream) noexcept
        : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32U)},
          stream_(static_cast<std::uint32_t>(stream)) {}

    /// The block at (major, minor) of this stream; `major` below 2^48.
    [[nodiscard]] constexpr Block block(std::uint64_t major, std::uint32_t minor) const noexcept {
        const auto low = static_cast<std::uint32_t>(major);
        const auto high = static_cast<std::uint32_t>(major >> 32U) | (stream_ << 24U);
        return rounds({low, high, minor, 0}, key_);
    }
    [[nodiscard]] constexpr std::uint64_t u64(std::uint64_t major,
                                              std::uint32_t minor) const noexcept {
        const Block b = block(major, minor);
        return (std::uint64_t{b[1]} << 32U) | b[0];
    }
    /// Uniform in [0, bound), by multiplication; the bias is below 2^-32 for the sizes used here.
    [[nodiscard]] constexpr std::uint64_t below(std::uint64_t bound, std::uint64_t major,
                                                std::uint32_t minor) const noexcept {
        __extension__ using Wide = unsigned __int128;
        return static_cast<std::uint64_t>((Wide{u64(major, minor)} * bound) >> 64U);
    }
    /// Uniform in [0, 1) with 53 bits.
    [[nodiscard]] constexpr double unit(std::uint64_t major, std::uint32_t minor) const noexcept {
        return static_cast<double>(u64(major, minor) >> 11U) * 0x1.0p-53;
    }

    /// The raw function, for the published test vectors.
    [[nodiscard]] static constexpr Block rounds(Block counter,
                                                std::array<std::uint32_t, 2> key) noexcept {
        for (int round = 0; round < 10; ++round) {
            const std::uint64_t p0 = std::uint64_t{0xD2511F53U} * counter[0];
            const std::uint64_t p1 = std::uint64_t{0xCD9E8D57U} * counter[2];
            counter = {static_cast<std::uint32_t>(p1 >> 32U) ^ counter[1] ^ key[0],
                       static_cast<std::uint32_t>(p1),
                       static_cast<std::uint32_t>(p0 >> 32U) ^ counter[3] ^ key[1],
                       static_cast<std::uint32_t>(p0)};
            key[0] += 0x9E3779B9U;
            key[1] += 0xBB67AE85U;
        }
        return counter;
    }

 private:
    std::array<std::uint32_t, 2> key_;
    std::uint32_t stream_;
};

}  // namespace worker::model
