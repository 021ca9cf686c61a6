// SPDX-License-Identifier: Apache-2.0
// The console in a real browser, with a wallet that announces itself as wallets do and signs with viem: a buyer's whole
// way from signing in to withdrawing, on a real chain, market and worker.
import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { launch_browser, no_browser } from "../../scripts/lib/browser.mjs";
import { chain_id, createWalletClient, dev_keys, http, privateKeyToAccount, root } from "../../scripts/lib/chain.mjs";
import { abi_of, settlement_totals } from "../../scripts/lib/chain_totals.mjs";
import { write_moby_dick } from "../../scripts/lib/data.mjs";
import { Devnet } from "../../scripts/lib/devnet.mjs";
import { small_text_spec } from "../../scripts/lib/rest.mjs";
import { until } from "../../scripts/lib/wait.mjs";

const folder = join(root, "build/test/console");
const buyer = privateKeyToAccount(dev_keys.buyer);
const gzip_bytes_max = 200_000;
const axe = readFileSync(createRequire(join(root, "scripts/package.json")).resolve("axe-core/axe.min.js"), "utf8");

let net;
let browser;
let context;
let page;
let trained;
const outside = [];
const troubles = [];
const provider = privateKeyToAccount(dev_keys.provider1);
/** What the wallet does next: nothing out of the way, "reject" a signature once, stay on another "chain", be at another "account". */
const wallet = { reject: false, chain: chain_id, switches: true, account: buyer };

/** The wallet's side of EIP-1193, in this process: keys never enter the page. */
async function wallet_request(method, params) {
  const client = createWalletClient({ account: wallet.account, chain: net.chain.chain, transport: http(net.chain.url) });
  const refuse = () => {
    if (!wallet.reject) return;
    wallet.reject = false;
    throw Object.assign(new Error("User rejected the request."), { code: 4001 });
  };
  switch (method) {
    case "eth_requestAccounts":
    case "eth_accounts":
      return [wallet.account.address.toLowerCase()];
    case "eth_chainId":
      return `0x${wallet.chain.toString(16)}`;
    case "wallet_switchEthereumChain":
      if (!wallet.switches) throw Object.assign(new Error("Unrecognized chain ID."), { code: 4902 });
      wallet.chain = Number(params[0].chainId);
      return null;
    case "personal_sign":
      refuse();
      return wallet.account.signMessage({ message: { raw: params[0] } });
    case "eth_signTypedData_v4": {
      refuse();
      const { domain, types, primaryType, message } = JSON.parse(params[1]);
      delete types.EIP712Domain;
      return wallet.account.signTypedData({ domain, types, primaryType, message });
    }
    case "eth_sendTransaction":
      refuse();
      return client.sendTransaction({ to: params[0].to, data: params[0].data });
    default: // what only reads goes to the chain
      return net.chain.client.request({ method, params });
  }
}

const announce = () => {
  const listeners = {};
  window.wallet_tell = (event) => (listeners[event] ?? []).forEach((listener) => listener([]));
  const provider = {
    request: async ({ method, params }) => {
      const answer = await window.wallet_request(method, params ?? []);
      if (answer.error) throw Object.assign(new Error(answer.error.message), { code: answer.error.code });
      return answer.result;
    },
    on: (event, listener) => (listeners[event] ??= []).push(listener),
  };
  const info = { uuid: "350670db-19fa-4704-a166-e52e178b59d2", name: "Test wallet", icon: "data:image/svg+xml,<svg/>", rdns: "org.example.wallet" };
  const tell = () => window.dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail: Object.freeze({ info, provider }) }));
  window.addEventListener("eip6963:requestProvider", tell);
  tell();
};

async function new_context(options = {}) {
  const made = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  await made.exposeFunction("wallet_request", async (method, params) => {
    try {
      return { result: await wallet_request(method, params) };
    } catch (error) {
      return { error: { message: error.message, code: error.code ?? -32603 } };
    }
  });
  await made.addInitScript(announce);
  made.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(net.market_url) && !url.startsWith("data:") && !url.startsWith("blob:") && !url.startsWith(net.chain.url)) outside.push(url);
  });
  made.on("weberror", (error) => troubles.push(String(error.error())));
  made.on("console", (message) => {
    if (message.type() === "error" && /Content Security Policy/.test(message.text())) troubles.push(message.text());
  });
  return made;
}

