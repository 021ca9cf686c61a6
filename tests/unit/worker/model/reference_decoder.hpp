// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/unit/worker/model/random_model.hpp"

#include <cstdint>
#include <vector>

namespace worker::model::test {

/// Logits [tokens][vocab] of a whole text, in double, with plain torch operations in the order of
/// the published modelling code. It reads the config's text itself. Dynamic rotary scaling is that
/// of feeding token by token.
std::vector<double> reference_decoder(const RandomModel& model,
                                      const std::vector<std::uint32_t>& tokens);

}  // namespace worker::model::test
