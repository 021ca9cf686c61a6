// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/crypto/keccak.hpp"
#include "ledger/eth/transaction.hpp"
#include "ledger/rpc/chain.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

namespace tests::support {

using ledger::base::Address;
using ledger::base::Bytes;
using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::Hash32;
using ledger::base::Result;
using ledger::eth::U256;

/// A chain of a hundred lines: nonces, a pool with the 10 % rule, blocks, reorganisations, faults.
class FakeChain final : public ledger::rpc::Chain {
 public:
    /// Asked before a method acts; an error is what the caller gets.
    std::function<std::optional<Error>(std::string_view method)> fault;
    /// Whether the answer of a send that worked is lost on its way.
    bool lose_send_answers = false;
    std::uint64_t id = 31337;
    U256 base_fee = 1'000'000'000;
    U256 tip = 1'000'000'000;
    std::uint64_t gas = 50'000;  ///< of every estimate
    /// Revert data with which estimates are refused; empty: they work.
    std::string estimate_refusal;
    std::vector<ledger::rpc::LogEntry> events;  ///< what `logs` draws from
    std::set<Address> contracts;                ///< where `code` finds some
    /// What `call` answers; without it every call is refused.
    std::function<Bytes(const ledger::rpc::CallRequest& request)> view;

    FakeChain() { add_block(); }

    /// Mines a block with every pooled transaction that can go.
    void mine() {
        add_block();
        bool moved = true;
        while (moved) {
            moved = false;
            for (auto place = pool_.begin(); place != pool_.end(); ++place) {
                const auto& transaction = place->second.transaction;
                if (place->first.second != nonces_[place->first.first] ||
                    transaction.max_fee_per_gas < base_fee)
                    continue;
                include(place->second);
                pool_.erase(place);
                moved = true;
                break;
            }
        }
    }
    enum class Undone : std::uint8_t { kDropped, kPooled };
    /// Replaces the last `depth` blocks by empty ones, and one more on top.
    void reorganise(std::size_t depth, Undone undone) {
        depth = std::min(depth, blocks_.size() - 1);
        for (std::size_t i = 0; i < depth; ++i) {
            for (const Hash32& hash : blocks_.back().transactions) {
                const auto& known = sent_.at(hash);
                --nonces_[known.sender];
                mined_.erase(hash);
                if (undone == Undone::kPooled)
                    pool_.insert_or_assign({known.sender, known.transaction.nonce}, known);
            }
            blocks_.pop_back();
        }
        ++fork_;
        for (std::size_t i = 0; i <= depth; ++i)
            add_block();
    }
    void drop_pool() { pool_.clear(); }
    /// Canonical transactions with this data.
    [[nodiscard]] std::size_t times_mined(const Bytes& data) const {
        std::size_t count = 0;
        for (const auto& [hash, block] : mined_)
            count += sent_.at(hash).transaction.data == data ? 1U : 0U;
        return count;
    }
    [[nodiscard]] std::size_t pooled() const { return pool_.size(); }
    /// Most a pooled transaction of this nonce pays.
    [[nodiscard]] std::optional<U256> pooled_fee(const Address& sender, std::uint64_t nonce) const {
        const auto found = pool_.find({sender, nonce});
        if (found == pool_.end()) return std::nullopt;
        return found->second.transaction.max_fee_per_gas;
    }

