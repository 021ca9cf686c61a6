// SPDX-License-Identifier: Apache-2.0
// Work that is checked by whoever wants to: a job's evidence is gathered from the market, and its segments are run
// again without it. One worker is honest; the other hands in a state twice and changes a checkpoint.
import assert from "node:assert/strict";
import { chmodSync, cpSync, linkSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { deposit_with_permit, dev_keys, privateKeyToAccount, root } from "../../scripts/lib/chain.mjs";
import { write_moby_dick } from "../../scripts/lib/data.mjs";
import { CommandFailed, Devnet } from "../../scripts/lib/devnet.mjs";
import { small_text_spec } from "../../scripts/lib/rest.mjs";

const folder = join(root, "build/test/recheck");
const programs = process.env.MILLRACE_BIN ?? join(root, "build/release/bin");
const buyer = privateKeyToAccount(dev_keys.buyer);
let net;
let honest; // a folder with evidence
let cheated;
let doctor;
const jobs = {};

/** A `millrace-job` that trains as it should, and then reports other files than it wrote. */
const cheat = `#!${process.execPath}
const { createHash } = require("node:crypto");
const { spawn } = require("node:child_process");
const { readFileSync, writeFileSync } = require("node:fs");
const { createInterface } = require("node:readline");
const training = process.argv[2] === "job-child";
const child = spawn(${JSON.stringify(join(programs, "millrace-job"))}, process.argv.slice(2), { stdio: ["pipe", training ? "pipe" : "inherit", "inherit"] });
child.on("exit", (code) => process.exit(code ?? 1));
let folder;
process.stdin.once("data", (start) => (folder = JSON.parse(String(start).split("\\n")[0]).dir));
process.stdin.pipe(child.stdin);
let first;
const told = (event) => {
  if (event.event !== "segment") return event;
  const file = folder + "/" + event.checkpoint;
  let bytes = readFileSync(file);
  if (event.step === 10) first = bytes;
  // Ten steps that were never run: the state before, under another step's number.
  if (event.step === 20) bytes = Buffer.from(first.toString("latin1").replace('"millrace.step":"10"', '"millrace.step":"20"'), "latin1");
  if (event.step === 30) bytes.writeFloatLE(1000, 8 + Number(bytes.readBigUInt64LE(0)) + 64);
  writeFileSync(file, bytes);
  return { ...event, bytes: bytes.length, sha256: "0x" + createHash("sha256").update(bytes).digest("hex") };
};
if (training) createInterface({ input: child.stdout }).on("line", (line) => console.log(JSON.stringify(told(JSON.parse(line)))));
`;

/** The exit status of `millrace-worker recheck`, and what it printed. */
async function recheck(...args) {
  const said = await net.command("millrace-worker", ["recheck", ...args, "--json"], { timeout_ms: 300_000 }).then(
    (json) => ({ code: 0, json }),
    (error) => {
      assert.ok(error instanceof CommandFailed, String(error));
      return { code: error.exit_code, json: error.json, text: error.message };
    },
  );
  return { ...said, results: said.json?.segments?.map((segment) => segment.result) };
}

/** A copy of the honest evidence with something changed. */
function changed(name, change) {
  const copy = net.file(name);
  cpSync(honest, copy, { recursive: true });
  change(copy);
  return copy;
}

/** Trains 30 steps in three segments; gives the job and a folder with its evidence. */
async function run_job(name, blob) {
  const { id } = await net.rest.post_job(buyer, small_text_spec(blob, { steps: 30, segment_steps: 10 }));
  await net.job_done(id);
  const evidence = net.file(name);
  const gathered = await net.cli("buyer", "jobs", "evidence", id, evidence);
  assert.deepEqual({ ...gathered, folder: "" }, { job: id, folder: "", leases: 1, receipts: 3, checkpoints: 3, gone: [] });
  jobs[name] = id;
  return evidence;
}

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain();
  await net.start_signer();
  await net.start_market();
  await net.make_wallet("buyer");
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 100_000_000);
  await net.rest.sign_in(buyer);
  write_moby_dick(net.file("text.txt"), 100_000);
  const blob = await net.rest.upload(readFileSync(net.file("text.txt")));
  await net.processes.until("market", "the deposit to be seen", async () =>
    Number((await net.rest.get(`/v1/accounts/${buyer.address}`)).available) >= 100_000_000);
  await net.start_worker("worker-1", "provider1", { setup: ["--threads", "1"] });
  doctor = await net.worker_command("worker-1", "doctor");
  honest = await run_job("honest", blob);
  await net.processes.stop("worker-1");

  const bin = net.file("bin");
  mkdirSync(bin);
  linkSync(join(programs, "millrace-worker"), join(bin, "millrace-worker"));
  writeFileSync(join(bin, "millrace-job"), cheat);
  chmodSync(join(bin, "millrace-job"), 0o755);
  net.run_worker = async (name) => net.processes.start(name, join(bin, "millrace-worker"), ["run", ...net.worker_options(name)]);
  await net.start_worker("worker-2", "provider2", { setup: ["--threads", "1", "--sandbox", "none"] });
  cheated = await run_job("cheated", blob);
  await net.processes.stop("worker-2");
});
after(() => net?.stop());

