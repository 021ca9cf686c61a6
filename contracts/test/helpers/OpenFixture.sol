// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILeases} from "../../src/interfaces/ILeases.sol";
import {Fixture, Opening} from "./Fixture.sol";

abstract contract OpenFixture is Fixture {
    /// @notice Opens as the operator and expects this refusal and no other effect.
    function refuse(Opening memory item, bytes memory reason) internal {
        uint64 free = freeOf(item.bid.buyer);
        vm.expectEmit(address(leases));
        emit ILeases.ItemFailed(leaseOf(item), 0, reason);
        vm.prank(operator);
        leases.open(only(item));
        assertEq(stateOf(item), 0);
        assertEq(freeOf(item.bid.buyer), free);
        assertEq(leases.askOutstanding(keyOf(item).askHash), 0);
    }
}
