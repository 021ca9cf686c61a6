// SPDX-License-Identifier: Apache-2.0
// The exchange as people see it: orders through REST signed by viem, quotes with reasons, and a match that shows in
// trades, candles, depth and on the stream, which resumes after a cut and after a restart of the market.
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { events } from "../../scripts/lib/chain_totals.mjs";
import { cancel_order, deposit_with_permit, dev_keys, generatePrivateKey, privateKeyToAccount, root } from "../../scripts/lib/chain.mjs";
import { Devnet } from "../../scripts/lib/devnet.mjs";
import { job_id, random_hash, small_text_spec } from "../../scripts/lib/rest.mjs";
import { connect_worker, register_worker } from "../../scripts/lib/worker_socket.mjs";

const folder = join(root, "build/test/exchange");
const buyer = privateKeyToAccount(dev_keys.buyer);
const provider = privateKeyToAccount(dev_keys.provider1);
const stranger = privateKeyToAccount(generatePrivateKey());
const worker_key = generatePrivateKey();
const worker = privateKeyToAccount(worker_key);
const machine = {
  cpu_cores: 2, gpu_count: 1, gpu_model: "cpu", max_flops_per_step: 1_000_000_000_000, ram_mib: 4096, region: "local",
  runtime: "libtorch-1.13.1-cpu", vram_mib: 4096,
};
let net;
let rest;
let blob;
let socket;

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain({ "min-bond": 0 });
  await net.start_signer();
  await net.start_market({ worker_grace_ms: 600_000 });
  rest = net.rest;
  await register_worker(net.chain, net.deployment, dev_keys.provider1, worker_key);
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 100_000_000);
  await rest.sign_in(buyer);
  blob = await rest.upload("It was the best of times, it was the worst of times. ".repeat(200));
  socket = await connect_worker(net.market_url, dev_keys.provider1, worker_key, machine);
  await net.processes.until("market", "the deposit to be seen", async () =>
    Number((await rest.get(`/v1/accounts/${buyer.address}`)).available) >= 100_000_000);
});
after(async () => {
  socket?.terminate();
  await net?.stop();
});

const spec = (change) => small_text_spec(blob, change);
const post_ask = async (change, options) => {
  const answer = await rest.request("POST", "/v1/market/orders", { body: await rest.ask_body(provider, worker.address, change, options) });
  assert.equal(answer.status, 201, answer.text);
  return answer.json;
};
const quote = async (change, options) => {
  const answer = await rest.request("POST", "/v1/market/quotes", { body: await rest.job_body(buyer, spec(), change, options) });
  assert.equal(answer.status, 200, answer.text);
  return answer.json;
};
const depth = () => rest.get("/v1/market/depth?unit_kind=training_step&gpu_model=cpu");

/** Follows the stream; gives what came once `enough` says so. */
async function follow(last_event_id, enough) {
  const cut = new AbortController();
  const headers = last_event_id === undefined ? {} : { "last-event-id": String(last_event_id) };
  const timer = setTimeout(() => cut.abort(new Error("the stream says nothing more")), 10_000);
  const events = [];
  try {
    const response = await fetch(`${net.market_url}/v1/market/stream`, { headers, signal: cut.signal });
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    let text = "";
    for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
      text += piece;
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const lines = Object.fromEntries(text.slice(0, end).split("\n").map((line) => {
          const colon = line.indexOf(": ");
          return [line.slice(0, colon), line.slice(colon + 2)];
        }));
        text = text.slice(end + 2);
        if (lines.event) events.push({ id: lines.id && Number(lines.id), event: lines.event, ...JSON.parse(lines.data) });
      }
      if (enough(events)) return events;
    }
    throw new Error("the stream ended");
  } finally {
    clearTimeout(timer);
    cut.abort();
  }
}
const has = (name) => (events) => events.some((event) => event.event === name);
const last_id = (events) => events.filter((event) => event.id !== undefined).at(-1).id;

let ask;
let place; // on the stream

