// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILeases, OpenItem, Parties} from "../interfaces/ILeases.sol";
import {Ask, Bid, Units} from "./Messages.sol";

/// @title What can be said of two orders without looking at the chain's state
/// @notice Checks answer with the ABI-encoded custom error, or with nothing when all is well, so
/// that one bad item of a batch does not stop the others.
library OrderChecks {
    uint8 internal constant CLASSES = 4;
    uint8 internal constant INTERRUPTIBLE = 1;
    uint8 internal constant SCOPE_VOUCHERS = 2;

    /// @dev In this order: who, what, how much, when, what it costs.
    function refusal(OpenItem calldata item, bytes32 askHash, bytes32 bidHash, uint256 amount)
        internal
        view
        returns (bytes memory)
    {
        bytes memory reason = _who(item.ask, item.bid);
        if (reason.length != 0) return reason;
        reason = _what(item.ask, item.bid);
        if (reason.length != 0) return reason;
        reason = _howMuch(item);
        if (reason.length != 0) return reason;
        reason = _when(item.ask, item.bid, askHash, bidHash);
        if (reason.length != 0) return reason;
        if (amount > item.bid.maxAmount) {
            return
                abi.encodeWithSelector(
                    ILeases.AmountAboveMaximum.selector, amount, item.bid.maxAmount
                );
        }
        return "";
    }

    function _who(Ask calldata ask, Bid calldata bid) private view returns (bytes memory) {
        if (ask.matcher != address(0) && ask.matcher != msg.sender) {
            return abi.encodeWithSelector(ILeases.NotMatcher.selector, ask.matcher, msg.sender);
        }
        if (bid.matcher != address(0) && bid.matcher != msg.sender) {
            return abi.encodeWithSelector(ILeases.NotMatcher.selector, bid.matcher, msg.sender);
        }
        return "";
    }

    /// @dev An interruptible ask may be cut off, so only a bid that agreed to it can be paired with
    /// it. Which other classes go together is the market's business.
    function _what(Ask calldata ask, Bid calldata bid) private pure returns (bytes memory) {
        if (ask.unitKind >= Units.KINDS) {
            return abi.encodeWithSelector(ILeases.UnknownUnitKind.selector, ask.unitKind);
        }
        if (ask.unitKind != bid.unitKind) {
            return
                abi.encodeWithSelector(
                    ILeases.UnitKindMismatch.selector, ask.unitKind, bid.unitKind
                );
        }
        bool known = ask.orderClass < CLASSES && bid.orderClass < CLASSES;
        if (!known || (ask.orderClass == INTERRUPTIBLE && bid.orderClass != INTERRUPTIBLE)) {
            return
                abi.encodeWithSelector(
                    ILeases.ClassMismatch.selector, ask.orderClass, bid.orderClass
                );
        }
        return "";
    }

    function _howMuch(OpenItem calldata item) private pure returns (bytes memory) {
        if (item.price < item.ask.price || item.price > item.bid.priceCeiling) {
            return abi.encodeWithSelector(
                ILeases.PriceOutsideLimits.selector,
                item.price,
                item.ask.price,
                item.bid.priceCeiling
            );
        }
        bool inside = item.maxUnits >= item.ask.minUnits && item.maxUnits <= item.ask.maxUnits;
        if (!inside || item.maxUnits == 0) {
            return abi.encodeWithSelector(
                ILeases.UnitsOutsideLimits.selector,
                item.maxUnits,
                item.ask.minUnits,
                item.ask.maxUnits
            );
        }
        return "";
    }

    function _when(Ask calldata ask, Bid calldata bid, bytes32 askHash, bytes32 bidHash)
        private
        view
        returns (bytes memory)
    {
        uint256 nowAt = block.timestamp;
        if (nowAt < ask.earliest) {
            return abi.encodeWithSelector(ILeases.OrderNotYetValid.selector, askHash, ask.earliest);
        }
        if (nowAt < bid.earliest) {
            return abi.encodeWithSelector(ILeases.OrderNotYetValid.selector, bidHash, bid.earliest);
        }
        if (nowAt > ask.expiry) {
            return abi.encodeWithSelector(ILeases.OrderExpired.selector, askHash, ask.expiry);
        }
        if (nowAt > bid.expiry) {
            return abi.encodeWithSelector(ILeases.OrderExpired.selector, bidHash, bid.expiry);
        }
        if (nowAt >= bid.deadline) {
            return abi.encodeWithSelector(ILeases.DeadlinePassed.selector, bid.deadline);
        }
        if (bid.deadline > type(uint40).max) {
            return abi.encodeWithSelector(ILeases.DeadlineTooFar.selector, bid.deadline);
        }
        return "";
    }

    /// @notice Who the lease of two orders is between.
    function partiesOf(OpenItem calldata item) internal pure returns (Parties memory) {
        bool delegated = item.delegation.scope & SCOPE_VOUCHERS != 0;
        return Parties({
            buyer: item.bid.buyer,
            provider: item.ask.provider,
            voucherSigner: delegated ? item.delegation.delegate : item.bid.buyer,
            workerKey: item.workerKey
        });
    }
}
