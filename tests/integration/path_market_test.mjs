// SPDX-License-Identifier: Apache-2.0
// The demo's path in small: train, crash, go on, serve, settle. Orders are signed and figures are checked by viem and
// the chain's own events, not by the market's word.
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { OpenAI } from "../../scripts/lib/openai.mjs";
import { deposit_with_permit, dev_keys, privateKeyToAccount, root } from "../../scripts/lib/chain.mjs";
import { settlement_totals, unexplained } from "../../scripts/lib/chain_totals.mjs";
import { write_moby_dick } from "../../scripts/lib/data.mjs";
import { Devnet } from "../../scripts/lib/devnet.mjs";
import { JobWatch } from "../../scripts/lib/job_watch.mjs";
import { small_text_spec } from "../../scripts/lib/rest.mjs";
import { readFileSync } from "node:fs";

const folder = join(root, "build/test/path");
const buyer = privateKeyToAccount(dev_keys.buyer);
const workers = ["worker-1", "worker-2"];
let net;
let blob;
let trained;

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain();
  await net.start_signer();
  await net.start_market();
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 100_000_000);
  for (const [i, name] of workers.entries()) {
    await net.start_worker(name, `provider${i + 1}`, { setup: ["--threads", "1"] });
  }
  await net.rest.sign_in(buyer);
  write_moby_dick(net.file("text.txt"), 200_000);
  blob = await net.rest.upload(readFileSync(net.file("text.txt")));
  await net.processes.until("market", "the deposit to be seen", async () =>
    Number((await net.rest.get(`/v1/accounts/${buyer.address}`)).available) >= 100_000_000);
});
after(() => net?.stop());

/** What the chain says about the leases of a job: [{ units, paid, refunded, locked }]. */
async function on_chain(job_id) {
  const leases = await net.settled(job_id);
  const totals = await settlement_totals(net.chain, net.deployment);
  assert.deepEqual(unexplained(totals), []);
  return leases.map((lease) => totals.leases.get(lease.id)).filter(Boolean);
}
const sum = (leases, field) => leases.reduce((total, lease) => total + lease[field], 0n);

/** Every step is paid, and paid once, at the price of the lease; but those that a dead worker did not sign for. */
async function assert_paid_once(job_id, steps, unsigned = 0n, price = 500n) {
  const leases = await on_chain(job_id);
  assert.equal(sum(leases, "units"), BigInt(steps) - unsigned);
  assert.equal(sum(leases, "paid"), (BigInt(steps) - unsigned) * price);
  assert.equal(sum(leases, "paid") + sum(leases, "refunded"), sum(leases, "locked"));
  return leases;
}

test("asks tell what their machines measured, and who wants more is told so", async () => {
  const { asks } = await net.rest.get("/v1/market/book?unit_kind=training_step");
  assert.equal(asks.length, workers.length);
  for (const { gflop_per_s, memory_mb_per_s } of asks) assert.ok(gflop_per_s > 0 && memory_mb_per_s > 100, `${gflop_per_s} GFLOP/s, ${memory_mb_per_s} MB/s`);
  const best = Math.max(...asks.map(({ memory_mb_per_s }) => memory_mb_per_s));
  const quote = async (constraints) => (await net.rest.request("POST", "/v1/market/quotes", {
    body: await net.rest.job_body(buyer, small_text_spec(blob, { steps: 10, segment_steps: 10 }), {}, { constraints }),
  })).json;
  assert.equal((await quote({ min_memory_mb_per_s: best })).matches, true);
  const { reasons } = await quote({ min_memory_mb_per_s: best + 1 });
  assert.equal(reasons.failed.memory_bandwidth, workers.length, JSON.stringify(reasons));
  assert.match(reasons.text, new RegExp(`with less memory bandwidth \\(fastest ${best} MB/s\\)`));
});

test("a training job is matched, run, receipted, paid and learns", async () => {
  const spec = small_text_spec(blob, { steps: 60, segment_steps: 15 });
  const { id } = await net.rest.post_job(buyer, spec);
  const watch = new JobWatch(net, id, { name: "train", steps: spec.steps });
  await net.job_done(id, { on_poll: () => watch.poll() });
  await watch.poll();
  assert.ok(watch.evals.length >= 2, "at least two evaluations");
  assert.ok(watch.evals.at(-1).loss < watch.evals[0].loss, JSON.stringify(watch.evals));
  const leases = await assert_paid_once(id, spec.steps);
  assert.equal(leases.length, 1);
  const [lease] = await net.job_leases(id);
  assert.equal(Number(lease.sequence), 4, "one receipt for each segment");
  trained = await net.job(id);
  assert.match(trained.checkpoint, /^0x[0-9a-f]{64}$/);
});

