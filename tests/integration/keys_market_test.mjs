// SPDX-License-Identifier: Apache-2.0
// Who may spend: API keys with a cap, scopes, an end and a delegation behind them, used by the public openai client;
// and sign-in by a contract wallet.
import assert from "node:assert/strict";
import { readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { OpenAI } from "../../scripts/lib/openai.mjs";
import {
  createWalletClient, deposit_with_permit, dev_keys, generatePrivateKey, getAddress, http, parseAbi, privateKeyToAccount, root,
} from "../../scripts/lib/chain.mjs";
import { Devnet } from "../../scripts/lib/devnet.mjs";
import { Rest, small_text_spec, wire_form } from "../../scripts/lib/rest.mjs";

const folder = join(root, "build/test/keys");
const buyer = privateKeyToAccount(dev_keys.buyer);
const model = "keyed-moby";
const ceiling = 1_000_000n; // atoms per million tokens; the worker asks for 0.1 an input token and 0.3 an output token
let net;
const secrets = [];

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain();
  await net.start_signer();
  await net.start_market();
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 100_000_000);
  await net.start_worker("worker", "provider1", { setup: ["--threads", "1"] });
  secrets.push(await net.rest.sign_in(buyer));
  const blob = await net.rest.upload("It was the best of times, it was the worst of times. ".repeat(2_000));
  await net.processes.until("market", "the deposit to be seen", async () =>
    Number((await net.rest.get(`/v1/accounts/${buyer.address}`)).available) >= 100_000_000);
  // Room for streams that last until something ends them.
  const shape = { ...small_text_spec(blob).model, context: 2_048 };
  const training = small_text_spec(blob, { model: shape, batch: 1, steps: 4, segment_steps: 2, warmup_steps: 0, flops_per_step: 10_000_000_000 });
  const trained = await net.job_done((await net.rest.post_job(buyer, training)).id);
  const spec = {
    version: 1, kind: "infer.serve", model: shape, weights: trained.checkpoint, tokenizer: "bytes", name: model,
  };
  const { id } = await net.rest.post_job(buyer, spec, {}, {
    legs: [1, 2].map((unitKind) => ({ unitKind, volume: 1_000_000n, priceCeiling: ceiling, maxAmount: 1_000_000n })),
  });
  await net.processes.until("market", "the model to be loaded", async () => (await net.job(id)).state === "running", { timeout_ms: 60_000 });
});
after(() => net?.stop());

/** A new key with these terms: what the market says of it, and a client that uses it. */
async function make_key(terms = {}) {
  const answer = await net.rest.request("POST", "/v1/api-keys", { body: terms });
  assert.equal(answer.status, 201, answer.text);
  secrets.push(answer.json.key);
  return { ...answer.json, client: new OpenAI({ baseURL: `${net.market_url}/v1`, apiKey: answer.json.key, maxRetries: 0 }) };
}
const listed = async (key) => (await net.rest.get("/v1/api-keys")).data.find((one) => one.id === key.id);
const ask = (key, change = {}) => key.client.completions.create({ model, prompt: "It was", max_tokens: 8, seed: 1, ...change });
/** What the leases of the market have billed so far. */
async function billed() {
  const leases = (await net.rest.get("/v1/leases?limit=100")).data;
  return leases.reduce((total, lease) => total + BigInt(lease.amount), 0n);
}
/** Reads a stream to its end: its text, and its last chunk with a finish_reason. */
async function read(stream, on_chunk = () => {}) {
  let text = "";
  let last;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.text ?? "";
    if (chunk.choices[0]?.finish_reason) last = chunk;
    await on_chunk(chunk);
  }
  return { text, finish_reason: last?.choices[0].finish_reason, millrace: last?.millrace };
}
const refused = (promise, status, code) =>
  assert.rejects(promise, (error) => error.status === status && error.code === code);

