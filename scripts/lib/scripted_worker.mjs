// SPDX-License-Identifier: Apache-2.0
// A worker without a machine behind it: it takes leases, signs receipts and vouchers with viem, and comes back
// whenever the market goes away. What it signs depends on the lease and the sequence only, so that a receipt it
// repeats after a crash is the same to the byte.
import { createHash } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { hashStruct } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { WebSocket } from "ws";
import { Rest, message_types, wire_form } from "./rest.mjs";
import { dial_worker, hello } from "./worker_socket.mjs";

const zero_hash = `0x${"0".repeat(64)}`;
const hash_of = (text) => `0x${createHash("sha256").update(text).digest("hex")}`;

export class ScriptedWorker {
  acknowledged = new Map(); // lease → sequence that the market said is on disk
  receipts_max = Infinity; // of one lease; then it waits
  signs_vouchers = true;
  #leases = new Map();
  #stopping = false;

  constructor(market_url, provider, worker_key, resource, units_per_receipt) {
    Object.assign(this, { market_url, provider, resource, units_per_receipt });
    this.account = privateKeyToAccount(worker_key);
    this.rest = new Rest(market_url);
    this.running = this.#run();
  }

  async stop() {
    this.#stopping = true;
    this.socket?.terminate();
    await this.running;
  }

  async #run() {
    while (!this.#stopping) {
      try {
        await this.#connection();
      } catch (error) {
        this.last_error = error;
      }
      if (!this.#stopping) await pause(50);
    }
  }

  async #connection() {
    const token = await this.rest.sign_in(this.account);
    await this.rest.info();
    await new Promise((resolve, reject) => {
      const socket = dial_worker(this.market_url, token);
      this.socket = socket;
      this.#leases.clear();
      socket.on("open", () => socket.send(hello(this.account.address, this.provider, this.resource)));
      let queue = Promise.resolve();
      socket.on("message", (data) => {
        queue = queue.then(() => this.#hear(JSON.parse(data.toString()))).catch(reject);
      });
      socket.on("close", resolve);
      socket.on("error", reject);
    });
  }

  #say(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  async #hear(message) {
    if (message.type === "assign") {
      const lease = {
        ...message, sequence: Number(message.receipts.sequence), previous: message.receipts.previous,
        units: BigInt(message.receipts.cumulative_units),
      };
      this.#leases.set(message.lease, lease);
      this.#say({ type: "started", lease: message.lease });
      await this.#next_receipt(lease);
    } else if (message.type === "ack") {
      this.acknowledged.set(message.lease, Math.max(message.sequence, this.acknowledged.get(message.lease) ?? 0));
      const lease = this.#leases.get(message.lease);
      if (lease?.sequence === message.sequence) await this.#next_receipt(lease);
    } else if (message.type === "voucher" && this.signs_vouchers) {
      const { voucher } = message;
      const signature = await this.rest.sign(this.account, "Voucher", voucher);
      this.#say({ type: "voucher", voucher, worker_signature: signature });
    } else if (message.type === "cancel") {
      this.#leases.delete(message.lease);
    } else if (message.type === "error") {
      this.last_refusal = message;
    }
  }

  /** Another receipt under a sequence that it has signed before: what no honest worker does. */
  async equivocate(lease_id) {
    const lease = this.#leases.get(lease_id);
    const receipt = { ...lease.receipt, responseHash: hash_of("something else") };
    await this.#send_receipt(lease, receipt);
    return receipt;
  }

  /** What a claim by the worker alone takes: the last receipt that it handed in, or one more that it keeps back. */
  async signed_receipt(lease_id, { beyond = false } = {}) {
    const lease = this.#leases.get(lease_id);
    const receipt = beyond ? this.#receipt_after(lease) : lease.receipt;
    return { receipt, signature: await this.rest.sign(this.account, "Receipt", receipt) };
  }

  #receipt_after(lease) {
    const most = BigInt(lease.max_units);
    const units = lease.units + this.units_per_receipt;
    const sequence = lease.sequence + 1;
    const cumulativeUnits = units < most ? units : most;
    return {
      lease: lease.lease, sequence: BigInt(sequence), previous: lease.previous, unitKind: 3,
      cumulativeUnits, price: BigInt(lease.price), cumulativeAmount: cumulativeUnits * BigInt(lease.price),
      modelHash: zero_hash, requestHash: zero_hash, responseHash: hash_of(`${lease.lease} ${sequence}`),
      startMs: BigInt(sequence), endMs: BigInt(sequence) + 1n,
    };
  }

  async #next_receipt(lease) {
    if (lease.units >= BigInt(lease.max_units)) return this.#say({ type: "finished", lease: lease.lease });
    if (lease.sequence >= this.receipts_max) return;
    lease.receipt = this.#receipt_after(lease);
    lease.units = lease.receipt.cumulativeUnits;
    lease.sequence += 1;
    lease.previous = hashStruct({ data: lease.receipt, primaryType: "Receipt", types: { Receipt: message_types.Receipt } });
    await this.#send_receipt(lease, lease.receipt);
  }

  async #send_receipt(lease, receipt) {
    const signature = await this.rest.sign(this.account, "Receipt", receipt);
    this.#say({
      type: "receipt", receipt: wire_form(receipt), signature, step: Number(BigInt(lease.start.step) + lease.units), checkpoint: zero_hash,
    });
  }
}
