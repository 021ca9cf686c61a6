// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Receipt} from "../libraries/Messages.sol";
import {ILeases, Parties} from "./ILeases.sol";
import {IProviders} from "./IProviders.sol";

/// @title Disputes: what a worker can be proved guilty of on chain
/// @notice So far one thing: equivocation, two receipts of one lease with one sequence that differ,
/// both signed by the lease's worker key. It needs no game: the two signatures are the proof.
/// @dev Assumptions:
/// - this contract is the slasher of Providers;
/// - a worker key signs a sequence of a lease once, so that two receipts have no honest reason.
interface IDisputes {
    /// @notice `digestA` and `digestB` are what the worker key signed.
    event Equivocated(
        bytes32 indexed lease,
        address indexed provider,
        address indexed challenger,
        uint64 sequence,
        address workerKey,
        bytes32 digestA,
        bytes32 digestB
    );

    error OtherLease(bytes32 lease, bytes32 receiptA, bytes32 receiptB);
    error OtherSequence(uint64 receiptA, uint64 receiptB);
    error SameReceipt(bytes32 digest);
    error UnknownLease(bytes32 lease, bytes32 partiesHash);
    error AlreadyProven(bytes32 lease, uint64 sequence);
    error BadSignature(address signer, bytes32 digest);

    /// @notice Slashes the provider's minimum bond, once for a lease and sequence: 50 % to the
    /// lease's buyer, 30 % to the caller, the rest burned. By anybody, also after the lease ended.
    function proveEquivocation(
        bytes32 lease,
        Parties calldata parties,
        Receipt calldata receiptA,
        bytes calldata signatureA,
        Receipt calldata receiptB,
        bytes calldata signatureB
    ) external;

    /// @notice Whether it was proved of this lease and sequence, whoever the lease is between.
    function isProven(bytes32 lease, uint64 sequence) external view returns (bool);

    function leases() external view returns (ILeases);

    function providers() external view returns (IProviders);
}