describe("before anything is sold", () => {
  test("the stream begins with a reset and tells of an ask, its level last", async () => {
    let posting;
    const events = await follow(undefined, (so_far) => {
      if (has("reset")(so_far)) posting ??= post_ask({ price: 500n });
      return has("level")(so_far);
    });
    ask = await posting;
    assert.equal(events[0].event, "reset");
    const [accepted, level] = events.slice(-2);
    assert.deepEqual([accepted.event, accepted.ask, accepted.price], ["order_accepted", ask.id, "500"]);
    assert.deepEqual([level.event, level.id], ["level", level.sequence]);
    assert.equal(accepted.id, undefined, "only the record's last event has its number");
    place = last_id(events);
    const { asks, sequence } = await depth();
    assert.deepEqual([asks[0].price, asks[0].orders, asks[0].gpu_models, sequence], ["500", 1, ["cpu"], place]);
  });

  test("a quote names price and lock, and posts nothing", async () => {
    const answer = await quote();
    assert.equal(answer.matches, true);
    assert.equal(answer.legs[0].ask, ask.id);
    assert.deepEqual([answer.legs[0].price, answer.legs[0].locked], ["500", "20000"]);
    assert.deepEqual([answer.candidates, answer.total, answer.worst_case], [1, "20000", "40000"]);
    assert.ok(answer.starts_ms <= Date.now());
    assert.equal((await rest.get("/v1/jobs")).data.length, 0);
  });

  test("a quote that finds nothing says why, with counts and the nearest miss", async () => {
    const dear = await quote({ priceCeiling: 100n });
    assert.equal(dear.matches, false);
    assert.equal(dear.reasons.failed.price, 1);
    assert.equal(dear.reasons.nearest.price, "500");
    assert.match(dear.reasons.text, /^1 ask: 1 above the price \(cheapest 0\.0005\)$/);
    const big = await quote({}, { constraints: { min_vram_mib: 80_000 } });
    assert.match(big.reasons.text, /1 with less VRAM \(largest 4096 MiB\)/);
    const nowhere = await quote({}, { constraints: { regions: ["mars"] } });
    assert.equal(nowhere.reasons.failed.region, 1);
  });

  test("a quote of a wrong order has its code; one that nobody can serve has its reasons", async () => {
    const wrong = await rest.request("POST", "/v1/market/quotes", {
      body: await rest.job_body(buyer, spec(), {}, {
        constraints: { providers: [provider.address], exclude_providers: [provider.address] },
      }),
    });
    assert.deepEqual([wrong.status, wrong.json.code], [400, "invalid_field"], wrong.text);
    const gang = await quote({ volume: 200n }, { constraints: { gang: 5 } });
    assert.equal(gang.matches, false);
  });
});

describe("amending and cancelling", () => {
  test("an ask is amended by its provider: the old one leaves, the new one stands", async () => {
    const body = await rest.ask_body(provider, worker.address, { price: 400n });
    const answer = await rest.request("POST", `/v1/market/orders/${ask.id}/amend`, { body });
    assert.equal(answer.status, 201, answer.text);
    const again = await rest.request("POST", `/v1/market/orders/${ask.id}/amend`, { body: await rest.ask_body(provider, worker.address) });
    assert.equal(again.json.code, "already_cancelled", again.text);
    assert.equal((await rest.get(`/v1/market/orders/${ask.id}`)).state, "closed");
    ask = answer.json;
    assert.deepEqual((await depth()).asks.map((level) => level.price), ["400"]);
  });

  test("a waiting job is amended and cancelled, says why it waits, and is in the list of bids", async () => {
    const posted = await rest.post_job(buyer, spec(), { priceCeiling: 10n });
    assert.equal(posted.state, "open");
    assert.match(posted.mismatches.text, /1 above the price \(cheapest 0\.0004\)/);
    assert.deepEqual((await depth()).bids.map((level) => [level.price, level.units]), [["10", "40"]]);
    const answer = await rest.request("POST", `/v1/jobs/${posted.id}/amend`, { body: await rest.job_body(buyer, spec(), { priceCeiling: 20n }) });
    assert.equal(answer.status, 201, answer.text);
    assert.equal((await rest.get(`/v1/jobs/${posted.id}`)).state, "cancelled");
    assert.deepEqual((await depth()).bids.map((level) => level.price), ["20"]);
    const bids = (await rest.get(`/v1/market/bids?buyer=${buyer.address}&state=open`)).data;
    assert.deepEqual(bids.map((bid) => [bid.job, bid.bid.priceCeiling]), [[answer.json.id, "20"]]);
    assert.equal((await rest.request("POST", `/v1/jobs/${answer.json.id}/cancel`)).json.state, "cancelled");
    assert.deepEqual((await depth()).bids, []);
    assert.equal((await rest.request("POST", `/v1/jobs/${answer.json.id}/cancel`)).json.code, "already_cancelled");
  });
});

