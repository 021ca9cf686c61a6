// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";

/// @title Owner of treasury and provider rules: what the holders decided waits here before it holds
/// @notice Anybody executes what is due. The deployer is administrator only until it names the
/// governor proposer and renounces.
contract Timelock is TimelockController {
    constructor(uint256 delay, address admin)
        TimelockController(delay, new address[](0), _anybody(), admin)
    {}

    function _anybody() private pure returns (address[] memory executors) {
        executors = new address[](1);
    }
}
