// SPDX-License-Identifier: Apache-2.0
// What the console computes by itself, without a browser.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { load } from "./load.mjs";

const seed = Number(process.env.MILLRACE_SEED ?? Date.now() % 1e9);
console.log(`seed ${seed} (MILLRACE_SEED)`);
let state = seed;
const random = (below) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};
const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
const hex = (bytes) => `0x${Buffer.from(bytes).toString("hex")}`;
const bytes = (text) => Buffer.from(text.slice(2), "hex");

test("format: amounts are refused unless they are decimals of at most six places, and come back as they went", async () => {
  const { parse_tokens, tokens, amount_for } = await load("format");
  for (const wrong of ["", "-1", "1.", ".5", "1e3", "1,5", "0x10", "1.0000001", "1 000", "１", "9".repeat(13)]) assert.equal(parse_tokens(wrong), null, wrong);
  assert.equal(parse_tokens(" 12.5 "), 12_500_000n);
  assert.equal(parse_tokens("0.000001"), 1n);
  assert.equal(tokens(12_500_000n), "12.5");
  assert.equal(tokens("1234567000001"), "1\u202f234\u202f567.000001");
  assert.equal(tokens(-1n), "−0.000001");
  for (let i = 0; i < 500; ++i) {
    const atoms = BigInt(random(2 ** 31)) * BigInt(random(2 ** 20));
    assert.equal(parse_tokens(tokens(atoms).replaceAll("\u202f", "")), atoms);
  }
  assert.equal(amount_for("output_token", 1n, 1n), 1n, "the payer owes the last part of an atom");
  assert.equal(amount_for("output_token", 2_000_000n, 3n), 6n);
  assert.equal(amount_for("training_step", 7n, 500n), 3_500n);
});

test("book: old changes and other goods are passed over; what is gone is gone; sums are those of a naive book", async () => {
  const { DepthBook } = await load("book");
  const level = (side, price, units, sequence, extra = {}) => ({
    side, unit_kind: "training_step", gpu_models: ["cpu"], price: String(price), units: String(units), orders: units === 0 ? 0 : 1, sequence, ...extra,
  });
  const depth = { sequence: 10, unit_kind: "training_step", asks: [level("ask", 500, 5)], bids: [] };
  const book = new DepthBook(depth, "cpu");
  assert.equal(book.apply(level("ask", 500, 0, 10)), false, "the depth holds it already");
  assert.equal(book.apply(level("ask", 500, 1, 11, { unit_kind: "gpu_ms" })), false);
  assert.equal(book.apply(level("ask", 500, 1, 11, { gpu_models: ["other"] })), false);
  assert.equal(book.apply(level("bid", 400, 3, 11, { gpu_models: [] })), true, "a bid without models accepts any");
  assert.equal(book.apply(level("ask", 500, 0, 12)), true);
  assert.deepEqual(book.rungs("ask", 9), []);
  const naive = { ask: new Map(), bid: new Map([[400n, 3n]]) };
  for (let i = 0; i < 2_000; ++i) {
    const side = random(2) ? "ask" : "bid";
    const price = 1 + random(30);
    const units = random(4) === 0 ? 0 : 1 + random(1000);
    book.apply(level(side, price, units, 13 + i));
    if (units === 0) naive[side].delete(BigInt(price));
    else naive[side].set(BigInt(price), BigInt(units));
  }
  for (const side of ["ask", "bid"]) {
    const up = side === "ask" ? 1n : -1n;
    const expected = [...naive[side]].sort((a, b) => Number((a[0] - b[0]) * up)).slice(0, 20);
    let total = 0n;
    const found = book.rungs(side, 20).filter(({ price }) => price !== 400n || naive[side].has(400n));
    assert.deepEqual(found.map(({ price, units }) => [price, units]), expected);
    for (const rung of book.rungs(side, 20)) assert.equal(rung.total, (total += rung.units));
  }
});

// RFC 9162 by its own recursive words.
const mth = (leaves) => {
  if (leaves.length === 0) return sha256();
  if (leaves.length === 1) return leaves[0];
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return sha256(Buffer.from([1]), mth(leaves.slice(0, k)), mth(leaves.slice(k)));
};
const path_of = (m, leaves) => {
  if (leaves.length === 1) return [];
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return m < k ? [...path_of(m, leaves.slice(0, k)), mth(leaves.slice(k))] : [...path_of(m - k, leaves.slice(k)), mth(leaves.slice(0, k))];
};