const go = (path) => page.goto(`${net.market_url}${path}`);
/** Agrees in the console's own dialog, whose title must say what it is about; gives what it showed. */
async function agree(title) {
  const dialog = page.locator("dialog[open]");
  await dialog.getByRole("heading", { name: title }).waitFor();
  const text = await dialog.innerText();
  await dialog.getByRole("button", { name: "Continue in the wallet" }).click();
  return text;
}
const escrow_account = () => net.chain.client.readContract({ address: net.deployment.escrow, abi: abi_of("Escrow"), functionName: "accounts", args: [buyer.address] });

/** Axe's findings on the page as it stands. Contrast takes most of its time. */
async function axe_findings(on, { contrast = true } = {}) {
  await on.evaluate(axe);
  const { violations } = await on.evaluate((enabled) => window.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], rules: { "color-contrast": { enabled } },
  }), contrast);
  return violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary}`).join(" | ")}`);
}

before(async () => {
  if (no_browser) return;
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain({ "withdraw-delay": 2, govern: `${buyer.address}=1000000000000000000000` });
  await net.start_signer();
  await net.start_market({ anchor_every_ms: 1_000 });
  await net.start_worker("worker-1", "provider1", { setup: ["--threads", "1"] });
  write_moby_dick(net.file("text.txt"), 100_000);
  browser = await launch_browser();
  context = await new_context();
  page = await context.newPage();
  page.setDefaultTimeout(30_000);
});
after(async () => {
  await browser?.close();
  await net?.stop();
});

describe("the console's files", { skip: no_browser }, () => {
  const fetch_raw = (path, headers = {}) => fetch(`${net.market_url}${path}`, { headers });

  test("page and assets come with a policy, tags and compression; the API is as it was", async () => {
    const first = await fetch_raw("/", { "accept-encoding": "identity" });
    assert.equal(first.status, 200);
    assert.match(first.headers.get("content-security-policy"), /^default-src 'none'; script-src 'self'; style-src 'self';/);
    assert.equal(first.headers.get("cache-control"), "no-cache");
    const html = await first.text();
    assert.equal(await (await fetch_raw("/app/jobs/job_x/anything")).text(), html, "the page finds its own way");
    assert.equal((await fetch_raw("/", { "if-none-match": first.headers.get("etag"), "accept-encoding": "identity" })).status, 304);
    const head = await fetch(`${net.market_url}/`, { method: "HEAD" });
    assert.equal(head.status, 200);
    assert.equal(await head.text(), "");
    const script = /src="(\/assets\/[^"]+\.js)"/.exec(html)[1];
    const asset = await fetch_raw(script);
    assert.equal(asset.headers.get("cache-control"), "public, max-age=31536000, immutable");
    assert.equal(asset.headers.get("content-encoding"), "gzip");
    assert.equal(asset.headers.get("content-type"), "text/javascript; charset=utf-8");
    for (const path of ["/assets/nothing.js", "/assets/..%2f..%2fmarket.toml", "/app/../../etc/passwd", "/v1/nothing", "/nothing"]) {
      const answer = await net.rest.raw(`GET ${path} HTTP/1.1\r\nHost: ${new URL(net.market_url).host}\r\nConnection: close\r\n\r\n`);
      assert.match(answer, /^HTTP\/1.1 404 /, path);
    }
    assert.equal((await fetch(`${net.market_url}/v1/nothing`, { method: "POST" })).status, 404);
  });

  test("the first load is small and soon of use", async () => {
    const fresh = await new_context();
    const one = await fresh.newPage();
    const client = await fresh.newCDPSession(one);
    await client.send("Network.enable");
    // Time of the page's thread besides that of the clock: others may use this machine.
    await client.send("Performance.enable", { timeDomain: "threadTicks" });
    let bytes = 0;
    client.on("Network.loadingFinished", ({ encodedDataLength }) => (bytes += encodedDataLength));
    const started = performance.now();
    await one.goto(net.market_url, { waitUntil: "load" });
    await one.getByRole("heading", { name: "Ladder" }).waitFor();
    const ms = performance.now() - started;
    const thread_ms = (await client.send("Performance.getMetrics")).metrics.find(({ name }) => name === "TaskDuration").value * 1_000;
    console.log(`first load: ${bytes} bytes, answers and headers; the ladder stands after ${Math.round(ms)} ms, ${Math.round(thread_ms)} ms of them the page's own work`);
    assert.ok(bytes > 10_000 && bytes <= gzip_bytes_max, `${bytes} bytes`);
    assert.ok(thread_ms < 1_000, `${thread_ms} ms`);
    await fresh.close();
  });
});

