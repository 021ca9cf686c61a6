// SPDX-License-Identifier: Apache-2.0
// Two models served by one worker that has memory for one: each answers when it is asked.
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { OpenAI } from "../../scripts/lib/openai.mjs";
import { deposit_with_permit, dev_keys, privateKeyToAccount, root } from "../../scripts/lib/chain.mjs";
import { Devnet } from "../../scripts/lib/devnet.mjs";
import { write_tiny_folder } from "./text/tiny_folder.mjs";

const folder = join(root, "build/test/models");
const buyer = privateKeyToAccount(dev_keys.buyer);
let net;
let client;

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain();
  await net.start_signer();
  await net.start_market();
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 100_000_000);
  // A child's runtime alone counts as more than half of this.
  await net.start_worker("worker", "provider1", { setup: ["--threads", "2", "--job-memory-mib", "1024"] });
  await net.make_wallet("buyer");
  await net.rest.sign_in(buyer);
  await net.processes.until("market", "the deposit to be seen", async () =>
    Number((await net.rest.get(`/v1/accounts/${buyer.address}`)).available) >= 100_000_000);
  const { key } = (await net.rest.request("POST", "/v1/api-keys", { body: {} })).json;
  client = new OpenAI({ baseURL: `${net.market_url}/v1`, apiKey: key, maxRetries: 0 });
});
after(() => net?.stop());

const ask = (model) =>
  client.completions.create({ model, prompt: "Call me", max_tokens: 8, temperature: 0, seed: 3 });
/** The worker's models as its status tells them: name to state. */
async function states() {
  const { models } = await net.worker_command("worker", "status");
  return Object.fromEntries(models.map((one) => [one.name, one.state]));
}

test("two models are served by a worker with memory for one", async () => {
  for (const name of ["first", "second"]) {
    write_tiny_folder(net.file(name));
    await net.cli("buyer", "publish", name, "--folder", net.file(name), "--weights", "fp32");
    assert.equal((await net.cli("buyer", "serve", name, "--max-amount", "0.4", "--wait", "60")).state, "running");
  }
  const names = (await client.models.list()).data.map((one) => one.id);
  assert.ok(names.includes("first") && names.includes("second"));
});

test("both answer in turn, alike each time, and are metered alike", async () => {
  const answers = { first: [], second: [] };
  for (let round = 0; round < 3; ++round)
    for (const name of ["first", "second"]) answers[name].push(await ask(name));
  for (const name of ["first", "second"])
    for (const one of answers[name]) {
      assert.equal(one.choices[0].text, answers[name][0].choices[0].text);
      assert.deepEqual(one.usage, answers[name][0].usage);
      assert.ok(one.usage.completion_tokens > 0);
    }
});

test("asked at once, each waits for the other", async () => {
  const both = await Promise.all([ask("first"), ask("second"), ask("first"), ask("second")]);
  assert.ok(both.every((one) => one.usage.completion_tokens > 0));
});

test("status and why tell which is unloaded, and for whom", async () => {
  await ask("first");
  await net.processes.until("worker", "the status to be written", async () => {
    const { first, second } = await states();
    return second === "unloaded" && first === "idle";
  });
  const { reasons } = await net.worker_command("worker", "why");
  const unloaded = reasons.find((one) => one.code === "model_unloaded");
  assert.match(unloaded.text, /second is unloaded: it made room for first/);
});

test("another account serves a model by its name alone once it is public, and only then", async () => {
  const other = privateKeyToAccount(dev_keys.provider2);
  await deposit_with_permit(net.chain, net.deployment, dev_keys.provider2, 10_000_000);
  await net.processes.until("market", "the deposit to be seen", async () =>
    Number((await net.rest.get(`/v1/accounts/${other.address}`)).available) >= 10_000_000);
  await net.make_wallet("other", "provider2");
  const serve = () => net.cli("other", "serve", "second", "--max-amount", "0.4", "--wait", "60");
  await assert.rejects(serve(), /keeps its spec private/);
  // Nobody but its publisher opens it.
  await assert.rejects(net.cli("other", "publish", "second", "--folder", net.file("first"), "--weights", "fp32", "--public"), /exists_with_different_body/);
  const listed = await net.cli("buyer", "publish", "second", "--folder", net.file("second"), "--weights", "fp32", "--public");
  assert.equal(listed.public, true);
  const served = await serve();
  assert.equal(served.state, "running");
  assert.equal((await net.job(served.id)).buyer, other.address);
  const told = await net.cli("other", "infer", "second", "Call me", "--max-tokens", "8", "--temperature", "0", "--seed", "3");
  assert.equal(told.text, (await ask("second")).choices[0].text, "it is the same model");
  assert.equal((await net.rest.get("/v1/models/second")).owned_by, buyer.address, "and still its publisher's");
});
