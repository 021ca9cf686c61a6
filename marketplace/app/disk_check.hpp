// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/log/merkle_tree.hpp"
#include "marketplace/app/public_log.hpp"

#include <cstdint>

namespace marketplace::app {

/// Reads the log's records back from disk and hashes them again, so that no head is signed over
/// bytes that changed after they were logged. Each record once; one thread.
class DiskCheck {
 public:
    /// Keeps a reference.
    explicit DiskCheck(const PublicLog& log) : log_(log) {}

    /// Goes on towards this size, by 100,000 records at most. False: not there yet. log_damaged
    /// names the first record that is not what was logged; io_error: the disk cannot be read.
    [[nodiscard]] ledger::base::Result<bool> reach(std::uint64_t size);

 private:
    const PublicLog& log_;
    ledger::log::CompactTree tree_;  // of what was read back
};

}  // namespace marketplace::app
