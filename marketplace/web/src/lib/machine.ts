// SPDX-License-Identifier: Apache-2.0
// What a buyer asks of the machine: as the order's constraints, and as the command line's options. Pure.
import { parse_least } from "./offers";

/** As typed: whole numbers; empty: any. */
export interface Machine {
  vram_gib: string;
  gflop_per_s: string;
  memory_mb_per_s: string;
  /** Percent of its leases that came to their end. */
  reliability: string;
}
export const any_machine: Machine = { vram_gib: "", gflop_per_s: "", memory_mb_per_s: "", reliability: "" };

interface Wish {
  label: string;
  most: number;
  member: string;
  /** Of the member, in one of what is typed. */
  scale: number;
  option: string;
  option_scale: number;
}
export const machine_wishes: Record<keyof Machine, Wish> = {
  vram_gib: { label: "GPU memory at least, GiB", most: 1_000_000, member: "min_vram_mib", scale: 1024, option: "--min-vram-mib", option_scale: 1024 },
  gflop_per_s: { label: "GFLOP/s at least", most: 999_999_999, member: "min_gflop_per_s", scale: 1, option: "--min-gflop-per-s", option_scale: 1 },
  memory_mb_per_s: { label: "MB/s at least", most: 999_999_999, member: "min_memory_mb_per_s", scale: 1, option: "--min-memory-mb-per-s", option_scale: 1 },
  reliability: { label: "Reliability at least, %", most: 100, member: "min_reliability_bp", scale: 100, option: "--min-reliability", option_scale: 1 },
};
const names = Object.keys(machine_wishes) as (keyof Machine)[];

/** Null: not a whole number within its bound. */
export function wish_value(machine: Machine, name: keyof Machine): number | null {
  const value = parse_least(machine[name]);
  return value === null || value > machine_wishes[name].most ? null : value;
}
export const is_machine = (machine: Machine): boolean => names.every((name) => wish_value(machine, name) !== null);
/** Members of the constraints; what is not asked for has none. */
export const machine_constraints = (machine: Machine): Record<string, number> =>
  Object.fromEntries(names.flatMap((name) => {
    const value = wish_value(machine, name);
    return value ? [[machine_wishes[name].member, value * machine_wishes[name].scale]] : [];
  }));
export const machine_options = (machine: Machine): string[] =>
  names.flatMap((name) => {
    const value = wish_value(machine, name);
    return value ? [`${machine_wishes[name].option} ${value * machine_wishes[name].option_scale}`] : [];
  });
