// SPDX-License-Identifier: Apache-2.0
// The console's files and pages in a real browser: their size, for whatever eyes and screen, with script in what others
// write, and over a restart of the market. What the pages show is a fine-tuning from the form, up to its model's answer.
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { no_browser } from "../../scripts/lib/browser.mjs";
import { createWalletClient, deposit_with_permit, dev_keys, encodeFunctionData, http, parseAbi } from "../../scripts/lib/chain.mjs";
import { sha256, small_text_spec } from "../../scripts/lib/rest.mjs";
import { until } from "../../scripts/lib/wait.mjs";
import { buyer, market_settings, provider, Visit } from "./console/visit.mjs";
import { write_tiny_folder } from "./text/tiny_folder.mjs";

const gzip_bytes_max = 200_000;
let visit;
let net;
let page;
let tuned;

before(async () => {
  if (no_browser) return;
  visit = await Visit.begin("console_pages");
  ({ net, page } = visit);
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 100_000_000);
});
after(() => visit?.end());

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
    const fresh = await visit.new_context();
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

describe("fine-tuning", { skip: no_browser }, () => {
  const answer = "the user in the whale";
  const chat = (question, said) => JSON.stringify({ messages: [{ role: "user", content: question }, { role: "assistant", content: said }] });
  const form = (label) => page.getByLabel(label, { exact: true });
  const open = async () => {
    await visit.go("/app/jobs/new");
    await form("What").selectOption("finetune");
  };
  let shown; // the command line's words for the job

  test("a model that is none, examples that are none and a plan that no worker takes are told before anything is sent", async () => {
    write_tiny_folder(net.file("tiny"));
    write_tiny_folder(net.file("mamba"), { config: { model_type: "mamba" } });
    mkdirSync(net.file("empty"));
    writeFileSync(net.file("empty", "README.md"), "nothing");
    writeFileSync(net.file("bad.jsonl"), `${chat("a", "b")}\n{"messages":[]}\n`);
    writeFileSync(net.file("chats.jsonl"), Array.from({ length: 16 }, (_, i) => `${chat(`What is ${i % 4}?`, answer)}\n`).join(""));
    await visit.sign_in();
    const sent = [];
    const note = (request) => ["PUT", "POST"].includes(request.method()) && !request.url().endsWith("/v1/market/quotes") && sent.push(request.url());
    page.on("request", note);
    await open();
    await page.getByText("Choose the model first.").waitFor();
    await form("Folder").setInputFiles(net.file("empty"));
    await page.getByText("The folder has neither model.safetensors").waitFor();
    await form("Folder").setInputFiles(net.file("mamba"));
    await page.getByText("Models of type mamba are not known here").waitFor();
    await form("Folder").setInputFiles(net.file("tiny"));
    await page.getByText("tiny: llama, 2 layers of width 32, reads 512 tokens, 5 files.").waitFor();
    await form("Examples to learn").setInputFiles(net.file("bad.jsonl"));
    await page.getByText("Line 2 has no messages.").waitFor();
    await form("Examples to learn").setInputFiles(net.file("chats.jsonl"));
    await page.getByText("chats.jsonl, 16 examples").waitFor();
    assert.equal(await form("Steps").inputValue(), "6", "three times through, eight at a time");
    await form("Context, tokens").fill("513");
    await page.getByText("a whole number from 8 to 512").waitFor();
    await page.getByRole("button", { name: "Sign and post", disabled: true }).waitFor();
    await form("Context, tokens").fill("64");
    await page.getByText(/Matches now:/).waitFor();
    page.off("request", note);
    assert.deepEqual(sent, []);
  });

  test("the form's job is quoted, signed decoded, posted and watched to its end", async () => {
    assert.match(await form("Command line").innerText(), /^millrace finetune --folder 'tiny' --data 'chats.jsonl' .*--lora 16 /s);
    await form("Train").selectOption("full");
    for (const [label, value] of [["Steps", 80], ["Steps per receipt", 20], ["Learning rate", "0.01"]]) await form(label).fill(String(value));
    await page.getByText("More", { exact: true }).click();
    await form("Examples to judge by").setInputFiles(net.file("chats.jsonl"));
    await page.getByText("More of the machine").click();
    await form("GFLOP/s at least").fill("999999999");
    await page.getByText(/No ask fits now:/).waitFor();
    for (const [label, value] of [["GFLOP/s at least", 1], ["MB/s at least", 1], ["GPU memory at least, GiB", 1], ["Reliability at least, %", 1]]) await form(label).fill(String(value));
    await page.getByText(/Matches now:/).waitFor();
    await page.getByText("0.08", { exact: true }).waitFor();
    shown = await form("Command line").innerText();
    await page.getByRole("button", { name: "Sign and post" }).click();
    assert.match(await visit.agree(/^Bid: 80 × training steps, at most 0.001 per step$/), /0.08 locked at most under one lease/);
    await visit.agree("Let the market's delegate sign vouchers for you");
    await page.waitForURL(/\/app\/jobs\/job_/);
    tuned = page.url().split("/").at(-1);
    await page.locator("#loss-now", { hasText: "Held out at step 80" }).waitFor({ timeout: 120_000 });
    await page.locator("#job-state", { hasText: "completed" }).waitFor({ timeout: 60_000 });
    await page.getByText(/80 of 80 steps/).waitFor();
    await until("every phase to have its time", async () => (await page.locator("ol.phases time").count()) === 5);
  });

  test("the command line that was shown makes the very same job", async () => {
    await net.make_wallet("buyer");
    const [program, ...words] = shown.replaceAll("\\\n", " ").split(/\s+/).map((word) => word.replace(/^'(.*)'$/, "$1"));
    assert.equal(program, "millrace");
    const args = words.map((word) => (["tiny", "chats.jsonl", "tiny-tuned"].includes(word) ? net.file(word) : word));
    const { id } = await net.cli("buyer", ...args, "--detach");
    await net.rest.sign_in(buyer);
    const spec = async (job) => (await net.rest.request("GET", `/v1/jobs/${job}/spec`)).text;
    assert.equal(await spec(id), await spec(tuned));
    const constraints = async (job) => (await net.job(job)).bids.map((bid) => bid.constraintsHash);
    assert.deepEqual(await constraints(id), await constraints(tuned));
    await net.rest.request("POST", `/v1/jobs/${id}/cancel`); // unless it is done already
  });

  test("its model is served under a name and says what it was taught", async () => {
    await visit.go(`/app/jobs/${tuned}`);
    await page.getByRole("link", { name: "Serve this model" }).click();
    await form("Weights in memory as").selectOption("fp32");
    await form("Name").fill("tuned");
    await page.getByText(/Matches now:/).waitFor();
    assert.match(await form("Command line").innerText(), new RegExp(`^millrace finetune --job ${tuned} --folder FOLDER --out tuned\nmillrace publish tuned --folder tuned --weights fp32\n`));
    await page.getByRole("button", { name: "Sign and post" }).click();
    for (const title of [/input tokens/, /output tokens/, "Let the market's delegate sign vouchers for you"]) await visit.agree(title);
    await page.waitForURL(/\/app\/jobs\/job_/);
    await page.getByRole("link", { name: "Chat with it" }).click({ timeout: 90_000 });
    await form("Temperature").fill("0");
    await form("Message").fill("What is 2?");
    await page.keyboard.press("Enter");
    await page.locator(".said.assistant .hint").waitFor({ timeout: 60_000 });
    assert.equal(await page.locator(".said.assistant p").textContent(), `assistant: ${answer}`);
  });

  test("a model that the market holds is tuned again by its name or its hashes, without being sent", async () => {
    await open();
    await form("The model is").selectOption("own");
    await form("Known as").selectOption("tuned");
    await page.getByText("tuned: llama, 2 layers of width 32").waitFor();
    await form("The model is").selectOption("sums");
    await page.getByText("Choose the model first.").waitFor();
    const names = readdirSync(net.file("tiny"));
    const sums = (change = "") => names.map((name) => `${change || sha256(readFileSync(net.file("tiny", name))).slice(2)}  ${name}\n`).join("");
    await form("Files by hash").fill("0x12  config.json");
    await page.getByRole("button", { name: "Look them up" }).click();
    await page.getByText(/Line 1 is not as sha256sum prints it/).waitFor();
    await form("Files by hash").fill(sums("1".repeat(64)));
    await page.getByRole("button", { name: "Look them up" }).click();
    await page.getByText(/The market has no config.json of that hash/).waitFor();
    await form("Files by hash").fill(sums());
    await page.getByRole("button", { name: "Look them up" }).click();
    await page.getByText("model by hashes: llama, 2 layers of width 32").waitFor();
    await page.getByText(/Matches now:/).waitFor();
    assert.deepEqual(await visit.axe_findings(), [], "the form filled in");
  });

  test("a folder as hubs publish it is offered for serving without any training", async () => {
    await visit.go("/app/jobs/new?serve");
    await form("Serve").selectOption("a published model");
    await form("Folder").setInputFiles(net.file("tiny"));
    await form("Weights in memory as").selectOption("int8");
    await form("Name").fill("no good name");
    await page.getByText("1 to 64 letters, digits").waitFor();
    await form("Name").fill("tiny");
    await page.getByText(/Matches now:/).waitFor();
    assert.match(await form("Command line").innerText(), /^millrace publish tiny --folder 'tiny' --weights int8\nmillrace serve tiny /);
  });
});

