// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

/// @title Signatures of keys and of contract wallets
/// @notice A key's signature is 65 bytes with a low s. Whatever is not the key's is put to the
/// signer's own code, if it has any (ERC-1271).
/// @dev The key is tried first, which costs nothing extra for ordinary accounts and lets an account
/// that delegates to code (EIP-7702) go on signing with its key. The wallet's answer is bounded in
/// gas and in size, so that one bad wallet cannot spend a whole batch.
library Signatures {
    uint256 internal constant WALLET_GAS = 400_000;
    /// @dev The higher of the two values of s that fit a signature is refused.
    uint256 private constant LARGEST_S =
        0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    function isValid(address signer, bytes32 digest, bytes calldata signature)
        internal
        view
        returns (bool)
    {
        return isValidOfEither(signer, address(0), digest, signature);
    }

    /// @notice The same for one of two signers; `other` zero: there is none.
    function isValidOfEither(
        address signer,
        address other,
        bytes32 digest,
        bytes calldata signature
    ) internal view returns (bool) {
        address recovered = recover(digest, signature);
        if (recovered != address(0) && (recovered == signer || recovered == other)) return true;
        if (signer.code.length != 0 && _walletAgrees(signer, digest, signature)) return true;
        return
            other != address(0) && other.code.length != 0 && _walletAgrees(other, digest, signature);
    }

    /// @notice The key that signed; zero when this is no key's signature. The same as OpenZeppelin's
    /// ECDSA.tryRecoverCalldata for a quarter of its gas around the precompile, which a batch of
    /// claims pays twice an item.
    function recover(bytes32 digest, bytes calldata signature)
        internal
        view
        returns (address recovered)
    {
        if (signature.length != 65) return address(0);
        assembly ("memory-safe") {
            let free := mload(0x40)
            let s := calldataload(add(signature.offset, 0x20))
            if iszero(gt(s, LARGEST_S)) {
                mstore(free, digest)
                mstore(add(free, 0x20), byte(0, calldataload(add(signature.offset, 0x40))))
                mstore(add(free, 0x40), calldataload(signature.offset))
                mstore(add(free, 0x60), s)
                // Answers with nothing when there is no such key.
                if staticcall(gas(), 0x01, free, 0x80, 0x00, 0x20) {
                    if returndatasize() { recovered := mload(0x00) }
                }
            }
        }
    }

    function _walletAgrees(address wallet, bytes32 digest, bytes calldata signature)
        private
        view
        returns (bool agrees)
    {
        bytes memory question = abi.encodeCall(IERC1271.isValidSignature, (digest, signature));
        bytes32 answer;
        assembly ("memory-safe") {
            let done :=
                staticcall(WALLET_GAS, wallet, add(question, 0x20), mload(question), 0x00, 0x20)
            agrees := and(done, gt(returndatasize(), 0x1f))
            answer := mload(0x00)
        }
        agrees = agrees && answer == bytes32(IERC1271.isValidSignature.selector);
    }
}
