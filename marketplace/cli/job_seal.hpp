// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/crypto/key_wrap.hpp"
#include "marketplace/cli/context.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace marketplace::cli {

enum class Blobs : std::uint8_t { kHashOnly, kUpload };

/// What a sealed job's files are encrypted with: its data key and the salt that its spec names.
/// `worker/agent/README.md` has the protocol. One thread.
class JobSeal {
 public:
    /// A new key and salt, in memory alone until they are kept.
    [[nodiscard]] static JobSeal make();

    /// The record that is kept: the key is wrapped for `account`, so that a copy of the data folder
    /// opens nothing without the wallet's password.
    [[nodiscard]] Result<std::string> to_record(const ledger::crypto::PublicKey& account) const;
    /// data_invalid: no such record, or made for another account.
    [[nodiscard]] static Result<JobSeal> parse_record(std::string_view text,
                                                      const ledger::crypto::PrivateKey& account);

    /// Writes the record of the job, synced; before the job is posted. Opens the wallet's key.
    [[nodiscard]] Result<void> keep(Context& context, const std::string& job) const;
    /// Of a job that was posted from this data folder; none of any other. Opens the wallet's key
    /// when there is a record.
    [[nodiscard]] static Result<std::optional<JobSeal>> find(Context& context,
                                                             const std::string& job);

    [[nodiscard]] const Hash32& salt() const noexcept { return salt_; }
    /// Hash of the file's sealed form, which is uploaded; with kHashOnly a number in its place,
    /// since every sealing gives another hash. data_missing: the file cannot be read.
    [[nodiscard]] Result<Hash32> take(Context& context, const std::filesystem::path& file,
                                      Blobs blobs) const;
    /// data_invalid and invalid_encoding: `sealed` was not sealed for this job.
    [[nodiscard]] Result<void> open(const std::filesystem::path& sealed,
                                    const std::filesystem::path& plain) const;
    /// The data key for `reader` and for this lease alone.
    [[nodiscard]] Result<ledger::base::Bytes> wrap(const ledger::crypto::PublicKey& reader,
                                                   const Hash32& lease) const;

 private:
    JobSeal(ledger::crypto::DataKey key, const Hash32& salt) : key_(std::move(key)), salt_(salt) {}

    ledger::crypto::DataKey key_;
    Hash32 salt_;
};

/// Whether the key of a sealed job is kept here; the wallet stays closed.
[[nodiscard]] bool keeps_seal(const Context& context, const std::string& job);

/// Fetches a job's result and checks its hash; of a sealed job what is in it. data_missing: it is
/// sealed, and this folder keeps no key of the job.
[[nodiscard]] Result<void> fetch_artifact(Context& context, const std::string& job,
                                          const Hash32& hash, const std::filesystem::path& file);

}  // namespace marketplace::cli