describe("with the market there", () => {
  test("doctor tells the speed that setup measured, and how to measure what is not", async () => {
    const speed = (said) => said.checks.find((check) => check.name === "speed").actual;
    const settings = net.file("worker-1", "worker.toml");
    const text = readFileSync(settings, "utf8");
    const [, flops] = text.match(/gflop_per_s = (\d+)/);
    const [, bytes] = text.match(/memory_mb_per_s = (\d+)/);
    assert.ok(Number(flops) > 0 && Number(bytes) > 0);
    assert.equal(speed(doctor), `cpu with 1 threads: ${flops} GFLOP/s and ${bytes} MB/s, measured by setup`);
    writeFileSync(settings, text.replace(/gflop_per_s = \d+/, "gflop_per_s = 0"));
    assert.match(speed(await net.worker_command("worker-1", "doctor")), /not measured.*millrace-worker setup --yes/);
    writeFileSync(settings, text);
  });

  test("only the checkpoints of some segments are fetched, and the others cannot be checked", async () => {
    const some = net.file("some");
    const gathered = await net.cli("buyer", "jobs", "evidence", jobs.honest, some, "--segment", "2");
    assert.equal(gathered.checkpoints, 2);
    assert.equal(readdirSync(join(some, "blobs")).length, 3); // and the text
    const said = await recheck(some);
    assert.deepEqual([said.code, said.results], [2, ["same", "same", "unchecked"]]);
    assert.match(said.json.segments[2].reason, /data_missing/);
    const [one, two] = [await recheck("--segment", "2", some), await recheck("--segment", "1,2", some)];
    assert.deepEqual([one.code, one.results, two.code, two.results], [0, ["same"], 0, ["same", "same"]]);
  });

  test("the spec is the buyer's: others need it from the buyer", async () => {
    await net.make_wallet("stranger", "provider2");
    const own = ["jobs", "evidence", jobs.honest, net.file("strange")];
    await assert.rejects(net.cli("stranger", ...own), (error) => /forbidden/.test(error.message));
    const { spec } = JSON.parse(readFileSync(join(honest, "evidence.jsonl"), "utf8").split("\n")[0]);
    writeFileSync(net.file("spec.json"), spec);
    assert.equal((await net.cli("stranger", ...own, "--spec", net.file("spec.json"))).receipts, 3);
    writeFileSync(net.file("spec.json"), spec.replace('"steps":30', '"steps":31'));
    await assert.rejects(net.cli("stranger", ...own, "--spec", net.file("spec.json")), (error) => error.exit_code === 7 && /spec/.test(error.message));
  });
});

