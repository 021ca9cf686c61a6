// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {
    FinalItem,
    ILeases,
    LeaseKey,
    LoneItem,
    ObjectionItem,
    Parties
} from "./interfaces/ILeases.sol";
import {LeaseBook} from "./LeaseBook.sol";
import {LeaseSlot} from "./libraries/LeaseSlot.sol";
import {Messages, Objection, Receipt, Voucher} from "./libraries/Messages.sol";
import {PackedClaims} from "./libraries/PackedClaims.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {VoucherChecks} from "./libraries/VoucherChecks.sol";

/// @title Claims by the worker's receipt alone, for a buyer's side that signs no more
/// @notice The part of {Leases} that pays them when a window has passed without an objection.
abstract contract LoneClaims is LeaseBook {
    using LeaseSlot for uint256;
    using Messages for Receipt;
    using PackedClaims for LeaseKey;

    /// @dev The totals of the receipt that waits; each fits 48 bits, as it was checked.
    struct LoneClaim {
        bytes32 receipt;
        uint64 sequence;
        uint64 units;
        uint64 amount;
    }

    mapping(bytes32 lease => LoneClaim) private _lone;

    /// @inheritdoc ILeases
    function claimAlone(LoneItem[] calldata items) external nonReentrant {
        for (uint256 i = 0; i < items.length; ++i) {
            bytes32 lease = items[i].receipt.lease;
            bytes memory reason = _claimAlone(items[i], lease);
            if (reason.length != 0) emit ItemFailed(lease, i, reason);
        }
    }

    /// @dev Order: existence, permission, state, totals, signature, then effects.
    function _claimAlone(LoneItem calldata item, bytes32 lease)
        private
        returns (bytes memory reason)
    {
        Slot storage place;
        (place, reason) = _alive(lease, item.parties);
        if (reason.length != 0) return reason;
        if (msg.sender != item.parties.provider && msg.sender != item.parties.workerKey) {
            return abi.encodeWithSelector(NotAParty.selector, msg.sender);
        }
        uint256 slot = place.word;
        Ending storage ending = _endings[lease];
        if (ending.isObjected) return abi.encodeWithSelector(ObjectedBefore.selector, lease);
        uint64 until = _finalSince(slot, ending);
        if (block.timestamp >= until) {
            return abi.encodeWithSelector(TooLate.selector, block.timestamp, until);
        }
        LoneClaim memory next = LoneClaim(
            item.receipt.hash(),
            item.receipt.sequence,
            item.receipt.cumulativeUnits,
            item.receipt.cumulativeAmount
        );
        if (next.amount <= slot.paid()) return reason;
        if (ending.loneAt != 0 && next.amount <= _lone[lease].amount) return reason;
        reason = VoucherChecks.refusal(_voucherOf(lease, next), slot, true);
        if (reason.length != 0) return reason;
        bytes32 digest = MessageHashUtils.toTypedDataHash(_domainSeparatorV4(), next.receipt);
        if (!Signatures.isValid(item.parties.workerKey, digest, item.signature)) {
            return abi.encodeWithSelector(BadSignature.selector, item.parties.workerKey, digest);
        }
        ending.loneAt = uint40(block.timestamp + closeWindow);
        _lone[lease] = next;
        emit ClaimedAlone(lease, next.receipt, next.units, next.amount, ending.loneAt);
    }

    /// @inheritdoc ILeases
    function objectTo(ObjectionItem[] calldata items) external nonReentrant {
        for (uint256 i = 0; i < items.length; ++i) {
            bytes memory reason = _objectTo(items[i]);
            if (reason.length != 0) emit ItemFailed(items[i].objection.lease, i, reason);
        }
    }

    /// @dev In the order of {_claimAlone}.
    function _objectTo(ObjectionItem calldata item) private returns (bytes memory reason) {
        Objection calldata objection = item.objection;
        bytes32 lease = objection.lease;
        (, reason) = _alive(lease, item.parties);
        if (reason.length != 0) return reason;
        Ending storage ending = _endings[lease];
        uint64 until = ending.loneAt;
        bytes32 receipt = _lone[lease].receipt;
        if (until == 0 || objection.receipt != receipt) {
            return abi.encodeWithSelector(NotClaimedAlone.selector, lease, objection.receipt);
        }
        if (block.timestamp >= until) {
            return abi.encodeWithSelector(TooLate.selector, block.timestamp, until);
        }
        bytes32 digest =
            MessageHashUtils.toTypedDataHash(_domainSeparatorV4(), Messages.hash(objection));
        (address signer, address buyer) = (item.parties.voucherSigner, item.parties.buyer);
        if (!Signatures.isValidOfEither(buyer, signer, digest, item.signature)) {
            return abi.encodeWithSelector(BadSignature.selector, signer, digest);
        }
        ending.isObjected = true;
        ending.loneAt = 0;
        delete _lone[lease];
        emit Objected(lease, receipt);
    }

    /// @inheritdoc ILeases
    function payAlone(FinalItem[] calldata items) external nonReentrant {
        uint64 fees = 0;
        for (uint256 i = 0; i < items.length; ++i) {
            LeaseKey memory key = items[i].key;
            bytes32 lease = key.idOf();
            (uint64 fee, bytes memory reason) = _payAlone(key, items[i].parties, lease);
            if (reason.length != 0) emit ItemFailed(lease, i, reason);
            fees += fee;
        }
        if (fees != 0) escrow.credit(address(treasury), fees);
    }

    function _payAlone(LeaseKey memory key, Parties memory parties, bytes32 lease)
        private
        returns (uint64 fee, bytes memory reason)
    {
        Slot storage place;
        (place, reason) = _alive(lease, parties);
        if (reason.length != 0) return (0, reason);
        uint64 since = _endings[lease].loneAt;
        if (since == 0) {
            return (0, abi.encodeWithSelector(NotClaimedAlone.selector, lease, bytes32(0)));
        }
        if (block.timestamp < since) {
            return (0, abi.encodeWithSelector(TooEarly.selector, block.timestamp, since));
        }
        return (_settleLone(place, parties, key, lease), reason);
    }

    /// @dev Pays a lone claim whose window is over. What vouchers have paid since comes off; when
    /// they have passed it there is nothing left to pay.
    /// @return fee for the treasury, when this closed the lease
    function _settleLone(
        Slot storage place,
        Parties memory parties,
        LeaseKey memory key,
        bytes32 lease
    ) internal returns (uint64 fee) {
        Voucher memory voucher = _voucherOf(lease, _lone[lease]);
        _endings[lease].loneAt = 0;
        delete _lone[lease];
        uint256 slot = place.word;
        if (voucher.cumulativeAmount <= slot.paid()) return 0;
        if (VoucherChecks.refusal(voucher, slot, true).length != 0) return 0;
        (uint256 next, uint64 earned) = _pay(place, slot, voucher);
        if (next.state() == LeaseSlot.CLOSED) fee = _complete(key, lease, parties, slot, next);
        escrow.credit(parties.provider, earned);
    }

    /// @dev Its root is the receipt's hash.
    function _voucherOf(bytes32 lease, LoneClaim memory lone)
        private
        pure
        returns (Voucher memory)
    {
        return Voucher(lease, lone.sequence, lone.units, lone.amount, lone.receipt);
    }

    /// @inheritdoc ILeases
    function loneClaim(bytes32 lease)
        external
        view
        returns (bytes32 receipt, uint64 units, uint64 amount, uint64 payableAt, bool isObjected)
    {
        LoneClaim memory lone = _lone[lease];
        Ending memory ending = _endings[lease];
        return (lone.receipt, lone.units, lone.amount, ending.loneAt, ending.isObjected);
    }
}
