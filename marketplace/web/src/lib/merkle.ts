// SPDX-License-Identifier: Apache-2.0
// The Merkle tree of RFC 9162 with SHA-256, as far as a reader needs it: roots and inclusion. Pure.
import { concat, sha256, type Hex } from "viem";

export const leaf_hash = (data: Hex): Hex => sha256(concat(["0x00", data]));
export const node_hash = (left: Hex, right: Hex): Hex => sha256(concat(["0x01", left, right]));

/** The root of a tree of these leaf hashes. */
export function root_of(leaves: Hex[]): Hex {
  if (leaves.length === 0) return sha256("0x");
  // Peaks of complete subtrees, largest first, each with its height.
  const peaks: { height: number; hash: Hex }[] = [];
  for (const leaf of leaves) {
    let peak = { height: 0, hash: leaf };
    while (peaks.at(-1)?.height === peak.height) peak = { height: peak.height + 1, hash: node_hash(peaks.pop()!.hash, peak.hash) };
    peaks.push(peak);
  }
  return peaks.reduceRight<Hex | null>((right, { hash }) => (right === null ? hash : node_hash(hash, right)), null)!;
}

/** The root that a path leads to (section 2.1.3.2); null when its length does not fit the place. */
export function root_from_path(leaf: Hex, index: bigint, size: bigint, path: Hex[]): Hex | null {
  if (index < 0n || index >= size) return null;
  let place = index;
  let last = size - 1n;
  let hash = leaf;
  for (const step of path) {
    if (last === 0n) return null;
    if ((place & 1n) === 1n || place === last) {
      hash = node_hash(step, hash);
      while ((place & 1n) === 0n && place !== 0n) {
        place >>= 1n;
        last >>= 1n;
      }
    } else {
      hash = node_hash(hash, step);
    }
    place >>= 1n;
    last >>= 1n;
  }
  return last === 0n ? hash : null;
}
