// SPDX-License-Identifier: Apache-2.0
// The market's signed messages (EIP-712), and documents that are signed by hash.
import { hashStruct, sha256, stringToBytes, type Address, type Hex } from "viem";
import { order_classes, unit_kinds, type UnitKind } from "./format";

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

/** The hash that stands for a message in chains of receipts and in order ids. */
export const struct_hash = (type: MessageType, message: Message): Hex =>
  hashStruct({ types: { [type]: message_types[type] }, primaryType: type, data: message } as Parameters<typeof hashStruct>[0]);

/** A message as the market's JSON carries it: 64-bit numbers as text, kinds by name. */
export function wire_form(message: Message): Record<string, string | number> {
  return Object.fromEntries(
    Object.entries(message).map(([name, value]) => {
      if (name === "unitKind") return [name, unit_kinds[Number(value)]!];
      if (name === "orderClass") return [name, order_classes[Number(value)]!];
      return [name, typeof value === "bigint" ? value.toString() : value];
    }),
  );
}
export const kind_number = (kind: UnitKind): number => unit_kinds.indexOf(kind);

export type Document = string | number | boolean | Document[] | { [name: string]: Document };

/** Canonical JSON: keys sorted, no spaces. */
export function canonical(value: Document): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value === "object") {
    const members = Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key]!)}`);
    return `{${members.join(",")}}`;
  }
  return JSON.stringify(value);
}
export const document_hash = (text: string): Hex => sha256(stringToBytes(text));

const random_hex = (bytes: number): string =>
  [...crypto.getRandomValues(new Uint8Array(bytes))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
export const random_hash = (): Hex => `0x${random_hex(32)}`;
export const new_job_id = (): string => `job_${random_hex(16)}`;
