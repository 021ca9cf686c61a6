// SPDX-License-Identifier: Apache-2.0
// What is left to a token holder when the market has gone: a copy of the log, any node, and the addresses of the
// contracts. One job is run and settled, the market is stopped, and then it is audited.
import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { launch_browser, no_browser } from "../../scripts/lib/browser.mjs";
import { deposit_with_permit, dev_keys, privateKeyToAccount, root } from "../../scripts/lib/chain.mjs";
import { abi_of, settlement_totals } from "../../scripts/lib/chain_totals.mjs";
import { write_moby_dick } from "../../scripts/lib/data.mjs";
import { CommandFailed, Devnet } from "../../scripts/lib/devnet.mjs";
import { small_text_spec } from "../../scripts/lib/rest.mjs";

const folder = join(root, "build/test/audit");
const buyer = privateKeyToAccount(dev_keys.buyer);
let net;
let log;
let totals;
let lease;

/** `millrace` with the copy of the log and no market. */
const auditor = (...args) => net.cli("auditor", ...args, "--log", log, "--deployment", net.deployment_file);
const refused = async (work, exit_code, code) => {
  const error = await work.then(() => assert.fail("it was not refused"), (reason) => reason);
  assert.ok(error instanceof CommandFailed, String(error));
  assert.equal(error.exit_code, exit_code, error.message);
  if (code) assert.match(error.message, new RegExp(code));
};

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain();
  await net.start_signer();
  await net.start_market({ anchor_every_ms: 1_000 });
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 100_000_000);
  await net.start_worker("worker-1", "provider1", { setup: ["--threads", "1"] });
  await net.rest.sign_in(buyer);
  write_moby_dick(net.file("text.txt"), 200_000);
  const blob = await net.rest.upload(readFileSync(net.file("text.txt")));
  await net.processes.until("market", "the deposit to be seen", async () =>
    Number((await net.rest.get(`/v1/accounts/${buyer.address}`)).available) >= 100_000_000);
  const { id } = await net.rest.post_job(buyer, small_text_spec(blob, { steps: 30, segment_steps: 10 }));
  await net.job_done(id);
  [lease] = await net.settled(id);
  await net.anchored();
  log = net.file("log.jsonl");
  await net.cli("auditor", "log", "fetch", log);
  await net.processes.stop("worker-1");
  await net.processes.stop("market");
  totals = await settlement_totals(net.chain, net.deployment);
});
after(() => net?.stop());

