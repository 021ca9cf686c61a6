// SPDX-License-Identifier: Apache-2.0
// An auditor in the browser: takes what the market says about a lease and holds it against the chain, read through
// the reader's own node. Every hash, signature and sum is recomputed here.
import { recoverTypedDataAddress, type Address, type Hex, type PublicClient } from "viem";
import { get, market_info, request, type Lease } from "./api";
import type { Watch } from "./block_walk";
import { chain, leases_abi, log_abi, terms_fields, totals_fields, unpack } from "./chain";
import { block_by, read_events } from "./chain_events";
import { amount_for, count, tokens, unit_kinds } from "./format";
import { leaf_hash, root_from_path, root_of } from "./merkle";
import { message_types, type Message } from "./message_types";
import { struct_hash } from "./messages";
import { decode_record } from "./records";

export interface Finding {
  what: string;
  ok: boolean;
  detail: string;
}
export interface FoundReceipt {
  index: bigint;
  record: Hex;
  message: Message;
  signature: Hex;
  hash: Hex;
}
export interface Opened {
  buyer: Address;
  provider: Address;
  worker: Address;
  price: bigint;
  locked: bigint;
  unit_kind: number;
  transaction: Hex;
  block: bigint;
}

const page_size = 1_000;
const pages_max = 64;

interface LogLine {
  sequence: number;
  record: Hex;
}
async function log_page(first: number, limit: number): Promise<{ lines: LogLine[]; size: number; next: number }> {
  const response = await request(`/v1/log?first=${first}&limit=${limit}`);
  const lines = (await response.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line) as LogLine);
  const number = (name: string) => Number(response.headers.get(name) ?? 0);
  return { lines, size: number("x-log-size"), next: number("x-log-next") };
}

/** The first record not older than `time_ms`, found by halving: records stand in the order of their times. */
async function first_at(time_ms: number): Promise<number> {
  let low = 0;
  let high = (await log_page(0, 1)).size;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const line = (await log_page(middle, 1)).lines[0];
    const record = line && decode_record(line.record);
    if (!record || record.time_ms >= time_ms) high = middle;
    else low = middle + 1;
  }
  return low;
}

function receipt_of(line: LogLine): FoundReceipt | null {
  const receipt = decode_record(line.record)?.receipt;
  if (!receipt) return null;
  return {
    index: BigInt(line.sequence), record: line.record, message: receipt.message, signature: receipt.signature,
    hash: struct_hash("Receipt", receipt.message),
  };
}

/** All receipts of a lease in the public log, in order; at most 64,000 records are looked at. */
export async function receipts_of(lease: Lease): Promise<FoundReceipt[]> {
  const out: FoundReceipt[] = [];
  let first = await first_at(lease.matched_ms);
  for (let i = 0; i < pages_max && out.length < Number(lease.sequence); ++i) {
    const { lines, size, next } = await log_page(first, page_size);
    for (const line of lines) {
      const found = receipt_of(line);
      if (found?.message.lease === lease.id) out.push(found);
    }
    if (next >= size || next <= first) break;
    first = next;
  }
  return out;
}

/** A receipt by its hash, the newest records first; null when it is not among the last 64,000. */
export async function find_receipt(hash: Hex): Promise<FoundReceipt | null> {
  let end = (await log_page(0, 1)).size;
  for (let i = 0; i < pages_max && end > 0; ++i) {
    const begin = Math.max(0, end - page_size);
    for (let first = begin; first < end; ) {
      const { lines, next } = await log_page(first, end - first);
      for (const line of lines) {
        const found = receipt_of(line);
        if (found?.hash === hash) return found;
      }
      if (next <= first) break;
      first = next;
    }
    end = begin;
  }
  return null;
}

/** What the chain says of a lease's beginning. The market's word for its time is where the search begins, no more. */
export async function read_opened(client: PublicClient, lease: Lease, watch: Watch): Promise<Opened | null> {
  const { deployment } = await market_info();
  const start = BigInt(deployment.block);
  const near = await block_by(client, lease.matched_ms, start);
  const wanted = {
    address: deployment.leases, abi: leases_abi, names: ["LeaseOpened" as const], key: lease.id, what: "the lease's opening", watch,
    enough: (found: unknown[]) => found.length > 0,
  };
  let [event] = await read_events(client, { ...wanted, first: near });
  if (!event && near > start) [event] = await read_events(client, { ...wanted, first: start, last: near - 1n, downward: true });
  if (!event) return null;
  const terms = unpack(event.args.terms, terms_fields);
  return {
    buyer: event.args.buyer, provider: event.args.provider, worker: event.args.workerKey, price: terms.price!, locked: terms.locked!,
    unit_kind: Number(terms.unitKind), transaction: event.transactionHash, block: event.blockNumber,
  };
}

/** The newest head anchored on chain: found from the newest block backwards. */
async function last_anchor(client: PublicClient, watch: Watch): Promise<{ size: bigint; root: Hex; transaction: Hex } | null> {
  const { deployment } = await market_info();
  const events = await read_events(client, {
    address: deployment.receipt_log, abi: log_abi, names: ["Anchored"], first: BigInt(deployment.block), downward: true,
    enough: (found) => found.length > 0, what: "the newest anchored root", watch,
  });
  const event = events.at(-1);
  return event ? { size: event.args.size, root: event.args.root, transaction: event.transactionHash } : null;
}

