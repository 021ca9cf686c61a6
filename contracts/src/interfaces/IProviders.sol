// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Providers: who offers machines, with which worker keys and which bond
/// @dev Assumptions:
/// - a worker key belongs to one provider for ever; a revoked key may only come back to it;
/// - the slasher judges; this contract only bounds what it can take and fixes who gets it.
interface IProviders {
    event Registered(address indexed provider);
    event WorkerKeyAdded(address indexed provider, address indexed workerKey, uint64 activeFrom);
    event WorkerKeyRevoked(address indexed provider, address indexed workerKey);
    event BondAdded(address indexed provider, uint64 amount);
    event UnbondRequested(address indexed provider, uint64 amount, uint64 unbondableAt);
    event Unbonded(address indexed provider, uint64 amount);
    event Slashed(
        address indexed provider,
        address indexed buyer,
        address indexed challenger,
        uint64 toBuyer,
        uint64 toChallenger,
        uint64 burned
    );
    event Collected(address indexed account, uint64 amount);
    event SlasherChanged(address slasher);

    error ZeroAddress();
    error ZeroAmount();
    error AlreadyRegistered(address provider);
    error NotRegistered(address provider);
    error BondTooSmall(uint64 bond, uint64 least);
    error WorkerKeyTaken(address workerKey, address provider);
    error WorkerKeyUnknown(address workerKey);
    error BadWorkerProof(address workerKey);
    error InsufficientBond(uint64 bond, uint64 wanted);
    error NothingToUnbond();
    error TooEarly(uint64 nowAt, uint64 unbondableAt);
    error NothingOwed(address account);
    error NotSlasher(address caller);

    /// @notice Registers the caller with a first worker key, active at once, and a bond in atoms,
    /// for which the caller approved the token. `workerProof`: the worker key's EIP-191 signature
    /// over keccak256(abi.encode("millrace.worker", chainid, this contract, provider)).
    function register(address workerKey, bytes calldata workerProof, uint256 bond) external;

    /// @notice Adds a key; it is active after the key delay.
    function addWorkerKey(address workerKey, bytes calldata workerProof) external;

    /// @notice Takes a key out of use for new leases at once; leases it already works on go on.
    function revokeWorkerKey(address workerKey) external;

    function addBond(uint256 amount) external;

    /// @notice Starts taking bond out; it can be slashed until it is paid. A further request adds
    /// to it and starts the delay again.
    function requestUnbond(uint256 amount) external;

    function unbond() external;

    /// @notice For the slasher: takes up to `amount` of bond: 50 % to the buyer, 30 % to the
    /// challenger, the rest out of circulation. Each fetches its part with `collect`, so that an
    /// account the token refuses to pay stops nobody else.
    function slash(address provider, uint256 amount, address buyer, address challenger) external;

    /// @notice Pays `account` its parts of slashed bonds. By anybody.
    function collect(address account) external;

    function owedTo(address account) external view returns (uint64);

    /// @notice Names the contract that judges. By the owner.
    function setSlasher(address slasher) external;

    /// @notice Where the burned part of a slash goes: nobody has this address's key.
    function BURNED() external view returns (address);

    /// @notice The provider a key works for; zero when there is none or the key is revoked.
    function workerOf(address workerKey) external view returns (address);

    /// @notice Whether new leases of `provider` may name this key: known, not revoked, past its
    /// delay, and the bond not below the least.
    function isActive(address provider, address workerKey) external view returns (bool);

    /// @notice The bond that counts, without what is being taken out.
    function bondOf(address provider) external view returns (uint64);

    function unbondingOf(address provider) external view returns (uint64 amount, uint64 since);

    function minimumBond() external view returns (uint64);

    function keyDelay() external view returns (uint64);

    function unbondDelay() external view returns (uint64);

    function slasher() external view returns (address);

    /// @notice What a worker key signs to work for `provider`, before the EIP-191 prefix.
    function workerProofHash(address provider) external view returns (bytes32);
}
