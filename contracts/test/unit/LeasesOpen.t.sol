// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {ILeases, OpenGroup, OpenItem, Parties} from "../../src/interfaces/ILeases.sol";
import {Ask, Bid, Delegation} from "../../src/libraries/Messages.sol";
import {Fixture, Opening} from "../helpers/Fixture.sol";

/// @notice What an opened lease changes, alone and in a batch.
contract LeasesOpenTest is Fixture {
    function test_OpensAndLocksTheMaximum() public {
        Opening memory item = makeItem();
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
            uint256(
                bytes32(
                    abi.encodePacked(
                        uint40(3),
                        PRICE,
                        uint48(UNITS),
                        uint48(UNITS * PRICE),
                        uint40(item.bid.deadline),
                        uint16(100)
                    )
                )
            )
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
        Opening memory item = makeDelegatedItem();
        openOne(item);
        assertEq(leases.spentBy(buyer, delegate), UNITS * PRICE);
    }

    function test_OpensBidOfTheBuyerItselfUnderADelegation() public {
        Opening memory item = makeDelegatedItem();
        item.bidSignature = sign(buyerKey, digestOf(keyOf(item).bidHash));
        openOne(item);
    }

    function test_LetsTheBuyerSignVouchersUnderADelegationForOrders() public {
        Delegation memory delegation = makeDelegation();
        delegation.scope = 1;
        Opening memory item = signItem(makeAsk(), makeBid(), delegation);
        openOne(item);
        assertEq(partiesOf(item).voucherSigner, buyer);
    }

    function test_RoundsTheLockUp() public {
        Ask memory ask = makeAsk();
        Bid memory bid = makeBid();
        (ask.unitKind, bid.unitKind) = (2, 2);
        Opening memory item = signItem(ask, bid, noDelegation());
        openOne(item);
        assertEq(lockedOf(buyer), 1, "300 tokens at 1500 atoms per million");
    }

    function test_GoodItemsOfABatchGoOnWithoutTheBad() public {
        Opening[] memory items = new Opening[](3);
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
        leases.open(grouped(items));
        assertEq(stateOf(items[0]), 1);
        assertEq(stateOf(items[1]), 0);
        assertEq(stateOf(items[2]), 1);
        assertEq(lockedOf(buyer), 2 * UNITS * PRICE);
    }

    /// @notice Items of one ask share its signature and its volume, whichever of them fail.
    function test_OpensAGroupUnderOneAsk() public {
        OpenGroup[] memory groups = new OpenGroup[](2);
        for (uint256 g = 0; g < 2; ++g) {
            groups[g].items = new OpenItem[](2);
            for (uint256 i = 0; i < 2; ++i) {
                Bid memory bid = makeBid();
                bid.salt = bytes32(2 * g + i);
                Ask memory ask = makeAsk();
                ask.volume = 3 * UNITS - 1;
                Opening memory item = signItem(ask, bid, noDelegation());
                (groups[g].ask, groups[g].askSignature) = (item.ask, item.askSignature);
                groups[g].items[i] = withoutAsk(item);
            }
        }
        bytes32 askHash = messages.hashAsk(groups[0].ask);
        bytes32 third =
            keccak256(abi.encode(askHash, messages.hashBid(groups[1].items[0].bid), uint64(0)));
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(
            third, 2, abi.encodeWithSelector(ILeases.AskVolumeExceeded.selector, UNITS, UNITS - 1)
        );
        vm.prank(operator);
        leases.open(groups);
        assertEq(leases.askOutstanding(askHash), 2 * UNITS);
        assertEq(lockedOf(buyer), 2 * UNITS * PRICE);
    }

    /// @notice An ask and a worker that were good once are remembered; bad ones are not.
    function test_AForgedAskAfterAGoodOneIsRefused() public {
        Opening[] memory items = new Opening[](4);
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
        leases.open(grouped(items));
        assertEq(stateOf(items[0]), 1);
        assertEq(stateOf(items[1]), 0);
        assertEq(stateOf(items[2]), 0);
        assertEq(stateOf(items[3]), 1);
    }

    function test_EmptyBatchDoesNothing() public {
        vm.recordLogs();
        leases.open(grouped(new Opening[](0)));
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

    function test_PartiesOfAnotherKindFindNothing() public {
        Opening memory item = makeItem();
        bytes32 lease = openOne(item);
        Parties memory parties = partiesOf(item);
        parties.provider = address(9);
        (uint64 locked,,,,, uint8 state,) = leases.leases(lease, hashOf(parties));
        assertEq(locked, 0);
        assertEq(state, 0);
    }
}
