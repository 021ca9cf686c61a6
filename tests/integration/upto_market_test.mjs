// SPDX-License-Identifier: Apache-2.0
// A caller without account, key or deposit signs for the most a call can cost, with the public x402 client unchanged, and
// pays what it came to. Permit2 and x402's proxy are the test chain's stand-ins (contracts/src/mocks).
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createWalletClient, dev_keys, generatePrivateKey, privateKeyToAccount, root } from "../../scripts/lib/chain.mjs";
import { Devnet } from "../../scripts/lib/devnet.mjs";
import { ApiContract } from "../../scripts/lib/openapi.mjs";
import {
  createPermit2ApprovalTx, createPublicClient, decodePaymentResponseHeader, erc20Abi, http, parseEventLogs, paying_fetch,
} from "../../scripts/lib/x402.mjs";
import { house, serve_to_guests } from "./x402/paid_model.mjs";

const folder = join(root, "build/test/upto");
const guest = privateKeyToAccount(dev_keys.provider2); // has tokens and coin in its wallet, and nothing at the market
const permit2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3";
const proxy = "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002";
const settings = { x402_account: house.address, x402_token_name: "Millrace Test Dollar", x402_least_atoms: 1, x402_unpaid_calls: 2 };
let net;
let node;
let wallet;

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await serve_to_guests(net, settings, {
    setup: ["--price-input-token", "40", "--price-output-token", "200"],
    serve: ["--max-amount", "20", "--max-price-input", "40", "--max-price-output", "200"],
  });
  node = createPublicClient({ transport: http(net.chain.url) });
  wallet = createWalletClient({ account: guest, chain: net.chain.chain, transport: http(net.chain.url) });
});
after(() => net?.stop());

const url = () => `${net.market_url}/v1/completions`;
const request = (change = {}, headers = {}) => ({
  method: "POST",
  headers: { "content-type": "application/json", ...headers },
  body: JSON.stringify({ model: "tiny", prompt: "Call me", max_tokens: 8, temperature: 0, seed: 3, ...change }),
});
const token = (functionName, ...args) => node.readContract({ address: net.deployment.token, abi: erc20Abi, functionName, args });
const balance = (account) => token("balanceOf", account.address ?? account);
const decode = (header) => JSON.parse(Buffer.from(header, "base64").toString());
const mined = async (hash) => assert.equal((await node.waitForTransactionReceipt({ hash, pollingInterval: 50 })).status, "success");

/** Pays by "upto" with the public client; `seen.authorization` and `seen.header` are what it sent. */
function pay(seen = {}, account = guest) {
  const base = (input, init) => {
    const sent = new Request(input, init);
    const header = sent.headers.get("payment-signature");
    if (header) Object.assign(seen, { header, authorization: decode(header).payload.permit2Authorization });
    return fetch(sent);
  };
  return paying_fetch(account, net.deployment.chain_id, net.deployment.token, base, { scheme: "upto" });
}

/** What the market says became of a payment. */
const standing = ({ authorization: { from, nonce } }) => net.rest.get(`/v1/payments/${from}/${nonce}`);
const becomes = (seen, state) => net.processes.until("market", `the payment to be ${state}`, async () => {
  const now = await standing(seen);
  return now.state === state ? now : undefined;
}, { every_ms: 100 });

/** The last chunk's bill of a stream that was read to its end. */
async function bill_of(answer) {
  const text = await answer.text();
  assert.ok(text.endsWith("data: [DONE]\n\n"), text.slice(-200));
  return JSON.parse(text.trim().split("\n\n").at(-2).replace(/^data: /, "")).millrace;
}

async function stop_mining() {
  await net.chain.test.setAutomine(false);
  await net.chain.test.setIntervalMining({ interval: 0 });
}
async function go_on_mining() {
  await net.chain.test.setAutomine(true);
  await net.chain.test.setIntervalMining({ interval: 1 });
  await net.chain.test.mine({ blocks: 1 });
}

async function offered() {
  return decode((await fetch(url(), request())).headers.get("payment-required")).accepts;
}

