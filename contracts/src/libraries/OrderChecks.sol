// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILeases, LeaseKey, OpenItem, Parties} from "../interfaces/ILeases.sol";
import {Ask, Bid, Units} from "./Messages.sol";

/// @title What can be said of two orders without looking at the chain's state
/// @notice Checks answer with the ABI-encoded custom error, or with nothing when all is well, so
/// that one bad item of a batch does not stop the others.
library OrderChecks {
    uint8 internal constant CLASSES = 4;
    uint8 internal constant INTERRUPTIBLE = 1;
    uint8 internal constant SCOPE_VOUCHERS = 2;

    /// @dev In this order: who, what, how much, when, what it costs.
    function refusal(Ask calldata ask, OpenItem calldata item, LeaseKey memory key, uint256 amount)
        internal
        view
        returns (bytes memory reason)
    {
        reason = _who(ask, item.bid);
        if (reason.length != 0) return reason;
        reason = _what(ask, item.bid);
        if (reason.length != 0) return reason;
        reason = _howMuch(ask, item);
        if (reason.length != 0) return reason;
        reason = _when(ask, item.bid, key);
        if (reason.length != 0) return reason;
        if (amount > item.bid.maxAmount) {
            return
                abi.encodeWithSelector(
                    ILeases.AmountAboveMaximum.selector, amount, item.bid.maxAmount
                );
        }
    }

    function _who(Ask calldata ask, Bid calldata bid) private view returns (bytes memory none) {
        address matcher = ask.matcher;
        if (matcher != address(0) && matcher != msg.sender) {
            return abi.encodeWithSelector(ILeases.NotMatcher.selector, matcher, msg.sender);
        }
        matcher = bid.matcher;
        if (matcher != address(0) && matcher != msg.sender) {
            return abi.encodeWithSelector(ILeases.NotMatcher.selector, matcher, msg.sender);
        }
    }

    /// @dev An interruptible ask may be cut off, so only a bid that agreed to it can be paired with
    /// it. Which other classes go together is the market's business.
    function _what(Ask calldata ask, Bid calldata bid) private pure returns (bytes memory none) {
        uint8 kind = ask.unitKind;
        if (kind >= Units.KINDS) {
            return abi.encodeWithSelector(ILeases.UnknownUnitKind.selector, kind);
        }
        if (kind != bid.unitKind) {
            return abi.encodeWithSelector(ILeases.UnitKindMismatch.selector, kind, bid.unitKind);
        }
        (uint8 offered, uint8 wanted) = (ask.orderClass, bid.orderClass);
        bool known = offered < CLASSES && wanted < CLASSES;
        if (!known || (offered == INTERRUPTIBLE && wanted != INTERRUPTIBLE)) {
            return abi.encodeWithSelector(ILeases.ClassMismatch.selector, offered, wanted);
        }
    }

    function _howMuch(Ask calldata ask, OpenItem calldata item)
        private
        pure
        returns (bytes memory none)
    {
        uint64 price = item.price;
        if (price < ask.price || price > item.bid.priceCeiling) {
            return abi.encodeWithSelector(
                ILeases.PriceOutsideLimits.selector, price, ask.price, item.bid.priceCeiling
            );
        }
        uint64 units = item.maxUnits;
        if (units < ask.minUnits || units > ask.maxUnits || units == 0) {
            return abi.encodeWithSelector(
                ILeases.UnitsOutsideLimits.selector, units, ask.minUnits, ask.maxUnits
            );
        }
    }

    function _when(Ask calldata ask, Bid calldata bid, LeaseKey memory key)
        private
        view
        returns (bytes memory none)
    {
        uint256 nowAt = block.timestamp;
        if (nowAt < ask.earliest) {
            return
                abi.encodeWithSelector(ILeases.OrderNotYetValid.selector, key.askHash, ask.earliest);
        }
        if (nowAt < bid.earliest) {
            return
                abi.encodeWithSelector(ILeases.OrderNotYetValid.selector, key.bidHash, bid.earliest);
        }
        if (nowAt > ask.expiry) {
            return abi.encodeWithSelector(ILeases.OrderExpired.selector, key.askHash, ask.expiry);
        }
        if (nowAt > bid.expiry) {
            return abi.encodeWithSelector(ILeases.OrderExpired.selector, key.bidHash, bid.expiry);
        }
        uint64 deadline = bid.deadline;
        if (nowAt >= deadline) {
            return abi.encodeWithSelector(ILeases.DeadlinePassed.selector, deadline);
        }
        if (deadline > type(uint40).max) {
            return abi.encodeWithSelector(ILeases.DeadlineTooFar.selector, deadline);
        }
    }

    /// @notice Who the lease of two orders is between, into memory that is there already.
    function fillParties(Parties memory parties, Ask calldata ask, OpenItem calldata item)
        internal
        pure
    {
        parties.buyer = item.bid.buyer;
        parties.provider = ask.provider;
        bool delegated = item.delegation.scope & SCOPE_VOUCHERS != 0;
        parties.voucherSigner = delegated ? item.delegation.delegate : parties.buyer;
        parties.workerKey = item.workerKey;
    }
}
