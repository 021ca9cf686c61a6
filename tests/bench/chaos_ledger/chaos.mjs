// SPDX-License-Identifier: Apache-2.0
// kill -9 at the write boundaries of market and signer, while jobs are matched, opened, receipted, claimed and closed
// on a real chain. After each kill the program is started again, and ledger and chain must agree item by item before
// it signs anything (I-07); at intervals and at the end the whole history is audited and replayed (I-01 to I-06,
// I-08 to I-10), and nothing that was acknowledged may be gone (I-16).
//
//   scripts/bench chaos-ledger [--kills N] [--seed S]
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { deposit_with_permit, dev_keys, generatePrivateKey, privateKeyToAccount, root } from "../../../scripts/lib/chain.mjs";
import { settlement_totals, unexplained } from "../../../scripts/lib/chain_totals.mjs";
import { Devnet } from "../../../scripts/lib/devnet.mjs";
import { small_text_spec } from "../../../scripts/lib/rest.mjs";
import { ScriptedWorker } from "../../../scripts/lib/scripted_worker.mjs";
import { until } from "../../../scripts/lib/wait.mjs";
import { register_worker } from "../../../scripts/lib/worker_socket.mjs";

const option = (name, usual) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? usual : Number(process.argv[at + 1]);
};
const kills_wanted = option("kills", 300);
const seed = option("seed", Math.floor(Math.random() * 1e9));
const folder = join(root, "build/bench/chaos-ledger");
const preload = join(root, "build/release/lib/libmillrace_kill_at.so");
const audit_every = 50;

/** mulberry32: the same seed kills at the same places. */
let state = seed;
function random(below) {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) % below;
}

// Program, place, and how often the place is passed in a life of some seconds.
const places = [
  ["market", "market.db-wal:write", 60], ["market", "market.db-wal:sync", 25], ["market", "broadcast:send", 3],
  ["market", "market.db:write", 3], ["market", "market.db:sync", 1],
  ["signer", "signatures.log:write", 8], ["signer", "signatures.log:sync", 8], ["signer", "audit.log:write", 8],
];

const machine = {
  cpu_cores: 2, gpu_count: 1, gpu_model: "cpu", max_flops_per_step: 1_000_000_000_000, ram_mib: 4096, region: "local",
  runtime: "libtorch-1.13.1-cpu", vram_mib: 4096,
};
const settings = {
  worker_grace_ms: 600_000, settle_poll_ms: 50, anchor_every_ms: 1_000, claim_at_atoms: 4_000,
  requests_per_s: 1_000_000, request_burst: 1_000_000, // the proof at the end asks about every lease
};
const buyer = privateKeyToAccount(dev_keys.buyer);
const violations = [];
const killed = {};
const restarts_ms = [];
let net;

const note = (text) => console.error(text);
const violation = (text) => {
  violations.push(text);
  note(`VIOLATION: ${text}`);
};

/** What a client was told is done. */
const promised = { jobs: [], log_size: 0 };

async function tend(work) {
  while (work.on) {
    try {
      const open = (await Promise.all(promised.jobs.slice(-8).map((id) => net.job(id)))).filter((job) => !job.final);
      if (open.length < 4) {
        const spec = small_text_spec(work.blob, { steps: 24, segment_steps: 4 });
        promised.jobs.push((await net.rest.post_job(buyer, spec)).id);
      }
      promised.log_size = Math.max(promised.log_size, (await net.rest.get("/readyz")).log_size);
    } catch (error) {
      // The market is away, or the session went with it.
      if (/unauthorized|401|session/.test(error.message)) await net.rest.sign_in(buyer).catch(() => {});
    }
    await pause(60);
  }
}

/** Blocks come ten times a second, so that finality is no long wait. */
async function mine(work) {
  while (work.on) {
    await net.chain.test.mine({ blocks: 1 }).catch(() => {});
    await pause(100);
  }
}

async function start(program, kill) {
  const env = kill ? { LD_PRELOAD: preload, KILL_AT: kill } : {};
  if (program === "signer") return net.run_signer({ env });
  const began = performance.now();
  await net.start_market(settings, { env });
  restarts_ms.push(performance.now() - began);
}

/** Until the program is dead: by its own order, else from outside at whatever it does then. */
async function wait_for_death(program, place) {
  const deadline = performance.now() + 1_500 + random(1_000);
  while (net.processes.running(program) && performance.now() < deadline) await pause(10);
  const label = net.processes.running(program) ? `${program} at any moment` : `${program} ${place}`;
  if (net.processes.running(program)) await net.processes.kill9(program).catch(() => {});
  killed[label] = (killed[label] ?? 0) + 1;
}

/** Ledger and chain agree: said by the market itself, which signs nothing before. */
async function check_agreement(what) {
  try {
    await until("ledger and chain to agree", async () => {
      const { settlement, log_size } = await net.rest.get("/readyz");
      if (["ledger_mismatch", "log_damaged", "foreign_nonce", "audit_failed"].includes(settlement)) throw new Error(settlement);
      if (log_size < promised.log_size) violation(`${what}: the log of ${promised.log_size} records has ${log_size}`);
      return settlement === "ok";
    }, { timeout_ms: 20_000, every_ms: 30 });
  } catch (error) {
    violation(`${what}: ${error.message}`);
  }
}

async function check_promises(workers) {
  for (const id of promised.jobs) if (!(await net.job(id)).id) violation(`job ${id} is gone`);
  for (const worker of workers) {
    for (const [lease, sequence] of worker.acknowledged) {
      const found = await net.rest.get(`/v1/leases/${lease}`);
      if (Number(found.sequence) < sequence) violation(`lease ${lease}: receipt ${sequence} was acknowledged, ${found.sequence} are there`);
    }
  }
}

