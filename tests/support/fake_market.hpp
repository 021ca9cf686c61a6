// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/audit/log_source.hpp"
#include "ledger/base/checked.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/eth/abi.hpp"
#include "ledger/log/merkle_tree.hpp"
#include "ledger/rpc/chain.hpp"
#include "ledger/settlement/deployment.hpp"
#include "ledger/settlement/escrow_abi.hpp"
#include "ledger/settlement/leases_abi.hpp"

#include <algorithm>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tests::support {

/// Numbers of so many bytes in one word, from its high end.
[[nodiscard]] inline ledger::base::Hash32 packed(
    std::initializer_list<std::pair<std::uint64_t, std::size_t>> fields) {
    ledger::base::Hash32 word;
    std::size_t at = 0;
    for (const auto& [value, bytes] : fields)
        for (std::size_t i = bytes; i > 0; --i)
            word.data()[at++] = static_cast<std::uint8_t>(value >> (8 * (i - 1)));
    return word;
}

/// The public data of a market, made up whole: the chain's events and the log's items agree until a
/// test changes one. Each step is a transaction in a block of its own, a block an hour.
class FakeMarket final : public ledger::rpc::Chain {
 public:
    using Address = ledger::base::Address;
    using Bytes = ledger::base::Bytes;
    using Hash32 = ledger::base::Hash32;
    using U256 = ledger::eth::U256;
    using PrivateKey = ledger::crypto::PrivateKey;
    template <typename T>
    using Result = ledger::base::Result<T>;
    using Encoder = ledger::eth::abi::Encoder;
    using SignedReceipt = ledger::audit::SignedReceipt;

    struct Lease {
        ledger::settlement::LeaseOpened opened;
        ledger::eth::Receipt last;
        ledger::log::CompactTree receipts;
        std::uint64_t fee_atoms = 0;
        std::uint64_t claimed_atoms = 0;
    };

    ledger::settlement::Deployment deployment;
    PrivateKey buyer = key(1), provider = key(2), worker = key(3), delegate = key(4);
    std::vector<ledger::rpc::LogEntry> events;
    std::map<Address, ledger::settlement::EscrowAccount> accounts;
    U256 liabilities, held;
    Hash32 separator;

    FakeMarket() {
        deployment.chain_id = 31337;
        deployment.block = 1;
        deployment.fee_bps = 100;
        Address* const contracts[] = {&deployment.token, &deployment.escrow, &deployment.leases,
                                      &deployment.receipt_log, &deployment.treasury};
        for (std::uint8_t i = 0; i < 5; ++i)
            contracts[i]->data()[0] = static_cast<std::uint8_t>(0xc0 + i);
        separator = ledger::eth::domain_separator(deployment.leases_domain());
    }

    static PrivateKey key(std::uint8_t number) {
        Bytes secret(32);
        secret[31] = number;
        return std::move(*PrivateKey::from_bytes(secret));
    }

    // ---- what people do -------------------------------------------------------------------------

    void deposit(const Address& account, std::uint64_t atoms) {
        next();
        transfer(account, deployment.escrow, atoms);
        entry("Deposited", account, atoms);
        accounts[account].free_atoms += atoms;
        liabilities += atoms;
    }
    void request_withdraw(const Address& account, std::uint64_t atoms) {
        next();
        emit(deployment.escrow, "WithdrawRequested(address,uint64,uint64)", {word(account)},
             Encoder().uint(atoms).uint(std::uint64_t{5}));
        accounts[account].free_atoms -= atoms;
        accounts[account].withdrawing_atoms += atoms;
    }
    void cancel_withdraw(const Address& account) {
        next();
        auto& balance = accounts[account];
        entry("WithdrawCancelled", account, balance.withdrawing_atoms);
        balance.free_atoms += std::exchange(balance.withdrawing_atoms, 0U);
    }
    void withdraw(const Address& account) {
        next();
        pay_out("Withdrawn", account, std::exchange(accounts[account].withdrawing_atoms, 0U));
    }
    void sweep(const Address& account) {
        next();
        pay_out("Swept", account, std::exchange(accounts[account].credit_atoms, 0U));
    }