describe("a spend cap", () => {
  test("is reached in mid stream: the stream ends cleanly with what was paid, and the bill is never above", async () => {
    const before = await billed();
    const key = await make_key({ spend_cap: "40", scopes: ["inference"] });
    const cut = await read(await ask(key, { max_tokens: 2_000, stream: true }));
    assert.equal(cut.finish_reason, "length");
    assert.equal(cut.millrace.ended_by, "spend_cap_reached");
    assert.ok(cut.text.length > 0);
    const { spent } = await listed(key);
    assert.equal(spent, cut.millrace.cost_atoms);
    assert.ok(BigInt(spent) > 20n && BigInt(spent) <= 40n, spent);
    assert.equal((await billed()) - before, BigInt(spent), "what the key paid is what the leases billed");
  });

  test("that is used up is 402 with its code, and a session goes on", async () => {
    const key = await make_key({ spend_cap: "1" });
    await refused(ask(key), 402, "delegation_cap_exceeded");
    assert.equal((await listed(key)).spent, "0");
    const session = { client: new OpenAI({ baseURL: `${net.market_url}/v1`, apiKey: net.rest.token, maxRetries: 0 }) };
    assert.equal((await ask(session)).usage.completion_tokens, 8);
  });

  test("holds for requests at the same time", async () => {
    const before = await billed();
    const key = await make_key({ spend_cap: "25" });
    const answers = await Promise.allSettled(Array.from({ length: 8 }, () => ask(key, { max_tokens: 20 })));
    const paid = (await billed()) - before;
    assert.ok(answers.some((one) => one.status === "fulfilled"), JSON.stringify(answers[0]));
    assert.ok(answers.some((one) => one.status === "rejected" && one.reason.status === 402));
    assert.ok(paid > 0n && paid <= 25n, String(paid));
    assert.equal((await listed(key)).spent, String(paid));
  });

  test("is remembered over a restart of the market", async () => {
    const key = await make_key({ spend_cap: "100" });
    await ask(key);
    const { spent } = await listed(key);
    await net.processes.kill9("market");
    await net.start_market();
    secrets.push(await net.rest.sign_in(buyer));
    assert.equal((await listed(key)).spent, spent);
    await net.processes.until("market", "the model to be served again", async () => {
      try {
        await ask(await make_key());
        return true;
      } catch (error) {
        assert.ok([503, 502, 500].includes(error.status), String(error));
        return false;
      }
    }, { timeout_ms: 60_000, every_ms: 500 });
  });
});

describe("a key's end", () => {
  test("revoked in mid stream, the stream ends cleanly with what was paid", async () => {
    const before = await billed();
    const key = await make_key({ label: "leaked" });
    let revoked = false;
    const cut = await read(await ask(key, { max_tokens: 2_000, stream: true }), async () => {
      if (revoked) return;
      revoked = true;
      assert.equal((await net.rest.request("DELETE", `/v1/api-keys/${key.id}`)).status, 200);
    });
    assert.equal(cut.finish_reason, "length");
    assert.equal(cut.millrace.ended_by, "api_key_revoked");
    assert.ok(cut.millrace.receipts.length > 0);
    assert.equal((await billed()) - before, BigInt(cut.millrace.cost_atoms));
    await refused(ask(key), 401, "unauthorized");
  });

  test("a key that has expired is 401", async () => {
    const key = await make_key({ expires_ms: Date.now() + 4_000 });
    assert.equal((await ask(key)).usage.completion_tokens, 8);
    await net.processes.until("market", "the key to expire", async () =>
      (await net.rest.request("GET", "/v1/auth/session", { headers: { authorization: `Bearer ${secrets.at(-1)}` } })).status === 401);
    await refused(ask(key), 401, "unauthorized");
  });
});

test("a key without the scope is 403 and cannot make another", async () => {
  const key = await make_key({ scopes: ["files"] });
  await refused(ask(key), 403, "forbidden");
  assert.deepEqual((await key.client.files.list()).data, []);
  const rest = new Rest(net.market_url);
  rest.token = secrets.at(-1);
  assert.equal((await rest.request("POST", "/v1/api-keys", { body: {} })).status, 403);
});

describe("a delegation", () => {
  const leases_abi = [
    { type: "function", name: "revokeDelegations", inputs: [], outputs: [], stateMutability: "nonpayable" },
    { type: "function", name: "delegationNonce", inputs: [{ name: "owner", type: "address" }], outputs: [{ type: "uint64" }], stateMutability: "view" },
  ];
  async function terms(change = {}) {
    const { delegate_address } = await net.rest.info();
    const nonce = await net.chain.client.readContract({
      address: net.deployment.leases, abi: leases_abi, functionName: "delegationNonce", args: [buyer.address],
    });
    const delegation = {
      owner: buyer.address, delegate: delegate_address, scope: 2, spendCap: 50_000n,
      expiry: BigInt(Math.floor(Date.now() / 1000) + 3600), nonce, ...change,
    };
    return { delegation: wire_form(delegation), delegation_signature: await net.rest.sign(buyer, "Delegation", delegation) };
  }

  test("gives its cap and its end to the key", async () => {
    const asked = await terms();
    const key = await make_key(asked);
    assert.equal(key.spend_cap, "50000");
    assert.equal(key.expires_ms, Number(asked.delegation.expiry) * 1000);
    assert.equal((await ask(key)).usage.completion_tokens, 8);
  });
  test("of another nonce is delegation_revoked", async () => {
    const answer = await net.rest.request("POST", "/v1/api-keys", { body: await terms({ nonce: 99n }) });
    assert.equal(answer.json.code, "delegation_revoked", answer.text);
  });
  test("revoked on chain: no key can be bound to it any more", async () => {
    const asked = await terms();
    const wallet = createWalletClient({ account: buyer, chain: net.chain.chain, transport: http(net.chain.url) });
    const hash = await wallet.writeContract({ address: net.deployment.leases, abi: leases_abi, functionName: "revokeDelegations" });
    await net.chain.client.waitForTransactionReceipt({ hash });
    assert.equal((await net.rest.request("POST", "/v1/api-keys", { body: asked })).json.code, "delegation_revoked");
    assert.ok((await make_key(await terms())).bound);
  });
});