/** Each receipt: the worker's signature, its place in the chain of receipts, units times price to the atom. */
async function check_chain(receipts: FoundReceipt[], opened: Opened): Promise<Finding[]> {
  const { eip712_domain } = await market_info();
  let previous: Hex = `0x${"0".repeat(64)}`;
  let signed = 0;
  let linked = 0;
  let billed = 0;
  for (const [i, { message, signature, hash }] of receipts.entries()) {
    const signer = await recoverTypedDataAddress({
      domain: eip712_domain, types: { Receipt: message_types.Receipt }, primaryType: "Receipt", message, signature,
    } as Parameters<typeof recoverTypedDataAddress>[0]);
    if (signer.toLowerCase() === opened.worker.toLowerCase()) ++signed;
    if (message.sequence === BigInt(i + 1) && message.previous === previous) ++linked;
    const kind = unit_kinds[Number(message.unitKind)]!;
    const right = message.price === opened.price && Number(message.unitKind) === opened.unit_kind;
    if (right && amount_for(kind, message.cumulativeUnits as bigint, opened.price) === message.cumulativeAmount) ++billed;
    previous = hash;
  }
  const all = receipts.length;
  return [
    { what: "Worker's signatures", ok: all > 0 && signed === all, detail: `${signed} of ${all} are by ${opened.worker}, the key that the chain has for this lease` },
    { what: "Chain of receipts", ok: all > 0 && linked === all, detail: `${linked} of ${all} name the hash of the one before` },
    { what: "Bill", ok: all > 0 && billed === all, detail: `${billed} of ${all} are units times the price that the chain has, to the atom` },
  ];
}

/** Record to root: the leaf hashed here, the market's path, the root that the chain has; and the contract's own word. */
async function check_anchor(client: PublicClient, receipt: FoundReceipt, watch: Watch): Promise<Finding[]> {
  const { deployment } = await market_info();
  const head = await last_anchor(client, watch);
  if (!head || head.size <= receipt.index) {
    const covered = head ? `the chain has the first ${count(head.size)} records` : "no head is anchored";
    return [{ what: "Record under an anchored root", ok: false, detail: `Record ${receipt.index} is not anchored yet: ${covered}. Try again in a minute.` }];
  }
  const { path } = await get<{ path: Hex[] }>(`/v1/log/proof/inclusion?index=${receipt.index}&size=${head.size}`);
  const leaf = leaf_hash(receipt.record);
  const root = root_from_path(leaf, receipt.index, head.size, path);
  const said = await client.readContract({
    address: deployment.receipt_log, abi: log_abi, functionName: "checkInclusion", args: [head.size, head.root, leaf, receipt.index, path],
  });
  return [
    { what: "Record under an anchored root", ok: root === head.root, detail: `record ${receipt.index} of ${count(head.size)} leads to ${root ?? "no root"}; anchored in transaction ${head.transaction}` },
    { what: "The contract agrees", ok: said, detail: `ReceiptLog.checkInclusion says ${said ? "yes" : "no"}` },
  ];
}

/** What was paid: the claim's receipts root is the root over these receipts, its sums are theirs. */
async function check_claims(client: PublicClient, lease: Lease, opened: Opened, receipts: FoundReceipt[], watch: Watch): Promise<Finding[]> {
  const { deployment } = await market_info();
  const events = await read_events(client, {
    address: deployment.leases, abi: leases_abi, names: ["Claimed", "LeaseClosed"], key: lease.id, first: opened.block, what: "the lease's claims", watch,
    enough: (found) => found.some(({ eventName }) => eventName === "LeaseClosed"), // a closed lease is paid no more
  });
  const claims = events.flatMap((event) => (event.eventName === "Claimed" ? [event] : []));
  const last = claims.at(-1);
  if (!last) return [{ what: "Paid on chain", ok: lease.claimed === "0", detail: "nothing is claimed yet" }];
  const totals = unpack(last.args.totals, totals_fields);
  const covered = receipts.slice(0, Number(totals.sequence));
  const root = root_of(covered.map(({ hash }) => leaf_hash(hash)));
  const top = covered.at(-1)?.message;
  const paid = claims.reduce((sum, claim) => sum + unpack(claim.args.totals, totals_fields).paid!, 0n);
  const sums_fit = top !== undefined && top.cumulativeUnits === totals.cumulativeUnits && top.cumulativeAmount === totals.cumulativeAmount;
  return [
    { what: "Receipts root of the claim", ok: root === last.args.receiptsRoot, detail: `over ${covered.length} receipts: ${root}` },
    { what: "Paid on chain", ok: sums_fit && paid === totals.cumulativeAmount, detail: `${tokens(paid)} for ${count(totals.cumulativeUnits!)} units in ${claims.length} claim${claims.length === 1 ? "" : "s"}, the last in transaction ${last.transactionHash}` },
  ];
}

/** Verifies a lease from front to back, and that one receipt (the last, when none is named) is anchored. */
export async function verify_lease(lease: Lease, receipts: FoundReceipt[], which?: FoundReceipt, watch: Watch = {}): Promise<Finding[]> {
  const client = await chain();
  const opened = await read_opened(client, lease, watch);
  if (!opened) return [{ what: "Lease on chain", ok: false, detail: "the chain knows no such lease" }];
  const same = opened.buyer === lease.buyer && opened.provider === lease.provider && opened.locked.toString() === lease.locked;
  const found = receipts.length === Number(lease.sequence);
  const shown = which ?? receipts.at(-1);
  return [
    { what: "Lease on chain", ok: same, detail: `opened in transaction ${opened.transaction} with ${tokens(opened.locked)} locked` },
    { what: "Receipts in the public log", ok: found, detail: `${receipts.length} of ${lease.sequence} found` },
    ...(await check_chain(receipts, opened)),
    ...(shown ? await check_anchor(client, shown, watch) : []),
    ...(await check_claims(client, lease, opened, receipts, watch)),
  ];
}
