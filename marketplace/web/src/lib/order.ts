// SPDX-License-Identifier: Apache-2.0
// A job with its bids: made, quoted, signed, posted.
import { zeroAddress, type Address, type Hex } from "viem";
import { market_info, post, type Reasons } from "./api";
import { chain, escrow_abi, leases_abi } from "./chain";
import { amount_for, count, date_time, kind_name, price_unit, tokens, unit_kinds, type UnitKind } from "./format";
import { machine_constraints, type Machine } from "./machine";
import type { Message } from "./message_types";
import { canonical, document_hash, kind_number, new_job_id, random_hash, wire_form, type Document } from "./messages";
import { sign_message } from "./wallet";

export interface Leg {
  kind: UnitKind;
  price_ceiling: bigint;
  volume: bigint;
  max_amount: bigint;
}
export interface Wishes {
  gpu_model: string;
  hours: number;
  machine: Machine;
}
export interface JobDraft {
  id: string;
  spec: string;
  constraints: string;
  bids: Message[];
  worst_case: bigint;
}
export interface Quote {
  matches: boolean;
  legs: { ask: Hex; price: string; max_units: string; locked: string }[];
  candidates: number;
  total: string;
  worst_case: string;
  starts_ms: number | null;
  reasons: Reasons;
}

const clock_skew_s = 300n;
/** A job that fails over locks its rest anew before the old lock is free. */
const locks_at_once = 6n;
const scope_vouchers = 2;
const no_signature: Hex = `0x${"0".repeat(130)}`;
const someone: Address = "0x0000000000000000000000000000000000000001";

/** The messages to be signed; `buyer` may be nobody yet, for a quote. */
export async function draft_job(spec: { [name: string]: Document }, legs: Leg[], wishes: Wishes, buyer: Address | undefined): Promise<JobDraft> {
  const { operator_address } = await market_info();
  const now = BigInt(Math.floor(Date.now() / 1_000));
  const spec_text = canonical(spec);
  const constraints = canonical({
    exclude_providers: [], gpu_models: wishes.gpu_model ? [wishes.gpu_model] : [], min_gpu_count: 1, min_vram_mib: 0, providers: [], regions: [], runtimes: [],
    ...machine_constraints(wishes.machine),
  });
  const deadline = now + BigInt(Math.round(wishes.hours * 3_600));
  const bids = legs.map((leg): Message => ({
    buyer: buyer ?? someone, jobSpecHash: document_hash(spec_text), unitKind: kind_number(leg.kind), priceCeiling: leg.price_ceiling,
    maxAmount: leg.max_amount, constraintsHash: document_hash(constraints), orderClass: 0, verificationTier: 0, earliest: now - clock_skew_s,
    deadline, expiry: deadline, volume: leg.volume, matcher: operator_address, salt: random_hash(),
  }));
  const worst_case = legs.reduce((sum, leg) => {
    const full = amount_for(leg.kind, leg.volume, leg.price_ceiling);
    return sum + (full < leg.max_amount ? full : leg.max_amount);
  }, 0n);
  return { id: new_job_id(), spec: spec_text, constraints, bids, worst_case };
}

const body_of = (draft: JobDraft, signatures: Hex[]) => ({
  id: draft.id,
  spec: draft.spec,
  bids: draft.bids.map((bid, i) => ({ bid: wire_form(bid), signature: signatures[i] ?? no_signature, constraints: draft.constraints })),
});
/** The body of a quote: the same as the job's, without signatures. */
export const quote_body = (draft: JobDraft): unknown => body_of(draft, []);
export const ask_quote = (draft: JobDraft): Promise<Quote> => post<Quote>("/v1/market/quotes", quote_body(draft));

function explain_bid(name: string, value: Message[string]): string {
  switch (name) {
    case "unitKind": return kind_name(unit_kinds[Number(value)]!);
    case "priceCeiling": return `${tokens(value)} at most, per unit of sale`;
    case "maxAmount": return `${tokens(value)} locked at most under one lease`;
    case "volume": return count(value);
    case "earliest": case "deadline": case "expiry": return date_time(Number(value) * 1_000);
    case "orderClass": return "on demand";
    case "verificationTier": return String(value);
    case "matcher": return value === zeroAddress ? "anyone may pair it" : `${value} (this market alone may pair it)`;
    case "jobSpecHash": return `${value} (SHA-256 of the job spec shown on the page)`;
    default: return String(value);
  }
}
function explain_delegation(name: string, value: Message[string]): string {
  switch (name) {
    case "delegate": return `${value} (the market's delegate)`;
    case "scope": return "may sign vouchers for your leases, nothing else";
    case "spendCap": return `${tokens(value)} over all your leases, past ones counted`;
    case "expiry": return date_time(Number(value) * 1_000);
    default: return String(value);
  }
}

/** What the delegate may sign for at most: what it has signed, what the account holds, and this job's locks. */
async function make_delegation(owner: Address, draft: JobDraft): Promise<Message> {
  const { deployment, delegate_address } = await market_info();
  const client = await chain();
  const leases = { address: deployment.leases, abi: leases_abi } as const;
  const [nonce, spent, [free, locked]] = await Promise.all([
    client.readContract({ ...leases, functionName: "delegationNonce", args: [owner] }),
    client.readContract({ ...leases, functionName: "spentBy", args: [owner, delegate_address] }),
    client.readContract({ address: deployment.escrow, abi: escrow_abi, functionName: "accounts", args: [owner] }),
  ]);
  return {
    owner, delegate: delegate_address, scope: scope_vouchers, spendCap: spent + free + locked + draft.worst_case * locks_at_once,
    expiry: (draft.bids[0]!.deadline as bigint) + 86_400n, nonce,
  };
}

/** Signs every bid and the delegation, and posts; gives the job's id. */
export async function sign_and_post(draft: JobDraft, owner: Address): Promise<string> {
  const { eip712_domain } = await market_info();
  const delegation = await make_delegation(owner, draft);
  const signatures: Hex[] = [];
  for (const bid of draft.bids) {
    const kind = unit_kinds[Number(bid.unitKind)]!;
    signatures.push(await sign_message(owner, eip712_domain, "Bid", bid, `Bid: ${count(bid.volume as bigint)} × ${kind_name(kind).toLowerCase()}, at most ${tokens(bid.priceCeiling as bigint)} per ${price_unit(kind)}`, explain_bid));
  }
  const consent = await sign_message(owner, eip712_domain, "Delegation", delegation, "Let the market's delegate sign vouchers for you", explain_delegation);
  const answer = await post<{ id: string }>("/v1/jobs", { ...body_of(draft, signatures), delegation: wire_form(delegation), delegation_signature: consent });
  return answer.id;
}