describe("bad input", () => {
  const refused = (answer, status, code) => {
    assert.equal(answer.json?.code, code, answer.text);
    assert.equal(answer.status, status, answer.text);
  };
  const asks = [
    ["price 0", { price: 0n }, "invalid_price"],
    ["a price beyond the limit", { price: 2n ** 63n }, "invalid_price"],
    ["quantity 0", { maxUnits: 0n }, "invalid_quantity"],
    ["quantity 2^63", { maxUnits: 2n ** 63n }, "invalid_quantity"],
    ["volume 2^63", { volume: 2n ** 63n }, "invalid_quantity"],
    ["an end before its start", { earliest: 2_000_000_000n, expiry: 1_900_000_000n }, "invalid_window"],
    ["an end in the past", { earliest: 1n, expiry: 2n }, "expired"],
    ["another matcher", { matcher: stranger.address }, "invalid_field"],
  ];
  for (const [name, change, code] of asks) {
    test(`an ask with ${name} is ${code}`, async () => {
      const body = await rest.ask_body(provider, worker.address, change);
      refused(await rest.request("POST", "/v1/market/orders", { body }), code === "invalid_field" ? 400 : 422, code);
    });
  }
  const bids = [
    ["ceiling 0", { priceCeiling: 0n }, "invalid_price"],
    ["volume 2^63", { volume: 2n ** 63n }, "invalid_quantity"],
    ["volume below its steps", { volume: 1n }, "invalid_quantity"],
    ["a deadline before its start", { earliest: 2_000_000_000n, deadline: 1_900_000_000n }, "invalid_window"],
  ];
  for (const [name, change, code] of bids) {
    test(`a bid with ${name} is ${code}`, async () => {
      const body = await rest.job_body(buyer, spec(), change);
      refused(await rest.request("POST", "/v1/jobs", { body }), 422, code);
    });
  }
  test("orders signed for another chain or contract are refused", async () => {
    const chain = await rest.ask_body(provider, worker.address, {}, { domain: { chainId: 1 } });
    refused(await rest.request("POST", "/v1/market/orders", { body: chain }), 422, "wrong_chain");
    const contract = await rest.job_body(buyer, spec(), {}, { domain: { verifyingContract: stranger.address } });
    refused(await rest.request("POST", "/v1/jobs", { body: contract }), 401, "invalid_signature");
  });
  test("unknown and foreign orders cannot be amended or cancelled", async () => {
    const theirs = await rest.ask_body(stranger, worker.address);
    refused(await rest.request("POST", `/v1/market/orders/${random_hash()}/amend`, { body: theirs }), 404, "not_found");
    refused(await rest.request("POST", `/v1/market/orders/${ask.id}/amend`, { body: theirs }), 403, "forbidden");
    refused(await rest.request("DELETE", `/v1/market/orders/${ask.id}`), 403, "forbidden"); // the buyer's session
    refused(await rest.request("DELETE", `/v1/market/orders/${random_hash()}`), 404, "not_found");
    refused(await rest.request("POST", `/v1/jobs/${job_id()}/amend`, { body: await rest.job_body(buyer, spec()) }), 404, "not_found");
    refused(await rest.request("POST", `/v1/jobs/${job_id()}/cancel`), 404, "not_found");
  });
  test("queries that make no sense have their code", async () => {
    refused(await rest.request("GET", "/v1/market/candles?unit_kind=training_step"), 400, "missing_field");
    refused(await rest.request("GET", "/v1/market/candles?unit_kind=training_step&gpu_model=cpu&from=9&to=1"), 422, "invalid_window");
    refused(await rest.request("GET", "/v1/market/trades?after=yesterday"), 400, "invalid_field");
  });
});

