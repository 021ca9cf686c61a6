// SPDX-License-Identifier: Apache-2.0
// The depth of the book as the market's stream changes it. Pure.

export interface Level {
  price: string;
  gpu_models: string[];
  units: string;
  orders: number;
}
export interface LevelChange extends Level {
  side: "ask" | "bid";
  unit_kind: string;
  sequence: number;
}
export interface DepthDocument {
  sequence: number | null;
  unit_kind: string;
  asks: Level[];
  bids: Level[];
}
/** One price of a side with what stands at it and before it. */
export interface Rung {
  price: bigint;
  units: bigint;
  total: bigint;
  orders: number;
}

const key_of = (level: Level) => `${level.price}|${level.gpu_models.join(",")}`;

export class DepthBook {
  readonly unit_kind: string;
  readonly gpu_model: string;
  #sequence: number;
  #sides: Record<"ask" | "bid", Map<string, Level>>;

  /** `gpu_model`: "" for all. */
  constructor(depth: DepthDocument, gpu_model: string) {
    this.unit_kind = depth.unit_kind;
    this.gpu_model = gpu_model;
    this.#sequence = depth.sequence ?? -1;
    const map = (levels: Level[]) => new Map(levels.map((level) => [key_of(level), level]));
    this.#sides = { ask: map(depth.asks), bid: map(depth.bids) };
  }

  /** A level's new sum; false when it is of another good, or older than the depth that this began with. */
  apply(change: LevelChange): boolean {
    if (change.unit_kind !== this.unit_kind || change.sequence <= this.#sequence) return false;
    if (!this.#accepts(change)) return false;
    const side = this.#sides[change.side];
    if (change.orders === 0) side.delete(key_of(change));
    else side.set(key_of(change), change);
    return true;
  }

  /** Best price first, models at one price together. */
  rungs(side: "ask" | "bid", most: number): Rung[] {
    const sums = new Map<string, Rung>();
    for (const level of this.#sides[side].values()) {
      const rung = sums.get(level.price) ?? { price: BigInt(level.price), units: 0n, total: 0n, orders: 0 };
      rung.units += BigInt(level.units);
      rung.orders += level.orders;
      sums.set(level.price, rung);
    }
    const up = side === "ask" ? 1 : -1;
    const sorted = [...sums.values()].sort((a, b) => (a.price < b.price ? -up : a.price > b.price ? up : 0)).slice(0, most);
    let total = 0n;
    for (const rung of sorted) rung.total = total += rung.units;
    return sorted;
  }

  /** An ask has one model; a bid accepts those it names, or any when it names none. */
  #accepts(level: LevelChange): boolean {
    if (!this.gpu_model) return true;
    return level.gpu_models.includes(this.gpu_model) || (level.side === "bid" && level.gpu_models.length === 0);
  }
}
