// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IProviders} from "../../src/interfaces/IProviders.sol";
import {Tokens} from "../../src/libraries/Tokens.sol";
import {Fixture} from "../helpers/Fixture.sol";
import {FeeToken, PlainToken} from "../helpers/HostileTokens.sol";

contract ProvidersTest is Fixture {
    address private alice = makeAddr("alice");
    uint256 private key = uint256(keccak256("key"));
    address private judge = makeAddr("judge");

    function ready(uint64 amount) private {
        token.mint(alice, amount);
        vm.prank(alice);
        token.approve(address(providers), amount);
    }

    // ── registration ────────────────────────────────────────────────────────────────────────────

    function test_RefusesSecondRegistration() public {
        bytes memory proof = proofOf(key, provider);
        vm.expectRevert(abi.encodeWithSelector(IProviders.AlreadyRegistered.selector, provider));
        vm.prank(provider);
        providers.register(vm.addr(key), proof, MIN_BOND);
    }

    function test_RefusesSmallBond() public {
        bytes memory proof = proofOf(key, alice);
        vm.expectRevert(
            abi.encodeWithSelector(IProviders.BondTooSmall.selector, MIN_BOND - 1, MIN_BOND)
        );
        vm.prank(alice);
        providers.register(vm.addr(key), proof, MIN_BOND - 1);
    }

    function test_RefusesNoKey() public {
        vm.expectRevert(IProviders.ZeroAddress.selector);
        vm.prank(alice);
        providers.register(address(0), "", MIN_BOND);
    }

    function test_RefusesKeyOfAnotherProvider() public {
        bytes memory proof = proofOf(workerKey, alice);
        vm.expectRevert(
            abi.encodeWithSelector(IProviders.WorkerKeyTaken.selector, worker, provider)
        );
        vm.prank(alice);
        providers.register(worker, proof, MIN_BOND);
    }

    function test_RefusesProofForAnotherProvider() public {
        bytes memory proof = proofOf(key, provider);
        vm.expectRevert(abi.encodeWithSelector(IProviders.BadWorkerProof.selector, vm.addr(key)));
        vm.prank(alice);
        providers.register(vm.addr(key), proof, MIN_BOND);
    }

    function test_RefusesRegistrationWithoutTheMoney() public {
        bytes memory proof = proofOf(key, alice);
        vm.prank(alice);
        vm.expectRevert();
        providers.register(vm.addr(key), proof, MIN_BOND);
        assertEq(providers.workerOf(vm.addr(key)), address(0));
    }

    function test_RefusesTokensThatKeepAPartOrAreCoarse() public {
        FeeToken fee = new FeeToken();
        IProviders other =
            IProviders(make("Providers", abi.encode(fee, owner, address(0), 0, 0, 0)));
        fee.mint(alice, 1_000);
        vm.startPrank(alice);
        fee.approve(address(other), 1_000);
        bytes memory proof;
        {
            IProviders mine = providers;
            providers = other;
            proof = proofOf(key, alice);
            providers = mine;
        }
        vm.expectRevert(abi.encodeWithSelector(Tokens.TokenTookFee.selector, 1_000, 990));
        other.register(vm.addr(key), proof, 1_000);
        vm.stopPrank();
        PlainToken coarse = new PlainToken(2);
        bytes memory code = codeOf("Providers", abi.encode(coarse, owner, address(0), 0, 0, 0));
        vm.expectRevert(abi.encodeWithSelector(Tokens.TokenDecimalsTooFew.selector, 2));
        create(code);
    }

    function test_RegistersWithAFirstKeyActiveAtOnce() public {
        ready(MIN_BOND);
        bytes memory proof = proofOf(key, alice);
        vm.expectEmit(address(providers));
        emit IProviders.Registered(alice);
        vm.expectEmit(address(providers));
        emit IProviders.WorkerKeyAdded(alice, vm.addr(key), START);
        vm.expectEmit(address(providers));
        emit IProviders.BondAdded(alice, MIN_BOND);
        vm.prank(alice);
        providers.register(vm.addr(key), proof, MIN_BOND);
        assertEq(providers.workerOf(vm.addr(key)), alice);
        assertTrue(providers.isActive(alice, vm.addr(key)));
        assertEq(providers.bondOf(alice), MIN_BOND);
    }

    function test_AKeySignsForItsProviderOnly() public view {
        assertFalse(providers.isActive(alice, worker));
        assertFalse(providers.isActive(address(0), address(1)));
    }

    // ── keys ────────────────────────────────────────────────────────────────────────────────────

    function test_RefusesKeysOfTheUnregistered() public {
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IProviders.NotRegistered.selector, alice));
        providers.addWorkerKey(vm.addr(key), "");
    }

    function test_RefusesToAddTheSameKeyTwice() public {
        bytes memory proof = proofOf(workerKey, provider);
        vm.prank(provider);
        vm.expectRevert(
            abi.encodeWithSelector(IProviders.WorkerKeyTaken.selector, worker, provider)
        );
        providers.addWorkerKey(worker, proof);
    }

    function test_RefusesToRevokeForeignKeys() public {
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IProviders.WorkerKeyUnknown.selector, worker));
        providers.revokeWorkerKey(worker);
    }

    function test_AddedKeyIsActiveAfterTheDelay() public {
        bytes memory proof = proofOf(key, provider);
        vm.expectEmit(address(providers));
        emit IProviders.WorkerKeyAdded(provider, vm.addr(key), START + KEY_DELAY);
        vm.prank(provider);
        providers.addWorkerKey(vm.addr(key), proof);
        vm.warp(START + KEY_DELAY - 1);
        assertFalse(providers.isActive(provider, vm.addr(key)));
        vm.warp(START + KEY_DELAY);
        assertTrue(providers.isActive(provider, vm.addr(key)));
    }

    function test_RevokedKeyIsOutAtOnceAndComesBackToItsProviderOnly() public {
        vm.startPrank(provider);
        vm.expectEmit(address(providers));
        emit IProviders.WorkerKeyRevoked(provider, worker);
        providers.revokeWorkerKey(worker);
        assertFalse(providers.isActive(provider, worker));
        assertEq(providers.workerOf(worker), address(0));
        vm.expectRevert(abi.encodeWithSelector(IProviders.WorkerKeyUnknown.selector, worker));
        providers.revokeWorkerKey(worker);
        vm.stopPrank();

        bytes memory proof = proofOf(workerKey, alice);
        vm.prank(alice);
        vm.expectRevert(
            abi.encodeWithSelector(IProviders.WorkerKeyTaken.selector, worker, provider)
        );
        providers.register(worker, proof, MIN_BOND);

        proof = proofOf(workerKey, provider);
        vm.prank(provider);
        providers.addWorkerKey(worker, proof);
        assertFalse(providers.isActive(provider, worker));
        vm.warp(START + KEY_DELAY);
        assertTrue(providers.isActive(provider, worker));
    }

    // ── bonds ───────────────────────────────────────────────────────────────────────────────────

    function test_RefusesBondsOfTheUnregisteredAndOfNothing() public {
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IProviders.NotRegistered.selector, alice));
        providers.addBond(1);
        vm.startPrank(provider);
        vm.expectRevert(IProviders.ZeroAmount.selector);
        providers.addBond(0);
        vm.expectRevert(IProviders.ZeroAmount.selector);
        providers.requestUnbond(0);
        vm.expectRevert(IProviders.NothingToUnbond.selector);
        providers.unbond();
        vm.expectRevert(
            abi.encodeWithSelector(IProviders.InsufficientBond.selector, MIN_BOND, MIN_BOND + 1)
        );
        providers.requestUnbond(MIN_BOND + 1);
    }

    function test_AddsBond() public {
        token.mint(provider, 5);
        vm.startPrank(provider);
        token.approve(address(providers), 5);
        vm.expectEmit(address(providers));
        emit IProviders.BondAdded(provider, 5);
        providers.addBond(5);
        assertEq(providers.bondOf(provider), MIN_BOND + 5);
    }

    function test_SaysWhatAWorkerKeySigns() public view {
        bytes32 text =
            keccak256(abi.encode("millrace.worker", block.chainid, address(providers), provider));
        assertEq(providers.workerProofHash(provider), text);
    }

    function test_UnbondsAfterTheDelay() public {
        vm.startPrank(provider);
        vm.expectEmit(address(providers));
        emit IProviders.UnbondRequested(provider, MIN_BOND, START + UNBOND_DELAY);
        providers.requestUnbond(MIN_BOND);
        assertFalse(providers.isActive(provider, worker));
        (uint64 amount, uint64 since) = providers.unbondingOf(provider);
        assertEq(amount, MIN_BOND);
        assertEq(since, START + UNBOND_DELAY);
        vm.warp(START + UNBOND_DELAY - 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IProviders.TooEarly.selector, START + UNBOND_DELAY - 1, START + UNBOND_DELAY
            )
        );
        providers.unbond();
        vm.warp(START + UNBOND_DELAY);
        vm.expectEmit(address(providers));
        emit IProviders.Unbonded(provider, MIN_BOND);
        providers.unbond();
        assertEq(token.balanceOf(provider), MIN_BOND);
    }

    // ── slashing ────────────────────────────────────────────────────────────────────────────────

    function appoint() private {
        vm.expectEmit(address(providers));
        emit IProviders.SlasherChanged(judge);
        vm.prank(owner);
        providers.setSlasher(judge);
    }

    function test_RefusesAnybodyButTheOwnerToAppoint() public {
        vm.expectRevert(
            abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this))
        );
        providers.setSlasher(judge);
    }

    function test_RefusesAnybodyButTheSlasher() public {
        vm.expectRevert(abi.encodeWithSelector(IProviders.NotSlasher.selector, owner));
        vm.prank(owner);
        providers.slash(provider, 1, buyer, alice);
    }

    function test_RefusesSlashToNobody() public {
        appoint();
        vm.startPrank(judge);
        vm.expectRevert(IProviders.ZeroAddress.selector);
        providers.slash(provider, 1, address(0), alice);
        vm.expectRevert(IProviders.ZeroAddress.selector);
        providers.slash(provider, 1, buyer, address(0));
    }

    function test_SlashesIntoHalfThreeTenthsAndNothingness() public {
        appoint();
        vm.expectEmit(address(providers));
        emit IProviders.Slashed(provider, buyer, alice, 500, 300, 201);
        vm.prank(judge);
        providers.slash(provider, 1_001, buyer, alice);
        assertEq(providers.bondOf(provider), MIN_BOND - 1_001);
        vm.expectEmit(address(providers));
        emit IProviders.Collected(buyer, 500);
        providers.collect(buyer);
        providers.collect(alice);
        providers.collect(providers.BURNED());
        assertEq(token.balanceOf(buyer), 500);
        assertEq(token.balanceOf(alice), 300);
        assertEq(token.balanceOf(providers.BURNED()), 201);
        vm.expectRevert(abi.encodeWithSelector(IProviders.NothingOwed.selector, buyer));
        providers.collect(buyer);
    }

    function test_LeavingIsNoWayAroundASlash() public {
        appoint();
        vm.prank(provider);
        providers.requestUnbond(MIN_BOND - 100);
        vm.prank(judge);
        providers.slash(provider, type(uint256).max, buyer, alice);
        (uint64 unbonding,) = providers.unbondingOf(provider);
        assertEq(unbonding, 0);
        assertEq(providers.bondOf(provider), 0);
        assertEq(providers.owedTo(buyer), MIN_BOND / 2);
    }

    function testFuzz_SlashTakesWhatThereIsAndLosesNothing(uint64 leaving, uint256 amount) public {
        appoint();
        leaving = uint64(bound(leaving, 1, MIN_BOND));
        vm.prank(provider);
        providers.requestUnbond(leaving);
        vm.prank(judge);
        providers.slash(provider, amount, buyer, alice);
        (uint64 unbonding,) = providers.unbondingOf(provider);
        uint256 taken = uint256(providers.owedTo(buyer)) + providers.owedTo(alice)
            + providers.owedTo(providers.BURNED());
        assertEq(taken, amount < MIN_BOND ? amount : MIN_BOND);
        assertEq(providers.bondOf(provider) + unbonding + taken, MIN_BOND);
    }
}
