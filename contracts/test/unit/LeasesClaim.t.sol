// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {ILeases, Parties} from "../../src/interfaces/ILeases.sol";
import {Ask, Bid, Voucher} from "../../src/libraries/Messages.sol";
import {Claiming, Fixture, Opening} from "../helpers/Fixture.sol";

contract LeasesClaimTest is Fixture {
    Opening private item;
    Parties private parties;
    bytes32 private lease;

    function setUp() public override {
        super.setUp();
        item = makeDelegatedItem();
        lease = openOne(item);
        parties = partiesOf(item);
    }

    function paidOf() private view returns (uint64 paid, uint64 units) {
        (, paid,, units,,,) = leases.leases(lease, hashOf(parties));
    }

    function refuse(Claiming memory claim, bytes memory reason) private {
        (uint64 paid,) = paidOf();
        uint64 earned = creditOf(provider);
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(claim.voucher.lease, 0, reason);
        claimOne(claim);
        (uint64 paidAfter,) = paidOf();
        assertEq(paidAfter, paid);
        assertEq(creditOf(provider), earned);
    }

    // ── refusals, in the order of the checks ────────────────────────────────────────────────────

    function test_RefusesUnknownLease() public {
        Claiming memory claim = signVoucher(makeVoucher(keccak256("no"), 1), parties);
        refuse(
            claim,
            abi.encodeWithSelector(ILeases.UnknownLease.selector, keccak256("no"), hashOf(parties))
        );
    }

    function test_RefusesOtherParties() public {
        Parties memory others = parties;
        others.provider = operator;
        Claiming memory claim = signVoucher(makeVoucher(lease, 1), others);
        refuse(claim, abi.encodeWithSelector(ILeases.UnknownLease.selector, lease, hashOf(others)));
    }

    function test_PassesOverWhatOwesNothing() public {
        claimUnits(item, 100);
        vm.recordLogs();
        claimUnits(item, 100);
        claimUnits(item, 99);
        claimOne(signVoucher(makeVoucher(lease, 0), parties));
        assertEq(vm.getRecordedLogs().length, 0);
        assertEq(creditOf(provider), 148_500);
    }

    function test_RefusesClosedLease() public {
        closeBy(worker, item, 1);
        refuse(
            signVoucher(makeVoucher(lease, 1), parties),
            abi.encodeWithSelector(ILeases.LeaseIsClosed.selector, lease)
        );
    }

    function test_RefusesUnitsAboveTheLease() public {
        Voucher memory voucher = makeVoucher(lease, UNITS + 1);
        refuse(
            signVoucher(voucher, parties),
            abi.encodeWithSelector(ILeases.UnitsAboveLease.selector, UNITS + 1, UNITS)
        );
    }

    function test_RefusesUnitsThatFell() public {
        claimUnits(item, 100);
        Voucher memory voucher = makeVoucher(lease, 99);
        voucher.cumulativeAmount = 100 * PRICE + 1;
        refuse(
            signVoucher(voucher, parties),
            abi.encodeWithSelector(ILeases.UnitsFell.selector, 99, 100)
        );
    }

    function test_RefusesAmountAboveTheLock() public {
        Voucher memory voucher = makeVoucher(lease, UNITS);
        voucher.cumulativeAmount += 1;
        refuse(
            signVoucher(voucher, parties),
            abi.encodeWithSelector(
                ILeases.AmountAboveLock.selector, UNITS * PRICE + 1, UNITS * PRICE
            )
        );
    }

    function test_RefusesAmountAboveThePrice() public {
        Voucher memory voucher = makeVoucher(lease, 100);
        voucher.cumulativeAmount += 1;
        refuse(
            signVoucher(voucher, parties),
            abi.encodeWithSelector(ILeases.AmountAbovePrice.selector, 100 * PRICE + 1, 100 * PRICE)
        );
    }

    function test_RefusesForgedBuyer() public {
        Claiming memory claim = signVoucher(makeVoucher(lease, 1), parties);
        bytes32 digest = digestOf(messages.hashVoucher(claim.voucher));
        claim.buyerSignature = sign(buyerKey, digest);
        refuse(claim, abi.encodeWithSelector(ILeases.BadSignature.selector, delegate, digest));
    }

    function test_RefusesForgedWorker() public {
        Claiming memory claim = signVoucher(makeVoucher(lease, 1), parties);
        bytes32 digest = digestOf(messages.hashVoucher(claim.voucher));
        claim.workerSignature = sign(providerKey, digest);
        refuse(claim, abi.encodeWithSelector(ILeases.BadSignature.selector, worker, digest));
    }

    // ── effects ─────────────────────────────────────────────────────────────────────────────────

    function test_PaysAndKeepsTheFee() public {
        Claiming memory claim = signVoucher(makeVoucher(lease, 100), parties);
        vm.expectEmit(address(leases));
        emit ILeases.Claimed(
            lease, claim.voucher.receiptsRoot, totalsOf(100, 100, 150_000, 150_000, 1_500)
        );
        vm.expectEmit(address(escrow));
        emit IEscrow.Credited(provider, 148_500);
        claimOne(claim);
        (uint64 paid, uint64 units) = paidOf();
        assertEq(paid, 150_000);
        assertEq(units, 100);
        assertEq(creditOf(provider), 148_500);
        assertEq(creditOf(address(treasury)), 0, "at close");
        assertEq(lockedOf(buyer), UNITS * PRICE);
    }

    function test_PaysTheDifferenceOfAHigherVoucher() public {
        claimUnits(item, 100);
        Claiming memory claim = signVoucher(makeVoucher(lease, 299), parties);
        vm.expectEmit(address(leases));
        emit ILeases.Claimed(
            lease, claim.voucher.receiptsRoot, totalsOf(299, 299, 448_500, 298_500, 2_985)
        );
        claimOne(claim);
        assertEq(creditOf(provider), 444_015);
    }

    function test_KeepsTheFeeOfTheDayItWasOpened() public {
        vm.prank(owner);
        treasury.setFeeBps(500);
        claimUnits(item, 100);
        assertEq(creditOf(provider), 148_500);
    }

    function test_AnybodyMayBringAVoucher() public {
        Claiming memory claim = signVoucher(makeVoucher(lease, 100), parties);
        vm.prank(makeAddr("passer-by"));
        leases.claim(only(claim));
        assertEq(creditOf(provider), 148_500);
    }

    function test_PaysAfterExpiryUntilReclaimed() public {
        vm.warp(item.bid.deadline + CLOSE_WINDOW + 1);
        claimUnits(item, 100);
        assertEq(creditOf(provider), 148_500);
    }

    function test_GoodItemsOfABatchGoOnWithoutTheBad() public {
        Claiming[] memory items = new Claiming[](4);
        items[0] = signVoucher(makeVoucher(keccak256("no"), 1), parties);
        items[1] = signVoucher(makeVoucher(lease, 10), parties);
        items[2] = signVoucher(makeVoucher(lease, 10), parties);
        items[3] = signVoucher(makeVoucher(lease, 20), parties);
        vm.expectEmit(address(escrow));
        emit IEscrow.Credited(provider, 29_700);
        leases.claim(packed(items));
        (uint64 paid,) = paidOf();
        assertEq(paid, 30_000);
    }

    // ── the claim of the last unit ──────────────────────────────────────────────────────────────

    function test_RefusesTheLastUnitOfALeaseNotNamedByItsKey() public {
        Claiming memory claim = signVoucher(makeVoucher(lease, UNITS), parties);
        refuse(claim, abi.encodeWithSelector(ILeases.KeyMissing.selector, lease));
    }

    function test_RefusesTheKeyOfAnotherLease() public {
        Claiming memory claim = claimOf(item, UNITS);
        claim.key.index = 1;
        bytes32 other = keccak256(abi.encode(claim.key));
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(
            other, 0, abi.encodeWithSelector(ILeases.UnknownLease.selector, other, hashOf(parties))
        );
        claimOne(claim);
        assertEq(creditOf(provider), 0);
    }

    function test_AnyClaimMayNameItsLeaseByTheKey() public {
        Claiming memory claim = claimOf(item, 100);
        claim.key = keyOf(item);
        claimOne(claim);
        assertEq(creditOf(provider), 148_500);
        assertEq(stateOf(item), 1);
    }

    function test_TheLastUnitClosesTheLease() public {
        claimUnits(item, 100);
        Claiming memory claim = claimOf(item, UNITS);
        vm.expectEmit(address(leases));
        emit ILeases.Claimed(
            lease, claim.voucher.receiptsRoot, totalsOf(300, 300, 450_000, 300_000, 3_000)
        );
        vm.expectEmit(address(leases));
        emit ILeases.LeaseClosed(lease, 450_000, 0, 1);
        vm.expectEmit(address(escrow));
        emit IEscrow.Credited(provider, 297_000);
        vm.expectEmit(address(escrow));
        emit IEscrow.Credited(address(treasury), 4_500);
        claimOne(claim);
        assertEq(stateOf(item), 3);
        assertEq(creditOf(provider), 445_500);
        assertEq(creditOf(address(treasury)), 4_500);
        assertEq(lockedOf(buyer), 0);
        assertEq(freeOf(buyer), 100e6 - 450_000);
        assertEq(leases.askOutstanding(keyOf(item).askHash), 0);
        assertEq(leases.bidLeft(item.bid), 0);
        assertEq(leases.spentBy(buyer, delegate), 450_000);
    }

    /// @notice A bill below the price times the units: the rest of the lock is free again.
    function test_TheLastUnitFreesWhatItDidNotCost() public {
        Claiming memory claim = claimOf(item, UNITS);
        Voucher memory voucher = claim.voucher;
        voucher.cumulativeAmount -= 50_000;
        claim = signVoucher(voucher, parties);
        claim.key = keyOf(item);
        vm.expectEmit(address(leases));
        emit ILeases.LeaseClosed(lease, 400_000, 50_000, 1);
        vm.expectEmit(address(escrow));
        emit IEscrow.Unlocked(buyer, 50_000);
        claimOne(claim);
        assertEq(freeOf(buyer), 100e6 - 400_000);
        assertEq(leases.spentBy(buyer, delegate), 400_000);
    }

    function test_TheLastUnitEndsAPendingClose() public {
        closeBy(buyer, item, 2);
        assertEq(leases.bidLeft(item.bid), UNITS);
        claimUnits(item, UNITS);
        assertEq(stateOf(item), 3);
        assertEq(leases.bidLeft(item.bid), 0, "late units come off");
        assertEq(leases.askOutstanding(keyOf(item).askHash), 0);
        assertEq(lockedOf(buyer), 0);
        vm.warp(block.timestamp + CLOSE_WINDOW);
        expectRefusal(item, abi.encodeWithSelector(ILeases.LeaseIsClosed.selector, lease));
        finalizeOne(item);
    }

    function test_NothingIsClaimedAfterTheLastUnit() public {
        claimUnits(item, UNITS);
        vm.recordLogs();
        claimUnits(item, UNITS);
        claimUnits(item, 100);
        assertEq(vm.getRecordedLogs().length, 0, "owes nothing more");
        expectRefusal(item, abi.encodeWithSelector(ILeases.LeaseIsClosed.selector, lease));
        closeBy(provider, item, 1);
    }

    // ── batches that cannot be read ─────────────────────────────────────────────────────────────

    function testFuzz_RefusesABatchCutOffAnywhere(uint256 length) public {
        bytes memory batch = only(claimOf(item, 100));
        length = bound(length, 1, batch.length - 1);
        bytes memory cut = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            cut[i] = batch[i];
        }
        vm.expectPartialRevert(ILeases.MalformedBatch.selector);
        leases.claim(cut);
    }

    function test_RefusesAByteTooMany() public {
        bytes memory batch = bytes.concat(only(claimOf(item, 100)), hex"00");
        vm.expectPartialRevert(ILeases.MalformedBatch.selector);
        leases.claim(batch);
    }

    function test_RefusesAnEmptyGroup() public {
        bytes memory batch = bytes.concat(packGroup(parties, 0), only(claimOf(item, 100)));
        vm.expectPartialRevert(ILeases.MalformedBatch.selector);
        leases.claim(batch);
    }

    function test_RefusesAnUnknownForm() public {
        bytes memory batch = only(claimOf(item, 100));
        batch[41] = 0x02;
        vm.expectPartialRevert(ILeases.MalformedBatch.selector);
        leases.claim(batch);
    }

    function testFuzz_AnyChangedBitOfABatchPaysNobody(uint256 bit) public {
        bytes memory batch = only(claimOf(item, 100));
        bit = bit % (batch.length * 8);
        batch[bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
        try leases.claim(batch) {} catch {}
        (uint64 paid,) = paidOf();
        assertEq(paid, 0);
        assertEq(creditOf(provider), 0);
    }

    function test_CreditsEachProviderOfABatch() public {
        (address other, uint256 otherKey) = makeAddrAndKey("other provider");
        uint256 otherWorker = uint256(keccak256("other worker"));
        enlist(other, otherWorker, MIN_BOND);
        Ask memory ask = makeAsk();
        ask.provider = other;
        Bid memory bid = makeBid();
        bid.salt = keccak256("second");
        Opening memory second = signItem(ask, bid, makeDelegation());
        second.askSignature = sign(otherKey, digestOf(messages.hashAsk(ask)));
        second.workerKey = vm.addr(otherWorker);
        openOne(second);

        Claiming[] memory items = new Claiming[](3);
        items[0] = signVoucher(makeVoucher(lease, 10), parties);
        items[1] = signVoucher(makeVoucher(leaseOf(second), 20), partiesOf(second));
        items[1].workerSignature =
            sign(otherWorker, digestOf(messages.hashVoucher(items[1].voucher)));
        items[2] = signVoucher(makeVoucher(lease, 30), parties);
        leases.claim(packed(items));
        assertEq(creditOf(provider), 44_550);
        assertEq(creditOf(other), 29_700);
    }

    function test_EmptyBatchDoesNothing() public {
        vm.recordLogs();
        leases.claim("");
        assertEq(vm.getRecordedLogs().length, 0);
    }

    /// @notice However a total is cut into claims, provider and treasury get the same.
    function testFuzz_FeeDoesNotDependOnTheNumberOfClaims(uint64 first, uint64 second) public {
        second = uint64(bound(second, 1, UNITS));
        first = uint64(bound(first, 0, second));
        claimUnits(item, first);
        claimUnits(item, second);
        uint64 total = second * PRICE;
        assertEq(creditOf(provider), total - total / 100);
        if (second != UNITS) closeBy(provider, item, 1);
        assertEq(stateOf(item), 3);
        assertEq(creditOf(address(treasury)), total / 100);
        assertEq(freeOf(buyer), 100e6 - total);
    }

    function testFuzz_PaysExactlyTheRoundedBill(uint64 units, uint64 price, uint64 part) public {
        price = uint64(bound(price, 1, 50_000_000));
        units = uint64(bound(units, 1, 1_900_000));
        part = uint64(bound(part, 1, units));
        Ask memory ask = makeAsk();
        Bid memory bid = makeBid();
        (ask.unitKind, ask.price, ask.maxUnits, ask.volume) = (1, price, units, units);
        (bid.unitKind, bid.priceCeiling, bid.volume, bid.maxAmount) = (1, price, units, 100e6);
        bid.salt = keccak256("tokens");
        Opening memory tokens = signItem(ask, bid, noDelegation());
        tokens.maxUnits = units;
        fund(buyer, 1e6);
        openOne(tokens);
        Voucher memory voucher = makeVoucher(leaseOf(tokens), part);
        voucher.cumulativeAmount = uint64(messages.amountFor(1, part, price));
        Claiming memory claim = signVoucher(voucher, partiesOf(tokens));
        claim.key = keyOf(tokens);
        claimOne(claim);
        (, uint64 paid,,,,,) = leases.leases(leaseOf(tokens), hashOf(partiesOf(tokens)));
        assertEq(paid, voucher.cumulativeAmount, "the honest bill is never refused");
    }
}
