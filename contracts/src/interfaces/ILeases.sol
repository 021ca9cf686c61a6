// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ask, Bid, Delegation, Objection, Receipt} from "../libraries/Messages.sol";

/// @notice Leases to open under one ask, which is checked and sent once.
struct OpenGroup {
    Ask ask;
    bytes askSignature;
    OpenItem[] items;
}

/// @notice One lease to open. A bid its buyer signed alone leaves the delegation zero and its
/// signature empty.
struct OpenItem {
    Bid bid;
    bytes bidSignature;
    Delegation delegation;
    bytes delegationSignature;
    uint64 price;
    uint64 maxUnits;
    address workerKey;
    uint64 index;
}

/// @notice Who a lease is between. The contract keeps only a hash of it.
struct Parties {
    address buyer;
    address provider;
    address voucherSigner;
    address workerKey;
}

/// @notice What names a lease: keccak256(abi.encode(askHash, bidHash, index)), struct hashes.
struct LeaseKey {
    bytes32 askHash;
    bytes32 bidHash;
    uint64 index;
}

/// @notice One close to ask for.
struct CloseItem {
    LeaseKey key;
    Parties parties;
    uint8 reason;
}

/// @notice One close to end.
struct FinalItem {
    LeaseKey key;
    Parties parties;
}

/// @notice A claim by the worker alone: a receipt of its lease and the worker key's signature.
struct LoneItem {
    Parties parties;
    Receipt receipt;
    bytes signature;
}

/// @notice The answer to one, signed by the buyer or the voucher signer.
struct ObjectionItem {
    Parties parties;
    Objection objection;
    bytes signature;
}

/// @title Leases: matches opened with the maximum locked, paid by vouchers, closed or reclaimed
/// @dev Assumptions:
/// - Escrow and Providers are the ones fixed at deployment and do what their interfaces say;
/// - the voucher signer stops signing for a lease once its close was requested;
/// - the buyer, or whoever holds its voucher signer's key, looks at least once in a close window for
///   claims that the worker makes alone, until the lease is closed;
/// - block time is right within the windows used (minutes or more).
interface ILeases {
    /// @param terms in one word, from the high end: unitKind 40 bits, price 64, maxUnits 48,
    /// locked 48, expiry 40, feeBps 16
    event LeaseOpened(
        bytes32 indexed lease,
        address indexed buyer,
        address indexed provider,
        bytes32 askHash,
        bytes32 bidHash,
        address voucherSigner,
        address workerKey,
        uint256 terms
    );
    /// @param index place of the item in its batch, counted through its groups
    /// @param reason the ABI-encoded custom error
    event ItemFailed(bytes32 indexed lease, uint256 index, bytes reason);
    /// @param totals in one word, from the high end: sequence 64 bits, cumulativeUnits 48,
    /// cumulativeAmount 48, paid 48 (the difference to what was paid before), fee 48 (of it; the
    /// provider is credited paid − fee)
    event Claimed(bytes32 indexed lease, bytes32 receiptsRoot, uint256 totals);
    /// @notice The worker asks to be paid up to these totals without the buyer's signature.
    /// @param receipt struct hash
    /// @param payableAt until then the buyer's side may object
    event ClaimedAlone(
        bytes32 indexed lease, bytes32 receipt, uint64 units, uint64 amount, uint64 payableAt
    );
    event Objected(bytes32 indexed lease, bytes32 receipt);
    event CloseRequested(bytes32 indexed lease, address by, uint8 reason, uint64 finalAt);
    event LeaseClosed(bytes32 indexed lease, uint64 paid, uint64 refunded, uint8 reason);
    event DelegationsRevoked(address indexed owner, uint64 nonce);
    /// @param order struct hash of the ask or bid
    event OrderCancelled(bytes32 indexed order, address indexed by);

    // Opening
    error NotMatcher(address matcher, address caller);
    error UnknownUnitKind(uint8 kind);
    error UnitKindMismatch(uint8 ask, uint8 bid);
    error ClassMismatch(uint8 ask, uint8 bid);
    error PriceOutsideLimits(uint64 price, uint64 askPrice, uint64 bidCeiling);
    error UnitsOutsideLimits(uint64 units, uint64 minUnits, uint64 maxUnits);
    error OrderNotYetValid(bytes32 order, uint64 earliest);
    error OrderExpired(bytes32 order, uint64 expiry);
    error DeadlinePassed(uint64 deadline);
    error DeadlineTooFar(uint64 deadline);
    error AmountAboveMaximum(uint256 amount, uint64 maximum);
    error LeaseTooLarge(uint64 units, uint256 amount);
    error DelegationNotByBuyer(address owner, address buyer);
    error DelegationExpired(uint64 expiry);
    error DelegationLacksScope(uint8 scope, uint8 needed);
    error DelegationRevoked(uint64 nonce, uint64 current);
    error DelegationCapExceeded(uint64 cap, uint64 spent, uint64 wanted);
    error WorkerNotActive(address provider, address workerKey);
    error LeaseExists(bytes32 lease);
    error AskVolumeExceeded(uint64 wanted, uint64 left);
    error BidVolumeExceeded(uint64 wanted, uint64 left);
    error InsufficientFree(uint64 free, uint64 wanted);
    error OrderIsCancelled(bytes32 order);
    // Claiming
    error UnknownLease(bytes32 lease, bytes32 partiesHash);
    error LeaseIsClosed(bytes32 lease);
    error UnitsFell(uint64 units, uint64 claimed);
    error UnitsAboveLease(uint64 units, uint64 maxUnits);
    error AmountAboveLock(uint64 amount, uint64 locked);
    error AmountAbovePrice(uint64 amount, uint64 most);
    error KeyMissing(bytes32 lease);
    /// @notice The batch cannot be read from this place of the call data on: nothing was done.
    error MalformedBatch(uint256 offset);
    // Claiming alone
    error ObjectedBefore(bytes32 lease);
    error NotClaimedAlone(bytes32 lease, bytes32 receipt);
    error TooLate(uint64 nowAt, uint64 until);
    // All
    error BadSignature(address signer, bytes32 digest);
    // Cancelling
    error NotOrderOwner(address owner, address caller);
    // Closing
    error UnknownReason(uint8 reason);
    error NotAParty(address caller);
    error AlreadyClosing(bytes32 lease, uint64 finalAt);
    error TooEarly(uint64 nowAt, uint64 since);
    error WrongContract(address expected, address found);

