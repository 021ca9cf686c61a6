// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "worker/model/model_spec.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace worker::model::test {

/// The model written down as plainly as possible, in double, from a flat parameter vector: the
/// oracle for training and serving. Returns [tokens][vocab].
std::vector<double> reference_logits(const GptShape& gpt, std::span<const double> parameters,
                                     std::span<const std::uint8_t> tokens);

/// Mean cross entropy of predicting each next byte of `row` (context + 1 bytes).
double reference_loss(const GptShape& gpt, std::span<const double> parameters,
                      ledger::base::ByteView row);

}  // namespace worker::model::test
