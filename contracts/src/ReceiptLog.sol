// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IReceiptLog} from "./interfaces/IReceiptLog.sol";
import {MerkleLog} from "./libraries/MerkleLog.sol";
import {Messages, TreeHead} from "./libraries/Messages.sol";
import {Signatures} from "./libraries/Signatures.sol";

/// @notice See {IReceiptLog}.
/// @dev The owner is the market's operator. Anybody may bring a head it signed.
contract ReceiptLog is IReceiptLog, EIP712, Ownable2Step {
    using Messages for TreeHead;

    /// @inheritdoc IReceiptLog
    bytes32 public latest;

    constructor(address operator_) EIP712("Millrace", "1") Ownable(operator_) {}

    /// @inheritdoc IReceiptLog
    function anchor(
        TreeHead calldata last,
        TreeHead calldata head,
        bytes calldata operatorSignature,
        bytes32[] calldata consistencyProof
    ) external {
        (uint64 from, uint64 to) = (last.size, head.size);
        _requireLatest(from == 0 ? bytes32(0) : last.hash());
        if (to <= from) revert NotNewer(to, from);
        if (head.timeMs < last.timeMs) revert TimeWentBack(head.timeMs, last.timeMs);
        bytes32 headHash = head.hash();
        address signer = owner();
        if (msg.sender != signer) {
            bytes32 digest = _hashTypedDataV4(headHash);
            if (!Signatures.isValid(signer, digest, operatorSignature)) {
                revert BadSignature(signer, digest);
            }
        }
        if (!MerkleLog.extends(from, last.root, to, head.root, consistencyProof)) {
            revert NotAnExtension(from, to);
        }
        latest = headHash;
        emit Anchored(to, head.root, head.timeMs);
    }

    /// @inheritdoc IReceiptLog
    function verifyInclusion(
        TreeHead calldata head,
        bytes32 leafHash,
        uint64 index,
        bytes32[] calldata proof
    ) external view returns (bool) {
        _requireLatest(head.hash());
        return MerkleLog.includes(head.size, head.root, leafHash, index, proof);
    }

    /// @inheritdoc IReceiptLog
    function checkInclusion(
        uint64 size,
        bytes32 root,
        bytes32 leafHash,
        uint64 index,
        bytes32[] calldata proof
    ) external view returns (bool) {
        return MerkleLog.includes(size, root, leafHash, index, proof);
    }

    /// @inheritdoc IReceiptLog
    function checkConsistency(
        uint64 fromSize,
        bytes32 fromRoot,
        uint64 toSize,
        bytes32 toRoot,
        bytes32[] calldata proof
    ) external view returns (bool) {
        return MerkleLog.extends(fromSize, fromRoot, toSize, toRoot, proof);
    }

    /// @inheritdoc IReceiptLog
    function operator() external view returns (address) {
        return owner();
    }

    /// @inheritdoc IReceiptLog
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    function _requireLatest(bytes32 headHash) private view {
        if (headHash != latest) revert NotLatest(headHash, latest);
    }
}
