// SPDX-License-Identifier: Apache-2.0
// Events in ranges of blocks, against nodes that refuse; and a wallet that changes its account and its chain.
import assert from "node:assert/strict";
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

/** What a browser keeps. */
const store = () => {
  const kept = new Map();
  return { getItem: (name) => kept.get(name) ?? null, setItem: (name, value) => kept.set(name, value), removeItem: (name) => kept.delete(name) };
};
Object.assign(globalThis, { localStorage: store(), sessionStorage: store() });

/** A node with events at some blocks, that refuses ranges longer than `length_max` and answers of more than `events_max`. */
function stingy_node(blocks, length_max, events_max = Infinity) {
  const calls = [];
  const read = async (first, last) => {
    calls.push([first, last]);
    if (last - first + 1n > BigInt(length_max)) throw new Error("block range is too large");
    const events = blocks.filter((block) => block >= first && block <= last);
    if (events.length > events_max && last > first) throw new Error("query returned too many results");
    return events;
  };
  return { calls, read };
}
const never = () => false;

test("block_walk: a node that refuses even one block, or does not answer, ends the walk; so does Stop", async () => {
  const { walk_blocks, RangeRefused, Stopped } = await load("block_walk");
  const closed = stingy_node([], 0);
  await assert.rejects(walk_blocks({ what: "x", first: 1n, last: 1_000_000n, read: closed.read, hopeless: never }), (error) => error instanceof RangeRefused && /too large/.test(error.cause.message));
  assert.ok(closed.calls.length <= 15, `${closed.calls.length} calls`);
  let calls = 0;
  const dead = async () => {
    ++calls;
    throw new Error("no route");
  };
  await assert.rejects(walk_blocks({ what: "x", first: 1n, last: 10n, read: dead, hopeless: () => true }), /no route/);
  assert.equal(calls, 1);
  const stop = new AbortController();
  const slow = stingy_node([], 10);
  const told = ({ looked }) => looked >= 50n && stop.abort();
  await assert.rejects(walk_blocks({ what: "x", first: 1n, last: 1_000n, read: slow.read, hopeless: never, watch: { told, signal: stop.signal } }), Stopped);
  assert.ok(slow.calls.length < 40);
});

test("block_walk: every event once and in order, whatever the node's limits, upward and downward", async () => {
  const { walk_blocks, span_max } = await load("block_walk");
  for (let round = 0; round < 60; ++round) {
    const first = BigInt(random(1_000));
    const all = random(round % 3 === 0 ? 200 : 60_000);
    const last = first + BigInt(all) - 1n; // none at all, too
    const blocks = Array.from({ length: random(100) }, () => BigInt(random(70_000))).sort((a, b) => Number(a - b));
    const length_max = 1 + random([30, 3_000, 100_000][round % 3]);
    const node = stingy_node(blocks, length_max, 1 + random(40));
    const heard = [];
    const downward = random(2) === 1;
    const found = await walk_blocks({ what: "x", first, last, downward, read: node.read, hopeless: never, watch: { told: ({ looked }) => heard.push(looked) } });
    assert.deepEqual(found, blocks.filter((block) => block >= first && block <= last), `round ${round}`);
    assert.ok(node.calls.every(([from, to]) => to - from + 1n <= span_max && from >= first && to <= last), "bounded ranges only");
    assert.equal(heard.at(-1), BigInt(all), "told to its end");
    assert.deepEqual(heard, [...heard].sort((a, b) => Number(a - b)));
    const least = Math.ceil(all / Math.min(length_max, Number(span_max)));
    if (blocks.length === 0) assert.ok(node.calls.length <= 2.5 * least + 40, `${node.calls.length} calls, ${least} at best`);
  }
});

test("block_walk: it ends where enough is found, and finds a block by its time", async () => {
  const { walk_blocks, block_before } = await load("block_walk");
  const node = stingy_node([5n, 95_000n], 10_000);
  const found = await walk_blocks({ what: "x", first: 0n, last: 99_999n, downward: true, read: node.read, hopeless: never, enough: (events) => events.length > 0 });
  assert.deepEqual(found, [95_000n]);
  assert.equal(node.calls.length, 1, "from the newest block on");
  for (let round = 0; round < 200; ++round) {
    let time = 1_000;
    const times = Array.from({ length: 1 + random(300) }, () => (time += random(4)));
    const wanted = 990 + random(700);
    let asked = 0;
    const at = await block_before(BigInt(wanted), 0n, BigInt(times.length - 1), async (block) => (++asked, BigInt(times[Number(block)])));
    const naive = times.findLastIndex((one) => one < wanted);
    assert.equal(at, BigInt(Math.max(0, naive)));
    assert.ok(asked <= 9);
  }
});