test("both schemes are offered, for the same most", async () => {
  const [exact, upto] = await offered();
  assert.equal(exact.scheme, "exact");
  assert.equal(upto.scheme, "upto");
  assert.equal(upto.amount, exact.amount);
  assert.equal(upto.payTo, exact.payTo);
  assert.equal(upto.extra.facilitatorAddress, net.deployment.operator);
});

test("whose token Permit2 may not move is told what to do, and then served", async () => {
  const answer = await pay()(url(), request());
  assert.equal(answer.status, 412);
  assert.equal(decode(answer.headers.get("payment-response")).errorReason, "permit2_allowance_required");
  const { error } = await answer.json();
  assert.ok(error.includes(`approve(${permit2}`) && error.includes("exact"), error);
  await mined(await wallet.sendTransaction(createPermit2ApprovalTx(net.deployment.token)));
  assert.equal((await pay()(url(), request())).status, 200);
});

test("the token moves once, by what the call came to", async () => {
  const [of_guest, of_house] = [await balance(guest), await balance(house)];
  const seen = {};
  const answer = await pay(seen)(url(), request());
  assert.equal(answer.status, 200, await answer.clone().text());
  const body = await answer.json();
  const { millrace } = body;
  const receipt = decodePaymentResponseHeader(answer.headers.get("payment-response"));
  assert.equal(receipt.success, true);
  assert.equal(receipt.amount, millrace.charged_atoms);
  assert.equal(millrace.charged_atoms, millrace.cost_atoms);
  assert.ok(BigInt(receipt.amount) > 0n && BigInt(receipt.amount) < BigInt(seen.authorization.permitted.amount));
  const transaction = await node.getTransactionReceipt({ hash: receipt.transaction });
  assert.equal(transaction.to.toLowerCase(), proxy.toLowerCase());
  const transfers = parseEventLogs({ abi: erc20Abi, logs: transaction.logs, eventName: "Transfer" });
  assert.deepEqual(transfers.map(({ args }) => args), [{ from: guest.address, to: house.address, value: BigInt(receipt.amount) }]);
  assert.equal(of_guest - (await balance(guest)), BigInt(receipt.amount));
  assert.equal((await balance(house)) - of_house, BigInt(receipt.amount));
  const now = await becomes(seen, "paid");
  const contract = new ApiContract(await net.rest.get("/openapi.json"));
  const { from, nonce } = seen.authorization;
  assert.deepEqual(contract.faults("GET", `/v1/payments/${from}/${nonce}`, 200, "application/json", now), []);
  assert.deepEqual(contract.faults("POST", "/v1/completions", 200, "application/json", body), []);
  assert.equal(now.amount, receipt.amount);
  assert.equal(now.transaction, receipt.transaction);
});

test("a stream does not wait for its payment, which follows", async () => {
  const before_balance = await balance(guest);
  const seen = {};
  const answer = await pay(seen)(url(), request({ stream: true }));
  assert.equal(answer.status, 200);
  const bill = await bill_of(answer);
  assert.ok(BigInt(bill.charged_atoms) < BigInt(seen.authorization.permitted.amount));
  assert.equal((await becomes(seen, "paid")).amount, bill.charged_atoms);
  assert.equal(before_balance - (await balance(guest)), BigInt(bill.charged_atoms));
});

test("who leaves a stream pays for what was made until then", async () => {
  const before_balance = await balance(guest);
  const seen = {};
  const leave = new AbortController();
  const answer = await pay(seen)(url(), { ...request({ stream: true, max_tokens: 200, seed: 5 }), signal: leave.signal });
  const reader = answer.body.getReader();
  await reader.read();
  leave.abort();
  await reader.cancel().catch(() => {});
  const { amount } = await becomes(seen, "paid");
  assert.ok(BigInt(amount) > 0n && BigInt(amount) <= BigInt(seen.authorization.permitted.amount));
  assert.equal(before_balance - (await balance(guest)), BigInt(amount));
});

