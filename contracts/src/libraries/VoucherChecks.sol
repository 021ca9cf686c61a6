// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILeases} from "../interfaces/ILeases.sol";
import {LeaseSlot} from "./LeaseSlot.sol";
import {Voucher} from "./Messages.sol";

/// @title Whether a voucher's totals can be those of its lease
/// @notice Answers with the ABI-encoded custom error, or with nothing when all is well.
library VoucherChecks {
    using LeaseSlot for uint256;

    /// @param isNamed by its key, without which the claim of the last unit cannot close the lease
    /// @dev The price is not stored: locked / maxUnits is the price, and bounds every total.
    function refusal(Voucher memory voucher, uint256 slot, bool isNamed)
        internal
        pure
        returns (bytes memory none)
    {
        if (slot.state() == LeaseSlot.CLOSED) {
            return abi.encodeWithSelector(ILeases.LeaseIsClosed.selector, voucher.lease);
        }
        uint64 units = voucher.cumulativeUnits;
        uint64 maxUnits = slot.maxUnits();
        if (units > maxUnits) {
            return abi.encodeWithSelector(ILeases.UnitsAboveLease.selector, units, maxUnits);
        }
        if (units < slot.claimedUnits()) {
            return abi.encodeWithSelector(ILeases.UnitsFell.selector, units, slot.claimedUnits());
        }
        uint64 amount = voucher.cumulativeAmount;
        uint64 locked = slot.locked();
        if (amount > locked) {
            return abi.encodeWithSelector(ILeases.AmountAboveLock.selector, amount, locked);
        }
        uint256 most;
        unchecked {
            most = (uint256(units) * locked + maxUnits - 1) / maxUnits; // of 48 bits each, not zero
        }
        if (amount > most) {
            return abi.encodeWithSelector(ILeases.AmountAbovePrice.selector, amount, most);
        }
        if (units == maxUnits && !isNamed) {
            return abi.encodeWithSelector(ILeases.KeyMissing.selector, voucher.lease);
        }
    }
}
