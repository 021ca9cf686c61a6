// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";
import {ClaimItem, ILeases, LeaseKey, OpenItem, Parties} from "./interfaces/ILeases.sol";
import {IProviders} from "./interfaces/IProviders.sol";
import {ITreasury} from "./interfaces/ITreasury.sol";
import {LeaseSlot} from "./libraries/LeaseSlot.sol";
import {Ask, Bid, Delegation, Messages, Units, Voucher} from "./libraries/Messages.sol";
import {OrderChecks} from "./libraries/OrderChecks.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {VoucherChecks} from "./libraries/VoucherChecks.sol";

/// @notice See {ILeases}.
/// @dev The owner is the market's operator. All it can do beyond what anybody can is to request a
/// close, after which the worker still has the whole close window to claim.
contract Leases is ILeases, EIP712, Ownable2Step, ReentrancyGuardTransient {
    using LeaseSlot for uint256;
    using Messages for Ask;
    using Messages for Bid;
    using Messages for Delegation;
    using Messages for Voucher;

    struct Closing {
        uint64 finalAt;
        uint64 units;
        uint8 reason;
        bytes32 bidHash;
    }

    /// @dev What holds for a whole batch of opens, and below it what holds for the item at hand. An
    /// ask that was verified and a worker that was found active once need not be looked at again:
    /// nothing can change them in between.
    struct Batch {
        bytes32 separator;
        uint256 fee;
        bytes32 verifiedAsk;
        address activeProvider;
        address activeWorker;
        bytes32 askHash;
        bytes32 bidHash;
        bytes32 lease;
        uint256 amount;
        address voucherSigner;
    }

    uint8 private constant SCOPE_ORDERS = 1;
    uint8 private constant REASON_EXPIRED = 5;
    uint8 private constant REASONS = 7;
    /// @dev Of a word that counts units, which fill 64 bits at most: no lease opens under the order.
    uint256 private constant CANCELLED = 1 << 255;

    IEscrow public immutable escrow;
    IProviders public immutable providers;
    ITreasury public immutable treasury;
    /// @inheritdoc ILeases
    uint64 public immutable closeWindow;

    /// @inheritdoc ILeases
    mapping(address owner => uint64) public delegationNonce;

    /// @dev By keccak(lease, parties hash): the parties need no word of their own.
    mapping(bytes32 slotKey => uint256) private _slots;
    mapping(bytes32 lease => Closing) private _closings;
    /// @dev Units out, and the mark of a cancelled ask, which so costs an opening no word of its own.
    mapping(bytes32 askHash => uint256) private _askOutstanding;
    /// @dev One bit per bid that ever had a lease or was cancelled, found by its salt: the upper 248
    /// bits name the word, so that a buyer who counts salts upward shares it among 256 bids.
    mapping(address buyer => mapping(uint256 word => uint256)) private _bidsUsed;
    /// @dev Units a bid has left after its first lease, and the mark of a cancelled bid; no word
    /// while there is neither.
    mapping(bytes32 bidHash => uint256) private _bidLeft;
    /// @dev Leases whose name could be asked for again because their bid has units left.
    mapping(bytes32 lease => bool) private _nameUsed;
    mapping(address owner => mapping(address delegate => uint256)) private _spent;

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

    // ── opening ─────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ILeases
    function open(OpenItem[] calldata items) external nonReentrant {
        Batch memory batch;
        batch.separator = _domainSeparatorV4();
        batch.fee = treasury.feeBps();
        for (uint256 i = 0; i < items.length; ++i) {
            OpenItem calldata item = items[i];
            batch.askHash = item.ask.hash();
            batch.bidHash = item.bid.hash();
            batch.lease = _leaseId(batch.askHash, batch.bidHash, item.index);
            bytes memory reason = _open(item, batch);
            if (reason.length != 0) emit ItemFailed(batch.lease, i, reason);
        }
    }

    /// @dev Order: the orders' own terms, signatures, state, funds, then effects.
    function _open(OpenItem calldata item, Batch memory batch)
        private
        returns (bytes memory reason)
    {
        uint256 amount = Units.amountFor(item.ask.unitKind, item.maxUnits, item.price);
        batch.amount = amount;
        reason = OrderChecks.refusal(item, batch.askHash, batch.bidHash, amount);
        if (reason.length != 0) return reason;
        if (item.maxUnits > LeaseSlot.MOST || amount > LeaseSlot.MOST) {
            return abi.encodeWithSelector(LeaseTooLarge.selector, item.maxUnits, amount);
        }
        reason = _checkSigned(item, batch);
        if (reason.length != 0) return reason;

        Parties memory parties = OrderChecks.partiesOf(item);
        bytes32 slotKey = _slotKey(batch.lease, keccak256(abi.encode(parties)));
        reason = _checkState(item, slotKey, batch);
        if (reason.length != 0) return reason;
        reason = _checkCap(item, amount);
        if (reason.length != 0) return reason;
        (bool done, uint64 free) = escrow.tryLock(item.bid.buyer, uint64(amount));
        if (!done) return abi.encodeWithSelector(InsufficientFree.selector, free, uint64(amount));

        _record(item, batch);
        _slots[slotKey] = LeaseSlot.pack(amount, item.maxUnits, item.bid.deadline, batch.fee);
        batch.voucherSigner = parties.voucherSigner;
        _emitOpened(item, batch);
    }

    /// @dev Two arguments: the plain compiler has no room for more beside those of the event.
    function _emitOpened(OpenItem calldata item, Batch memory batch) private {
        emit LeaseOpened(
            batch.lease,
            item.bid.buyer,
            item.ask.provider,
            batch.askHash,
            batch.bidHash,
            batch.voucherSigner,
            item.workerKey,
            item.ask.unitKind,
            item.price,
            item.maxUnits,
            uint64(batch.amount),
            item.bid.deadline
        );
    }

    /// @dev A delegation is present when it names a delegate; its own signature comes first.
    function _checkSigned(OpenItem calldata item, Batch memory batch)
        private
        view
        returns (bytes memory reason)
    {
        bytes32 digest;
        if (batch.askHash != batch.verifiedAsk) {
            digest = MessageHashUtils.toTypedDataHash(batch.separator, batch.askHash);
            if (!Signatures.isValid(item.ask.provider, digest, item.askSignature)) {
                return abi.encodeWithSelector(BadSignature.selector, item.ask.provider, digest);
            }
            batch.verifiedAsk = batch.askHash;
        }
        address delegate = address(0);
        if (item.delegation.delegate != address(0) || item.delegation.scope != 0) {
            reason = _checkDelegation(item, batch.separator);
            if (reason.length != 0) return reason;
            if (item.delegation.scope & SCOPE_ORDERS != 0) delegate = item.delegation.delegate;
        }
        digest = MessageHashUtils.toTypedDataHash(batch.separator, batch.bidHash);
        if (!Signatures.isValidOfEither(item.bid.buyer, delegate, digest, item.bidSignature)) {
            return abi.encodeWithSelector(BadSignature.selector, item.bid.buyer, digest);
        }
        return "";
    }

    function _checkDelegation(OpenItem calldata item, bytes32 separator)
        private
        view
        returns (bytes memory)
    {
        Delegation calldata delegation = item.delegation;
        if (delegation.owner != item.bid.buyer) {
            return
                abi.encodeWithSelector(
                    DelegationNotByBuyer.selector, delegation.owner, item.bid.buyer
                );
        }
        if (delegation.delegate == address(0)) {
            return abi.encodeWithSelector(DelegationLacksScope.selector, delegation.scope, 0);
        }
        if (block.timestamp > delegation.expiry) {
            return abi.encodeWithSelector(DelegationExpired.selector, delegation.expiry);
        }
        uint64 nonce = delegationNonce[delegation.owner];
        if (delegation.nonce != nonce) {
            return abi.encodeWithSelector(DelegationRevoked.selector, delegation.nonce, nonce);
        }
        bytes32 digest = MessageHashUtils.toTypedDataHash(separator, delegation.hash());
        if (!Signatures.isValid(delegation.owner, digest, item.delegationSignature)) {
            return abi.encodeWithSelector(BadSignature.selector, delegation.owner, digest);
        }
        return "";
    }

    function _checkState(OpenItem calldata item, bytes32 slotKey, Batch memory batch)
        private
        view
        returns (bytes memory)
    {
        if (_slots[slotKey] != 0) {
            return abi.encodeWithSelector(LeaseExists.selector, batch.lease);
        }
        address provider = item.ask.provider;
        if (item.workerKey != batch.activeWorker || provider != batch.activeProvider) {
            if (!providers.isActive(provider, item.workerKey)) {
                return abi.encodeWithSelector(WorkerNotActive.selector, provider, item.workerKey);
            }
            (batch.activeProvider, batch.activeWorker) = (provider, item.workerKey);
        }
        uint256 out = _askOutstanding[batch.askHash];
        if (out >= CANCELLED) {
            return abi.encodeWithSelector(OrderIsCancelled.selector, batch.askHash);
        }
        uint256 left = item.ask.volume > out ? item.ask.volume - out : 0;
        if (item.maxUnits > left) {
            return abi.encodeWithSelector(AskVolumeExceeded.selector, item.maxUnits, left);
        }
        if (!_isBidUsed(item.bid)) {
            left = item.bid.volume;
        } else {
            if (_nameUsed[batch.lease]) {
                return abi.encodeWithSelector(LeaseExists.selector, batch.lease);
            }
            left = _bidLeft[batch.bidHash];
            if (left >= CANCELLED) {
                return abi.encodeWithSelector(OrderIsCancelled.selector, batch.bidHash);
            }
        }
        if (item.maxUnits > left) {
            return abi.encodeWithSelector(BidVolumeExceeded.selector, item.maxUnits, left);
        }
        return "";
    }

    function _checkCap(OpenItem calldata item, uint256 amount) private view returns (bytes memory) {
        Delegation calldata delegation = item.delegation;
        if (delegation.delegate == address(0)) return "";
        uint256 spent = _spent[delegation.owner][delegation.delegate];
        if (spent + amount > delegation.spendCap) {
            return abi.encodeWithSelector(
                DelegationCapExceeded.selector, delegation.spendCap, spent, amount
            );
        }
        return "";
    }

    function _record(OpenItem calldata item, Batch memory batch) private {
        _askOutstanding[batch.askHash] += item.maxUnits;
        (uint256 word, uint256 bit) = _saltPlace(item.bid.salt);
        uint256 used = _bidsUsed[item.bid.buyer][word];
        if (used & bit == 0) {
            _bidsUsed[item.bid.buyer][word] = used | bit;
            uint256 left = item.bid.volume - item.maxUnits;
            if (left != 0) {
                _bidLeft[batch.bidHash] = left;
                _nameUsed[batch.lease] = true;
            }
        } else {
            _bidLeft[batch.bidHash] -= item.maxUnits;
            _nameUsed[batch.lease] = true;
        }
        if (item.delegation.delegate != address(0)) {
            _spent[item.delegation.owner][item.delegation.delegate] += batch.amount;
        }
    }

    // ── claiming ────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ILeases
    function claim(ClaimItem[] calldata items) external nonReentrant {
        bytes32 separator = _domainSeparatorV4();
        IEscrow.Credit[] memory credits = new IEscrow.Credit[](items.length);
        uint256 count = 0;
        for (uint256 i = 0; i < items.length; ++i) {
            (uint64 earned, bytes memory reason) = _claim(items[i], separator);
            if (reason.length != 0) {
                emit ItemFailed(items[i].voucher.lease, i, reason);
            } else if (earned != 0) {
                count = _addCredit(credits, count, items[i].parties.provider, earned);
            }
        }
        if (count == 0) return;
        assembly ("memory-safe") {
            mstore(credits, count)
        }
        escrow.credit(credits);
    }

    /// @dev Order: existence, state, totals, signatures, then effects.
    function _claim(ClaimItem calldata item, bytes32 separator)
        private
        returns (uint64 earned, bytes memory reason)
    {
        Voucher calldata voucher = item.voucher;
        bytes32 partiesHash = keccak256(abi.encode(item.parties));
        bytes32 slotKey = _slotKey(voucher.lease, partiesHash);
        uint256 slot = _slots[slotKey];
        if (slot == 0) {
            reason = abi.encodeWithSelector(UnknownLease.selector, voucher.lease, partiesHash);
            return (0, reason);
        }
        uint64 paid = slot.paid();
        uint64 amount = voucher.cumulativeAmount;
        if (amount <= paid) return (0, "");
        reason = VoucherChecks.refusal(voucher, slot);
        if (reason.length != 0) return (0, reason);
        bytes32 digest = MessageHashUtils.toTypedDataHash(separator, voucher.hash());
        if (!Signatures.isValid(item.parties.voucherSigner, digest, item.buyerSignature)) {
            reason =
                abi.encodeWithSelector(BadSignature.selector, item.parties.voucherSigner, digest);
            return (0, reason);
        }
        if (!Signatures.isValid(item.parties.workerKey, digest, item.workerSignature)) {
            reason = abi.encodeWithSelector(BadSignature.selector, item.parties.workerKey, digest);
            return (0, reason);
        }

        _slots[slotKey] = slot.withProgress(amount, voucher.cumulativeUnits);
        uint64 fee = slot.feeOf(amount) - slot.feeOf(paid);
        emit Claimed(
            voucher.lease,
            item.parties.provider,
            voucher.sequence,
            voucher.cumulativeUnits,
            amount,
            voucher.receiptsRoot,
            amount - paid,
            fee
        );
        return (amount - paid - fee, "");
    }

    /// @dev Neighbours of one provider become one credit: sort a batch by provider to save gas.
    function _addCredit(
        IEscrow.Credit[] memory credits,
        uint256 count,
        address provider,
        uint64 earned
    ) private pure returns (uint256) {
        if (count != 0 && credits[count - 1].account == provider) {
            credits[count - 1].amount += earned;
            return count;
        }
        credits[count] = IEscrow.Credit(provider, earned);
        return count + 1;
    }

    // ── closing ─────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ILeases
    function requestClose(LeaseKey calldata key, Parties calldata parties, uint8 reason)
        external
        nonReentrant
    {
        if (reason == 0 || reason > REASONS) revert UnknownReason(reason);
        bytes32 lease = _leaseId(key.askHash, key.bidHash, key.index);
        (bytes32 slotKey, uint256 slot) = _existing(lease, parties);
        if (msg.sender == parties.provider || msg.sender == parties.workerKey) {
            if (slot.state() == LeaseSlot.OPEN) _releaseVolumes(key, lease, slot);
            else _settleLateUnits(lease, slot);
            _close(lease, slotKey, slot, parties, reason);
            return;
        }
        if (
            msg.sender != parties.buyer && msg.sender != parties.voucherSigner
                && msg.sender != owner()
        ) revert NotAParty(msg.sender);
        if (slot.state() != LeaseSlot.OPEN) {
            revert AlreadyClosing(lease, _closings[lease].finalAt);
        }
        _releaseVolumes(key, lease, slot);
        uint64 until = uint64(block.timestamp) + closeWindow;
        _slots[slotKey] = slot.withState(LeaseSlot.CLOSING);
        _closings[lease] = Closing(until, slot.claimedUnits(), reason, key.bidHash);
        emit CloseRequested(lease, msg.sender, reason, until);
    }

    /// @inheritdoc ILeases
    function finalizeClose(bytes32 lease, Parties calldata parties) external nonReentrant {
        (bytes32 slotKey, uint256 slot) = _existing(lease, parties);
        if (slot.state() != LeaseSlot.CLOSING) revert NotClosing(lease);
        Closing storage closing = _closings[lease];
        if (block.timestamp < closing.finalAt) {
            revert TooEarly(uint64(block.timestamp), closing.finalAt);
        }
        uint8 reason = closing.reason;
        _settleLateUnits(lease, slot);
        _close(lease, slotKey, slot, parties, reason);
    }

    /// @inheritdoc ILeases
    function reclaim(LeaseKey calldata key, Parties calldata parties) external nonReentrant {
        bytes32 lease = _leaseId(key.askHash, key.bidHash, key.index);
        (bytes32 slotKey, uint256 slot) = _existing(lease, parties);
        if (slot.state() != LeaseSlot.OPEN) {
            revert AlreadyClosing(lease, _closings[lease].finalAt);
        }
        uint64 since = slot.expiry() + closeWindow;
        if (block.timestamp < since) revert TooEarly(uint64(block.timestamp), since);
        _releaseVolumes(key, lease, slot);
        _close(lease, slotKey, slot, parties, REASON_EXPIRED);
    }

    /// @inheritdoc ILeases
    function revokeDelegations() external {
        uint64 nonce = ++delegationNonce[msg.sender];
        emit DelegationsRevoked(msg.sender, nonce);
    }

    /// @inheritdoc ILeases
    function cancelAsk(Ask calldata ask) external {
        if (msg.sender != ask.provider) revert NotOrderOwner(ask.provider, msg.sender);
        _cancel(_askOutstanding, ask.hash());
    }

    /// @inheritdoc ILeases
    function cancelBid(Bid calldata bid) external {
        if (msg.sender != bid.buyer) revert NotOrderOwner(bid.buyer, msg.sender);
        (uint256 word, uint256 bit) = _saltPlace(bid.salt);
        _bidsUsed[bid.buyer][word] |= bit;
        _cancel(_bidLeft, bid.hash());
    }

    /// @dev The hash binds the owner, who is the caller: nobody else can have put the mark there.
    function _cancel(mapping(bytes32 => uint256) storage marks, bytes32 order) private {
        if (marks[order] >= CANCELLED) return;
        marks[order] |= CANCELLED;
        emit OrderCancelled(order, msg.sender);
    }

    function _existing(bytes32 lease, Parties calldata parties)
        private
        view
        returns (bytes32 slotKey, uint256 slot)
    {
        bytes32 partiesHash = keccak256(abi.encode(parties));
        slotKey = _slotKey(lease, partiesHash);
        slot = _slots[slotKey];
        if (slot == 0) revert UnknownLease(lease, partiesHash);
        if (slot.state() == LeaseSlot.CLOSED) revert LeaseIsClosed(lease);
    }

    /// @dev The ask's units are free to be sold again; the bid gets back what was not claimed, so
    /// that a job can go on elsewhere while the close window of a lost worker runs.
    function _releaseVolumes(LeaseKey calldata key, bytes32 lease, uint256 slot) private {
        _askOutstanding[key.askHash] -= slot.maxUnits();
        uint256 unclaimed = slot.maxUnits() - slot.claimedUnits();
        if (unclaimed == 0) return;
        _bidLeft[key.bidHash] += unclaimed;
        _nameUsed[lease] = true;
    }

    /// @dev Units claimed after the request come off what the bid has left, as far as it has any.
    function _settleLateUnits(bytes32 lease, uint256 slot) private {
        Closing storage closing = _closings[lease];
        uint256 late = slot.claimedUnits() - closing.units;
        if (late != 0) {
            uint256 left = uint64(_bidLeft[closing.bidHash]);
            _bidLeft[closing.bidHash] -= left < late ? left : late;
        }
        delete _closings[lease];
    }

    function _close(
        bytes32 lease,
        bytes32 slotKey,
        uint256 slot,
        Parties calldata parties,
        uint8 reason
    ) private {
        uint64 locked = slot.locked();
        uint64 paid = slot.paid();
        uint64 refund = locked - paid;
        _slots[slotKey] = slot.withState(LeaseSlot.CLOSED);
        if (parties.voucherSigner != parties.buyer) {
            _spent[parties.buyer][parties.voucherSigner] -= refund;
        }
        emit LeaseClosed(lease, paid, refund, reason);
        escrow.release(parties.buyer, locked, refund, address(treasury), slot.feeOf(paid));
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
        uint256 slot = _slots[_slotKey(lease, partiesHash)];
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
        return _slots[_slotKey(lease, partiesHash)].feeBps();
    }

    /// @inheritdoc ILeases
    function finalAt(bytes32 lease) external view returns (uint64) {
        return _closings[lease].finalAt;
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

    function _isBidUsed(Bid calldata bid) private view returns (bool) {
        (uint256 word, uint256 bit) = _saltPlace(bid.salt);
        return _bidsUsed[bid.buyer][word] & bit != 0;
    }

    function _saltPlace(bytes32 salt) private pure returns (uint256 word, uint256 bit) {
        return (uint256(salt) >> 8, 1 << (uint256(salt) & 0xff));
    }

    function _leaseId(bytes32 askHash, bytes32 bidHash, uint64 index)
        private
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(askHash, bidHash, index));
    }

    function _slotKey(bytes32 lease, bytes32 partiesHash) private pure returns (bytes32) {
        return keccak256(abi.encode(lease, partiesHash));
    }
}
