// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {FinalItem, ILeases, LoneItem, Parties} from "../../src/interfaces/ILeases.sol";
import {Bid, Receipt as WorkReceipt, Voucher} from "../../src/libraries/Messages.sol";
import {Fixture, Opening} from "../helpers/Fixture.sol";

/// @notice What a worker is paid by its receipts alone, and what the buyer's side can do about it.
contract LeasesAloneTest is Fixture {
    uint64 private constant DONE = 100;

    Opening private item;
    Parties private parties;
    bytes32 private lease;

    function setUp() public override {
        super.setUp();
        item = makeDelegatedItem();
        lease = openOne(item);
        parties = partiesOf(item);
    }

    function hashAt(uint64 units) private view returns (bytes32) {
        return messages.hashReceipt(receiptOf(item, units));
    }

    function waiting() private view returns (uint64 amount, uint64 payableAt, bool isObjected) {
        (,, amount, payableAt, isObjected) = leases.loneClaim(lease);
    }

    function assertWaits(uint64 units, uint64 since) private view {
        (bytes32 receipt, uint64 claimed, uint64 amount, uint64 payableAt,) =
            leases.loneClaim(lease);
        assertEq(receipt, units == 0 ? bytes32(0) : hashAt(units));
        assertEq(claimed, units);
        assertEq(amount, units * PRICE);
        assertEq(payableAt, since);
    }

    function assertPaid(uint64 units) private view {
        (, uint64 paid,, uint64 claimed,,,) = leases.leases(lease, hashOf(parties));
        assertEq(paid, units * PRICE);
        assertEq(claimed, units);
        assertEq(creditOf(provider), paid - paid / 100);
    }

    function refuse(WorkReceipt memory receipt, uint256 signer, bytes memory reason) private {
        LoneItem[] memory items = loneOf(item, receipt, signer);
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(receipt.lease, 0, reason);
        vm.prank(worker);
        leases.claimAlone(items);
        assertWaits(0, 0);
    }

    // ── refused claims, in the order of the checks ──────────────────────────────────────────────

    function test_RefusesUnknownLease() public {
        WorkReceipt memory receipt = receiptOf(item, DONE);
        receipt.lease = keccak256("no");
        bytes32 others = hashOf(parties);
        refuse(
            receipt,
            workerKey,
            abi.encodeWithSelector(ILeases.UnknownLease.selector, receipt.lease, others)
        );
    }

    function test_RefusesClosedLease() public {
        closeBy(worker, item, 1);
        refuse(
            receiptOf(item, DONE),
            workerKey,
            abi.encodeWithSelector(ILeases.LeaseIsClosed.selector, lease)
        );
    }

    function test_RefusesAnybodyButTheProviderAndItsWorker() public {
        address[4] memory others = [buyer, delegate, operator, owner];
        for (uint256 i = 0; i < 4; ++i) {
            expectRefusal(item, abi.encodeWithSelector(ILeases.NotAParty.selector, others[i]));
            claimAloneBy(others[i], item, DONE);
            assertWaits(0, 0);
        }
    }

    function test_RefusesAfterAnObjection() public {
        claimAloneBy(worker, item, DONE);
        objectWith(delegateKey, item, hashAt(DONE));
        expectRefusal(item, abi.encodeWithSelector(ILeases.ObjectedBefore.selector, lease));
        claimAloneBy(worker, item, DONE + 1);
        assertWaits(0, 0);
    }

    function refusesFrom(uint64 until) private {
        vm.warp(until);
        refuse(
            receiptOf(item, DONE),
            workerKey,
            abi.encodeWithSelector(ILeases.TooLate.selector, until, until)
        );
        vm.warp(until - 1);
        claimAloneBy(worker, item, DONE);
        assertWaits(DONE, until - 1 + CLOSE_WINDOW);
    }

    function test_RefusesOnceARequestedCloseIsFinal() public {
        closeBy(buyer, item, 2);
        refusesFrom(START + CLOSE_WINDOW);
    }

    function test_RefusesAWindowAfterTheExpiry() public {
        refusesFrom(item.bid.deadline + CLOSE_WINDOW);
    }

    function test_PassesOverWhatOwesNothing() public {
        claimUnits(item, DONE);
        vm.recordLogs();
        claimAloneBy(worker, item, DONE);
        claimAloneBy(worker, item, DONE - 1);
        assertEq(vm.getRecordedLogs().length, 0);
        assertWaits(0, 0);
        claimAloneBy(worker, item, DONE + 9);
        vm.warp(START + 10);
        vm.recordLogs();
        claimAloneBy(worker, item, DONE + 9);
        claimAloneBy(worker, item, DONE + 8);
        assertEq(vm.getRecordedLogs().length, 0);
        assertWaits(DONE + 9, START + CLOSE_WINDOW);
    }

    function test_RefusesTotalsThatCannotBeTheLeases() public {
        WorkReceipt memory receipt = receiptOf(item, UNITS + 1);
        refuse(
            receipt,
            workerKey,
            abi.encodeWithSelector(ILeases.UnitsAboveLease.selector, UNITS + 1, UNITS)
        );
        receipt = receiptOf(item, DONE);
        receipt.cumulativeAmount = UNITS * PRICE + 1;
        refuse(
            receipt,
            workerKey,
            abi.encodeWithSelector(
                ILeases.AmountAboveLock.selector, UNITS * PRICE + 1, UNITS * PRICE
            )
        );
        receipt.cumulativeAmount = DONE * PRICE + 1;
        refuse(
            receipt,
            workerKey,
            abi.encodeWithSelector(
                ILeases.AmountAbovePrice.selector, DONE * PRICE + 1, DONE * PRICE
            )
        );
        receipt.cumulativeAmount = type(uint64).max;
        receipt.cumulativeUnits = type(uint64).max;
        refuse(
            receipt,
            workerKey,
            abi.encodeWithSelector(ILeases.UnitsAboveLease.selector, type(uint64).max, UNITS)
        );
    }

    function test_RefusesAnotherKeysSignature() public {
        uint256[3] memory keys = [providerKey, delegateKey, buyerKey];
        for (uint256 i = 0; i < 3; ++i) {
            refuse(
                receiptOf(item, DONE),
                keys[i],
                abi.encodeWithSelector(
                    ILeases.BadSignature.selector, worker, digestOf(hashAt(DONE))
                )
            );
        }
    }

    // ── refused objections, in the order of the checks ──────────────────────────────────────────

    function test_NobodyObjectsToAnUnknownOrClosedLease() public {
        Opening memory other = item;
        other.index = 7;
        expectRefusal(
            other,
            abi.encodeWithSelector(
                ILeases.UnknownLease.selector, leaseOf(other), hashOf(partiesOf(other))
            )
        );
        objectWith(buyerKey, other, hashAt(DONE));
        closeBy(worker, item, 1);
        expectRefusal(item, abi.encodeWithSelector(ILeases.LeaseIsClosed.selector, lease));
        objectWith(buyerKey, item, hashAt(DONE));
    }

    function test_NobodyObjectsToWhatWasNotClaimed() public {
        bytes32 receipt = hashAt(DONE);
        bytes memory reason =
            abi.encodeWithSelector(ILeases.NotClaimedAlone.selector, lease, receipt);
        expectRefusal(item, reason);
        objectWith(buyerKey, item, receipt);
        expectRefusal(
            item, abi.encodeWithSelector(ILeases.NotClaimedAlone.selector, lease, bytes32(0))
        );
        objectWith(buyerKey, item, 0);
        claimAloneBy(worker, item, DONE + 1);
        expectRefusal(item, reason);
        objectWith(buyerKey, item, receipt);
        assertWaits(DONE + 1, START + CLOSE_WINDOW);
    }

    function test_NobodyObjectsWhenTheWindowIsOver() public {
        claimAloneBy(worker, item, DONE);
        vm.warp(START + CLOSE_WINDOW);
        expectRefusal(
            item,
            abi.encodeWithSelector(
                ILeases.TooLate.selector, START + CLOSE_WINDOW, START + CLOSE_WINDOW
            )
        );
        objectWith(buyerKey, item, hashAt(DONE));
        payAlone(item);
        assertPaid(DONE);
    }

    function test_OnlyTheBuyersSideObjects() public {
        claimAloneBy(worker, item, DONE);
        uint256[3] memory keys = [operatorKey, workerKey, providerKey];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectEmit(true, false, false, false, address(leases));
            emit ILeases.ItemFailed(lease, 0, "");
            objectWith(keys[i], item, hashAt(DONE));
            assertWaits(DONE, START + CLOSE_WINDOW);
        }
    }

    // ── refused payments ────────────────────────────────────────────────────────────────────────

    function test_PaysNothingThatWasNotClaimed() public {
        bytes memory reason =
            abi.encodeWithSelector(ILeases.NotClaimedAlone.selector, lease, bytes32(0));
        expectRefusal(item, reason);
        payAlone(item);
        closeBy(worker, item, 1);
        expectRefusal(item, abi.encodeWithSelector(ILeases.LeaseIsClosed.selector, lease));
        payAlone(item);
    }

    function test_PaysNothingBeforeTheWindowIsOver() public {
        claimAloneBy(worker, item, DONE);
        uint64 since = START + CLOSE_WINDOW;
        vm.warp(since - 1);
        expectRefusal(item, abi.encodeWithSelector(ILeases.TooEarly.selector, since - 1, since));
        payAlone(item);
        assertPaid(0);
    }

    // ── paying ──────────────────────────────────────────────────────────────────────────────────

    function test_PaysWhenNobodyObjected() public {
        vm.expectEmit(address(leases));
        emit ILeases.ClaimedAlone(lease, hashAt(DONE), DONE, DONE * PRICE, START + CLOSE_WINDOW);
        claimAloneBy(provider, item, DONE);
        assertWaits(DONE, START + CLOSE_WINDOW);
        assertPaid(0);
        vm.warp(START + CLOSE_WINDOW);
        vm.expectEmit(address(leases));
        emit ILeases.Claimed(
            lease,
            hashAt(DONE),
            totalsOf(DONE, DONE, DONE * PRICE, DONE * PRICE, DONE * PRICE / 100)
        );
        vm.prank(owner);
        payAlone(item);
        assertPaid(DONE);
        assertWaits(0, 0);
        assertEq(stateOf(item), 1, "the lease goes on");
        expectRefusal(
            item, abi.encodeWithSelector(ILeases.NotClaimedAlone.selector, lease, bytes32(0))
        );
        payAlone(item);
    }

    function test_PaysAgainAfterAPayment() public {
        claimAloneBy(worker, item, DONE);
        vm.warp(START + CLOSE_WINDOW);
        payAlone(item);
        claimAloneBy(worker, item, 2 * DONE);
        vm.warp(START + 2 * CLOSE_WINDOW);
        payAlone(item);
        assertPaid(2 * DONE);
    }

    function test_AHigherClaimBeginsTheWindowAgain() public {
        claimAloneBy(worker, item, DONE);
        vm.warp(START + CLOSE_WINDOW);
        claimAloneBy(worker, item, DONE + 1);
        assertWaits(DONE + 1, START + 2 * CLOSE_WINDOW);
    }

    function test_TheLastUnitClosesTheLease() public {
        claimAloneBy(worker, item, UNITS);
        vm.warp(START + CLOSE_WINDOW);
        vm.expectEmit(address(leases));
        emit ILeases.LeaseClosed(lease, UNITS * PRICE, 0, 1);
        vm.expectEmit(address(escrow));
        emit IEscrow.Credited(address(treasury), UNITS * PRICE / 100);
        payAlone(item);
        assertPaid(UNITS);
        assertEq(lockedOf(buyer), 0);
        assertEq(leases.askOutstanding(keyOf(item).askHash), 0);
    }

    function test_VouchersThatPaidMeanwhileComeOff() public {
        claimAloneBy(worker, item, DONE);
        claimUnits(item, DONE / 2);
        vm.warp(START + CLOSE_WINDOW);
        payAlone(item);
        assertPaid(DONE);
        claimAloneBy(worker, item, DONE + 10);
        claimUnits(item, DONE + 10);
        vm.warp(START + 2 * CLOSE_WINDOW);
        payAlone(item);
        assertPaid(DONE + 10);
        assertWaits(0, 0);
    }

    /// @dev Two signers may agree on more units for less money; then the totals contradict.
    function test_PaysNothingThatContradictsALaterVoucher() public {
        claimAloneBy(worker, item, DONE);
        Parties memory both = parties;
        (,, uint64 amount,,) = leases.loneClaim(lease);
        claimOne(signVoucher(cheaper(DONE + 5, amount - 1), both));
        vm.warp(START + CLOSE_WINDOW);
        payAlone(item);
        (, uint64 paid,,,,,) = leases.leases(lease, hashOf(parties));
        assertEq(paid, amount - 1);
        assertWaits(0, 0);
    }

    function cheaper(uint64 units, uint64 amount) private view returns (Voucher memory voucher) {
        voucher = makeVoucher(lease, units);
        voucher.cumulativeAmount = amount;
    }

    // ── objecting ───────────────────────────────────────────────────────────────────────────────

    function objected(uint256 key) private {
        claimAloneBy(worker, item, DONE);
        vm.warp(START + CLOSE_WINDOW - 1);
        vm.expectEmit(address(leases));
        emit ILeases.Objected(lease, hashAt(DONE));
        vm.prank(owner);
        objectWith(key, item, hashAt(DONE));
        (uint64 amount, uint64 payableAt, bool isObjected) = waiting();
        assertEq(amount, 0);
        assertEq(payableAt, 0);
        assertTrue(isObjected);
        vm.warp(START + CLOSE_WINDOW);
        payAlone(item);
        assertPaid(0);
        claimUnits(item, DONE); // what both signed is paid as ever
        assertPaid(DONE);
    }

    function test_TheVoucherSignerObjects() public {
        objected(delegateKey);
    }

    function test_TheBuyerObjects() public {
        objected(buyerKey);
    }

    // ── with closes ─────────────────────────────────────────────────────────────────────────────

    function test_AClaimInTheCloseWindowHoldsTheCloseUpAndIsPaid() public {
        closeBy(buyer, item, 2);
        vm.warp(START + CLOSE_WINDOW - 1);
        claimAloneBy(worker, item, DONE);
        uint64 since = START + 2 * CLOSE_WINDOW - 1;
        vm.warp(since - 1);
        expectRefusal(item, abi.encodeWithSelector(ILeases.TooEarly.selector, since - 1, since));
        finalizeOne(item);
        vm.warp(since);
        vm.expectEmit(address(leases));
        emit ILeases.LeaseClosed(lease, DONE * PRICE, (UNITS - DONE) * PRICE, 2);
        finalizeOne(item);
        assertPaid(DONE);
        assertEq(leases.bidLeft(item.bid), UNITS - DONE);
    }

    function test_AClaimAfterTheExpiryIsPaidByTheEnd() public {
        vm.warp(item.bid.deadline + CLOSE_WINDOW - 1);
        claimAloneBy(worker, item, DONE);
        vm.warp(item.bid.deadline + 2 * CLOSE_WINDOW - 1);
        vm.expectEmit(address(leases));
        emit ILeases.LeaseClosed(lease, DONE * PRICE, (UNITS - DONE) * PRICE, 5);
        finalizeOne(item);
        assertPaid(DONE);
    }

    function test_ACloseThatPaysTheLastUnitIsCompleted() public {
        closeBy(operator, item, 3);
        claimAloneBy(worker, item, UNITS);
        vm.warp(START + CLOSE_WINDOW);
        vm.expectEmit(address(leases));
        emit ILeases.LeaseClosed(lease, UNITS * PRICE, 0, 1);
        vm.expectEmit(address(escrow));
        emit IEscrow.Credited(address(treasury), UNITS * PRICE / 100);
        finalizeOne(item);
        assertPaid(UNITS);
    }

    function test_AnObjectionEndsTheWait() public {
        closeBy(buyer, item, 2);
        vm.warp(START + CLOSE_WINDOW - 1);
        claimAloneBy(worker, item, DONE);
        objectWith(buyerKey, item, hashAt(DONE));
        vm.warp(START + CLOSE_WINDOW);
        finalizeOne(item);
        assertEq(stateOf(item), 3);
        assertPaid(0);
    }

    function test_AProviderThatClosesKeepsItsClaim() public {
        claimAloneBy(worker, item, DONE);
        vm.warp(START + 10);
        vm.expectEmit(address(leases));
        emit ILeases.CloseRequested(lease, provider, 7, START + CLOSE_WINDOW);
        closeBy(provider, item, 7);
        assertEq(stateOf(item), 2);
        expectRefusal(
            item,
            abi.encodeWithSelector(ILeases.AlreadyClosing.selector, lease, START + CLOSE_WINDOW)
        );
        closeBy(worker, item, 7);
        vm.warp(START + CLOSE_WINDOW);
        vm.expectEmit(address(leases));
        emit ILeases.LeaseClosed(lease, DONE * PRICE, (UNITS - DONE) * PRICE, 7);
        finalizeOne(item);
        assertPaid(DONE);
    }

    function test_ACloseRequestLeavesTheClaimWaiting() public {
        claimAloneBy(worker, item, DONE);
        vm.warp(START + 10);
        closeBy(buyer, item, 2);
        assertWaits(DONE, START + CLOSE_WINDOW);
        assertEq(leases.finalAt(lease), START + 10 + CLOSE_WINDOW);
        vm.warp(START + CLOSE_WINDOW);
        payAlone(item);
        vm.warp(START + 10 + CLOSE_WINDOW);
        finalizeOne(item);
        assertPaid(DONE);
        assertEq(leases.bidLeft(item.bid), UNITS - DONE);
    }

    // ── batches ─────────────────────────────────────────────────────────────────────────────────

    function test_GoodItemsOfABatchGoOnWithoutTheBad() public {
        Bid memory bid = makeBid();
        bid.salt = keccak256("second");
        Opening memory second = signItem(makeAsk(), bid, makeDelegation());
        openOne(second);
        LoneItem[] memory items = new LoneItem[](3);
        items[0] = loneOf(item, receiptOf(item, DONE), buyerKey)[0];
        items[1] = loneOf(item, receiptOf(item, DONE), workerKey)[0];
        items[2] = loneOf(second, receiptOf(second, UNITS), workerKey)[0];
        expectRefusal(
            item,
            abi.encodeWithSelector(ILeases.BadSignature.selector, worker, digestOf(hashAt(DONE)))
        );
        vm.prank(provider);
        leases.claimAlone(items);
        FinalItem[] memory finals = new FinalItem[](3);
        finals[0] = FinalItem(keyOf(item), parties);
        finals[1] = FinalItem(keyOf(item), parties);
        finals[2] = FinalItem(keyOf(second), partiesOf(second));
        vm.warp(START + CLOSE_WINDOW);
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(
            lease, 1, abi.encodeWithSelector(ILeases.NotClaimedAlone.selector, lease, bytes32(0))
        );
        leases.payAlone(finals);
        uint64 paid = (DONE + UNITS) * PRICE;
        assertEq(creditOf(provider), paid - paid / 100);
        assertEq(stateOf(second), 3);
        assertEq(creditOf(address(treasury)), UNITS * PRICE / 100);
    }
}
