// SPDX-License-Identifier: Apache-2.0
// Sealed jobs from end to end: the market carries data, checkpoints and keys that it cannot read, a worker works on
// when its buyer gives it the key, and nobody else's key or account will do.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { deposit_with_permit, dev_keys, generatePrivateKey, privateKeyToAccount, root } from "../../scripts/lib/chain.mjs";
import { Devnet } from "../../scripts/lib/devnet.mjs";
import { Rest } from "../../scripts/lib/rest.mjs";
import { write_tiny_folder } from "./text/tiny_folder.mjs";

const folder = join(root, "build/test/sealed");
const buyer = privateKeyToAccount(dev_keys.buyer);
const secret_line = "The treasure lies under the third whale from the left.";
const small = ["--width", "32", "--depth", "1", "--heads", "2", "--context", "32", "--batch", "4", "--eval-batches", "2"];
const workers = ["worker-1", "worker-2"];
const bin = join(process.env.MILLRACE_BIN ?? join(root, "build/release/bin"), "millrace");
let net;

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain();
  await net.start_signer();
  await net.start_market();
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 100_000_000);
  await net.start_worker("worker-1", "provider1", { setup: ["--threads", "1"] });
  await net.make_wallet("buyer");
  await net.make_wallet("stranger", "deployer");
  await net.rest.sign_in(buyer);
  await net.processes.until("market", "the deposit to be seen", async () =>
    Number((await net.rest.get(`/v1/accounts/${buyer.address}`)).available) >= 100_000_000);
  mkdirSync(net.file("data"));
  writeFileSync(net.file("data", "book.txt"), `${secret_line}\n`.repeat(400));
});
after(() => net?.stop());

/** The files below a folder that hold a text as it is. */
function files_with(top, text) {
  return readdirSync(top, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter((file) => readFileSync(file).includes(text));
}
const train = (...options) =>
  net.cli("buyer", "train", "--encrypt", "--text", net.file("data", "book.txt"), ...small, "--max-amount", "5", ...options);
const unlock = (who, id) => net.cli(who, "jobs", "unlock", id);
const spec_of = (id) => net.rest.get(`/v1/jobs/${id}/spec`);
/** Waits for a lease of the job that is open at a worker, besides those that are known. */
const open_lease = (id, known = []) => net.processes.until("market", "an open lease", async () =>
  (await net.job_leases(id)).find((lease) => lease.state === "open" && !known.includes(lease.id)), { timeout_ms: 60_000 });
const logged = (name, text) => net.processes.until(name, `${name} to say ${text}`, () =>
  readFileSync(net.processes.log_path(name), "utf8").includes(text));
const is_safetensors = (file) => {
  const bytes = readFileSync(file);
  return typeof JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0))).toString()) === "object";
};

test("a watched job is sealed at the market, runs with the key it is given, and its result opens here", async () => {
  const done = await train("--steps", "40", "--segment-steps", "10");
  assert.equal(done.state, "completed");
  assert.equal(done.receipts, 4);
  const spec = await spec_of(done.id);
  assert.match(spec.sealed, /^0x[0-9a-f]{64}$/);
  const data = await net.rest.request("GET", `/v1/blobs/${spec.data.blob}`);
  assert.ok(data.text.startsWith("MRSEALED"));
  assert.equal(files_with(net.file("data"), secret_line).length, 1, "the search finds what is there");
  assert.deepEqual(files_with(net.file("market"), secret_line), []);
  await net.processes.until("worker-1", "the worker to clear up", () => files_with(net.file("worker-1"), secret_line).length === 0);
  const kept = net.file("buyer", "sealed", `${done.id}.json`);
  assert.equal(statSync(kept).mode & 0o777, 0o600);
  await net.cli("buyer", "jobs", "artifacts", done.id, net.file("model.safetensors"));
  assert.ok(is_safetensors(net.file("model.safetensors")));
  assert.deepEqual(readdirSync(folder).filter((name) => name.startsWith("model.safetensors.")), [], "nothing is left beside it");
  await assert.rejects(net.cli("buyer", "publish", "moby", "--job", done.id), /sealed/);
});

test("nobody else opens the result or gives a key", async () => {
  const { id } = await train("--steps", "20", "--segment-steps", "10", "--detach");
  const lease = await open_lease(id);
  await assert.rejects(unlock("stranger", id), /keeps no data key/);
  // Even with a copy of the buyer's folder: the key in it is for the buyer's wallet.
  mkdirSync(net.file("stranger", "sealed"), { recursive: true });
  writeFileSync(net.file("stranger", "sealed", `${id}.json`), readFileSync(net.file("buyer", "sealed", `${id}.json`)));
  await assert.rejects(unlock("stranger", id), /another wallet/);
  const stranger = new Rest(net.market_url);
  await stranger.sign_in(privateKeyToAccount(dev_keys.deployer));
  const put = await stranger.request("PUT", `/v1/jobs/${id}/keys/${lease.id}`, { body: { wrapped_key: `0x${"01".repeat(113)}` } });
  assert.equal(put.status, 403);
  assert.equal((await net.rest.request("GET", `/v1/jobs/${id}/keys/${lease.id}`)).status, 404, "nothing was given yet");
  assert.equal((await unlock("buyer", id)).leases[0], lease.id);
  assert.equal((await stranger.request("GET", `/v1/jobs/${id}/keys/${lease.id}`)).status, 403);
  await net.job_done(id);
  rmSync(net.file("stranger", "sealed"), { recursive: true });
  await assert.rejects(net.cli("stranger", "jobs", "artifacts", id, net.file("stolen")), /sealed/);
});

