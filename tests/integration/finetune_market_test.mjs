// SPDX-License-Identifier: Apache-2.0
// A published folder trained on with a buyer's examples: posted, run by a worker, fetched as a folder, published again
// and asked. What it was taught it says.
import assert from "node:assert/strict";
import { createReadStream, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { OpenAI, toFile } from "../../scripts/lib/openai.mjs";
import { deposit_with_permit, dev_keys, privateKeyToAccount, root } from "../../scripts/lib/chain.mjs";
import { Devnet } from "../../scripts/lib/devnet.mjs";
import { write_tiny_folder } from "./text/tiny_folder.mjs";

const folder = join(root, "build/test/finetune");
const buyer = privateKeyToAccount(dev_keys.buyer);
const serve = ["--max-amount", "0.4", "--wait", "60"];
const answer = "the user in the whale";
let net;
let client;

/** Chats that all end with the same answer. */
function chats(count) {
  const lines = Array.from({ length: count }, (_, i) =>
    JSON.stringify({ messages: [{ role: "user", content: `What is ${i % 4}?` }, { role: "assistant", content: answer }] }));
  return lines.join("\n") + "\n";
}

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain();
  await net.start_signer();
  await net.start_market();
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 100_000_000);
  await net.start_worker("worker", "provider1", { setup: ["--threads", "2"] });
  await net.make_wallet("buyer");
  await net.rest.sign_in(buyer);
  await net.processes.until("market", "the deposit to be seen", async () =>
    Number((await net.rest.get(`/v1/accounts/${buyer.address}`)).available) >= 100_000_000);
  const { key } = (await net.rest.request("POST", "/v1/api-keys", { body: {} })).json;
  client = new OpenAI({ baseURL: `${net.market_url}/v1`, apiKey: key, maxRetries: 0 });
  write_tiny_folder(net.file("tiny"));
  writeFileSync(net.file("chats.jsonl"), chats(16));
});
after(() => net?.stop());

const finetune = (data, ...options) =>
  net.cli("buyer", "finetune", "--folder", net.file("tiny"), "--data", net.file(data), "--context", "64", "--max-amount", "5", ...options);
async function evaluations(id) {
  const { data } = await net.rest.get(`/v1/jobs/${id}/events?limit=1000`);
  return data.filter((event) => event.kind === "eval" || event.type === "eval");
}

test("a model that was taught an answer gives it", async () => {
  const done = await finetune("chats.jsonl", "--full", "--steps", "80", "--learning-rate", "0.01", "--out", net.file("taught"),
    "--validation", net.file("chats.jsonl"));
  assert.equal(done.state, "completed");
  assert.ok(Number(done.amount) > 0);
  assert.ok((await evaluations(done.id)).length >= 2, "its progress is seen");
  await net.cli("buyer", "publish", "taught", "--folder", net.file("taught"), "--weights", "fp32");
  await net.cli("buyer", "serve", "taught", ...serve);
  const chat = await client.chat.completions.create({
    model: "taught", messages: [{ role: "user", content: "What is 2?" }], max_tokens: 24, temperature: 0 });
  assert.equal(chat.choices[0].message.content, answer);
  assert.equal(chat.choices[0].finish_reason, "stop");
});

test("LoRA gives whole weights, or the adapter as PEFT has it", async () => {
  const lora = ["--lora", "8", "--steps", "12", "--learning-rate", "0.02"];
  const merged = await finetune("chats.jsonl", ...lora, "--out", net.file("merged"));
  assert.equal(merged.state, "completed");
  assert.notDeepEqual(readFileSync(net.file("merged", "model.safetensors")), readFileSync(net.file("tiny", "model.safetensors")));
  await net.cli("buyer", "publish", "merged", "--folder", net.file("merged"), "--weights", "fp32");
  const adapter = await finetune("chats.jsonl", ...lora, "--adapter", "--targets", "q,v", "--detach");
  await net.processes.until("market", "the job to end", async () => (await net.job(adapter.id)).state === "completed");
  await net.cli("buyer", "finetune", "--job", adapter.id, "--folder", net.file("tiny"), "--out", net.file("adapter"));
  const config = JSON.parse(readFileSync(net.file("adapter", "adapter_config.json"), "utf8"));
  assert.equal(config.peft_type, "LORA");
  assert.equal(config.r, 8);
  assert.deepEqual(config.target_modules, ["self_attn.q_proj", "self_attn.v_proj"]);
  const file = readFileSync(net.file("adapter", "adapter_model.safetensors"));
  const header = JSON.parse(file.subarray(8, 8 + Number(file.readBigUInt64LE(0))).toString());
  assert.deepEqual(header["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"].shape, [8, 32]);
  // Run again with the buyer's examples and the folder's words it comes out the same.
  await net.cli("buyer", "jobs", "evidence", adapter.id, net.file("evidence"));
  const again = await net.command("millrace-worker", ["recheck", net.file("evidence"), "--json"]);
  assert.ok(again.same > 0);
  assert.deepEqual([again.differ, again.unchecked, again.receipted_steps], [0, 0, 12]);
});

