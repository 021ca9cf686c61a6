// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";
import {
    CloseItem,
    FinalItem,
    ILeases,
    LeaseKey,
    OpenGroup,
    OpenItem,
    Parties
} from "./interfaces/ILeases.sol";
import {IProviders} from "./interfaces/IProviders.sol";
import {ITreasury} from "./interfaces/ITreasury.sol";
import {LeaseSlot} from "./libraries/LeaseSlot.sol";
import {Ask, Bid, Delegation, Messages, Units, Voucher} from "./libraries/Messages.sol";
import {OrderChecks} from "./libraries/OrderChecks.sol";
import {Claim, PackedClaims} from "./libraries/PackedClaims.sol";
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
    using PackedClaims for Claim;
    using PackedClaims for LeaseKey;
    using PackedClaims for Parties;

    /// @dev So that a lease's word is found once and written through its place.
    struct Slot {
        uint256 word;
    }

    /// @dev Of a lease that is ended or whose name must not be used again though its bid has units
    /// left. `units`: claimed when its close was requested.
    struct Ending {
        bool isNameUsed;
        uint8 reason;
        uint64 units;
        uint64 finalAt;
    }

    /// @dev What holds for a batch of opens, then for a group, then for the item at hand. A worker
    /// that was found active once need not be looked at again: nothing can change it in between.
    struct Batch {
        bytes32 separator;
        uint256 fee;
        address activeProvider;
        address activeWorker;
        bool isAskVerified;
        uint256 askOut;
        Parties parties;
        LeaseKey key;
        bytes32 lease;
        bytes32 partiesHash;
        uint64 units;
        uint256 amount;
        bool isBidUsed;
        uint256 bidLeft;
    }

    uint8 private constant SCOPE_ORDERS = 1;
    uint8 private constant REASON_COMPLETED = 1;
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

    /// @dev Found by lease and parties: the parties need no word of their own.
    mapping(bytes32 lease => mapping(bytes32 partiesHash => Slot)) private _slots;
    mapping(bytes32 lease => Ending) private _endings;
    /// @dev Units out, and the mark of a cancelled ask, which so costs an opening no word of its own.
    mapping(bytes32 askHash => uint256) private _askOutstanding;
    /// @dev One bit per bid that ever had a lease or was cancelled, found by its salt: the upper 248
    /// bits name the word, so that a buyer who counts salts upward shares it among 256 bids.
    mapping(address buyer => mapping(uint256 word => uint256)) private _bidsUsed;
    /// @dev Units a bid has left after its first lease, and the mark of a cancelled bid; no word
    /// while there is neither.
    mapping(bytes32 bidHash => uint256) private _bidLeft;
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
    function open(OpenGroup[] calldata groups) external nonReentrant {
        Batch memory batch;
        batch.separator = _domainSeparatorV4();
        batch.fee = treasury.feeBps();
        uint256 place = 0;
        for (uint256 g = 0; g < groups.length; ++g) {
            OpenGroup calldata group = groups[g];
            batch.key.askHash = group.ask.hash();
            batch.isAskVerified = false;
            uint256 before = _askOutstanding[batch.key.askHash];
            batch.askOut = before;
            OpenItem[] calldata items = group.items;
            for (uint256 i = 0; i < items.length; ++i) {
                _openItem(group, items[i], batch, place);
                ++place;
            }
            if (batch.askOut != before) _askOutstanding[batch.key.askHash] = batch.askOut;
        }
    }

    function _openItem(
        OpenGroup calldata group,
        OpenItem calldata item,
        Batch memory batch,
        uint256 place
    ) private {
        batch.key.bidHash = item.bid.hash();
        batch.key.index = item.index;
        batch.lease = batch.key.idOf();
        bytes memory reason = _open(group, item, batch);
        if (reason.length != 0) emit ItemFailed(batch.lease, place, reason);
    }

    /// @dev Order: the orders' own terms, signatures, state, funds, then effects.
    function _open(OpenGroup calldata group, OpenItem calldata item, Batch memory batch)
        private
        returns (bytes memory reason)
    {
        batch.units = item.maxUnits;
        batch.amount = Units.amountFor(group.ask.unitKind, batch.units, item.price);
        reason = OrderChecks.refusal(group.ask, item, batch.key, batch.amount);
        if (reason.length != 0) return reason;
        if (batch.units > LeaseSlot.MOST || batch.amount > LeaseSlot.MOST) {
            return abi.encodeWithSelector(LeaseTooLarge.selector, batch.units, batch.amount);
        }
        OrderChecks.fillParties(batch.parties, group.ask, item);
        reason = _checkSigned(group, item, batch);
        if (reason.length != 0) return reason;
        batch.partiesHash = batch.parties.hashOf();
        reason = _checkState(group.ask, item, batch);
        if (reason.length != 0) return reason;
        reason = _checkCap(item.delegation, batch.amount);
        if (reason.length != 0) return reason;
        (bool done, uint64 free) = escrow.tryLock(batch.parties.buyer, uint64(batch.amount));
        if (!done) {
            return abi.encodeWithSelector(InsufficientFree.selector, free, uint64(batch.amount));
        }
        _record(item, batch);
        uint256 slot = LeaseSlot.pack(batch.amount, batch.units, item.bid.deadline, batch.fee);
        _slots[batch.lease][batch.partiesHash].word = slot;
        emit LeaseOpened(
            batch.lease,
            batch.parties.buyer,
            batch.parties.provider,
            batch.key.askHash,
            batch.key.bidHash,
            batch.parties.voucherSigner,
            batch.parties.workerKey,
            slot.terms(group.ask.unitKind, item.price)
        );
    }

    /// @dev A delegation is present when it names a delegate; its own signature comes first.
    function _checkSigned(OpenGroup calldata group, OpenItem calldata item, Batch memory batch)
        private
        view
        returns (bytes memory reason)
    {
        bytes32 digest;
        if (!batch.isAskVerified) {
            digest = MessageHashUtils.toTypedDataHash(batch.separator, batch.key.askHash);
            if (!Signatures.isValid(batch.parties.provider, digest, group.askSignature)) {
                return abi.encodeWithSelector(BadSignature.selector, batch.parties.provider, digest);
            }
            batch.isAskVerified = true;
        }
        address delegate = item.delegation.delegate;
        uint8 scope = item.delegation.scope;
        if (delegate != address(0) || scope != 0) {
            reason = _checkDelegation(item, batch.separator);
            if (reason.length != 0) return reason;
            if (scope & SCOPE_ORDERS == 0) delegate = address(0);
        }
        digest = MessageHashUtils.toTypedDataHash(batch.separator, batch.key.bidHash);
        address buyer = batch.parties.buyer;
        if (!Signatures.isValidOfEither(buyer, delegate, digest, item.bidSignature)) {
            return abi.encodeWithSelector(BadSignature.selector, buyer, digest);
        }
    }

    function _checkDelegation(OpenItem calldata item, bytes32 separator)
        private
        view
        returns (bytes memory none)
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
    }

    function _checkState(Ask calldata ask, OpenItem calldata item, Batch memory batch)
        private
        view
        returns (bytes memory none)
    {
        if (_slots[batch.lease][batch.partiesHash].word != 0) {
            return abi.encodeWithSelector(LeaseExists.selector, batch.lease);
        }
        (address provider, address worker) = (batch.parties.provider, batch.parties.workerKey);
        if (worker != batch.activeWorker || provider != batch.activeProvider) {
            if (!providers.isActive(provider, worker)) {
                return abi.encodeWithSelector(WorkerNotActive.selector, provider, worker);
            }
            (batch.activeProvider, batch.activeWorker) = (provider, worker);
        }
        uint256 out = batch.askOut;
        if (out >= CANCELLED) {
            return abi.encodeWithSelector(OrderIsCancelled.selector, batch.key.askHash);
        }
        uint256 left = ask.volume > out ? ask.volume - out : 0;
        if (batch.units > left) {
            return abi.encodeWithSelector(AskVolumeExceeded.selector, batch.units, left);
        }
        batch.isBidUsed = _isBidUsed(item.bid);
        if (!batch.isBidUsed) {
            left = item.bid.volume;
        } else {
            if (_endings[batch.lease].isNameUsed) {
                return abi.encodeWithSelector(LeaseExists.selector, batch.lease);
            }
            left = _bidLeft[batch.key.bidHash];
            if (left >= CANCELLED) {
                return abi.encodeWithSelector(OrderIsCancelled.selector, batch.key.bidHash);
            }
        }
        if (batch.units > left) {
            return abi.encodeWithSelector(BidVolumeExceeded.selector, batch.units, left);
        }
        batch.bidLeft = left - batch.units;
    }

    function _checkCap(Delegation calldata delegation, uint256 amount)
        private
        view
        returns (bytes memory none)
    {
        address delegate = delegation.delegate;
        if (delegate == address(0)) return none;
        uint256 spent = _spent[delegation.owner][delegate];
        if (spent + amount > delegation.spendCap) {
            return abi.encodeWithSelector(
                DelegationCapExceeded.selector, delegation.spendCap, spent, amount
            );
        }
    }

    /// @dev The ask's units out are written at the end of its group.
    function _record(OpenItem calldata item, Batch memory batch) private {
        batch.askOut += batch.units;
        if (!batch.isBidUsed) {
            (uint256 word, uint256 bit) = _saltPlace(item.bid.salt);
            _bidsUsed[batch.parties.buyer][word] |= bit;
        }
        if (batch.isBidUsed || batch.bidLeft != 0) {
            _bidLeft[batch.key.bidHash] = batch.bidLeft;
            _endings[batch.lease].isNameUsed = true;
        }
        address delegate = item.delegation.delegate;
        if (delegate != address(0)) _spent[batch.parties.buyer][delegate] += batch.amount;
    }

    // ── claiming ────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ILeases
    function claim(bytes calldata batch) external nonReentrant {
        Claim memory item = PackedClaims.make();
        bytes32 separator = _domainSeparatorV4();
        (uint256 offset, uint256 end) = PackedClaims.bounds(batch);
        uint256 place = 0;
        uint64 fees = 0;
        while (offset < end) {
            uint256 count;
            (offset, count) = item.readGroup(offset, end);
            uint64 earned = 0;
            for (; count != 0; --count) {
                offset = item.readItem(offset, end);
                (uint64 credit, uint64 fee, bytes memory reason) = _claim(item, separator);
                if (reason.length != 0) emit ItemFailed(item.voucher.lease, place, reason);
                unchecked {
                    earned += credit; // 48 bits each, of 255 at most
                    fees += fee;
                    ++place;
                }
            }
            if (earned != 0) escrow.credit(item.parties.provider, earned);
        }
        if (fees != 0) escrow.credit(address(treasury), fees);
    }

    /// @dev Order: existence, state, totals, signatures, then effects.
    /// @return earned for the provider
    /// @return fee for the treasury, when the claim closed its lease
    function _claim(Claim memory item, bytes32 separator)
        private
        returns (uint64 earned, uint64 fee, bytes memory reason)
    {
        Voucher memory voucher = item.voucher;
        bytes32 partiesHash = item.parties.hashOf();
        Slot storage place = _slots[voucher.lease][partiesHash];
        uint256 slot = place.word;
        if (slot == 0) {
            reason = abi.encodeWithSelector(UnknownLease.selector, voucher.lease, partiesHash);
            return (0, 0, reason);
        }
        uint64 paid = slot.paid();
        if (voucher.cumulativeAmount <= paid) return (0, 0, reason);
        reason = VoucherChecks.refusal(voucher, slot, item.isNamed);
        if (reason.length == 0) reason = _checkVoucherSigned(item, separator);
        if (reason.length != 0) return (0, 0, reason);

        uint256 next = slot.withProgress(voucher.cumulativeAmount, voucher.cumulativeUnits);
        bool isLast = voucher.cumulativeUnits == slot.maxUnits();
        place.word = isLast ? next.withState(LeaseSlot.CLOSED) : next;
        unchecked {
            earned = voucher.cumulativeAmount - paid; // more than nothing, as was checked
            fee = slot.feeOf(voucher.cumulativeAmount) - slot.feeOf(paid);
        }
        emit Claimed(
            voucher.lease, voucher.receiptsRoot, next.totals(voucher.sequence, earned, fee)
        );
        unchecked {
            earned -= fee; // of it
        }
        fee = 0;
        if (isLast) {
            _releaseVolumes(item.key, voucher.lease, next);
            fee = _end(voucher.lease, item.parties, next, REASON_COMPLETED);
        }
    }

    function _checkVoucherSigned(Claim memory item, bytes32 separator)
        private
        view
        returns (bytes memory none)
    {
        bytes32 digest = MessageHashUtils.toTypedDataHash(separator, item.voucher.hash());
        address signer = item.parties.voucherSigner;
        bytes calldata signature = PackedClaims.signatureAt(item.buyerSignature);
        if (!Signatures.isValid(signer, digest, signature)) {
            return abi.encodeWithSelector(BadSignature.selector, signer, digest);
        }
        signer = item.parties.workerKey;
        signature = PackedClaims.signatureAt(item.workerSignature);
        if (!Signatures.isValid(signer, digest, signature)) {
            return abi.encodeWithSelector(BadSignature.selector, signer, digest);
        }
    }

    // ── closing ─────────────────────────────────────────────────────────────────────────────────

    /// @inheritdoc ILeases
    function requestClose(CloseItem[] calldata items) external nonReentrant {
        uint64 fees = 0;
        for (uint256 i = 0; i < items.length; ++i) {
            LeaseKey memory key = items[i].key;
            bytes32 lease = key.idOf();
            (uint64 fee, bytes memory reason) =
                _requestClose(key, items[i].parties, items[i].reason, lease);
            if (reason.length != 0) emit ItemFailed(lease, i, reason);
            fees += fee;
        }
        if (fees != 0) escrow.credit(address(treasury), fees);
    }

    function _requestClose(LeaseKey memory key, Parties memory parties, uint8 why, bytes32 lease)
        private
        returns (uint64 fee, bytes memory reason)
    {
        if (why == 0 || why > REASONS) {
            return (0, abi.encodeWithSelector(UnknownReason.selector, why));
        }
        Slot storage place;
        (place, reason) = _alive(lease, parties);
        if (reason.length != 0) return (0, reason);
        uint256 slot = place.word;
        if (msg.sender == parties.provider || msg.sender == parties.workerKey) {
            place.word = slot.withState(LeaseSlot.CLOSED);
            _releaseVolumes(key, lease, slot);
            return (_end(lease, parties, slot, why), reason);
        }
        if (
            msg.sender != parties.buyer && msg.sender != parties.voucherSigner
                && msg.sender != owner()
        ) return (0, abi.encodeWithSelector(NotAParty.selector, msg.sender));
        if (slot.state() != LeaseSlot.OPEN) {
            reason = abi.encodeWithSelector(AlreadyClosing.selector, lease, _endings[lease].finalAt);
            return (0, reason);
        }
        place.word = slot.withState(LeaseSlot.CLOSING);
        _releaseVolumes(key, lease, slot);
        uint64 until = uint64(block.timestamp) + closeWindow;
        _endings[lease] = Ending(true, why, slot.claimedUnits(), until);
        emit CloseRequested(lease, msg.sender, why, until);
    }

    /// @inheritdoc ILeases
    function finalizeClose(FinalItem[] calldata items) external nonReentrant {
        uint64 fees = 0;
        for (uint256 i = 0; i < items.length; ++i) {
            LeaseKey memory key = items[i].key;
            bytes32 lease = key.idOf();
            (uint64 fee, bytes memory reason) = _finalize(key, items[i].parties, lease);
            if (reason.length != 0) emit ItemFailed(lease, i, reason);
            fees += fee;
        }
        if (fees != 0) escrow.credit(address(treasury), fees);
    }

    /// @dev A requested close when its window is over; of a lease nobody closed, a window after
    /// its expiry.
    function _finalize(LeaseKey memory key, Parties memory parties, bytes32 lease)
        private
        returns (uint64 fee, bytes memory reason)
    {
        Slot storage place;
        (place, reason) = _alive(lease, parties);
        if (reason.length != 0) return (0, reason);
        uint256 slot = place.word;
        bool isRequested = slot.state() == LeaseSlot.CLOSING;
        uint64 since = isRequested ? _endings[lease].finalAt : slot.expiry() + closeWindow;
        if (block.timestamp < since) {
            reason = abi.encodeWithSelector(TooEarly.selector, block.timestamp, since);
            return (0, reason);
        }
        place.word = slot.withState(LeaseSlot.CLOSED);
        _releaseVolumes(key, lease, slot);
        uint8 why = isRequested ? _endings[lease].reason : REASON_EXPIRED;
        return (_end(lease, parties, slot, why), reason);
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

    /// @dev The place of a lease that is open or closing.
    function _alive(bytes32 lease, Parties memory parties)
        private
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

    /// @dev The ask's units are free to be sold again; the bid gets back what was not claimed, so
    /// that a job can go on elsewhere while the close window of a lost worker runs. When it was
    /// given back before, at the request, units claimed since then come off again, as far as the
    /// bid has any left.
    /// @param slot the lease as it was while it was open or closing
    function _releaseVolumes(LeaseKey memory key, bytes32 lease, uint256 slot) private {
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
        private
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

    function _isBidUsed(Bid calldata bid) private view returns (bool) {
        (uint256 word, uint256 bit) = _saltPlace(bid.salt);
        return _bidsUsed[bid.buyer][word] & bit != 0;
    }

    function _saltPlace(bytes32 salt) private pure returns (uint256 word, uint256 bit) {
        return (uint256(salt) >> 8, 1 << (uint256(salt) & 0xff));
    }
}
