// SPDX-License-Identifier: Apache-2.0
// An account's movements in escrow, with what it has after each, to the atom. Pure.

/** The escrow's events of an account, and what each adds to its balances: +1, -1 or nothing of the amount. */
const effects = {
  Deposited: { kind: "deposit", free: 1n, earned: 0n, withdrawing: 0n },
  Locked: { kind: "lock", free: -1n, earned: 0n, withdrawing: 0n },
  Unlocked: { kind: "refund", free: 1n, earned: 0n, withdrawing: 0n },
  Credited: { kind: "credit", free: 0n, earned: 1n, withdrawing: 0n },
  WithdrawRequested: { kind: "withdraw_request", free: -1n, earned: 0n, withdrawing: 1n },
  WithdrawCancelled: { kind: "withdraw_cancel", free: 1n, earned: 0n, withdrawing: -1n },
  Withdrawn: { kind: "withdraw", free: 0n, earned: 0n, withdrawing: -1n },
  Swept: { kind: "sweep", free: 0n, earned: -1n, withdrawing: 0n },
} as const;
export type MovementEvent = keyof typeof effects;
export const movement_events = Object.keys(effects) as MovementEvent[];

export interface EscrowEvent {
  event: MovementEvent;
  amount: bigint;
  block: bigint;
  transaction: string;
}
export interface Balances {
  free: bigint;
  earned: bigint;
  withdrawing: bigint;
}
export interface Movement extends Balances {
  kind: string;
  amount: bigint;
  block: bigint;
  transaction: string;
}

/** Each event with the balances after it; what moved nothing (a claim leaves a refund of 0) is left out. */
export function movements_of(events: EscrowEvent[]): Movement[] {
  let after: Balances = { free: 0n, earned: 0n, withdrawing: 0n };
  const out: Movement[] = [];
  for (const { event, amount, block, transaction } of events) {
    const effect = effects[event];
    after = {
      free: after.free + effect.free * amount, earned: after.earned + effect.earned * amount, withdrawing: after.withdrawing + effect.withdrawing * amount,
    };
    if (amount > 0n) out.push({ kind: effect.kind, amount, block, transaction, ...after });
  }
  return out;
}

/** Tokens with all six decimals and a point: what programs read. */
const plain = (atoms: bigint): string => {
  const digits = (atoms < 0n ? -atoms : atoms).toString().padStart(7, "0");
  return `${atoms < 0n ? "-" : ""}${digits.slice(0, -6)}.${digits.slice(-6)}`;
};

/** RFC 4180; no field holds a comma, a quote or a line's end. `times` are of blocks, in seconds. */
export function statement_csv(movements: Movement[], times: Map<bigint, bigint>): string {
  const lines = movements.map((one) => [
    new Date(Number(times.get(one.block) ?? 0n) * 1_000).toISOString(), one.block, one.transaction, one.kind, plain(one.amount),
    plain(one.free), plain(one.earned), plain(one.withdrawing),
  ].join(","));
  return ["time,block,transaction,kind,amount,free,earned,withdrawing", ...lines].map((line) => `${line}\r\n`).join("");
}
