// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TreeHead} from "../libraries/Messages.sol";

/// @title ReceiptLog: the newest head of the public log, which only grows
/// @dev RFC 9162 Merkle trees with SHA-256. Assumption: the log's data is public, so that anybody
/// can make a proof against the newest head.
interface IReceiptLog {
    event Anchored(uint64 indexed size, bytes32 root, uint64 timeMs);

    error NotNewer(uint64 size, uint64 anchored);
    error TimeWentBack(uint64 timeMs, uint64 anchored);
    error BadSignature(address signer, bytes32 digest);
    error NotAnExtension(uint64 from, uint64 to);
    error NotAnchored(uint64 size, uint64 anchored);

    /// @notice Stores a head signed by the operator. `consistencyProof`: RFC 9162 section 2.1.4
    /// from the head anchored before; empty for the first.
    function anchor(
        TreeHead calldata head,
        bytes calldata operatorSignature,
        bytes32[] calldata consistencyProof
    ) external;

    function latest() external view returns (uint64 size, bytes32 root, uint64 timeMs);

    /// @notice Whether a leaf is in the anchored tree of `size` leaves (the newest head).
    function verifyInclusion(uint64 size, bytes32 leafHash, uint64 index, bytes32[] calldata proof)
        external
        view
        returns (bool);

    /// @notice RFC 9162 section 2.1.3.2 against any root.
    function checkInclusion(
        uint64 size,
        bytes32 root,
        bytes32 leafHash,
        uint64 index,
        bytes32[] calldata proof
    ) external view returns (bool);

    /// @notice RFC 9162 section 2.1.4.2 between any two heads.
    function checkConsistency(
        uint64 fromSize,
        bytes32 fromRoot,
        uint64 toSize,
        bytes32 toRoot,
        bytes32[] calldata proof
    ) external view returns (bool);

    /// @notice Who signs heads.
    function operator() external view returns (address);

    function domainSeparator() external view returns (bytes32);
}
