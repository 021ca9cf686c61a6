// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

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
import {LeaseBook} from "./LeaseBook.sol";
import {LoneClaims} from "./LoneClaims.sol";
import {LeaseSlot} from "./libraries/LeaseSlot.sol";
import {Ask, Bid, Delegation, Messages, Units, Voucher} from "./libraries/Messages.sol";
import {OrderChecks} from "./libraries/OrderChecks.sol";
import {Claim, PackedClaims} from "./libraries/PackedClaims.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {VoucherChecks} from "./libraries/VoucherChecks.sol";

/// @notice See {ILeases}.
/// @dev The owner is the market's operator. All it can do beyond what anybody can is to request a
/// close, after which the worker still has the whole close window to claim.
contract Leases is LoneClaims {
    using LeaseSlot for uint256;
    using Messages for Ask;
    using Messages for Bid;
    using Messages for Delegation;
    using Messages for Voucher;
    using PackedClaims for Claim;
    using PackedClaims for LeaseKey;
    using PackedClaims for Parties;

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
    uint8 private constant REASON_EXPIRED = 5;
    uint8 private constant REASONS = 7;

    constructor(
        IEscrow escrow_,
        IProviders providers_,
        ITreasury treasury_,
        address operator_,
        uint64 closeWindow_
    ) LeaseBook(escrow_, providers_, treasury_, operator_, closeWindow_) {}

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
        if (voucher.cumulativeAmount <= slot.paid()) return (0, 0, reason);
        reason = VoucherChecks.refusal(voucher, slot, item.isNamed);
        if (reason.length == 0) reason = _checkVoucherSigned(item, separator);
        if (reason.length != 0) return (0, 0, reason);

        uint256 next;
        (next, earned) = _pay(place, slot, voucher);
        if (next.state() == LeaseSlot.CLOSED) {
            fee = _complete(item.key, voucher.lease, item.parties, slot, next);
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
        Ending storage ending = _endings[lease];
        uint64 until = ending.loneAt;
        if (msg.sender == parties.provider || msg.sender == parties.workerKey) {
            if (until == 0) {
                place.word = slot.withState(LeaseSlot.CLOSED);
                _releaseVolumes(key, lease, slot);
                return (_end(lease, parties, slot, why), reason);
            }
        } else if (
            msg.sender == parties.buyer || msg.sender == parties.voucherSigner
                || msg.sender == owner()
        ) {
            until = uint64(block.timestamp) + closeWindow;
        } else {
            return (0, abi.encodeWithSelector(NotAParty.selector, msg.sender));
        }
        if (slot.state() != LeaseSlot.OPEN) {
            return (0, abi.encodeWithSelector(AlreadyClosing.selector, lease, ending.finalAt));
        }
        place.word = slot.withState(LeaseSlot.CLOSING);
        _releaseVolumes(key, lease, slot);
        (ending.isNameUsed, ending.reason) = (true, why);
        (ending.units, ending.finalAt) = (slot.claimedUnits(), until);
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

    /// @dev A claim by the worker alone is waited for, and paid.
    function _finalize(LeaseKey memory key, Parties memory parties, bytes32 lease)
        private
        returns (uint64 fee, bytes memory reason)
    {
        Slot storage place;
        (place, reason) = _alive(lease, parties);
        if (reason.length != 0) return (0, reason);
        Ending storage ending = _endings[lease];
        uint64 loneAt = ending.loneAt;
        uint64 since = _finalSince(place.word, ending);
        if (loneAt > since) since = loneAt;
        if (block.timestamp < since) {
            return (0, abi.encodeWithSelector(TooEarly.selector, block.timestamp, since));
        }
        if (loneAt != 0) fee = _settleLone(place, parties, key, lease);
        uint256 slot = place.word;
        uint8 state = slot.state();
        if (state == LeaseSlot.CLOSED) return (fee, reason); // that paid its last unit
        place.word = slot.withState(LeaseSlot.CLOSED);
        _releaseVolumes(key, lease, slot);
        uint8 why = state == LeaseSlot.CLOSING ? ending.reason : REASON_EXPIRED;
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
}
