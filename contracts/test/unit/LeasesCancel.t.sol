// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {ILeases, LeaseKey, Parties} from "../../src/interfaces/ILeases.sol";
import {Ask, Bid, Delegation} from "../../src/libraries/Messages.sol";
import {Opening} from "../helpers/Fixture.sol";
import {OpenFixture} from "../helpers/OpenFixture.sol";
import {GoodWallet} from "../helpers/Wallets.sol";

/// @notice Orders taken back by their owners on chain.
contract LeasesCancelTest is OpenFixture {
    function cancelAsk(Ask memory ask) private {
        vm.prank(ask.provider);
        leases.cancelAsk(ask);
    }

    function cancelBid(Bid memory bid) private {
        vm.prank(bid.buyer);
        leases.cancelBid(bid);
    }

    function cancelled(bytes32 order) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ILeases.OrderIsCancelled.selector, order);
    }

    /// @dev Beside leases there are already: the fixture's `refuse` wants none.
    function refuseMore(Opening memory item, bytes memory reason) private {
        uint64 free = freeOf(item.bid.buyer);
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(leaseOf(item), 0, reason);
        vm.prank(operator);
        leases.open(only(item));
        assertEq(stateOf(item), 0);
        assertEq(freeOf(item.bid.buyer), free);
    }

    function standingItem(uint64 volume) private view returns (Opening memory) {
        Bid memory bid = makeBid();
        bid.volume = volume;
        return signItem(makeAsk(), bid, noDelegation());
    }

    // ── who ─────────────────────────────────────────────────────────────────────────────────────

    function test_OnlyTheProviderCancelsItsAsk() public {
        Ask memory ask = makeAsk();
        address[4] memory others = [buyer, operator, worker, makeAddr("passer-by")];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(ILeases.NotOrderOwner.selector, provider, others[i])
            );
            vm.prank(others[i]);
            leases.cancelAsk(ask);
        }
        openOne(makeItem());
    }

    function test_OnlyTheBuyerCancelsItsBid() public {
        Bid memory bid = makeBid();
        address[4] memory others = [provider, operator, delegate, makeAddr("passer-by")];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(ILeases.NotOrderOwner.selector, buyer, others[i])
            );
            vm.prank(others[i]);
            leases.cancelBid(bid);
        }
        openOne(makeItem());
    }

    function test_NobodyCancelsAnOrderByNamingItselfInACopy() public {
        address thief = makeAddr("thief");
        Ask memory ask = makeAsk();
        Bid memory bid = makeBid();
        ask.provider = thief;
        bid.buyer = thief;
        cancelAsk(ask);
        cancelBid(bid);
        assertTrue(leases.isCancelled(messages.hashAsk(ask)));
        openOne(makeItem());
    }

    function test_AContractWalletCancelsItsOrders() public {
        GoodWallet wallet = new GoodWallet(buyer);
        Ask memory ask = makeAsk();
        Bid memory bid = makeBid();
        ask.provider = address(wallet);
        bid.buyer = address(wallet);
        wallet.run(address(leases), abi.encodeCall(leases.cancelAsk, (ask)));
        wallet.run(address(leases), abi.encodeCall(leases.cancelBid, (bid)));
        assertTrue(leases.isCancelled(messages.hashAsk(ask)));
        assertTrue(leases.isCancelled(messages.hashBid(bid)));
    }

    // ── what it does ────────────────────────────────────────────────────────────────────────────

    function test_NoLeaseIsOpenedUnderACancelledAsk() public {
        Opening memory item = makeItem();
        bytes32 order = keyOf(item).askHash;
        assertFalse(leases.isCancelled(order));
        vm.expectEmit(address(leases));
        emit ILeases.OrderCancelled(order, provider);
        cancelAsk(item.ask);
        assertTrue(leases.isCancelled(order));
        refuse(item, cancelled(order));
    }

    function test_NoLeaseIsOpenedUnderACancelledBid() public {
        Opening memory item = makeItem();
        bytes32 order = keyOf(item).bidHash;
        assertEq(leases.bidLeft(item.bid), UNITS);
        vm.expectEmit(address(leases));
        emit ILeases.OrderCancelled(order, buyer);
        cancelBid(item.bid);
        assertTrue(leases.isCancelled(order));
        assertEq(leases.bidLeft(item.bid), 0);
        refuse(item, cancelled(order));
    }

    function test_TheBuyerCancelsWhatItsDelegateSigned() public {
        Opening memory item = makeDelegatedItem();
        cancelBid(item.bid);
        refuse(item, cancelled(keyOf(item).bidHash));
    }

    function test_AnOrderNobodySignedYetCanBeCancelled() public {
        Ask memory ask = makeAsk();
        ask.earliest = START + 1 days;
        ask.volume = 0;
        cancelAsk(ask);
        assertTrue(leases.isCancelled(messages.hashAsk(ask)));
    }

    function test_CancellingAgainHasNoEffect() public {
        Ask memory ask = makeAsk();
        Bid memory bid = makeBid();
        cancelAsk(ask);
        cancelBid(bid);
        vm.recordLogs();
        cancelAsk(ask);
        cancelBid(bid);
        assertEq(vm.getRecordedLogs().length, 0, "one event per order");
        assertTrue(leases.isCancelled(messages.hashAsk(ask)));
        assertTrue(leases.isCancelled(messages.hashBid(bid)));
    }

    function test_OtherOrdersOfTheOwnerStand() public {
        Ask memory ask = makeAsk();
        Bid memory bid = makeBid();
        ask.salt = keccak256("another ask");
        bid.salt = keccak256("another bid");
        cancelAsk(ask);
        cancelBid(bid);
        openOne(makeItem());
    }

    function test_ACancelledBidUsesUpItsSalt() public {
        Bid memory bid = makeBid();
        cancelBid(bid);
        bid.priceCeiling = 1_999;
        Opening memory item = signItem(makeAsk(), bid, noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.BidVolumeExceeded.selector, UNITS, 0));
    }

    function test_OneCancelledOrderOfABatchFailsAlone() public {
        Opening[] memory items = new Opening[](2);
        Bid memory bid = makeBid();
        bid.salt = keccak256("another bid");
        items[0] = makeItem();
        items[1] = signItem(makeAsk(), bid, noDelegation());
        cancelBid(items[0].bid);
        vm.prank(operator);
        leases.open(grouped(items));
        assertEq(stateOf(items[0]), 0);
        assertEq(stateOf(items[1]), 1);
    }

    // ── leases there are ────────────────────────────────────────────────────────────────────────

    function test_LeasesOfCancelledOrdersGoOn() public {
        Opening memory item = standingItem(UNITS * 3);
        openOne(item);
        cancelAsk(item.ask);
        cancelBid(item.bid);
        assertEq(leases.askOutstanding(keyOf(item).askHash), UNITS);
        claimUnits(item, 100);
        assertEq(creditOf(provider), 148_500);
        item.index = 1;
        refuseMore(item, cancelled(keyOf(item).askHash));
        item.index = 0;
        closeBy(provider, item, 1);
        assertEq(stateOf(item), 3);
        assertEq(freeOf(buyer), 100e6 - 100 * PRICE);
        assertEq(lockedOf(buyer), 0);
        assertEq(leases.askOutstanding(keyOf(item).askHash), 0);
        assertEq(leases.bidLeft(item.bid), 0);
    }

    function test_UnitsGivenBackDoNotReviveABid() public {
        Opening memory item = standingItem(UNITS * 3);
        openOne(item);
        cancelBid(item.bid);
        closeBy(buyer, item, 2);
        claimUnits(item, UNITS); // late, and more than what the word counts besides its mark
        vm.warp(block.timestamp + CLOSE_WINDOW);
        finalizeOne(item);
        item.index = 1;
        refuseMore(item, cancelled(keyOf(item).bidHash));
        assertEq(leases.bidLeft(item.bid), 0);
    }

    function test_LateUnitsOfASpentBidDoNotTouchItsMark() public {
        Opening memory item = makeItem();
        openOne(item);
        cancelBid(item.bid);
        closeBy(buyer, item, 2);
        Opening memory next = makeItem();
        next.index = 1;
        refuseMore(next, cancelled(keyOf(item).bidHash));
        claimUnits(item, UNITS);
        closeBy(provider, item, 1);
        refuseMore(next, cancelled(keyOf(item).bidHash));
    }

    function test_ReclaimDoesNotReviveAnAsk() public {
        Opening memory item = makeItem();
        openOne(item);
        cancelAsk(item.ask);
        LeaseKey memory key = keyOf(item);
        vm.warp(item.bid.deadline + CLOSE_WINDOW);
        finalizeOne(item);
        Bid memory bid = makeBid();
        bid.salt = keccak256("another bid");
        (bid.deadline, bid.expiry) = (uint64(block.timestamp) + 1 days, START + 30 days);
        refuseMore(signItem(item.ask, bid, noDelegation()), cancelled(key.askHash));
    }

    // ── whatever comes before and after ─────────────────────────────────────────────────────────

    function testFuzz_AnyAskIsCancelledForGood(Ask memory ask) public {
        vm.assume(ask.provider != address(0));
        bytes32 order = messages.hashAsk(ask);
        vm.expectEmit(address(leases));
        emit ILeases.OrderCancelled(order, ask.provider);
        cancelAsk(ask);
        assertTrue(leases.isCancelled(order));
        assertEq(leases.askOutstanding(order), 0);
        ask.salt = ~ask.salt;
        assertFalse(leases.isCancelled(messages.hashAsk(ask)));
    }

    function testFuzz_AnyBidIsCancelledForGood(Bid memory bid) public {
        vm.assume(bid.buyer != address(0));
        bytes32 order = messages.hashBid(bid);
        vm.expectEmit(address(leases));
        emit ILeases.OrderCancelled(order, bid.buyer);
        cancelBid(bid);
        assertTrue(leases.isCancelled(order));
        assertEq(leases.bidLeft(bid), 0);
        bid.salt = ~bid.salt;
        assertFalse(leases.isCancelled(messages.hashBid(bid)));
        assertEq(leases.bidLeft(bid), bid.volume);
    }

    /// @notice However a bid's leases were used and ended before and after, a cancelled one opens
    /// no lease, and what its leases owe is paid.
    function testFuzz_NothingRevivesACancelledBid(
        uint64 volume,
        uint64 units,
        uint64 early,
        uint64 late,
        uint8 end,
        bool cancelFirst
    ) public {
        units = uint64(bound(units, 1, 400));
        volume = uint64(bound(volume, units, type(uint48).max));
        early = uint64(bound(early, 0, units));
        late = uint64(bound(late, early, units));
        Opening memory item = standingItem(volume);
        item.maxUnits = units;
        openOne(item);
        if (early != 0) claimUnits(item, early);
        if (cancelFirst) cancelBid(item.bid);
        if (end % 3 == 0) {
            closeBy(buyer, item, 2);
            if (!cancelFirst) cancelBid(item.bid);
            if (late > early) claimUnits(item, late);
            vm.warp(block.timestamp + CLOSE_WINDOW);
            finalizeOne(item);
        } else {
            if (late > early) claimUnits(item, late);
            if (!cancelFirst) cancelBid(item.bid);
            if (end % 3 == 1) closeBy(provider, item, 1);
        }
        bool isClosed = stateOf(item) == 3;
        assertEq(isClosed, end % 3 != 2 || late == units, "by its end or by the claim of all");
        assertEq(freeOf(buyer) + lockedOf(buyer), 100e6 - (isClosed ? late * PRICE : 0));
        item.index = 1;
        item.maxUnits = 1;
        refuseMore(item, cancelled(keyOf(item).bidHash));
    }
}
