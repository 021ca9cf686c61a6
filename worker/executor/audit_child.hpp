// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/executor/child_io.hpp"
#include "worker/model/model_spec.hpp"

namespace worker::executor {

/// Runs the segment of `start` again and says what it found: Ready, Metrics, Audited, Finished.
/// Errors are audits that cannot be made, as of verify::audit_segment.
[[nodiscard]] ledger::base::Result<void> run_audit(ChildIo& io, const ChildStart& start,
                                                   const model::JobSpec& spec);

}  // namespace worker::executor
