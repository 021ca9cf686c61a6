// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/model/shortlist.hpp"

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace worker::model::test {

/// Has the device list rows of logits [wishes][vocab]; `use` sees the lists before they go.
void with_device_lists(std::span<const float> rows, std::span<const ShortlistWish> wishes,
                       const std::function<void(std::span<const Shortlist>)>& use);

}  // namespace worker::model::test
