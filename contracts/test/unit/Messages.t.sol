// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {
    Ask,
    Bid,
    Delegation,
    Objection,
    Receipt as WorkReceipt,
    TreeHead,
    Voucher
} from "../../src/libraries/Messages.sol";
import {MessagesHarness} from "../helpers/MessagesHarness.sol";

/// @notice The golden vectors, made by viem, against the Solidity hashes.
contract MessagesTest is Test {
    MessagesHarness private harness = new MessagesHarness();
    string private json = vm.readFile("../tests/vectors/eip712.json");

    function test_VectorsHashAlike() public view {
        uint256 count = 0;
        uint256[7] memory perType;
        while (vm.keyExistsJson(json, _at(count, ""))) {
            string memory kind = _text(count, ".primaryType");
            (bytes32 found, uint256 place) = _structHash(count, kind);
            string memory name = _text(count, ".name");
            assertEq(found, _word(count, ".structHash"), name);
            bytes32 digest = MessageHashUtils.toTypedDataHash(_separator(count), found);
            assertEq(digest, _word(count, ".digest"), name);
            bytes memory signature = vm.parseJsonBytes(json, _at(count, ".signature"));
            assertEq(ECDSA.recover(digest, signature), _addr(count, ".signer"), name);
            ++perType[place];
            ++count;
        }
        for (uint256 i = 0; i < 7; ++i) {
            assertGe(perType[i], 5, "at least five per message");
        }
    }

    function testFuzz_AmountIsCeiling(uint8 kind, uint64 units, uint64 price) public view {
        uint256 scale = kind == 0 ? 3_600_000 : kind == 3 ? 1 : 1_000_000;
        uint256 amount = harness.amountFor(kind, units, price);
        assertGe(amount * scale, uint256(units) * price);
        if (amount != 0) assertLt((amount - 1) * scale, uint256(units) * price);
    }

    function _structHash(uint256 i, string memory kind)
        private
        view
        returns (bytes32 found, uint256 place)
    {
        bytes32 name = keccak256(bytes(kind));
        if (name == keccak256("Ask")) return (harness.hashAsk(_ask(i)), 0);
        if (name == keccak256("Bid")) return (harness.hashBid(_bid(i)), 1);
        if (name == keccak256("Delegation")) return (harness.hashDelegation(_delegation(i)), 2);
        if (name == keccak256("Receipt")) return (harness.hashReceipt(_receipt(i)), 3);
        if (name == keccak256("Voucher")) return (harness.hashVoucher(_voucher(i)), 4);
        if (name == keccak256("Objection")) return (harness.hashObjection(_objection(i)), 6);
        assertEq(kind, "TreeHead");
        return (harness.hashTreeHead(_head(i)), 5);
    }

    function _ask(uint256 i) private view returns (Ask memory m) {
        m.provider = _addr(i, ".message.provider");
        m.resourceHash = _word(i, ".message.resourceHash");
        m.unitKind = uint8(_number(i, ".message.unitKind"));
        m.price = _number(i, ".message.price");
        m.minUnits = _number(i, ".message.minUnits");
        m.maxUnits = _number(i, ".message.maxUnits");
        m.orderClass = uint8(_number(i, ".message.orderClass"));
        m.reclaimWindow = uint32(_number(i, ".message.reclaimWindow"));
        m.earliest = _number(i, ".message.earliest");
        m.expiry = _number(i, ".message.expiry");
        m.volume = _number(i, ".message.volume");
        m.matcher = _addr(i, ".message.matcher");
        m.salt = _word(i, ".message.salt");
    }

    function _bid(uint256 i) private view returns (Bid memory m) {
        m.buyer = _addr(i, ".message.buyer");
        m.jobSpecHash = _word(i, ".message.jobSpecHash");
        m.unitKind = uint8(_number(i, ".message.unitKind"));
        m.priceCeiling = _number(i, ".message.priceCeiling");
        m.maxAmount = _number(i, ".message.maxAmount");
        m.constraintsHash = _word(i, ".message.constraintsHash");
        m.orderClass = uint8(_number(i, ".message.orderClass"));
        m.verificationTier = uint8(_number(i, ".message.verificationTier"));
        m.earliest = _number(i, ".message.earliest");
        m.deadline = _number(i, ".message.deadline");
        m.expiry = _number(i, ".message.expiry");
        m.volume = _number(i, ".message.volume");
        m.matcher = _addr(i, ".message.matcher");
        m.salt = _word(i, ".message.salt");
    }

    function _delegation(uint256 i) private view returns (Delegation memory m) {
        m.owner = _addr(i, ".message.owner");
        m.delegate = _addr(i, ".message.delegate");
        m.scope = uint8(_number(i, ".message.scope"));
        m.spendCap = _number(i, ".message.spendCap");
        m.expiry = _number(i, ".message.expiry");
        m.nonce = _number(i, ".message.nonce");
    }

    function _receipt(uint256 i) private view returns (WorkReceipt memory m) {
        m.lease = _word(i, ".message.lease");
        m.sequence = _number(i, ".message.sequence");
        m.previous = _word(i, ".message.previous");
        m.unitKind = uint8(_number(i, ".message.unitKind"));
        m.cumulativeUnits = _number(i, ".message.cumulativeUnits");
        m.price = _number(i, ".message.price");
        m.cumulativeAmount = _number(i, ".message.cumulativeAmount");
        m.modelHash = _word(i, ".message.modelHash");
        m.requestHash = _word(i, ".message.requestHash");
        m.responseHash = _word(i, ".message.responseHash");
        m.startMs = _number(i, ".message.startMs");
        m.endMs = _number(i, ".message.endMs");
    }

    function _voucher(uint256 i) private view returns (Voucher memory m) {
        m.lease = _word(i, ".message.lease");
        m.sequence = _number(i, ".message.sequence");
        m.cumulativeUnits = _number(i, ".message.cumulativeUnits");
        m.cumulativeAmount = _number(i, ".message.cumulativeAmount");
        m.receiptsRoot = _word(i, ".message.receiptsRoot");
    }

    function _objection(uint256 i) private view returns (Objection memory m) {
        m.lease = _word(i, ".message.lease");
        m.receipt = _word(i, ".message.receipt");
    }

    function _head(uint256 i) private view returns (TreeHead memory m) {
        m.size = _number(i, ".message.size");
        m.root = _word(i, ".message.root");
        m.timeMs = _number(i, ".message.timeMs");
    }

    function _separator(uint256 i) private view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256(bytes(_text(i, ".domain.name"))),
                keccak256(bytes(_text(i, ".domain.version"))),
                vm.parseJsonUint(json, _at(i, ".domain.chainId")),
                _addr(i, ".domain.verifyingContract")
            )
        );
    }

    function _at(uint256 i, string memory path) private pure returns (string memory) {
        return string.concat("$[", vm.toString(i), "]", path);
    }

    function _text(uint256 i, string memory path) private view returns (string memory) {
        return vm.parseJsonString(json, _at(i, path));
    }

    function _word(uint256 i, string memory path) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, _at(i, path));
    }

    function _addr(uint256 i, string memory path) private view returns (address) {
        return vm.parseJsonAddress(json, _at(i, path));
    }

    function _number(uint256 i, string memory path) private view returns (uint64) {
        return uint64(vm.parseJsonUint(json, _at(i, path)));
    }
}
