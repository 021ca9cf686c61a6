// SPDX-License-Identifier: Apache-2.0
// A caller without account, key or deposit pays for single calls of a model with the public x402 client.
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { dev_keys, privateKeyToAccount, root } from "../../scripts/lib/chain.mjs";
import { Devnet } from "../../scripts/lib/devnet.mjs";
import {
  createPublicClient, decodePaymentResponseHeader, erc20Abi, http, parseEventLogs, paying_fetch,
} from "../../scripts/lib/x402.mjs";
import { house, serve_to_guests } from "./x402/paid_model.mjs";

const folder = join(root, "build/test/x402");
const guest = privateKeyToAccount(dev_keys.provider2); // has tokens in its wallet, and nothing at the market
const beggar = privateKeyToAccount(`0x${"77".repeat(32)}`);
const settings = { x402_account: house.address, x402_token_name: "Millrace Test Dollar", x402_least_atoms: 500 };
let net;
let node;

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await serve_to_guests(net, settings, { serve: ["--max-amount", "0.4"] });
  node = createPublicClient({ transport: http(net.chain.url) });
});
after(() => net?.stop());

const url = () => `${net.market_url}/v1/completions`;
const request = (change = {}) => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ model: "tiny", prompt: "Call me", max_tokens: 8, temperature: 0, seed: 3, ...change }),
});
const balance = (account) =>
  node.readContract({ address: net.deployment.token, abi: erc20Abi, functionName: "balanceOf", args: [account.address] });
const pay = (account, base) => paying_fetch(account, net.deployment.chain_id, net.deployment.token, base);
const decode = (header) => JSON.parse(Buffer.from(header, "base64").toString());

test("without account and payment the market says what the call costs", async () => {
  const answer = await fetch(url(), request());
  assert.equal(answer.status, 402);
  const required = decode(answer.headers.get("payment-required"));
  assert.deepEqual(await answer.json(), required);
  const [terms] = required.accepts;
  assert.equal(terms.network, `eip155:${net.deployment.chain_id}`);
  assert.equal(terms.payTo.toLowerCase(), house.address.toLowerCase());
  assert.ok(BigInt(terms.amount) >= 500n);
  assert.equal((await fetch(url(), request({ model: "none" }))).status, 404);
});

test("the public client pays, is answered, and the token moved once, by the amount named", async () => {
  const [of_guest, of_house] = [await balance(guest), await balance(house)];
  const answer = await pay(guest)(url(), request());
  assert.equal(answer.status, 200, await answer.clone().text());
  const receipt = decodePaymentResponseHeader(answer.headers.get("payment-response"));
  assert.equal(receipt.success, true);
  const mined = await node.getTransactionReceipt({ hash: receipt.transaction });
  assert.equal(mined.status, "success");
  const [transfer] = parseEventLogs({ abi: erc20Abi, logs: mined.logs, eventName: "Transfer" });
  assert.equal(transfer.args.from, guest.address);
  assert.equal(transfer.args.to, house.address);
  assert.equal(String(transfer.args.value), receipt.amount);
  assert.equal(of_guest - (await balance(guest)), BigInt(receipt.amount));
  assert.equal((await balance(house)) - of_house, BigInt(receipt.amount));
  const body = await answer.json();
  assert.ok(body.usage.completion_tokens > 0);
  assert.ok(BigInt(body.millrace.cost_atoms) <= BigInt(receipt.amount));
  assert.ok(body.millrace.receipts.length > 0);
});

test("a stream begins when it is paid", async () => {
  const answer = await pay(guest)(url(), request({ stream: true }));
  assert.equal(answer.status, 200);
  assert.equal(decodePaymentResponseHeader(answer.headers.get("payment-response")).success, true);
  const text = await answer.text();
  assert.ok(text.startsWith(":") || text.startsWith("data:"), text.slice(0, 80));
  assert.ok(text.endsWith("data: [DONE]\n\n"));
});

/** Pays once; gives the header that paid. */
async function paid_header() {
  let header;
  const answer = await pay(guest, (input, init) => {
    const sent = new Request(input, init);
    header = sent.headers.get("payment-signature") ?? header;
    return fetch(sent);
  })(url(), request());
  assert.equal(answer.status, 200);
  return header;
}

test("a payment that was used buys nothing more, also after a restart of the market", async () => {
  const header = await paid_header();
  const again = () => fetch(url(), { ...request(), headers: { "content-type": "application/json", "payment-signature": header } });
  const before_balance = await balance(guest);
  const refused = await again();
  assert.equal(refused.status, 402);
  assert.equal(decode(refused.headers.get("payment-response")).errorReason, "invalid_transaction_state");
  await net.processes.kill9("market");
  await net.start_market(settings);
  await net.processes.until("worker", "the model to be served again", async () => (await fetch(url(), request())).status === 402);
  assert.equal((await again()).status, 402);
  assert.equal(await balance(guest), before_balance);
});

test("who has no money is not served", async () => {
  const answer = await pay(beggar)(url(), request());
  assert.equal(answer.status, 402);
  assert.equal(decode(answer.headers.get("payment-response")).errorReason, "insufficient_funds");
});

test("a payment for less, for another receiver, or signed by another is refused", async () => {
  const required = decode((await fetch(url(), request())).headers.get("payment-required"));
  const [accepted] = required.accepts;
  const send = async (change, signer = guest) => {
    const message = {
      from: guest.address, to: accepted.payTo, value: BigInt(accepted.amount), validAfter: 0n,
      validBefore: BigInt(Math.floor(Date.now() / 1000) + 300), nonce: `0x${"ab".repeat(32)}`, ...change,
    };
    const types = { TransferWithAuthorization: [["address", "from"], ["address", "to"], ["uint256", "value"], ["uint256", "validAfter"], ["uint256", "validBefore"], ["bytes32", "nonce"]].map(([type, name]) => ({ type, name })) };
    const domain = { ...accepted.extra, chainId: net.deployment.chain_id, verifyingContract: accepted.asset };
    const signature = await signer.signTypedData({ domain, types, primaryType: "TransferWithAuthorization", message });
    const authorization = Object.fromEntries(Object.entries(message).map(([name, value]) => [name, String(value)]));
    const header = Buffer.from(JSON.stringify({ x402Version: 2, accepted, payload: { authorization, signature } })).toString("base64");
    const answer = await fetch(url(), { ...request(), headers: { "content-type": "application/json", "payment-signature": header } });
    assert.equal(answer.status, 402, await answer.text());
    return decode(answer.headers.get("payment-response")).errorReason;
  };
  const prefix = "invalid_exact_evm_payload_";
  assert.equal(await send({ value: BigInt(accepted.amount) - 1n }), `${prefix}authorization_value_mismatch`);
  assert.equal(await send({ to: guest.address }), `${prefix}recipient_mismatch`);
  assert.equal(await send({ validBefore: 5n }), `${prefix}authorization_valid_before`);
  assert.equal(await send({}, beggar), `${prefix}signature`);
});
