// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {Parties} from "../../src/interfaces/ILeases.sol";
import {IProviders} from "../../src/interfaces/IProviders.sol";
import {Receipt as WorkReceipt} from "../../src/libraries/Messages.sol";
import {Fixture, Opening} from "../helpers/Fixture.sol";

contract DisputesTest is Fixture {
    address private challenger = makeAddr("challenger");
    Opening private item;
    Parties private parties;
    bytes32 private lease;
    WorkReceipt private one;
    WorkReceipt private two;

    function setUp() public override {
        super.setUp();
        item = makeDelegatedItem();
        lease = openOne(item);
        parties = partiesOf(item);
        one = makeReceipt(7);
        two = makeReceipt(7);
        two.responseHash = keccak256("another response");
    }

    function makeReceipt(uint64 sequence) private view returns (WorkReceipt memory receipt) {
        receipt.lease = lease;
        receipt.sequence = sequence;
        receipt.unitKind = 3;
        receipt.cumulativeUnits = 100;
        receipt.price = PRICE;
        receipt.cumulativeAmount = 100 * PRICE;
        receipt.responseHash = keccak256("response");
    }

    function digest(WorkReceipt memory receipt) private view returns (bytes32) {
        return digestOf(messages.hashReceipt(receipt));
    }

    function signed(WorkReceipt memory receipt) private view returns (bytes memory) {
        return sign(workerKey, digest(receipt));
    }

    function prove() private {
        (bytes memory first, bytes memory second) = (signed(one), signed(two));
        vm.prank(challenger);
        disputes.proveEquivocation(lease, parties, one, first, two, second);
    }

    function refuse(bytes memory reason) private {
        (bytes memory first, bytes memory second) = (signed(one), signed(two));
        vm.expectRevert(reason);
        disputes.proveEquivocation(lease, parties, one, first, two, second);
        assertEq(providers.bondOf(provider), MIN_BOND);
        assertFalse(disputes.isProven(lease, 7));
    }

    // ── refusals, in the order of the checks ────────────────────────────────────────────────────

    function test_RefusesReceiptsOfAnotherLease() public {
        bytes32 other = keccak256("another lease");
        one.lease = other;
        refuse(abi.encodeWithSelector(IDisputes.OtherLease.selector, lease, other, lease));
        (one.lease, two.lease) = (lease, other);
        refuse(abi.encodeWithSelector(IDisputes.OtherLease.selector, lease, lease, other));
    }

    function test_RefusesReceiptsOfTwoSequences() public {
        two.sequence = 8;
        refuse(abi.encodeWithSelector(IDisputes.OtherSequence.selector, 7, 8));
    }

    function test_RefusesTheSameReceiptTwice() public {
        two = one;
        refuse(abi.encodeWithSelector(IDisputes.SameReceipt.selector, digest(one)));
    }

    function test_RefusesALeaseThatIsNot() public {
        lease = keccak256("no lease");
        (one.lease, two.lease) = (lease, lease);
        refuse(abi.encodeWithSelector(IDisputes.UnknownLease.selector, lease, hashOf(parties)));
    }

    function test_RefusesOtherParties() public {
        parties.buyer = challenger;
        refuse(abi.encodeWithSelector(IDisputes.UnknownLease.selector, lease, hashOf(parties)));
    }

    function test_RefusesASecondProofOfTheSameSequence() public {
        prove();
        one.modelHash = keccak256("a third receipt");
        (bytes memory first, bytes memory second) = (signed(one), signed(two));
        vm.expectRevert(abi.encodeWithSelector(IDisputes.AlreadyProven.selector, lease, 7));
        disputes.proveEquivocation(lease, parties, one, first, two, second);
    }

    function test_RefusesForgedSignatures() public {
        bytes memory good = signed(one);
        bytes memory forged = sign(buyerKey, digest(one));
        bytes memory other = signed(two);
        bytes memory reason =
            abi.encodeWithSelector(IDisputes.BadSignature.selector, worker, digest(one));
        vm.expectRevert(reason);
        disputes.proveEquivocation(lease, parties, one, forged, two, other);
        vm.expectRevert(reason);
        disputes.proveEquivocation(lease, parties, one, other, two, good);
        forged = sign(providerKey, digest(two));
        reason = abi.encodeWithSelector(IDisputes.BadSignature.selector, worker, digest(two));
        vm.expectRevert(reason);
        disputes.proveEquivocation(lease, parties, one, good, two, forged);
    }

    function test_OnlyTheSlasherSlashes() public {
        vm.prank(owner);
        providers.setSlasher(operator);
        refuse(abi.encodeWithSelector(IProviders.NotSlasher.selector, address(disputes)));
    }

    // ── effects ─────────────────────────────────────────────────────────────────────────────────

    function test_SlashesTheMinimumBond() public {
        vm.expectEmit(address(disputes));
        emit IDisputes.Equivocated(lease, provider, challenger, 7, worker, digest(one), digest(two));
        vm.expectEmit(address(providers));
        emit IProviders.Slashed(
            provider, buyer, challenger, MIN_BOND / 2, MIN_BOND * 3 / 10, MIN_BOND / 5
        );
        prove();
        assertTrue(disputes.isProven(lease, 7));
        assertEq(providers.bondOf(provider), 0);
        assertEq(providers.owedTo(buyer), MIN_BOND / 2);
        assertEq(providers.owedTo(challenger), MIN_BOND * 3 / 10);
        assertEq(providers.owedTo(providers.BURNED()), MIN_BOND / 5);
        assertFalse(providers.isActive(provider, worker), "no new leases without a bond");
    }

    function test_EachSequenceIsOneOffence() public {
        token.mint(provider, MIN_BOND);
        vm.startPrank(provider);
        token.approve(address(providers), MIN_BOND);
        providers.addBond(MIN_BOND);
        vm.stopPrank();
        prove();
        assertEq(providers.bondOf(provider), MIN_BOND);
        (one.sequence, two.sequence) = (8, 8);
        prove();
        assertEq(providers.bondOf(provider), 0);
        assertTrue(disputes.isProven(lease, 8));
    }

    function test_LeavingIsNoWayAround() public {
        vm.prank(provider);
        providers.requestUnbond(MIN_BOND);
        closeBy(provider, item, 1);
        prove();
        (uint64 unbonding,) = providers.unbondingOf(provider);
        assertEq(unbonding, 0);
    }

    function testFuzz_NoReceiptEquivocatesWithItself(uint64 sequence, uint256 bit) public {
        one = makeReceipt(sequence);
        bytes memory flat = abi.encode(one);
        // Past lease and sequence, of the fields that fill their word.
        uint256[4] memory full = [uint256(2), 7, 8, 9];
        uint256 word = full[(bit / 256) % 4];
        flat[word * 32 + (bit % 256) / 8] ^= bytes1(uint8(1 << (bit % 8)));
        two = abi.decode(flat, (WorkReceipt));
        prove();
        assertTrue(disputes.isProven(lease, sequence));
        (bytes memory first, bytes memory second) = (signed(one), signed(one));
        vm.expectRevert(abi.encodeWithSelector(IDisputes.SameReceipt.selector, digest(one)));
        disputes.proveEquivocation(lease, parties, one, first, one, second);
    }

    function testFuzz_NoChangedBitOfASignaturePasses(uint256 bit) public {
        (bytes memory first, bytes memory second) = (signed(one), signed(two));
        bit = bit % (65 * 8);
        first[bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
        vm.expectRevert(
            abi.encodeWithSelector(IDisputes.BadSignature.selector, worker, digest(one))
        );
        disputes.proveEquivocation(lease, parties, one, first, two, second);
    }
}
