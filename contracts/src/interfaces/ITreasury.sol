// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IEscrow} from "./IEscrow.sol";

/// @title Treasury: the fee and where it goes
/// @dev The owner is the timelock of the token holders; it decides fee and payments, and can touch
/// nothing but what the treasury earned.
interface ITreasury {
    event FeeChanged(uint16 bps);
    event Paid(address indexed token, address indexed to, uint256 amount);

    error FeeAboveCap(uint16 bps, uint16 cap);
    error ZeroAddress();

    /// @notice Share of every payment in basis points; a lease keeps the one it was opened with.
    function feeBps() external view returns (uint16);

    function setFeeBps(uint16 bps) external;

    /// @notice Fetches earned fees out of escrow. By anybody.
    function collect(IEscrow escrow) external;

    /// @notice Pays out of the treasury's own tokens. By the owner.
    function pay(IERC20 token, address to, uint256 amount) external;
}