    /// @notice Opens leases and locks the maximum of each. An item that cannot be opened is
    /// reported by `ItemFailed` and leaves the others alone.
    function open(OpenGroup[] calldata groups) external;

    /// @notice Pays what each voucher owes beyond what was paid. A voucher that owes nothing more
    /// is passed over; one that is wrong is reported by `ItemFailed`. A lease whose last unit is
    /// claimed is closed by that claim as completed (reason 1).
    /// @param batch groups one after the other, big-endian and without padding:
    ///   group: provider 20 bytes, worker key 20, number of items 1 (not 0), the items
    ///   item: form 1 byte; form 0: lease 32; form 1: askHash 32, bidHash 32, index 8; then
    ///     sequence 8, cumulativeUnits 6, cumulativeAmount 6, receiptsRoot 32, buyer 20,
    ///     voucherSigner 20, the signer's signature, the worker's signature
    ///   signature: length 2 bytes, then itself (65 bytes of a key, any of a wallet)
    /// A claim of the last unit has form 1: the ask gets its units back.
    function claim(bytes calldata batch) external;

    /// @notice Asks, by the provider or the worker key, to be paid what a receipt says without the
    /// buyer's signature: payable when a close window has passed without an objection. One that owes
    /// no more than was paid, or than waits already, is passed over; a higher one takes the place of
    /// the one that waits, and the window begins again. Not after a lease could have been ended.
    /// Items fail alone.
    function claimAlone(LoneItem[] calldata items) external;

    /// @notice Takes away a claim by the worker alone whose window is not over. By anybody with the
    /// signature. From then on this lease is paid by vouchers only. Items fail alone.
    function objectTo(ObjectionItem[] calldata items) external;

    /// @notice Pays claims by the worker alone whose window is over. By anybody. `Claimed` then
    /// carries the receipt's hash in place of the receipts' root. Items fail alone.
    function payAlone(FinalItem[] calldata items) external;

    /// @notice The claim by the worker alone that waits: all zero when there is none.
    /// @param isObjected whether there was an objection: no further one is taken
    function loneClaim(bytes32 lease)
        external
        view
        returns (bytes32 receipt, uint64 units, uint64 amount, uint64 payableAt, bool isObjected);

    /// @notice Asks for closes. By buyer, voucher signer or operator: claims stay possible for
    /// the close window. By provider or worker key: closes at once, or when a claim of theirs alone
    /// is payable. Items fail alone.
    function requestClose(CloseItem[] calldata items) external;

    /// @notice Closes for good and frees what was not paid: after the close window where a close
    /// was requested, otherwise a close window after the lease's expiry (reason 5). By anybody.
    /// A claim by the worker alone that waits holds it up until it is payable, and is paid. Items
    /// fail alone.
    function finalizeClose(FinalItem[] calldata items) external;

    /// @notice Makes every delegation the caller signed so far useless for new leases.
    function revokeDelegations() external;

    /// @notice Takes an ask back for good: no lease is opened under it any more. Leases it has go
    /// on. By its provider only, whom the ask names; a signature is not needed. Again: no effect.
    function cancelAsk(Ask calldata ask) external;

    /// @notice The same for a bid, by its buyer only, also when a delegate signed it.
    function cancelBid(Bid calldata bid) external;

    /// @notice Whether the owner of this ask or bid (struct hash) has cancelled it.
    function isCancelled(bytes32 order) external view returns (bool);

    /// @notice What the contract knows of a lease between these parties (`partiesHash` is
    /// keccak256(abi.encode(parties))). State: 0 none, 1 open, 2 closing, 3 closed.
    /// `sameParties` is `partiesHash` again, or zero when there is no such lease.
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
        );

    /// @notice The fee a lease was opened with, in basis points.
    function feeBpsOf(bytes32 lease, bytes32 partiesHash) external view returns (uint16);

    /// @notice When a requested close becomes final, or could have; zero when none was requested.
    function finalAt(bytes32 lease) external view returns (uint64);

    /// @notice Must be the nonce of a delegation that is to hold.
    function delegationNonce(address owner) external view returns (uint64);

    /// @notice Locked or paid so far in `owner`'s name by leases opened with this delegate.
    function spentBy(address owner, address delegate) external view returns (uint64);

    /// @notice Units out under an ask at this time.
    function askOutstanding(bytes32 askHash) external view returns (uint64);

    /// @notice Units a bid has left for further leases; none once it is cancelled.
    function bidLeft(Bid calldata bid) external view returns (uint64);

    /// @notice Who may ask for a close on the market's side.
    function operator() external view returns (address);

    function closeWindow() external view returns (uint64);

    function domainSeparator() external view returns (bytes32);
}
