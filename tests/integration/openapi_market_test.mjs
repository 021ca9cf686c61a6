// SPDX-License-Identifier: Apache-2.0
// The OpenAPI document against its standard, and every answer of a working market against the document. What the
// document does not name must not be there.
import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { deposit_with_permit, dev_keys, generatePrivateKey, privateKeyToAccount, root } from "../../scripts/lib/chain.mjs";
import { Devnet } from "../../scripts/lib/devnet.mjs";
import { launch_browser, no_browser } from "../../scripts/lib/browser.mjs";
import { EventReader } from "../../scripts/lib/events.mjs";
import { ApiContract, document_faults } from "../../scripts/lib/openapi.mjs";
import { Rest, canonical, sha256, small_text_spec } from "../../scripts/lib/rest.mjs";
import { until } from "../../scripts/lib/wait.mjs";
import { write_tiny_folder } from "./text/tiny_folder.mjs";

const folder = join(root, "build/test/openapi");
const buyer = privateKeyToAccount(dev_keys.buyer);
const provider = privateKeyToAccount(dev_keys.provider2);
const witness = privateKeyToAccount(generatePrivateKey());
const origin = "https://console.example";
let net;
let rest;
let document;
let contract;
let faults = [];

/** A client whose every answer, and every request that was taken, is held against the document. */
class CheckedRest extends Rest {
  async request(method, path, options) {
    const answer = await super.request(method, path, options);
    if (contract) {
      const body = answer.text === "" ? undefined : answer.json;
      faults.push(...contract.faults(method, path, answer.status, answer.headers.get("content-type"), body));
      if (answer.status < 300) faults.push(...contract.request_faults(method, path, options?.body));
    }
    return answer;
  }
}

/** The witness's signature of the head that waits for it, if one does. */
async function cosign() {
  const { signed_head: head } = await rest.get("/v1/log/head");
  if (!head || head.cosignature) return;
  const { size, root, timeMs } = head;
  const signature = await witness.signTypedData({
    domain: { ...(await rest.info()).eip712_domain, verifyingContract: net.deployment.receipt_log },
    types: { TreeHead: [{ name: "size", type: "uint64" }, { name: "root", type: "bytes32" }, { name: "timeMs", type: "uint64" }] },
    primaryType: "TreeHead", message: { size: BigInt(size), root, timeMs: BigInt(timeMs) },
  });
  await rest.request("POST", "/v1/log/head/cosignature", { body: { size, root, timeMs, signature } });
}

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain();
  await net.start_signer();
  await net.start_market({ cors_origins: [origin], log_json: true, log_requests: true, anchor_every_ms: 1_000, witness: witness.address });
  net.rest = rest = new CheckedRest(net.market_url);
  document = await rest.get("/openapi.json");
  writeFileSync(net.file("openapi.json"), JSON.stringify(document));
  contract = new ApiContract(document);
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 100_000_000);
  await net.start_worker("worker", "provider1", { setup: ["--threads", "1"] });
  await net.make_wallet("buyer");
  await rest.sign_in(buyer);
  await net.processes.until("market", "the deposit to be seen", async () =>
    Number((await rest.get(`/v1/accounts/${buyer.address}`)).available) >= 100_000_000);
});
after(() => net?.stop());

/** Of the answers since the last look. */
function no_faults() {
  const found = [...new Set(faults)];
  faults = [];
  assert.deepEqual(found, []);
}

test("the document is OpenAPI 3.1, and every operation is whole", async () => {
  assert.deepEqual(await document_faults(document), []);
  const ids = new Set();
  for (const { id, method, path, operation } of contract.operations()) {
    assert.ok(!ids.has(id), `${id} is there twice`);
    ids.add(id);
    assert.ok(operation.summary && operation.tags.length === 1, `${method} ${path}`);
    const json = Object.entries(operation.responses).find(([status]) => status < 300)[1].content?.["application/json"];
    if (json) assert.ok(json.schema.$ref || json.schema.properties?.data, `${id} says nothing of its answer`);
    if (["post", "put"].includes(method) && operation.security.length === 0) assert.ok(operation.requestBody, `${id} takes no body`);
  }
});

let blob;
let trained;
let serving;

