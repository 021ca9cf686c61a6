// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/public_log.hpp"

#include <mutex>

namespace marketplace::app {

void PublicLog::restore(ledger::log::MerkleTree tree) {
    const std::unique_lock lock(mutex_);
    tree_ = std::move(tree);
}

void PublicLog::read_tree(const std::function<void(const ledger::log::MerkleTree&)>& use) const {
    const std::shared_lock lock(mutex_);
    use(tree_);
}

void PublicLog::append(ledger::base::ByteView record) {
    const domain::Hash32 leaf = ledger::log::leaf_hash(record);
    const std::unique_lock lock(mutex_);
    tree_.append(leaf);
}

void PublicLog::set_signed_head(const Head& head) {
    const std::unique_lock lock(mutex_);
    head_ = head;
}

std::uint64_t PublicLog::size() const {
    const std::shared_lock lock(mutex_);
    return tree_.size();
}

std::optional<api::LogPort::Head> PublicLog::signed_head() const {
    const std::shared_lock lock(mutex_);
    return head_;
}

std::vector<domain::Bytes> PublicLog::records(std::uint64_t first, std::size_t limit) const {
    return read_(first, limit);
}

ledger::base::Result<std::vector<domain::Hash32>> PublicLog::inclusion_proof(
    std::uint64_t index, std::uint64_t size) const {
    const std::shared_lock lock(mutex_);
    return tree_.inclusion_proof(index, size);
}

ledger::base::Result<std::vector<domain::Hash32>> PublicLog::consistency_proof(
    std::uint64_t old_size, std::uint64_t size) const {
    const std::shared_lock lock(mutex_);
    return tree_.consistency_proof(old_size, size);
}

ledger::base::Result<domain::Hash32> PublicLog::root_at(std::uint64_t size) const {
    const std::shared_lock lock(mutex_);
    return tree_.root_at(size);
}

}  // namespace marketplace::app