describe("a buyer's way", { skip: no_browser }, () => {
  test("the market shows the worker's asks", async () => {
    await go("/");
    const [ask] = await net.open_asks();
    await page.locator("td.ask").first().waitFor();
    const shown = await page.locator("td.ask").first().innerText();
    const steps = (await net.open_asks()).filter((one) => one.ask.unitKind === "training_step");
    const least = steps.map((one) => Number(one.ask.price)).sort((a, b) => a - b)[0];
    assert.equal(Math.round(Number(shown.replaceAll("\u202f", "")) * 1e6), least);
    assert.ok(ask);
    await page.getByText("Live.").waitFor();
    await page.locator(".uplot canvas").first().waitFor();
  });

  test("signing in: a refused signature and a wrong chain are told, then it works", async () => {
    await go("/app/account");
    wallet.chain = 1;
    await page.getByRole("button", { name: "Connect Test wallet" }).click();
    await page.getByText("The wallet is on chain 1; this market settles on chain 31337.").waitFor();
    wallet.switches = false;
    await page.getByRole("button", { name: "Sign in with the wallet" }).click();
    await page.getByText(/Choose it there, or add it first/).first().waitFor();
    wallet.switches = true;
    wallet.reject = true;
    await page.getByRole("button", { name: "Sign in with the wallet" }).click();
    await page.getByText("You declined in the wallet. Nothing was signed or sent.").waitFor();
    assert.equal(wallet.chain, chain_id, "the console switched the wallet");
    await page.getByRole("button", { name: "Sign in with the wallet" }).click();
    await page.getByRole("heading", { name: "API keys" }).waitFor();
  });

  test("a deposit shows what is signed, and arrives", async () => {
    await page.getByLabel("Deposit: amount").fill("0.0000001");
    await page.getByText("an amount like 12.5").waitFor();
    await page.getByLabel("Deposit: amount").fill("5000");
    await page.getByText("at most 1").waitFor();
    await page.getByLabel("Deposit: amount").fill("100");
    await page.getByRole("button", { name: "Deposit", exact: true }).click();
    await page.locator("dialog[open]").waitFor();
    assert.deepEqual(await axe_findings(page), [], "the dialog before a signature");
    const permit = await agree("Allow the escrow to take the tokens");
    assert.match(permit, /100 tokens/);
    assert.match(permit, new RegExp(net.deployment.escrow));
    await agree("Deposit");
    await until("the escrow to hold it", async () => (await escrow_account())[0] === 100_000_000n);
    await until("the market to see it", async () => (await net.rest.get(`/v1/accounts/${buyer.address}`)).available === "100000000");
    await page.locator(".figure", { hasText: "the market lets you spend" }).getByText("100", { exact: true }).waitFor();
  });

  test("an API key is shown once and can be revoked", async () => {
    const nasty = "<img src=x onerror=alert(1)>";
    await page.getByLabel("Label").fill(nasty);
    await page.getByLabel("May spend, tokens").fill("none");
    await page.getByRole("button", { name: "New key", disabled: true }).waitFor();
    await page.getByLabel("May spend, tokens").fill("0.25");
    await page.getByLabel("Lasts, days").fill("7");
    await page.getByLabel("May be used for").selectOption("Completions");
    await page.getByRole("button", { name: "New key" }).click();
    const key = await page.locator(".note.good code").innerText();
    assert.match(key, /^mrk_/);
    assert.equal((await fetch(`${net.market_url}/v1/auth/session`, { headers: { authorization: `Bearer ${key}` } })).status, 200);
    await page.getByRole("cell", { name: nasty, exact: true }).waitFor();
    await page.getByRole("cell", { name: "0.25", exact: true }).waitFor();
    await page.getByRole("cell", { name: "inference", exact: true }).waitFor();
    assert.equal(await page.locator("main img").count(), 0, "a label is text");
    await page.getByRole("button", { name: /^Revoke/ }).click();
    await page.getByText("No key yet.").waitFor();
    assert.equal((await fetch(`${net.market_url}/v1/auth/session`, { headers: { authorization: `Bearer ${key}` } })).status, 401);
  });

  test("a webhook's secret is shown once, its deliveries are told, and it can be deleted", async (t) => {
    if ((await fetch(`${net.market_url}/v1/webhooks`)).status === 404) return t.skip("this market has no webhooks");
    const row = page.getByRole("row", { name: /https:\/\/localhost:1/ });
    await page.getByLabel("Webhook URL").fill("not a url");
    await page.getByRole("button", { name: "New webhook", disabled: true }).waitFor();
    await page.getByLabel("Webhook URL").fill("https://127.0.0.1:1/hook");
    await page.getByRole("button", { name: "New webhook" }).click();
    await page.getByText(/127\.0\.0\.1 is no address of the open Internet/).waitFor();
    await page.getByLabel("Webhook URL").fill("https://localhost:1/hook"); // found out when it is called
    await page.getByLabel("Told of").selectOption("Jobs");
    await page.getByRole("button", { name: "New webhook" }).click();
    const secret = page.locator(".note.good code", { hasText: "whsec_" });
    const first = await secret.innerText();
    await row.getByText("job.*").waitFor();
    await row.getByRole("button", { name: /^Deliveries/ }).click();
    await page.getByRole("button", { name: "Send a test event" }).click();
    await page.getByRole("row", { name: /webhook\.test.*private address/ }).waitFor();
    assert.deepEqual(await axe_findings(page, { contrast: false }), [], "the delivery log");
    await row.getByRole("button", { name: /^New secret/ }).click();
    await page.getByText(/the old secret signs besides until/).waitFor();
    assert.notEqual(await secret.innerText(), first);
    await row.getByRole("button", { name: /^Pause/ }).click();
    await row.getByText(/off: paused/).waitFor();
    await row.getByRole("button", { name: /^Delete/ }).click();
    await page.getByText("No webhook yet.").waitFor();
    return undefined;
  });

  test("models of images have a form of their own", async () => {
    await go("/app/jobs/new");
    await page.getByLabel("Model", { exact: true }).selectOption("vit");
    await page.getByLabel("Patch, pixels").fill("5");
    await page.getByText("must divide the image's sides").waitFor();
    await page.getByLabel("Patch, pixels").fill("7");
    await page.getByText(/Matches now:|No ask fits now:/).waitFor();
    assert.match(await page.getByLabel("Command line", { exact: true }).innerText(), /--arch vit .*--image-tar 'FILE'.*--patch 7/s);
    await page.getByLabel("Images as").selectOption("idx");
    await page.getByLabel("IDX images").setInputFiles({ name: "images.idx", mimeType: "application/octet-stream", buffer: Buffer.from([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 14, 0, 0, 0, 21, ...Array(14 * 21).fill(0)]) });
    await page.getByText("images.idx, 310 bytes").waitFor();
    assert.equal(await page.getByLabel("Image width").inputValue(), "21", "as the file says");
  });

  test("a job is quoted as the form is filled, signed decoded, and posted", async () => {
    await go("/app/jobs/new");
    await page.getByLabel("Price ceiling per step").fill("0.000001");
    await page.getByText(/No ask fits now:/).waitFor();
    await page.getByLabel("Price ceiling per step").fill("0.001");
    await page.getByText(/Matches now:/).waitFor();
    for (const [label, value] of [["Width", 32], ["Layers", 1], ["Heads", 2], ["Context, bytes", 64], ["Batch", 4], ["Steps", 60]]) await page.getByLabel(label, { exact: true }).fill(String(value));
    await page.getByLabel("Steps per receipt").fill("15");
    await page.getByLabel("Text to learn from").setInputFiles(net.file("text.txt"));
    await page.getByText("text.txt, 100").waitFor();
    await page.getByText("0.06", { exact: true }).waitFor();
    const command = await page.getByLabel("Command line", { exact: true }).innerText();
    assert.match(command, /^millrace train --arch gpt .*--steps 60/s);
    assert.match(await page.getByLabel("curl", { exact: true }).innerText(), /\/v1\/market\/quotes/);
    await page.getByLabel("The quote above in").selectOption("Python");
    assert.match(await page.getByLabel("Python", { exact: true }).innerText(), /^import json.*"\/?.*v1\/market\/quotes"/s);
    wallet.reject = true;
    await page.getByRole("button", { name: "Sign and post" }).click();
    await agree(/^Bid: 60 × training steps, at most 0.001 per step$/);
    await page.getByText("You declined in the wallet. Nothing was signed or sent.").waitFor();
    await page.getByRole("button", { name: "Sign and post" }).click();
    const bid = await agree(/^Bid: 60/);
    assert.match(bid, /0.06 locked at most under one lease/);
    const delegation = await agree("Let the market's delegate sign vouchers for you");
    assert.match(delegation, /may sign vouchers for your leases, nothing else/);
    await page.waitForURL(/\/app\/jobs\/job_/);
    trained = page.url().split("/").at(-1);
  });

  test("it is watched while it trains", async () => {
    await page.locator("#loss-now").waitFor({ timeout: 120_000 });
    await page.locator(".uplot canvas").first().waitFor();
    await page.locator("#job-state", { hasText: "completed" }).waitFor({ timeout: 180_000 });
    const { units_done } = await net.job(trained);
    assert.equal(units_done, "60");
    await page.getByText(/60 of 60 steps/).waitFor();
    const [lease] = await net.settled(trained);
    await page.locator("#spent", { hasText: String(Number(lease.amount) / 1e6) }).waitFor();
    await page.getByText(/Held out at step 60/).waitFor();
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "Download" }).first().click();
    assert.match((await download).suggestedFilename(), /^job_.*\.safetensors$/);
  });

  test("the model is served and answers, with price and receipts", async () => {
    await page.getByRole("link", { name: "Serve this model" }).click();
    await page.getByLabel("Name").fill("console-moby");
    await page.getByText(/Matches now:/).waitFor();
    await page.getByRole("button", { name: "Sign and post" }).click();
    await agree(/input tokens/);
    await agree(/output tokens/);
    await agree("Let the market's delegate sign vouchers for you");
    await page.waitForURL(/\/app\/jobs\/job_/);
    await page.getByRole("link", { name: "Chat with it" }).click({ timeout: 90_000 });
    await page.getByLabel("Model").selectOption("console-moby");
    await page.getByLabel("Tokens at most").fill("12");
    await page.getByLabel("Message").fill("Whale?");
    await page.getByRole("button", { name: "Send" }).click();
    const bill = page.locator(".said.assistant .hint");
    await bill.waitFor({ timeout: 60_000 });
    assert.match(await bill.innerText(), /Cost 0\.0000\d+/);
    assert.equal(await bill.locator("a").count(), 2, "a receipt for tokens in, one for tokens out");
    assert.ok((await page.locator(".said.assistant p").innerText()).length > 0);
  });

  test("a chat's receipt is found in the log and verified against the chain", async () => {
    const receipt = page.locator(".said.assistant .hint a").last();
    const href = await receipt.getAttribute("href");
    await net.anchored();
    await receipt.click();
    await page.getByRole("heading", { name: "Verify" }).waitFor();
    await page.getByLabel("RPC URL").fill(net.chain.url);
    await page.getByRole("button", { name: "Use it" }).click();
    await page.getByText(`The chain is read through ${new URL(net.chain.url).host}.`).waitFor();
    await page.getByRole("button", { name: "Verify", exact: true }).click();
    const verdict = page.locator("#verdict");
    await verdict.waitFor();
    assert.match(await verdict.innerText(), /^Verified: \d+ of \d+ checks hold\.$/, await page.locator("main").innerText());
    assert.ok(page.url().endsWith(href));
  });

  test("the training lease verifies to the last atom; a market that lies is found out", async () => {
    const [lease] = await net.job_leases(trained);
    await go(`/app/settlement/lease/${lease.id}`);
    const verify = async () => {
      await page.getByRole("button", { name: "Verify", exact: true }).click();
      await page.locator("#verdict").waitFor();
      return page.locator("main").innerText();
    };
    const text = await verify();
    assert.match(text, /Verified: 9 of 9 checks hold/);
    const totals = await settlement_totals(net.chain, net.deployment);
    assert.match(text, new RegExp(`${Number(totals.leases.get(lease.id).paid) / 1e6} for 60 units`));
    // A public node, which searches a part of the chain at once only; then one that searches none.
    const part = Math.max(1, Math.floor(Number(await net.chain.client.getBlockNumber()) / 5));
    let blocks_most = part;
    const ranges = [];
    await page.route(`${net.chain.url}/**`, async (route) => {
      const { id, method, params } = route.request().postDataJSON();
      if (method !== "eth_getLogs") return route.fallback();
      const blocks = Number(params[0].toBlock) - Number(params[0].fromBlock) + 1;
      ranges.push(blocks);
      if (blocks <= blocks_most) return route.fallback();
      return route.fulfill({ headers: { "access-control-allow-origin": "*" }, json: { jsonrpc: "2.0", id, error: { code: -32602, message: "range too large" } } });
    });
    assert.match(await verify(), /Verified: 9 of 9 checks hold/);
    assert.ok(ranges.some((blocks) => blocks > part) && ranges.some((blocks) => blocks <= part), `${ranges}`);
    blocks_most = 0;
    await page.getByRole("button", { name: "Verify", exact: true }).click();
    await page.getByText(/The node lists no events, not even of one block: "range too large"/).waitFor();
    await page.unroute(`${net.chain.url}/**`);
    // One flipped bit in the last receipt's record, as a lying market would serve it.
    await page.route("**/v1/log?*", async (route) => {
      const answer = await route.fetch();
      const lines = (await answer.text()).split("\n").map((line) => {
        if (!line.includes(lease.id.slice(2))) return line;
        const one = JSON.parse(line);
        const at = one.record.indexOf(lease.id.slice(2)) + 64 + 16 + 64 + 2;
        one.record = one.record.slice(0, at) + (one.record[at] === "0" ? "1" : "0") + one.record.slice(at + 1);
        return JSON.stringify(one);
      });
      await route.fulfill({ response: answer, body: lines.join("\n") });
    });
    assert.match(await verify(), /do not hold/);
    await page.unroute("**/v1/log?*");
    // And a lease whose figures are not the chain's.
    await page.route(`**/v1/leases/${lease.id}`, async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ response: answer, json: { ...(await answer.json()), locked: "1" } });
    });
    assert.match(await verify(), /1 of 9 checks do not hold/);
    await page.unroute(`**/v1/leases/${lease.id}`);
  });

  test("a withdrawal is asked for, waits, and leaves", async () => {
    await go("/app/account");
    const before = await net.chain.client.readContract({ address: net.deployment.token, abi: abi_of("SettlementToken"), functionName: "balanceOf", args: [buyer.address] });
    await page.getByLabel("Withdraw: amount").fill("40");
    await page.getByRole("button", { name: "Withdraw", exact: true }).click();
    await agree("Ask for a withdrawal");
    await page.getByText(/40 on the way out/).waitFor();
    await page.getByRole("button", { name: "Take it out" }).click({ timeout: 30_000 });
    await agree("Take the withdrawal out");
    await until("the tokens to be in the wallet", async () =>
      (await net.chain.client.readContract({ address: net.deployment.token, abi: abi_of("SettlementToken"), functionName: "balanceOf", args: [buyer.address] })) === before + 40_000_000n);
    await page.getByLabel("Withdraw: amount").waitFor();
  });
});