describe("a match", () => {
  let events;
  test("shows on the stream of a reader that was away, in order and without a gap", async () => {
    const job = await rest.post_job(buyer, spec(), { priceCeiling: 1000n });
    events = await follow(place, has("match"));
    assert.ok(!events.some((event) => event.event === "reset"), "a reset instead of the changes");
    const told = events.find((event) => event.event === "match");
    assert.equal(told.price, "400");
    assert.equal(told.units, "40");
    assert.deepEqual(job.leases, [told.lease]);
    const numbers = events.map((event) => event.sequence);
    assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b));
    assert.ok(numbers.every((number) => number > place));
  });

  test("shows in trades, candles and index, and takes the ask out of the depth", async () => {
    const { data } = await rest.get("/v1/market/trades?gpu_model=cpu&unit_kind=training_step");
    assert.equal(data.length, 1);
    assert.deepEqual([data[0].price, data[0].units, data[0].region], ["400", "40", "local"]);
    const candles = await rest.get("/v1/market/candles?unit_kind=training_step&gpu_model=cpu&interval=1d");
    assert.deepEqual([candles.data[0].open, candles.data[0].close, candles.data[0].volume], ["400", "400", "40"]);
    const index = (await rest.get("/v1/market/index")).data.find((row) => row.gpu_model === "cpu");
    assert.deepEqual([index.price, index.source], ["400", "trades"]);
    assert.deepEqual((await depth()).asks, []);
  });

  test("a restart of the market changes nothing of it, and the stream goes on", async () => {
    const before_restart = await rest.get("/v1/market/trades");
    place = last_id(await follow(place, has("match")));
    await net.processes.stop("market");
    await net.start_market({ worker_grace_ms: 600_000 });
    assert.deepEqual(await rest.get("/v1/market/trades"), before_restart);
    const posted = await post_ask({ price: 700n });
    const more = await follow(place, (all) => all.some((event) => event.ask === posted.id));
    assert.ok(!more.some((event) => event.event === "reset"));
    assert.ok(more.every((event) => event.sequence > place));
    assert.deepEqual((await rest.get("/v1/market/book?gpu_model=cpu")).asks.map((entry) => entry.price), ["400", "700"]);
  });

  test("the command line shows it", async () => {
    await net.make_wallet("buyer");
    const trades = await net.cli("buyer", "market", "trades");
    assert.equal(trades.data[0].price, "400");
    assert.equal((await net.cli("buyer", "market", "index")).object, "index");
    const text = await net.command("millrace", [...net.cli_options("buyer"), "market", "trades"]);
    assert.match(text, /training_step +cpu +local +on_demand +0\.0004 +40/);
    assert.ok(text.split("\n").every((line) => line.length <= 80), text);
  });
});

