// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/log/merkle_tree.hpp"
#include "marketplace/api/ports.hpp"

#include <functional>
#include <shared_mutex>

namespace marketplace::app {

/// The Merkle log over the journal's records, with its last signed head. Thread-safe.
class PublicLog final : public api::LogPort {
 public:
    /// Reads record bytes of [first, first + limit) from disk; called on the reader's thread.
    using ReadRecords =
        std::function<std::vector<domain::Bytes>(std::uint64_t first, std::size_t limit)>;
    explicit PublicLog(ReadRecords read) : read_(std::move(read)) {}

    /// Begins with what a snapshot has.
    void restore(ledger::log::MerkleTree tree);
    /// The whole tree, while nobody changes it.
    void read_tree(const std::function<void(const ledger::log::MerkleTree&)>& use) const;
    /// Adds a record that is on disk.
    void append(ledger::base::ByteView record);
    void set_signed_head(const Head& head);

    [[nodiscard]] std::uint64_t size() const override;
    [[nodiscard]] std::optional<Head> signed_head() const override;
    [[nodiscard]] std::vector<domain::Bytes> records(std::uint64_t first,
                                                     std::size_t limit) const override;
    [[nodiscard]] ledger::base::Result<std::vector<domain::Hash32>> inclusion_proof(
        std::uint64_t index, std::uint64_t size) const override;
    [[nodiscard]] ledger::base::Result<std::vector<domain::Hash32>> consistency_proof(
        std::uint64_t old_size, std::uint64_t size) const override;
    [[nodiscard]] ledger::base::Result<domain::Hash32> root_at(std::uint64_t size) const;

 private:
    ReadRecords read_;
    mutable std::shared_mutex mutex_;
    ledger::log::MerkleTree tree_;
    std::optional<Head> head_;
};

}  // namespace marketplace::app