test("the market, orders and jobs answer as documented", async () => {
  for (const path of ["/readyz", "/version", "/livez", "/metrics", "/v1/market/info", "/v1/market/book", "/v1/market/index", "/docs/errors", "/openapi.json"]) {
    assert.equal((await rest.request("GET", path)).status, 200, path);
  }
  const owner = new CheckedRest(net.market_url);
  await owner.sign_in(provider);
  const worker = privateKeyToAccount(generatePrivateKey()).address;
  for (const path of ["/v1/market/orders", "/v1/asks"]) {
    const ask = await rest.request("POST", path, { body: await rest.ask_body(provider, worker) });
    assert.equal(ask.status, 201, ask.text);
    await rest.get(`${path}/${ask.json.id}`);
    const amended = await rest.request("POST", `${path}/${ask.json.id}/amend`, { body: await rest.ask_body(provider, worker, { price: 900n }) });
    assert.equal(amended.status, 201, amended.text);
    await rest.get(`${path}?limit=1`);
    assert.equal((await owner.request("DELETE", `${path}/${amended.json.id}`)).status, 200);
  }
  blob = await rest.upload("It was the best of times, it was the worst of times. ".repeat(200));
  const spec = small_text_spec(blob);
  const quote = await rest.request("POST", "/v1/market/quotes", { body: await rest.job_body(buyer, spec) });
  assert.equal(quote.json.matches, true, quote.text);
  const { id } = await rest.post_job(buyer, spec);
  trained = await net.job_done(id);
  const dear = { priceCeiling: 1n }; // waits, and says why
  const waiting = await rest.post_job(buyer, spec, dear);
  await rest.get(`/v1/jobs/${waiting.id}`);
  await rest.get("/v1/market/bids");
  await rest.get("/v1/market/depth?unit_kind=training_step");
  const amended = await rest.request("POST", `/v1/jobs/${waiting.id}/amend`, { body: await rest.job_body(buyer, spec, { priceCeiling: 2n }) });
  assert.equal(amended.status, 201, amended.text);
  assert.equal((await rest.request("POST", `/v1/jobs/${amended.json.id}/cancel`)).status, 200);
  for (const path of [
    "/v1/jobs?limit=1", `/v1/jobs/${id}/leases`, `/v1/jobs/${id}/spec`, `/v1/jobs/${id}/events`, "/v1/market/trades",
    "/v1/market/candles?unit_kind=training_step&gpu_model=cpu&interval=1m",
  ]) await rest.get(path);
  no_faults();
});

test("both streams answer as documented", async () => {
  for (const path of ["/v1/market/stream?after=0", "/v1/account/events?after=0&events=account.*"]) {
    const reader = await EventReader.open(`${net.market_url}${path}`, rest.token);
    await until(`an event of ${path}`, () => reader.events.length > 0);
    faults.push(...contract.faults("GET", path, 200, reader.headers.get("content-type")), ...contract.request_faults("GET", path));
    await reader.stop();
  }
  no_faults();
});

test("accounts, leases, settlements and the log answer as documented", async () => {
  const [lease] = await net.settled(trained.id);
  const anchored = net.anchored();
  // Without its witness the market anchors nothing.
  await until("a head to be co-signed and anchored", async () => {
    await cosign();
    return Promise.race([anchored.then(() => true), pause(200)]);
  }, { timeout_ms: 60_000 });
  const key_path = `/v1/jobs/${trained.id}/keys/${lease.id}`;
  assert.equal((await rest.request("PUT", key_path, { body: { wrapped_key: `0x${"01".repeat(113)}` } })).status, 200);
  await rest.get(key_path);
  const head = await rest.get("/v1/log/head");
  for (const path of [
    "/v1/leases", `/v1/leases/${lease.id}`, "/v1/settlements?limit=1", `/v1/accounts/${buyer.address}`, `/v1/accounts/${buyer.address}/public-key`,
    `/v1/log/proof/inclusion?index=0&size=${head.size}`, `/v1/log/proof/consistency?first=1&second=${head.size}`,
  ]) await rest.get(path);
  assert.equal((await rest.request("GET", "/v1/log?limit=2")).status, 200);
  no_faults();
});