test("a payment that served a call serves no other", async () => {
  const seen = {};
  assert.equal((await pay(seen)(url(), request())).status, 200);
  const before_balance = await balance(guest);
  const again = await fetch(url(), request({}, { "payment-signature": seen.header }));
  assert.equal(again.status, 402);
  assert.equal(decode(again.headers.get("payment-response")).errorReason, "invalid_transaction_state");
  assert.equal(await balance(guest), before_balance);
});

test("what was not signed as asked for is refused, each with the protocol's word", async () => {
  const [, accepted] = await offered();
  const now = Math.floor(Date.now() / 1000);
  const send = async (change = {}, { signer = guest, claim = {} } = {}) => {
    const message = {
      permitted: { token: accepted.asset, amount: accepted.amount }, spender: proxy, nonce: String(BigInt(`0x${randomBytes(32).toString("hex")}`)),
      deadline: String(now + accepted.maxTimeoutSeconds), ...change,
      witness: { to: accepted.payTo, facilitator: accepted.extra.facilitatorAddress, validAfter: "0", ...change.witness },
    };
    const list = (fields) => fields.map(([type, name]) => ({ type, name }));
    const types = {
      PermitWitnessTransferFrom: list([["TokenPermissions", "permitted"], ["address", "spender"], ["uint256", "nonce"], ["uint256", "deadline"], ["Witness", "witness"]]),
      TokenPermissions: list([["address", "token"], ["uint256", "amount"]]),
      Witness: list([["address", "to"], ["address", "facilitator"], ["uint256", "validAfter"]]),
    };
    const domain = { name: "Permit2", chainId: net.deployment.chain_id, verifyingContract: permit2 };
    const signature = await signer.signTypedData({ domain, types, primaryType: "PermitWitnessTransferFrom", message });
    const payload = { signature, permit2Authorization: { from: guest.address, ...message } };
    const header = Buffer.from(JSON.stringify({ x402Version: 2, accepted: { ...accepted, ...claim }, payload })).toString("base64");
    const answer = await fetch(url(), request({}, { "payment-signature": header }));
    if (answer.status === 200) return "served";
    assert.equal(answer.status, 402, await answer.text());
    return decode(answer.headers.get("payment-response")).errorReason;
  };
  const before_balance = await balance(guest);
  const less = String(BigInt(accepted.amount) - 1n);
  assert.equal(await send({}, { claim: { amount: less } }), "invalid_payment_requirements");
  assert.equal(await send({ permitted: { token: accepted.asset, amount: less } }), "permit2_amount_mismatch");
  assert.equal(await send({ permitted: { token: permit2, amount: accepted.amount } }), "permit2_token_mismatch");
  assert.equal(await send({ witness: { to: guest.address } }), "invalid_permit2_recipient_mismatch");
  assert.equal(await send({ witness: { facilitator: guest.address } }), "upto_facilitator_mismatch");
  assert.equal(await send({ spender: "0x402085c248EeA27D92E8b30b2C58ed07f9E20001" }), "invalid_permit2_spender");
  assert.equal(await send({ deadline: String(now + 60) }), "permit2_deadline_expired");
  assert.equal(await send({ witness: { validAfter: String(now + 600) } }), "permit2_not_yet_valid");
  assert.equal(await send({}, { signer: house }), "invalid_permit2_signature");
  const abi = [{ type: "function", name: "invalidateUnorderedNonces", inputs: [{ type: "uint256" }, { type: "uint256" }], outputs: [], stateMutability: "nonpayable" }];
  await mined(await wallet.writeContract({ address: permit2, abi, functionName: "invalidateUnorderedNonces", args: [7n, 2n] }));
  assert.equal(await send({ nonce: String(7n * 256n + 1n) }), "invalid_transaction_state");
  assert.equal(await balance(guest), before_balance);
  assert.equal(await send({ nonce: String(7n * 256n + 2n) }), "served");
});

test("who has no money is not served", async () => {
  const beggar = privateKeyToAccount(generatePrivateKey());
  const answer = await pay({}, beggar)(url(), request());
  assert.equal(answer.status, 402);
  assert.equal(decode(answer.headers.get("payment-response")).errorReason, "insufficient_funds");
});