    Result<std::uint64_t> chain_id() override {
        if (auto e = failed("chain_id")) return tl::make_unexpected(*e);
        return id;
    }
    Result<std::uint64_t> block_number() override {
        if (auto e = failed("block_number")) return tl::make_unexpected(*e);
        return blocks_.size() - 1;
    }
    Result<ledger::rpc::BlockHead> block(ledger::rpc::BlockTag tag) override {
        if (auto e = failed("block")) return tl::make_unexpected(*e);
        const std::uint64_t number =
            tag.name() == ledger::rpc::BlockTag::Name::kNumber ? tag.value() : blocks_.size() - 1;
        if (number >= blocks_.size()) return ledger::base::fail(ErrorCode::not_found);
        return blocks_[number].head;
    }
    Result<U256> balance(const Address&, ledger::rpc::BlockTag) override { return U256(1) << 60; }
    Result<std::uint64_t> nonce(const Address& account, ledger::rpc::BlockTag) override {
        if (auto e = failed("nonce")) return tl::make_unexpected(*e);
        return nonces_[account];
    }
    Result<Bytes> code(const Address& account, ledger::rpc::BlockTag) override {
        if (auto e = failed("code")) return tl::make_unexpected(*e);
        return contracts.contains(account) ? Bytes{0xfe} : Bytes{};
    }
    Result<Bytes> call(const ledger::rpc::CallRequest& request, ledger::rpc::BlockTag) override {
        if (auto e = failed("call")) return tl::make_unexpected(*e);
        if (view) return view(request);
        return ledger::base::fail(ErrorCode::chain_refused, "reverted");
    }
    Result<std::uint64_t> estimate_gas(const ledger::rpc::CallRequest&) override {
        if (auto e = failed("estimate_gas")) return tl::make_unexpected(*e);
        if (!estimate_refusal.empty())
            return ledger::base::fail(ErrorCode::chain_refused, estimate_refusal);
        return gas;
    }
    Result<ledger::rpc::FeeSuggestion> suggest_fees() override {
        if (auto e = failed("suggest_fees")) return tl::make_unexpected(*e);
        return ledger::rpc::FeeSuggestion{base_fee, tip, base_fee * 2 + tip};
    }
    Result<Hash32> send_raw(ledger::base::ByteView raw) override {
        if (auto e = failed("send_raw")) return tl::make_unexpected(*e);
        const Hash32 hash = ledger::eth::transaction_hash(raw);
        if (const auto refusal = admit(raw, hash)) return tl::make_unexpected(*refusal);
        if (lose_send_answers) return ledger::base::fail(ErrorCode::timeout, "the answer was lost");
        return hash;
    }
    Result<std::optional<ledger::rpc::TransactionReceipt>> receipt(const Hash32& hash) override {
        if (auto e = failed("receipt")) return tl::make_unexpected(*e);
        const auto found = mined_.find(hash);
        if (found == mined_.end()) return std::nullopt;
        ledger::rpc::TransactionReceipt receipt;
        receipt.transaction_hash = hash;
        receipt.block_number = found->second;
        receipt.block_hash = blocks_[found->second].head.hash;
        receipt.succeeded = true;
        receipt.gas_used = 40'000;
        return receipt;
    }
    Result<std::vector<ledger::rpc::LogEntry>> logs(const ledger::rpc::LogFilter& f) override {
        if (auto e = failed("logs")) return tl::make_unexpected(*e);
        std::vector<ledger::rpc::LogEntry> out;
        for (auto entry : events) {
            if (entry.block_number < f.from_block || entry.block_number > f.to_block) continue;
            entry.block_hash = blocks_.at(entry.block_number).head.hash;
            out.push_back(std::move(entry));
        }
        return out;
    }

 private:
    struct Block {
        ledger::rpc::BlockHead head;
        std::vector<Hash32> transactions;
    };

    std::optional<Error> failed(std::string_view method) const {
        return fault ? fault(method) : std::nullopt;
    }
    void add_block() {
        Block block;
        block.head.number = blocks_.size();
        const std::string name =
            "block " + std::to_string(block.head.number) + " fork " + std::to_string(fork_);
        block.head.hash = ledger::crypto::keccak256(ledger::base::as_bytes(name));
        block.head.time_s = 1'000 + block.head.number;
        block.head.base_fee_per_gas = base_fee;
        blocks_.push_back(std::move(block));
    }
    void include(const ledger::eth::SignedTransaction& transaction) {
        const Hash32 hash = ledger::eth::transaction_hash(
            encode_signed(transaction.transaction, transaction.signature));
        blocks_.back().transactions.push_back(hash);
        mined_[hash] = blocks_.size() - 1;
        ++nonces_[transaction.sender];
    }
    std::optional<Error> admit(ledger::base::ByteView raw, const Hash32& hash) {
        auto known = sent_.find(hash);
        if (known == sent_.end())
            known = sent_.emplace(hash, ledger::eth::decode_signed(raw).value()).first;
        const auto& [transaction, signature, sender] = known->second;
        const Error refusal(ErrorCode::chain_refused, "refused");
        if (mined_.contains(hash) || transaction.nonce < nonces_[sender]) return refusal;
        const auto place = pool_.find({sender, transaction.nonce});
        if (place != pool_.end() && !(place->second.transaction == transaction)) {
            const auto& old = place->second.transaction;
            if (transaction.max_fee_per_gas * 10 < old.max_fee_per_gas * 11 ||
                transaction.max_priority_fee_per_gas * 10 < old.max_priority_fee_per_gas * 11)
                return refusal;
        }
        pool_.insert_or_assign({sender, transaction.nonce}, known->second);
        return std::nullopt;
    }

    std::vector<Block> blocks_;
    std::map<Address, std::uint64_t> nonces_;
    std::map<std::pair<Address, std::uint64_t>, ledger::eth::SignedTransaction> pool_;
    std::map<Hash32, ledger::eth::SignedTransaction> sent_;
    std::map<Hash32, std::uint64_t> mined_;
    std::uint64_t fork_ = 0;
};

}  // namespace tests::support
