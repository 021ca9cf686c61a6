// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILeases, LeaseKey, Parties} from "../interfaces/ILeases.sol";
import {Voucher} from "./Messages.sol";

/// @notice The claim at hand. Signatures stay in the call data, where these places name them.
struct Claim {
    Voucher voucher;
    Parties parties;
    LeaseKey key;
    bool isNamed; // by its key, which a claim of the last unit needs
    uint256 buyerSignature;
    uint256 workerSignature;
}

/// @title Reads a packed batch of claims
/// @notice The form is described at {ILeases-claim}. The members of a group share provider and
/// worker key. Every byte belongs to exactly one field, so that a batch has one reading.
library PackedClaims {
    uint256 private constant GROUP_BYTES = 41;

    /// @notice Where a batch begins and ends in the call data.
    function bounds(bytes calldata batch) internal pure returns (uint256 offset, uint256 end) {
        assembly ("memory-safe") {
            offset := batch.offset
        }
        end = offset + batch.length;
    }

    /// @notice Memory for a claim, filled again and again by the functions below.
    function make() internal pure returns (Claim memory claim) {}

    function readGroup(Claim memory claim, uint256 offset, uint256 end)
        internal
        pure
        returns (uint256 next, uint256 count)
    {
        next = offset + GROUP_BYTES;
        if (next > end) revert ILeases.MalformedBatch(offset);
        claim.parties.provider = _address(offset);
        claim.parties.workerKey = _address(offset + 20);
        count = uint8(bytes1(_word(offset + 40)));
        if (count == 0) revert ILeases.MalformedBatch(offset);
    }

    /// @dev Reads zeros beyond the call data; what was read is of use only when it ends in time.
    function readItem(Claim memory claim, uint256 offset, uint256 end)
        internal
        pure
        returns (uint256 next)
    {
        uint256 form = uint8(bytes1(_word(offset)));
        if (form > 1) revert ILeases.MalformedBatch(offset);
        Voucher memory voucher = claim.voucher;
        claim.isNamed = form == 1;
        if (form == 1) {
            LeaseKey memory key = claim.key;
            key.askHash = _word(offset + 1);
            key.bidHash = _word(offset + 33);
            key.index = uint64(bytes8(_word(offset + 65)));
            voucher.lease = idOf(key);
            next = offset + 73;
        } else {
            voucher.lease = _word(offset + 1);
            next = offset + 33;
        }
        Parties memory parties = claim.parties;
        // The fields of both structs are words in the order of their declaration.
        assembly ("memory-safe") {
            let word := calldataload(next)
            mstore(add(voucher, 0x20), shr(192, word))
            mstore(add(voucher, 0x40), and(shr(144, word), 0xffffffffffff))
            mstore(add(voucher, 0x60), and(shr(96, word), 0xffffffffffff))
            mstore(add(voucher, 0x80), calldataload(add(next, 20)))
            mstore(parties, shr(96, calldataload(add(next, 52))))
            mstore(add(parties, 0x40), shr(96, calldataload(add(next, 72))))
            let signature := add(next, 92)
            mstore(add(claim, 0x80), signature)
            signature := add(add(signature, 2), shr(240, calldataload(signature)))
            mstore(add(claim, 0xa0), signature)
            next := add(add(signature, 2), shr(240, calldataload(signature)))
        }
        if (next > end) revert ILeases.MalformedBatch(offset);
    }

    /// @notice The signature at a place: its length in two bytes, then itself.
    function signatureAt(uint256 offset) internal pure returns (bytes calldata signature) {
        assembly ("memory-safe") {
            signature.offset := add(offset, 2)
            signature.length := shr(240, calldataload(offset))
        }
    }

    /// @notice The name of a lease.
    function idOf(LeaseKey memory key) internal pure returns (bytes32 lease) {
        assembly ("memory-safe") {
            lease := keccak256(key, 0x60)
        }
    }

    /// @notice keccak256(abi.encode(parties)).
    function hashOf(Parties memory parties) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            hash := keccak256(parties, 0x80)
        }
    }

    function _address(uint256 offset) private pure returns (address) {
        return address(bytes20(_word(offset)));
    }

    function _word(uint256 offset) private pure returns (bytes32 word) {
        assembly ("memory-safe") {
            word := calldataload(offset)
        }
    }
}
