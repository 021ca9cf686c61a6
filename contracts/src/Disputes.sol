// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {IDisputes} from "./interfaces/IDisputes.sol";
import {ILeases, Parties} from "./interfaces/ILeases.sol";
import {IProviders} from "./interfaces/IProviders.sol";
import {Messages, Receipt} from "./libraries/Messages.sol";
import {Signatures} from "./libraries/Signatures.sol";

/// @notice See {IDisputes}.
contract Disputes is IDisputes {
    using Messages for Receipt;

    /// @inheritdoc IDisputes
    ILeases public immutable leases;
    /// @inheritdoc IDisputes
    IProviders public immutable providers;
    /// @inheritdoc IDisputes
    mapping(bytes32 lease => mapping(uint64 sequence => bool)) public isProven;

    constructor(ILeases leases_, IProviders providers_) {
        leases = leases_;
        providers = providers_;
    }

    /// @inheritdoc IDisputes
    function proveEquivocation(
        bytes32 lease,
        Parties calldata parties,
        Receipt calldata receiptA,
        bytes calldata signatureA,
        Receipt calldata receiptB,
        bytes calldata signatureB
    ) external {
        if (receiptA.lease != lease || receiptB.lease != lease) {
            revert OtherLease(lease, receiptA.lease, receiptB.lease);
        }
        uint64 sequence = receiptA.sequence;
        if (receiptB.sequence != sequence) revert OtherSequence(sequence, receiptB.sequence);
        bytes32 digestA = _digest(receiptA);
        bytes32 digestB = _digest(receiptB);
        if (digestA == digestB) revert SameReceipt(digestA);
        _requireLease(lease, parties);
        if (isProven[lease][sequence]) revert AlreadyProven(lease, sequence);
        _requireSigned(parties.workerKey, digestA, signatureA);
        _requireSigned(parties.workerKey, digestB, signatureB);

        isProven[lease][sequence] = true;
        emit Equivocated(
            lease, parties.provider, msg.sender, sequence, parties.workerKey, digestA, digestB
        );
        providers.slash(parties.provider, providers.minimumBond(), parties.buyer, msg.sender);
    }

    function _digest(Receipt calldata receipt) private view returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(leases.domainSeparator(), receipt.hash());
    }

    function _requireLease(bytes32 lease, Parties calldata parties) private view {
        bytes32 partiesHash = keccak256(abi.encode(parties));
        (,,,,, uint8 state,) = leases.leases(lease, partiesHash);
        if (state == 0) revert UnknownLease(lease, partiesHash);
    }

    function _requireSigned(address signer, bytes32 digest, bytes calldata signature) private view {
        if (!Signatures.isValid(signer, digest, signature)) revert BadSignature(signer, digest);
    }
}
