// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title A lease in one storage word
/// @notice From the low end: locked 48 bits, paid 48, maxUnits 48, claimedUnits 48, expiry 40,
/// feeBps 16, state 8. 48 bits hold 281 million tokens in atoms and 281 tera-units; `open` refuses
/// more. A claim reads and writes this word and no other of the contract.
library LeaseSlot {
    uint8 internal constant NONE = 0;
    uint8 internal constant OPEN = 1;
    uint8 internal constant CLOSING = 2;
    uint8 internal constant CLOSED = 3;

    uint256 internal constant MOST = type(uint48).max;
    uint256 private constant STATE_MASK = uint256(0xff) << 248;
    uint256 private constant PROGRESS_MASK =
        (uint256(type(uint48).max) << 48) | (uint256(type(uint48).max) << 144);

    function pack(uint256 lockedAmount, uint256 units, uint256 expiresAt, uint256 fee)
        internal
        pure
        returns (uint256)
    {
        return lockedAmount | (units << 96) | (expiresAt << 192) | (fee << 232)
            | (uint256(OPEN) << 248);
    }

    function locked(uint256 slot) internal pure returns (uint64) {
        return uint48(slot);
    }

    function paid(uint256 slot) internal pure returns (uint64) {
        return uint48(slot >> 48);
    }

    function maxUnits(uint256 slot) internal pure returns (uint64) {
        return uint48(slot >> 96);
    }

    function claimedUnits(uint256 slot) internal pure returns (uint64) {
        return uint48(slot >> 144);
    }

    function expiry(uint256 slot) internal pure returns (uint64) {
        return uint40(slot >> 192);
    }

    function feeBps(uint256 slot) internal pure returns (uint16) {
        return uint16(slot >> 232);
    }

    function state(uint256 slot) internal pure returns (uint8) {
        return uint8(slot >> 248);
    }

    function withState(uint256 slot, uint8 next) internal pure returns (uint256) {
        return (slot & ~STATE_MASK) | (uint256(next) << 248);
    }

    /// @dev Both values were checked against the lease's maxima, so they fit.
    function withProgress(uint256 slot, uint64 paidAmount, uint64 units)
        internal
        pure
        returns (uint256)
    {
        return (slot & ~PROGRESS_MASK) | (uint256(paidAmount) << 48) | (uint256(units) << 144);
    }

    /// @notice What {ILeases-LeaseOpened} says in one word of a lease just opened.
    function terms(uint256 slot, uint8 unitKind, uint64 price) internal pure returns (uint256) {
        return (uint256(unitKind) << 216) | (uint256(price) << 152)
            | (uint256(maxUnits(slot)) << 104) | (uint256(locked(slot)) << 56)
            | (uint256(expiry(slot)) << 16) | feeBps(slot);
    }

    /// @notice What {ILeases-Claimed} says in one word; both amounts are parts of `paid`, so they fit.
    function totals(uint256 slot, uint64 sequence, uint64 difference, uint64 fee)
        internal
        pure
        returns (uint256)
    {
        return (uint256(sequence) << 192) | (uint256(claimedUnits(slot)) << 144)
            | (uint256(paid(slot)) << 96) | (uint256(difference) << 48) | fee;
    }

    /// @notice The fee on a running total, rounded down: the provider never pays a part atom.
    function feeOf(uint256 slot, uint64 amount) internal pure returns (uint64) {
        unchecked {
            return uint64(uint256(amount) * feeBps(slot) / 10_000); // 64 and 16 bits
        }
    }
}