test("blobs, files, keys and sessions answer as documented", async () => {
  assert.equal((await rest.request("GET", `/v1/blobs/${blob}`)).status, 200);
  const bytes = "Call me Ishmael.";
  const path = `/v1/blobs/${sha256(bytes)}/upload`;
  assert.equal((await rest.request("POST", path, { headers: { "upload-length": String(bytes.length) } })).status, 201);
  assert.equal((await rest.request("GET", path)).status, 200);
  assert.equal((await rest.request("PATCH", path, { text: bytes, headers: { "upload-offset": "0" } })).status, 201);
  const given_up = `/v1/blobs/${sha256("never sent")}/upload`;
  assert.equal((await rest.request("POST", given_up, { headers: { "upload-length": "10" } })).status, 201);
  assert.equal((await rest.request("DELETE", given_up)).status, 204);
  const form = new FormData();
  form.append("purpose", "fine-tune");
  form.append("file", new Blob([`${JSON.stringify({ messages: [{ role: "user", content: "a" }, { role: "assistant", content: "b" }] })}\n`]), "a.jsonl");
  const stored = await fetch(`${net.market_url}/v1/files`, { method: "POST", body: form, headers: { authorization: `Bearer ${rest.token}` } });
  const file = await stored.json();
  faults.push(...contract.faults("POST", "/v1/files", stored.status, stored.headers.get("content-type"), file));
  for (const one of ["/v1/files", `/v1/files/${file.id}`, "/v1/fine_tuning/jobs", "/v1/auth/session", "/v1/api-keys"]) await rest.get(one);
  assert.equal((await rest.request("GET", `/v1/files/${file.id}/content`)).status, 200);
  assert.equal((await rest.request("DELETE", `/v1/files/${file.id}`)).status, 200);
  const key = (await rest.request("POST", "/v1/api-keys", { body: { label: "a", scopes: ["inference"], spend_cap: "1000" } })).json;
  const holder = new CheckedRest(net.market_url);
  holder.token = key.key;
  await holder.get("/v1/auth/session");
  assert.equal((await rest.request("DELETE", `/v1/api-keys/${key.id}`)).status, 200);
  no_faults();
});

test("webhooks answer as documented", async () => {
  const made = await rest.request("POST", "/v1/webhooks", { body: { url: "https://hooks.invalid/millrace", events: ["job.*"] } });
  assert.equal(made.status, 201, made.text);
  const path = `/v1/webhooks/${made.json.id}`;
  await rest.get("/v1/webhooks");
  await rest.get(path);
  assert.equal((await rest.request("PATCH", path, { body: { events: ["*"] } })).status, 200);
  assert.equal((await rest.request("POST", `${path}/rotate`)).status, 200);
  const sent = await rest.request("POST", `${path}/test`);
  assert.equal(sent.status, 202, sent.text);
  await net.processes.until("market", "the delivery to fail", async () => (await rest.get(`${path}/deliveries`)).data[0]?.attempts > 0);
  assert.equal((await rest.request("POST", `${path}/deliveries/${sent.json.id}/redeliver`)).status, 409, "it is still tried");
  for (const enabled of [false, true]) assert.equal((await rest.request("PATCH", path, { body: { enabled } })).status, 200);
  const again = await rest.request("POST", `${path}/deliveries/${sent.json.id}/redeliver`);
  assert.equal(again.status, 202, again.text);
  assert.equal((await rest.request("DELETE", path)).status, 200);
  no_faults();
});

test("models and completions answer as documented", async () => {
  const model = { ...small_text_spec(blob).model };
  const spec = { version: 1, kind: "infer.serve", model, weights: trained.checkpoint, tokenizer: "bytes", name: "documented-moby" };
  serving = await rest.post_job(buyer, spec, {}, {
    legs: [1, 2].map((unitKind) => ({ unitKind, volume: 100_000n, priceCeiling: 1_000_000n, maxAmount: 200_000n })),
  });
  await net.processes.until("market", "the model to be loaded", async () => (await net.job(serving.id)).state === "running", { timeout_ms: 60_000 });
  const published = await rest.request("POST", "/v1/models", { body: { spec: canonical(spec), public: true } });
  assert.equal(published.status, 201, published.text);
  await rest.get("/v1/models");
  await rest.get("/v1/models/documented-moby");
  await rest.get("/v1/models/documented-moby/spec");
  const ask = (path, body) => rest.request("POST", path, { body: { model: "documented-moby", max_tokens: 4, ...body } });
  assert.equal((await ask("/v1/completions", { prompt: "It", logprobs: 2 })).status, 200);
  assert.equal((await ask("/v1/chat/completions", { messages: [{ role: "user", content: "It" }], logprobs: true, top_logprobs: 2 })).status, 200);
  assert.equal((await ask("/v1/completions", { prompt: "It", stream: true })).status, 200);
  no_faults();
});

