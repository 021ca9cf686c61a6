// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TreeHead} from "../libraries/Messages.sol";

/// @title ReceiptLog: the newest head of the public log, which only grows
/// @dev RFC 9162 Merkle trees with SHA-256. Assumption: the log's data is public, so that anybody
/// can make a proof against the newest head.
interface IReceiptLog {
    event Anchored(uint64 indexed size, bytes32 root, uint64 timeMs);

    error NotLatest(bytes32 headHash, bytes32 anchored);
    error NotNewer(uint64 size, uint64 anchored);
    error TimeWentBack(uint64 timeMs, uint64 anchored);
    error BadSignature(address signer, bytes32 digest);
    error NotAnExtension(uint64 from, uint64 to);

    /// @notice Replaces the newest head by one that extends it. By anybody who has the operator's
    /// signature; the operator's own transaction needs none.
    /// @param last the newest head, all zero when there is none; only its hash is stored
    /// @param consistencyProof RFC 9162 section 2.1.4 from `last`; empty for the first
    function anchor(
        TreeHead calldata last,
        TreeHead calldata head,
        bytes calldata operatorSignature,
        bytes32[] calldata consistencyProof
    ) external;

    /// @notice EIP-712 struct hash of the newest head; zero when there is none. The head itself is
    /// what the last `Anchored` says.
    function latest() external view returns (bytes32 headHash);

    /// @notice Whether a leaf is in the tree of the newest head.
    function verifyInclusion(
        TreeHead calldata head,
        bytes32 leafHash,
        uint64 index,
        bytes32[] calldata proof
    ) external view returns (bool);

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
