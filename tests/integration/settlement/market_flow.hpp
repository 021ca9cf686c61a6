// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/audit/log_source.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/eth/messages.hpp"
#include "ledger/log/merkle_tree.hpp"
#include "ledger/settlement/providers_abi.hpp"
#include "ledger/settlement/submitter.hpp"
#include "ledger/settlement/watcher.hpp"
#include "tests/support/anvil.hpp"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

namespace tests {

using ledger::base::Bytes;
using ledger::base::Hash32;
using ledger::base::Signature;
using ledger::crypto::PrivateKey;
using ledger::eth::Receipt;
using ledger::eth::Voucher;
using ledger::rpc::BlockTag;
using namespace ledger::settlement;  // NOLINT: the room under test

inline Bytes bytes_of(const Signature& signature) {
    return {signature.begin(), signature.end()};
}

/// A log held in memory whose records are just the items' bytes.
class MemoryLog final : public ledger::audit::LogSource {
 public:
    explicit MemoryLog(std::vector<ledger::audit::LogRecord> records)
        : records_(std::move(records)) {}
    ledger::base::Result<std::optional<ledger::audit::LogRecord>> next() override {
        if (at_ == records_.size()) return std::nullopt;
        return records_[at_++];
    }

 private:
    std::vector<ledger::audit::LogRecord> records_;
    std::size_t at_ = 0;
};

/// Everybody of a small market on a chain of its own: one buyer, one provider with one worker, the
/// operator, and a delegate who signs vouchers.
struct MarketFlow {
    support::Anvil anvil;
    Deployment deployment;
    std::unique_ptr<ledger::rpc::EthClient> chain;
    PrivateKey market_operator, buyer, delegate, provider, worker;
    std::vector<ledger::audit::LogRecord> log;
    ledger::log::MerkleTree tree;
    ledger::eth::TreeHead anchored;

