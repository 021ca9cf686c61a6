// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title The settlement token at the contracts' boundary
library Tokens {
    using SafeERC20 for IERC20;

    uint8 internal constant ATOM_DECIMALS = 6;

    error TokenTookFee(uint256 wanted, uint256 received);
    error TokenDecimalsTooFew(uint8 decimals);

    /// @notice Token units of one atom.
    function scaleOf(IERC20 token) internal view returns (uint256) {
        uint8 decimals = IERC20Metadata(address(token)).decimals();
        if (decimals < ATOM_DECIMALS) revert TokenDecimalsTooFew(decimals);
        return 10 ** (decimals - ATOM_DECIMALS);
    }

    /// @notice Takes exactly `units` or fails: a token that keeps a part is refused.
    function pullExact(IERC20 token, address from, uint256 units) internal {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(from, address(this), units);
        checkReceived(token, before, units);
    }

    function checkReceived(IERC20 token, uint256 before, uint256 units) internal view {
        uint256 received = token.balanceOf(address(this)) - before;
        if (received != units) revert TokenTookFee(units, received);
    }
}
