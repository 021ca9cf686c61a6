// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {ITreasury} from "../../src/interfaces/ITreasury.sol";
import {Fixture} from "../helpers/Fixture.sol";

contract TreasuryTest is Fixture {
    function test_RefusesFeeAboveTheCap() public {
        bytes memory code = codeOf("Treasury", abi.encode(owner, 501));
        vm.expectRevert(abi.encodeWithSelector(ITreasury.FeeAboveCap.selector, 501, 500));
        create(code);
        vm.expectRevert(abi.encodeWithSelector(ITreasury.FeeAboveCap.selector, 501, 500));
        vm.prank(owner);
        treasury.setFeeBps(501);
    }

    function test_RefusesAnybodyButTheOwner() public {
        bytes memory refused =
            abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, operator);
        vm.startPrank(operator);
        vm.expectRevert(refused);
        treasury.setFeeBps(1);
        vm.expectRevert(refused);
        treasury.pay(token, operator, 1);
    }

    function test_ChangesTheFee() public {
        vm.expectEmit(address(treasury));
        emit ITreasury.FeeChanged(500);
        vm.prank(owner);
        treasury.setFeeBps(500);
        assertEq(treasury.feeBps(), 500);
    }

    function test_Pays() public {
        token.mint(address(treasury), 10);
        vm.startPrank(owner);
        vm.expectRevert(ITreasury.ZeroAddress.selector);
        treasury.pay(token, address(0), 1);
        vm.expectEmit(address(treasury));
        emit ITreasury.Paid(address(token), buyer, 7);
        treasury.pay(token, buyer, 7);
        assertEq(token.balanceOf(buyer), 7);
    }

    function test_OwnershipMovesInTwoSteps() public {
        Ownable2Step owned = Ownable2Step(address(treasury));
        vm.prank(owner);
        owned.transferOwnership(buyer);
        assertEq(owned.owner(), owner);
        vm.prank(buyer);
        owned.acceptOwnership();
        assertEq(owned.owner(), buyer);
    }
}