describe("what the pages tell", { skip: no_browser }, () => {
  test("trades, candles and ladder are of the class and unit that are chosen", async () => {
    const [lease] = await net.job_leases(tuned);
    await visit.go("/");
    await page.getByLabel("GPU class").selectOption("cpu");
    await page.getByLabel("Trades", { exact: true }).getByRole("link", { name: lease.id.slice(0, 8) }).waitFor();
    await page.getByText(/^Last 0\.0005, high 0\.0005, low 0\.0005, /).waitFor();
    await page.locator("td.ask").waitFor(); // the one
    await page.getByLabel("Sold by").selectOption("GPU time");
    await page.getByText("The book is empty here.").waitFor();
    await page.getByText("No trade yet.", { exact: true }).waitFor();
  });

  test("a job that no ask fits says why, and is cancelled on its page", async () => {
    const blob = await net.rest.upload(readFileSync(net.file("chats.jsonl")));
    const { id } = await net.rest.post_job(buyer, small_text_spec(blob), { priceCeiling: 7n, maxAmount: 1_000n });
    await visit.go(`/app/jobs/${id}`);
    await page.getByText(/Not matched yet: .*price/).waitFor();
    await page.getByRole("button", { name: "Cancel the job" }).click();
    await page.locator("#job-state", { hasText: "cancelled" }).waitFor();
    assert.equal((await net.job(id)).state, "cancelled");
    assert.equal(await page.getByRole("button", { name: "Cancel the job" }).count(), 0);
  });

  test("the log is searched, and saved whole", async () => {
    await visit.go(`/app/jobs/${tuned}`);
    const lines = page.getByLabel("Log", { exact: true }).locator("li");
    await lines.filter({ hasText: "phase completed" }).waitFor();
    const all = await lines.count();
    await page.getByLabel("Search").fill("HELD-out");
    await until("fewer lines", async () => (await lines.count()) < all);
    for (const line of await lines.allInnerTexts()) assert.match(line, /held-out loss/);
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "Download" }).last().click();
    assert.equal(readFileSync(await (await download).path(), "utf8").trim().split("\n").length, all);
  });

  test("a provider's page splits what was earned to the atom", async () => {
    await visit.go(`/app/provider/${provider.address}`);
    const shown = async (name) => Number((await page.locator(".figure", { hasText: name }).locator("b").innerText()).replaceAll("\u202f", ""));
    await until("the page to show what the leases say", async () => { // tokens may be paid meanwhile
      const { data } = await net.rest.get(`/v1/leases?provider=${provider.address}&limit=100`);
      const sum = (field) => data.reduce((total, lease) => total + Number(lease[field]), 0);
      assert.ok(sum("fee") > 0);
      return Math.round((await shown("earned after the fee")) * 1e6) === sum("claimed") - sum("fee") && Math.round((await shown("fee of the market")) * 1e6) === sum("fee");
    });
    await page.getByText("One lease runs.").first().waitFor();
  });
});

