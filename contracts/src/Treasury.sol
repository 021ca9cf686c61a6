// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";
import {ITreasury} from "./interfaces/ITreasury.sol";

/// @notice See {ITreasury}.
contract Treasury is ITreasury, Ownable2Step {
    using SafeERC20 for IERC20;

    /// @notice No vote can take more than 5 %.
    uint16 public constant MAX_FEE_BPS = 500;

    /// @inheritdoc ITreasury
    uint16 public feeBps;

    constructor(address owner_, uint16 feeBps_) Ownable(owner_) {
        _setFeeBps(feeBps_);
    }

    /// @inheritdoc ITreasury
    function setFeeBps(uint16 bps) external onlyOwner {
        _setFeeBps(bps);
    }

    /// @inheritdoc ITreasury
    function collect(IEscrow escrow) external {
        escrow.sweep(address(this));
    }

    /// @inheritdoc ITreasury
    function pay(IERC20 token, address to, uint256 amount) external onlyOwner {
        if (to == address(0)) revert ZeroAddress();
        emit Paid(address(token), to, amount);
        token.safeTransfer(to, amount);
    }

    function _setFeeBps(uint16 bps) private {
        if (bps > MAX_FEE_BPS) revert FeeAboveCap(bps, MAX_FEE_BPS);
        feeBps = bps;
        emit FeeChanged(bps);
    }
}
