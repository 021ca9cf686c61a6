// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/crypto/key_wrap.hpp"
#include "worker/agent/ports.hpp"

#include <filesystem>
#include <string>

namespace worker::agent {

/// The files of a sealed job (README, "Sealed jobs"): opened into a folder of this worker's user
/// alone, and sealed before they leave the machine. Use from one thread.
class SealedFiles {
 public:
    /// Asks for the lease's data key. `salt`: the spec's "sealed". unavailable while the buyer has
    /// given none; data_invalid: it was wrapped for somebody or something else.
    [[nodiscard]] static Result<SealedFiles> make(KeySource& keys, const LeaseTerms& terms,
                                                  const Hash32& salt,
                                                  const ledger::crypto::PrivateKey& worker,
                                                  std::filesystem::path folder);

    /// The plain file, under `name` in the folder. data_invalid: sealed for another job, or
    /// changed.
    [[nodiscard]] Result<std::filesystem::path> open(const std::filesystem::path& sealed,
                                                     const std::string& name) const;
    /// The segment with its checkpoint's sealed form in the place of the plain one, which is
    /// removed.
    [[nodiscard]] Result<executor::Segment> seal(executor::Segment segment) const;

 private:
    SealedFiles(ledger::crypto::DataKey key, ledger::base::Bytes context,
                std::filesystem::path folder)
        : key_(std::move(key)), context_(std::move(context)), folder_(std::move(folder)) {}

    ledger::crypto::DataKey key_;
    ledger::base::Bytes context_;
    std::filesystem::path folder_;
};

}  // namespace worker::agent
