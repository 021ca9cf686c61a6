// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/model/model_spec.hpp"
#include "worker/model/objective.hpp"
#include "worker/model/training.hpp"

#include <memory>
#include <string>

namespace worker::model {

/// A model of the project's own over the data of its job. `device` as in RuntimeOptions.
/// data_missing, data_invalid when the files do not fit the spec.
[[nodiscard]] ledger::base::Result<std::unique_ptr<Objective>> make_network_objective(
    const TrainSpec& spec, const TrainFiles& files, const std::string& device);

}  // namespace worker::model
