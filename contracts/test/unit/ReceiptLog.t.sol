// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {IReceiptLog} from "../../src/interfaces/IReceiptLog.sol";
import {TreeHead} from "../../src/libraries/Messages.sol";
import {Fixture} from "../helpers/Fixture.sol";
import {NaiveTree} from "../helpers/NaiveTree.sol";

contract ReceiptLogTest is Fixture {
    bytes32[] private leaves;
    bytes32[] private none;
    TreeHead private last;

    function setUp() public override {
        super.setUp();
        for (uint256 i = 0; i < 40; ++i) {
            leaves.push(NaiveTree.leaf(abi.encode(keccak256(abi.encode("receipt", i)))));
        }
    }

    function headOf(uint64 size) private view returns (TreeHead memory) {
        return TreeHead(size, NaiveTree.root(leaves, 0, size), uint64(block.timestamp) * 1000);
    }

    function digest(TreeHead memory head) private view returns (bytes32) {
        return
            MessageHashUtils.toTypedDataHash(
                receiptLog.domainSeparator(), messages.hashTreeHead(head)
            );
    }

    function signed(TreeHead memory head) private view returns (bytes memory) {
        return sign(operatorKey, digest(head));
    }

    function anchorAt(uint64 from, uint64 to) private {
        TreeHead memory head = headOf(to);
        receiptLog.anchor(last, head, signed(head), NaiveTree.consistency(leaves, from, to));
        last = head;
    }

    function hashOf(TreeHead memory head) private view returns (bytes32) {
        return messages.hashTreeHead(head);
    }

    // ── refusals, in the order of the checks ────────────────────────────────────────────────────

    function test_RefusesAHeadThatIsNotTheLast() public {
        anchorAt(0, 5);
        TreeHead memory older = last;
        anchorAt(5, 7);
        TreeHead memory head = headOf(9);
        bytes memory signature = signed(head);
        bytes32[] memory proof = NaiveTree.consistency(leaves, 5, 9);
        vm.expectRevert(
            abi.encodeWithSelector(IReceiptLog.NotLatest.selector, hashOf(older), hashOf(last))
        );
        receiptLog.anchor(older, head, signature, proof);
        delete older;
        vm.expectRevert(
            abi.encodeWithSelector(IReceiptLog.NotLatest.selector, bytes32(0), hashOf(last))
        );
        receiptLog.anchor(older, head, signature, none);
    }

    function testFuzz_RefusesALastHeadWithAnyChangedBit(uint256 bit) public {
        anchorAt(0, 5);
        TreeHead memory head = headOf(9);
        bytes memory signature = signed(head);
        bytes32[] memory proof = NaiveTree.consistency(leaves, 5, 9);
        bit = bit % 384;
        if (bit < 64) last.size ^= uint64(1 << bit);
        else if (bit < 128) last.timeMs ^= uint64(1 << (bit - 64));
        else last.root ^= bytes32(1 << (bit - 128));
        vm.expectPartialRevert(IReceiptLog.NotLatest.selector);
        receiptLog.anchor(last, head, signature, proof);
    }

    function test_RefusesEmptyLog() public {
        TreeHead memory head = headOf(0);
        bytes memory signature = signed(head);
        vm.expectRevert(abi.encodeWithSelector(IReceiptLog.NotNewer.selector, 0, 0));
        receiptLog.anchor(last, head, signature, none);
    }

    function test_RefusesSameAndSmallerSize() public {
        anchorAt(0, 5);
        for (uint64 size = 4; size <= 5; ++size) {
            TreeHead memory head = headOf(size);
            bytes memory signature = signed(head);
            vm.expectRevert(abi.encodeWithSelector(IReceiptLog.NotNewer.selector, size, 5));
            receiptLog.anchor(last, head, signature, none);
        }
    }

    function test_RefusesTimeThatWentBack() public {
        anchorAt(0, 5);
        TreeHead memory head = headOf(6);
        head.timeMs -= 1;
        bytes memory signature = signed(head);
        bytes32[] memory proof = NaiveTree.consistency(leaves, 5, 6);
        vm.expectRevert(
            abi.encodeWithSelector(IReceiptLog.TimeWentBack.selector, head.timeMs, head.timeMs + 1)
        );
        receiptLog.anchor(last, head, signature, proof);
    }

    function test_RefusesForgedHead() public {
        TreeHead memory head = headOf(5);
        bytes memory signature = sign(buyerKey, digest(head));
        vm.expectRevert(
            abi.encodeWithSelector(IReceiptLog.BadSignature.selector, operator, digest(head))
        );
        receiptLog.anchor(last, head, signature, none);
    }

    function test_RefusesHeadThatIsNoExtension() public {
        anchorAt(0, 5);
        leaves[2] = keccak256("rewritten");
        TreeHead memory head = headOf(9);
        bytes memory signature = signed(head);
        bytes32[] memory proof = NaiveTree.consistency(leaves, 5, 9);
        vm.expectRevert(abi.encodeWithSelector(IReceiptLog.NotAnExtension.selector, 5, 9));
        receiptLog.anchor(last, head, signature, proof);
        vm.expectRevert(abi.encodeWithSelector(IReceiptLog.NotAnExtension.selector, 5, 9));
        receiptLog.anchor(last, head, signature, none);
    }

    function test_RefusesProofForTheFirstHead() public {
        TreeHead memory head = headOf(5);
        bytes memory signature = signed(head);
        none.push(0);
        vm.expectRevert(abi.encodeWithSelector(IReceiptLog.NotAnExtension.selector, 0, 5));
        receiptLog.anchor(last, head, signature, none);
    }

    function test_RefusesInclusionInAHeadThatIsNotAnchored() public {
        anchorAt(0, 5);
        TreeHead memory other = headOf(6);
        vm.expectRevert(
            abi.encodeWithSelector(IReceiptLog.NotLatest.selector, hashOf(other), hashOf(last))
        );
        receiptLog.verifyInclusion(other, leaves[0], 0, none);
    }

    // ── effects ─────────────────────────────────────────────────────────────────────────────────

    function test_AnchorsAGrowingLog() public {
        uint64 size = 0;
        for (uint64 next = 1; next <= 40; next += 1 + next / 3) {
            TreeHead memory head = headOf(next);
            bytes memory signature = signed(head);
            bytes32[] memory proof = NaiveTree.consistency(leaves, size, next);
            vm.expectEmit(address(receiptLog));
            emit IReceiptLog.Anchored(next, head.root, head.timeMs);
            vm.prank(makeAddr("passer-by"));
            receiptLog.anchor(last, head, signature, proof);
            assertEq(receiptLog.latest(), hashOf(head));
            (size, last) = (next, head);
            vm.warp(block.timestamp + 60);
        }
    }

    function test_TheOperatorsOwnTransactionNeedsNoSignature() public {
        TreeHead memory head = headOf(5);
        vm.prank(operator);
        receiptLog.anchor(last, head, "", none);
        assertEq(receiptLog.latest(), hashOf(head));
    }

    function test_EveryLeafIsProvable() public {
        anchorAt(0, 40);
        for (uint64 i = 0; i < 40; ++i) {
            bytes32[] memory proof = NaiveTree.path(leaves, i, 0, 40);
            assertTrue(receiptLog.verifyInclusion(last, leaves[i], i, proof));
            assertFalse(receiptLog.verifyInclusion(last, leaves[i], (i + 1) % 40, proof));
            assertFalse(receiptLog.verifyInclusion(last, bytes32(uint256(i)), i, proof));
        }
        assertFalse(receiptLog.verifyInclusion(last, leaves[0], 40, none));
    }

    function test_OperatorMovesInTwoSteps() public {
        vm.prank(operator);
        Ownable2Step(address(receiptLog)).transferOwnership(buyer);
        assertEq(receiptLog.operator(), operator);
        vm.prank(buyer);
        Ownable2Step(address(receiptLog)).acceptOwnership();
        TreeHead memory head = headOf(3);
        receiptLog.anchor(last, head, sign(buyerKey, digest(head)), none);
    }

    // ── proofs against the naive tree, every pair of sizes ──────────────────────────────────────

    function test_ConsistencyOfAllPairsUpToTwentyFour() public view {
        for (uint64 n = 0; n <= 24; ++n) {
            bytes32 root = NaiveTree.root(leaves, 0, n);
            for (uint64 m = 0; m <= n; ++m) {
                bytes32[] memory proof = NaiveTree.consistency(leaves, m, n);
                bytes32 old = NaiveTree.root(leaves, 0, m);
                assertTrue(receiptLog.checkConsistency(m, old, n, root, proof));
                if (m == 0) continue;
                assertFalse(receiptLog.checkConsistency(m, ~old, n, root, proof));
                assertFalse(receiptLog.checkConsistency(m, old, n, ~root, proof));
                if (m < n) assertFalse(receiptLog.checkConsistency(m, old, n, root, none));
                bytes32[] memory longer = NaiveTree.append(proof, bytes32(uint256(1)));
                assertFalse(receiptLog.checkConsistency(m, old, n, root, longer));
            }
            assertFalse(receiptLog.checkConsistency(n + 1, root, n, root, none));
        }
    }

    function testFuzz_InclusionMatchesTheNaiveTree(uint64 size, uint64 index, uint256 bit)
        public
        view
    {
        size = uint64(bound(size, 1, 40));
        index = uint64(bound(index, 0, size - 1));
        bytes32 root = NaiveTree.root(leaves, 0, size);
        bytes32[] memory proof = NaiveTree.path(leaves, index, 0, size);
        assertTrue(receiptLog.checkInclusion(size, root, leaves[index], index, proof));
        bytes32[] memory longer = NaiveTree.append(proof, root);
        assertFalse(receiptLog.checkInclusion(size, root, leaves[index], index, longer));
        if (proof.length == 0) return;
        assertFalse(receiptLog.checkInclusion(size, root, leaves[index], index, none));
        uint256 place = (bit / 256) % proof.length;
        proof[place] ^= bytes32(1 << (bit % 256));
        assertFalse(receiptLog.checkInclusion(size, root, leaves[index], index, proof));
    }

    function testFuzz_NoChangedBitPassesForConsistency(uint64 m, uint64 n, uint256 bit)
        public
        view
    {
        n = uint64(bound(n, 2, 40));
        m = uint64(bound(m, 1, n - 1));
        bytes32[] memory proof = NaiveTree.consistency(leaves, m, n);
        uint256 place = (bit / 256) % proof.length;
        proof[place] ^= bytes32(1 << (bit % 256));
        bytes32 old = NaiveTree.root(leaves, 0, m);
        bytes32 root = NaiveTree.root(leaves, 0, n);
        assertFalse(receiptLog.checkConsistency(m, old, n, root, proof));
    }
}
