// SPDX-License-Identifier: Apache-2.0
// The market's signed messages (EIP-712), and documents that are signed by hash.
import { hashStruct, sha256, stringToBytes, type Hex } from "viem";
import { order_classes, unit_kinds, type UnitKind } from "./format";
import { message_types, type Message, type MessageType } from "./message_types";

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
