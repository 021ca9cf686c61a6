// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/model/decoder_config.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace worker::model {

/// The angles of rotary positions. What a position gets depends on that position alone, so prompts
/// may be cut anywhere. Const methods may be called from any thread.
class Rope {
 public:
    explicit Rope(const RopeConfig& config);

    /// Numbers of a row of cosines or sines.
    [[nodiscard]] std::size_t size() const noexcept { return config_.dims / 2; }
    /// Cosines and sines of `position`, size() each, times yarn's magnitude.
    void angles(std::uint32_t position, float* cosines, float* sines) const;

 private:
    [[nodiscard]] std::vector<double> frequencies_at(double theta) const;

    RopeConfig config_;
    std::vector<double> frequencies_;  // radians a token
};

}  // namespace worker::model
