// SPDX-License-Identifier: Apache-2.0
// The market's ledger against the chain, an older copy of itself, a damaged disk and a witness.
import assert from "node:assert/strict";
import { cpSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { events } from "../../scripts/lib/chain_totals.mjs";
import { deposit_with_permit, dev_keys, privateKeyToAccount, root } from "../../scripts/lib/chain.mjs";
import { CommandFailed, Devnet } from "../../scripts/lib/devnet.mjs";

const folder = join(root, "build/test/ledger");
const buyer = privateKeyToAccount(dev_keys.buyer);
let net;
let deposited = 0;

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain();
  await net.start_signer();
});
after(() => net?.stop());

const ready = () => net.rest.get("/readyz");
const head = () => net.rest.get("/v1/log/head");
const anchors = async () => (await events(net.chain, net.deployment, "ReceiptLog", "receipt_log"))
  .filter((event) => event.eventName === "Anchored").map((event) => Number(event.args.size));
const operator_nonce = () => net.chain.client.getTransactionCount({ address: net.deployment.operator });

/** Something that the market writes into its log. */
async function deposit() {
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 1_000_000);
  deposited += 1_000_000;
  await net.processes.until("market", "the deposit", async () =>
    Number((await net.rest.get(`/v1/accounts/${buyer.address}`)).available) === deposited);
}

const settlement = (wanted) => net.processes.until("market", `settlement to be ${wanted}`, async () =>
  (await ready()).settlement === wanted);

const stop_market = () => net.processes.stop("market");

function witness(...args) {
  return net.cli("witness", "witness", "--deployment", net.deployment_file, "--folder", net.file("copy"), "--every", "1", ...args);
}

test("a head that the witness has not signed is not anchored", async () => {
  const { address } = privateKeyToAccount(dev_keys.provider2);
  await net.start_market({ witness: address, anchor_every_ms: 1_000 });
  await net.make_wallet("witness", "provider2");
  await settlement("ok");
  await deposit();
  const waiting = await net.processes.until("market", "a signed head", async () => (await head()).signed_head);
  assert.equal(waiting.cosignature, null);
  const { cosignature: _, ...by_the_operator } = waiting;
  const refused = await net.rest.request("POST", "/v1/log/head/cosignature", { body: by_the_operator });
  assert.equal(refused.json.code, "invalid_signature");
  assert.deepEqual(await anchors(), []);

  const signed = await witness("--once");
  assert.ok(signed.size >= 1);
  await net.processes.until("market", "the anchor", async () => (await anchors()).length > 0);
  // A copy good enough to audit from.
  const report = await net.cli("auditor", "audit", "--log", net.file("copy", "log.jsonl"), "--deployment", net.deployment_file);
  assert.equal(report.ok, true);
});

test("without its witness for long the market opens no leases, and says so", async () => {
  await stop_market();
  await net.start_market({ witness: privateKeyToAccount(dev_keys.provider2).address, anchor_every_ms: 1_000, witness_patience_ms: 500 });
  await settlement("unavailable");
});

test("an older copy of the database signs nothing; the newest one goes on", async () => {
  await stop_market();
  await net.start_market({ anchor_every_ms: 1_000 });
  await settlement("ok");
  await deposit();
  await net.anchored();
  await stop_market();
  cpSync(net.file("market"), net.file("backup"), { recursive: true });

  await net.start_market({ anchor_every_ms: 1_000 });
  await deposit();
  await net.anchored();
  await stop_market();
  const nonce = await operator_nonce();
  cpSync(net.file("market"), net.file("newest"), { recursive: true });
  rmSync(net.file("market"), { recursive: true });
  cpSync(net.file("backup"), net.file("market"), { recursive: true });

  await net.start_market({ anchor_every_ms: 1_000 });
  await net.processes.until("market", "settlement to refuse", async () =>
    ["ledger_mismatch", "foreign_nonce"].includes((await ready()).settlement));
  assert.equal(await operator_nonce(), nonce, "it sent something");
  await stop_market();

  rmSync(net.file("market"), { recursive: true });
  cpSync(net.file("newest"), net.file("market"), { recursive: true });
  await net.start_market({ anchor_every_ms: 1_000 });
  await settlement("ok");
  await deposit();
  await net.anchored();
});

test("a witness does not go on from a copy that changed", async () => {
  const copy = net.file("copy", "log.jsonl");
  const forged = net.file("forged");
  cpSync(net.file("copy"), forged, { recursive: true });
  const lines = readFileSync(copy, "utf8").trimEnd().split("\n");
  lines[0] = lines[0].replace(/"record":"0x(..)/, (_, byte) => `"record":"0x${(parseInt(byte, 16) ^ 1).toString(16).padStart(2, "0")}`);
  writeFileSync(join(forged, "log.jsonl"), `${lines.join("\n")}\n`);
  await assert.rejects(
    net.cli("witness", "witness", "--deployment", net.deployment_file, "--folder", forged, "--once"),
    (error) => error instanceof CommandFailed && /log_damaged/.test(error.output));
});

test("no head is signed over a record that changed on disk", async () => {
  await stop_market();
  assert.ok(readdirSync(net.file("market", "snapshots")).length > 0);
  // The engine starts from its snapshot and does not look at old records; what signs must.
  execFileSync("python3", ["-c", `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
record = bytearray(db.execute("SELECT record FROM journal WHERE sequence = 0").fetchone()[0])
record[-40] ^= 1
db.execute("UPDATE journal SET record = ? WHERE sequence = 0", (bytes(record),))
db.commit()
`, net.file("market", "market.db")]);
  const sizes = await anchors();
  await net.start_market({ anchor_every_ms: 1_000 });
  await deposit();
  await settlement("log_damaged");
  assert.deepEqual(await anchors(), sizes);
});
