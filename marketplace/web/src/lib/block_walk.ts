// SPDX-License-Identifier: Apache-2.0
// Events of many blocks, asked for in ranges that the node is willing to search: public nodes refuse long ones, each at
// a length of its own. Pure: `read` asks the node.

/** Blocks asked for at once, at most: what the public nodes that allow most of them take. */
export const span_max = 10_000n;
/** A shorter span that went well so often in a row is doubled: a range may have been refused for its many events. */
const good_turns = 8;

export interface WalkProgress {
  what: string;
  looked: bigint;
  all: bigint;
}
/** Where a reader of events tells how far it is, and is told to stop. */
export interface Watch {
  told?: ((progress: WalkProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
}
/** Says no more than that the reader pressed Stop. */
export class Stopped extends Error {}
/** The node answers, but lists not even the events of one block. */
export class RangeRefused extends Error {}

interface Walk<T> {
  what: string;
  first: bigint;
  last: bigint;
  /** The newest blocks first; within a range, events stay in their order. */
  downward?: boolean;
  read: (first: bigint, last: bigint) => Promise<T[]>;
  /** True for an error that a shorter range would not mend: the walk ends with it. */
  hopeless: (error: unknown) => boolean;
  /** True when nothing further is wanted; asked after each range. */
  enough?: (found: T[]) => boolean;
  watch?: Watch | undefined;
}

/** All events from `first` to `last`, both included, in the order of the chain; halves the span at each refusal. */
export async function walk_blocks<T>({ what, first, last, downward = false, read, hopeless, enough, watch }: Walk<T>): Promise<T[]> {
  let found: T[] = [];
  let span = span_max;
  let went_well = 0;
  let looked = 0n;
  const all = last >= first ? last - first + 1n : 0n;
  while (looked < all) {
    if (watch?.signal?.aborted) throw new Stopped("Stopped.");
    watch?.told?.({ what, looked, all });
    const length = span < all - looked ? span : all - looked;
    const from = downward ? last - looked - length + 1n : first + looked;
    let events: T[];
    try {
      events = await read(from, from + length - 1n);
    } catch (error) {
      if (hopeless(error)) throw error;
      if (length === 1n) throw new RangeRefused("no range is short enough", { cause: error });
      span = length / 2n;
      went_well = 0;
      continue;
    }
    found = downward ? [...events, ...found] : [...found, ...events];
    looked += length;
    if (enough?.(found)) break;
    if (++went_well >= good_turns && span < span_max) {
      span = span * 2n < span_max ? span * 2n : span_max;
      went_well = 0;
    }
  }
  watch?.told?.({ what, looked, all });
  return found;
}

/** The last block whose time is before `time_s`, from `first` on, by halving; `first` when all are later. */
export async function block_before(time_s: bigint, first: bigint, last: bigint, time_of: (block: bigint) => Promise<bigint>): Promise<bigint> {
  let low = first;
  let high = last;
  while (low < high) {
    const middle = (low + high + 1n) / 2n;
    if ((await time_of(middle)) < time_s) low = middle;
    else high = middle - 1n;
  }
  return low;
}
