// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {Tokens} from "../../src/libraries/Tokens.sol";
import {Fixture} from "../helpers/Fixture.sol";
import {
    BlocklistToken,
    FalseToken,
    FeeToken,
    PlainToken,
    ReentrantToken,
    SilentToken
} from "../helpers/HostileTokens.sol";

contract EscrowTest is Fixture {
    address private alice;
    uint256 private aliceKey;

    function setUp() public override {
        super.setUp();
        (alice, aliceKey) = makeAddrAndKey("alice");
    }

    function approve(uint256 amount) private {
        token.mint(alice, amount);
        vm.prank(alice);
        token.approve(address(escrow), amount);
    }

    // ── deployment ──────────────────────────────────────────────────────────────────────────────

    function test_RefusesNoLeases() public {
        bytes memory code = codeOf("Escrow", abi.encode(token, address(0), 1));
        vm.expectRevert(IEscrow.ZeroAddress.selector);
        create(code);
    }

    function test_RefusesTokenWithFewDecimals() public {
        PlainToken coarse = new PlainToken(5);
        bytes memory code = codeOf("Escrow", abi.encode(coarse, address(1), 1));
        vm.expectRevert(abi.encodeWithSelector(Tokens.TokenDecimalsTooFew.selector, 5));
        create(code);
    }

    // ── deposits ────────────────────────────────────────────────────────────────────────────────

    function test_RefusesDepositForNobody() public {
        vm.expectRevert(IEscrow.ZeroAddress.selector);
        escrow.deposit(address(0), 1);
    }

    function test_RefusesDepositOfNothing() public {
        vm.expectRevert(IEscrow.ZeroAmount.selector);
        escrow.deposit(alice, 0);
        vm.expectRevert(IEscrow.ZeroAmount.selector);
        escrow.depositWithPermit(alice, 0, 0, 0, 0, 0);
        vm.expectRevert(IEscrow.ZeroAmount.selector);
        escrow.depositWithAuthorization(alice, 0, 0, 0, 0, 0, 0, 0);
    }

    function test_RefusesDepositWithoutApproval() public {
        vm.prank(alice);
        vm.expectRevert();
        escrow.deposit(alice, 5);
        assertEq(freeOf(alice), 0);
    }

    function test_DepositsForAnother() public {
        approve(50);
        uint256 owed = escrow.liabilities();
        vm.expectEmit(address(escrow));
        emit IEscrow.Deposited(provider, 50);
        vm.prank(alice);
        escrow.deposit(provider, 50);
        assertEq(freeOf(provider), 50);
        assertEq(freeOf(alice), 0);
        assertEq(escrow.liabilities(), owed + 50);
    }

    function _permit(uint256 key, uint256 value, uint256 deadline)
        private
        view
        returns (uint8 v, bytes32 r, bytes32 s)
    {
        bytes32 hash = keccak256(
            abi.encode(
                keccak256(
                    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
                ),
                alice,
                address(escrow),
                value,
                token.nonces(alice),
                deadline
            )
        );
        return vm.sign(key, MessageHashUtils.toTypedDataHash(token.DOMAIN_SEPARATOR(), hash));
    }

    function test_RefusesForgedPermit() public {
        token.mint(alice, 50);
        (uint8 v, bytes32 r, bytes32 s) = _permit(buyerKey, 50, START + 1);
        vm.expectRevert();
        escrow.depositWithPermit(alice, 50, START + 1, v, r, s);
    }

    function test_RefusesPermitForLess() public {
        token.mint(alice, 50);
        (uint8 v, bytes32 r, bytes32 s) = _permit(aliceKey, 49, START + 1);
        vm.expectRevert();
        escrow.depositWithPermit(alice, 50, START + 1, v, r, s);
    }

    function test_DepositsWithPermitBroughtByAnybody() public {
        token.mint(alice, 50);
        (uint8 v, bytes32 r, bytes32 s) = _permit(aliceKey, 50, START + 1);
        vm.expectEmit(address(escrow));
        emit IEscrow.Deposited(alice, 50);
        vm.prank(operator);
        escrow.depositWithPermit(alice, 50, START + 1, v, r, s);
        assertEq(freeOf(alice), 50);
    }

    function test_DepositsWithPermitThatSomebodyBroughtBefore() public {
        token.mint(alice, 50);
        (uint8 v, bytes32 r, bytes32 s) = _permit(aliceKey, 50, START + 1);
        token.permit(alice, address(escrow), 50, START + 1, v, r, s);
        escrow.depositWithPermit(alice, 50, START + 1, v, r, s);
        assertEq(freeOf(alice), 50);
    }

    function _authorize(uint256 key, uint256 value)
        private
        view
        returns (uint8 v, bytes32 r, bytes32 s)
    {
        bytes32 hash = keccak256(
            abi.encode(
                keccak256(
                    "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
                ),
                alice,
                address(escrow),
                value,
                START - 1,
                START + 1,
                bytes32(uint256(3))
            )
        );
        return vm.sign(key, MessageHashUtils.toTypedDataHash(token.DOMAIN_SEPARATOR(), hash));
    }

    function test_DepositsWithAuthorizationOnce() public {
        token.mint(alice, 100);
        (uint8 v, bytes32 r, bytes32 s) = _authorize(aliceKey, 50);
        vm.expectEmit(address(escrow));
        emit IEscrow.Deposited(alice, 50);
        escrow.depositWithAuthorization(
            alice, 50, START - 1, START + 1, bytes32(uint256(3)), v, r, s
        );
        assertEq(freeOf(alice), 50);
        vm.expectRevert();
        escrow.depositWithAuthorization(
            alice, 50, START - 1, START + 1, bytes32(uint256(3)), v, r, s
        );
        assertEq(freeOf(alice), 50);
    }

    function test_RefusesForgedAuthorization() public {
        token.mint(alice, 100);
        (uint8 v, bytes32 r, bytes32 s) = _authorize(buyerKey, 50);
        vm.expectRevert();
        escrow.depositWithAuthorization(
            alice, 50, START - 1, START + 1, bytes32(uint256(3)), v, r, s
        );
    }

    function test_RefusesBalancesBeyondTheirField() public {
        approve(type(uint256).max - token.totalSupply());
        vm.startPrank(alice);
        escrow.deposit(alice, type(uint64).max);
        vm.expectRevert();
        escrow.deposit(alice, 1);
        vm.stopPrank();
    }

    // ── withdrawals ─────────────────────────────────────────────────────────────────────────────

    function test_RefusesWithdrawalOfNothing() public {
        vm.expectRevert(IEscrow.ZeroAmount.selector);
        escrow.requestWithdraw(0);
        vm.expectRevert(IEscrow.NothingToWithdraw.selector);
        escrow.withdraw();
        vm.expectRevert(IEscrow.NothingToWithdraw.selector);
        escrow.cancelWithdraw();
        vm.expectRevert(IEscrow.NothingToWithdraw.selector);
        escrow.sweep(alice);
    }

    function test_RefusesWithdrawalAboveFree() public {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.InsufficientFree.selector, 100e6, 100e6 + 1));
        vm.prank(buyer);
        escrow.requestWithdraw(100e6 + 1);
    }

    function test_RefusesEarlyWithdrawal() public {
        vm.startPrank(buyer);
        escrow.requestWithdraw(5);
        vm.warp(START + WITHDRAW_DELAY - 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrow.TooEarly.selector, START + WITHDRAW_DELAY - 1, START + WITHDRAW_DELAY
            )
        );
        escrow.withdraw();
    }

    function test_WithdrawsAfterTheDelay() public {
        vm.startPrank(buyer);
        vm.expectEmit(address(escrow));
        emit IEscrow.WithdrawRequested(buyer, 5, START + WITHDRAW_DELAY);
        escrow.requestWithdraw(5);
        assertEq(freeOf(buyer), 100e6 - 5);
        vm.warp(START + WITHDRAW_DELAY);
        vm.expectEmit(address(escrow));
        emit IEscrow.Withdrawn(buyer, 5);
        escrow.withdraw();
        assertEq(token.balanceOf(buyer), 5);
        assertEq(escrow.liabilities(), 100e6 - 5);
        vm.expectRevert(IEscrow.NothingToWithdraw.selector);
        escrow.withdraw();
    }

    function test_SecondRequestStartsTheDelayAgain() public {
        vm.startPrank(buyer);
        escrow.requestWithdraw(5);
        vm.warp(START + 1 days);
        escrow.requestWithdraw(6);
        (,,, uint64 withdrawing, uint64 at) = escrow.accounts(buyer);
        assertEq(withdrawing, 11);
        assertEq(at, START + 1 days + WITHDRAW_DELAY);
    }

    function test_CancelsAWithdrawal() public {
        vm.startPrank(buyer);
        escrow.requestWithdraw(5);
        vm.expectEmit(address(escrow));
        emit IEscrow.WithdrawCancelled(buyer, 5);
        escrow.cancelWithdraw();
        assertEq(freeOf(buyer), 100e6);
    }

    function test_MoneyBeingWithdrawnCannotBeLocked() public {
        vm.prank(buyer);
        escrow.requestWithdraw(100e6);
        vm.prank(address(leases));
        (bool done, uint64 free) = escrow.tryLock(buyer, 1);
        assertFalse(done);
        assertEq(free, 0);
    }

    // ── what only Leases may do ─────────────────────────────────────────────────────────────────

    function test_RefusesAnybodyButLeases() public {
        bytes memory refused = abi.encodeWithSelector(IEscrow.NotLeases.selector, operator);
        vm.startPrank(operator);
        vm.expectRevert(refused);
        escrow.tryLock(buyer, 1);
        vm.expectRevert(refused);
        escrow.credit(provider, 1);
        vm.expectRevert(refused);
        escrow.release(buyer, 0, 0);
    }

    function test_NothingIsUnlockedWhenAllWasPaid() public {
        vm.startPrank(address(leases));
        escrow.tryLock(buyer, 1_000);
        vm.recordLogs();
        escrow.release(buyer, 1_000, 0);
        assertEq(vm.getRecordedLogs().length, 0);
        assertEq(lockedOf(buyer), 0);
        assertEq(freeOf(buyer), 100e6 - 1_000);
    }

    function test_LocksCreditsReleasesAndSweeps() public {
        vm.startPrank(address(leases));
        (bool done, uint64 free) = escrow.tryLock(buyer, 1_000);
        assertTrue(done);
        assertEq(free, 100e6 - 1_000);
        vm.expectEmit(address(escrow));
        emit IEscrow.Credited(provider, 594);
        escrow.credit(provider, 594);
        vm.expectEmit(address(escrow));
        emit IEscrow.Unlocked(buyer, 400);
        escrow.release(buyer, 1_000, 400);
        escrow.credit(address(treasury), 6);
        vm.stopPrank();
        assertEq(freeOf(buyer), 100e6 - 600);
        assertEq(lockedOf(buyer), 0);
        vm.expectEmit(address(escrow));
        emit IEscrow.Swept(provider, 594);
        escrow.sweep(provider);
        assertEq(token.balanceOf(provider), 594);
        treasury.collect(escrow);
        assertEq(token.balanceOf(address(treasury)), 6);
        assertEq(escrow.liabilities(), 100e6 - 600);
    }

    // ── tokens that misbehave ───────────────────────────────────────────────────────────────────

    function _escrowOf(address money) private returns (IEscrow) {
        return IEscrow(make("Escrow", abi.encode(money, address(this), WITHDRAW_DELAY)));
    }

    function test_RefusesTokenThatKeepsAPart() public {
        FeeToken fee = new FeeToken();
        IEscrow other = _escrowOf(address(fee));
        fee.mint(alice, 1_000);
        vm.startPrank(alice);
        fee.approve(address(other), 1_000);
        vm.expectRevert(abi.encodeWithSelector(Tokens.TokenTookFee.selector, 1_000, 990));
        other.deposit(alice, 1_000);
    }

    function test_RefusesTokenThatAnswersFalse() public {
        FalseToken no = new FalseToken();
        IEscrow other = _escrowOf(address(no));
        vm.expectRevert(
            abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(no))
        );
        other.deposit(alice, 1_000);
    }

    function test_TakesTokenThatAnswersNothing() public {
        SilentToken silent = new SilentToken();
        IEscrow other = _escrowOf(address(silent));
        silent.mint(alice, 1_000);
        vm.startPrank(alice);
        silent.approve(address(other), 1_000);
        other.deposit(alice, 1_000);
        other.requestWithdraw(1_000);
        vm.warp(START + WITHDRAW_DELAY);
        other.withdraw();
        assertEq(silent.balanceOf(alice), 1_000);
    }

    function test_ScalesTokenWithMoreDecimals() public {
        PlainToken fine = new PlainToken(18);
        IEscrow other = _escrowOf(address(fine));
        assertEq(other.scale(), 1e12);
        fine.mint(alice, 3e18);
        vm.startPrank(alice);
        fine.approve(address(other), 3e18);
        other.deposit(alice, 3e6);
        assertEq(fine.balanceOf(address(other)), 3e18);
        other.requestWithdraw(1);
        vm.warp(START + WITHDRAW_DELAY);
        other.withdraw();
        assertEq(fine.balanceOf(alice), 1e12);
        assertEq(other.liabilities(), 3e6 - 1);
    }

    function test_OneBlockedAccountStopsNobodyElse() public {
        BlocklistToken list = new BlocklistToken();
        IEscrow other = _escrowOf(address(list));
        list.mint(alice, 1_000);
        vm.startPrank(alice);
        list.approve(address(other), 1_000);
        other.deposit(alice, 1_000);
        vm.stopPrank();
        other.tryLock(alice, 1_000);
        list.setBlocked(provider, true);
        other.credit(provider, 400);
        other.credit(worker, 600);
        other.sweep(worker);
        assertEq(list.balanceOf(worker), 600);
        vm.expectRevert(abi.encodeWithSelector(BlocklistToken.Blocked.selector, provider));
        other.sweep(provider);
        list.setBlocked(provider, false);
        other.sweep(provider);
        assertEq(list.balanceOf(provider), 400);
    }

    function test_RefusesReentry() public {
        ReentrantToken loop = new ReentrantToken();
        IEscrow other = _escrowOf(address(loop));
        loop.mint(alice, 1_000);
        vm.startPrank(alice);
        loop.approve(address(other), 1_000);
        loop.arm(address(other), abi.encodeCall(IEscrow.deposit, (alice, 1)));
        other.deposit(alice, 500);
        vm.stopPrank();
        assertFalse(loop.lastDone());
        assertEq(
            bytes4(loop.lastAnswer()),
            ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector
        );
        other.tryLock(alice, 500);
        other.credit(provider, 500);
        loop.arm(address(other), abi.encodeCall(IEscrow.sweep, (provider)));
        other.sweep(provider);
        assertFalse(loop.lastDone());
        assertEq(loop.balanceOf(provider), 500);
    }

    // ── properties ──────────────────────────────────────────────────────────────────────────────

    function testFuzz_NeverOwesMoreThanItHolds(uint64 first, uint64 second, uint64 out) public {
        first = uint64(bound(first, 1, type(uint64).max / 2));
        second = uint64(bound(second, 1, type(uint64).max / 2));
        fund(alice, first);
        fund(alice, second);
        assertEq(freeOf(alice), uint256(first) + second);
        out = uint64(bound(out, 1, first + second));
        vm.startPrank(alice);
        escrow.requestWithdraw(out);
        vm.warp(START + WITHDRAW_DELAY);
        escrow.withdraw();
        assertEq(token.balanceOf(alice), out);
        assertEq(escrow.liabilities(), token.balanceOf(address(escrow)));
    }
}