test("folders, embeddings and fine-tunings answer as documented", async () => {
  write_tiny_folder(net.file("tiny"));
  const chats = Array.from({ length: 16 }, () => JSON.stringify({ messages: [{ role: "user", content: "the user" }, { role: "assistant", content: "the whale" }] })).join("\n");
  writeFileSync(net.file("chats.jsonl"), chats);
  await net.cli("buyer", "serve", "tiny", "--folder", net.file("tiny"), "--max-amount", "0.4", "--wait", "60");
  assert.equal((await rest.request("POST", "/v1/embeddings", { body: { model: "tiny", input: "the whale" } })).status, 200);
  const form = new FormData();
  form.append("purpose", "fine-tune");
  form.append("file", new Blob([chats]), "chats.jsonl");
  const stored = await fetch(`${net.market_url}/v1/files`, { method: "POST", body: form, headers: { authorization: `Bearer ${rest.token}` } });
  const file = await stored.json();
  const order = async (steps) => (await net.cli("buyer", "finetune", "--folder", net.file("tiny"), "--data", net.file("chats.jsonl"), "--context", "64",
    "--max-amount", "5", "--steps", String(steps), "--segment-steps", "2", "--detach")).id;
  const done = await order(4);
  const body = { model: "tiny", training_file: file.id, metadata: { order: done } };
  const tuning = await rest.request("POST", "/v1/fine_tuning/jobs", { body });
  assert.equal(tuning.status, 200, tuning.text);
  const path = `/v1/fine_tuning/jobs/${tuning.json.id}`;
  await net.processes.until("market", "the fine-tuning to end", async () => (await rest.get(path)).status === "succeeded", { timeout_ms: 90_000 });
  for (const one of ["/v1/fine_tuning/jobs", `${path}/events`, `${path}/checkpoints`]) assert.ok((await rest.get(one)).data.length > 0, one);
  const cancelled = await rest.request("POST", `/v1/fine_tuning/jobs/ftjob-${(await order(100_000)).slice(4)}/cancel`);
  assert.equal(cancelled.json.status, "cancelled", cancelled.text);
  no_faults();
});

test("refusals answer as documented", async () => {
  const anonymous = new CheckedRest(net.market_url);
  for (const [method, path, status] of [
    ["GET", "/v1/jobs/job_0", 404], ["GET", "/v1/leases?limit=0", 422], ["POST", "/v1/jobs", 400], ["POST", "/v1/completions", 401],
    ["GET", "/v1/models/none", 404], ["POST", "/v1/api-keys", 401], ["GET", "/v1/files/none", 401], ["GET", "/v1/market/depth", 400],
  ]) {
    assert.equal((await anonymous.request(method, path, method === "POST" ? { body: {} } : {})).status, status, `${method} ${path}`);
  }
  no_faults();
});

test("every operation of the document was seen alive", () => {
  const good = new Set([...contract.seen].filter((one) => Number(one.split(" ")[1]) < 300).map((one) => one.split(" ")[0]));
  const missed = contract.operations().map((one) => one.id).filter((id) => !good.has(id));
  assert.deepEqual(missed, ["getPayment"]); // of payments up to an amount, which have a test of their own
});

