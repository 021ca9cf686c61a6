// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";
import {ILeases, LeaseKey, Parties} from "./interfaces/ILeases.sol";
import {IProviders} from "./interfaces/IProviders.sol";
import {ITreasury} from "./interfaces/ITreasury.sol";
import {LeaseSlot} from "./libraries/LeaseSlot.sol";
import {Bid, Messages, Voucher} from "./libraries/Messages.sol";
import {PackedClaims} from "./libraries/PackedClaims.sol";

/// @title What there is of each lease and order, and how a lease is paid and ended
/// @notice The part of {Leases} that all its calls share.
abstract contract LeaseBook is ILeases, EIP712, Ownable2Step, ReentrancyGuardTransient {
    using LeaseSlot for uint256;
    using Messages for Bid;
    using PackedClaims for Parties;

    /// @dev So that a lease's word is found once and written through its place.
    struct Slot {
        uint256 word;
    }

    /// @dev Of a lease that is ended or whose name must not be used again though its bid has units
    /// left. `units`: claimed when its close was requested. `loneAt`: when a claim by the worker
    /// alone is due, which its buyer's side can object to until then, and once.
    struct Ending {
        bool isNameUsed;
        bool isObjected;
        uint8 reason;
        uint64 units;
        uint64 finalAt;
        uint40 loneAt;
    }

    uint8 internal constant REASON_COMPLETED = 1;
    /// @dev Of a word that counts units, which fill 64 bits at most: no lease opens under the order.
    uint256 internal constant CANCELLED = 1 << 255;

    IEscrow public immutable escrow;
    IProviders public immutable providers;
    ITreasury public immutable treasury;
    /// @inheritdoc ILeases
    uint64 public immutable closeWindow;

    /// @inheritdoc ILeases
    mapping(address owner => uint64) public delegationNonce;

    /// @dev Found by lease and parties: the parties need no word of their own.
    mapping(bytes32 lease => mapping(bytes32 partiesHash => Slot)) internal _slots;
    mapping(bytes32 lease => Ending) internal _endings;
    /// @dev Units out, and the mark of a cancelled ask, which so costs an opening no word of its own.
    mapping(bytes32 askHash => uint256) internal _askOutstanding;
    /// @dev One bit per bid that ever had a lease or was cancelled, found by its salt: the upper 248
    /// bits name the word, so that a buyer who counts salts upward shares it among 256 bids.
    mapping(address buyer => mapping(uint256 word => uint256)) internal _bidsUsed;
    /// @dev Units a bid has left after its first lease, and the mark of a cancelled bid; no word
    /// while there is neither.
    mapping(bytes32 bidHash => uint256) internal _bidLeft;
    mapping(address owner => mapping(address delegate => uint256)) internal _spent;

    constructor(
        IEscrow escrow_,
        IProviders providers_,
        ITreasury treasury_,
        address operator_,
        uint64 closeWindow_
    ) EIP712("Millrace", "1") Ownable(operator_) {
        if (escrow_.leases() != address(this)) {
            revert WrongContract(address(this), escrow_.leases());
        }
        escrow = escrow_;
        providers = providers_;
        treasury = treasury_;
        closeWindow = closeWindow_;
    }

    // ── paying and ending ───────────────────────────────────────────────────────────────────────

    /// @dev The place of a lease that is open or closing.
    function _alive(bytes32 lease, Parties memory parties)
        internal
        view
        returns (Slot storage place, bytes memory reason)
    {
        bytes32 partiesHash = parties.hashOf();
        place = _slots[lease][partiesHash];
        if (place.word == 0) {
            reason = abi.encodeWithSelector(UnknownLease.selector, lease, partiesHash);
        } else if (place.word.state() == LeaseSlot.CLOSED) {
            reason = abi.encodeWithSelector(LeaseIsClosed.selector, lease);
        }
    }

    /// @dev When a lease ends that nobody ends before: at a requested close's time, otherwise a
    /// window after its expiry.
    function _finalSince(uint256 slot, Ending storage ending) internal view returns (uint64) {
        bool isRequested = slot.state() == LeaseSlot.CLOSING;
        return isRequested ? ending.finalAt : slot.expiry() + closeWindow;
    }

    /// @dev Writes down and reports what a voucher, checked before, is paid beyond what was paid.
    /// @return next the lease after it; closed when no unit is left
    /// @return earned for the provider, less the fee
    function _pay(Slot storage place, uint256 slot, Voucher memory voucher)
        internal
        returns (uint256 next, uint64 earned)
    {
        uint64 paid = slot.paid();
        next = slot.withProgress(voucher.cumulativeAmount, voucher.cumulativeUnits);
        if (voucher.cumulativeUnits == slot.maxUnits()) next = next.withState(LeaseSlot.CLOSED);
        place.word = next;
        unchecked {
            earned = voucher.cumulativeAmount - paid; // more than nothing, as was checked
            uint64 fee = slot.feeOf(voucher.cumulativeAmount) - slot.feeOf(paid);
            emit Claimed(
                voucher.lease, voucher.receiptsRoot, next.totals(voucher.sequence, earned, fee)
            );
            earned -= fee; // of it
        }
    }

    /// @dev Ends a lease whose last unit was just paid.
    /// @param before the lease before that payment, open or closing
    function _complete(
        LeaseKey memory key,
        bytes32 lease,
        Parties memory parties,
        uint256 before,
        uint256 next
    ) internal returns (uint64 fee) {
        _releaseVolumes(key, lease, next.withState(before.state()));
        return _end(lease, parties, next, REASON_COMPLETED);
    }

    /// @dev The ask's units are free to be sold again; the bid gets back what was not claimed, so
    /// that a job can go on elsewhere while the close window of a lost worker runs. When it was
    /// given back before, at the request, units claimed since then come off again, as far as the
    /// bid has any left.
    /// @param slot the lease as it was while it was open or closing
    function _releaseVolumes(LeaseKey memory key, bytes32 lease, uint256 slot) internal {
        if (slot.state() == LeaseSlot.OPEN) {
            _askOutstanding[key.askHash] -= slot.maxUnits();
            uint256 unclaimed = slot.maxUnits() - slot.claimedUnits();
            if (unclaimed == 0) return;
            _bidLeft[key.bidHash] += unclaimed;
            _endings[lease].isNameUsed = true;
            return;
        }
        uint256 late = slot.claimedUnits() - _endings[lease].units;
        if (late == 0) return;
        uint256 left = uint64(_bidLeft[key.bidHash]);
        _bidLeft[key.bidHash] -= left < late ? left : late;
    }

    /// @dev What was not paid is free again.
    /// @return fee of all that was paid, for the treasury
    function _end(bytes32 lease, Parties memory parties, uint256 slot, uint8 reason)
        internal
        returns (uint64 fee)
    {
        uint64 locked = slot.locked();
        uint64 paid = slot.paid();
        uint64 refund = locked - paid;
        if (refund != 0 && parties.voucherSigner != parties.buyer) {
            _spent[parties.buyer][parties.voucherSigner] -= refund;
        }
        emit LeaseClosed(lease, paid, refund, reason);
        escrow.release(parties.buyer, locked, refund);
        return slot.feeOf(paid);
    }

    // ── views ───────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ILeases
    function leases(bytes32 lease, bytes32 partiesHash)
        external
        view
        returns (
            uint64 locked,
            uint64 paid,
            uint64 maxUnits,
            uint64 claimedUnits,
            uint64 expiry,
            uint8 state,
            bytes32 sameParties
        )
    {
        uint256 slot = _slots[lease][partiesHash].word;
        return (
            slot.locked(),
            slot.paid(),
            slot.maxUnits(),
            slot.claimedUnits(),
            slot.expiry(),
            slot.state(),
            slot == 0 ? bytes32(0) : partiesHash
        );
    }

    /// @inheritdoc ILeases
    function feeBpsOf(bytes32 lease, bytes32 partiesHash) external view returns (uint16) {
        return _slots[lease][partiesHash].word.feeBps();
    }

    /// @inheritdoc ILeases
    function finalAt(bytes32 lease) external view returns (uint64) {
        return _endings[lease].finalAt;
    }

    /// @inheritdoc ILeases
    function spentBy(address owner_, address delegate) external view returns (uint64) {
        return uint64(_spent[owner_][delegate]);
    }

    /// @inheritdoc ILeases
    function askOutstanding(bytes32 askHash) external view returns (uint64) {
        return uint64(_askOutstanding[askHash]);
    }

    /// @inheritdoc ILeases
    function bidLeft(Bid calldata bid) external view returns (uint64) {
        if (!_isBidUsed(bid)) return bid.volume;
        uint256 left = _bidLeft[bid.hash()];
        return left >= CANCELLED ? 0 : uint64(left);
    }

    /// @inheritdoc ILeases
    function isCancelled(bytes32 order) external view returns (bool) {
        return _askOutstanding[order] >= CANCELLED || _bidLeft[order] >= CANCELLED;
    }

    /// @inheritdoc ILeases
    function operator() external view returns (address) {
        return owner();
    }

    /// @inheritdoc ILeases
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    function _isBidUsed(Bid calldata bid) internal view returns (bool) {
        (uint256 word, uint256 bit) = _saltPlace(bid.salt);
        return _bidsUsed[bid.buyer][word] & bit != 0;
    }

    function _saltPlace(bytes32 salt) internal pure returns (uint256 word, uint256 bit) {
        return (uint256(salt) >> 8, 1 << (uint256(salt) & 0xff));
    }
}