describe("cancelling on chain", () => {
  const cancelled_on_chain = async () =>
    (await events(net.chain, net.deployment, "Leases", "leases")).filter((event) => event.eventName === "OrderCancelled").map((event) => event.args.order);
  const code_of = async (promise) => promise.then(() => "done", (error) => error);
  const until_ended = (id) => net.processes.until("market", `${id} to end`, async () => {
    const job = await rest.get(`/v1/jobs/${id}`);
    return job.final ? job : undefined;
  }, { every_ms: 200 });
  const bid_of = async (job) => (await rest.get(`/v1/market/bids?buyer=${buyer.address}&limit=100`)).data.find((bid) => bid.job === job);
  const on_chain = (who, side, order) => cancel_order(net.chain, net.deployment, dev_keys[who], side, order);
  /** Returns once the market has read the chain up to here: events come in order. */
  const caught_up = async () => {
    const body = await rest.ask_body(provider, worker.address, { price: 900n });
    const { id } = (await rest.request("POST", "/v1/market/orders", { body })).json;
    await on_chain("provider1", "Ask", body.ask);
    await net.processes.until("market", "a cancellation to be seen", async () => (await rest.get(`/v1/market/orders/${id}`)).state === "closed");
  };

  test("an ask leaves the book, and cannot be posted again", async () => {
    await net.make_wallet("provider1");
    await rest.sign_in(buyer); // the restart forgot
    for (const job of (await rest.get("/v1/jobs?limit=100")).data)
      if (!job.final) await rest.request("POST", `/v1/jobs/${job.id}/cancel`);
    const posted = await post_ask({ price: 650n });
    const answer = await net.cli("provider1", "orders", "cancel", posted.id.slice(0, 20), "--on-chain");
    assert.deepEqual([answer.order, answer.seen], [posted.id, true]);
    assert.deepEqual(await cancelled_on_chain(), [posted.id]);
    assert.equal((await rest.get(`/v1/market/orders/${posted.id}`)).state, "closed");
    const { signature, resource, ask: message } = await rest.get(`/v1/market/orders/${posted.id}`);
    const again = await rest.request("POST", "/v1/market/orders", { body: { ask: message, signature, resource: JSON.stringify(resource) } });
    assert.equal(again.json.code, "replayed_order", again.text);
  });

  test("a bid that waits ends with its job; who does not own it does not find it", async () => {
    const posted = await rest.post_job(buyer, spec(), { priceCeiling: 10n });
    const bid = await bid_of(posted.id);
    const foreign = await code_of(net.cli("provider1", "orders", "cancel", bid.id, "--on-chain"));
    assert.match(foreign.output, /not_found/);
    await net.cli("buyer", "orders", "cancel", bid.id, "--on-chain");
    const job = await rest.get(`/v1/jobs/${posted.id}`);
    assert.deepEqual([job.state, job.reason], ["cancelled", "buyer_cancelled"]);
    assert.ok((await cancelled_on_chain()).includes(bid.id));
    const gone = await code_of(net.cli("buyer", "orders", "cancel", bid.id));
    assert.match(gone.output, /already_cancelled/);
  });

  test("a job at work goes on", async () => {
    const body = await rest.job_body(buyer, spec(), { priceCeiling: 600n });
    const posted = await rest.request("POST", "/v1/jobs", { body });
    await net.processes.until("market", "the lease to be open", async () => (await rest.get(`/v1/jobs/${posted.json.id}`)).state === "assigned");
    await on_chain("buyer", "Bid", body.bids[0].bid);
    await caught_up();
    assert.equal((await rest.get(`/v1/jobs/${posted.json.id}`)).state, "assigned");
    await rest.request("POST", `/v1/jobs/${posted.json.id}/cancel`);
    await net.settled(posted.json.id);
  });

  test("orders cancelled before they are posted are found out at the opening, once", async () => {
    const free = async () => (await rest.get(`/v1/accounts/${buyer.address}`)).available;
    const before_all = await free();
    // An ask: the job that matched it goes on elsewhere, the ask is off.
    const ask_body = await rest.ask_body(provider, worker.address, { price: 350n });
    await on_chain("provider1", "Ask", ask_body.ask);
    await on_chain("buyer", "Bid", (await rest.job_body(buyer, spec())).bids[0].bid); // of no effect
    await caught_up();
    const doomed = await rest.request("POST", "/v1/market/orders", { body: ask_body });
    assert.equal(doomed.status, 201, doomed.text);
    const job_body = await rest.job_body(buyer, spec(), { priceCeiling: 360n });
    const posted = await rest.request("POST", "/v1/jobs", { body: job_body });
    assert.equal(posted.json.leases.length, 1, posted.text);
    await net.processes.until("market", "the ask to be taken off", async () => (await rest.get(`/v1/market/orders/${doomed.json.id}`)).state === "closed");
    const waiting = await rest.get(`/v1/jobs/${posted.json.id}`);
    assert.deepEqual([waiting.state, waiting.reason, waiting.attempts], ["open", "chain_refused", 1]);
    assert.equal((await net.job_leases(posted.json.id))[0].state, "open_failed");
    await rest.request("POST", `/v1/jobs/${posted.json.id}/cancel`);
    // A bid: its job ends instead of trying every other ask.
    const sold = await post_ask({ price: 340n });
    const bid_body = await rest.job_body(buyer, spec(), { priceCeiling: 345n });
    await on_chain("buyer", "Bid", bid_body.bids[0].bid);
    await caught_up();
    const refused = await rest.request("POST", "/v1/jobs", { body: bid_body });
    assert.equal(refused.json.leases.length, 1, refused.text);
    const job = await until_ended(refused.json.id);
    assert.deepEqual([job.state, job.reason], ["cancelled", "buyer_cancelled"]);
    assert.deepEqual((await net.job_leases(job.id)).map((lease) => lease.state), ["open_failed"]);
    assert.equal((await rest.get(`/v1/market/orders/${sold.id}`)).state, "open");
    assert.equal(await free(), before_all, "nothing stays locked");
  });

  test("the market's replay holds", async () => {
    assert.equal((await net.cli("buyer", "replay", net.market_url)).ok ?? true, true);
  });
});
