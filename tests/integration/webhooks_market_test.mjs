// SPDX-License-Identifier: Apache-2.0
// Webhooks as a receiver sees them: verified with the public library, against a market that is restarted and killed.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as create_tls_server } from "node:https";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Webhook } from "../../scripts/lib/webhook.mjs";
import { deposit_with_permit, dev_keys, privateKeyToAccount, root } from "../../scripts/lib/chain.mjs";
import { Devnet } from "../../scripts/lib/devnet.mjs";
import { small_text_spec } from "../../scripts/lib/rest.mjs";
import { until } from "../../scripts/lib/wait.mjs";

const folder = join(root, "build/test/webhooks");
const buyer = privateKeyToAccount(dev_keys.buyer);
const provider = privateKeyToAccount(dev_keys.provider1);
const anywhere = { webhooks_to_private: true };
let net;

/** Somebody's web server: notes what arrives and answers as it is told. */
class Receiver {
  calls = [];
  status = 200;
  headers = {};

  async start({ tls, port = 0 } = {}) {
    const hear = (request, response) => {
      const chunks = [];
      request.on("data", (chunk) => chunks.push(chunk));
      request.on("end", () => {
        this.calls.push({ method: request.method, path: request.url, headers: request.headers, body: Buffer.concat(chunks).toString() });
        response.writeHead(this.status, this.headers).end();
      });
    };
    this.server = tls ? create_tls_server(tls, hear) : createServer(hear);
    await new Promise((resolve) => this.server.listen(port, "127.0.0.1", resolve));
    this.port = this.server.address().port;
    this.url = `${tls ? "https" : "http"}://127.0.0.1:${this.port}/hook`;
    return this;
  }

  stop() {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(resolve));
  }

  types() {
    return this.calls.map((call) => JSON.parse(call.body).type);
  }

  /** Waits for an event of this type; gives its call. */
  async event(type, { timeout_ms = 60_000 } = {}) {
    return until(`the event ${type} (${this.types()})`, () => this.calls.find((call) => JSON.parse(call.body).type === type), { timeout_ms });
  }
}

async function create(url, events, rest = net.rest) {
  const answer = await rest.request("POST", "/v1/webhooks", { body: { url, ...(events ? { events } : {}) } });
  assert.equal(answer.status, 201, answer.text);
  return answer.json;
}
const remove = (hook) => net.rest.request("DELETE", `/v1/webhooks/${hook.id}`);
const deliveries = async (hook) => (await net.rest.get(`/v1/webhooks/${hook.id}/deliveries`)).data;
const send_test = (hook) => net.rest.request("POST", `/v1/webhooks/${hook.id}/test`);
const delivery = (hook, wanted) => until("a delivery in the log", async () => (await deliveries(hook)).find(wanted), { timeout_ms: 40_000 });

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain();
  await net.start_signer();
  // A certificate for 127.0.0.1 that the market of the later tests trusts, and nobody else.
  for (const name of ["good", "stranger"]) {
    execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=receiver",
      "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", net.file(`${name}.key`), "-out", net.file(`${name}.pem`)], { stdio: "ignore" });
  }
  await net.start_market();
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 100_000_000);
  await net.rest.sign_in(buyer);
});
after(() => net?.stop());

async function restart(change, env) {
  await net.processes.stop("market");
  await net.start_market(change, { env });
  await net.rest.sign_in(buyer);
}
const tls_of = (name) => ({ key: readFileSync(net.file(`${name}.key`)), cert: readFileSync(net.file(`${name}.pem`)) });

test("a market that was not told otherwise calls no loopback address, by number or by name", async () => {
  const receiver = await new Receiver().start();
  for (const url of [receiver.url, `https://127.0.0.1:${receiver.port}/`, "https://[::1]/", "https://10.0.0.1/", "https://169.254.169.254/latest",
    "https://100.64.0.1/", "https://[::ffff:127.0.0.1]/", "https://224.0.0.1/", "http://example.com/", "ftp://example.com/"]) {
    const answer = await net.rest.request("POST", "/v1/webhooks", { body: { url } });
    assert.equal(answer.json?.code, "invalid_field", `${url}: ${answer.text}`);
  }
  const hook = await create(`https://localhost:${receiver.port}/`);
  await send_test(hook);
  const sent = await delivery(hook, (one) => one.attempts === 1);
  assert.equal(sent.last_failure, "private_address");
  assert.equal(receiver.calls.length, 0);
  await remove(hook);
  await receiver.stop();
});

