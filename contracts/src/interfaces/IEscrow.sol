// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title Escrow: everybody's settlement tokens, and who they belong to
/// @notice Amounts are atoms: 6 decimals whatever the token has. A token with more decimals is
/// scaled at this boundary only; one with fewer is refused at deployment.
/// @dev Assumptions:
/// - the token moves exactly what it is told; a transfer that delivers another amount is refused;
/// - `leases` is the only contract that locks, pays and releases, and is fixed at deployment;
/// - the token balance covers `liabilities`, which only deposits, withdrawals and sweeps change.
interface IEscrow {
    event Deposited(address indexed account, uint64 amount);
    event Locked(address indexed account, uint64 amount);
    event Unlocked(address indexed account, uint64 amount);
    event Credited(address indexed account, uint64 amount);
    event WithdrawRequested(address indexed account, uint64 amount, uint64 withdrawableAt);
    event WithdrawCancelled(address indexed account, uint64 amount);
    event Withdrawn(address indexed account, uint64 amount);
    event Swept(address indexed account, uint64 amount);

    error ZeroAddress();
    error ZeroAmount();
    error NotLeases(address caller);
    error InsufficientFree(uint64 free, uint64 wanted);
    error NothingToWithdraw();
    error TooEarly(uint64 nowAt, uint64 withdrawableAt);

    /// @notice Takes `amount` atoms from the caller, who approved them, for `account`.
    function deposit(address account, uint64 amount) external;

    /// @notice The same with an EIP-2612 permit of `owner`; anybody may send it.
    function depositWithPermit(
        address owner,
        uint64 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// @notice The same with an ERC-3009 `ReceiveWithAuthorization` of `from` to this contract.
    function depositWithAuthorization(
        address from,
        uint64 amount,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// @notice Takes `amount` of the caller's free balance out of use; it leaves after the delay.
    /// A further request adds to it and starts the delay again.
    function requestWithdraw(uint64 amount) external;

    /// @notice Puts a requested withdrawal back into the caller's free balance.
    function cancelWithdraw() external;

    /// @notice Pays the caller's requested withdrawal once the delay is over.
    function withdraw() external;

    /// @notice Pays `account` its earned credit at once; anybody may send it.
    function sweep(address account) external;

    /// @notice For Leases: locks from the free balance; false and the balance when it is too low.
    function tryLock(address account, uint64 amount) external returns (bool done, uint64 free);

    /// @notice For Leases: hands locked money to a provider, or the fee kept back to the treasury.
    function credit(address account, uint64 amount) external;

    /// @notice For Leases: ends a lock of `locked`, of which `refund` is free again; the rest was
    /// credited, or is the fee, which is credited apart.
    function release(address account, uint64 locked, uint64 refund) external;

    /// @return free may be locked by new leases or withdrawn
    /// @return locked the maxima of leases not closed yet, with what was already paid out of them
    /// @return earned earned credit, swept out at any time
    /// @return withdrawing leaves after the delay
    /// @return withdrawableAt when it may leave, unix seconds
    function accounts(address account)
        external
        view
        returns (
            uint64 free,
            uint64 locked,
            uint64 earned,
            uint64 withdrawing,
            uint64 withdrawableAt
        );

    /// @notice Atoms owed to all accounts and leases together.
    function liabilities() external view returns (uint256);

    /// @notice Token units of one atom.
    function scale() external view returns (uint256);

    function token() external view returns (IERC20);

    function leases() external view returns (address);

    function withdrawDelay() external view returns (uint64);
}
