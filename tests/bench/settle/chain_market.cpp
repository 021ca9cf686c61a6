// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/settle/chain_market.hpp"

#include "ledger/base/check.hpp"
#include "ledger/eth/messages.hpp"
#include "ledger/log/merkle_tree.hpp"
#include "ledger/settlement/escrow_abi.hpp"
#include "ledger/settlement/providers_abi.hpp"
#include "ledger/settlement/submitter.hpp"

#include <cstdio>
#include <cstdlib>

namespace bench {
namespace {

namespace eth = ledger::eth;
constexpr std::uint64_t kMoneyAtoms = 1'000'000'000'000;
constexpr std::uint64_t kBondAtoms = 10'000'000;

template <typename T>
T need(std::optional<T> value, const char* what) {
    if (!value) {
        std::fprintf(stderr, "bench settle: %s (scripts/setup)\n", what);
        std::exit(1);
    }
    return std::move(*value);
}

Bytes bytes_of(const ledger::base::Signature& signature) {
    return {signature.begin(), signature.end()};
}

}  // namespace

ChainMarket::ChainMarket()
    : anvil_(need(tests::support::Anvil::start(), "anvil is not installed")),
      chain_(anvil_.client()) {
    for (int i = 0; i < 5; ++i) {
        keys_.push_back(PrivateKey::generate());
        anvil_.fund(keys_.back().address());
    }
    const PrivateKey& buyer = keys_[1];
    const PrivateKey& provider = keys_[3];
    const PrivateKey& worker = keys_[4];
    provider_ = provider.address();
    deployment_ = need(anvil_.deploy(keys_[0].address(), {buyer.address(), provider_}, kMoneyAtoms),
                       "the contracts are not compiled");
    expiry_s_ = chain_->block(ledger::rpc::BlockTag::Name::kLatest)->time_s + 24 * 3600;
    send(provider, deployment_.token,
         settlement::encode_approve(deployment_.providers, kBondAtoms));
    send(
        provider, deployment_.providers,
        settlement::encode_register(worker.address(),
                                    settlement::sign_worker_proof(worker, deployment_.chain_id,
                                                                  deployment_.providers, provider_),
                                    kBondAtoms));
    auto deposit = settlement::make_permit_deposit(*chain_, deployment_.token, deployment_.escrow,
                                                   buyer, kMoneyAtoms, expiry_s_);
    MR_CHECK(deposit.has_value());
    send(buyer, deployment_.escrow, std::move(*deposit));
    MR_CHECK(chain_->raw_call("evm_setAutomine", {false}).has_value());
    MR_CHECK(chain_->raw_call("evm_setIntervalMining", {1}).has_value());
}

void ChainMarket::send(const PrivateKey& from, const ledger::base::Address& to, Bytes data) const {
    settlement::LocalTransactionSigner signer(from);
    MR_CHECK(settlement::send_and_wait(*chain_, signer, to, std::move(data), 20'000).has_value());
}

settlement::Parties ChainMarket::parties() const {
    return {keys_[1].address(), provider_, keys_[2].address(), keys_[4].address()};
}

settlement::OpenItem ChainMarket::make_lease(std::uint64_t number, std::uint64_t receipts) const {
    const settlement::Parties who = parties();
    settlement::OpenItem item;
    item.max_units = receipts * kUnitsPerReceipt;
    item.price_atoms = kPriceAtoms;
    item.worker_key = who.worker_key;
    item.ask.provider = who.provider;
    item.ask.price_atoms = kPriceAtoms;
    item.ask.min_units = 1;
    item.ask.max_units = item.max_units;
    item.ask.volume_units = item.max_units;
    item.ask.expiry_s = expiry_s_;
    item.bid.buyer = who.buyer;
    item.bid.price_ceiling_atoms = kPriceAtoms;
    item.bid.max_amount_atoms = item.max_units * kPriceAtoms;
    item.bid.volume_units = item.max_units;
    item.bid.deadline_s = expiry_s_;
    item.bid.expiry_s = expiry_s_;
    for (std::size_t i = 0; i < 8; ++i)
        item.ask.salt.data()[i] = item.bid.salt.data()[i] =
            static_cast<std::uint8_t>(number >> (8 * i));
    item.delegation.owner = who.buyer;
    item.delegation.delegate = who.voucher_signer;
    item.delegation.scope = eth::kScopeVouchers;
    item.delegation.spend_cap_atoms = kMoneyAtoms;
    item.delegation.expiry_s = expiry_s_;
    const eth::Domain domain = deployment_.leases_domain();
    item.ask_signature = bytes_of(keys_[3].sign(digest(domain, item.ask)));
    item.bid_signature = bytes_of(keys_[1].sign(digest(domain, item.bid)));
    item.delegation_signature = bytes_of(keys_[1].sign(digest(domain, item.delegation)));
    return item;
}

settlement::ClaimItem ChainMarket::work(const Hash32& lease, std::vector<Hash32>& leaves,
                                        std::uint64_t last) const {
    const eth::Domain domain = deployment_.leases_domain();
    eth::Receipt receipt;
    receipt.lease = lease;
    receipt.price_atoms = kPriceAtoms;
    if (!leaves.empty()) receipt.previous = leaves.back();
    while (leaves.size() < last) {
        receipt.sequence = leaves.size() + 1;
        receipt.cumulative_units = receipt.sequence * kUnitsPerReceipt;
        receipt.cumulative_amount_atoms = receipt.cumulative_units * kPriceAtoms;
        const Hash32 to_sign = digest(domain, receipt);
        MR_CHECK(ledger::crypto::verify(to_sign, keys_[4].sign(to_sign), keys_[4].address())
                     .has_value());
        receipt.previous = struct_hash(receipt);
        leaves.push_back(receipt.previous);
    }
    ledger::log::CompactTree tree;
    for (const Hash32& leaf : leaves)
        tree.append_data(leaf.span());
    settlement::ClaimItem claim;
    claim.voucher = {lease, last, last * kUnitsPerReceipt, last * kUnitsPerReceipt * kPriceAtoms,
                     tree.root()};
    claim.parties = parties();
    const Hash32 to_sign = digest(domain, claim.voucher);
    claim.buyer_signature = bytes_of(keys_[2].sign(to_sign));
    claim.worker_signature = bytes_of(keys_[4].sign(to_sign));
    return claim;
}

}  // namespace bench
