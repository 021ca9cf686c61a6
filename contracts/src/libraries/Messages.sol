// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice A provider's signed offer of capacity. Times are unix seconds, prices atoms per scale.
struct Ask {
    address provider;
    bytes32 resourceHash;
    uint8 unitKind;
    uint64 price;
    uint64 minUnits;
    uint64 maxUnits;
    uint8 orderClass;
    uint32 reclaimWindow;
    uint64 earliest;
    uint64 expiry;
    uint64 volume;
    address matcher;
    bytes32 salt;
}

/// @notice A buyer's signed demand.
struct Bid {
    address buyer;
    bytes32 jobSpecHash;
    uint8 unitKind;
    uint64 priceCeiling;
    uint64 maxAmount;
    bytes32 constraintsHash;
    uint8 orderClass;
    uint8 verificationTier;
    uint64 earliest;
    uint64 deadline;
    uint64 expiry;
    uint64 volume;
    address matcher;
    bytes32 salt;
}

/// @notice A key allowed to sign for an owner, within a cap. Scope bits: 1 orders, 2 vouchers.
struct Delegation {
    address owner;
    address delegate;
    uint8 scope;
    uint64 spendCap;
    uint64 expiry;
    uint64 nonce;
}

/// @notice A worker's signed proof of metered work. Units and amount are running totals.
struct Receipt {
    bytes32 lease;
    uint64 sequence;
    bytes32 previous;
    uint8 unitKind;
    uint64 cumulativeUnits;
    uint64 price;
    uint64 cumulativeAmount;
    bytes32 modelHash;
    bytes32 requestHash;
    bytes32 responseHash;
    uint64 startMs;
    uint64 endMs;
}

/// @notice The running total of a lease; only the highest matters.
struct Voucher {
    bytes32 lease;
    uint64 sequence;
    uint64 cumulativeUnits;
    uint64 cumulativeAmount;
    bytes32 receiptsRoot;
}

/// @notice The buyer's side does not accept what a worker claims alone by this receipt (struct hash).
struct Objection {
    bytes32 lease;
    bytes32 receipt;
}

/// @notice A signed checkpoint of the public log.
struct TreeHead {
    uint64 size;
    bytes32 root;
    uint64 timeMs;
}

/// @title EIP-712 hashes of the signed messages
/// @notice Every struct is static, so its words in the call data are what EIP-712 hashes.
/// @dev Golden vectors: tests/vectors/eip712.json. The words are hashed as they came: one with bits
/// beyond its field's type makes a hash that stands for no message, and no honest signer signed it.
library Messages {
    bytes32 internal constant ASK_TYPEHASH = keccak256(
        "Ask(address provider,bytes32 resourceHash,uint8 unitKind,uint64 price,uint64 minUnits,uint64 maxUnits,uint8 orderClass,uint32 reclaimWindow,uint64 earliest,uint64 expiry,uint64 volume,address matcher,bytes32 salt)"
    );
    bytes32 internal constant BID_TYPEHASH = keccak256(
        "Bid(address buyer,bytes32 jobSpecHash,uint8 unitKind,uint64 priceCeiling,uint64 maxAmount,bytes32 constraintsHash,uint8 orderClass,uint8 verificationTier,uint64 earliest,uint64 deadline,uint64 expiry,uint64 volume,address matcher,bytes32 salt)"
    );
    bytes32 internal constant DELEGATION_TYPEHASH = keccak256(
        "Delegation(address owner,address delegate,uint8 scope,uint64 spendCap,uint64 expiry,uint64 nonce)"
    );
    bytes32 internal constant RECEIPT_TYPEHASH = keccak256(
        "Receipt(bytes32 lease,uint64 sequence,bytes32 previous,uint8 unitKind,uint64 cumulativeUnits,uint64 price,uint64 cumulativeAmount,bytes32 modelHash,bytes32 requestHash,bytes32 responseHash,uint64 startMs,uint64 endMs)"
    );
    bytes32 internal constant VOUCHER_TYPEHASH = keccak256(
        "Voucher(bytes32 lease,uint64 sequence,uint64 cumulativeUnits,uint64 cumulativeAmount,bytes32 receiptsRoot)"
    );
    bytes32 internal constant OBJECTION_TYPEHASH =
        keccak256("Objection(bytes32 lease,bytes32 receipt)");
    bytes32 internal constant TREE_HEAD_TYPEHASH =
        keccak256("TreeHead(uint64 size,bytes32 root,uint64 timeMs)");

    function hash(Ask calldata ask) internal pure returns (bytes32) {
        uint256 place;
        assembly ("memory-safe") {
            place := ask
        }
        return _hash(ASK_TYPEHASH, place, 13);
    }

    function hash(Bid calldata bid) internal pure returns (bytes32) {
        uint256 place;
        assembly ("memory-safe") {
            place := bid
        }
        return _hash(BID_TYPEHASH, place, 14);
    }

    function hash(Delegation calldata delegation) internal pure returns (bytes32) {
        uint256 place;
        assembly ("memory-safe") {
            place := delegation
        }
        return _hash(DELEGATION_TYPEHASH, place, 6);
    }

    function hash(Receipt calldata receipt) internal pure returns (bytes32) {
        uint256 place;
        assembly ("memory-safe") {
            place := receipt
        }
        return _hash(RECEIPT_TYPEHASH, place, 12);
    }

    /// @dev In memory, for a batch of claims is packed. Works beyond the free memory pointer.
    function hash(Voucher memory voucher) internal pure returns (bytes32 digest) {
        bytes32 typehash = VOUCHER_TYPEHASH;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typehash)
            mcopy(add(free, 0x20), voucher, 0xa0)
            digest := keccak256(free, 0xc0)
        }
    }

    function hash(Objection calldata objection) internal pure returns (bytes32) {
        uint256 place;
        assembly ("memory-safe") {
            place := objection
        }
        return _hash(OBJECTION_TYPEHASH, place, 2);
    }

    function hash(TreeHead calldata head) internal pure returns (bytes32) {
        uint256 place;
        assembly ("memory-safe") {
            place := head
        }
        return _hash(TREE_HEAD_TYPEHASH, place, 3);
    }

    /// @dev Works beyond the free memory pointer without moving it.
    function _hash(bytes32 typehash, uint256 place, uint256 words)
        private
        pure
        returns (bytes32 digest)
    {
        assembly ("memory-safe") {
            let free := mload(0x40)
            let size := shl(5, words)
            mstore(free, typehash)
            calldatacopy(add(free, 0x20), place, size)
            digest := keccak256(free, add(size, 0x20))
        }
    }
}

/// @title Units and bills
library Units {
    uint8 internal constant KINDS = 4;

    /// @notice How many units one price buys: a GPU-hour in milliseconds, a million tokens, a step.
    function scaleOf(uint8 kind) internal pure returns (uint256) {
        if (kind == 0) return 3_600_000;
        if (kind == 3) return 1;
        return 1_000_000;
    }

    /// @notice The bill for a running total of units, rounded up once.
    function amountFor(uint8 kind, uint64 units, uint64 price) internal pure returns (uint256) {
        uint256 scale = scaleOf(kind);
        return (uint256(units) * price + scale - 1) / scale;
    }
}
