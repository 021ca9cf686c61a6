// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"

#include <memory>

namespace ledger::base {

/// SHA-256 of one view (FIPS 180-4). Names blobs, job specs and log leaves.
[[nodiscard]] Hash32 sha256(ByteView bytes);

/// SHA-256 over several pieces, for files read in parts.
class Sha256 {
 public:
    Sha256();
    ~Sha256();
    Sha256(const Sha256&) = delete;
    Sha256& operator=(const Sha256&) = delete;

    void update(ByteView bytes);
    /// Ends the hash; the object must not be used afterwards.
    [[nodiscard]] Hash32 finish();

 private:
    struct Context;
    std::unique_ptr<Context> context_;
};

}  // namespace ledger::base
