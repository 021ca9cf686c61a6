// SPDX-License-Identifier: Apache-2.0
// The account's stream as buyer, provider and command line see it, over a market that is killed; keys with a rate of their own.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { deposit_with_permit, dev_keys, privateKeyToAccount, root } from "../../scripts/lib/chain.mjs";
import { Devnet } from "../../scripts/lib/devnet.mjs";
import { EventReader } from "../../scripts/lib/events.mjs";
import { Rest, small_text_spec } from "../../scripts/lib/rest.mjs";
import { until } from "../../scripts/lib/wait.mjs";

const folder = join(root, "build/test/events");
const buyer = privateKeyToAccount(dev_keys.buyer);
const provider = privateKeyToAccount(dev_keys.provider1);
let net;
let theirs; // the provider's client
let key; // the buyer's, which outlives a restart
const readers = [];

async function open(query = "", token = key, headers = {}) {
  const reader = await EventReader.open(`${net.market_url}/v1/account/events${query}`, token, headers);
  readers.push(reader);
  return reader;
}
const kinds = (reader) => reader.events.map((one) => one.event);
const causes = (reader) => reader.events.filter((one) => one.event === "account.balance").map((one) => one.data.data.cause);
const wait_for = (reader, what, wanted) => until(`${what} (${kinds(reader)})`, () => reader.events.some(wanted), { timeout_ms: 60_000 });
const place_of = (event) => event.id.split("-").map(Number);
const is_before = ([a, b], [c, d]) => a < c || (a === c && b < d);

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain();
  await net.start_signer();
  await net.start_market();
  await net.make_wallet("buyer");
  await net.rest.sign_in(buyer);
  theirs = new Rest(net.market_url);
  await theirs.sign_in(provider);
  key = (await net.rest.request("POST", "/v1/api-keys", { body: { scopes: ["account"] } })).json.key;
});
after(async () => {
  await Promise.all(readers.map((one) => one.stop()));
  await net?.stop();
});

let watching;
let selling;

test("buyer and provider each hear of their own, from deposit to payment, in the webhooks' words", async () => {
  watching = await open();
  selling = await open("", theirs.token);
  assert.equal(watching.headers.get("content-type"), "text/event-stream");
  const hook = (await net.rest.request("POST", "/v1/webhooks", { body: { url: "https://hooks.invalid/x" } })).json;
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 100_000_000);
  await wait_for(watching, "the deposit", (one) => one.data.data?.cause === "deposit");
  await net.start_worker("worker", "provider1", { setup: ["--threads", "1"] });
  const blob = await net.rest.upload("It was the best of times, it was the worst of times. ".repeat(200));
  const { id } = await net.rest.post_job(buyer, small_text_spec(blob));
  await net.job_done(id);
  await net.settled(id);
  await wait_for(watching, "the lease's end", (one) => one.event === "lease.closed");
  await wait_for(selling, "the lease's end", (one) => one.event === "lease.closed");

  assert.equal(kinds(watching)[0], "reset");
  for (const kind of ["job.open", "lease.matched", "job.matched", "job.running", "job.completed", "settlement.paid"]) assert.ok(kinds(watching).includes(kind), kind);
  for (const cause of ["deposit", "hold", "charge", "refund"]) assert.ok(causes(watching).includes(cause), `${cause}: ${causes(watching)}`);
  assert.ok(!causes(watching).includes("earning"));
  assert.deepEqual([...new Set(causes(selling))], ["earning"]);
  for (const kind of ["worker.connected", "order.accepted", "lease.matched", "settlement.paid"]) assert.ok(kinds(selling).includes(kind), kind);
  assert.ok(!kinds(selling).some((kind) => kind.startsWith("job.")), "a job is its buyer's");
  for (const reader of [watching, selling]) {
    const told = reader.events.slice(1);
    for (const one of told) {
      assert.equal(one.event, one.data.type);
      assert.equal(place_of(one)[0], one.data.data.sequence);
    }
    for (let i = 1; i < told.length; ++i) assert.ok(is_before(place_of(told[i - 1]), place_of(told[i])), `${told[i].id} after ${told[i - 1].id}`);
  }
  // The last balance is the account's.
  const now = await net.rest.get(`/v1/accounts/${buyer.address}`);
  const last = watching.events.findLast((one) => one.event === "account.balance").data.data;
  assert.deepEqual([last.available, last.held], [now.available, now.held]);
  // What a webhook is called with.
  const sent = await until("the deliveries", async () => {
    const page = (await net.rest.get(`/v1/webhooks/${hook.id}/deliveries?limit=100`)).data;
    return page.some((one) => one.type === "lease.closed") && page;
  });
  const streamed = new Set(watching.events.map((one) => JSON.stringify(one.data)));
  assert.ok(sent.length >= 10);
  for (const one of sent) assert.ok(streamed.has(JSON.stringify(one.payload)), JSON.stringify(one.payload));
  await net.rest.request("DELETE", `/v1/webhooks/${hook.id}`);
});

