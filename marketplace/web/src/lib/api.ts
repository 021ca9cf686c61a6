// SPDX-License-Identifier: Apache-2.0
// The market's REST interface as this page's origin serves it.
import { computed, signal } from "@preact/signals";
import type { Hex, Address } from "viem";

export interface Problem {
  status: number;
  code: string;
  detail: string;
  help?: string | undefined;
}
/** What the market answered instead of what was asked for; status 0: it did not answer. */
export class MarketError extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.detail || problem.code);
    this.problem = problem;
  }
}

export interface Session {
  token: string;
  address: Address;
  expires_ms: number;
}
const stored_session = (): Session | null => {
  try {
    const session = JSON.parse(sessionStorage.getItem("session") ?? "null") as Session | null;
    return session && session.expires_ms > Date.now() ? session : null;
  } catch {
    return null;
  }
};
/** What the market gave at the last sign-in. Kept for this tab only. */
const kept_session = signal<Session | null>(stored_session());
/** The connected wallet's account; null without one. */
export const wallet_account = signal<Address | null>(null);
const is_other = (kept: Session): boolean =>
  wallet_account.value !== null && wallet_account.value.toLowerCase() !== kept.address.toLowerCase();
/** Who is signed in. A session of another account than the wallet's is not used: nobody acts for two at once. */
export const session = computed((): Session | null => (kept_session.value && !is_other(kept_session.value) ? kept_session.value : null));
/** A session that waits until the wallet is back at its account. */
export const other_session = computed((): Session | null => (kept_session.value && is_other(kept_session.value) ? kept_session.value : null));
export function set_session(value: Session | null): void {
  kept_session.value = value;
  if (value) sessionStorage.setItem("session", JSON.stringify(value));
  else sessionStorage.removeItem("session");
}

async function problem_of(response: Response): Promise<Problem> {
  try {
    const body = (await response.json()) as Record<string, unknown>;
    const error = (body.error ?? body) as Record<string, unknown>; // OpenAI's shape on its routes
    return {
      status: response.status,
      code: String(error.code ?? "unknown"),
      detail: String(error.detail ?? error.message ?? error.title ?? ""),
      help: error.help === undefined ? undefined : String(error.help),
    };
  } catch {
    return { status: response.status, code: "unknown", detail: `The market answered ${response.status}.` };
  }
}

interface Options {
  method?: string;
  body?: unknown;
  bytes?: Blob | Uint8Array<ArrayBuffer>;
  signal?: AbortSignal;
}
/** The answer, whatever its form; throws MarketError for anything but 2xx. */
export async function request(path: string, { method = "GET", body, bytes, signal: abort }: Options = {}): Promise<Response> {
  const headers: Record<string, string> = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (bytes !== undefined) headers["content-type"] = "application/octet-stream";
  if (session.value) headers.authorization = `Bearer ${session.value.token}`;
  let response: Response;
  try {
    response = await fetch(path, {
      method, headers, body: bytes ?? (body === undefined ? null : JSON.stringify(body)), signal: abort ?? null,
    });
  } catch (error) {
    if (abort?.aborted) throw error;
    throw new MarketError({ status: 0, code: "unreachable", detail: "The market does not answer. It may be restarting." });
  }
  if (response.ok) return response;
  const problem = await problem_of(response);
  // A session that the market no longer knows is none: it forgets them when it restarts.
  if (response.status === 401 && session.value) {
    set_session(null);
    problem.help = "Sign in again: the market no longer knows this session.";
  }
  throw new MarketError(problem);
}
export const get = async <T>(path: string, abort?: AbortSignal): Promise<T> =>
  (await (await request(path, abort ? { signal: abort } : {})).json()) as T;
export const post = async <T>(path: string, body: unknown): Promise<T> =>
  (await (await request(path, { method: "POST", body })).json()) as T;

export interface List<T> {
  data: T[];
  has_more: boolean;
}
export interface Info {
  version: string;
  chain_id: number;
  deployment: {
    block: number;
    token: Address; escrow: Address; providers: Address; leases: Address; receipt_log: Address;
    disputes?: Address; treasury: Address; operator: Address; owner: Address;
    governor?: Address; timelock?: Address; governance_token?: Address;
    withdraw_delay_s: number;
  };
  operator_address: Address;
  delegate_address: Address;
  voucher_period_atoms: string;
  eip712_domain: { name: string; version: string; chainId: number; verifyingContract: Address };
}
let known_info: Promise<Info> | undefined;
/** Facts of the market; they do not change while a page is open. */
export function market_info(): Promise<Info> {
  known_info ??= get<Info>("/v1/market/info").catch((error: unknown) => {
    known_info = undefined;
    throw error;
  });
  return known_info;
}

export interface Trade {
  id: string;
  sequence: number;
  time_ms: number;
  lease: Hex;
  unit_kind: string;
  gpu_model: string;
  region: string;
  order_class: string;
  price: string;
  units: string;
}
export interface Offer {
  id: Hex;
  unit_kind: string;
  order_class: string;
  price: string;
  units_free: string;
  max_units: string;
  provider: Address;
  worker: Address;
  online: boolean;
  reliability_bp: number;
  gpu_model: string;
  gpu_count: number;
  vram_mib: number;
  /** What the worker measured of one GPU, or of the CPU; 0: not told. */
  gflop_per_s: number;
  memory_mb_per_s: number;
  region: string;
  runtime: string;
}
export interface Reasons {
  asks: number;
  failed: Record<string, number>;
  text: string;
}
export interface Job {
  id: string;
  buyer: Address;
  kind: string;
  state: string;
  reason: string;
  final: boolean;
  units_done: string;
  total_units: string;
  checkpoint: Hex | null;
  attempts: number;
  created_ms: number;
  changed_ms: number;
  bids: { unitKind: string; priceCeiling: string; maxAmount: string; deadline: string; volume: string }[];
  leases: Hex[];
  mismatches: Reasons | null;
}
export interface Lease {
  id: Hex;
  job: string;
  buyer: Address;
  provider: Address;
  worker: Address;
  voucher_signer: Address;
  unit_kind: string;
  price: string;
  max_units: string;
  locked: string;
  state: string;
  close_reason: string;
  units: string;
  amount: string;
  sequence: string;
  voucher_amount: string;
  receipts_root: Hex;
  claimed: string;
  fee: string;
  refunded: string;
  matched_ms: number;
  changed_ms: number;
}
export interface Settlement {
  id: string;
  kind: string;
  state: string;
  transaction: Hex | null;
  gas_used: string;
  created_ms: number;
  leases: Hex[];
}