describe("without the market", () => {
  before(() => net.processes.stop("market"));

  test("an honest job comes out the same, segment by segment, and its leases are on the chain", async () => {
    const said = await recheck(honest, "--deployment", net.deployment_file, "--rpc", net.chain.url);
    assert.equal(said.code, 0, said.text);
    assert.deepEqual(said.results, ["same", "same", "same"]);
    assert.deepEqual([said.json.receipted_steps, said.json.chain_checked], [30, true]);
    assert.deepEqual(said.json.segments.map((one) => [one.begin_step, one.end_step]), [[0, 10], [10, 20], [20, 30]]);
    assert.deepEqual(said.json.segments.map((one) => one.found === one.claimed), [true, true, true]);
  });

  test("segments are chosen by number, or by chance from a seed", async () => {
    const by_number = await recheck(honest, "--segment", "3");
    assert.deepEqual(by_number.json.segments.map((one) => one.segment), [3]);
    assert.equal((await recheck(honest, "--segment", "4")).code, 2);
    const seed = "0x" + "5a".repeat(32);
    const [one, two] = [await recheck(honest, "--sample", "1", "--seed", seed), await recheck(honest, "--sample", "1", "--seed", seed)];
    assert.equal(one.code, 0);
    assert.equal(one.json.segments.length, 1);
    assert.equal(one.json.segments[0].segment, two.json.segments[0].segment);
  });

  test("a state handed in twice and a changed checkpoint are found, whoever signed for them", async () => {
    const said = await recheck(cheated, "--rpc", net.chain.url);
    assert.equal(said.code, 1);
    assert.deepEqual(said.results, ["same", "differs", "differs"]);
    assert.match(said.json.segments[1].difference, /\[\d+\]$/);
    assert.ok(said.json.segments[1].distance > 0.5, String(said.json.segments[1].distance));
    assert.notEqual(said.json.segments[2].found, said.json.segments[2].claimed);
    assert.equal((await recheck(cheated, "--segment", "1")).code, 0);
  });

  test("for people it is a line a segment", async () => {
    await assert.rejects(net.command("millrace-worker", ["recheck", cheated]), (error) => {
      assert.equal(error.exit_code, 1);
      assert.match(error.output, /✓ {3}1 {2}steps 0–10 {2}same/);
      assert.match(error.output, /✗ {3}2 {2}steps 10–20 {2}differs: .*\[\d+\]/);
      assert.match(error.output, /1 same, 2 differ, 0 not told; receipts reach to step 30/);
      return true;
    });
  });

  test("evidence that was changed accuses nobody", async () => {
    const lines = (copy, change) => {
      const file = join(copy, "evidence.jsonl");
      writeFileSync(file, change(readFileSync(file, "utf8").split("\n")).join("\n"));
    };
    // A receipt with another checkpoint, one left out in the middle, another price of the ask.
    const other = changed("other", (copy) => lines(copy, (all) => all.map((line) => line.replace(/"responseHash":"0x.{8}/, '"responseHash":"0x00000000'))));
    const gap = changed("gap", (copy) => lines(copy, (all) => all.filter((_, index) => index !== 3)));
    const order = changed("order", (copy) => lines(copy, (all) => all.map((line) => line.replace(/"minUnits":"1"/, '"minUnits":"2"'))));
    for (const [copy, why] of [[other, /not signed/], [gap, /does not follow/], [order, /not of the lease/]]) {
      const said = await recheck(copy);
      assert.equal(said.code, 2);
      assert.match(said.text, /audit_failed/);
      assert.match(said.text, why);
    }
    // The files: one changed, one gone.
    const text = readFileSync(join(honest, "evidence.jsonl"), "utf8");
    const checkpoint = text.match(/"responseHash":"(0x[0-9a-f]{64})"/)[1];
    const flipped = changed("flipped", (copy) => {
      const file = join(copy, "blobs", checkpoint);
      const bytes = readFileSync(file);
      bytes[bytes.length - 1] ^= 1;
      writeFileSync(file, bytes);
    });
    const gone = changed("gone", (copy) => rmSync(join(copy, "blobs", checkpoint)));
    for (const [copy, why] of [[flipped, /data_invalid/], [gone, /data_missing/]]) {
      const said = await recheck(copy);
      assert.deepEqual([said.code, said.results], [2, ["unchecked", "unchecked", "same"]]);
      assert.match(said.json.segments[0].reason, why);
    }
  });

  test("receipts of other contracts, or of a lease that the chain does not know, are none", async () => {
    const elsewhere = net.file("elsewhere.json");
    writeFileSync(elsewhere, readFileSync(net.deployment_file, "utf8").replace(new RegExp(net.deployment.leases, "i"), net.deployment.escrow));
    const said = await recheck(honest, "--deployment", elsewhere);
    assert.deepEqual([said.code, /other contracts/.test(said.text)], [2, true]);
    const stranger = changed("parties", (copy) => {
      const file = join(copy, "evidence.jsonl");
      writeFileSync(file, readFileSync(file, "utf8").replace(/"voucher_signer":"0x[0-9a-fA-F]{40}"/, `"voucher_signer":"${net.deployment.escrow}"`));
    });
    const unable = async (why, ...args) => {
      const { code, text } = await recheck(...args);
      assert.equal(code, 2);
      assert.match(text, why);
    };
    await unable(/the chain knows no lease/, stranger, "--rpc", net.chain.url);
    await unable(/chain_unreachable/, honest, "--rpc", "http://127.0.0.1:1");
    await unable(/evidence\.jsonl/, net.file("nowhere"));
  });
});
