// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"

/// What binds the ciphertexts of a sealed job to their use: the same for buyer and worker.
namespace marketplace::wire {

/// Context of its sealed blobs, from the salt that the job spec names in "sealed".
[[nodiscard]] ledger::base::Bytes sealed_blob_context(const ledger::base::Hash32& salt);

/// Context of the data key that is wrapped for the worker of a lease.
[[nodiscard]] ledger::base::Bytes wrapped_key_context(const ledger::base::Hash32& lease);

}  // namespace marketplace::wire