test("large answers are compressed, have their own entity tag, and go on by Link", async () => {
  const ask = (headers) => fetch(`${net.market_url}/openapi.json`, { headers });
  const plain = await ask({ "accept-encoding": "identity" });
  assert.equal(plain.headers.get("content-encoding"), null);
  const size = (await plain.arrayBuffer()).byteLength;
  const raw = await rest.raw(`GET /openapi.json HTTP/1.1\r\nHost: ${new URL(net.market_url).host}\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n`);
  assert.match(raw, /content-encoding: gzip/i);
  assert.ok(Number(raw.match(/content-length: (\d+)/i)[1]) * 4 < size, "three quarters are saved");
  const zipped = await ask({ "accept-encoding": "gzip" });
  assert.deepEqual(await zipped.json(), document);
  assert.notEqual(zipped.headers.get("etag"), plain.headers.get("etag"));
  assert.equal((await ask({ "accept-encoding": "gzip", "if-none-match": zipped.headers.get("etag") })).status, 304);
  const seen = [];
  let next = "/v1/leases?limit=1";
  while (next) {
    const page = await rest.request("GET", next);
    seen.push(...page.json.data.map((one) => one.id));
    next = page.headers.get("link")?.match(/^<([^>]+)>; rel="next"$/)?.[1];
  }
  assert.deepEqual(seen, (await rest.get("/v1/leases?limit=100")).data.map((one) => one.id));
  assert.ok(seen.length >= 3);
});

test("browsers of a named origin may read answers and their headers, others may not", async () => {
  const preflight = await fetch(`${net.market_url}/v1/completions`, {
    method: "OPTIONS", headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization,payment-signature" },
  });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get("access-control-allow-origin"), origin);
  assert.match(preflight.headers.get("access-control-allow-headers"), /payment-signature/i);
  const answer = await fetch(`${net.market_url}/version`, { headers: { origin } });
  for (const name of ["x-request-id", "etag", "link", "ratelimit", "ratelimit-policy", "retry-after", "payment-required", "payment-response"]) {
    assert.match(answer.headers.get("access-control-expose-headers").toLowerCase(), new RegExp(name));
  }
  assert.match(answer.headers.get("ratelimit-policy"), /^"default";q=\d+;w=\d+$/);
  const stranger = await fetch(`${net.market_url}/version`, { headers: { origin: "https://console.example.evil" } });
  assert.equal(stranger.headers.get("access-control-allow-origin"), null);
});

test("/docs shows the document in a browser and asks nobody else", { skip: no_browser }, async () => {
  const browser = await launch_browser();
  try {
    const page = await browser.newPage();
    const asked = [];
    const blocked = [];
    page.on("request", (request) => asked.push(new URL(request.url())));
    page.on("console", (message) => /Content Security Policy/.test(message.text()) && blocked.push(message.text()));
    await page.goto(`${net.market_url}/docs`);
    await page.getByText("/v1/auth/siwe").filter({ visible: true }).first().waitFor({ timeout: 60_000 });
    const elsewhere = asked.filter((url) => url.protocol.startsWith("http") && url.origin !== net.market_url);
    assert.deepEqual(elsewhere.map(String), []);
    assert.deepEqual(blocked, []);
  } finally {
    await browser.close();
  }
});

test("every metric of the Grafana dashboard is there", async () => {
  const dashboard = JSON.parse(readFileSync(join(root, "marketplace/app/grafana.json"), "utf8"));
  const metrics = await (await fetch(`${net.market_url}/metrics`)).text();
  const named = new Set(JSON.stringify(dashboard).match(/millrace_[a-z_]+/g));
  assert.ok(named.size >= 10);
  for (const name of named) assert.match(metrics, new RegExp(`^${name}(\\{| )`, "m"), name);
  // Every sample follows the type line of its family.
  const families = new Map([...metrics.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map((match) => [match[1], match[2]]));
  for (const [, name] of metrics.matchAll(/^(millrace_[a-z_]+)/gm)) {
    assert.ok(families.has(name) || families.get(name.replace(/_(bucket|sum|count)$/, "")) === "histogram", name);
  }
});

test("the log is one JSON object a line, with a line for each request and nothing of its contents", () => {
  const lines = readFileSync(net.processes.log_path("market"), "utf8").trim().split("\n").filter((line) => line.startsWith("{"));
  const records = lines.map((line) => JSON.parse(line));
  const requests = records.filter((one) => one.message.startsWith("event=request"));
  assert.ok(requests.some((one) => /method=POST route=\/v1\/completions status=200/.test(one.message)));
  assert.ok(records.every((one) => Date.parse(one.time) > 0 && one.level));
  const text = lines.join("\n");
  assert.ok(!text.includes(rest.token) && !/mr[sk]_[0-9a-f]{8}/.test(text), "a log holds a token");
  assert.ok(!text.includes("?"), "a log holds a query");
  assert.ok(!text.includes("best of times"), "a log holds a body");
});
