// SPDX-License-Identifier: Apache-2.0
// The fields of the market's signed messages (EIP-712). Apart from what hashes them, so that the first page needs no
// cryptography.
import type { Address } from "viem";

export interface TypedField {
  name: string;
  type: string;
}
const fields = (text: string): TypedField[] =>
  text.split(",").map((field) => ({ type: field.split(" ")[0]!, name: field.split(" ")[1]! }));

export const message_types = {
  Ask: fields("address provider,bytes32 resourceHash,uint8 unitKind,uint64 price,uint64 minUnits,uint64 maxUnits,uint8 orderClass,uint32 reclaimWindow,uint64 earliest,uint64 expiry,uint64 volume,address matcher,bytes32 salt"),
  Bid: fields("address buyer,bytes32 jobSpecHash,uint8 unitKind,uint64 priceCeiling,uint64 maxAmount,bytes32 constraintsHash,uint8 orderClass,uint8 verificationTier,uint64 earliest,uint64 deadline,uint64 expiry,uint64 volume,address matcher,bytes32 salt"),
  Delegation: fields("address owner,address delegate,uint8 scope,uint64 spendCap,uint64 expiry,uint64 nonce"),
  Receipt: fields("bytes32 lease,uint64 sequence,bytes32 previous,uint8 unitKind,uint64 cumulativeUnits,uint64 price,uint64 cumulativeAmount,bytes32 modelHash,bytes32 requestHash,bytes32 responseHash,uint64 startMs,uint64 endMs"),
  Permit: fields("address owner,address spender,uint256 value,uint256 nonce,uint256 deadline"),
} satisfies Record<string, TypedField[]>;
export type MessageType = keyof typeof message_types;
export type Message = Record<string, string | number | bigint>;

export interface Domain {
  name: string;
  version: string;
  chainId: number;
  verifyingContract: Address;
}