describe("the account and the wallet", { skip: no_browser }, () => {
  test("a statement holds every movement, and ends with what the contract has", async () => {
    await go("/app/account");
    await page.getByRole("button", { name: "Make the statement" }).click();
    await page.getByText(/the balances after the last are those that the contract has/).waitFor();
    const download = page.waitForEvent("download");
    await page.getByRole("link", { name: "Save as CSV" }).click();
    const lines = readFileSync(await (await download).path(), "utf8").trim().split("\r\n");
    assert.equal(lines[0], "time,block,transaction,kind,amount,free,earned,withdrawing");
    const [free] = await escrow_account();
    assert.equal(Math.round(Number(lines.at(-1).split(",")[5]) * 1e6), Number(free));
    for (const kind of ["deposit", "lock", "withdraw_request", "withdraw"]) assert.ok(lines.some((line) => line.split(",")[3] === kind), kind);
  });

  test("at another account the session is not used, and the page says so; back again it is", async () => {
    const heard = [];
    const note = (request) => request.url().includes("/v1/") && heard.push(request.headers().authorization ?? null);
    await page.getByRole("heading", { name: "API keys" }).waitFor();
    wallet.account = provider;
    await page.evaluate(() => window.wallet_tell("accountsChanged"));
    await page.getByText(/The wallet is at another account than the session of/).waitFor();
    await page.getByRole("heading", { name: "API keys" }).waitFor({ state: "detached" });
    page.on("request", note);
    await page.getByRole("link", { name: "Provider", exact: true }).click();
    await page.getByRole("heading", { name: "Price rules" }).waitFor();
    assert.ok(heard.length > 0 && heard.every((header) => header === null), "no request for the other account");
    page.off("request", note);
    await page.getByLabel(/^Training steps: price/).fill("abc");
    await page.getByText("an amount like 0.0005").waitFor();
    await page.getByLabel(/^Training steps: price/).fill("0.0007");
    assert.match(await page.getByLabel("Lines of worker.toml", { exact: true }).innerText(), /^price_step = "0\.0007"\nprice_input_token = "[\d.]+"\nprice_output_token = "[\d.]+"$/);
    assert.deepEqual(await axe_findings(page), [], "price rules");
    wallet.chain = 1;
    await page.evaluate(() => window.wallet_tell("chainChanged"));
    await page.getByText("The wallet is on chain 1; this market settles on chain 31337.").waitFor();
    wallet.chain = chain_id;
    wallet.account = buyer;
    await page.evaluate(() => window.wallet_tell("accountsChanged"));
    await page.getByText("signed in", { exact: true }).waitFor();
    assert.equal(await page.getByText(/The wallet is at another account/).count(), 0);
  });

  test("the API's documents are one step away", async () => {
    await page.getByRole("link", { name: "API documents" }).click();
    await page.waitForURL(`${net.market_url}/docs`);
  });
});

