// SPDX-License-Identifier: Apache-2.0
#include "ledger/eth/abi.hpp"
#include "ledger/eth/upto_permit.hpp"
#include "ledger/settlement/permit2_abi.hpp"
#include "tests/support/fake_chain.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>

namespace ledger::settlement {
namespace {

using base::Address;
using base::Bytes;
using base::ErrorCode;
using eth::kPermit2;
using eth::kUptoProxy;
using eth::abi::Encoder;

constexpr std::uint64_t kChain = 31337;

/// Permit2 and the proxy as they should be, until a test changes an answer.
struct Contracts {
    Contracts() {
        chain.contracts = {kPermit2, kUptoProxy};
        set(kPermit2, "DOMAIN_SEPARATOR()",
            Encoder().word(eth::permit2_separator(kChain, kPermit2)));
        set(kUptoProxy, "PERMIT2()", Encoder().address(kPermit2));
        set(kUptoProxy, "WITNESS_TYPEHASH()", Encoder().word(eth::upto_witness_type()));
        chain.view = [this](const rpc::CallRequest& request) {
            const auto found = answers.find({*request.to, request.data});
            return found == answers.end() ? Bytes() : found->second;
        };
    }
    void set(const Address& contract, const std::string& function, const Encoder& answer) {
        answers[{contract, eth::abi::encode_call(function, Encoder())}] = answer.finish();
    }
    std::string mismatch() {
        const auto checked = check_upto_contracts(chain, kPermit2, kUptoProxy, kChain);
        REQUIRE_FALSE(checked);
        REQUIRE(checked.error().code() == ErrorCode::chain_mismatch);
        return checked.error().detail();
    }
    tests::support::FakeChain chain;
    std::map<std::pair<Address, Bytes>, Bytes> answers;
};

}  // namespace

TEST_CASE("permit2: what does not stand there, or is another contract, is told apart") {
    Contracts both;
    CHECK(check_upto_contracts(both.chain, kPermit2, kUptoProxy, kChain));
    both.chain.contracts = {kUptoProxy};
    CHECK(both.mismatch() == "the chain has no Permit2");
    both.chain.contracts = {kPermit2};
    CHECK(both.mismatch() == "the chain has no proxy");
    both.chain.contracts = {kPermit2, kUptoProxy};
    both.set(kUptoProxy, "WITNESS_TYPEHASH()", Encoder().word(base::Hash32()));
    CHECK(both.mismatch() == "the proxy has payers sign something else");
    both.set(kUptoProxy, "PERMIT2()", Encoder().address(kUptoProxy));
    CHECK(both.mismatch() == "the proxy uses another Permit2");
    both.set(kPermit2, "DOMAIN_SEPARATOR()", Encoder().word(eth::permit2_separator(1, kPermit2)));
    CHECK(both.mismatch() == "Permit2 has another signing domain");
    both.chain.view = nullptr;  // every call is reverted
    CHECK(both.mismatch() == "the contract has no DOMAIN_SEPARATOR");
}

TEST_CASE("permit2: a node that does not answer says nothing about the contracts") {
    for (const std::string question : {"code", "call"}) {
        Contracts both;
        both.chain.fault = [question](std::string_view method) -> std::optional<base::Error> {
            if (method != question) return std::nullopt;
            return base::Error(ErrorCode::chain_unreachable);
        };
        const auto checked = check_upto_contracts(both.chain, kPermit2, kUptoProxy, kChain);
        REQUIRE_FALSE(checked);
        CHECK(checked.error().code() == ErrorCode::chain_unreachable);
    }
}

TEST_CASE("permit2: the bit of a nonce is the one that the contract sets") {
    tests::support::FakeChain chain;
    Address payer;
    payer.data()[19] = 7;
    // Bits 0, 9 and 255 of word 0x12 are used.
    Bytes word(32);
    word[31] = 1;
    word[30] = 2;
    word[0] = 0x80;
    chain.view = [&](const rpc::CallRequest& request) {
        Encoder arguments;
        arguments.address(payer).uint(std::uint64_t{0x12});
        CHECK(*request.to == kPermit2);
        if (request.data == eth::abi::encode_call("nonceBitmap(address,uint256)", arguments))
            return word;
        return Bytes(32);
    };
    for (unsigned bit = 0; bit < 256; ++bit) {
        const auto used = is_permit2_nonce_used(chain, kPermit2, payer, eth::U256(0x1200U + bit));
        REQUIRE(used);
        CHECK(*used == (bit == 0 || bit == 9 || bit == 255));
    }
    CHECK_FALSE(is_permit2_nonce_used(chain, kPermit2, payer, eth::U256(0x1300U)).value());
    chain.view = nullptr;
    CHECK(is_permit2_nonce_used(chain, kPermit2, payer, eth::U256(0U)).error().code() ==
          ErrorCode::chain_refused);
}

}  // namespace ledger::settlement