async function check_history(what) {
  try {
    await net.anchored();
    const report = await net.cli("auditor", "audit");
    if (!report.ok) violation(`${what}: ${JSON.stringify(report.findings).slice(0, 500)}`);
    const replay = await net.cli("auditor", "replay");
    if (!replay.ok) violation(`${what}: replay: ${replay.defect}`);
    return report;
  } catch (error) {
    violation(`${what}: ${error.message}`);
  }
}

/** Each transaction the market bound is on the chain once, and no other of its account is. */
async function check_transactions() {
  const rows = [];
  for (let page; !page || page.has_more; ) {
    page = await net.rest.get(`/v1/settlements?limit=100${rows.length ? `&after=${rows.at(-1).nonce + 1}` : ""}`);
    rows.push(...page.data);
  }
  const nonce = await net.chain.client.getTransactionCount({ address: net.deployment.operator });
  if (new Set(rows.map((row) => row.nonce)).size !== rows.length) violation("two intents share a nonce");
  if (nonce !== rows.length) violation(`${rows.length} intents, ${nonce} transactions on chain`);
  for (const row of rows) {
    const receipt = await net.chain.client.getTransactionReceipt({ hash: row.transaction }).catch(() => undefined);
    if (receipt?.status !== "success") violation(`${row.kind} of nonce ${row.nonce} is ${receipt?.status ?? "not mined"}`);
  }
  return rows;
}

async function main() {
  const began = performance.now();
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain({ "min-bond": 0 });
  await net.start_signer();
  await net.start_market(settings);
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 900_000_000);
  const work = { on: true };
  const mining = mine(work);
  await net.rest.sign_in(buyer);
  work.blob = await net.rest.upload("It was the best of times, it was the worst of times. ".repeat(200));
  const workers = [];
  for (const key of [dev_keys.provider1, dev_keys.provider2]) {
    const worker_key = generatePrivateKey();
    const provider = privateKeyToAccount(key);
    await register_worker(net.chain, net.deployment, key, worker_key);
    const worker = new ScriptedWorker(net.market_url, provider.address, worker_key, machine, 4n);
    workers.push(worker);
    const ask = await net.rest.request("POST", "/v1/market/orders", { body: await net.rest.ask_body(provider, worker.account.address) });
    if (ask.status !== 201) throw new Error(ask.text);
  }
  const tending = tend(work);
  await until("the first acknowledged receipts", () => workers.every((worker) => worker.acknowledged.size > 0), { timeout_ms: 60_000 })
    .catch((error) => { throw new Error(`${error.message}; ${workers.map((w) => JSON.stringify(w.last_refusal ?? String(w.last_error))).join("; ")}`); });

  for (let kill = 1; kill <= kills_wanted; ++kill) {
    const [program, place, often] = places[random(places.length)];
    const order = `${place}:${random(2) ? "before" : "after"}:${1 + random(often)}`;
    await net.processes.stop(program);
    try {
      await start(program, order);
    } catch {
      // Killed while it started: that counts.
    }
    await wait_for_death(program, place);
    await start(program);
    await check_agreement(`kill ${kill} (${program} ${order})`);
    if (kill % audit_every === 0) await check_history(`after ${kill} kills`);
    if (kill % 10 === 0) note(`${kill} of ${kills_wanted} kills, ${promised.jobs.length} jobs, ${violations.length} violations`);
  }

  work.on = false;
  await tending;
  await net.rest.sign_in(buyer);
  work.on = true;
  const still_mining = mine(work);
  const leases = [];
  for (const id of promised.jobs) {
    try {
      await net.job_done(id, { timeout_ms: 120_000 });
      leases.push(...await net.settled(id));
    } catch (error) {
      violation(error.message);
    }
  }
  await check_promises(workers);
  const rows = await check_transactions();
  const report = await check_history("at the end");
  const totals = await settlement_totals(net.chain, net.deployment);
  for (const odd of unexplained(totals)) violation(odd);
  for (const lease of leases) {
    const paid = totals.leases.get(lease.id)?.paid ?? 0n;
    if (lease.state === "closed" && paid !== BigInt(lease.amount)) violation(`lease ${lease.id}: worth ${lease.amount}, paid ${paid}`);
  }
  work.on = false;
  await Promise.all([mining, still_mining, ...workers.map((worker) => worker.stop())]);
  await net.stop();

  const seconds = (performance.now() - began) / 1000;
  for (const [label, count] of Object.entries(killed).sort()) note(`  ${String(count).padStart(4)}  ${label}`);
  const kills = Object.values(killed).reduce((sum, count) => sum + count, 0);
  const slowest = Math.max(...restarts_ms) / 1000;
  const goal = (name, value, wanted, unit, better) => ({ name, value, goal: wanted, unit, better, met: better === "lower" ? value <= wanted : value >= wanted });
  console.log(JSON.stringify({
    bench: "chaos-ledger",
    metrics: {
      seed, seconds: Math.round(seconds), kills_at_a_boundary: kills - Object.entries(killed).filter(([label]) => /any moment/.test(label)).reduce((sum, [, count]) => sum + count, 0),
      jobs: promised.jobs.length, leases: totals.leases.size, receipts: report?.receipts_checked ?? 0, claims: totals.claims, transactions: rows.length, slowest_start_s: Number(slowest.toFixed(3)),
    },
    goals: [
      goal("kill -9 of market and signer", kills, 300, "kills", "higher"),
      goal("invariants broken", violations.length, 0, "violations", "lower"),
    ],
  }));
}

try {
  execFileSync("test", ["-f", preload]);
  await main();
} catch (error) {
  console.error(`chaos-ledger (seed ${seed}): ${error.stack}`);
  await net?.stop();
  process.exit(1);
}
