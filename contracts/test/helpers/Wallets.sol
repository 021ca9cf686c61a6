// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @notice A wallet whose owner's key signs for it.
contract GoodWallet is IERC1271 {
    address private immutable _owner;

    constructor(address owner_) {
        _owner = owner_;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature)
        external
        view
        returns (bytes4)
    {
        (address signer,,) = ECDSA.tryRecoverCalldata(hash, signature);
        return signer == _owner ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }

    function run(address target, bytes calldata call) external returns (bytes memory) {
        (bool done, bytes memory answer) = target.call(call);
        require(done, "failed");
        return answer;
    }
}

/// @notice A wallet that answers in every wrong way.
contract BadWallet {
    enum Way {
        Revert,
        Short,
        Garbage,
        BurnGas,
        HugeAnswer
    }

    Way private immutable _way;

    constructor(Way way) {
        _way = way;
    }

    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        if (_way == Way.Revert) revert("no");
        if (_way == Way.Garbage) return 0x12345678;
        if (_way == Way.BurnGas) {
            while (gasleft() > 100) {}
        }
        uint256 size = _way == Way.Short ? 4 : 1_000_000;
        bytes32 magic = IERC1271.isValidSignature.selector;
        assembly {
            mstore(0, magic)
            if gt(size, 32) { mstore(0, not(magic)) }
            return(0, size)
        }
    }
}