test("chain_events: a public node's refusals, its silence and its answers come out as they should", async (t) => {
  const { read_events, leases_abi } = await load("chain_events", "chain");
  const { createPublicClient, encodeAbiParameters, encodeEventTopics, http } = await import("viem");
  const lease = `0x${"11".repeat(32)}`;
  const address = `0x${"22".repeat(20)}`;
  const hex = (value) => `0x${value.toString(16)}`;
  const log_at = (block) => ({
    address, blockNumber: hex(block), blockHash: `0x${"00".repeat(32)}`, transactionHash: `0x${"33".repeat(32)}`, transactionIndex: "0x0", logIndex: "0x0", removed: false,
    topics: encodeEventTopics({ abi: leases_abi, eventName: "LeaseClosed", args: { lease } }),
    data: encodeAbiParameters([{ type: "uint64" }, { type: "uint64" }, { type: "uint8" }], [7n, 3n, 1]),
  });
  let manner = "limit";
  const asked = [];
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (piece) => (text += piece));
    request.on("end", () => {
      const { id, method, params } = JSON.parse(text);
      const say = (body, status = 200) => {
        response.writeHead(status, { "content-type": "application/json" });
        response.end(JSON.stringify({ jsonrpc: "2.0", id, ...body }));
      };
      if (method === "eth_blockNumber") return say({ result: hex(25_000) });
      const [{ fromBlock, toBlock, topics }] = params;
      const range = Number(toBlock) - Number(fromBlock) + 1;
      asked.push({ range, topics });
      if (manner === "no key") return response.writeHead(401).end("no key");
      if (manner === "never") return say({ error: { code: -32602, message: "<b>eth_getLogs is disabled</b>" } });
      if (manner === "limit" && range > 3_000) return say({ error: { code: -32602, message: "exceed maximum block range: 3000" } });
      if (manner === "too big" && range > 3_000) return say({ error: { code: -32000, message: "too big" } }, 413);
      return say({ result: [4_321, 20_000].filter((block) => block >= Number(fromBlock) && block <= Number(toBlock)).map(log_at) });
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.listening && (server.closeAllConnections(), server.close()));
  const client = createPublicClient({ transport: http(`http://127.0.0.1:${server.address().port}`, { retryCount: 0 }) });
  const wanted = { address, abi: leases_abi, names: ["LeaseClosed", "Claimed"], key: lease, first: 100n, what: "the claims" };
  for (manner of ["limit", "too big"]) {
    asked.length = 0;
    const events = await read_events(client, wanted);
    assert.deepEqual(events.map(({ blockNumber, eventName, args }) => [blockNumber, eventName, args.paid, args.refunded]), [[4_321n, "LeaseClosed", 7n, 3n], [20_000n, "LeaseClosed", 7n, 3n]]);
    assert.equal(asked[0].topics[0].length, 2, "both events in one search");
    assert.equal(asked[0].topics[1], lease);
    assert.ok(asked.length <= 20, `${asked.length} calls`);
  }
  manner = "never";
  await assert.rejects(read_events(client, wanted), /not even of one block: "<b>eth_getLogs is disabled<\/b>"\. Name another node\./);
  manner = "no key";
  asked.length = 0;
  await assert.rejects(read_events(client, wanted), /^Error: The node stopped answering\. Wanted of it: the claims\./);
  assert.equal(asked.length, 1);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await assert.rejects(read_events(client, { ...wanted, last: 30_000n }), /stopped answering/);
});

