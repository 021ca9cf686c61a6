// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {ILeases, LeaseKey, Parties} from "../../src/interfaces/ILeases.sol";
import {SettlementToken} from "../../src/mocks/SettlementToken.sol";
import {Fixture, Opening} from "../helpers/Fixture.sol";
import {BlocklistToken} from "../helpers/HostileTokens.sol";

/// @notice I-12: from every state of a lease each party gets its due without the operator, at a time
/// that everybody can read off the contracts, and not a second earlier.
contract ExitsTest is Fixture {
    uint64 private constant DONE = 100;

    function leaseWithWork() private returns (Opening memory item) {
        item = makeItem();
        openOne(item);
        claimUnits(item, DONE);
    }

    /// @dev A passer-by ends the lease when its time has come; then everybody takes out what is its.
    function everybodyLeaves(Opening memory item, uint64 units) private {
        address passer = makeAddr("passer-by");
        uint8 state = stateOf(item);
        uint64 since =
            state == 1 ? item.bid.deadline + leases.closeWindow() : leases.finalAt(leaseOf(item));
        vm.startPrank(passer);
        if (state != 3) {
            vm.warp(since - 1);
            finalizeOne(item);
            assertEq(stateOf(item), state, "too early");
            vm.warp(since);
            finalizeOne(item);
            assertEq(stateOf(item), 3);
        }
        escrow.sweep(provider);
        escrow.sweep(address(treasury));
        vm.stopPrank();
        uint64 paid = units * PRICE;
        assertEq(token.balanceOf(provider), paid - paid / 100);
        assertEq(token.balanceOf(address(treasury)), paid / 100);
        buyerLeaves(100e6 - paid);
        providerUnbonds();
        assertEq(escrow.liabilities(), 0);
    }

    function buyerLeaves(uint64 due) private {
        uint256 before = token.balanceOf(buyer);
        vm.startPrank(buyer);
        escrow.requestWithdraw(due);
        (,,,, uint64 since) = escrow.accounts(buyer);
        vm.warp(since - 1);
        vm.expectPartialRevert(IEscrow.TooEarly.selector);
        escrow.withdraw();
        vm.warp(since);
        escrow.withdraw();
        vm.stopPrank();
        assertEq(token.balanceOf(buyer) - before, due);
    }

    function providerUnbonds() private {
        uint256 before = token.balanceOf(provider);
        vm.startPrank(provider);
        providers.requestUnbond(MIN_BOND);
        (, uint64 since) = providers.unbondingOf(provider);
        vm.warp(since);
        providers.unbond();
        vm.stopPrank();
        assertEq(token.balanceOf(provider) - before, MIN_BOND);
    }

    function test_FromAnOpenLease() public {
        everybodyLeaves(leaseWithWork(), DONE);
    }

    function test_FromALeaseTheBuyerIsClosing() public {
        Opening memory item = leaseWithWork();
        closeBy(buyer, item, 2);
        everybodyLeaves(item, DONE);
    }

    function test_FromALeaseTheOperatorIsClosing() public {
        Opening memory item = leaseWithWork();
        closeBy(operator, item, 3);
        everybodyLeaves(item, DONE);
    }

    function test_FromALeaseTheProviderClosed() public {
        Opening memory item = leaseWithWork();
        closeBy(provider, item, 7);
        everybodyLeaves(item, DONE);
    }

    function test_FromALeaseItsWorkerClosed() public {
        Opening memory item = leaseWithWork();
        closeBy(worker, item, 1);
        everybodyLeaves(item, DONE);
    }

    function test_TheWorkersLastVoucherIsPaidWhileALeaseIsClosing() public {
        Opening memory item = leaseWithWork();
        closeBy(buyer, item, 2);
        vm.warp(leases.finalAt(leaseOf(item)) - 1);
        claimUnits(item, UNITS);
        everybodyLeaves(item, UNITS);
    }

    function test_TheWorkersLastVoucherIsPaidUntilAnExpiredLeaseIsReclaimed() public {
        Opening memory item = leaseWithWork();
        vm.warp(item.bid.deadline + CLOSE_WINDOW);
        claimUnits(item, UNITS);
        everybodyLeaves(item, UNITS);
    }

    /// @notice Neither the buyer nor anybody who signs for it is heard of again.
    function test_TheWorkersLastReceiptIsPaidThoughNobodySignsForTheBuyer() public {
        Opening memory item = leaseWithWork();
        claimAloneBy(provider, item, DONE + 50);
        vm.warp(START + CLOSE_WINDOW);
        payAlone(item);
        everybodyLeaves(item, DONE + 50);
    }

    function test_TheWorkersLastReceiptIsPaidThoughALostBuyerIsClosing() public {
        Opening memory item = leaseWithWork();
        closeBy(buyer, item, 2);
        claimAloneBy(worker, item, DONE + 50);
        everybodyLeaves(item, DONE + 50);
    }

    function test_ABuyerPaysNothingForAReceiptItObjectsTo() public {
        Opening memory item = leaseWithWork();
        closeBy(buyer, item, 2);
        claimAloneBy(worker, item, UNITS);
        objectWith(buyerKey, item, messages.hashReceipt(receiptOf(item, UNITS)));
        everybodyLeaves(item, DONE);
    }

    function test_AfterTheWorkerKeyWasRevoked() public {
        Opening memory item = leaseWithWork();
        vm.prank(provider);
        providers.revokeWorkerKey(worker);
        claimUnits(item, UNITS); // work that both sides signed for
        everybodyLeaves(item, UNITS);
    }

    function test_WhenNobodyRemainsOperator() public {
        Opening memory item = leaseWithWork();
        vm.prank(operator);
        Ownable(address(leases)).renounceOwnership();
        assertEq(leases.operator(), address(0));
        everybodyLeaves(item, DONE);
    }

    function test_TheOperatorMovesInTwoSteps() public {
        Opening memory item = leaseWithWork();
        vm.prank(operator);
        Ownable2Step(address(leases)).transferOwnership(delegate);
        assertEq(leases.operator(), operator);
        vm.prank(delegate);
        Ownable2Step(address(leases)).acceptOwnership();
        assertEq(leases.operator(), delegate);
        expectRefusal(item, abi.encodeWithSelector(ILeases.NotAParty.selector, operator));
        closeBy(operator, item, 3);
        closeBy(delegate, item, 3);
        assertEq(stateOf(item), 2);
    }

    /// @notice A token that refuses one of them holds up nobody else, and not that one's claim.
    function test_WhenTheTokenBlocksTheProvider() public {
        BlocklistToken blocking = new BlocklistToken();
        token = SettlementToken(address(blocking));
        deployOn(IERC20(address(blocking)));
        fund(buyer, 100e6);
        enlist(provider, workerKey, MIN_BOND);
        Opening memory item = leaseWithWork();
        blocking.setBlocked(provider, true);
        closeBy(worker, item, 1);
        buyerLeaves(100e6 - DONE * PRICE);
        escrow.sweep(address(treasury));
        vm.expectRevert(abi.encodeWithSelector(BlocklistToken.Blocked.selector, provider));
        escrow.sweep(provider);
        blocking.setBlocked(provider, false);
        escrow.sweep(provider);
        assertEq(token.balanceOf(provider), DONE * PRICE - DONE * PRICE / 100);
        assertEq(escrow.liabilities(), 0);
    }
}
