// SPDX-License-Identifier: Apache-2.0
// The market's ledger against the chain, an older copy of itself, a damaged disk and a witness.
import assert from "node:assert/strict";
import { cpSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { events } from "../../scripts/lib/chain_totals.mjs";
import { deposit_with_permit, dev_keys, generatePrivateKey, privateKeyToAccount, root } from "../../scripts/lib/chain.mjs";
import { CommandFailed, Devnet } from "../../scripts/lib/devnet.mjs";
import { small_text_spec } from "../../scripts/lib/rest.mjs";
import { ScriptedWorker } from "../../scripts/lib/scripted_worker.mjs";
import { register_worker } from "../../scripts/lib/worker_socket.mjs";

const folder = join(root, "build/test/ledger");
const buyer = privateKeyToAccount(dev_keys.buyer);
let net;

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain({ "min-bond": 0 });
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
  const available = async () => Number((await net.rest.get(`/v1/accounts/${buyer.address}`)).available);
  const before = await available();
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 1_000_000);
  await net.processes.until("market", "the deposit", async () => (await available()) === before + 1_000_000);
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

test("a worker that signs two receipts of one sequence loses its lease, and anybody can prove it on chain", async () => {
  const worker_key = generatePrivateKey();
  const provider = privateKeyToAccount(dev_keys.provider1);
  await register_worker(net.chain, net.deployment, dev_keys.provider1, worker_key);
  const machine = {
    cpu_cores: 2, gpu_count: 1, gpu_model: "cpu", max_flops_per_step: 1_000_000_000_000, ram_mib: 4096, region: "local",
    runtime: "libtorch-1.13.1-cpu", vram_mib: 4096,
  };
  let lease_id;
  const worker = new ScriptedWorker(net.market_url, provider.address, worker_key, machine, 10n);
  try {
    worker.receipts_max = 2;
    await net.rest.sign_in(buyer);
    const ask = await net.rest.request("POST", "/v1/market/orders", { body: await net.rest.ask_body(provider, worker.account.address) });
    assert.equal(ask.status, 201, ask.text);
    const blob = await net.rest.upload("It was the best of times, it was the worst of times. ".repeat(200));
    const { id } = await net.rest.post_job(buyer, small_text_spec(blob));
    const lease = await net.processes.until("market", "two receipts", async () => {
      const [first] = await net.job_leases(id);
      return first?.voucher_sequence === "2" ? first : undefined;
    });
    lease_id = lease.id;
    await worker.equivocate(lease.id);
    await net.processes.until("market", "the lease to end", async () => (await net.job_leases(id))[0].close_reason === "worker_failed");
    assert.equal(worker.last_refusal?.code, "receipt_equivocation");
    const [closed] = await net.settled(id);
    assert.equal(closed.claimed, "10000", "what both sides had signed is paid, and no more");
  } finally {
    await worker.stop();
  }
  await net.anchored();
  const report = await net.cli("auditor", "audit");
  assert.equal(report.ok, true, "the payments are explained all the same");
  assert.deepEqual(report.equivocations.map(({ lease, sequence }) => ({ lease, sequence })), [{ lease: lease_id, sequence: 2 }]);
  const proof = await net.cli("witness", "accuse", lease_id);
  assert.equal(proof.provider, provider.address.toLowerCase());
  const [proved] = await events(net.chain, net.deployment, "Disputes", "disputes");
  assert.equal(proved.args.lease, lease_id);
  await assert.rejects(net.cli("witness", "accuse", lease_id), /AlreadyProven/);
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