test("merkle: roots and paths are those of RFC 9162; one changed bit, place or size leads elsewhere", async () => {
  const { leaf_hash, root_of, root_from_path } = await load("merkle");
  assert.equal(leaf_hash("0x0102"), hex(sha256(Buffer.from([0, 1, 2]))));
  for (let size = 0; size <= 40; ++size) {
    const leaves = Array.from({ length: size }, (_, i) => sha256(Buffer.from([0, i, size])));
    const root = hex(mth(leaves));
    assert.equal(root_of(leaves.map(hex)), root);
    for (let index = 0; index < size; ++index) {
      const path = path_of(index, leaves).map(hex);
      const lead = (leaf = hex(leaves[index]), i = index, n = size, p = path) => root_from_path(leaf, BigInt(i), BigInt(n), p);
      assert.equal(lead(), root);
      assert.equal(lead(undefined, size), null);
      assert.notEqual(lead(hex(sha256(leaves[index]))), root);
      assert.equal(lead(undefined, undefined, undefined, [...path, root]), null, "too long");
      if (path.length > 0) {
        assert.equal(lead(undefined, undefined, undefined, path.slice(1)) === root, false, "too short");
        const flipped = bytes(path[0]);
        flipped[random(32)] ^= 1 << random(8);
        assert.notEqual(lead(undefined, undefined, undefined, [hex(flipped), ...path.slice(1)]), root);
      }
    }
  }
});

test("messages: struct hashes are the golden vectors'", async () => {
  const { struct_hash, canonical } = await load("messages");
  const { message_types } = await load("message_types");
  const vectors = JSON.parse(readFileSync(new URL("../../../tests/vectors/eip712.json", import.meta.url), "utf8"));
  const all = vectors.filter(({ primaryType }) => primaryType in message_types);
  assert.ok(all.length > 20);
  for (const { name, primaryType, message, structHash } of all) assert.equal(struct_hash(primaryType, message), structHash, name);
  assert.equal(canonical({ b: [1, "x", true], a: { d: 1, c: "\u2028<script>" } }), '{"a":{"c":"\u2028<script>","d":1},"b":[1,"x",true]}');
});

test("records: what is cut, of another version or of no known kind is no record", async () => {
  const { decode_record } = await load("records");
  const u32 = (value) => Buffer.from(Uint32Array.of(value).buffer);
  const u64 = (value) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
  const hash = (byte) => Buffer.alloc(32, byte);
  const receipt = Buffer.concat([
    Buffer.from([13]), hash(1), u64(2), hash(3), Buffer.from([3]), u64(40), u64(500), u64(20_000), hash(4), hash(5), hash(6), u64(7), u64(8), Buffer.alloc(65, 9),
  ]);
  const record = (command, version = 4) => Buffer.concat([Buffer.from([version]), u64(77), u64(1_700_000_000_000), hash(0xee), u32(command.length), command, u32(0), hash(0xaa)]);
  const good = decode_record(hex(record(receipt)));
  assert.equal(good.command, "submit_receipt");
  assert.equal(good.sequence, 77n);
  assert.equal(good.time_ms, 1_700_000_000_000);
  assert.equal(good.receipt.message.lease, hex(hash(1)));
  assert.deepEqual([good.receipt.message.sequence, good.receipt.message.cumulativeUnits, good.receipt.message.cumulativeAmount], [2n, 40n, 20_000n]);
  assert.equal(good.receipt.signature, hex(Buffer.alloc(65, 9)));
  assert.equal(decode_record(hex(record(Buffer.from([17])))).receipt, null);
  assert.equal(decode_record(hex(record(receipt, 3))), null);
  assert.equal(decode_record(hex(record(Buffer.from([200])))), null);
  for (let cut = 0; cut < 53 + receipt.length; ++cut) assert.equal(decode_record(hex(record(receipt).subarray(0, cut))), null, `cut at ${cut}`);
});

test("event_lines: pieces may be cut anywhere", async () => {
  const { EventLines } = await load("event_lines");
  const text = 'data: {"a":1}\n\n: keep-alive\n\nevent: x\ndata: two\ndata: lines\n\ndata: [DONE]\n\ndata: unfinished';
  for (let round = 0; round < 100; ++round) {
    const lines = new EventLines();
    const found = [];
    for (let at = 0; at < text.length; ) {
      const next = Math.min(text.length, at + 1 + random(9));
      found.push(...lines.push(text.slice(at, next)));
      at = next;
    }
    assert.deepEqual(found, ['{"a":1}', "two\nlines", "[DONE]"]);
  }
});

test("spec: impossible plans are told apart by field", async () => {
  const { first_plan, plan_problems, train_spec, is_model_name } = await load("spec");
  assert.deepEqual(plan_problems(first_plan), {});
  assert.deepEqual(Object.keys(plan_problems({ ...first_plan, heads: 5 })), ["heads"]);
  assert.deepEqual(Object.keys(plan_problems({ ...first_plan, steps: NaN })).sort(), ["segment_steps", "steps"]);
  assert.deepEqual(Object.keys(plan_problems({ ...first_plan, learning_rate: "1e-3" })), ["learning_rate"]);
  assert.equal(train_spec(first_plan, "0x00").kind, "train");
  for (const name of ["", "a b", "<script>", "x".repeat(65)]) assert.equal(is_model_name(name), false, name);
});