    /// The orders of a lease for `units` training steps, and the lease opened under them.
    std::pair<ledger::audit::PostedAsk, ledger::audit::PostedBid> make_orders(
        std::uint64_t number, std::uint64_t price_atoms, std::uint64_t units) const {
        ledger::audit::PostedAsk ask;
        ask.ask.provider = provider.address();
        ask.ask.price_atoms = price_atoms;
        ask.ask.min_units = 1;
        ask.ask.max_units = units;
        ask.ask.volume_units = units;
        ask.ask.salt = number_hash(number);
        ask.signature = sign(provider, struct_hash(ask.ask));
        ledger::audit::PostedBid bid;
        bid.bid.buyer = buyer.address();
        bid.bid.price_ceiling_atoms = price_atoms;
        bid.bid.max_amount_atoms = price_atoms * units;
        bid.bid.volume_units = units;
        bid.bid.salt = number_hash(number);
        bid.signature = sign(buyer, struct_hash(bid.bid));
        return {ask, bid};
    }
    Lease open(const ledger::eth::Ask& ask, const ledger::eth::Bid& bid) {
        next();
        Lease lease;
        auto& o = lease.opened;
        o.ask_hash = struct_hash(ask);
        o.bid_hash = struct_hash(bid);
        o.lease = ledger::settlement::lease_id({o.ask_hash, o.bid_hash, 0});
        o.buyer = bid.buyer;
        o.provider = ask.provider;
        o.voucher_signer = delegate.address();
        o.worker_key = worker.address();
        o.price_atoms = ask.price_atoms;
        o.max_units = ask.max_units;
        o.locked_atoms = o.price_atoms * o.max_units;
        lease.last.lease = o.lease;
        lease.last.price_atoms = o.price_atoms;
        entry("Locked", o.buyer, o.locked_atoms);
        emit(deployment.leases,
             "LeaseOpened(bytes32,address,address,bytes32,bytes32,address,address,uint256)",
             {o.lease, word(o.buyer), word(o.provider)},
             Encoder()
                 .word(o.ask_hash)
                 .word(o.bid_hash)
                 .address(o.voucher_signer)
                 .address(o.worker_key)
                 .word(packed({{3, 5},
                               {o.price_atoms, 8},
                               {o.max_units, 6},
                               {o.locked_atoms, 6},
                               {9, 5},
                               {deployment.fee_bps, 2}})));
        accounts[o.buyer].free_atoms -= o.locked_atoms;
        accounts[o.buyer].locked_atoms += o.locked_atoms;
        return lease;
    }
    /// The lease's next receipts, of one unit each. Different leases on different threads.
    std::vector<SignedReceipt> work(Lease& lease, std::uint64_t count) const {
        std::vector<SignedReceipt> out;
        for (std::uint64_t i = 0; i < count; ++i) {
            auto& receipt = lease.last;
            if (receipt.sequence > 0) receipt.previous = struct_hash(receipt);
            ++receipt.sequence;
            ++receipt.cumulative_units;
            receipt.cumulative_amount_atoms += receipt.price_atoms;
            const Hash32 hash = struct_hash(receipt);
            lease.receipts.append_data(hash.span());
            out.push_back({receipt, sign(worker, hash)});
        }
        return out;
    }
    ledger::audit::SignedVoucher make_voucher(const Lease& lease) const {
        ledger::audit::SignedVoucher out;
        out.voucher = {lease.opened.lease, lease.last.sequence, lease.last.cumulative_units,
                       lease.last.cumulative_amount_atoms, lease.receipts.root()};
        const Hash32 hash = struct_hash(out.voucher);
        out.buyer_signature = sign(delegate, hash);
        out.worker_signature = sign(worker, hash);
        return out;
    }
    /// The worker alone claims by its last receipt.
    void claim_alone(const Lease& lease, std::uint64_t payable_at_s) {
        next();
        emit(deployment.leases, "ClaimedAlone(bytes32,bytes32,uint64,uint64,uint64)",
             {lease.opened.lease},
             Encoder()
                 .word(struct_hash(lease.last))
                 .uint(lease.last.cumulative_units)
                 .uint(lease.last.cumulative_amount_atoms)
                 .uint(payable_at_s));
    }
    void object(const Lease& lease) {
        next();
        emit(deployment.leases, "Objected(bytes32,bytes32)", {lease.opened.lease},
             Encoder().word(struct_hash(lease.last)));
    }
    void claim(Lease& lease) { claim(lease, lease.receipts.root()); }
    /// `root`: the last receipt's hash when the worker alone is paid.
    void claim(Lease& lease, const Hash32& root) {
        next();
        const auto& last = lease.last;
        const std::uint64_t paid = last.cumulative_amount_atoms - lease.claimed_atoms;
        const std::uint64_t fee_now =
            *ledger::base::mul_div_down(last.cumulative_amount_atoms, deployment.fee_bps, 10'000);
        const std::uint64_t fee = fee_now - lease.fee_atoms;
        emit(deployment.leases, "Claimed(bytes32,bytes32,uint256)", {lease.opened.lease},
             Encoder().word(root).word(packed({{last.sequence, 8},
                                               {last.cumulative_units, 6},
                                               {last.cumulative_amount_atoms, 6},
                                               {paid, 6},
                                               {fee, 6}})));
        entry("Credited", lease.opened.provider, paid - fee);
        accounts[lease.opened.provider].credit_atoms += paid - fee;
        lease.claimed_atoms = last.cumulative_amount_atoms;
        lease.fee_atoms = fee_now;
    }
    void close(const Lease& lease) {
        next();
        const std::uint64_t refund = lease.opened.locked_atoms - lease.claimed_atoms;
        emit(deployment.leases, "LeaseClosed(bytes32,uint64,uint64,uint8)", {lease.opened.lease},
             Encoder().uint(lease.claimed_atoms).uint(refund).uint(std::uint64_t{1}));
        if (refund != 0) entry("Unlocked", lease.opened.buyer, refund);
        accounts[lease.opened.buyer].locked_atoms -= lease.opened.locked_atoms;
        accounts[lease.opened.buyer].free_atoms += refund;
        if (lease.fee_atoms == 0) return;
        entry("Credited", deployment.treasury, lease.fee_atoms);
        accounts[deployment.treasury].credit_atoms += lease.fee_atoms;
    }
    void anchor(std::uint64_t size, const Hash32& root) {
        next();
        emit(deployment.receipt_log, "Anchored(uint64,bytes32,uint64)", {number_hash(size)},
             Encoder().word(root).uint(block_));
    }
    void cancel(const Hash32& order, const Address& by) {
        next();
        emit(deployment.leases, "OrderCancelled(bytes32,address)", {order, word(by)}, Encoder());
    }
    [[nodiscard]] std::uint64_t newest() const { return block_; }

    // ---- the chain ------------------------------------------------------------------------------

    Result<std::uint64_t> chain_id() override { return deployment.chain_id; }
    Result<std::uint64_t> block_number() override { return block_; }
    Result<ledger::rpc::BlockHead> block(ledger::rpc::BlockTag tag) override {
        ledger::rpc::BlockHead head;
        head.number = tag.value();
        head.time_s = 1'790'000'000 + tag.value() * 3600;
        return head;
    }
    Result<U256> balance(const Address&, ledger::rpc::BlockTag) override { return U256(0); }
    Result<std::uint64_t> nonce(const Address&, ledger::rpc::BlockTag) override { return 0; }
    Result<Bytes> code(const Address&, ledger::rpc::BlockTag) override { return Bytes{}; }
    Result<Bytes> call(const ledger::rpc::CallRequest& request, ledger::rpc::BlockTag) override {
        const auto is = [&](std::string_view signature) {
            const auto selector = ledger::eth::abi::selector(signature);
            return std::equal(selector.begin(), selector.end(), request.data.begin());
        };
        const auto arguments = ledger::base::ByteView(request.data).subspan(4);
        if (is("scale()")) return Encoder().uint(std::uint64_t{1}).finish();
        if (is("liabilities()")) return Encoder().uint(liabilities).finish();
        if (is("balanceOf(address)")) return Encoder().uint(held).finish();
        if (is("accounts(address)")) {
            const auto& a = accounts[*ledger::eth::abi::Decoder(arguments).address(0)];
            Encoder out;
            out.uint(a.free_atoms).uint(a.locked_atoms).uint(a.credit_atoms);
            return out.uint(a.withdrawing_atoms).uint(a.withdrawable_at_s).finish();
        }
        return ledger::base::fail(ledger::base::ErrorCode::chain_refused, "reverted");
    }
    Result<std::uint64_t> estimate_gas(const ledger::rpc::CallRequest&) override { return 0; }
    Result<ledger::rpc::FeeSuggestion> suggest_fees() override {
        return ledger::rpc::FeeSuggestion{};
    }
    Result<Hash32> send_raw(ledger::base::ByteView) override { return Hash32(); }
    Result<std::optional<ledger::rpc::TransactionReceipt>> receipt(const Hash32&) override {
        return std::nullopt;
    }
    Result<std::vector<ledger::rpc::LogEntry>> logs(const ledger::rpc::LogFilter& filter) override {
        const auto any_of = [](const auto& wanted, const auto& found) {
            return wanted.empty() || std::find(wanted.begin(), wanted.end(), found) != wanted.end();
        };
        std::vector<ledger::rpc::LogEntry> out;
        for (const auto& event : events) {
            const auto topic = [&](std::size_t i) {
                return i < event.topics.size() ? event.topics[i] : Hash32();
            };
            if (event.block_number >= filter.from_block && event.block_number <= filter.to_block &&
                any_of(filter.addresses, event.address) && any_of(filter.topic0, topic(0)) &&
                any_of(filter.topic1, topic(1)) && any_of(filter.topic2, topic(2)))
                out.push_back(event);
        }
        return out;
    }

    static Hash32 number_hash(std::uint64_t number) {
        Hash32 out;
        for (std::size_t i = 0; i < 8; ++i)
            out.data()[31 - i] = static_cast<std::uint8_t>(number >> (8 * i));
        return out;
    }
    static Hash32 word(const Address& address) {
        Hash32 out;
        std::copy(address.begin(), address.end(), out.data() + 12);
        return out;
    }
    void emit(const Address& contract, std::string_view signature,
              const std::vector<Hash32>& indexed, const Encoder& data) {
        ledger::rpc::LogEntry event;
        event.address = contract;
        event.topics = {ledger::eth::abi::event_topic(signature)};
        event.topics.insert(event.topics.end(), indexed.begin(), indexed.end());
        event.data = data.finish();
        event.block_number = block_;
        event.transaction_hash = number_hash(0xa000 + block_);
        event.log_index = events.size();
        events.push_back(std::move(event));
    }
    /// Begins a new transaction.
    void next() { ++block_; }
    void transfer(const Address& from, const Address& to, std::uint64_t atoms) {
        emit(deployment.token, "Transfer(address,address,uint256)", {word(from), word(to)},
             Encoder().uint(atoms));
        if (to == deployment.escrow)
            held += atoms;
        else
            held -= atoms;
    }
    /// An event of escrow about an account and an amount.
    void entry(const std::string& name, const Address& account, std::uint64_t atoms) {
        emit(deployment.escrow, name + "(address,uint64)", {word(account)}, Encoder().uint(atoms));
    }

 private:
    [[nodiscard]] ledger::base::Signature sign(const PrivateKey& by, const Hash32& hash) const {
        return by.sign(ledger::eth::typed_digest(separator, hash));
    }
    void pay_out(const char* event, const Address& account, std::uint64_t atoms) {
        entry(event, account, atoms);
        transfer(deployment.escrow, account, atoms);
        liabilities -= atoms;
    }

    std::uint64_t block_ = 1;
};

}  // namespace tests::support
