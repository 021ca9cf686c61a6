// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {CloseItem, FinalItem, ILeases, LeaseKey, Parties} from "../../src/interfaces/ILeases.sol";
import {Ask, Bid} from "../../src/libraries/Messages.sol";
import {Fixture, Opening} from "../helpers/Fixture.sol";

contract LeasesCloseTest is Fixture {
    Opening private item;
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
        closeBy(who, item, reason);
    }

    // ── refusals, which leave the other items of a batch alone ──────────────────────────────────

    function test_RefusesUnknownReason() public {
        expectRefusal(item, abi.encodeWithSelector(ILeases.UnknownReason.selector, 0));
        request(buyer, 0);
        expectRefusal(item, abi.encodeWithSelector(ILeases.UnknownReason.selector, 8));
        request(buyer, 8);
        assertEq(stateOf(item), 1);
    }

    function test_RefusesUnknownLease() public {
        Opening memory no = item;
        no.index = 1;
        bytes memory unknown =
            abi.encodeWithSelector(ILeases.UnknownLease.selector, leaseOf(no), hashOf(parties));
        expectRefusal(no, unknown);
        closeBy(buyer, no, 1);
        expectRefusal(no, unknown);
        finalizeOne(no);
    }

    function test_RefusesStranger() public {
        expectRefusal(item, abi.encodeWithSelector(ILeases.NotAParty.selector, owner));
        request(owner, 1);
        assertEq(stateOf(item), 1);
    }

    function test_RefusesSecondRequest() public {
        request(buyer, 2);
        expectRefusal(
            item,
            abi.encodeWithSelector(ILeases.AlreadyClosing.selector, lease, START + CLOSE_WINDOW)
        );
        request(operator, 3);
    }

    function refuseToFinalize(uint64 since) private {
        vm.warp(since - 1);
        expectRefusal(item, abi.encodeWithSelector(ILeases.TooEarly.selector, since - 1, since));
        finalizeOne(item);
        assertEq(lockedOf(buyer), UNITS * PRICE);
    }

    function test_RefusesToFinalizeEarly() public {
        request(buyer, 2);
        refuseToFinalize(START + CLOSE_WINDOW);
    }

    function test_RefusesToReclaimEarly() public {
        refuseToFinalize(item.bid.deadline + CLOSE_WINDOW);
    }

    function test_RefusesAnythingWithAClosedLease() public {
        request(worker, 1);
        bytes memory closed = abi.encodeWithSelector(ILeases.LeaseIsClosed.selector, lease);
        expectRefusal(item, closed);
        request(buyer, 2);
        expectRefusal(item, closed);
        request(worker, 2);
        vm.warp(START + 9 days);
        expectRefusal(item, closed);
        finalizeOne(item);
    }

    // ── batches ─────────────────────────────────────────────────────────────────────────────────

    function test_GoodItemsOfABatchGoOnWithoutTheBad() public {
        Bid memory bid = makeBid();
        bid.salt = keccak256("second");
        Opening memory second = signItem(makeAsk(), bid, makeDelegation());
        openOne(second);
        claimUnits(item, 100);
        claimUnits(second, 200);
        CloseItem[] memory closes = new CloseItem[](3);
        closes[0] = CloseItem(key, parties, 3);
        closes[1] = CloseItem(key, parties, 3);
        closes[2] = CloseItem(keyOf(second), partiesOf(second), 2);
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(
            lease,
            1,
            abi.encodeWithSelector(ILeases.AlreadyClosing.selector, lease, START + CLOSE_WINDOW)
        );
        vm.prank(operator);
        leases.requestClose(closes);
        assertEq(stateOf(item), 2);
        assertEq(stateOf(second), 2);
        FinalItem[] memory finals = new FinalItem[](3);
        finals[0] = FinalItem(key, parties);
        finals[1] = FinalItem(key, parties);
        finals[2] = FinalItem(closes[2].key, closes[2].parties);
        vm.warp(START + CLOSE_WINDOW);
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(
            lease, 1, abi.encodeWithSelector(ILeases.LeaseIsClosed.selector, lease)
        );
        vm.expectEmit(address(escrow));
        emit IEscrow.Credited(address(treasury), 4_500);
        leases.finalizeClose(finals);
        assertEq(lockedOf(buyer), 0);
        assertEq(freeOf(buyer), 100e6 - 450_000);
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
        finalizeOne(item);
        assertEq(stateOf(item), 3);
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
        assertEq(leases.bidLeft(item.bid), 200);
        assertEq(leases.askOutstanding(key.askHash), 0);
    }

    function test_AnybodyReclaimsAfterExpiry() public {
        claimUnits(item, 100);
        vm.warp(item.bid.deadline + CLOSE_WINDOW);
        vm.expectEmit(address(leases));
        emit ILeases.LeaseClosed(lease, 150_000, 300_000, 5);
        vm.prank(makeAddr("passer-by"));
        finalizeOne(item);
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
        Opening memory own = signItem(makeAsk(), bid, noDelegation());
        openOne(own);
        closeBy(worker, own, 1);
        assertEq(leases.spentBy(buyer, delegate), UNITS * PRICE, "of the first lease");
        assertEq(leases.spentBy(buyer, buyer), 0);
    }

    // ── going on elsewhere ──────────────────────────────────────────────────────────────────────

    function test_AJobGoesOnWithAnotherLeaseOfTheSameBid() public {
        claimUnits(item, 120);
        request(operator, 3);
        Opening memory next = item;
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
        assertEq(stateOf(next), 3, "by the claim of its last unit");
        vm.warp(START + CLOSE_WINDOW);
        finalizeOne(item);
        assertEq(freeOf(buyer), 100e6 - UNITS * PRICE, "every unit was paid once");
        assertEq(lockedOf(buyer), 0);
    }

    function test_LateUnitsDoNotUnderflowWhatIsLeft() public {
        request(operator, 3);
        Opening memory next = item;
        next.index = 1;
        openOne(next);
        claimUnits(item, 50);
        vm.warp(START + CLOSE_WINDOW);
        finalizeOne(item);
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
        Opening memory first = signItem(ask, bid, noDelegation());
        openOne(first);
        claimUnits(first, UNITS);
        bid.salt = keccak256("b");
        openOne(signItem(ask, bid, noDelegation()));
    }
}