    static std::optional<MarketFlow> start() {
        auto anvil = support::Anvil::start();
        if (!anvil) {
            MESSAGE("skipped: anvil is not installed (scripts/setup)");
            return std::nullopt;
        }
        PrivateKey keys[] = {PrivateKey::generate(), PrivateKey::generate(), PrivateKey::generate(),
                             PrivateKey::generate(), PrivateKey::generate()};
        for (const PrivateKey& key : keys)
            anvil->fund(key.address());
        const auto deployment =
            anvil->deploy(keys[0].address(), {keys[1].address(), keys[3].address()}, 1'000'000'000);
        if (!deployment) {
            MESSAGE("skipped: the contracts are not compiled (scripts/setup)");
            return std::nullopt;
        }
        auto chain = anvil->client();
        return MarketFlow{std::move(*anvil),
                          *deployment,
                          std::move(chain),
                          std::move(keys[0]),
                          std::move(keys[1]),
                          std::move(keys[2]),
                          std::move(keys[3]),
                          std::move(keys[4]),
                          {},
                          {},
                          {}};
    }

    ledger::rpc::TransactionReceipt send(const PrivateKey& from, const ledger::base::Address& to,
                                         Bytes data) {
        LocalTransactionSigner signer(from);
        auto receipt = send_and_wait(*chain, signer, to, std::move(data), 20'000);
        REQUIRE_MESSAGE(receipt, explain_revert(receipt.error()));
        return std::move(*receipt);
    }

    std::uint64_t now_s() { return chain->block(BlockTag::Name::kLatest)->time_s; }

    /// Provider registered with its worker, buyer's money in escrow.
    void set_up(std::uint64_t bond_atoms, std::uint64_t deposit_atoms) {
        send(provider, deployment.token, encode_approve(deployment.providers, bond_atoms));
        send(provider, deployment.providers,
             encode_register(worker.address(),
                             sign_worker_proof(worker, deployment.chain_id, deployment.providers,
                                               provider.address()),
                             bond_atoms));
        auto deposit = make_permit_deposit(*chain, deployment.token, deployment.escrow, buyer,
                                           deposit_atoms, now_s() + 600);
        REQUIRE(deposit);
        send(buyer, deployment.escrow, std::move(*deposit));
    }

    void append(Bytes bytes, ledger::audit::LogItem item) {
        tree.append_data(bytes);
        log.push_back({std::move(bytes), {std::move(item)}, ""});
    }

    /// Signed orders for `units` training steps at 1,000 atoms each.
    OpenItem make_item(std::uint8_t salt, std::uint64_t units) {
        OpenItem item;
        item.ask.provider = provider.address();
        item.ask.price_atoms = 1000;
        item.ask.min_units = 1;
        item.ask.max_units = 10'000;
        item.ask.expiry_s = now_s() + 3600;
        item.ask.volume_units = 100'000;
        item.ask.salt.data()[0] = salt;
        item.bid.buyer = buyer.address();
        item.bid.price_ceiling_atoms = 1500;
        item.bid.max_amount_atoms = 100'000'000;
        item.bid.deadline_s = now_s() + 3600;
        item.bid.expiry_s = now_s() + 3600;
        item.bid.volume_units = 10'000;
        item.bid.salt.data()[0] = salt;
        item.delegation.owner = buyer.address();
        item.delegation.delegate = delegate.address();
        item.delegation.scope = ledger::eth::kScopeVouchers;
        item.delegation.spend_cap_atoms = 500'000'000;
        item.delegation.expiry_s = now_s() + 3600;
        const auto domain = deployment.leases_domain();
        const Signature ask = provider.sign(digest(domain, item.ask));
        const Signature bid = buyer.sign(digest(domain, item.bid));
        const Signature delegation = buyer.sign(digest(domain, item.delegation));
        item.ask_signature = bytes_of(ask);
        item.bid_signature = bytes_of(bid);
        item.delegation_signature = bytes_of(delegation);
        item.price_atoms = 1200;
        item.max_units = units;
        item.worker_key = worker.address();
        append(item.ask_signature, ledger::audit::PostedAsk{item.ask, ask});
        append(item.bid_signature,
               ledger::audit::PostedBid{item.bid, bid, item.delegation, delegation});
        return item;
    }

    [[nodiscard]] Parties parties() const {
        return {buyer.address(), provider.address(), delegate.address(), worker.address()};
    }

    /// `count` receipts of `steps` steps each, and the voucher over all of them.
    ClaimItem work(const Hash32& lease, std::uint64_t count, std::uint64_t steps) {
        ledger::log::CompactTree receipts;
        Receipt receipt;
        receipt.lease = lease;
        receipt.price_atoms = 1200;
        for (std::uint64_t i = 1; i <= count; ++i) {
            receipt.sequence = i;
            receipt.cumulative_units = i * steps;
            receipt.cumulative_amount_atoms = i * steps * 1200;
            const Signature signature = worker.sign(digest(deployment.leases_domain(), receipt));
            append(bytes_of(signature), ledger::audit::SignedReceipt{receipt, signature});
            receipt.previous = struct_hash(receipt);
            receipts.append_data(receipt.previous.span());
        }
        ClaimItem claim;
        claim.voucher = {lease, count, receipt.cumulative_units, receipt.cumulative_amount_atoms,
                         receipts.root()};
        claim.parties = parties();
        const Hash32 to_sign = digest(deployment.leases_domain(), claim.voucher);
        const Signature by_delegate = delegate.sign(to_sign);
        const Signature by_worker = worker.sign(to_sign);
        claim.buyer_signature = bytes_of(by_delegate);
        claim.worker_signature = bytes_of(by_worker);
        append(claim.buyer_signature,
               ledger::audit::SignedVoucher{claim.voucher, by_delegate, by_worker});
        return claim;
    }

    /// Anchors the log as it is; with the operator's signature when somebody else sends it.
    void anchor(const PrivateKey& sender) {
        const ledger::eth::TreeHead head{tree.size(), tree.root(), 1'000 + tree.size()};
        std::optional<Signature> signature;
        if (sender.address() != market_operator.address())
            signature = market_operator.sign(digest(deployment.log_domain(), head));
        send(sender, deployment.receipt_log,
             encode_anchor(anchored, head, signature,
                           tree.consistency_proof(anchored.size, tree.size()).value()));
        anchored = head;
    }
};

}  // namespace tests
