// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILeases} from "../../src/interfaces/ILeases.sol";
import {Ask, Bid, Delegation} from "../../src/libraries/Messages.sol";
import {Opening} from "../helpers/Fixture.sol";
import {OpenFixture} from "../helpers/OpenFixture.sol";

/// @notice What is not opened, in the order of the checks.
contract LeasesOpenRefusalsTest is OpenFixture {
    function test_RefusesCallerThatIsNotTheAsksMatcher() public {
        Ask memory ask = makeAsk();
        ask.matcher = address(7);
        Opening memory item = signItem(ask, makeBid(), noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.NotMatcher.selector, address(7), operator));
    }

    function test_RefusesCallerThatIsNotTheBidsMatcher() public {
        Bid memory bid = makeBid();
        bid.matcher = address(7);
        Opening memory item = signItem(makeAsk(), bid, noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.NotMatcher.selector, address(7), operator));
    }

    function test_AnybodyMayPairOrdersWithoutMatcher() public {
        Ask memory ask = makeAsk();
        Bid memory bid = makeBid();
        ask.matcher = address(0);
        bid.matcher = address(0);
        Opening memory item = signItem(ask, bid, noDelegation());
        vm.prank(makeAddr("passer-by"));
        leases.open(only(item));
        assertEq(stateOf(item), 1);
    }

    function test_RefusesUnknownUnitKind() public {
        Ask memory ask = makeAsk();
        ask.unitKind = 4;
        Opening memory item = signItem(ask, makeBid(), noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.UnknownUnitKind.selector, 4));
    }

    function test_RefusesDifferentUnitKinds() public {
        Bid memory bid = makeBid();
        bid.unitKind = 2;
        Opening memory item = signItem(makeAsk(), bid, noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.UnitKindMismatch.selector, 3, 2));
    }

    function test_RefusesInterruptibleAskForABidThatDidNotAgree() public {
        Ask memory ask = makeAsk();
        ask.orderClass = 1;
        Opening memory item = signItem(ask, makeBid(), noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.ClassMismatch.selector, 1, 0));
    }

    function test_RefusesUnknownClass() public {
        Bid memory bid = makeBid();
        bid.orderClass = 4;
        Opening memory item = signItem(makeAsk(), bid, noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.ClassMismatch.selector, 3, 4));
        Ask memory ask = makeAsk();
        ask.orderClass = 4;
        item = signItem(ask, makeBid(), noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.ClassMismatch.selector, 4, 0));
    }

    function test_OpensInterruptibleWithInterruptible() public {
        Ask memory ask = makeAsk();
        Bid memory bid = makeBid();
        ask.orderClass = 1;
        bid.orderClass = 1;
        openOne(signItem(ask, bid, noDelegation()));
    }

    function test_RefusesPriceBelowTheAsk() public {
        Opening memory item = makeItem();
        item.price = PRICE - 1;
        refuse(
            item,
            abi.encodeWithSelector(ILeases.PriceOutsideLimits.selector, PRICE - 1, PRICE, 2_000)
        );
    }

    function test_RefusesPriceAboveTheCeiling() public {
        Opening memory item = makeItem();
        item.price = 2_001;
        refuse(
            item, abi.encodeWithSelector(ILeases.PriceOutsideLimits.selector, 2_001, PRICE, 2_000)
        );
    }

    function test_RefusesUnitsOutsideTheAsk() public {
        Ask memory ask = makeAsk();
        ask.minUnits = UNITS + 1;
        Opening memory item = signItem(ask, makeBid(), noDelegation());
        refuse(
            item,
            abi.encodeWithSelector(
                ILeases.UnitsOutsideLimits.selector, UNITS, UNITS + 1, ask.maxUnits
            )
        );
        ask = makeAsk();
        ask.maxUnits = UNITS - 1;
        item = signItem(ask, makeBid(), noDelegation());
        refuse(
            item, abi.encodeWithSelector(ILeases.UnitsOutsideLimits.selector, UNITS, 1, UNITS - 1)
        );
    }

    function test_RefusesNoUnits() public {
        Ask memory ask = makeAsk();
        ask.minUnits = 0;
        Opening memory item = signItem(ask, makeBid(), noDelegation());
        item.maxUnits = 0;
        refuse(
            item, abi.encodeWithSelector(ILeases.UnitsOutsideLimits.selector, 0, 0, ask.maxUnits)
        );
    }

    function test_RefusesOrdersBeforeTheirTime() public {
        Ask memory ask = makeAsk();
        ask.earliest = START + 1;
        Opening memory item = signItem(ask, makeBid(), noDelegation());
        refuse(
            item,
            abi.encodeWithSelector(
                ILeases.OrderNotYetValid.selector, keyOf(item).askHash, START + 1
            )
        );
        Bid memory bid = makeBid();
        bid.earliest = START + 1;
        item = signItem(makeAsk(), bid, noDelegation());
        refuse(
            item,
            abi.encodeWithSelector(
                ILeases.OrderNotYetValid.selector, keyOf(item).bidHash, START + 1
            )
        );
    }

    function test_RefusesExpiredOrders() public {
        Ask memory ask = makeAsk();
        ask.expiry = START - 1;
        Opening memory item = signItem(ask, makeBid(), noDelegation());
        refuse(
            item,
            abi.encodeWithSelector(ILeases.OrderExpired.selector, keyOf(item).askHash, START - 1)
        );
        Bid memory bid = makeBid();
        bid.expiry = START - 1;
        item = signItem(makeAsk(), bid, noDelegation());
        refuse(
            item,
            abi.encodeWithSelector(ILeases.OrderExpired.selector, keyOf(item).bidHash, START - 1)
        );
    }

    function test_RefusesPassedDeadline() public {
        Bid memory bid = makeBid();
        bid.deadline = START;
        Opening memory item = signItem(makeAsk(), bid, noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.DeadlinePassed.selector, START));
    }

    function test_RefusesDeadlineBeyondItsField() public {
        Bid memory bid = makeBid();
        bid.deadline = 2 ** 40;
        Opening memory item = signItem(makeAsk(), bid, noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.DeadlineTooFar.selector, 2 ** 40));
    }

    function test_RefusesAmountAboveTheBidsMaximum() public {
        Bid memory bid = makeBid();
        bid.maxAmount = UNITS * PRICE - 1;
        Opening memory item = signItem(makeAsk(), bid, noDelegation());
        refuse(
            item,
            abi.encodeWithSelector(
                ILeases.AmountAboveMaximum.selector, UNITS * PRICE, UNITS * PRICE - 1
            )
        );
    }

    function test_RefusesMoreUnitsOrMoneyThanALeaseHolds() public {
        Ask memory ask = makeAsk();
        Bid memory bid = makeBid();
        (ask.unitKind, bid.unitKind) = (2, 2);
        (ask.price, bid.priceCeiling, bid.maxAmount) = (1, type(uint64).max, type(uint64).max);
        (ask.maxUnits, ask.volume, bid.volume) =
        (type(uint64).max, type(uint64).max, type(uint64).max);
        Opening memory item = signItem(ask, bid, noDelegation());
        item.maxUnits = 2 ** 48;
        uint256 amount = (uint256(2 ** 48) + 999_999) / 1_000_000;
        refuse(item, abi.encodeWithSelector(ILeases.LeaseTooLarge.selector, 2 ** 48, amount));
        item.maxUnits = 1_000_000;
        item.price = 2 ** 48;
        refuse(item, abi.encodeWithSelector(ILeases.LeaseTooLarge.selector, 1_000_000, 2 ** 48));
    }

    function test_RefusesForgedAsk() public {
        Opening memory item = makeItem();
        bytes32 digest = digestOf(keyOf(item).askHash);
        item.askSignature = sign(buyerKey, digest);
        refuse(item, abi.encodeWithSelector(ILeases.BadSignature.selector, provider, digest));
    }

    function test_RefusesForgedBid() public {
        Opening memory item = makeItem();
        bytes32 digest = digestOf(keyOf(item).bidHash);
        item.bidSignature = sign(delegateKey, digest);
        refuse(item, abi.encodeWithSelector(ILeases.BadSignature.selector, buyer, digest));
    }

    function test_RefusesDelegationOfSomebodyElse() public {
        Delegation memory delegation = makeDelegation();
        delegation.owner = provider;
        Opening memory item = signItem(makeAsk(), makeBid(), delegation);
        refuse(item, abi.encodeWithSelector(ILeases.DelegationNotByBuyer.selector, provider, buyer));
    }

    function test_RefusesDelegationToNobody() public {
        Delegation memory delegation = makeDelegation();
        delegation.delegate = address(0);
        Opening memory item = signItem(makeAsk(), makeBid(), delegation);
        refuse(item, abi.encodeWithSelector(ILeases.DelegationLacksScope.selector, 3, 0));
    }

    function test_RefusesExpiredDelegation() public {
        Delegation memory delegation = makeDelegation();
        delegation.expiry = START - 1;
        Opening memory item = signItem(makeAsk(), makeBid(), delegation);
        refuse(item, abi.encodeWithSelector(ILeases.DelegationExpired.selector, START - 1));
    }

    function test_RefusesRevokedDelegation() public {
        Opening memory item = makeDelegatedItem();
        vm.expectEmit(address(leases));
        emit ILeases.DelegationsRevoked(buyer, 1);
        vm.prank(buyer);
        leases.revokeDelegations();
        refuse(item, abi.encodeWithSelector(ILeases.DelegationRevoked.selector, 0, 1));
    }

    function test_RefusesForgedDelegation() public {
        Opening memory item = makeDelegatedItem();
        bytes32 digest = digestOf(messages.hashDelegation(item.delegation));
        item.delegationSignature = sign(delegateKey, digest);
        refuse(item, abi.encodeWithSelector(ILeases.BadSignature.selector, buyer, digest));
    }

    function test_RefusesOrdersOfADelegateForVouchersOnly() public {
        Delegation memory delegation = makeDelegation();
        delegation.scope = 2;
        Opening memory item = signItem(makeAsk(), makeBid(), delegation);
        bytes32 digest = digestOf(keyOf(item).bidHash);
        item.bidSignature = sign(delegateKey, digest);
        refuse(item, abi.encodeWithSelector(ILeases.BadSignature.selector, buyer, digest));
    }

    function test_RefusesTheSameLeaseAgain() public {
        Opening memory item = makeItem();
        openOne(item);
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(
            leaseOf(item), 0, abi.encodeWithSelector(ILeases.LeaseExists.selector, leaseOf(item))
        );
        vm.prank(operator);
        leases.open(only(item));
        assertEq(lockedOf(buyer), UNITS * PRICE);
    }

    function test_RefusesWorkerOfNoProvider() public {
        Opening memory item = makeItem();
        item.workerKey = delegate;
        refuse(item, abi.encodeWithSelector(ILeases.WorkerNotActive.selector, provider, delegate));
    }

    function test_RefusesWorkerOfProviderBelowTheLeastBond() public {
        vm.prank(provider);
        providers.requestUnbond(1);
        Opening memory item = makeItem();
        refuse(item, abi.encodeWithSelector(ILeases.WorkerNotActive.selector, provider, worker));
    }

    function test_RefusesMoreThanTheAsksVolume() public {
        Ask memory ask = makeAsk();
        ask.volume = UNITS - 1;
        Opening memory item = signItem(ask, makeBid(), noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.AskVolumeExceeded.selector, UNITS, UNITS - 1));
    }

    function test_RefusesMoreThanTheAskHasLeft() public {
        Ask memory ask = makeAsk();
        ask.volume = UNITS + 10;
        openOne(signItem(ask, makeBid(), noDelegation()));
        Bid memory bid = makeBid();
        bid.salt = keccak256("second bid");
        Opening memory item = signItem(ask, bid, noDelegation());
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(
            leaseOf(item), 0, abi.encodeWithSelector(ILeases.AskVolumeExceeded.selector, UNITS, 10)
        );
        vm.prank(operator);
        leases.open(only(item));
    }

    function test_RefusesMoreThanTheBidsVolume() public {
        Bid memory bid = makeBid();
        bid.volume = UNITS - 1;
        Opening memory item = signItem(makeAsk(), bid, noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.BidVolumeExceeded.selector, UNITS, UNITS - 1));
    }

    function test_RefusesASecondLeaseOfASpentBid() public {
        openOne(makeItem());
        Opening memory item = makeItem();
        item.index = 1;
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(
            leaseOf(item), 0, abi.encodeWithSelector(ILeases.BidVolumeExceeded.selector, UNITS, 0)
        );
        vm.prank(operator);
        leases.open(only(item));
    }

    function test_RefusesAnotherBidWithTheSameSalt() public {
        openOne(makeItem());
        Bid memory bid = makeBid();
        bid.priceCeiling = 1_999;
        Opening memory item = signItem(makeAsk(), bid, noDelegation());
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(
            leaseOf(item), 0, abi.encodeWithSelector(ILeases.BidVolumeExceeded.selector, UNITS, 0)
        );
        vm.prank(operator);
        leases.open(only(item));
    }

    function test_RefusesALeasesNameForAnotherWorker() public {
        Bid memory bid = makeBid();
        bid.volume = UNITS * 3;
        Opening memory item = signItem(makeAsk(), bid, noDelegation());
        openOne(item);
        uint256 otherKey = uint256(keccak256("other worker"));
        bytes memory proof = proofOf(otherKey, provider);
        vm.prank(provider);
        providers.addWorkerKey(vm.addr(otherKey), proof);
        vm.warp(START + KEY_DELAY);
        item.workerKey = vm.addr(otherKey);
        refuseStanding(item, abi.encodeWithSelector(ILeases.LeaseExists.selector, leaseOf(item)));
        item.index = 1;
        openOne(item);
        assertEq(leases.bidLeft(bid), UNITS);
    }

    function refuseStanding(Opening memory item, bytes memory reason) private {
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(leaseOf(item), 0, reason);
        vm.prank(operator);
        leases.open(only(item));
        assertEq(stateOf(item), 0);
    }

    function test_RefusesMoreThanTheDelegatesCap() public {
        Delegation memory delegation = makeDelegation();
        delegation.spendCap = UNITS * PRICE - 1;
        Opening memory item = signItem(makeAsk(), makeBid(), delegation);
        refuse(
            item,
            abi.encodeWithSelector(
                ILeases.DelegationCapExceeded.selector, UNITS * PRICE - 1, 0, UNITS * PRICE
            )
        );
    }

    function test_RefusesMoreThanTheBuyerHas() public {
        vm.prank(buyer);
        escrow.requestWithdraw(100e6 - UNITS * PRICE + 1);
        refuse(
            makeItem(),
            abi.encodeWithSelector(
                ILeases.InsufficientFree.selector, UNITS * PRICE - 1, UNITS * PRICE
            )
        );
    }
}