test("a test event arrives and verifies with the public library; a wrong secret does not", async () => {
  await restart(anywhere, { SSL_CERT_FILE: net.file("good.pem") });
  const receiver = await new Receiver().start();
  const hook = await create(receiver.url);
  assert.equal((await send_test(hook)).status, 202);
  const call = await receiver.event("webhook.test");
  const payload = new Webhook(hook.secret).verify(call.body, call.headers);
  assert.equal(payload.data.webhook, hook.id);
  assert.equal(call.method, "POST");
  assert.equal(call.headers["content-type"], "application/json");
  assert.throws(() => new Webhook(`whsec_${Buffer.alloc(32).toString("base64")}`).verify(call.body, call.headers));
  assert.throws(() => new Webhook(hook.secret).verify(`${call.body} `, call.headers));
  const sent = await delivery(hook, (one) => one.state === "delivered");
  assert.equal(sent.id, call.headers["webhook-id"]);
  assert.equal(sent.last_status, 200);

  const rotated = (await net.rest.request("POST", `/v1/webhooks/${hook.id}/rotate`)).json;
  assert.notEqual(rotated.secret, hook.secret);
  receiver.calls.length = 0;
  await send_test(hook);
  const later = await receiver.event("webhook.test");
  for (const secret of [rotated.secret, hook.secret]) new Webhook(secret).verify(later.body, later.headers);
  assert.equal(later.headers["webhook-signature"].split(" ").length, 2);
  await remove(hook);
  await receiver.stop();
});

test("https: a certificate that is trusted is called, another is not", async () => {
  const good = await new Receiver().start({ tls: tls_of("good") });
  const stranger = await new Receiver().start({ tls: tls_of("stranger") });
  const hooks = { good: await create(good.url), stranger: await create(stranger.url) };
  for (const hook of Object.values(hooks)) await send_test(hook);
  await good.event("webhook.test");
  assert.equal((await delivery(hooks.stranger, (one) => one.attempts === 1)).last_failure, "tls");
  assert.equal(stranger.calls.length, 0);
  for (const hook of Object.values(hooks)) await remove(hook);
  await Promise.all([good.stop(), stranger.stop()]);
});

test("a redirect is not followed", async () => {
  const target = await new Receiver().start();
  const receiver = await new Receiver().start();
  receiver.status = 307;
  receiver.headers = { location: target.url };
  const hook = await create(receiver.url);
  await send_test(hook);
  const sent = await delivery(hook, (one) => one.attempts === 1);
  assert.equal(sent.last_failure, "redirect");
  assert.equal(sent.last_status, 307);
  assert.equal(target.calls.length, 0);
  await remove(hook);
  await Promise.all([target.stop(), receiver.stop()]);
});

test("the events of a job reach buyer and provider, each its own, in order", async () => {
  const receiver = await new Receiver().start();
  const other = await new Receiver().start();
  const hook = await create(receiver.url);
  const provider_rest = Object.assign(Object.create(Object.getPrototypeOf(net.rest)), net.rest);
  await provider_rest.sign_in(provider);
  const provider_hook = await create(other.url, ["lease.*", "settlement.paid", "order.accepted", "worker.*"], provider_rest);
  await net.start_worker("worker", "provider1", { setup: ["--threads", "1"] });
  const blob = await net.rest.upload("It was the best of times, it was the worst of times. ".repeat(400));
  const { id } = await net.rest.post_job(buyer, small_text_spec(blob));
  await receiver.event("job.completed", { timeout_ms: 120_000 });
  await receiver.event("settlement.paid");
  await other.event("settlement.paid");
  for (const call of receiver.calls) new Webhook(hook.secret).verify(call.body, call.headers);
  for (const call of other.calls) new Webhook(provider_hook.secret).verify(call.body, call.headers);
  const bodies = receiver.calls.map((call) => JSON.parse(call.body));
  const of_job = bodies.filter((one) => one.data.job === id && one.type.startsWith("job.")).map((one) => one.type);
  assert.deepEqual(of_job.filter((type) => type !== "job.unmatched"), ["job.open", "job.matched", "job.assigned", "job.running", "job.completed"]);
  const sequences = bodies.map((one) => one.data.sequence);
  assert.deepEqual(sequences, sequences.toSorted((a, b) => a - b));
  const leases = (await net.job_leases(id)).map((lease) => lease.id);
  const paid = bodies.find((one) => one.type === "settlement.paid");
  assert.ok(leases.includes(paid.data.lease) && BigInt(paid.data.paid) > 0n);
  const types = new Set(other.types());
  for (const type of ["worker.connected", "order.accepted", "lease.open", "lease.running", "settlement.paid"])
    assert.ok(types.has(type), `${type} of ${[...types]}`);
  assert.ok(![...types].some((type) => type.startsWith("job.") || type.startsWith("account.")));
  const ids = receiver.calls.map((call) => call.headers["webhook-id"]);
  assert.equal(new Set(ids).size, ids.length);
  await remove(hook);
  await Promise.all([receiver.stop(), other.stop()]);
});