describe("whatever the reader's eyes and screen", { skip: no_browser }, () => {
  const every_page = () => {
    const [lease] = [net.lease_shown];
    return ["/", "/app/offers", "/app/jobs", `/app/jobs/${trained}`, "/app/jobs/new", "/app/playground", "/app/settlement", `/app/settlement/lease/${lease}`,
      `/app/provider/${privateKeyToAccount(dev_keys.provider1).address}`, "/app/governance", "/app/account", "/app/nothing"];
  };
  before(async () => {
    if (trained) [net.lease_shown] = (await net.job(trained)).leases;
  });
  const settle = async (on) => {
    await on.getByRole("heading", { level: 1 }).waitFor();
    await on.waitForTimeout(500); // what the page asks for has come, or its empty state stands
  };

  for (const colorScheme of ["light", "dark"]) {
    test(`axe finds nothing in ${colorScheme} colours`, async () => {
      await page.emulateMedia({ colorScheme });
      for (const path of every_page()) {
        await go(path);
        await settle(page);
        assert.deepEqual(await axe_findings(page), [], `${path} in ${colorScheme}`);
        await page.screenshot({ path: net.file(`${colorScheme}${path.replaceAll("/", "_").slice(0, 40)}.png`), fullPage: true });
      }
    });
  }

  test("nothing is wider than 360 px, and signed-out pages say what to do", async () => {
    const narrow = await new_context({ viewport: { width: 360, height: 740 } });
    const one = await narrow.newPage();
    for (const path of every_page()) {
      await one.goto(`${net.market_url}${path}`);
      await settle(one);
      const [wide, view] = await one.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(wide <= view, `${path}: ${wide} px`);
      assert.deepEqual(await axe_findings(one, { contrast: false }), [], `${path}, signed out, narrow`);
    }
    await one.screenshot({ path: net.file("narrow.png"), fullPage: true });
    await narrow.close();
  });

  test("the theme is switched and remembered, and the keyboard reaches the pages", async () => {
    await page.emulateMedia({ colorScheme: "light" });
    await go("/");
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await ground();
    await page.getByLabel("Colours").selectOption("dark");
    const dark = await ground();
    assert.notEqual(dark, light);
    await page.reload();
    assert.equal(await ground(), dark);
    await page.getByLabel("Colours").selectOption("system");
    await page.keyboard.press("Escape");
    await page.evaluate(() => document.body.focus());
    await page.reload();
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the page");
    for (let i = 0; i < 3; ++i) await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Offers");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Offers", level: 1 }).waitFor();
  });

  test("script in what others write is text", async () => {
    await page.route("**/v1/market/book*", async (route) => {
      const answer = await route.fetch();
      const book = await answer.json();
      for (const ask of book.asks) ask.gpu_model = ask.region = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>";
      await route.fulfill({ response: answer, json: book });
    });
    await go("/app/offers");
    await page.getByRole("cell", { name: "<script>window.hacked" }).first().waitFor();
    assert.equal(await page.evaluate(() => window.hacked), undefined);
    assert.equal(await page.locator("main img, main script").count(), 0);
    await page.unroute("**/v1/market/book*");
  });
});

