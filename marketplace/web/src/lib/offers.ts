// SPDX-License-Identifier: Apache-2.0
// Which offers a reader wants, and in which order. Pure.
import type { Offer } from "./api";

export type OfferColumn = "price" | "units_free" | "gpu_model" | "vram_mib" | "gflop_per_s" | "memory_mb_per_s" | "region" | "reliability_bp";
export interface OfferWishes {
  /** Empty: any. */
  gpu_model: string;
  /** As measured; 0: any, also those that were not told. */
  gflop_per_s: number;
  memory_mb_per_s: number;
}
/** Of a field: a whole number, 0 when it is empty; null when it is none. */
export function parse_least(text: string): number | null {
  if (text.trim() === "") return 0;
  return /^\d{1,9}$/.test(text.trim()) ? Number(text) : null;
}
export const is_wanted = (offer: Offer, { gpu_model, gflop_per_s, memory_mb_per_s }: OfferWishes): boolean =>
  (gpu_model === "" || offer.gpu_model === gpu_model) && offer.gflop_per_s >= gflop_per_s && offer.memory_mb_per_s >= memory_mb_per_s;

/** Offers in the order of a column, upwards or downwards; those that do not tell a speed (0) come last either way. */
export function sort_offers(offers: Offer[], column: OfferColumn, up: boolean): Offer[] {
  const untold = (offer: Offer) => (column === "gflop_per_s" || column === "memory_mb_per_s") && offer[column] === 0;
  const compare = (a: Offer, b: Offer): number => {
    if (column === "gpu_model" || column === "region") return a[column].localeCompare(b[column]);
    const difference = BigInt(a[column]) - BigInt(b[column]);
    return difference < 0n ? -1 : difference > 0n ? 1 : 0;
  };
  return [...offers].sort((a, b) => Number(untold(a)) - Number(untold(b)) || compare(a, b) * (up ? 1 : -1));
}
