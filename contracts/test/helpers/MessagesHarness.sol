// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {
    Ask,
    Bid,
    Delegation,
    Messages,
    Objection,
    Receipt,
    TreeHead,
    Units,
    Voucher
} from "../../src/libraries/Messages.sol";

/// @notice Library functions of messages, callable with calldata.
contract MessagesHarness {
    function hashAsk(Ask calldata message) external pure returns (bytes32) {
        return Messages.hash(message);
    }

    function hashBid(Bid calldata message) external pure returns (bytes32) {
        return Messages.hash(message);
    }

    function hashDelegation(Delegation calldata message) external pure returns (bytes32) {
        return Messages.hash(message);
    }

    function hashReceipt(Receipt calldata message) external pure returns (bytes32) {
        return Messages.hash(message);
    }

    function hashVoucher(Voucher calldata message) external pure returns (bytes32) {
        return Messages.hash(message);
    }

    function hashObjection(Objection calldata message) external pure returns (bytes32) {
        return Messages.hash(message);
    }

    function hashTreeHead(TreeHead calldata message) external pure returns (bytes32) {
        return Messages.hash(message);
    }

    function amountFor(uint8 kind, uint64 units, uint64 price) external pure returns (uint256) {
        return Units.amountFor(kind, units, price);
    }
}