test("a receiver that is down gets the event when it is up again, under one id; also across kill -9 of the market", async () => {
  const { port } = await new Receiver().start().then(async (one) => (await one.stop(), one));
  const hook = await create(`http://127.0.0.1:${port}/hook`, ["job.cancelled", "job.open"]);
  const { id } = await net.rest.post_job(buyer, small_text_spec(await net.rest.upload("text ".repeat(2000))), { priceCeiling: 1n });
  const waiting = await delivery(hook, (one) => one.type === "job.open" && one.attempts === 1);
  assert.equal(waiting.state, "pending");
  assert.equal(waiting.last_failure, "unreachable");
  await net.rest.request("POST", `/v1/jobs/${id}/cancel`, { body: {} });
  await net.processes.kill9("market");
  const receiver = await new Receiver().start({ port });
  await net.start_market(anywhere);
  await net.rest.sign_in(buyer);
  const opened = await receiver.event("job.open");
  await receiver.event("job.cancelled");
  assert.equal(opened.headers["webhook-id"], waiting.id);
  new Webhook(hook.secret).verify(opened.body, opened.headers);

  // One that arrived is sent again when it is asked for, and is the same message.
  receiver.calls.length = 0;
  await delivery(hook, (one) => one.id === waiting.id && one.state === "delivered");
  const again = await net.rest.request("POST", `/v1/webhooks/${hook.id}/deliveries/${waiting.id}/redeliver`);
  assert.equal(again.status, 202, again.text);
  const repeated = await receiver.event("job.open");
  assert.equal(repeated.headers["webhook-id"], waiting.id);
  assert.equal(repeated.body, opened.body);
  await remove(hook);
  await receiver.stop();
});

test("410 disables a webhook with its reason; enabled again it is called", async () => {
  const receiver = await new Receiver().start();
  receiver.status = 410;
  const hook = await create(receiver.url);
  await send_test(hook);
  await delivery(hook, (one) => one.state === "failed");
  assert.equal((await net.rest.get(`/v1/webhooks/${hook.id}`)).disabled_reason, "gone");
  assert.equal((await send_test(hook)).json.code, "wrong_state");
  receiver.status = 200;
  receiver.calls.length = 0;
  const enabled = await net.rest.request("PATCH", `/v1/webhooks/${hook.id}`, { body: { enabled: true } });
  assert.equal(enabled.json.enabled, true);
  await send_test(hook);
  await receiver.event("webhook.test");
  await remove(hook);
  await receiver.stop();
});

test("the command line: add, test, deliveries, rotate, remove", async () => {
  const receiver = await new Receiver().start();
  await net.make_wallet("buyer");
  const made = await net.cli("buyer", "webhooks", "add", receiver.url, "--event", "job.*");
  assert.match(made.secret, /^whsec_/);
  assert.deepEqual(made.events, ["job.*"]);
  await net.cli("buyer", "webhooks", "test", made.id);
  const call = await receiver.event("webhook.test");
  new Webhook(made.secret).verify(call.body, call.headers);
  assert.equal((await net.cli("buyer", "webhooks")).data.at(-1).id, made.id);
  const sent = await until("the delivery", async () =>
    (await net.cli("buyer", "webhooks", "deliveries", made.id)).data.find((one) => one.state === "delivered"));
  receiver.calls.length = 0;
  await net.cli("buyer", "webhooks", "redeliver", made.id, sent.id);
  await receiver.event("webhook.test");
  assert.notEqual((await net.cli("buyer", "webhooks", "rotate", made.id)).secret, made.secret);
  assert.equal((await net.cli("buyer", "webhooks", "remove", made.id)).deleted, true);
  await receiver.stop();
});
