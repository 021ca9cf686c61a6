// SPDX-License-Identifier: Apache-2.0
// Records of the public log: as much of their bytes as a reader of receipts needs. Pure.
import { bytesToHex, hexToBytes, type Hex } from "viem";
import type { Message } from "./message_types";

const version = 4;
const submit_receipt = 13;
const command_names = [
  "post_ask", "post_job", "cancel_ask", "cancel_job", "worker_connected", "worker_lost", "escrow_deposited",
  "escrow_withdrawn", "lease_opened", "lease_open_failed", "claim_confirmed", "lease_close_confirmed", "lease_started",
  "submit_receipt", "record_voucher", "lease_finished", "lease_failed", "tick", "lease_close_requested", "amend_ask",
  "amend_job",
];

export interface LogRecord {
  sequence: bigint;
  time_ms: number;
  command: string;
  receipt: { message: Message; signature: Hex } | null;
}

/** Takes values off the front; throws past the end. */
class Reader {
  #at = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  #take(count: number): number {
    if (this.#at + count > this.#bytes.length) throw new RangeError("the record ends too early");
    this.#at += count;
    return this.#at - count;
  }
  u8 = (): number => this.#view.getUint8(this.#take(1));
  u32 = (): number => this.#view.getUint32(this.#take(4), true);
  u64 = (): bigint => this.#view.getBigUint64(this.#take(8), true);
  bytes(count: number): Uint8Array {
    const at = this.#take(count);
    return this.#bytes.subarray(at, at + count);
  }
  hex = (count: number): Hex => bytesToHex(this.bytes(count));
}

function read_receipt(reader: Reader): Message {
  return {
    lease: reader.hex(32),
    sequence: reader.u64(),
    previous: reader.hex(32),
    unitKind: reader.u8(),
    cumulativeUnits: reader.u64(),
    price: reader.u64(),
    cumulativeAmount: reader.u64(),
    modelHash: reader.hex(32),
    requestHash: reader.hex(32),
    responseHash: reader.hex(32),
    startMs: reader.u64(),
    endMs: reader.u64(),
  };
}

/** Null when the bytes are no record of a version known here. */
export function decode_record(record: Hex): LogRecord | null {
  try {
    const reader = new Reader(hexToBytes(record));
    if (reader.u8() !== version) return null;
    const sequence = reader.u64();
    const time_ms = Number(reader.u64());
    reader.bytes(32);
    const command = new Reader(reader.bytes(reader.u32()));
    const kind = command.u8();
    const name = command_names[kind];
    if (name === undefined) return null;
    const receipt = kind === submit_receipt ? { message: read_receipt(command), signature: command.hex(65) } : null;
    return { sequence, time_ms, command: name, receipt };
  } catch {
    return null;
  }
}
