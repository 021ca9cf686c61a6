// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace worker::kernels {

/// A token and its logit.
struct ListedLogit {
    std::uint32_t token = 0;
    float logit = 0;
    friend bool operator==(const ListedLogit&, const ListedLogit&) = default;
};

/// Tokens of one row of which a device tells the logits by name.
constexpr std::uint32_t kNamedMax = 4096;

}  // namespace worker::kernels