describe("the market restarts while the console is open", { skip: no_browser }, () => {
  let waiting;
  test("it says so, comes back by itself, and shows what changed meanwhile", async () => {
    await go("/");
    await page.getByText("Live.").waitFor();
    await net.processes.kill9("market");
    await page.getByText("Connecting to the market…").waitFor();
    await net.start_market({ anchor_every_ms: 1_000 });
    await page.getByText("Live.").waitFor({ timeout: 30_000 });
    await net.rest.sign_in(buyer);
    const blob = await net.rest.upload(readFileSync(net.file("text.txt")));
    // A bid that nobody takes: it stands in the book, so the depth must show it.
    waiting = (await net.rest.post_job(buyer, small_text_spec(blob), { priceCeiling: 7n, maxAmount: 1_000n })).id;
    await page.locator("td.bid", { hasText: "0.000007" }).waitFor();
  });

  test("a page out of sight gives its connection back, and catches up when it is seen again", async () => {
    const look = (state) => page.evaluate((value) => {
      Object.defineProperty(document, "visibilityState", { value, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, state);
    const streams = [];
    const note = (request) => request.url().includes("/v1/market/stream") && streams.push(request.url());
    page.on("request", note);
    const ended = page.waitForEvent("requestfailed", (request) => request.url().includes("/v1/market/stream"));
    await look("hidden");
    await ended;
    await net.rest.request("POST", `/v1/jobs/${waiting}/cancel`);
    await until("the job to be cancelled", async () => (await net.job(waiting)).state === "cancelled");
    assert.equal(await page.locator("td.bid").count(), 1, "nothing is heard meanwhile");
    await look("visible");
    await page.locator("td.bid").waitFor({ state: "detached" });
    assert.match(streams.at(-1), /\?after=\d+$/, "it went on where it was");
    page.off("request", note);
  });

  test("sixty changes a second are drawn without dropped frames", async () => {
    // The stream is played by the page itself: the real one changes as the market's machine has time.
    const lively = await new_context();
    await lively.addInitScript(() => {
      window.EventSource = class extends EventTarget {
        constructor() {
          super();
          const send = (name, data) => this.dispatchEvent(new MessageEvent(name, { data: JSON.stringify(data) }));
          let sequence = 1e9;
          setTimeout(() => {
            this.onopen?.();
            send("reset", { sequence });
          }, 10);
          window.changes = 0;
          setInterval(() => {
            const units = String(1 + Math.floor(Math.random() * 1e6));
            const price = String(300 + (window.changes % 100));
            send("level", { side: window.changes % 2 ? "ask" : "bid", unit_kind: "training_step", gpu_models: ["cpu"], price, units, orders: 1, sequence: ++sequence });
            ++window.changes;
          }, 1000 / 60);
        }
        close() {}
      };
    });
    const one = await lively.newPage();
    await one.goto(net.market_url);
    await one.locator("td.bid").nth(5).waitFor();
    const client = await lively.newCDPSession(one);
    // Time of the page's thread, not of the clock: others may use this machine.
    await client.send("Performance.enable", { timeDomain: "threadTicks" });
    const busy = async () => (await client.send("Performance.getMetrics")).metrics.find(({ name }) => name === "TaskDuration").value;
    const before_s = await busy();
    const { frames, late, changes } = await one.evaluate(() => new Promise((resolve) => {
      const begin = performance.now();
      const changes = window.changes;
      let last = begin;
      let frames = 0;
      let late = 0;
      const step = (now) => {
        ++frames;
        if (now - last > 25) ++late;
        last = now;
        if (now - begin < 4_000) requestAnimationFrame(step);
        else resolve({ frames, late, changes: window.changes - changes });
      };
      requestAnimationFrame(step);
    }));
    const ms_per_frame = ((await busy()) - before_s) * 1_000 / frames;
    console.log(`${changes / 4} changes a second: ${frames / 4} frames a second, ${late} late, ${ms_per_frame.toFixed(1)} ms of the page's thread for each`);
    assert.ok(ms_per_frame < 1000 / 60, `${ms_per_frame} ms a frame`);
    await lively.close();
  });

  test("nothing was asked of anybody else, and nothing broke", () => {
    assert.deepEqual(outside, []);
    assert.deepEqual(troubles, []);
  });
});
