// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {IERC6372} from "@openzeppelin/contracts/interfaces/IERC6372.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";

import {ITreasury} from "../../src/interfaces/ITreasury.sol";
import {Ask, Bid} from "../../src/libraries/Messages.sol";
import {Fixture, Opening} from "../helpers/Fixture.sol";

contract GovernanceTest is Fixture {
    address private votes;
    IGovernor private governor;
    TimelockController private timelock;
    ITreasury private market; // the treasury that the fixture's leases pay
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
        market = treasury;
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

    function test_AProposalWaitsForItsVoteAndMayBeTakenBackBeforeIt() public {
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = proposal(250);
        vm.startPrank(holder);
        uint256 id = governor.propose(targets, values, calls, "why");
        assertEq(uint8(governor.state(id)), uint8(IGovernor.ProposalState.Pending));
        assertTrue(governor.proposalNeedsQueuing(id));
        assertEq(governor.proposalThreshold(), 1_000e18);
        governor.cancel(targets, values, calls, keccak256("why"));
        assertEq(uint8(governor.state(id)), uint8(IGovernor.ProposalState.Canceled));
        vm.warp(block.timestamp + 1 days + 1);
        vm.expectRevert();
        governor.castVote(id, 1);
        assertEq(treasury.feeBps(), 100);
    }

    function test_ADefeatedProposalChangesNothing() public {
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = proposal(0);
        vm.startPrank(holder);
        uint256 id = governor.propose(targets, values, calls, "why");
        vm.warp(block.timestamp + 1 days + 1);
        governor.castVote(id, 0);
        vm.stopPrank();
        vm.warp(block.timestamp + 5 days);
        assertEq(uint8(governor.state(id)), uint8(IGovernor.ProposalState.Defeated));
        vm.expectRevert();
        governor.queue(targets, values, calls, keccak256("why"));
        assertEq(treasury.feeBps(), 100);
    }

    function test_TooFewVotesDecideNothing() public {
        address other = makeAddr("other");
        vm.startPrank(holder);
        IERC20(votes).transfer(other, 39_999e18); // quorum: 4 % of 1,000,000
        vm.stopPrank();
        vm.prank(other);
        IVotes(votes).delegate(other);
        vm.warp(block.timestamp + 1);
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = proposal(250);
        vm.startPrank(other);
        uint256 id = governor.propose(targets, values, calls, "why");
        vm.warp(block.timestamp + 1 days + 1);
        governor.castVote(id, 1);
        vm.stopPrank();
        vm.warp(block.timestamp + 5 days);
        assertEq(uint8(governor.state(id)), uint8(IGovernor.ProposalState.Defeated));
    }

    function test_VotesCountByTimeAndArePermittedBySignature() public {
        assertEq(IERC6372(votes).CLOCK_MODE(), "mode=timestamp");
        assertEq(IERC6372(votes).clock(), block.timestamp);
        (address signer, uint256 key) = makeAddrAndKey("signer");
        bytes32 text = keccak256(
            abi.encode(
                keccak256(
                    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
                ),
                signer,
                minnow,
                5,
                0,
                block.timestamp
            )
        );
        bytes32 digest =
            MessageHashUtils.toTypedDataHash(IERC20Permit(votes).DOMAIN_SEPARATOR(), text);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        IERC20Permit(votes).permit(signer, minnow, 5, block.timestamp, v, r, s);
        assertEq(IERC20(votes).allowance(signer, minnow), 5);
        assertEq(IERC20Permit(votes).nonces(signer), 1);
    }

    /// @notice From a vote to what a provider earns: leases opened after it keep the new fee, those
    /// from before the old one.
    function test_AVotedFeeHoldsForNewLeases() public {
        vm.prank(owner);
        Ownable2Step(address(market)).transferOwnership(address(timelock));
        vm.prank(address(timelock));
        Ownable2Step(address(market)).acceptOwnership();
        treasury = market;
        Opening memory before = makeItem();
        openOne(before);
        bytes32 why = pass(500);
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = proposal(500);
        vm.warp(block.timestamp + 2 days);
        governor.execute(targets, values, calls, why);
        Ask memory ask = makeAsk();
        Bid memory bid = makeBid();
        bid.salt = keccak256("another bid");
        (bid.deadline, bid.expiry) = (uint64(block.timestamp) + 1 days, START + 30 days);
        Opening memory next = signItem(ask, bid, noDelegation());
        openOne(next);
        claimUnits(before, 100);
        claimUnits(next, 100);
        assertEq(creditOf(provider), (150_000 - 1_500) + (150_000 - 7_500));
        closeBy(provider, before, 1);
        closeBy(provider, next, 1);
        assertEq(creditOf(address(market)), 1_500 + 7_500);
        market.collect(escrow);
        assertEq(token.balanceOf(address(market)), 9_000);
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
