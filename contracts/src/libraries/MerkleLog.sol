// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Proofs of RFC 9162 Merkle trees (SHA-256; leaf 0x00, node 0x01)
library MerkleLog {
    /// @notice RFC 9162 section 2.1.3.2.
    function includes(
        uint64 size,
        bytes32 root,
        bytes32 leafHash,
        uint64 index,
        bytes32[] calldata proof
    ) internal view returns (bool) {
        if (index >= size) return false;
        uint256 node = index;
        uint256 last = size - 1;
        bytes32 hash = leafHash;
        for (uint256 i = 0; i < proof.length; ++i) {
            if (last == 0) return false;
            if (node & 1 == 1 || node == last) {
                hash = hashNodes(proof[i], hash);
                while (node & 1 == 0 && node != 0) {
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                hash = hashNodes(hash, proof[i]);
            }
            node >>= 1;
            last >>= 1;
        }
        return last == 0 && hash == root;
    }

    /// @notice RFC 9162 section 2.1.4.2; anything extends the empty tree.
    function extends(
        uint64 fromSize,
        bytes32 fromRoot,
        uint64 toSize,
        bytes32 toRoot,
        bytes32[] calldata proof
    ) internal view returns (bool) {
        if (fromSize > toSize) return false;
        if (fromSize == toSize) return proof.length == 0 && fromRoot == toRoot;
        if (fromSize == 0) return proof.length == 0;
        uint256 node = fromSize - 1;
        uint256 last = toSize - 1;
        while (node & 1 == 1) {
            node >>= 1;
            last >>= 1;
        }
        // A complete tree is a node of the new one: its root starts both paths and is not sent.
        uint256 next = 0;
        bytes32 oldHash = fromRoot;
        if (node != 0) {
            if (proof.length == 0) return false;
            oldHash = proof[0];
            next = 1;
        }
        bytes32 newHash = oldHash;
        for (; next < proof.length; ++next) {
            if (last == 0) return false;
            bytes32 sibling = proof[next];
            if (node & 1 == 1 || node == last) {
                // Both paths are one as long as nothing came in from the right.
                bool isShared = oldHash == newHash;
                oldHash = hashNodes(sibling, oldHash);
                newHash = isShared ? oldHash : hashNodes(sibling, newHash);
                while (node & 1 == 0 && node != 0) {
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                newHash = hashNodes(newHash, sibling);
            }
            node >>= 1;
            last >>= 1;
        }
        return last == 0 && oldHash == fromRoot && newHash == toRoot;
    }

    /// @dev Works beyond the free memory pointer without moving it: proofs of any length leave no
    /// memory behind.
    function hashNodes(bytes32 left, bytes32 right) internal view returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore8(free, 1)
            mstore(add(free, 0x01), left)
            mstore(add(free, 0x21), right)
            if iszero(staticcall(gas(), 0x02, free, 0x41, 0x00, 0x20)) { revert(0, 0) }
            hash := mload(0x00)
        }
    }
}
