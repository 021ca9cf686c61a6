// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/public_log.hpp"

#include "ledger/crypto/secp256k1.hpp"

#include <algorithm>
#include <mutex>

namespace marketplace::app {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

void PublicLog::restore(ledger::log::MerkleTree tree) {
    const std::unique_lock lock(mutex_);
    tree_ = std::move(tree);
}

void PublicLog::read_tree(const std::function<void(const ledger::log::MerkleTree&)>& use) const {
    const std::shared_lock lock(mutex_);
    use(tree_);
}

void PublicLog::append(const engine::Record& record, ledger::base::ByteView bytes) {
    const domain::Hash32 leaf = ledger::log::leaf_hash(bytes);
    const std::unique_lock lock(mutex_);
    tree_.append(leaf);
    while (!seals_.empty() && seals_.front().until_ms <= record.time_ms)
        seals_.pop_front();
    if (engine::holds_sealed_bid(record))
        seals_.push_back({record.sequence, engine::unsealed_ms(record.time_ms, batch_period_ms_)});
}

void PublicLog::set_signed_head(const Head& head) {
    const std::unique_lock lock(mutex_);
    head_ = head;
}

void PublicLog::set_witness(const domain::Address& witness, const ledger::eth::Domain& domain) {
    const std::unique_lock lock(mutex_);
    witness_ = witness;
    domain_ = domain;
}

std::optional<domain::Address> PublicLog::witness() const {
    const std::shared_lock lock(mutex_);
    return witness_;
}

Result<void> PublicLog::cosign(const ledger::eth::TreeHead& head,
                               const domain::Signature& signature) {
    const std::unique_lock lock(mutex_);
    if (!witness_) return fail(ErrorCode::unsupported, "this market has no witness");
    TRY(ledger::crypto::verify(ledger::eth::digest(domain_, head), signature, *witness_));
    if (!head_ || head_->head != head)
        return fail(ErrorCode::wrong_state, "another head waits for the witness");
    head_->cosignature = signature;
    return {};
}

std::uint64_t PublicLog::size() const {
    const domain::TimeMs now = clock_.now_ms();
    const std::shared_lock lock(mutex_);
    const auto sealed = std::find_if(seals_.begin(), seals_.end(),
                                     [now](const Seal& seal) { return now < seal.until_ms; });
    return sealed == seals_.end() ? tree_.size() : sealed->record;
}

std::optional<api::LogPort::Head> PublicLog::signed_head() const {
    const std::shared_lock lock(mutex_);
    return head_;
}

std::vector<domain::Bytes> PublicLog::records(std::uint64_t first, std::size_t limit) const {
    const std::uint64_t end = size();
    if (first >= end) return {};
    return read_(first, std::min<std::uint64_t>(limit, end - first));
}

Result<std::vector<domain::Hash32>> PublicLog::inclusion_proof(std::uint64_t index,
                                                               std::uint64_t size) const {
    const std::shared_lock lock(mutex_);
    return tree_.inclusion_proof(index, size);
}

Result<std::vector<domain::Hash32>> PublicLog::consistency_proof(std::uint64_t old_size,
                                                                 std::uint64_t size) const {
    const std::shared_lock lock(mutex_);
    return tree_.consistency_proof(old_size, size);
}

Result<domain::Hash32> PublicLog::leaf(std::uint64_t index) const {
    const std::shared_lock lock(mutex_);
    return tree_.leaf(index);
}

Result<domain::Hash32> PublicLog::root_at(std::uint64_t size) const {
    const std::shared_lock lock(mutex_);
    return tree_.root_at(size);
}

}  // namespace marketplace::app