test("wallet: a changed account ends the question under way, and the other account's session is not used", async () => {
  const sent = [];
  globalThis.fetch = async (url, { headers }) => {
    sent.push([url, headers.authorization ?? null]);
    return new Response(JSON.stringify({ chain_id: 7 }), { headers: { "content-type": "application/json" } });
  };
  const { connect, connected, disconnect, question, send, session, other_session, set_session, get, to_market_chain } = await load("wallet", "api");
  const mine = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
  const other = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
  const wallet = { account: mine, chain: 7, listeners: {}, calls: [] };
  const provider = {
    request: async ({ method, params }) => {
      wallet.calls.push(method);
      if (method === "eth_chainId") return `0x${wallet.chain.toString(16)}`;
      if (method === "eth_accounts" || method === "eth_requestAccounts") return wallet.account ? [wallet.account.toLowerCase()] : [];
      if (method === "wallet_switchEthereumChain") wallet.chain = Number(params[0].chainId);
      return null;
    },
    on: (event, listener) => (wallet.listeners[event] ??= []).push(listener),
  };
  const one = { info: { uuid: "1", name: "W", icon: "", rdns: "org.example" }, provider };
  /** Until the wallet has been asked again and its answers are taken over. */
  const told = async (event, done) => {
    for (const listener of wallet.listeners[event]) listener([]);
    for (let i = 0; i < 1_000 && !done(); ++i) await new Promise((resolve) => setImmediate(resolve));
    assert.ok(done(), event);
  };
  await connect(one);
  assert.equal(connected.value.address, mine);
  set_session({ token: "t", address: mine, expires_ms: Date.now() + 1e6 });
  await get("/v1/x");
  assert.deepEqual(sent.at(-1), ["/v1/x", "Bearer t"]);

  const transfer = send(mine, other, "0x", "Deposit", []);
  const refused = assert.rejects(transfer, /Cancelled\. Nothing was signed or sent\./);
  for (let i = 0; i < 1_000 && !question.value; ++i) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(question.value.title, "Deposit");
  wallet.account = other;
  await told("accountsChanged", () => connected.value?.address === other);
  await refused;
  assert.equal(question.value, null);
  assert.equal(session.value, null);
  assert.equal(other_session.value.address, mine);
  await get("/v1/x");
  assert.deepEqual(sent.at(-1), ["/v1/x", null], "no word of the other account's session leaves the page");
  await assert.rejects(send(mine, other, "0x", "Deposit", []), /now at account 0x3C44.*made for 0x7099/);
  assert.equal(question.value, null);
  assert.ok(!wallet.calls.includes("eth_sendTransaction"));

  wallet.account = mine;
  await told("accountsChanged", () => connected.value?.address === mine);
  assert.equal(session.value.token, "t", "back at its account it is used again");

  wallet.chain = 1;
  await told("chainChanged", () => connected.value?.chain_id === 1);
  await to_market_chain();
  assert.equal(connected.value.chain_id, 7);

  wallet.account = null; // locked
  await told("accountsChanged", () => connected.value === null);
  assert.equal(session.value.token, "t");
  wallet.account = mine;
  await connect(one);
  disconnect();
  await connect(one);
  assert.equal(wallet.listeners.accountsChanged.length, 1, "listened to once");
});

test("decisions: each call that the owner's contracts know is told in words; others by their first bytes, and nothing breaks on what is none", async () => {
  const { describe_call } = await load("decisions");
  const { encodeFunctionData, parseAbi } = await import("viem");
  const [token, other, somebody] = ["1", "2", "3"].map((digit) => `0x${digit.repeat(40)}`);
  const told = (signature, ...args) => describe_call(encodeFunctionData({ abi: parseAbi([`function ${signature}`]), args }), token);
  assert.equal(told("setFeeBps(uint16)", 250), "sets the fee to 2.5 %");
  assert.equal(told("pay(address,address,uint256)", token, somebody, 12_500_000n), `pays 12.5 tokens to ${somebody}`);
  assert.equal(told("pay(address,address,uint256)", other, somebody, 12_500_000n), `pays 12500000 units of token ${other} to ${somebody}`);
  assert.equal(told("setSlasher(address)", somebody), `lets ${somebody} slash bonds`);
  assert.equal(told("updateDelay(uint256)", 172_800n), "lets decisions wait 2 days");
  assert.equal(told("transferOwnership(address)", somebody), `is handed over to ${somebody}`);
  assert.equal(told("selfDestruct(uint256)", 1n).replace(/0x[0-9a-f]{8}/, "0x"), "is called with 0x… (36 bytes)");
  for (const data of ["0x", "0x12", "0x12345678", encodeFunctionData({ abi: parseAbi(["function setFeeBps(uint16)"]), args: [1] }).slice(0, 20)]) assert.equal(typeof describe_call(data, token), "string");
});