describe("a contract wallet (ERC-1271)", () => {
  const owner = privateKeyToAccount(generatePrivateKey());
  let wallet_address;
  before(async () => {
    const { abi, bytecode } = JSON.parse(readFileSync(join(root, "contracts/out/Wallets.sol/GoodWallet.json"), "utf8"));
    const deployer = createWalletClient({ account: privateKeyToAccount(dev_keys.provider2), chain: net.chain.chain, transport: http(net.chain.url) });
    const hash = await deployer.deployContract({ abi, bytecode: bytecode.object, args: [owner.address] });
    wallet_address = (await net.chain.client.waitForTransactionReceipt({ hash })).contractAddress;
  });
  /** Signs as `signer`, in the name of `address`. */
  const as = (address, signer) => ({
    address, signMessage: (message) => signer.signMessage(message), signTypedData: (message) => signer.signTypedData(message),
  });

  test("signs in by what its code accepts, makes a key and uses it", async () => {
    const rest = new Rest(net.market_url);
    secrets.push(await rest.sign_in(as(getAddress(wallet_address), owner)));
    const { address } = await rest.get("/v1/auth/session");
    assert.equal(address.toLowerCase(), wallet_address.toLowerCase());
    assert.equal((await rest.request("POST", "/v1/api-keys", { body: {} })).status, 201);
  });
  test("does not sign in by a stranger's signature, nor does an account without code", async () => {
    const stranger = privateKeyToAccount(generatePrivateKey());
    await assert.rejects(new Rest(net.market_url).sign_in(as(getAddress(wallet_address), stranger)), /invalid_signature/);
    await assert.rejects(new Rest(net.market_url).sign_in(as(stranger.address, owner)), /invalid_signature/);
  });
  test("buys by what its code accepts, to the last payment, and not by a stranger's signature", async () => {
    const escrow_abi = parseAbi(["function deposit(address account, uint64 amount)"]);
    const token_abi = parseAbi(["function approve(address spender, uint256 value) returns (bool)"]);
    const giver = createWalletClient({ account: buyer, chain: net.chain.chain, transport: http(net.chain.url) });
    for (const call of [
      { address: net.deployment.token, abi: token_abi, functionName: "approve", args: [net.deployment.escrow, 5_000_000n] },
      { address: net.deployment.escrow, abi: escrow_abi, functionName: "deposit", args: [wallet_address, 5_000_000n] },
    ]) await net.chain.client.waitForTransactionReceipt({ hash: await giver.writeContract(call) });
    await net.processes.until("market", "the deposit to be seen", async () => Number((await net.rest.get(`/v1/accounts/${wallet_address}`)).available) >= 5_000_000);
    const blob = await net.rest.upload("It was the best of times, it was the worst of times. ".repeat(200));
    const spec = small_text_spec(blob);
    const stranger = privateKeyToAccount(generatePrivateKey());
    await assert.rejects(net.rest.post_job(as(getAddress(wallet_address), stranger), spec), /401 .*invalid_signature/);
    const job = await net.job_done((await net.rest.post_job(as(getAddress(wallet_address), owner), spec)).id);
    assert.equal(job.buyer.toLowerCase(), wallet_address.toLowerCase());
    const [lease] = await net.settled(job.id);
    assert.equal(lease.state, "closed");
    assert.ok(BigInt(lease.amount) > 0n);
  });
});

test("no key, token or private key of this run is in any log", () => {
  const logs = readdirSync(net.file("logs")).map((name) => readFileSync(net.file("logs", name), "utf8")).join("\n");
  assert.ok(logs.includes("listening on"), "there are logs");
  assert.ok(secrets.length > 8);
  for (const secret of [...secrets, ...Object.values(dev_keys).map((key) => key.slice(2))]) {
    assert.ok(!logs.includes(secret), `a log holds ${secret.slice(0, 8)}…`);
  }
  assert.doesNotMatch(logs, /mr[sk]_[0-9a-f]{16}/);
  assert.doesNotMatch(logs, /bearer [a-z0-9]/i);
});
