// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/wire/worker_json.hpp"
#include "worker/agent/ports.hpp"

namespace worker::agent {

/// The market's request as the first of its choices is given to the child. invalid_field,
/// out_of_range.
[[nodiscard]] Result<executor::GenerateRequest> to_generate_request(
    const marketplace::wire::Infer& infer);

}  // namespace worker::agent
