// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ITreasury} from "../../src/interfaces/ITreasury.sol";
import {Fixture} from "../helpers/Fixture.sol";

contract GovernanceTest is Fixture {
    address private votes;
    IGovernor private governor;
    TimelockController private timelock;
    address private holder = makeAddr("holder");
    address private minnow = makeAddr("minnow");

    function setUp() public override {
        super.setUp();
        votes = make("MillraceToken", abi.encode(holder, 1_000_000e18));
        timelock = TimelockController(payable(make("Timelock", abi.encode(2 days, address(this)))));
        governor = IGovernor(
            payable(make("MillraceGovernor", abi.encode(votes, timelock, 1 days, 5 days, 1_000e18)))
        );
        timelock.grantRole(timelock.PROPOSER_ROLE(), address(governor));
        timelock.grantRole(timelock.CANCELLER_ROLE(), address(governor));
        timelock.renounceRole(timelock.DEFAULT_ADMIN_ROLE(), address(this));
        treasury = ITreasury(make("Treasury", abi.encode(address(timelock), 100)));
        vm.prank(holder);
        IVotes(votes).delegate(holder);
        vm.warp(block.timestamp + 1);
    }

    function proposal(uint16 bps)
        private
        view
        returns (address[] memory targets, uint256[] memory values, bytes[] memory calls)
    {
        (targets, values, calls) = (new address[](1), new uint256[](1), new bytes[](1));
        targets[0] = address(treasury);
        calls[0] = abi.encodeCall(ITreasury.setFeeBps, (bps));
    }

    function pass(uint16 bps) private returns (bytes32 why) {
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = proposal(bps);
        why = keccak256("why");
        vm.startPrank(holder);
        uint256 id = governor.propose(targets, values, calls, "why");
        vm.warp(block.timestamp + 1 days + 1);
        governor.castVote(id, 1);
        vm.stopPrank();
        vm.warp(block.timestamp + 5 days);
        governor.queue(targets, values, calls, why);
    }

    function test_HoldersChangeTheFeeThroughTheTimelock() public {
        bytes32 why = pass(250);
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = proposal(250);
        vm.expectRevert();
        governor.execute(targets, values, calls, why);
        assertEq(treasury.feeBps(), 100, "waits in the timelock");
        vm.warp(block.timestamp + 2 days);
        vm.prank(makeAddr("passer-by"));
        governor.execute(targets, values, calls, why);
        assertEq(treasury.feeBps(), 250);
    }

    function test_NoVoteTakesMoreThanTheCap() public {
        bytes32 why = pass(501);
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = proposal(501);
        vm.warp(block.timestamp + 2 days);
        vm.expectRevert(abi.encodeWithSelector(ITreasury.FeeAboveCap.selector, 501, 500));
        governor.execute(targets, values, calls, why);
    }

    function test_RefusesProposalsOfTheSmall() public {
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = proposal(0);
        vm.prank(minnow);
        vm.expectRevert(
            abi.encodeWithSelector(
                IGovernor.GovernorInsufficientProposerVotes.selector, minnow, 0, 1_000e18
            )
        );
        governor.propose(targets, values, calls, "why");
    }

    function test_NobodyElseGovernsTheTreasury() public {
        bytes memory refused =
            abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, holder);
        vm.prank(holder);
        vm.expectRevert(refused);
        treasury.setFeeBps(0);
        assertFalse(timelock.hasRole(timelock.DEFAULT_ADMIN_ROLE(), address(this)));
    }
}
