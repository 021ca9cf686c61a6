// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"
#include "ledger/log/merkle_tree.hpp"
#include "marketplace/api/ports.hpp"
#include "marketplace/engine/journal.hpp"

#include <deque>
#include <functional>
#include <shared_mutex>

namespace marketplace::app {

/// The Merkle log over the journal's records, with its last signed head. A record with a sealed
/// bid, and all after it, are not public before the bid's first batch: until then the log looks
/// shorter. Thread-safe.
class PublicLog final : public api::LogPort {
 public:
    /// Reads record bytes of [first, first + limit) from disk; called on the reader's thread.
    using ReadRecords =
        std::function<std::vector<domain::Bytes>(std::uint64_t first, std::size_t limit)>;
    PublicLog(ReadRecords read, const ledger::base::Clock& clock, std::uint64_t batch_period_ms)
        : read_(std::move(read)), clock_(clock), batch_period_ms_(batch_period_ms) {}

    /// Begins with what a snapshot has.
    void restore(ledger::log::MerkleTree tree);
    /// The whole tree, while nobody changes it.
    void read_tree(const std::function<void(const ledger::log::MerkleTree&)>& use) const;
    /// Adds a record that is on disk.
    void append(const engine::Record& record, ledger::base::ByteView bytes);
    void set_signed_head(const Head& head);
    /// Who may co-sign heads, and for which contract. Before others use the log.
    void set_witness(const domain::Address& witness, const ledger::eth::Domain& domain);

    /// Of what is public.
    [[nodiscard]] std::uint64_t size() const override;
    [[nodiscard]] std::optional<Head> signed_head() const override;
    [[nodiscard]] std::optional<domain::Address> witness() const override;
    [[nodiscard]] ledger::base::Result<void> cosign(const ledger::eth::TreeHead& head,
                                                    const domain::Signature& signature) override;
    [[nodiscard]] std::vector<domain::Bytes> records(std::uint64_t first,
                                                     std::size_t limit) const override;
    [[nodiscard]] ledger::base::Result<std::vector<domain::Hash32>> inclusion_proof(
        std::uint64_t index, std::uint64_t size) const override;
    [[nodiscard]] ledger::base::Result<std::vector<domain::Hash32>> consistency_proof(
        std::uint64_t old_size, std::uint64_t size) const override;
    [[nodiscard]] ledger::base::Result<domain::Hash32> root_at(std::uint64_t size) const;
    /// Hash of a record as it was logged.
    [[nodiscard]] ledger::base::Result<domain::Hash32> leaf(std::uint64_t index) const;

 private:
    struct Seal {
        std::uint64_t record = 0;
        domain::TimeMs until_ms = 0;
    };

    ReadRecords read_;
    const ledger::base::Clock& clock_;
    std::uint64_t batch_period_ms_;
    mutable std::shared_mutex mutex_;
    ledger::log::MerkleTree tree_;
    std::optional<Head> head_;
    std::optional<domain::Address> witness_;
    ledger::eth::Domain domain_;
    std::deque<Seal> seals_;  // in order of both
};

}  // namespace marketplace::app