test("a market that names another reader gets no key", async () => {
  const { id } = await train("--steps", "20", "--segment-steps", "10", "--detach");
  const lease = await open_lease(id);
  const spy = privateKeyToAccount(generatePrivateKey());
  const liar = createServer(async (request, response) => {
    const answer = await fetch(net.market_url + request.url, { method: request.method });
    const body = request.url.endsWith("/public-key")
      ? JSON.stringify({ object: "public_key", address: lease.worker, public_key: `0x${spy.publicKey.slice(4)}` })
      : await answer.text();
    response.writeHead(answer.status, { "content-type": "application/json" }).end(body);
  });
  await new Promise((resolve) => liar.listen(0, "127.0.0.1", resolve));
  const market = `http://127.0.0.1:${liar.address().port}`;
  try {
    const options = net.cli_options("buyer").map((option) => (option === net.market_url ? market : option));
    await assert.rejects(net.command("millrace", [...options, "--json", "jobs", "unlock", id]), (error) =>
      error.exit_code === 7 && /another public key/.test(error.message));
  } finally {
    liar.close();
  }
  assert.equal((await net.rest.request("GET", `/v1/jobs/${id}/keys/${lease.id}`)).status, 404);
  await unlock("buyer", id);
  await net.job_done(id);
});

test("a job whose worker was killed goes on elsewhere when the next one is given the key", async () => {
  await net.start_worker("worker-2", "provider2", { setup: ["--threads", "1"] });
  const { id } = await train("--steps", "1200", "--segment-steps", "40", "--detach");
  const first = await open_lease(id);
  // Whoever watches it later gives the key too, and who stops watching is told what that means.
  const watch = net.processes.start("watch", bin, [...net.cli_options("buyer"), "jobs", "watch", id]);
  await logged("watch", "data key given");
  process.kill(watch.pid, "SIGINT");
  await watch.ended;
  assert.match(net.processes.log_tail("watch"), new RegExp(`millrace jobs unlock ${id}`));
  await net.processes.until("market", "two segments", async () => Number((await net.job(id)).units_done) >= 80, { timeout_ms: 120_000, every_ms: 50 });
  const victim = net.worker_named(first.worker, workers);
  const other = workers.find((name) => name !== victim);
  await net.processes.kill9(victim);
  const second = await open_lease(id, [first.id]);
  assert.equal(net.worker_named(second.worker, workers), other);
  await logged(other, "has given no key");
  assert.notEqual((await net.job(id)).state, "running");
  assert.deepEqual((await unlock("buyer", id)).leases, [second.id]);
  const done = await net.job_done(id);
  assert.equal(done.units_done, "1200");
  const [, last] = (await net.job_leases(id)).sort((a, b) => a.matched_ms - b.matched_ms);
  assert.ok(Number(last.start_units) >= 80, "from the sealed checkpoint");
  await net.cli("buyer", "jobs", "artifacts", id, net.file("after.safetensors"));
  assert.ok(is_safetensors(net.file("after.safetensors")));
  assert.deepEqual(files_with(net.file("market"), secret_line), []);
  await net.run_worker(victim);
});

test("a key that was given for another lease ends the work, and the job is offered elsewhere", async () => {
  const { data } = await net.rest.get(`/v1/jobs?buyer=${buyer.address}&state=completed&limit=1`);
  const [old] = await net.job_leases(data[0].id);
  const { wrapped_key } = await net.rest.get(`/v1/jobs/${data[0].id}/keys/${old.id}`);
  const { id } = await train("--steps", "20", "--segment-steps", "10", "--detach");
  const lease = await open_lease(id);
  const put = await net.rest.request("PUT", `/v1/jobs/${id}/keys/${lease.id}`, { body: { wrapped_key } });
  assert.equal(put.status, 200, put.text);
  const failed = await net.processes.until("market", "the lease to fail", async () =>
    (await net.job_leases(id)).find((one) => one.id === lease.id && one.close_reason === "worker_failed"));
  assert.equal(failed.units, "0");
  await net.rest.request("POST", `/v1/jobs/${id}/cancel`, {});
});

test("a fine-tuning with sealed examples gives a folder that is ready to publish", async () => {
  write_tiny_folder(net.file("tiny"));
  const chat = { messages: [{ role: "user", content: "Where?" }, { role: "assistant", content: secret_line }] };
  writeFileSync(net.file("data", "chats.jsonl"), `${JSON.stringify(chat)}\n`.repeat(8));
  const data = net.file("data", "chats.jsonl");
  const done = await net.cli("buyer", "finetune", "--encrypt", "--folder", net.file("tiny"), "--data", data, "--validation", data,
    "--context", "64", "--steps", "6", "--max-amount", "5", "--out", net.file("tuned"));
  assert.equal(done.state, "completed");
  assert.ok(is_safetensors(net.file("tuned", "model.safetensors")));
  assert.deepEqual(files_with(net.file("market"), secret_line), []);
});

test("what cannot be sealed is refused before anything is sent", async () => {
  writeFileSync(net.file("spec.json"), "{}");
  await assert.rejects(net.cli("buyer", "train", "--encrypt", "--spec", net.file("spec.json"), "--max-amount", "1"), /--encrypt/);
  await assert.rejects(net.cli("buyer", "train", "--encrypt", "--text", `0x${"ab".repeat(32)}`, "--max-amount", "1"), /--encrypt/);
  const quoted = await train("--dry-run", "--steps", "20", "--segment-steps", "10");
  assert.equal(quoted.matches, true);
});
