// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice RFC 9162 section 2.1 word by word, slow and plain: the oracle of the proof checks.
library NaiveTree {
    function leaf(bytes memory data) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(uint8(0), data));
    }

    function node(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(uint8(1), left, right));
    }

    /// @notice MTH(D[from:to]); leaves are hashed already.
    function root(bytes32[] memory leaves, uint256 from, uint256 to)
        internal
        pure
        returns (bytes32)
    {
        if (from == to) return sha256("");
        if (to - from == 1) return leaves[from];
        uint256 k = split(to - from);
        return node(root(leaves, from, from + k), root(leaves, from + k, to));
    }

    /// @notice PATH(m, D[from:to])
    function path(bytes32[] memory leaves, uint256 m, uint256 from, uint256 to)
        internal
        pure
        returns (bytes32[] memory)
    {
        if (to - from == 1) return new bytes32[](0);
        uint256 k = split(to - from);
        if (m < k) {
            return append(path(leaves, m, from, from + k), root(leaves, from + k, to));
        }
        return append(path(leaves, m - k, from + k, to), root(leaves, from, from + k));
    }

    /// @notice PROOF(m, D[0:n])
    function consistency(bytes32[] memory leaves, uint256 m, uint256 n)
        internal
        pure
        returns (bytes32[] memory)
    {
        if (m == 0 || m == n) return new bytes32[](0);
        return subproof(leaves, m, 0, n, true);
    }

    function subproof(bytes32[] memory leaves, uint256 m, uint256 from, uint256 to, bool complete)
        internal
        pure
        returns (bytes32[] memory)
    {
        if (m == to - from) {
            if (complete) return new bytes32[](0);
            return append(new bytes32[](0), root(leaves, from, to));
        }
        uint256 k = split(to - from);
        if (m <= k) {
            return append(subproof(leaves, m, from, from + k, complete), root(leaves, from + k, to));
        }
        return append(subproof(leaves, m - k, from + k, to, false), root(leaves, from, from + k));
    }

    /// @notice The largest power of two below n.
    function split(uint256 n) internal pure returns (uint256 k) {
        k = 1;
        while (k * 2 < n) k *= 2;
    }

    function append(bytes32[] memory list, bytes32 last)
        internal
        pure
        returns (bytes32[] memory longer)
    {
        longer = new bytes32[](list.length + 1);
        for (uint256 i = 0; i < list.length; ++i) {
            longer[i] = list[i];
        }
        longer[list.length] = last;
    }
}
