// SPDX-License-Identifier: Apache-2.0
// What the console computes by itself, without a browser.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
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
  const { first_plan, plan_problems, train_spec, is_model_name, idx_image_sizes } = await load("spec");
  const wrong = (change) => Object.keys(plan_problems({ ...first_plan, ...change })).sort();
  for (const arch of ["gpt", "cnn", "resnet", "vit", "mlp"]) assert.deepEqual(wrong({ arch }), [], arch);
  assert.deepEqual(wrong({ heads: 5 }), ["heads"]);
  assert.deepEqual(wrong({ arch: "cnn", heads: 5, colors: 2 }), [], "what a model does not have is not looked at");
  assert.deepEqual(wrong({ arch: "vit", patch: 5 }), ["patch"]);
  assert.deepEqual(wrong({ arch: "resnet", stages: 6, colors: 2 }), ["colors", "stages"]);
  assert.deepEqual(wrong({ arch: "mlp", hidden: 0, classes: 1.5 }), ["classes", "hidden"]);
  assert.deepEqual(wrong({ steps: NaN }), ["segment_steps", "steps"]);
  assert.deepEqual(wrong({ learning_rate: "1e-3" }), ["learning_rate"]);
  assert.equal(train_spec(first_plan, { format: "text", blob: "0x00" }).kind, "train");
  for (const name of ["", "a b", "<script>", "x".repeat(65)]) assert.equal(is_model_name(name), false, name);
  const head = Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 1, 4);
  assert.deepEqual(idx_image_sizes(head), { image_height: 28, image_width: 260 });
  assert.equal(idx_image_sizes(head.subarray(0, 15)), null);
  assert.equal(idx_image_sizes(Uint8Array.of(0, 0, 8, 1, ...head.subarray(4))), null, "labels are no images");
});

test("spec: parameters and work of a model are those that the command line counts", async () => {
  // The figures of tests/unit/marketplace/cli/job_spec_test.cpp, summed by hand from the layers.
  const { first_plan, flops_per_step, parameter_count } = await load("spec");
  const plan = { ...first_plan, colors: 3, image_height: 32, image_width: 32, batch: 16 };
  const resnet = { ...plan, arch: "resnet" };
  const convolutions = 27 * 16 + 4 * 9 * 16 * 16 + 9 * 16 * 32 + 3 * 9 * 32 * 32 + 16 * 32 + 9 * 32 * 64 + 3 * 9 * 64 * 64 + 32 * 64;
  assert.equal(parameter_count(resnet), convolutions + 2 * (5 * 16 + 5 * 32 + 5 * 64) + 64 * 10 + 10);
  const products = 1024 * (27 * 16 + 4 * 9 * 16 * 16) + 256 * (9 * 16 * 32 + 3 * 9 * 32 * 32 + 16 * 32) + 64 * (9 * 32 * 64 + 3 * 9 * 64 * 64 + 32 * 64) + 640;
  assert.equal(flops_per_step(resnet), 3 * 16 * 2 * products + 16 * parameter_count(resnet));
  const vit = { ...plan, arch: "vit", depth: 4 };
  assert.equal(parameter_count(vit), 48 * 64 + 64 + 64 * 64 + 4 * (12 * 64 * 64 + 13 * 64) + 128 + 640 + 10);
  assert.equal(flops_per_step(vit), 3 * 16 * (64 * (4 * (24 * 64 * 64 + 4 * 64 * 64) + 2 * 48 * 64) + 2 * 640) + 16 * parameter_count(vit));
  const mlp = { ...plan, arch: "mlp" };
  assert.equal(parameter_count(mlp), 3072 * 128 + 128 + 128 * 128 + 128 + 1280 + 10);
  const gpt = { ...plan, arch: "gpt", width: 16, depth: 1, context: 32 };
  assert.equal(parameter_count(gpt), 288 * 16 + 12 * 256 + 13 * 16 + 32);
  const cnn = { ...first_plan, arch: "cnn", channels: 2 };
  assert.equal(parameter_count(cnn), 2 * 9 + 2 + 2 * 4 * 9 + 4 + (4 * 49 + 1) * 10, "two convolutions with biases, one linear layer");
});

test("spec: each model's spec is what the command line makes of the options shown, to the byte", async () => {
  // `millrace quote` of these options, as it sent them.
  const { first_plan, train_spec } = await load("spec");
  const { canonical } = await load("messages");
  const made = JSON.parse(readFileSync(new URL("train_specs.json", import.meta.url), "utf8"));
  assert.deepEqual([...new Set(made.map(({ plan }) => plan.arch))], ["gpt", "cnn", "resnet", "vit", "mlp"]);
  for (const { plan, data, spec } of made) assert.equal(canonical(train_spec({ ...first_plan, ...plan }, data)), spec);
});