test("a balance on chain moves by exactly what was paid", async () => {
  const { available, held } = await net.rest.get(`/v1/accounts/${buyer.address}`);
  const totals = await settlement_totals(net.chain, net.deployment);
  assert.equal(held, "0");
  assert.equal(BigInt(available), 100_000_000n - totals.paid);
});

test("kill -9 of a worker: the job goes on from its checkpoint elsewhere, each step paid once", async () => {
  const spec = small_text_spec(blob, { steps: 400, segment_steps: 40, model: { arch: "gpt", vocab: 256, width: 64, depth: 2, heads: 2, context: 64 } });
  const { id } = await net.rest.post_job(buyer, spec);
  await net.processes.until("market", "two segments", async () => Number((await net.job(id)).units_done) >= 80, { timeout_ms: 120_000, every_ms: 50 });
  const victim = net.worker_named((await net.job_leases(id)).at(-1).worker, workers);
  await net.processes.kill9(victim);
  await net.job_done(id);
  // A kill between a receipt and its voucher leaves one segment that is done and that nobody can claim.
  const [done] = await net.job_leases(id);
  const unsigned = BigInt(done.units) - (await on_chain(id))[0].units;
  assert.ok(unsigned === 0n || unsigned === 40n, `${unsigned} steps without a voucher`);
  const leases = await assert_paid_once(id, spec.steps, unsigned);
  assert.equal(leases.length, 2);
  assert.ok(BigInt(done.units) >= 80n && leases[1].units > 0n);
  await net.run_worker(victim);
});

test("kill -9 of the market: restarted, it goes on with nothing lost and nothing paid twice", async () => {
  const spec = small_text_spec(blob, { steps: 400, segment_steps: 40, model: { arch: "gpt", vocab: 256, width: 64, depth: 2, heads: 2, context: 64 } });
  const { id } = await net.rest.post_job(buyer, spec);
  await net.processes.until("market", "a segment", async () => Number((await net.job(id)).units_done) >= 40, { timeout_ms: 120_000, every_ms: 50 });
  const seen = { job: await net.job(id), ready: await net.rest.get("/readyz") };
  await net.processes.kill9("market");
  await net.start_market();
  await net.rest.sign_in(buyer);
  const job = await net.job(id);
  assert.ok(Number(job.units_done) >= Number(seen.job.units_done), "an acknowledged receipt was lost");
  assert.ok((await net.rest.get("/readyz")).log_size >= seen.ready.log_size, "the log got shorter");
  assert.equal((await net.job(trained.id)).state, "completed");
  await net.job_done(id);
  await assert_paid_once(id, spec.steps);
});

test("the trained model is served to the public openai client, and every token is metered and paid", async () => {
  const model = small_text_spec(blob).model;
  const spec = { version: 1, kind: "infer.serve", model, weights: trained.checkpoint, tokenizer: "bytes", name: "small-moby" };
  const { id } = await net.rest.post_job(buyer, spec, {}, {
    legs: [
      { unitKind: 1, volume: 100_000n, priceCeiling: 1_000_000n, maxAmount: 200_000n },
      { unitKind: 2, volume: 100_000n, priceCeiling: 1_000_000n, maxAmount: 200_000n },
    ],
  });
  await net.processes.until("market", "the model to be loaded", async () => (await net.job(id)).state === "running", { timeout_ms: 60_000 });
  const { key } = (await net.rest.request("POST", "/v1/api-keys", { body: {} })).json;
  const client = new OpenAI({ baseURL: `${net.market_url}/v1`, apiKey: key, maxRetries: 0 });
  const models = await client.models.list();
  assert.ok(models.data.some((one) => one.id === "small-moby"));

  const plain = await client.completions.create({ model: "small-moby", prompt: "Call me", max_tokens: 8, seed: 1 });
  assert.equal(plain.usage.completion_tokens, 8);
  const again = await client.completions.create({ model: "small-moby", prompt: "Call me", max_tokens: 8, seed: 1 });
  assert.equal(again.choices[0].text, plain.choices[0].text, "the same seed gives the same text");
  const stream = await client.chat.completions.create({
    model: "small-moby", messages: [{ role: "user", content: "Whale?" }], max_tokens: 8, stream: true, stream_options: { include_usage: true },
  });
  let text = "";
  let usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.ok(text.length > 0 && usage.completion_tokens > 0);

  const used = [plain.usage, again.usage, usage];
  await net.rest.request("POST", `/v1/jobs/${id}/cancel`);
  const leases = await on_chain(id);
  assert.equal(sum(leases, "units"), BigInt(used.reduce((total, one) => total + one.total_tokens, 0)));
  assert.equal(leases.length, 2);
});