test("a market that is killed keeps every reader's place", async () => {
  const all = watching.events.slice(1);
  const middle = all[Math.floor(all.length / 2)];
  await net.processes.kill9("market");
  await watching.done;
  await net.start_market();
  const again = await open("", key, { "last-event-id": middle.id });
  await wait_for(again, "the lease's end", (one) => one.event === "lease.closed");
  // Behind it the same, word for word, and nothing twice; what came with the restart follows.
  const rest = all.slice(all.indexOf(middle) + 1);
  assert.deepEqual(again.events.slice(0, rest.length), rest);
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 1_000_000);
  await until("the deposit", () => causes(again).filter((one) => one === "deposit").length === (rest.some((one) => one.data.data.cause === "deposit") ? 2 : 1), { timeout_ms: 60_000 });
  const some = await open("?after=0&events=settlement.paid,job.completed");
  await wait_for(some, "the payment", (one) => one.event === "settlement.paid");
  assert.deepEqual([...new Set(kinds(some))].sort(), ["job.completed", "settlement.paid"]);
});

test("`millrace events` tells the same in words and as JSON", async () => {
  const program = join(process.env.MILLRACE_BIN ?? join(root, "build/release/bin"), "millrace");
  const watch = (...args) => {
    const child = spawn(program, [...net.cli_options("buyer"), "events", ...args], { stdio: ["ignore", "pipe", "pipe"] });
    const out = { text: "", errors: "", child };
    child.stdout.on("data", (piece) => (out.text += piece));
    child.stderr.on("data", (piece) => (out.errors += piece));
    return out;
  };
  const seen = [watch("--after", "0"), watch("--after", "0", "--event", "account.*", "--json")];
  try {
    await until("lines", () => /lease\.closed/.test(seen[0].text) && /"cause":"refund"/.test(seen[1].text), { timeout_ms: 30_000 });
    const lines = seen[0].text.trim().split("\n");
    assert.ok(lines.some((line) => /^\d\d:\d\d:\d\d {2}account\.balance {5}deposit: 100\.98 to spend, 0 held, 0 earned$/.test(line)), seen[0].text);
    assert.ok(lines.some((line) => /job\.completed {7}job_\S+ after \d+ units/.test(line)), seen[0].text);
    for (const line of seen[1].text.trim().split("\n")) {
      const { id, type, data } = JSON.parse(line);
      assert.equal(type, "account.balance");
      assert.equal(Number(id.split("-")[0]), data.sequence);
    }
  } finally {
    for (const one of seen) one.child.kill();
  }
  await assert.rejects(net.cli("buyer", "events", "--event", "nothing"), (error) => error.exit_code === 2);
  await assert.rejects(net.cli("buyer", "events", "--after", "x&y"), (error) => error.exit_code === 2);
});

test("a key past its own rate waits alone", async () => {
  await net.rest.sign_in(buyer);
  const made = await net.cli("buyer", "keys", "create", "--rate", "5");
  assert.equal(made.requests_per_minute, 5);
  const ask = (token) => fetch(`${net.market_url}/v1/auth/session`, { headers: { authorization: `Bearer ${token}` } });
  const answers = [];
  for (let i = 0; i < 6; ++i) answers.push(await ask(made.key));
  assert.deepEqual(answers.map((one) => one.status), [200, 200, 200, 200, 200, 429]);
  assert.equal(answers[0].headers.get("ratelimit-policy"), '"key";q=5;w=60');
  const wait_s = Number(answers[5].headers.get("retry-after"));
  assert.ok(wait_s >= 1 && wait_s <= 12, String(wait_s));
  assert.equal((await ask(key)).status, 200);
  assert.equal((await ask(net.rest.token)).status, 200);
});
