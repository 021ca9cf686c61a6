// SPDX-License-Identifier: Apache-2.0
// Money, units and times as people read them. Amounts are atoms (6 decimals) in bigint, never in floating point.

export type UnitKind = "gpu_ms" | "input_token" | "output_token" | "training_step";
export const unit_kinds: UnitKind[] = ["gpu_ms", "input_token", "output_token", "training_step"];
export const order_classes = ["on_demand", "interruptible", "reserved", "standing"];

const scales: Record<UnitKind, bigint> = {
  gpu_ms: 3_600_000n,
  input_token: 1_000_000n,
  output_token: 1_000_000n,
  training_step: 1n,
};
const per: Record<UnitKind, string> = {
  gpu_ms: "GPU-hour",
  input_token: "1M input tokens",
  output_token: "1M output tokens",
  training_step: "step",
};
const names: Record<UnitKind, string> = {
  gpu_ms: "GPU time",
  input_token: "Input tokens",
  output_token: "Output tokens",
  training_step: "Training steps",
};
/** What a price is for: "step", "1M output tokens". */
export const price_unit = (kind: string): string => per[kind as UnitKind] ?? kind;
export const kind_name = (kind: string): string => names[kind as UnitKind] ?? kind;

const atoms_per_token = 1_000_000n;

/** "12.5" of 12500000 atoms: no zeros at the end, thousands with a narrow space. */
export function tokens(atoms: bigint | string | number): string {
  const value = BigInt(atoms);
  const digits = value < 0n ? -value : value;
  const whole = (digits / atoms_per_token).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");
  const part = (digits % atoms_per_token).toString().padStart(6, "0").replace(/0+$/, "");
  return `${value < 0n ? "−" : ""}${whole}${part ? `.${part}` : ""}`;
}

/** Atoms of "12.5"; null when it is no amount, is below zero, or has more than 6 decimals. */
export function parse_tokens(text: string): bigint | null {
  const match = /^(\d{1,12})(?:\.(\d{1,6}))?$/.exec(text.trim());
  if (!match) return null;
  return BigInt(match[1]!) * atoms_per_token + BigInt((match[2] ?? "").padEnd(6, "0"));
}

/** The bill for a running total of units, rounded up once: what worker, market and contract compute. */
export function amount_for(kind: UnitKind, units: bigint, price: bigint): bigint {
  const scale = scales[kind];
  return (units * price + scale - 1n) / scale;
}

/** Whole numbers with thousands apart. */
export const count = (value: bigint | string | number): string =>
  BigInt(value).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");

/** "0x1234…cdef" */
export const short = (hex: string): string => (hex.length > 14 ? `${hex.slice(0, 6)}…${hex.slice(-4)}` : hex);

export const clock_time = (ms: number): string => new Date(ms).toLocaleTimeString(undefined, { hour12: false });
export const date_time = (ms: number): string => new Date(ms).toLocaleString(undefined, { hour12: false });

/** "3 min", "2.5 h": how long, roughly. */
export function duration(ms: number): string {
  if (ms < 1_000) return "under 1 s";
  if (ms < 90_000) return `${Math.round(ms / 1_000)} s`;
  if (ms < 5_400_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${(ms / 3_600_000).toFixed(1).replace(/\.0$/, "")} h`;
  return `${Math.round(ms / 86_400_000)} days`;
}

/** A state's name as words: "open_failed" gives "open failed". */
export const words = (name: string): string => name.replaceAll("_", " ");
