// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {ClaimItem, ILeases, OpenItem, Parties} from "../../src/interfaces/ILeases.sol";
import {Ask, Bid, Voucher} from "../../src/libraries/Messages.sol";
import {Fixture} from "../helpers/Fixture.sol";

contract LeasesClaimTest is Fixture {
    OpenItem private item;
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

    function refuse(ClaimItem memory claim, bytes memory reason) private {
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
        ClaimItem memory claim = signVoucher(makeVoucher(keccak256("no"), 1), parties);
        refuse(
            claim,
            abi.encodeWithSelector(ILeases.UnknownLease.selector, keccak256("no"), hashOf(parties))
        );
    }

    function test_RefusesOtherParties() public {
        Parties memory others = parties;
        others.provider = operator;
        ClaimItem memory claim = signVoucher(makeVoucher(lease, 1), others);
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
        ClaimItem memory claim = signVoucher(makeVoucher(lease, 1), parties);
        bytes32 digest = digestOf(messages.hashVoucher(claim.voucher));
        claim.buyerSignature = sign(buyerKey, digest);
        refuse(claim, abi.encodeWithSelector(ILeases.BadSignature.selector, delegate, digest));
    }

    function test_RefusesForgedWorker() public {
        ClaimItem memory claim = signVoucher(makeVoucher(lease, 1), parties);
        bytes32 digest = digestOf(messages.hashVoucher(claim.voucher));
        claim.workerSignature = sign(providerKey, digest);
        refuse(claim, abi.encodeWithSelector(ILeases.BadSignature.selector, worker, digest));
    }

    function testFuzz_AnyChangedBitIsRefused(uint256 bit) public {
        ClaimItem memory claim = signVoucher(makeVoucher(lease, 100), parties);
        bytes memory flat = abi.encode(claim.voucher);
        bit = bit % (flat.length * 8);
        flat[bit / 8] = bytes1(uint8(flat[bit / 8]) ^ uint8(1 << (bit % 8)));
        try this.decode(flat) returns (Voucher memory changed) {
            claim.voucher = changed;
        } catch {
            return;
        }
        claimOne(claim);
        assertEq(creditOf(provider), 0);
    }

    function decode(bytes calldata flat) external pure returns (Voucher memory) {
        return abi.decode(flat, (Voucher));
    }

    // ── effects ─────────────────────────────────────────────────────────────────────────────────

    function test_PaysAndKeepsTheFee() public {
        ClaimItem memory claim = signVoucher(makeVoucher(lease, 100), parties);
        vm.expectEmit(address(leases));
        emit ILeases.Claimed(
            lease, provider, 100, 100, 150_000, claim.voucher.receiptsRoot, 150_000, 1_500
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
        ClaimItem memory claim = signVoucher(makeVoucher(lease, 300), parties);
        vm.expectEmit(address(leases));
        emit ILeases.Claimed(
            lease, provider, 300, 300, 450_000, claim.voucher.receiptsRoot, 300_000, 3_000
        );
        claimOne(claim);
        assertEq(creditOf(provider), 445_500);
    }

    function test_KeepsTheFeeOfTheDayItWasOpened() public {
        vm.prank(owner);
        treasury.setFeeBps(500);
        claimUnits(item, 100);
        assertEq(creditOf(provider), 148_500);
    }

    function test_AnybodyMayBringAVoucher() public {
        ClaimItem memory claim = signVoucher(makeVoucher(lease, 100), parties);
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
        ClaimItem[] memory items = new ClaimItem[](4);
        items[0] = signVoucher(makeVoucher(keccak256("no"), 1), parties);
        items[1] = signVoucher(makeVoucher(lease, 10), parties);
        items[2] = signVoucher(makeVoucher(lease, 10), parties);
        items[3] = signVoucher(makeVoucher(lease, 20), parties);
        vm.expectEmit(address(escrow));
        emit IEscrow.Credited(provider, 29_700);
        leases.claim(items);
        (uint64 paid,) = paidOf();
        assertEq(paid, 30_000);
    }

    function test_CreditsEachProviderOfABatch() public {
        (address other, uint256 otherKey) = makeAddrAndKey("other provider");
        uint256 otherWorker = uint256(keccak256("other worker"));
        enlist(other, otherWorker, MIN_BOND);
        Ask memory ask = makeAsk();
        ask.provider = other;
        Bid memory bid = makeBid();
        bid.salt = keccak256("second");
        OpenItem memory second = signItem(ask, bid, makeDelegation());
        second.askSignature = sign(otherKey, digestOf(messages.hashAsk(ask)));
        second.workerKey = vm.addr(otherWorker);
        openOne(second);

        ClaimItem[] memory items = new ClaimItem[](3);
        items[0] = signVoucher(makeVoucher(lease, 10), parties);
        items[1] = signVoucher(makeVoucher(leaseOf(second), 20), partiesOf(second));
        items[1].workerSignature =
            sign(otherWorker, digestOf(messages.hashVoucher(items[1].voucher)));
        items[2] = signVoucher(makeVoucher(lease, 30), parties);
        leases.claim(items);
        assertEq(creditOf(provider), 44_550);
        assertEq(creditOf(other), 29_700);
    }

    function test_EmptyBatchDoesNothing() public {
        vm.recordLogs();
        leases.claim(new ClaimItem[](0));
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
        closeBy(provider, item, 1);
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
        OpenItem memory tokens = signItem(ask, bid, noDelegation());
        tokens.maxUnits = units;
        fund(buyer, 1e6);
        openOne(tokens);
        Voucher memory voucher = makeVoucher(leaseOf(tokens), part);
        voucher.cumulativeAmount = uint64(messages.amountFor(1, part, price));
        claimOne(signVoucher(voucher, partiesOf(tokens)));
        (, uint64 paid,,,,,) = leases.leases(leaseOf(tokens), hashOf(partiesOf(tokens)));
        assertEq(paid, voucher.cumulativeAmount, "the honest bill is never refused");
    }
}
