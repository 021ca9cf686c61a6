// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";
import {Tokens} from "./libraries/Tokens.sol";

/// @notice See {IEscrow}.
contract Escrow is IEscrow, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using Tokens for IERC20;

    /// @dev The first three share a word, which is all that leases touch.
    struct Account {
        uint64 free;
        uint64 locked;
        uint64 credit;
        uint64 withdrawing;
        uint64 withdrawableAt;
    }

    /// @inheritdoc IEscrow
    IERC20 public immutable token;
    /// @inheritdoc IEscrow
    uint256 public immutable scale;
    /// @inheritdoc IEscrow
    address public immutable leases;
    /// @inheritdoc IEscrow
    uint64 public immutable withdrawDelay;
    /// @inheritdoc IEscrow
    uint256 public liabilities;

    mapping(address account => Account) private _accounts;

    modifier onlyLeases() {
        if (msg.sender != leases) revert NotLeases(msg.sender);
        _;
    }

    constructor(IERC20 token_, address leases_, uint64 withdrawDelay_) {
        if (leases_ == address(0)) revert ZeroAddress();
        token = token_;
        scale = token_.scaleOf();
        leases = leases_;
        withdrawDelay = withdrawDelay_;
    }

    /// @inheritdoc IEscrow
    function deposit(address account, uint64 amount) external nonReentrant {
        if (account == address(0)) revert ZeroAddress();
        _deposited(account, amount);
        token.pullExact(msg.sender, amount * scale);
    }

    /// @inheritdoc IEscrow
    function depositWithPermit(
        address owner,
        uint64 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant {
        _deposited(owner, amount);
        // A permit somebody else already brought leaves the allowance, which the transfer checks.
        try IERC20Permit(address(token))
            .permit(owner, address(this), amount * scale, deadline, v, r, s) {}
        catch (bytes memory reason) {
            if (token.allowance(owner, address(this)) < amount * scale) _bubble(reason);
        }
        token.pullExact(owner, amount * scale);
    }

    /// @inheritdoc IEscrow
    function depositWithAuthorization(
        address from,
        uint64 amount,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant {
        _deposited(from, amount);
        uint256 before = token.balanceOf(address(this));
        IERC3009(address(token))
            .receiveWithAuthorization(
                from, address(this), amount * scale, validAfter, validBefore, nonce, v, r, s
            );
        token.checkReceived(before, amount * scale);
    }

    /// @inheritdoc IEscrow
    function requestWithdraw(uint64 amount) external {
        if (amount == 0) revert ZeroAmount();
        Account storage account = _accounts[msg.sender];
        if (account.free < amount) revert InsufficientFree(account.free, amount);
        account.free -= amount;
        account.withdrawing += amount;
        account.withdrawableAt = uint64(block.timestamp) + withdrawDelay;
        emit WithdrawRequested(msg.sender, amount, account.withdrawableAt);
    }

    /// @inheritdoc IEscrow
    function cancelWithdraw() external {
        Account storage account = _accounts[msg.sender];
        uint64 amount = account.withdrawing;
        if (amount == 0) revert NothingToWithdraw();
        account.withdrawing = 0;
        account.withdrawableAt = 0;
        account.free += amount;
        emit WithdrawCancelled(msg.sender, amount);
    }

    /// @inheritdoc IEscrow
    function withdraw() external nonReentrant {
        Account storage account = _accounts[msg.sender];
        uint64 amount = account.withdrawing;
        if (amount == 0) revert NothingToWithdraw();
        if (block.timestamp < account.withdrawableAt) {
            revert TooEarly(uint64(block.timestamp), account.withdrawableAt);
        }
        account.withdrawing = 0;
        account.withdrawableAt = 0;
        liabilities -= amount;
        emit Withdrawn(msg.sender, amount);
        token.safeTransfer(msg.sender, amount * scale);
    }

    /// @inheritdoc IEscrow
    function sweep(address account) external nonReentrant {
        uint64 amount = _accounts[account].credit;
        if (amount == 0) revert NothingToWithdraw();
        _accounts[account].credit = 0;
        liabilities -= amount;
        emit Swept(account, amount);
        token.safeTransfer(account, amount * scale);
    }

    /// @inheritdoc IEscrow
    function tryLock(address account, uint64 amount)
        external
        onlyLeases
        returns (bool done, uint64 free)
    {
        Account storage holder = _accounts[account];
        free = holder.free;
        if (free < amount) return (false, free);
        holder.free = free - amount;
        holder.locked += amount;
        emit Locked(account, amount);
        return (true, free - amount);
    }

    /// @inheritdoc IEscrow
    function credit(address account, uint64 amount) external onlyLeases {
        _accounts[account].credit += amount;
        emit Credited(account, amount);
    }

    /// @inheritdoc IEscrow
    function release(address account, uint64 locked, uint64 refund) external onlyLeases {
        Account storage holder = _accounts[account];
        holder.locked -= locked;
        if (refund == 0) return;
        holder.free += refund;
        emit Unlocked(account, refund);
    }

    /// @inheritdoc IEscrow
    function accounts(address account)
        external
        view
        returns (
            uint64 free,
            uint64 locked,
            uint64 earned,
            uint64 withdrawing,
            uint64 withdrawableAt
        )
    {
        Account storage holder = _accounts[account];
        return
            (holder.free, holder.locked, holder.credit, holder.withdrawing, holder.withdrawableAt);
    }

    function _deposited(address account, uint64 amount) private {
        if (amount == 0) revert ZeroAmount();
        _accounts[account].free += amount;
        liabilities += amount;
        emit Deposited(account, amount);
    }

    function _bubble(bytes memory reason) private pure {
        assembly ("memory-safe") {
            revert(add(reason, 0x20), mload(reason))
        }
    }
}
