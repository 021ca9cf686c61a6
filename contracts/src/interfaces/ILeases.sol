// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ask, Bid, Delegation, Voucher} from "../libraries/Messages.sol";

/// @notice One lease to open. An order its owner signed alone leaves the delegation zero and its
/// signature empty.
struct OpenItem {
    Ask ask;
    bytes askSignature;
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

/// @notice One voucher to redeem.
struct ClaimItem {
    Voucher voucher;
    Parties parties;
    bytes buyerSignature;
    bytes workerSignature;
}

/// @notice What names a lease: keccak256(abi.encode(askHash, bidHash, index)), struct hashes.
struct LeaseKey {
    bytes32 askHash;
    bytes32 bidHash;
    uint64 index;
}

/// @title Leases: matches opened with the maximum locked, paid by vouchers, closed or reclaimed
/// @dev Assumptions:
/// - Escrow and Providers are the ones fixed at deployment and do what their interfaces say;
/// - the voucher signer stops signing for a lease once its close was requested;
/// - block time is right within the windows used (minutes or more).
interface ILeases {
    event LeaseOpened(
        bytes32 indexed lease,
        address indexed buyer,
        address indexed provider,
        bytes32 askHash,
        bytes32 bidHash,
        address voucherSigner,
        address workerKey,
        uint8 unitKind,
        uint64 price,
        uint64 maxUnits,
        uint64 locked,
        uint64 expiry
    );
    /// @param index place of the item in its batch
    /// @param reason the ABI-encoded custom error
    event ItemFailed(bytes32 indexed lease, uint256 index, bytes reason);
    /// @param paid the difference to what was paid before; the provider is credited paid − fee
    event Claimed(
        bytes32 indexed lease,
        address indexed provider,
        uint64 sequence,
        uint64 cumulativeUnits,
        uint64 cumulativeAmount,
        bytes32 receiptsRoot,
        uint64 paid,
        uint64 fee
    );
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
    // Both
    error BadSignature(address signer, bytes32 digest);
    // Cancelling
    error NotOrderOwner(address owner, address caller);
    // Closing
    error UnknownReason(uint8 reason);
    error NotAParty(address caller);
    error AlreadyClosing(bytes32 lease, uint64 finalAt);
    error NotClosing(bytes32 lease);
    error TooEarly(uint64 nowAt, uint64 since);
    error WrongContract(address expected, address found);

    /// @notice Opens leases and locks the maximum of each. An item that cannot be opened is
    /// reported by `ItemFailed` and leaves the others alone.
    function open(OpenItem[] calldata items) external;

    /// @notice Pays what each voucher owes beyond what was paid. A voucher that owes nothing more
    /// is passed over; one that is wrong is reported by `ItemFailed`.
    function claim(ClaimItem[] calldata items) external;

    /// @notice Asks for a close. By buyer, voucher signer or operator: claims stay possible for
    /// the close window. By provider or worker key: closes at once.
    function requestClose(LeaseKey calldata key, Parties calldata parties, uint8 reason) external;

    /// @notice Closes for good after the close window and frees what was not paid. By anybody.
    function finalizeClose(bytes32 lease, Parties calldata parties) external;

    /// @notice Closes a lease nobody closed, a close window after its expiry. By anybody.
    function reclaim(LeaseKey calldata key, Parties calldata parties) external;

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

    /// @notice When a requested close becomes final; zero when none is pending.
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