test("calls that are not paid yet are few, outlive the market, and are paid once", async () => {
  const before_balance = await balance(guest);
  const calls = [{}, {}];
  let owed = 0n;
  await stop_mining();
  for (const seen of calls) owed += BigInt((await bill_of(await pay(seen)(url(), request({ stream: true })))).charged_atoms);
  const third = await pay()(url(), request({ stream: true }));
  assert.equal(third.status, 429, await third.text());
  for (const seen of calls) await becomes(seen, "owed");
  await net.processes.kill9("market");
  await net.start_market(settings);
  await net.processes.until("worker", "the model to be served again", async () => (await fetch(url(), request())).status === 402);
  for (const { header } of calls) assert.notEqual((await fetch(url(), request({}, { "payment-signature": header }))).status, 200);
  assert.equal((await pay()(url(), request({ stream: true }))).status, 429);
  assert.equal(await balance(guest), before_balance);
  await go_on_mining();
  for (const seen of calls) await becomes(seen, "paid");
  assert.equal(before_balance - (await balance(guest)), owed);
  for (const { header } of calls) assert.equal((await fetch(url(), request({}, { "payment-signature": header }))).status, 402);
  assert.equal(before_balance - (await balance(guest)), owed);
});

test("whose money is gone when it is taken gets no whole answer, and owes for a stream until it is back", async () => {
  const hiding = privateKeyToAccount(generatePrivateKey());
  await net.chain.test.setBalance({ address: hiding.address, value: 10n ** 18n });
  const back = createWalletClient({ account: hiding, chain: net.chain.chain, transport: http(net.chain.url) });
  const transfer = { address: net.deployment.token, abi: erc20Abi, functionName: "transfer" };
  const all = await balance(guest);
  // Sent after the market's transaction, mined before it in the same block.
  const hide = async () => wallet.writeContract({
    ...transfer, args: [hiding.address, await balance(guest)], gas: 100_000n, maxFeePerGas: 100n * 10n ** 9n, maxPriorityFeePerGas: 50n * 10n ** 9n,
  });
  const give_back = async () => mined(await back.writeContract({ ...transfer, args: [guest.address, await balance(hiding)] }));
  const taking = async () => (await net.rest.get("/v1/settlements?limit=100")).data.filter(({ kind }) => kind === "upto").at(-1)?.state;
  const on_its_way = () => net.processes.until("market", "the payment to be on its way", async () => ["signed", "broadcast"].includes(await taking()));

  await stop_mining();
  const whole = {};
  const answer = pay(whole)(url(), request());
  await on_its_way();
  let away = await hide();
  await go_on_mining();
  await mined(away);
  const refused = await answer;
  assert.equal(refused.status, 402, await refused.clone().text());
  assert.equal(decode(refused.headers.get("payment-response")).success, false);
  assert.ok(!(await refused.text()).includes("choices"));
  await becomes(whole, "free");
  await give_back();
  assert.equal(await balance(guest), all);

  await stop_mining();
  const stream = {};
  const { charged_atoms } = await bill_of(await pay(stream)(url(), request({ stream: true })));
  await on_its_way();
  away = await hide();
  await go_on_mining();
  await mined(away);
  await net.processes.until("market", "the payment to fail", async () => (await taking()) === "failed");
  assert.equal((await standing(stream)).state, "owed");
  await give_back();
  const { amount } = await becomes(stream, "paid");
  assert.equal(amount, charged_atoms);
  assert.equal(all - (await balance(guest)), BigInt(amount));
});

test("where the proxy does not stand, exact payments alone are offered, and the log says why", async () => {
  await net.processes.stop("market");
  await net.start_market({ ...settings, x402_proxy: guest.address });
  await net.processes.until("worker", "the model to be served again", async () => (await fetch(url(), request())).status === 402);
  assert.deepEqual((await offered()).map(({ scheme }) => scheme), ["exact"]);
  const said = readFileSync(net.file("logs", "market.log"), "utf8").match(/by "upto" is not offered.*/g);
  assert.equal(said?.length, 1);
  assert.match(said[0], /the chain has no proxy/);
});