test("equivalent: what is shown sends the very body, in each language", async () => {
  const { as_curl, as_python, as_javascript } = await load("equivalent");
  const body = { id: "job_1", spec: '{"a":"it\'s $HOME `x` \\\\ \u2028é😀\\n"}', bids: [{ bid: { salt: "0x00", price: "7", tier: 0 }, signature: "0x" }] };
  const heard = [];
  const server = createServer((request, response) => {
    let text = "";
    request.setEncoding("utf8").on("data", (piece) => (text += piece)).on("end", () => {
      heard.push([request.url, request.headers["content-type"], JSON.parse(text)]);
      response.end("{}");
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}/v1/it's`;
  const programs = [["sh", ["-c", as_curl(url, body)]], ["python3", ["-c", as_python(url, body)]], ["node", ["--input-type=module", "-e", as_javascript(url, body)]]];
  try {
    for (const [program, args] of programs) {
      const code = await new Promise((resolve) => spawn(program, args, { stdio: ["ignore", "ignore", "inherit"] }).on("exit", resolve));
      assert.equal(code, 0, program);
      assert.deepEqual(heard.pop(), ["/v1/it's", "application/json", body], program);
    }
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("price_rules: what is no amount makes no lines; nothing but digits gets into the settings", async () => {
  const { settings_lines, price_settings } = await load("price_rules");
  for (const wrong of ["", "-1", "0.0000001", '1"\nrpc = "http://x', "1e3", "1125899907", "999999999999"]) assert.equal(settings_lines({ training_step: wrong }), null, wrong);
  assert.equal(settings_lines({ training_step: " 0.0005 ", output_token: "12" }), 'price_step = "0.0005"\nprice_input_token = "0"\nprice_output_token = "12"');
  const known = readFileSync(new URL("../../../worker/agent/config.cpp", import.meta.url), "utf8");
  for (const [, setting] of price_settings) assert.ok(known.includes(`key == "${setting}"`), `the worker reads ${setting}`);
});

test("offers: what is no number filters nothing out unseen; unmeasured machines are wanted only where no speed is asked for, and come last", async () => {
  const { is_wanted, parse_least, sort_offers } = await load("offers");
  for (const wrong of ["-1", "1.5", "1e3", "x", "1234567890"]) assert.equal(parse_least(wrong), null, wrong);
  assert.equal(parse_least(" "), 0);
  assert.equal(parse_least(" 70 "), 70);
  const offer = (id, gpu_model, price, gflop_per_s, memory_mb_per_s) => ({ id, gpu_model, price, gflop_per_s, memory_mb_per_s, units_free: "1", vram_mib: 1, region: "", reliability_bp: 1 });
  const all = [offer("a", "H100", "9007199254740993", 900, 3_000_000), offer("b", "cpu", "9007199254740992", 0, 0), offer("c", "cpu", "7", 70, 20_000)];
  const ids = (offers) => offers.map(({ id }) => id).join("");
  const wanted = (wishes) => ids(all.filter((one) => is_wanted(one, { gpu_model: "", gflop_per_s: 0, memory_mb_per_s: 0, ...wishes })));
  assert.equal(wanted({}), "abc");
  assert.equal(wanted({ gpu_model: "cpu" }), "bc");
  assert.equal(wanted({ gflop_per_s: 1 }), "ac");
  assert.equal(wanted({ gflop_per_s: 70, memory_mb_per_s: 20_001 }), "a");
  assert.equal(ids(sort_offers(all, "price", true)), "cba", "to the last atom");
  assert.equal(ids(sort_offers(all, "price", false)), "abc");
  assert.equal(ids(sort_offers(all, "gflop_per_s", true)), "cab");
  assert.equal(ids(sort_offers(all, "memory_mb_per_s", false)), "acb");
  assert.equal(ids(sort_offers(all, "gpu_model", true)), "bca");
});

test("machine: what is not asked for stands nowhere, and what is no number is told", async () => {
  const { any_machine, is_machine, machine_constraints, machine_options, wish_value } = await load("machine");
  assert.deepEqual(machine_constraints(any_machine), {});
  assert.deepEqual(machine_options({ ...any_machine, gflop_per_s: " 0 " }), []);
  for (const change of [{ vram_gib: "1.5" }, { gflop_per_s: "-1" }, { memory_mb_per_s: "1e3" }, { reliability: "101" }, { vram_gib: "1000001" }]) {
    assert.equal(is_machine({ ...any_machine, ...change }), false);
    assert.equal(wish_value({ ...any_machine, ...change }, Object.keys(change)[0]), null);
  }
  const wanted = { vram_gib: "80", gflop_per_s: "60000", memory_mb_per_s: "3000000", reliability: "95" };
  assert.deepEqual(machine_constraints(wanted), { min_vram_mib: 81_920, min_gflop_per_s: 60_000, min_memory_mb_per_s: 3_000_000, min_reliability_bp: 9_500 });
  assert.equal(machine_options(wanted).join(" "), "--min-vram-mib 81920 --min-gflop-per-s 60000 --min-memory-mb-per-s 3000000 --min-reliability 95");
});

test("phases: each has its last time; what lies ahead, or was forgotten, has none", async () => {
  const { phases_of } = await load("phases");
  const job = (state, change = {}) => ({ state, final: false, created_ms: 1_000, changed_ms: 9_000, ...change });
  const phase = (state, time_ms) => ({ kind: "phase", time_ms, data: { state } });
  const told = (...args) => phases_of(...args).map(({ name, at_ms, stayed_ms }) => [name, at_ms, stayed_ms]);
  const way = [phase("matched", 2_000), { kind: "train", time_ms: 5, data: { step: 1 } }, phase("assigned", 3_000), phase("running", 4_000)];
  assert.deepEqual(told(job("open"), []), [["open", 1_000, null], ["matched", null, null], ["assigned", null, null], ["running", null, null], ["completed", null, null]]);
  assert.deepEqual(told(job("running"), way), [["open", 1_000, 1_000], ["matched", 2_000, 1_000], ["assigned", 3_000, 1_000], ["running", 4_000, null], ["completed", null, null]]);
  assert.deepEqual(told(job("matched"), [...way, phase("open", 6_000), phase("matched", 7_000)]).slice(0, 3), [["open", 6_000, 1_000], ["matched", 7_000, null], ["assigned", null, null]]);
  assert.deepEqual(told(job("completed", { final: true }), []).map(([, at]) => at), [1_000, null, null, null, 9_000], "after a restart of the market");
  assert.deepEqual(told(job("completed", { final: true }), []).map(([, , stayed]) => stayed), [8_000, null, null, null, null]);
  assert.deepEqual(told(job("cancelled", { final: true }), way).at(-1), ["cancelled", 9_000, null]);
});

test("statement: the balances after each movement are those of the escrow's own rules, to the atom", async () => {
  const { movements_of, statement_csv } = await load("statement");
  assert.equal(statement_csv([], new Map()), "time,block,transaction,kind,amount,free,earned,withdrawing\r\n");
  // The contract's account, moved at random within what it has.
  const account = { free: 0n, locked: 0n, earned: 0n, withdrawing: 0n };
  const events = [];
  const states = [];
  const emit = (event, amount) => {
    events.push({ event, amount, block: BigInt(events.length), transaction: `0x${events.length}` });
    if (amount > 0n) states.push([account.free, account.earned, account.withdrawing]);
  };
  const some = (most) => (most > 0n ? 1n + BigInt(random(Number(most > 1_000_000_000n ? 1_000_000_000n : most))) : 0n);
  const part = (most) => (some(most) <= most ? some(most) : most);
  const moves = {
    Deposited: () => some(10n ** 9n), Credited: () => some(10n ** 6n), Locked: () => part(account.free), Unlocked: () => (random(3) ? part(account.locked) : 0n),
    WithdrawRequested: () => part(account.free), WithdrawCancelled: () => account.withdrawing, Withdrawn: () => account.withdrawing, Swept: () => account.earned,
  };
  for (let i = 0; i < 2_000; ++i) {
    const event = Object.keys(moves)[random(8)];
    const amount = moves[event]();
    if (amount === 0n && event !== "Unlocked") continue;
    if (event === "Deposited") account.free += amount;
    if (event === "Credited") account.earned += amount;
    if (event === "Swept") account.earned -= amount;
    if (event === "Locked") (account.free -= amount), (account.locked += amount);
    if (event === "Unlocked") (account.locked -= amount), (account.free += amount);
    if (event === "WithdrawRequested") (account.free -= amount), (account.withdrawing += amount);
    if (event === "WithdrawCancelled") (account.withdrawing -= amount), (account.free += amount);
    if (event === "Withdrawn") account.withdrawing -= amount;
    emit(event, amount);
  }
  const movements = movements_of(events);
  assert.deepEqual(movements.map(({ free, earned, withdrawing }) => [free, earned, withdrawing]), states);
  const [line] = statement_csv([{ kind: "deposit", amount: 1n, block: 7n, transaction: "0xab", free: 12_345_678n, earned: 0n, withdrawing: -1n }], new Map([[7n, 1_700_000_000n]])).split("\r\n").slice(1);
  assert.equal(line, "2023-11-14T22:13:20.000Z,7,0xab,deposit,0.000001,12.345678,0.000000,-0.000001");
  const abi = JSON.parse(readFileSync(new URL("../../../contracts/abi/Escrow.json", import.meta.url), "utf8"));
  const { movement_events } = await load("statement");
  for (const name of movement_events) assert.ok((abi.abi ?? abi).some((item) => item.type === "event" && item.name === name), `${name} is an event of the escrow`);
});
