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

    uint64 private _size;
    uint64 private _timeMs;
    bytes32 private _root;

    constructor(address operator_) EIP712("Millrace", "1") Ownable(operator_) {}

    /// @inheritdoc IReceiptLog
    function anchor(
        TreeHead calldata head,
        bytes calldata operatorSignature,
        bytes32[] calldata consistencyProof
    ) external {
        uint64 size = _size;
        if (head.size <= size) revert NotNewer(head.size, size);
        if (head.timeMs < _timeMs) revert TimeWentBack(head.timeMs, _timeMs);
        bytes32 digest = _hashTypedDataV4(head.hash());
        address signer = owner();
        if (!Signatures.isValid(signer, digest, operatorSignature)) {
            revert BadSignature(signer, digest);
        }
        if (!MerkleLog.extends(size, _root, head.size, head.root, consistencyProof)) {
            revert NotAnExtension(size, head.size);
        }
        (_size, _timeMs, _root) = (head.size, head.timeMs, head.root);
        emit Anchored(head.size, head.root, head.timeMs);
    }

    /// @inheritdoc IReceiptLog
    function latest() external view returns (uint64 size, bytes32 root, uint64 timeMs) {
        return (_size, _root, _timeMs);
    }

    /// @inheritdoc IReceiptLog
    function verifyInclusion(uint64 size, bytes32 leafHash, uint64 index, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        if (size != _size) revert NotAnchored(size, _size);
        return MerkleLog.includes(size, _root, leafHash, index, proof);
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
}
