// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/model/model_spec.hpp"

#include <string>

namespace bench {

struct BareResult {
    double seconds = 0;
    double cpu_seconds = 0;  // of the whole process meanwhile
    double loss = 0;
};

/// The limit program: the same model and schedule as a plain libtorch loop in one file, with
/// torch's own modules and AdamW and nothing else. Times the steps alone.
BareResult run_bare(const worker::model::TrainSpec& spec, const std::string& text, int threads);

}  // namespace bench
