// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";
import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {ILeases, OpenItem, Parties} from "../../src/interfaces/ILeases.sol";
import {Ask, Bid, Delegation} from "../../src/libraries/Messages.sol";
import {Fixture} from "../helpers/Fixture.sol";

contract LeasesOpenTest is Fixture {
    /// @notice Opens as the operator and expects this refusal and no other effect.
    function refuse(OpenItem memory item, bytes memory reason) private {
        uint64 free = freeOf(item.bid.buyer);
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(leaseOf(item), 0, reason);
        vm.prank(operator);
        leases.open(only(item));
        assertEq(stateOf(item), 0);
        assertEq(freeOf(item.bid.buyer), free);
        assertEq(leases.askOutstanding(keyOf(item).askHash), 0);
    }

    // ── refusals, in the order of the checks ────────────────────────────────────────────────────

    function test_RefusesCallerThatIsNotTheAsksMatcher() public {
        Ask memory ask = makeAsk();
        ask.matcher = address(7);
        OpenItem memory item = signItem(ask, makeBid(), noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.NotMatcher.selector, address(7), operator));
    }

    function test_RefusesCallerThatIsNotTheBidsMatcher() public {
        Bid memory bid = makeBid();
        bid.matcher = address(7);
        OpenItem memory item = signItem(makeAsk(), bid, noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.NotMatcher.selector, address(7), operator));
    }

    function test_AnybodyMayPairOrdersWithoutMatcher() public {
        Ask memory ask = makeAsk();
        Bid memory bid = makeBid();
        ask.matcher = address(0);
        bid.matcher = address(0);
        OpenItem memory item = signItem(ask, bid, noDelegation());
        vm.prank(makeAddr("passer-by"));
        leases.open(only(item));
        assertEq(stateOf(item), 1);
    }

    function test_RefusesUnknownUnitKind() public {
        Ask memory ask = makeAsk();
        ask.unitKind = 4;
        OpenItem memory item = signItem(ask, makeBid(), noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.UnknownUnitKind.selector, 4));
    }

    function test_RefusesDifferentUnitKinds() public {
        Bid memory bid = makeBid();
        bid.unitKind = 2;
        OpenItem memory item = signItem(makeAsk(), bid, noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.UnitKindMismatch.selector, 3, 2));
    }

    function test_RefusesInterruptibleAskForABidThatDidNotAgree() public {
        Ask memory ask = makeAsk();
        ask.orderClass = 1;
        OpenItem memory item = signItem(ask, makeBid(), noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.ClassMismatch.selector, 1, 0));
    }

    function test_RefusesUnknownClass() public {
        Bid memory bid = makeBid();
        bid.orderClass = 4;
        OpenItem memory item = signItem(makeAsk(), bid, noDelegation());
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
        OpenItem memory item = makeItem();
        item.price = PRICE - 1;
        refuse(
            item,
            abi.encodeWithSelector(ILeases.PriceOutsideLimits.selector, PRICE - 1, PRICE, 2_000)
        );
    }

    function test_RefusesPriceAboveTheCeiling() public {
        OpenItem memory item = makeItem();
        item.price = 2_001;
        refuse(
            item, abi.encodeWithSelector(ILeases.PriceOutsideLimits.selector, 2_001, PRICE, 2_000)
        );
    }

    function test_RefusesUnitsOutsideTheAsk() public {
        Ask memory ask = makeAsk();
        ask.minUnits = UNITS + 1;
        OpenItem memory item = signItem(ask, makeBid(), noDelegation());
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
        OpenItem memory item = signItem(ask, makeBid(), noDelegation());
        item.maxUnits = 0;
        refuse(
            item, abi.encodeWithSelector(ILeases.UnitsOutsideLimits.selector, 0, 0, ask.maxUnits)
        );
    }

    function test_RefusesOrdersBeforeTheirTime() public {
        Ask memory ask = makeAsk();
        ask.earliest = START + 1;
        OpenItem memory item = signItem(ask, makeBid(), noDelegation());
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
        OpenItem memory item = signItem(ask, makeBid(), noDelegation());
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
        OpenItem memory item = signItem(makeAsk(), bid, noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.DeadlinePassed.selector, START));
    }

    function test_RefusesDeadlineBeyondItsField() public {
        Bid memory bid = makeBid();
        bid.deadline = 2 ** 40;
        OpenItem memory item = signItem(makeAsk(), bid, noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.DeadlineTooFar.selector, 2 ** 40));
    }

    function test_RefusesAmountAboveTheBidsMaximum() public {
        Bid memory bid = makeBid();
        bid.maxAmount = UNITS * PRICE - 1;
        OpenItem memory item = signItem(makeAsk(), bid, noDelegation());
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
        OpenItem memory item = signItem(ask, bid, noDelegation());
        item.maxUnits = 2 ** 48;
        uint256 amount = (uint256(2 ** 48) + 999_999) / 1_000_000;
        refuse(item, abi.encodeWithSelector(ILeases.LeaseTooLarge.selector, 2 ** 48, amount));
        item.maxUnits = 1_000_000;
        item.price = 2 ** 48;
        refuse(item, abi.encodeWithSelector(ILeases.LeaseTooLarge.selector, 1_000_000, 2 ** 48));
    }

    function test_RefusesForgedAsk() public {
        OpenItem memory item = makeItem();
        bytes32 digest = digestOf(keyOf(item).askHash);
        item.askSignature = sign(buyerKey, digest);
        refuse(item, abi.encodeWithSelector(ILeases.BadSignature.selector, provider, digest));
    }

    function test_RefusesForgedBid() public {
        OpenItem memory item = makeItem();
        bytes32 digest = digestOf(keyOf(item).bidHash);
        item.bidSignature = sign(delegateKey, digest);
        refuse(item, abi.encodeWithSelector(ILeases.BadSignature.selector, buyer, digest));
    }

    function test_RefusesDelegationOfSomebodyElse() public {
        Delegation memory delegation = makeDelegation();
        delegation.owner = provider;
        OpenItem memory item = signItem(makeAsk(), makeBid(), delegation);
        refuse(item, abi.encodeWithSelector(ILeases.DelegationNotByBuyer.selector, provider, buyer));
    }

    function test_RefusesDelegationToNobody() public {
        Delegation memory delegation = makeDelegation();
        delegation.delegate = address(0);
        OpenItem memory item = signItem(makeAsk(), makeBid(), delegation);
        refuse(item, abi.encodeWithSelector(ILeases.DelegationLacksScope.selector, 3, 0));
    }

    function test_RefusesExpiredDelegation() public {
        Delegation memory delegation = makeDelegation();
        delegation.expiry = START - 1;
        OpenItem memory item = signItem(makeAsk(), makeBid(), delegation);
        refuse(item, abi.encodeWithSelector(ILeases.DelegationExpired.selector, START - 1));
    }

    function test_RefusesRevokedDelegation() public {
        OpenItem memory item = makeDelegatedItem();
        vm.expectEmit(address(leases));
        emit ILeases.DelegationsRevoked(buyer, 1);
        vm.prank(buyer);
        leases.revokeDelegations();
        refuse(item, abi.encodeWithSelector(ILeases.DelegationRevoked.selector, 0, 1));
    }

    function test_RefusesForgedDelegation() public {
        OpenItem memory item = makeDelegatedItem();
        bytes32 digest = digestOf(messages.hashDelegation(item.delegation));
        item.delegationSignature = sign(delegateKey, digest);
        refuse(item, abi.encodeWithSelector(ILeases.BadSignature.selector, buyer, digest));
    }

    function test_RefusesOrdersOfADelegateForVouchersOnly() public {
        Delegation memory delegation = makeDelegation();
        delegation.scope = 2;
        OpenItem memory item = signItem(makeAsk(), makeBid(), delegation);
        bytes32 digest = digestOf(keyOf(item).bidHash);
        item.bidSignature = sign(delegateKey, digest);
        refuse(item, abi.encodeWithSelector(ILeases.BadSignature.selector, buyer, digest));
    }

    function test_RefusesTheSameLeaseAgain() public {
        OpenItem memory item = makeItem();
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
        OpenItem memory item = makeItem();
        item.workerKey = delegate;
        refuse(item, abi.encodeWithSelector(ILeases.WorkerNotActive.selector, provider, delegate));
    }

    function test_RefusesWorkerOfProviderBelowTheLeastBond() public {
        vm.prank(provider);
        providers.requestUnbond(1);
        OpenItem memory item = makeItem();
        refuse(item, abi.encodeWithSelector(ILeases.WorkerNotActive.selector, provider, worker));
    }

    function test_RefusesMoreThanTheAsksVolume() public {
        Ask memory ask = makeAsk();
        ask.volume = UNITS - 1;
        OpenItem memory item = signItem(ask, makeBid(), noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.AskVolumeExceeded.selector, UNITS, UNITS - 1));
    }

    function test_RefusesMoreThanTheAskHasLeft() public {
        Ask memory ask = makeAsk();
        ask.volume = UNITS + 10;
        openOne(signItem(ask, makeBid(), noDelegation()));
        Bid memory bid = makeBid();
        bid.salt = keccak256("second bid");
        OpenItem memory item = signItem(ask, bid, noDelegation());
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
        OpenItem memory item = signItem(makeAsk(), bid, noDelegation());
        refuse(item, abi.encodeWithSelector(ILeases.BidVolumeExceeded.selector, UNITS, UNITS - 1));
    }

    function test_RefusesASecondLeaseOfASpentBid() public {
        openOne(makeItem());
        OpenItem memory item = makeItem();
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
        OpenItem memory item = signItem(makeAsk(), bid, noDelegation());
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
        OpenItem memory item = signItem(makeAsk(), bid, noDelegation());
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

    function refuseStanding(OpenItem memory item, bytes memory reason) private {
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(leaseOf(item), 0, reason);
        vm.prank(operator);
        leases.open(only(item));
        assertEq(stateOf(item), 0);
    }

    function test_RefusesMoreThanTheDelegatesCap() public {
        Delegation memory delegation = makeDelegation();
        delegation.spendCap = UNITS * PRICE - 1;
        OpenItem memory item = signItem(makeAsk(), makeBid(), delegation);
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

    // ── effects ─────────────────────────────────────────────────────────────────────────────────

    function test_OpensAndLocksTheMaximum() public {
        OpenItem memory item = makeItem();
        vm.expectEmit(address(escrow));
        emit IEscrow.Locked(buyer, UNITS * PRICE);
        vm.expectEmit(address(leases));
        emit ILeases.LeaseOpened(
            leaseOf(item),
            buyer,
            provider,
            keyOf(item).askHash,
            keyOf(item).bidHash,
            buyer,
            worker,
            3,
            PRICE,
            UNITS,
            UNITS * PRICE,
            item.bid.deadline
        );
        bytes32 lease = openOne(item);
        (
            uint64 locked,
            uint64 paid,
            uint64 maxUnits,
            uint64 claimed,
            uint64 expiry,
            uint8 state,
            bytes32 same
        ) = leases.leases(lease, hashOf(partiesOf(item)));
        assertEq(locked, UNITS * PRICE);
        assertEq(paid, 0);
        assertEq(maxUnits, UNITS);
        assertEq(claimed, 0);
        assertEq(expiry, item.bid.deadline);
        assertEq(state, 1);
        assertEq(same, hashOf(partiesOf(item)));
        assertEq(leases.feeBpsOf(lease, same), 100);
        assertEq(lockedOf(buyer), UNITS * PRICE);
        assertEq(freeOf(buyer), 100e6 - UNITS * PRICE);
        assertEq(leases.askOutstanding(keyOf(item).askHash), UNITS);
        assertEq(leases.bidLeft(item.bid), 0);
        (,,,,,, same) = leases.leases(lease, bytes32(uint256(1)));
        assertEq(same, 0);
    }

    function test_OpensInTheNameOfADelegate() public {
        OpenItem memory item = makeDelegatedItem();
        openOne(item);
        assertEq(leases.spentBy(buyer, delegate), UNITS * PRICE);
    }

    function test_OpensBidOfTheBuyerItselfUnderADelegation() public {
        OpenItem memory item = makeDelegatedItem();
        item.bidSignature = sign(buyerKey, digestOf(keyOf(item).bidHash));
        openOne(item);
    }

    function test_LetsTheBuyerSignVouchersUnderADelegationForOrders() public {
        Delegation memory delegation = makeDelegation();
        delegation.scope = 1;
        OpenItem memory item = signItem(makeAsk(), makeBid(), delegation);
        openOne(item);
        assertEq(partiesOf(item).voucherSigner, buyer);
    }

    function test_RoundsTheLockUp() public {
        Ask memory ask = makeAsk();
        Bid memory bid = makeBid();
        (ask.unitKind, bid.unitKind) = (2, 2);
        OpenItem memory item = signItem(ask, bid, noDelegation());
        openOne(item);
        assertEq(lockedOf(buyer), 1, "300 tokens at 1500 atoms per million");
    }

    function test_GoodItemsOfABatchGoOnWithoutTheBad() public {
        OpenItem[] memory items = new OpenItem[](3);
        for (uint256 i = 0; i < 3; ++i) {
            Bid memory bid = makeBid();
            bid.salt = bytes32(i);
            items[i] = signItem(makeAsk(), bid, noDelegation());
        }
        items[1].price = 1;
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(
            leaseOf(items[1]),
            1,
            abi.encodeWithSelector(ILeases.PriceOutsideLimits.selector, 1, PRICE, 2_000)
        );
        vm.prank(operator);
        leases.open(items);
        assertEq(stateOf(items[0]), 1);
        assertEq(stateOf(items[1]), 0);
        assertEq(stateOf(items[2]), 1);
        assertEq(lockedOf(buyer), 2 * UNITS * PRICE);
    }

    /// @notice An ask and a worker that were good once are remembered; bad ones are not.
    function test_AForgedAskAfterAGoodOneIsRefused() public {
        OpenItem[] memory items = new OpenItem[](4);
        for (uint256 i = 0; i < 4; ++i) {
            Ask memory ask = makeAsk();
            Bid memory bid = makeBid();
            bid.salt = bytes32(i);
            if (i == 1 || i == 2) ask.salt = bytes32(i);
            items[i] = signItem(ask, bid, noDelegation());
        }
        items[1].askSignature = items[0].askSignature;
        items[2].workerKey = delegate;
        vm.prank(operator);
        leases.open(items);
        assertEq(stateOf(items[0]), 1);
        assertEq(stateOf(items[1]), 0);
        assertEq(stateOf(items[2]), 0);
        assertEq(stateOf(items[3]), 1);
    }

    function test_EmptyBatchDoesNothing() public {
        vm.recordLogs();
        leases.open(new OpenItem[](0));
        assertEq(vm.getRecordedLogs().length, 0);
    }

    function test_RefusesDeploymentWithAForeignEscrow() public {
        bytes memory code =
            codeOf("Leases", abi.encode(escrow, providers, treasury, operator, CLOSE_WINDOW));
        vm.expectRevert(
            abi.encodeWithSelector(
                ILeases.WrongContract.selector,
                vm.computeCreateAddress(address(this), vm.getNonce(address(this))),
                address(leases)
            )
        );
        create(code);
    }

    // ── every changed bit of a message or signature is refused ──────────────────────────────────

    /// @notice Which field of the item a mutation touches is drawn by the fuzzer.
    function testFuzz_AnyChangedFieldIsRefused(uint8 field, uint256 bit) public {
        OpenItem memory item = makeDelegatedItem();
        bytes32 unchanged = keccak256(abi.encode(item));
        bytes memory flat = abi.encode(item.ask);
        uint256 which = field % 3;
        if (which == 0) {
            _flip(flat, bit);
            try this.decodeAsk(flat) returns (Ask memory ask) {
                item.ask = ask;
            } catch {
                return;
            }
        } else if (which == 1) {
            flat = abi.encode(item.bid);
            _flip(flat, bit);
            try this.decodeBid(flat) returns (Bid memory bid) {
                item.bid = bid;
            } catch {
                return;
            }
        } else {
            flat = abi.encode(item.delegation);
            _flip(flat, bit);
            try this.decodeDelegation(flat) returns (Delegation memory delegation) {
                item.delegation = delegation;
            } catch {
                return;
            }
        }
        assertNotEq(keccak256(abi.encode(item)), unchanged);
        vm.recordLogs();
        vm.prank(operator);
        leases.open(only(item));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 1);
        assertEq(logs[0].topics[0], ILeases.ItemFailed.selector);
        assertEq(leases.spentBy(buyer, delegate), 0);
        assertEq(lockedOf(buyer), 0);
    }

    function _flip(bytes memory flat, uint256 bit) private pure {
        bit = bit % (flat.length * 8);
        flat[bit / 8] = bytes1(uint8(flat[bit / 8]) ^ uint8(1 << (bit % 8)));
    }

    function decodeAsk(bytes calldata flat) external pure returns (Ask memory) {
        return abi.decode(flat, (Ask));
    }

    function decodeBid(bytes calldata flat) external pure returns (Bid memory) {
        return abi.decode(flat, (Bid));
    }

    function decodeDelegation(bytes calldata flat) external pure returns (Delegation memory) {
        return abi.decode(flat, (Delegation));
    }

    function test_RefusesSignaturesOfOtherShapes() public {
        OpenItem memory item = makeItem();
        bytes32 digest = digestOf(keyOf(item).bidHash);
        bytes memory reason = abi.encodeWithSelector(ILeases.BadSignature.selector, buyer, digest);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(buyerKey, digest);
        bytes32 order = bytes32(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141);
        bytes32 highS = bytes32(uint256(order) - uint256(s));
        bytes32 vs = bytes32(uint256(s) | (uint256(v - 27) << 255));

        item.bidSignature = abi.encodePacked(r, highS, v == 27 ? uint8(28) : uint8(27));
        refuse(item, reason); // high s
        item.bidSignature = abi.encodePacked(r, vs);
        refuse(item, reason); // 64 bytes
        item.bidSignature = abi.encodePacked(r, s, v == 27 ? uint8(28) : uint8(27));
        refuse(item, reason); // the other v
        item.bidSignature = abi.encodePacked(r, s, v - 27);
        refuse(item, reason); // v of 0 or 1
        item.bidSignature = abi.encodePacked(bytes32(0), s, v);
        refuse(item, reason); // r zero
        item.bidSignature = abi.encodePacked(r, bytes32(0), v);
        refuse(item, reason); // s zero
        item.bidSignature = abi.encodePacked(r, s, v, uint8(0));
        refuse(item, reason); // 66 bytes
        item.bidSignature = "";
        refuse(item, reason); // nothing
        item.bidSignature = abi.encodePacked(r, s, v);
        openOne(item);
    }

    function test_RefusesMessagesOfAnotherChainOrContract() public {
        OpenItem memory item = makeItem();
        vm.chainId(block.chainid + 1);
        bytes32 elsewhere = digestOf(keyOf(item).askHash);
        refuse(item, abi.encodeWithSelector(ILeases.BadSignature.selector, provider, elsewhere));
        vm.chainId(block.chainid - 1);
        deployOn(token);
        vm.prank(operator);
        leases.open(only(item));
        assertEq(stateOf(item), 0);
    }

    function test_PartiesOfAnotherKindFindNothing() public {
        OpenItem memory item = makeItem();
        bytes32 lease = openOne(item);
        Parties memory parties = partiesOf(item);
        parties.provider = address(9);
        (uint64 locked,,,,, uint8 state,) = leases.leases(lease, hashOf(parties));
        assertEq(locked, 0);
        assertEq(state, 0);
    }
}
