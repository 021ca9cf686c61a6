// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/support/fake_chain.hpp"

#include <functional>
#include <memory>

namespace tests::support {

/// A node of a chain that it shares with others: dead, behind, of another chain, or a liar.
class ChainView final : public ledger::rpc::Chain {
 public:
    explicit ChainView(FakeChain& chain) : id(chain.id), chain_(chain) {}

    std::optional<Error> dead;      ///< every question ends like this
    std::uint64_t lag = 0;          ///< blocks it has not seen yet
    std::optional<Hash32> foreign;  ///< hash of its blocks: it follows another fork
    std::function<void(std::optional<ledger::rpc::TransactionReceipt>&)> forge_receipt;
    std::function<void(std::vector<ledger::rpc::LogEntry>&)> forge_logs;
    std::optional<Error> refuses_sends;
    std::uint64_t id;
    int asked = 0;

    Result<std::uint64_t> chain_id() override { return ask(Result<std::uint64_t>(id)); }
    Result<std::uint64_t> block_number() override { return ask(Result<std::uint64_t>(head())); }
    Result<ledger::rpc::BlockHead> block(ledger::rpc::BlockTag tag) override {
        const bool named = tag.name() != ledger::rpc::BlockTag::Name::kNumber;
        const std::uint64_t number = named ? head() : tag.value();
        auto found = number > head() ? ledger::base::fail(ErrorCode::not_found)
                                     : chain_.block(ledger::rpc::BlockTag::number(number));
        if (found && foreign) found->hash = *foreign;
        return ask(std::move(found));
    }
    Result<U256> balance(const Address& account, ledger::rpc::BlockTag at) override {
        return ask(chain_.balance(account, at));
    }
    Result<std::uint64_t> nonce(const Address& account, ledger::rpc::BlockTag at) override {
        return ask(chain_.nonce(account, at));
    }
    Result<Bytes> code(const Address& account, ledger::rpc::BlockTag at) override {
        return ask(chain_.code(account, at));
    }
    Result<Bytes> call(const ledger::rpc::CallRequest& request, ledger::rpc::BlockTag at) override {
        return ask(chain_.call(request, at));
    }
    Result<std::uint64_t> estimate_gas(const ledger::rpc::CallRequest& request) override {
        return ask(chain_.estimate_gas(request));
    }
    Result<ledger::rpc::FeeSuggestion> suggest_fees() override {
        return ask(chain_.suggest_fees());
    }
    Result<Hash32> send_raw(ledger::base::ByteView raw) override {
        if (refuses_sends) return ask(Result<Hash32>(tl::make_unexpected(*refuses_sends)));
        return dead ? ask(Result<Hash32>()) : ask(chain_.send_raw(raw));
    }
    Result<std::optional<ledger::rpc::TransactionReceipt>> receipt(const Hash32& hash) override {
        auto found = chain_.receipt(hash);
        if (found && *found && (*found)->block_number > head()) found->reset();
        if (found && forge_receipt) forge_receipt(*found);
        return ask(std::move(found));
    }
    Result<std::vector<ledger::rpc::LogEntry>> logs(const ledger::rpc::LogFilter& filter) override {
        ledger::rpc::LogFilter seen = filter;
        seen.to_block = std::min(seen.to_block, head());  // as nodes do
        auto found = chain_.logs(seen);
        if (found && forge_logs) forge_logs(*found);
        return ask(std::move(found));
    }

 private:
    [[nodiscard]] std::uint64_t head() const { return *chain_.block_number() - lag; }
    template <typename T>
    Result<T> ask(Result<T> answer) {
        ++asked;
        if (dead) return tl::make_unexpected(*dead);
        return answer;
    }
    FakeChain& chain_;
};

}  // namespace tests::support
