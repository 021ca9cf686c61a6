// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IProviders} from "./interfaces/IProviders.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {Tokens} from "./libraries/Tokens.sol";

/// @notice See {IProviders}.
contract Providers is IProviders, Ownable2Step, ReentrancyGuardTransient {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;
    using Tokens for IERC20;

    struct Provider {
        uint64 bond;
        uint64 unbonding;
        uint64 unbondableAt;
        bool registered;
    }

    struct WorkerKey {
        address provider;
        uint64 activeFrom;
        bool revoked;
    }

    /// @inheritdoc IProviders
    address public constant BURNED = 0x000000000000000000000000000000000000dEaD;

    IERC20 public immutable token;
    uint256 public immutable scale;
    /// @inheritdoc IProviders
    uint64 public immutable minimumBond;
    /// @inheritdoc IProviders
    uint64 public immutable keyDelay;
    /// @inheritdoc IProviders
    uint64 public immutable unbondDelay;
    /// @inheritdoc IProviders
    address public slasher;
    /// @inheritdoc IProviders
    mapping(address account => uint64) public owedTo;

    mapping(address provider => Provider) private _providers;
    mapping(address workerKey => WorkerKey) private _workerKeys;

    constructor(
        IERC20 token_,
        address owner_,
        address slasher_,
        uint64 minimumBond_,
        uint64 keyDelay_,
        uint64 unbondDelay_
    ) Ownable(owner_) {
        token = token_;
        scale = token_.scaleOf();
        _setSlasher(slasher_);
        minimumBond = minimumBond_;
        keyDelay = keyDelay_;
        unbondDelay = unbondDelay_;
    }

    /// @inheritdoc IProviders
    function register(address workerKey, bytes calldata workerProof, uint256 bond)
        external
        nonReentrant
    {
        Provider storage provider = _providers[msg.sender];
        if (provider.registered) revert AlreadyRegistered(msg.sender);
        if (bond < minimumBond) revert BondTooSmall(bond.toUint64(), minimumBond);
        provider.registered = true;
        emit Registered(msg.sender);
        _bind(workerKey, workerProof, uint64(block.timestamp));
        if (bond != 0) _addBond(provider, bond.toUint64());
    }

    /// @inheritdoc IProviders
    function addWorkerKey(address workerKey, bytes calldata workerProof) external {
        if (!_providers[msg.sender].registered) revert NotRegistered(msg.sender);
        _bind(workerKey, workerProof, uint64(block.timestamp) + keyDelay);
    }

    /// @inheritdoc IProviders
    function revokeWorkerKey(address workerKey) external {
        WorkerKey storage key = _workerKeys[workerKey];
        if (key.provider != msg.sender || key.revoked) revert WorkerKeyUnknown(workerKey);
        key.revoked = true;
        emit WorkerKeyRevoked(msg.sender, workerKey);
    }

    /// @inheritdoc IProviders
    function addBond(uint256 amount) external nonReentrant {
        Provider storage provider = _providers[msg.sender];
        if (!provider.registered) revert NotRegistered(msg.sender);
        if (amount == 0) revert ZeroAmount();
        _addBond(provider, amount.toUint64());
    }

    /// @inheritdoc IProviders
    function requestUnbond(uint256 amount) external {
        if (amount == 0) revert ZeroAmount();
        Provider storage provider = _providers[msg.sender];
        if (provider.bond < amount) revert InsufficientBond(provider.bond, amount.toUint64());
        provider.bond -= uint64(amount);
        provider.unbonding += uint64(amount);
        provider.unbondableAt = uint64(block.timestamp) + unbondDelay;
        emit UnbondRequested(msg.sender, uint64(amount), provider.unbondableAt);
    }

    /// @inheritdoc IProviders
    function unbond() external nonReentrant {
        Provider storage provider = _providers[msg.sender];
        uint64 amount = provider.unbonding;
        if (amount == 0) revert NothingToUnbond();
        if (block.timestamp < provider.unbondableAt) {
            revert TooEarly(uint64(block.timestamp), provider.unbondableAt);
        }
        provider.unbonding = 0;
        provider.unbondableAt = 0;
        emit Unbonded(msg.sender, amount);
        token.safeTransfer(msg.sender, amount * scale);
    }

    /// @inheritdoc IProviders
    function slash(address provider, uint256 amount, address buyer, address challenger)
        external
        nonReentrant
    {
        if (msg.sender != slasher) revert NotSlasher(msg.sender);
        if (buyer == address(0) || challenger == address(0)) revert ZeroAddress();
        Provider storage guilty = _providers[provider];
        uint64 taken = _takeBond(guilty, amount);
        uint64 toBuyer = taken / 2;
        uint64 toChallenger = uint64(uint256(taken) * 3 / 10);
        uint64 burned = taken - toBuyer - toChallenger;
        owedTo[buyer] += toBuyer;
        owedTo[challenger] += toChallenger;
        owedTo[BURNED] += burned;
        emit Slashed(provider, buyer, challenger, toBuyer, toChallenger, burned);
    }

    /// @inheritdoc IProviders
    function collect(address account) external nonReentrant {
        uint64 amount = owedTo[account];
        if (amount == 0) revert NothingOwed(account);
        owedTo[account] = 0;
        emit Collected(account, amount);
        token.safeTransfer(account, amount * scale);
    }

    /// @inheritdoc IProviders
    function setSlasher(address slasher_) external onlyOwner {
        _setSlasher(slasher_);
    }

    /// @inheritdoc IProviders
    function workerOf(address workerKey) external view returns (address) {
        WorkerKey storage key = _workerKeys[workerKey];
        return key.revoked ? address(0) : key.provider;
    }

    /// @inheritdoc IProviders
    function isActive(address provider, address workerKey) external view returns (bool) {
        WorkerKey storage key = _workerKeys[workerKey];
        return key.provider == provider && provider != address(0) && !key.revoked
            && block.timestamp >= key.activeFrom && _providers[provider].bond >= minimumBond;
    }

    /// @inheritdoc IProviders
    function bondOf(address provider) external view returns (uint64) {
        return _providers[provider].bond;
    }

    /// @inheritdoc IProviders
    function unbondingOf(address provider) external view returns (uint64 amount, uint64 since) {
        return (_providers[provider].unbonding, _providers[provider].unbondableAt);
    }

    /// @inheritdoc IProviders
    function workerProofHash(address provider) public view returns (bytes32) {
        return keccak256(abi.encode("millrace.worker", block.chainid, address(this), provider));
    }

    function _setSlasher(address slasher_) private {
        slasher = slasher_;
        emit SlasherChanged(slasher_);
    }

    function _bind(address workerKey, bytes calldata workerProof, uint64 activeFrom) private {
        if (workerKey == address(0)) revert ZeroAddress();
        WorkerKey storage key = _workerKeys[workerKey];
        bool comesBack = key.revoked && key.provider == msg.sender;
        if (key.provider != address(0) && !comesBack) {
            revert WorkerKeyTaken(workerKey, key.provider);
        }
        bytes32 digest = MessageHashUtils.toEthSignedMessageHash(workerProofHash(msg.sender));
        if (!Signatures.isValid(workerKey, digest, workerProof)) revert BadWorkerProof(workerKey);
        _workerKeys[workerKey] = WorkerKey(msg.sender, activeFrom, false);
        emit WorkerKeyAdded(msg.sender, workerKey, activeFrom);
    }

    function _addBond(Provider storage provider, uint64 amount) private {
        provider.bond += amount;
        emit BondAdded(msg.sender, amount);
        token.pullExact(msg.sender, amount * scale);
    }

    /// @dev What is being taken out goes first, so that leaving is no way around a slash.
    function _takeBond(Provider storage guilty, uint256 amount) private returns (uint64) {
        uint64 unbonding = guilty.unbonding;
        uint64 bond = guilty.bond;
        uint256 most = uint256(unbonding) + bond;
        uint64 taken = (amount < most ? amount : most).toUint64();
        uint64 fromUnbonding = taken < unbonding ? taken : unbonding;
        guilty.unbonding = unbonding - fromUnbonding;
        guilty.bond = bond - (taken - fromUnbonding);
        return taken;
    }
}
