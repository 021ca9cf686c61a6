// SPDX-License-Identifier: Apache-2.0
// The console in a real browser: a buyer's whole way from signing in to withdrawing, on a real chain, market and worker.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { no_browser } from "../../scripts/lib/browser.mjs";
import { chain_id } from "../../scripts/lib/chain.mjs";
import { abi_of, settlement_totals } from "../../scripts/lib/chain_totals.mjs";
import { write_moby_dick } from "../../scripts/lib/data.mjs";
import { until } from "../../scripts/lib/wait.mjs";
import { buyer, provider, Visit } from "./console/visit.mjs";

let visit;
let net;
let page;
let trained;
const escrow_account = () => net.chain.client.readContract({ address: net.deployment.escrow, abi: abi_of("Escrow"), functionName: "accounts", args: [buyer.address] });

before(async () => {
  if (no_browser) return;
  visit = await Visit.begin("console");
  ({ net, page } = visit);
  write_moby_dick(net.file("text.txt"), 100_000);
});
after(() => visit?.end());

describe("a buyer's way", { skip: no_browser }, () => {
  test("the market shows the worker's asks", async () => {
    await visit.go("/");
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
    await visit.go("/app/account");
    visit.wallet.chain = 1;
    await page.getByRole("button", { name: "Connect Test wallet" }).click();
    await page.getByText("The wallet is on chain 1; this market settles on chain 31337.").waitFor();
    visit.wallet.switches = false;
    await page.getByRole("button", { name: "Sign in with the wallet" }).click();
    await page.getByText(/Choose it there, or add it first/).first().waitFor();
    visit.wallet.switches = true;
    visit.wallet.reject = true;
    await page.getByRole("button", { name: "Sign in with the wallet" }).click();
    await page.getByText("You declined in the wallet. Nothing was signed or sent.").waitFor();
    assert.equal(visit.wallet.chain, chain_id, "the console switched the wallet");
    await page.getByRole("button", { name: "Sign in with the wallet" }).click();
    await page.getByRole("heading", { name: "API keys" }).waitFor();
  });

  test("a deposit shows what is signed, and arrives", async () => {
    await page.getByLabel("Deposit: amount").fill("0.0000001");
    await page.getByText("an amount like 12.5").waitFor();
    await page.getByLabel("Deposit: amount").fill("5000");
    await page.getByText("at most 1").waitFor();
    await page.getByLabel("Deposit: amount").fill("100");
    visit.wallet.reject = true;
    await page.getByRole("button", { name: "Deposit", exact: true }).click();
    await visit.agree("Allow the escrow to take the tokens");
    await page.getByText("You declined in the wallet. Nothing was signed or sent.").waitFor();
    assert.equal((await escrow_account())[0], 0n);
    await page.getByRole("button", { name: "Deposit", exact: true }).click();
    await page.locator("dialog[open]").waitFor();
    assert.deepEqual(await visit.axe_findings(page), [], "the dialog before a signature");
    const permit = await visit.agree("Allow the escrow to take the tokens");
    assert.match(permit, /100 tokens/);
    assert.match(permit, new RegExp(net.deployment.escrow));
    await page.getByRole("heading", { name: "Deposit" }).and(page.locator("dialog[open] h2")).waitFor();
    visit.wallet.reject = true; // the transaction, after the permit was signed
    await visit.agree("Deposit");
    await page.getByText("You declined in the wallet. Nothing was signed or sent.").waitFor();
    assert.equal((await escrow_account())[0], 0n);
    await page.getByRole("button", { name: "Deposit", exact: true }).click();
    await visit.agree("Allow the escrow to take the tokens");
    await visit.agree("Deposit");
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
    assert.deepEqual(await visit.axe_findings(page, "without"), [], "the delivery log");
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
    await visit.go("/app/jobs/new");
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
    await visit.go("/app/jobs/new");
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
    visit.wallet.reject = true;
    await page.getByRole("button", { name: "Sign and post" }).click();
    await visit.agree(/^Bid: 60 × training steps, at most 0.001 per step$/);
    await page.getByText("You declined in the wallet. Nothing was signed or sent.").waitFor();
    await page.getByRole("button", { name: "Sign and post" }).click();
    const bid = await visit.agree(/^Bid: 60/);
    assert.match(bid, /0.06 locked at most under one lease/);
    const delegation = await visit.agree("Let the market's delegate sign vouchers for you");
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
    await visit.agree(/input tokens/);
    await visit.agree(/output tokens/);
    await visit.agree("Let the market's delegate sign vouchers for you");
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
    await visit.go(`/app/settlement/lease/${lease.id}`);
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
    await visit.go("/app/account");
    const before = await net.chain.client.readContract({ address: net.deployment.token, abi: abi_of("SettlementToken"), functionName: "balanceOf", args: [buyer.address] });
    await page.getByLabel("Withdraw: amount").fill("40");
    await page.getByRole("button", { name: "Withdraw", exact: true }).click();
    await visit.agree("Ask for a withdrawal");
    await page.getByText(/40 on the way out/).waitFor();
    await page.getByRole("button", { name: "Take it out" }).click({ timeout: 30_000 });
    await visit.agree("Take the withdrawal out");
    await until("the tokens to be in the wallet", async () =>
      (await net.chain.client.readContract({ address: net.deployment.token, abi: abi_of("SettlementToken"), functionName: "balanceOf", args: [buyer.address] })) === before + 40_000_000n);
    await page.getByLabel("Withdraw: amount").waitFor();
  });
});

describe("the account and the wallet", { skip: no_browser }, () => {
  test("a statement holds every movement, and ends with what the contract has", async () => {
    await visit.go("/app/account");
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
    visit.wallet.account = provider;
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
    assert.deepEqual(await visit.axe_findings(page), [], "price rules");
    visit.wallet.chain = 1;
    await page.evaluate(() => window.wallet_tell("chainChanged"));
    await page.getByText("The wallet is on chain 1; this market settles on chain 31337.").waitFor();
    visit.wallet.chain = chain_id;
    visit.wallet.account = buyer;
    await page.evaluate(() => window.wallet_tell("accountsChanged"));
    await page.getByText("signed in", { exact: true }).waitFor();
    assert.equal(await page.getByText(/The wallet is at another account/).count(), 0);
  });

  test("the API's documents are one step away", async () => {
    await page.getByRole("link", { name: "API documents" }).click();
    await page.waitForURL(`${net.market_url}/docs`);
  });

  test("nothing was asked of anybody else, and nothing broke", () => visit.assert_clean());
});
