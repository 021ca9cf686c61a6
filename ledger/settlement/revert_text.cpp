// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/eth/abi.hpp"
#include "ledger/settlement/leases_abi.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ledger::settlement {

namespace {

using Selector = std::array<std::uint8_t, 4>;

/// Custom errors of contracts/src and of the OpenZeppelin contracts below them.
constexpr std::string_view kErrors[] = {
    // Leases: opening
    "NotMatcher(address,address)",
    "UnknownUnitKind(uint8)",
    "UnitKindMismatch(uint8,uint8)",
    "ClassMismatch(uint8,uint8)",
    "PriceOutsideLimits(uint64,uint64,uint64)",
    "UnitsOutsideLimits(uint64,uint64,uint64)",
    "OrderNotYetValid(bytes32,uint64)",
    "OrderExpired(bytes32,uint64)",
    "DeadlinePassed(uint64)",
    "DeadlineTooFar(uint64)",
    "UnitsFell(uint64,uint64)",
    "TokenTookFee(uint256,uint256)",
    "TokenDecimalsTooFew(uint8)",
    "SafeCastOverflowedUintDowncast(uint8,uint256)",
    "InvalidAccountNonce(address,uint256)",
    "AmountAboveMaximum(uint256,uint64)",
    "LeaseTooLarge(uint64,uint256)",
    "DelegationNotByBuyer(address,address)",
    "DelegationExpired(uint64)",
    "DelegationLacksScope(uint8,uint8)",
    "DelegationRevoked(uint64,uint64)",
    "DelegationCapExceeded(uint64,uint64,uint64)",
    "WorkerNotActive(address,address)",
    "LeaseExists(bytes32)",
    "AskVolumeExceeded(uint64,uint64)",
    "BidVolumeExceeded(uint64,uint64)",
    "InsufficientFree(uint64,uint64)",
    "OrderIsCancelled(bytes32)",
    // Leases: cancelling
    "NotOrderOwner(address,address)",
    // Leases: claiming and closing
    "UnknownLease(bytes32,bytes32)",
    "LeaseIsClosed(bytes32)",
    "UnitsAboveLease(uint64,uint64)",
    "AmountAboveLock(uint64,uint64)",
    "AmountAbovePrice(uint64,uint64)",
    "BadSignature(address,bytes32)",
    "UnknownReason(uint8)",
    "NotAParty(address)",
    "AlreadyClosing(bytes32,uint64)",
    "KeyMissing(bytes32)",
    "MalformedBatch(uint256)",
    "TooEarly(uint64,uint64)",
    "TooLate(uint64,uint64)",
    "ObjectedBefore(bytes32)",
    "NotClaimedAlone(bytes32,bytes32)",
    "WrongContract(address,address)",
    // Escrow
    "ZeroAddress()",
    "ZeroAmount()",
    "NotLeases(address)",
    "NothingToWithdraw()",
    // Providers
    "AlreadyRegistered(address)",
    "NotRegistered(address)",
    "BondTooSmall(uint64,uint64)",
    "WorkerKeyTaken(address,address)",
    "WorkerKeyUnknown(address)",
    "BadWorkerProof(address)",
    "InsufficientBond(uint64,uint64)",
    "NothingToUnbond()",
    "NotSlasher(address)",
    "NothingOwed(address)",
    // Disputes
    "OtherLease(bytes32,bytes32,bytes32)",
    "OtherSequence(uint64,uint64)",
    "SameReceipt(bytes32)",
    "AlreadyProven(bytes32,uint64)",
    // ReceiptLog and Treasury
    "NotNewer(uint64,uint64)",
    "TimeWentBack(uint64,uint64)",
    "NotAnExtension(uint64,uint64)",
    "NotLatest(bytes32,bytes32)",
    "FeeAboveCap(uint16,uint16)",
    // Permit2 and x402's proxy
    "SignatureExpired(uint256)",
    "InvalidAmount(uint256)",
    "InvalidNonce()",
    "InvalidSignature()",
    "InvalidSigner()",
    "InvalidContractSignature()",
    "UnauthorizedFacilitator()",
    "AmountExceedsPermitted()",
    "PaymentTooEarly()",
    // OpenZeppelin
    "ERC20InsufficientBalance(address,uint256,uint256)",
    "ERC20InsufficientAllowance(address,uint256,uint256)",
    "ERC20InvalidReceiver(address)",
    "ERC2612ExpiredSignature(uint256)",
    "ERC2612InvalidSigner(address,address)",
    "OwnableUnauthorizedAccount(address)",
    "ReentrancyGuardReentrantCall()",
    "SafeERC20FailedOperation(address)",
    "Panic(uint256)",
};

const std::map<Selector, std::string_view>& known_errors() {
    static const std::map<Selector, std::string_view> table = [] {
        std::map<Selector, std::string_view> out;
        for (const std::string_view signature : kErrors)
            out.emplace(eth::abi::selector(signature), signature);
        return out;
    }();
    return table;
}

std::string word_text(std::string_view type, const eth::abi::Decoder& data, std::size_t slot) {
    if (type == "address") {
        const auto value = data.address(slot);
        return value ? base::to_hex(*value) : "?";
    }
    if (type == "bytes32") {
        const auto value = data.word(slot);
        return value ? base::to_hex(*value) : "?";
    }
    const auto value = data.uint(slot);
    return value ? eth::to_decimal(*value) : "?";
}

std::string render(std::string_view signature, base::ByteView arguments) {
    const eth::abi::Decoder data(arguments);
    const std::size_t open = signature.find('(');
    std::string out(signature.substr(0, open + 1));
    std::string_view types = signature.substr(open + 1, signature.size() - open - 2);
    for (std::size_t slot = 0; !types.empty(); ++slot) {
        const std::size_t comma = std::min(types.find(','), types.size());
        if (slot > 0) out += ", ";
        out += word_text(types.substr(0, comma), data, slot);
        types.remove_prefix(std::min(comma + 1, types.size()));
    }
    return out + ")";
}

/// Error(string): the text, printable signs only.
std::string reason_text(base::ByteView arguments) {
    const auto text = eth::abi::Decoder(arguments).bytes(0);
    if (!text) return "Error(?)";
    std::string out(base::as_text(text->first(std::min<std::size_t>(text->size(), 200))));
    std::replace_if(
        out.begin(), out.end(), [](unsigned char c) { return c < 0x20 || c >= 0x7f; }, '?');
    return out;
}

}  // namespace

std::string explain_revert(base::ByteView data) {
    if (data.size() < 4) return data.empty() ? "no reason given" : base::to_hex(data);
    const Selector selector = {data[0], data[1], data[2], data[3]};
    if (selector == eth::abi::selector("Error(string)")) return reason_text(data.subspan(4));
    const auto found = known_errors().find(selector);
    if (found == known_errors().end())
        return base::to_hex(data.first(std::min<std::size_t>(data.size(), 68)));
    return render(found->second, data.subspan(4));
}

std::string explain_revert(const base::Error& error) {
    const auto data = rpc::revert_data_in(error);
    return data ? explain_revert(*data) : error.detail();
}

}  // namespace ledger::settlement
