// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";

/// @title A stand-in for the settlement token of a real chain
/// @notice 6 decimals, permit, transfers by authorization. The deployer mints.
contract SettlementToken is ERC20, ERC20Permit, ERC3009, Ownable {
    constructor(address minter)
        ERC20("Millrace Test Dollar", "mUSD")
        ERC20Permit("Millrace Test Dollar")
        Ownable(minter)
    {}

    function mint(address to, uint256 amount) external onlyOwner {
        _mint(to, amount);
    }

    function decimals() public pure override returns (uint8) {
        return 6;
    }
}