describe("whatever the reader's eyes and screen", { skip: no_browser }, () => {
  let every_page;
  before(async () => {
    const [lease] = tuned ? (await net.job(tuned)).leases : [];
    every_page = ["/", "/app/offers", "/app/jobs", `/app/jobs/${tuned}`, "/app/jobs/new", "/app/jobs/new?finetune", "/app/jobs/new?serve", "/app/playground", "/app/settlement", `/app/settlement/lease/${lease}`,
      `/app/provider/${provider.address}`, "/app/governance", "/app/account", "/app/nothing"];
  });
  // For people who want to look: MILLRACE_PICTURES=1 keeps one of each page in the run's folder.
  const picture = async (path, how) => {
    if (process.env.MILLRACE_PICTURES) await page.screenshot({ path: net.file(`${how}${path.replaceAll(/[/?]/g, "_").slice(0, 40)}.png`), fullPage: true });
  };
  const fits = async (on, path) => {
    const [wide, view] = await on.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(wide <= view, `${path}: ${wide} px in ${view}`);
  };

  test("axe finds nothing on any page, in light and in dark colours; none is wider than 360 px", async () => {
    for (const path of every_page) {
      await page.emulateMedia({ colorScheme: "light" });
      await visit.go(path);
      await visit.settled();
      assert.deepEqual(await visit.axe_findings(), [], `${path} in light`);
      await picture(path, "light");
      await page.emulateMedia({ colorScheme: "dark" });
      await visit.settled();
      assert.deepEqual(await visit.axe_findings(page, "only"), [], `${path} in dark`);
      await picture(path, "dark");
      await page.setViewportSize({ width: 360, height: 740 });
      await visit.settled();
      await fits(page, path);
      await picture(path, "narrow");
      await page.setViewportSize({ width: 1200, height: 900 });
    }
  });

  test("signed out and narrow, each page says what to do, and axe finds nothing", async () => {
    const narrow = await visit.new_context({ viewport: { width: 360, height: 740 } });
    const one = await narrow.newPage();
    for (const path of every_page) {
      await one.goto(`${net.market_url}${path}`);
      await visit.settled(one);
      await fits(one, path);
      assert.deepEqual(await visit.axe_findings(one, "without"), [], `${path}, signed out, narrow`);
    }
    await narrow.close();
  });

  test("a decision that waits in the timelock is told in words, and one that was cancelled", async () => {
    const { timelock, governor, treasury } = net.deployment;
    const abi = parseAbi([
      "function schedule(address target, uint256 value, bytes data, bytes32 predecessor, bytes32 salt, uint256 delay)", "function cancel(bytes32 id)", "function setFeeBps(uint16 bps)",
      "function hashOperation(address target, uint256 value, bytes data, bytes32 predecessor, bytes32 salt) view returns (bytes32)",
    ]);
    const none = `0x${"0".repeat(64)}`;
    await net.chain.test.impersonateAccount({ address: governor });
    await net.chain.test.setBalance({ address: governor, value: 10n ** 18n });
    const wallet = createWalletClient({ account: governor, chain: net.chain.chain, transport: http(net.chain.url) });
    const call = async (functionName, args) => net.chain.client.waitForTransactionReceipt({ hash: await wallet.writeContract({ address: timelock, abi, functionName, args }) });
    const fee = (bps) => [treasury, 0n, encodeFunctionData({ abi, functionName: "setFeeBps", args: [bps] }), none, none];
    for (const bps of [200, 400]) await call("schedule", [...fee(bps), 172_800n]);
    await call("cancel", [await net.chain.client.readContract({ address: timelock, abi, functionName: "hashOperation", args: fee(400) })]);
    await visit.go("/app/governance");
    const item = (text) => page.locator("ul.findings li", { hasText: text });
    await item("treasury sets the fee to 2 %").getByText("waits", { exact: true }).waitFor();
    await item("treasury sets the fee to 2 %").getByText(/may be carried out by anybody from/).waitFor();
    await item("treasury sets the fee to 4 %").getByText("cancelled", { exact: true }).waitFor();
    assert.deepEqual(await visit.axe_findings(), []);
  });

  test("the theme is switched and remembered, and the keyboard reaches the pages", async () => {
    await page.emulateMedia({ colorScheme: "light" });
    await visit.go("/");
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

  test("script in what others write is text: offers, logs and reasons, names of models", async () => {
    const nasty = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>";
    const change = (path, edit) => page.route(path, async (route) => {
      const answer = await route.fetch();
      const json = await answer.json();
      edit(json);
      await route.fulfill({ response: answer, json });
    });
    const untouched = async () => {
      assert.equal(await page.evaluate(() => window.hacked), undefined);
      assert.equal(await page.locator("main img, main script").count(), 0);
    };
    await change("**/v1/market/book*", ({ asks }) => asks.forEach((ask) => (ask.gpu_model = ask.region = nasty)));
    await visit.go("/app/offers");
    await page.getByRole("cell", { name: "<script>window.hacked" }).first().waitFor();
    await untouched();
    await change(`**/v1/jobs/${tuned}`, (job) => (job.reason = nasty));
    await page.route(`**/v1/jobs/${tuned}/events`, (route) => route.fulfill({
      contentType: "text/event-stream", body: `id: 1\nevent: phase\ndata: ${JSON.stringify({ state: nasty, units_done: 1, reason: nasty })}\n\nevent: end\ndata: {}\n\n`,
    }));
    await visit.go(`/app/jobs/${tuned}`);
    await page.getByLabel("Log", { exact: true }).getByText(nasty).first().waitFor();
    await page.locator(".note.warn", { hasText: "<script>window.hacked" }).waitFor();
    await untouched();
    await change("**/v1/models", ({ data }) => data.push({ ...data[0], id: nasty }));
    await visit.go("/app/playground");
    await page.getByLabel("Model", { exact: true }).locator("option", { hasText: "<script>" }).waitFor({ state: "attached" });
    await untouched();
    await page.unrouteAll();
  });

  test("offers are filtered and sorted by what was measured", async () => {
    const [ask] = await net.open_asks();
    await page.route("**/v1/market/book*", async (route) => {
      const answer = await route.fetch();
      const book = await answer.json();
      const [first] = book.asks;
      book.asks.push({ ...first, id: `0x${"1".repeat(64)}`, gpu_model: "H100", price: "900", gflop_per_s: 60_000, memory_mb_per_s: 3_000_000 }, { ...first, id: `0x${"2".repeat(64)}`, gpu_model: "old", gflop_per_s: 0, memory_mb_per_s: 0 });
      await route.fulfill({ response: answer, json: book });
    });
    await visit.go("/app/offers");
    const gpus = () => page.locator("tbody tr td:nth-child(3)").allInnerTexts();
    await until("all offers to be shown", async () => (await gpus()).length === 3);
    const thousands = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
    assert.ok(ask.resource.gflop_per_s > 0, "the worker measured itself");
    for (const value of [ask.resource.gflop_per_s, ask.resource.memory_mb_per_s]) await page.getByRole("cell", { name: thousands(value), exact: true }).first().waitFor();
    await page.getByRole("button", { name: "GFLOP/s" }).click();
    assert.deepEqual(await gpus(), ["cpu", "H100", "old"]);
    await page.getByRole("button", { name: "GFLOP/s" }).click();
    assert.deepEqual(await gpus(), ["H100", "cpu", "old"]);
    await page.getByLabel("MB/s at least").fill("1.5");
    await page.getByText("a whole number", { exact: true }).waitFor();
    await page.getByLabel("MB/s at least").fill("2000000");
    await until("one offer", async () => (await gpus()).join() === "H100");
    await page.getByLabel("GPU class").selectOption("cpu");
    await page.getByText("None of 3 offers is like that.").waitFor();
    await page.unrouteAll();
  });
});

describe("the market restarts while the console is open", { skip: no_browser }, () => {
  let waiting;
  test("it says so, comes back by itself, and shows what changed meanwhile", async () => {
    await visit.go("/");
    await page.getByText("Live.").waitFor();
    const job_page = await page.context().newPage();
    await job_page.goto(`${net.market_url}/app/jobs/${tuned}`);
    await job_page.getByRole("heading", { name: "Artifacts" }).waitFor();
    await net.processes.kill9("market");
    await page.getByText("Connecting to the market…").waitFor();
    await job_page.getByText("The market does not answer. It may be restarting.").first().waitFor();
    await job_page.getByRole("heading", { name: "Artifacts" }).waitFor();
    await net.start_market(market_settings);
    await page.getByText("Live.").waitFor({ timeout: 30_000 });
    await job_page.getByText("The market does not answer. It may be restarting.").first().waitFor({ state: "detached" });
    await job_page.getByText("80 of 80 steps").waitFor();
    await job_page.close();
    await net.rest.sign_in(buyer);
    const blob = await net.rest.upload(readFileSync(net.file("chats.jsonl")));
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
    const lively = await visit.new_context();
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

  test("nothing was asked of anybody else, and nothing broke", () => visit.assert_clean());
});