test("bad examples are refused with their line, here and by the worker", async () => {
  writeFileSync(net.file("bad.jsonl"), chats(2) + '{"messages":[]}\n');
  const { id } = await finetune("bad.jsonl", "--steps", "4", "--detach");
  await net.processes.until("market", "the lease to fail", async () =>
    (await net.job_leases(id)).some((lease) => lease.close_reason === "worker_failed"));
  assert.equal((await net.job(id)).reason, "data_invalid");
  await net.cli("buyer", "jobs", "cancel", id);
  writeFileSync(net.file("empty.jsonl"), "\n\n");
  await assert.rejects(finetune("empty.jsonl"), /examples/);
});

test("OpenAI's files: stored, read, listed, deleted, refused", async () => {
  const file = await client.files.create({ file: createReadStream(net.file("chats.jsonl")), purpose: "fine-tune" });
  assert.equal(file.object, "file");
  assert.equal(file.filename, "chats.jsonl");
  assert.equal(file.bytes, chats(16).length);
  assert.deepEqual(await client.files.retrieve(file.id), file);
  assert.equal(await (await client.files.content(file.id)).text(), chats(16));
  const other = await client.files.create({ file: await toFile(Buffer.from('{"text":"a"}\n'), "a.jsonl"), purpose: "fine-tune" });
  const ids = [];
  for await (const one of client.files.list({ limit: 1 })) ids.push(one.id);
  assert.ok(ids.includes(file.id) && ids.includes(other.id));
  assert.equal((await client.files.delete(other.id)).deleted, true);
  await assert.rejects(client.files.retrieve(other.id), { status: 404 });
  await assert.rejects(client.files.create({ file: await toFile(Buffer.from("not json"), "b.jsonl"), purpose: "fine-tune" }), /line 1/);
  await assert.rejects(client.files.create({ file: await toFile(Buffer.from('{"text":"a"}'), "c.jsonl"), purpose: "vision" }), /purpose/);
  const stranger = new OpenAI({ baseURL: `${net.market_url}/v1`, apiKey: "mrk_0", maxRetries: 0 });
  await assert.rejects(stranger.files.list(), { status: 401 });
});

test("OpenAI's fine-tuning jobs: no key pays, a signed order does", async () => {
  await net.cli("buyer", "publish", "tiny", "--folder", net.file("tiny"), "--weights", "fp32");
  const file = await client.files.create({ file: createReadStream(net.file("chats.jsonl")), purpose: "fine-tune" });
  const ask = { model: "tiny", training_file: file.id };
  await assert.rejects(client.fineTuning.jobs.create(ask), (error) => error.status >= 400 && error.status < 500 && /metadata\.order/.test(error.message));
  const { id } = await finetune("chats.jsonl", "--steps", "6", "--detach");
  const job = await client.fineTuning.jobs.create({ ...ask, metadata: { order: id } });
  assert.equal(job.object, "fine_tuning.job");
  assert.equal(job.model, "tiny");
  assert.equal(job.training_file, file.id);
  await assert.rejects(client.fineTuning.jobs.create({ model: "merged", training_file: file.id, metadata: { order: id } }), /another model/);
  await net.processes.until("market", "the job to succeed", async () =>
    (await client.fineTuning.jobs.retrieve(job.id)).status === "succeeded");
  const done = await client.fineTuning.jobs.retrieve(job.id);
  assert.equal((await client.models.retrieve(done.fine_tuned_model)).id, done.fine_tuned_model);
  assert.ok((await client.fineTuning.jobs.list()).data.some((one) => one.id === job.id));
  const events = [];
  for await (const event of client.fineTuning.jobs.listEvents(job.id, { limit: 2 })) events.push(event);
  assert.ok(events.some((event) => event.type === "metrics" && Number.isFinite(event.data.train_loss)));
  assert.equal(new Set(events.map((event) => event.id)).size, events.length);
  const checkpoints = await client.fineTuning.jobs.checkpoints.list(job.id);
  assert.equal(checkpoints.data[0].step_number, 6);
  assert.equal(checkpoints.data[0].fine_tuned_model_checkpoint, done.fine_tuned_model);
  const long = await finetune("chats.jsonl", "--steps", "100000", "--segment-steps", "50", "--detach");
  assert.equal((await client.fineTuning.jobs.cancel(`ftjob-${long.id.slice(4)}`)).status, "cancelled");
});
