// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {ILeases, LeaseKey, OpenItem, Parties} from "../../src/interfaces/ILeases.sol";
import {Ask, Bid} from "../../src/libraries/Messages.sol";
import {Fixture} from "../helpers/Fixture.sol";

contract LeasesCloseTest is Fixture {
    OpenItem private item;
    Parties private parties;
    LeaseKey private key;
    bytes32 private lease;

    function setUp() public override {
        super.setUp();
        item = makeDelegatedItem();
        lease = openOne(item);
        parties = partiesOf(item);
        key = keyOf(item);
    }

    function request(address who, uint8 reason) private {
        vm.prank(who);
        leases.requestClose(key, parties, reason);
    }

    // ── refusals ────────────────────────────────────────────────────────────────────────────────

    function test_RefusesUnknownReason() public {
        vm.expectRevert(abi.encodeWithSelector(ILeases.UnknownReason.selector, 0));
        request(buyer, 0);
        vm.expectRevert(abi.encodeWithSelector(ILeases.UnknownReason.selector, 8));
        request(buyer, 8);
    }

    function test_RefusesUnknownLease() public {
        key.index = 1;
        bytes32 no = keccak256(abi.encode(key.askHash, key.bidHash, key.index));
        bytes memory unknown =
            abi.encodeWithSelector(ILeases.UnknownLease.selector, no, hashOf(parties));
        vm.expectRevert(unknown);
        request(buyer, 1);
        vm.expectRevert(unknown);
        leases.reclaim(key, parties);
        vm.expectRevert(unknown);
        leases.finalizeClose(no, parties);
    }

    function test_RefusesStranger() public {
        vm.expectRevert(abi.encodeWithSelector(ILeases.NotAParty.selector, owner));
        request(owner, 1);
    }

    function test_RefusesSecondRequest() public {
        request(buyer, 2);
        vm.expectRevert(
            abi.encodeWithSelector(ILeases.AlreadyClosing.selector, lease, START + CLOSE_WINDOW)
        );
        request(operator, 3);
    }

    function test_RefusesToFinalizeWhatIsOpen() public {
        vm.expectRevert(abi.encodeWithSelector(ILeases.NotClosing.selector, lease));
        leases.finalizeClose(lease, parties);
    }

    function test_RefusesToFinalizeEarly() public {
        request(buyer, 2);
        vm.warp(START + CLOSE_WINDOW - 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                ILeases.TooEarly.selector, START + CLOSE_WINDOW - 1, START + CLOSE_WINDOW
            )
        );
        leases.finalizeClose(lease, parties);
    }

    function test_RefusesToReclaimEarly() public {
        uint64 since = item.bid.deadline + CLOSE_WINDOW;
        vm.warp(since - 1);
        vm.expectRevert(abi.encodeWithSelector(ILeases.TooEarly.selector, since - 1, since));
        leases.reclaim(key, parties);
    }

    function test_RefusesToReclaimWhatIsClosing() public {
        request(buyer, 2);
        vm.warp(START + 9 days);
        vm.expectRevert(
            abi.encodeWithSelector(ILeases.AlreadyClosing.selector, lease, START + CLOSE_WINDOW)
        );
        leases.reclaim(key, parties);
    }

    function test_RefusesAnythingWithAClosedLease() public {
        request(worker, 1);
        bytes memory closed = abi.encodeWithSelector(ILeases.LeaseIsClosed.selector, lease);
        vm.expectRevert(closed);
        request(buyer, 2);
        vm.expectRevert(closed);
        request(worker, 2);
        vm.expectRevert(closed);
        leases.finalizeClose(lease, parties);
        vm.expectRevert(closed);
        leases.reclaim(key, parties);
    }

    // ── who may ask, and what follows ───────────────────────────────────────────────────────────

    function _requestedBy(address who, uint8 reason) private {
        vm.expectEmit(address(leases));
        emit ILeases.CloseRequested(lease, who, reason, START + CLOSE_WINDOW);
        request(who, reason);
        assertEq(stateOf(item), 2);
        assertEq(leases.finalAt(lease), START + CLOSE_WINDOW);
        assertEq(lockedOf(buyer), UNITS * PRICE, "locked until final");
        assertEq(leases.askOutstanding(key.askHash), 0);
        assertEq(leases.bidLeft(item.bid), UNITS);
    }

    function test_BuyerRequests() public {
        _requestedBy(buyer, 2);
    }

    function test_VoucherSignerRequests() public {
        _requestedBy(delegate, 2);
    }

    function test_OperatorRequests() public {
        _requestedBy(operator, 3);
    }

    function test_ClaimsStayPossibleUntilFinal() public {
        request(buyer, 2);
        claimUnits(item, 100);
        vm.warp(START + CLOSE_WINDOW + 5 days);
        claimUnits(item, 200);
        vm.expectEmit(address(leases));
        emit ILeases.LeaseClosed(lease, 300_000, 150_000, 2);
        vm.expectEmit(address(escrow));
        emit IEscrow.Unlocked(buyer, 150_000);
        vm.expectEmit(address(escrow));
        emit IEscrow.Credited(address(treasury), 3_000);
        leases.finalizeClose(lease, parties);
        assertEq(stateOf(item), 3);
        assertEq(leases.finalAt(lease), 0);
        assertEq(freeOf(buyer), 100e6 - 300_000);
        assertEq(lockedOf(buyer), 0);
        assertEq(creditOf(provider), 297_000);
        assertEq(leases.spentBy(buyer, delegate), 300_000);
        assertEq(leases.bidLeft(item.bid), 100, "late units come off");
    }

    function _closedAtOnceBy(address who) private {
        claimUnits(item, 100);
        vm.expectEmit(address(leases));
        emit ILeases.LeaseClosed(lease, 150_000, 300_000, 7);
        request(who, 7);
        assertEq(stateOf(item), 3);
        assertEq(freeOf(buyer), 100e6 - 150_000);
        assertEq(leases.askOutstanding(key.askHash), 0);
        assertEq(leases.bidLeft(item.bid), 200);
        assertEq(leases.spentBy(buyer, delegate), 150_000);
    }

    function test_WorkerClosesAtOnce() public {
        _closedAtOnceBy(worker);
    }

    function test_ProviderClosesAtOnce() public {
        _closedAtOnceBy(provider);
    }

    function test_WorkerEndsAPendingClose() public {
        request(buyer, 2);
        claimUnits(item, 100);
        request(worker, 1);
        assertEq(stateOf(item), 3);
        assertEq(leases.finalAt(lease), 0);
        assertEq(leases.bidLeft(item.bid), 200);
        assertEq(leases.askOutstanding(key.askHash), 0);
    }

    function test_AnybodyReclaimsAfterExpiry() public {
        claimUnits(item, 100);
        vm.warp(item.bid.deadline + CLOSE_WINDOW);
        vm.expectEmit(address(leases));
        emit ILeases.LeaseClosed(lease, 150_000, 300_000, 5);
        vm.prank(makeAddr("passer-by"));
        leases.reclaim(key, parties);
        assertEq(freeOf(buyer), 100e6 - 150_000);
    }

    function test_NothingIsCreditedForALeaseWithoutWork() public {
        request(provider, 7);
        assertEq(creditOf(address(treasury)), 0);
        assertEq(freeOf(buyer), 100e6);
        assertEq(leases.spentBy(buyer, delegate), 0);
    }

    function test_LeavesTheCapAloneWhenTheBuyerSignsVouchers() public {
        Bid memory bid = makeBid();
        bid.salt = keccak256("own");
        OpenItem memory own = signItem(makeAsk(), bid, noDelegation());
        openOne(own);
        closeBy(worker, own, 1);
        assertEq(leases.spentBy(buyer, delegate), UNITS * PRICE, "of the first lease");
        assertEq(leases.spentBy(buyer, buyer), 0);
    }

    // ── going on elsewhere ──────────────────────────────────────────────────────────────────────

    function test_AJobGoesOnWithAnotherLeaseOfTheSameBid() public {
        claimUnits(item, 120);
        request(operator, 3);
        OpenItem memory next = item;
        next.index = 1;
        next.maxUnits = 181;
        vm.prank(operator);
        leases.open(only(next));
        assertEq(stateOf(next), 0, "more than is left");
        next.maxUnits = 180;
        openOne(next);
        assertEq(leases.bidLeft(item.bid), 0);
        assertEq(lockedOf(buyer), (UNITS + 180) * PRICE);
        claimUnits(next, 180);
        vm.warp(START + CLOSE_WINDOW);
        leases.finalizeClose(lease, parties);
        closeBy(worker, next, 1);
        assertEq(freeOf(buyer), 100e6 - UNITS * PRICE, "every unit was paid once");
        assertEq(lockedOf(buyer), 0);
    }

    function test_LateUnitsDoNotUnderflowWhatIsLeft() public {
        request(operator, 3);
        OpenItem memory next = item;
        next.index = 1;
        openOne(next);
        claimUnits(item, 50);
        vm.warp(START + CLOSE_WINDOW);
        leases.finalizeClose(lease, parties);
        assertEq(leases.bidLeft(item.bid), 0);
    }

    function test_TheOldNameCannotBeUsedAgain() public {
        request(worker, 4);
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(
            lease, 0, abi.encodeWithSelector(ILeases.LeaseExists.selector, lease)
        );
        vm.prank(operator);
        leases.open(only(item));
        item.delegation.scope = 1; // other parties, the same name
        item = signItem(item.ask, item.bid, item.delegation);
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(
            lease, 0, abi.encodeWithSelector(ILeases.LeaseExists.selector, lease)
        );
        vm.prank(operator);
        leases.open(only(item));
    }

    function test_AnAskCanBeSoldAgainAfterAClose() public {
        Ask memory ask = makeAsk();
        ask.volume = UNITS;
        Bid memory bid = makeBid();
        bid.salt = keccak256("a");
        OpenItem memory first = signItem(ask, bid, noDelegation());
        openOne(first);
        claimUnits(first, UNITS);
        closeBy(worker, first, 1);
        bid.salt = keccak256("b");
        openOne(signItem(ask, bid, noDelegation()));
    }
}