describe("with the market down", () => {
  test("everything is recomputed from a file, a node and the deployment", async () => {
    const report = await auditor("audit");
    assert.ok(report.ok, JSON.stringify(report.findings));
    assert.equal(report.receipts_checked, 3);
    assert.equal(report.paid, String(totals.paid));
    await refused(net.cli("auditor", "audit", "--log", log), 8);
  });

  test("one lease is told from its orders to its end", async () => {
    const report = await auditor("audit", "--lease", lease.id);
    assert.equal(report.leases.length, 1);
    const [story] = report.leases;
    assert.equal(story.receipts, 3);
    assert.equal(story.paid, String(totals.leases.get(lease.id).paid));
    assert.equal(story.closed.reason, "completed");
    assert.ok(story.ask_record !== null && story.bid_record !== null && story.opened.time_s > 0);
    await refused(auditor("audit", "--lease", `0x${"1".repeat(64)}`), 1, "not_found");
    await refused(auditor("audit", "--account", `0x${"1".repeat(40)}`), 1, "not_found");
    await refused(auditor("audit", "--lease", "0x12"), 2, "invalid_field");
  });

  test("a statement ends at what the contract says", async () => {
    for (const account of [buyer.address, net.deployment.treasury]) {
      const file = net.file("statement.csv");
      await auditor("audit", "--account", account, "--csv", file);
      const rows = readFileSync(file, "utf8").trimEnd().split("\r\n").map((row) => row.split(","));
      const [free, locked, earned, withdrawing] = await net.chain.client.readContract({
        address: net.deployment.escrow, abi: abi_of("Escrow"), functionName: "accounts", args: [account],
      });
      const atoms = (text) => BigInt(Math.round(Number(text) * 1e6));
      assert.deepEqual(rows.at(-1).slice(7).map(atoms), [free, locked, earned, withdrawing]);
    }
    await refused(auditor("audit", "--csv", "-"), 2, "missing_field");
  });

  test("a receipt is proved to anybody, offline and on chain", async () => {
    const file = net.file("proof.json");
    const made = await auditor("proof", `${lease.id}:2`, "--out", file);
    assert.equal(made.sequence, 2);
    assert.equal((await auditor("proof", made.receipt)).record, made.record);
    assert.equal((await auditor("proof", String(made.record))).receipt, made.receipt);
    const verify = (...args) => net.command("millrace", ["proof", "--verify", file, "--json", "--data", net.file("auditor"), ...args]);
    assert.equal((await verify()).on_chain, false);
    assert.equal((await verify("--rpc", net.chain.url, "--deployment", net.deployment_file)).on_chain, true);
    const text = readFileSync(file, "utf8");
    writeFileSync(file, text.replace(/"size":\d+/, (size) => `${size}0`));
    await refused(verify(), 7, "audit_failed");
    await refused(auditor("proof", `${lease.id}:9`), 1, "not_found");
  });

  test("a log with one flipped bit fails with 7", async () => {
    const text = readFileSync(log, "utf8");
    const at = text.lastIndexOf('"record":"') + 40;
    const forged = net.file("forged.jsonl");
    writeFileSync(forged, text.slice(0, at) + (text[at] === "0" ? "1" : "0") + text.slice(at + 1));
    await refused(net.cli("auditor", "audit", "--log", forged, "--deployment", net.deployment_file), 7, "audit_failed");
  });

  test("the page draws its charts in a browser and asks for nothing", { skip: no_browser }, async () => {
    const file = net.file("audit.html");
    await auditor("audit", "--html", file);
    const browser = await launch_browser();
    try {
      for (const colorScheme of ["light", "dark"]) {
        const page = await browser.newPage({ colorScheme, viewport: { width: 1200, height: 900 } });
        const requests = [];
        const problems = [];
        page.on("request", (request) => requests.push(request.url()));
        page.on("console", (message) => problems.push(message.text()));
        page.on("pageerror", (error) => problems.push(String(error)));
        await page.goto(`file://${file}`);
        assert.match(await page.locator(".verdict").innerText(), /Every payment is explained/);
        const charts = await page.locator("svg").evaluateAll((all) => all.map((svg) => ({
          name: svg.getAttribute("aria-label"),
          wide: svg.getBoundingClientRect().width,
          drawn: [...svg.querySelectorAll(".bar, .dot")].some((mark) => mark.getBoundingClientRect().height > 1),
          inside: [...svg.querySelectorAll("text")].every((text) => {
            const [inner, outer] = [text.getBoundingClientRect(), svg.getBoundingClientRect()];
            return inner.left >= outer.left - 1 && inner.right <= outer.right + 1;
          }),
        })));
        assert.equal(charts.length, 6);
        for (const chart of charts) assert.ok(chart.wide > 300 && chart.drawn && chart.inside, JSON.stringify(chart));
        assert.deepEqual(requests.filter((url) => url !== `file://${file}` && !url.startsWith("data:")), []);
        assert.deepEqual(problems, []);
        const [ink, ground] = await page.evaluate(() => {
          const style = getComputedStyle(document.body);
          return [style.color, style.backgroundColor];
        });
        assert.notEqual(ink, ground);
        await page.screenshot({ path: net.file(`audit-${colorScheme}.png`), fullPage: true });
        await page.close();
      }
    } finally {
      await browser.close();
    }
  });
});
