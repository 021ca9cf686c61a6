// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/eth/messages.hpp"
#include "ledger/log/merkle_tree.hpp"
#include "marketplace/wire/log_json.hpp"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>

namespace marketplace::cli {

/// Keeps its own copy of a market's public log and co-signs a head only when it is the head of that
/// copy: so whoever trusts the witness knows that everybody is shown one and the same log, and that
/// nothing in it changed (C2SP tlog-witness).
///
/// The folder holds `log.jsonl` (as `millrace log fetch` writes it, for `millrace audit --log`) and
/// `head.json`, the last head co-signed. Both are on disk before a signature leaves. One thread.
class Witness {
 public:
    /// Reads the copy back. log_damaged when it does not lead to the head co-signed last: it was
    /// changed, or is older. A line cut by a crash is dropped.
    [[nodiscard]] static ledger::base::Result<Witness> open(const std::filesystem::path& folder);

    /// Records in the copy.
    [[nodiscard]] std::uint64_t size() const noexcept { return tree_.size(); }
    /// The head co-signed last, with the operator's signature.
    [[nodiscard]] const std::optional<wire::SignedHead>& last() const noexcept { return last_; }

    /// Adds the next record. audit_failed when it does not name the hash of the one before.
    [[nodiscard]] ledger::base::Result<void> append(ledger::base::ByteView record);

    /// Judges a head that the market serves, when the copy has all its records; `proposal` carries
    /// the operator's signature.
    ///
    /// invalid_signature: it is not the operator's. wrong_state: the copy does not reach so far.
    /// audit_failed: it is another history than the one seen before, or a shorter or earlier one;
    /// `alarm-SIZE.json` keeps both heads as evidence. Never two signatures for one size.
    [[nodiscard]] ledger::base::Result<ledger::base::Signature> cosign(
        const wire::SignedHead& proposal, const ledger::eth::Domain& domain,
        const ledger::base::Address& market_operator, const ledger::crypto::PrivateKey& key);

 private:
    explicit Witness(std::filesystem::path folder) : folder_(std::move(folder)) {}
    [[nodiscard]] ledger::base::Result<void> read_copy();
    [[nodiscard]] ledger::base::Result<void> follow(ledger::base::ByteView record);
    [[nodiscard]] ledger::base::Result<void> sync();
    [[nodiscard]] ledger::base::Error alarm(const wire::SignedHead& proposal, const char* what);

    std::filesystem::path folder_;
    std::ofstream copy_;
    ledger::log::CompactTree tree_;
    ledger::base::Hash32 previous_;  // hash of the last record
    std::optional<wire::SignedHead> last_;
};

}  // namespace marketplace::cli
