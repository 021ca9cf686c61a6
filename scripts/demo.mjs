// SPDX-License-Identifier: Apache-2.0
// The demo's seven stages. `scripts/demo` builds first and then runs this.
import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import OpenAI from "openai";
import { root, tokens } from "./lib/chain.mjs";
import { settlement_totals, unexplained } from "./lib/chain_totals.mjs";
import { write_mnist, write_moby_dick } from "./lib/data.mjs";
import { CommandFailed, Devnet } from "./lib/devnet.mjs";
import { JobWatch } from "./lib/job_watch.mjs";
import { interruption } from "./lib/processes.mjs";
import { LiveRegion, Stages, bold, dim, green, note, red } from "./lib/terminal.mjs";

const keep = process.argv.includes("--keep");
const folder = process.env.MILLRACE_DEMO_FOLDER ?? join(root, "build/demo");
rmSync(folder, { recursive: true, force: true });
const net = new Devnet(folder);
const stages = new Stages(7);
const started = performance.now();
const live = new LiveRegion();
const workers = ["worker-1", "worker-2"];
const model_name = "moby-dick";
const summary = { train: { jobs: [] }, inference: {}, failover: {}, settlement: {}, audit: {}, seconds: {} };

// One thread per worker: two of them share the two cores that a small machine has.
const text_steps = 200;
const digit_steps = 600;
const failover_steps = 60;

/** Polls the jobs until all have ended, showing their curves. */
async function watch_all(watches, { on_poll = async () => {}, timeout_ms = 600_000 } = {}) {
  await net.processes.until("market", "the jobs to end", async () => {
    await Promise.all(watches.map((watch) => watch.poll()));
    await on_poll();
    if (process.stdout.isTTY) live.draw(watches.flatMap((watch) => watch.lines()));
    else for (const line of watches.flatMap((watch) => watch.news())) note(line.trimStart());
    return watches.every((watch) => watch.job.final);
  }, { timeout_ms, every_ms: 400 });
  live.settle();
  for (const watch of watches) {
    if (watch.job.state !== "completed") throw new Error(`${watch.name} is ${watch.job.state}: ${watch.job.reason}`);
  }
}

async function stage_chain() {
  const deployment = await net.start_chain();
  note(`chain ${deployment.chain_id} at ${net.chain.url}; Escrow ${deployment.escrow}`);
  note(`Leases ${deployment.leases}, ReceiptLog ${deployment.receipt_log}, fee ${deployment.fee_bps / 100} %`);
}

async function stage_programs() {
  await net.start_signer();
  await net.start_market();
  note(`market at ${net.market_url}, operator ${net.deployment.operator}, delegate ${net.delegate}`);
  for (const [i, name] of workers.entries()) {
    await net.start_worker(name, `provider${i + 1}`, { setup: ["--threads", "1", "--bond", "50"] });
    note(`${name} is registered, bonded with 50 tokens, and lists its machine`);
  }
}

async function stage_training() {
  await net.make_wallet("buyer");
  await net.cli("buyer", "deposit", "200");
  note("the buyer put 200 tokens into escrow with a permit: one transaction");
  const bytes = write_moby_dick(net.file("moby-dick.txt"));
  const images = write_mnist(net.file("images.idx"), net.file("labels.idx"));
  note(`data: Moby-Dick, ${bytes} bytes; ${images} handwritten digits`);
  const text = await net.cli("buyer", "train", ...["--text", net.file("moby-dick.txt")],
    ...["--width", "160", "--depth", "4", "--heads", "4", "--context", "128", "--batch", "8"],
    ...["--steps", text_steps, "--segment-steps", "25", "--learning-rate", "0.002", "--max-amount", "20", "--detach"]);
  const digits = await net.cli("buyer", "train", ...["--arch", "cnn", "--images", net.file("images.idx"), "--labels", net.file("labels.idx")],
    ...["--holdout-bp", "1000", "--batch", "64", "--eval-batches", "16"],
    ...["--steps", digit_steps, "--segment-steps", "100", "--learning-rate", "0.002", "--max-amount", "20", "--detach"]);
  const watches = [
    new JobWatch(net, text.id, { name: "Moby-Dick transformer", steps: text_steps }),
    new JobWatch(net, digits.id, { name: "MNIST CNN", steps: digit_steps, shows: "accuracy" }),
  ];
  await watch_all(watches);
  return watches;
}

/** What came of stage 3, by the chain's own word: leases opened, receipts vouched for, claims paid. */
async function stage_settlement(watches) {
  for (const watch of watches) {
    const leases = await net.settled(watch.id);
    const receipts = leases.reduce((sum, lease) => sum + Number(lease.sequence), 0);
    const paid = leases.reduce((sum, lease) => sum + BigInt(lease.claimed), 0n);
    note(`${watch.name}: ${receipts} receipts, ${tokens(paid)} tokens paid under ${leases.length} lease(s)`);
    summary.train.jobs.push({ ...watch.figures(), receipts });
  }
}

async function stage_serving(text_job) {
  await net.cli("buyer", "publish", "--name", model_name, "--job", text_job);
  const serve = await net.cli("buyer", "serve", model_name, "--max-amount", "5");
  const { key } = await net.cli("buyer", "keys", "create");
  const client = new OpenAI({ baseURL: `${net.market_url}/v1`, apiKey: key, maxRetries: 0 });

  const start = performance.now();
  let requests = 0;
  let used = 0;
  const completion = await client.completions.create({ model: model_name, prompt: "Call me Ishmael", max_tokens: 48, temperature: 0.7, seed: 1 });
  requests += 1;
  used += completion.usage.total_tokens;
  note(`completion: ${dim(JSON.stringify(completion.choices[0].text))}`);
  const chat = await client.chat.completions.create({ model: model_name, messages: [{ role: "user", content: "Tell me of the whale." }], max_tokens: 32, seed: 2 });
  requests += 1;
  used += chat.usage.total_tokens;
  for (const kind of ["completions", "chat"]) {
    let text = "";
    let last;
    const question = kind === "chat"
      ? client.chat.completions.create({ model: model_name, messages: [{ role: "user", content: "The sea" }], max_tokens: 48, stream: true, stream_options: { include_usage: true }, seed: 3 })
      : client.completions.create({ model: model_name, prompt: "The white whale", max_tokens: 48, stream: true, stream_options: { include_usage: true }, seed: 4 });
    for await (const chunk of await question) {
      text += chunk.choices[0]?.delta?.content ?? chunk.choices[0]?.text ?? "";
      last = chunk;
    }
    assert.ok(text.length > 0, "the stream brought no text");
    requests += 1;
    used += last.usage.total_tokens;
    note(`${kind}, streamed: ${dim(JSON.stringify(text))}`);
  }
  // Some at once: they share the worker's passes through the model.
  const many = await Promise.all(Array.from({ length: 8 }, (_, i) =>
    client.completions.create({ model: model_name, prompt: `Chapter ${i + 1}.`, max_tokens: 32, seed: 10 + i })));
  requests += many.length;
  used += many.reduce((sum, one) => sum + one.usage.total_tokens, 0);
  const seconds = (performance.now() - start) / 1000;

  await net.cli("buyer", "jobs", "cancel", serve.id);
  const leases = await net.settled(serve.id);
  const metered = leases.reduce((sum, lease) => sum + Number(lease.units), 0);
  assert.equal(metered, used, "the tokens that were metered are those that the client was told of");
  summary.inference = { requests, tokens: used, tokens_per_s: Math.round((used / seconds) * 10) / 10 };
  note(`${requests} requests, ${used} tokens, ${summary.inference.tokens_per_s} tokens/s; ${leases.length} leases settled`);
}

async function stage_failover() {
  const job = await net.cli("buyer", "train", ...["--text", net.file("moby-dick.txt")],
    ...["--width", "96", "--depth", "2", "--heads", "4", "--context", "64", "--batch", "8"],
    ...["--steps", failover_steps, "--segment-steps", "10", "--max-amount", "10", "--detach"]);
  const watch = new JobWatch(net, job.id, { name: "Job with a crash", steps: failover_steps });
  let victim;
  let killed_at_step;
  await watch_all([watch], {
    on_poll: async () => {
      if (victim || Number(watch.job.units_done) < 20 || watch.job.final) return;
      const leases = await net.job_leases(job.id);
      victim = net.worker_named(leases.at(-1).worker, workers);
      killed_at_step = watch.step;
      await net.processes.kill9(victim);
      live.say(`      ${red("kill -9")} ${victim} at step ${killed_at_step}`);
    },
  });
  assert.ok(victim, "the job ended before a worker could be killed; make it longer");
  const leases = await net.settled(job.id);
  const totals = await settlement_totals(net.chain, net.deployment);
  const paid_units = leases.map((lease) => Number(totals.leases.get(lease.id).units));
  const paid_in_all = paid_units.reduce((sum, units) => sum + units, 0);
  assert.equal(leases.length, 2, "two leases: one for each worker");
  assert.equal(paid_in_all, failover_steps, "each step is paid once");
  summary.failover = {
    worker: victim, killed_at_step, resumed_at_step: paid_units[0], steps: failover_steps, steps_paid: paid_in_all, paid_twice: paid_in_all > failover_steps,
  };
  note(`went on from the checkpoint at step ${paid_units[0]}; ${paid_units.join(" + ")} = ${paid_in_all} steps paid`);
  await net.run_worker(victim);
}

async function stage_audit() {
  await net.anchored();
  const totals = await settlement_totals(net.chain, net.deployment);
  const report = await net.cli("auditor", "audit");
  assert.ok(report.ok, `the audit found something: ${JSON.stringify(report.findings)}`);
  assert.deepEqual(unexplained(totals), []);
  note(`${green("audit ok")}: ${report.receipts_checked} receipts, ${report.vouchers_checked} vouchers, ${report.claims_checked} claims, ${report.transfers_explained} transfers, every token explained`);

  const log = net.file("log.bin");
  await net.cli("auditor", "log", "fetch", log);
  const bytes = readFileSync(log);
  bytes[Math.floor(bytes.length / 2)] ^= 0x01;
  const forged = net.file("log-forged.bin");
  writeFileSync(forged, bytes);
  let caught;
  try {
    caught = await net.cli("auditor", "audit", "--log", forged);
  } catch (error) {
    if (!(error instanceof CommandFailed)) throw error;
    caught = error.json ?? { ok: false };
  }
  assert.equal(caught.ok, false, "the audit did not see the flipped byte");
  note(`one byte flipped in a copy of the log: ${red("caught")}${caught.findings?.[0] ? ` (${caught.findings[0].code})` : ""}`);
  summary.audit = { ok: true, receipts_checked: report.receipts_checked, tamper_detected: true };
  summary.settlement = {
    leases: totals.leases.size, receipts: report.receipts_checked, vouchers: report.vouchers_checked, transactions: totals.transactions,
    gas_used: String(totals.gas_used), locked: tokens(totals.locked), paid: tokens(totals.paid), fee: tokens(totals.fee),
    refunded: tokens(totals.refunded),
  };
}

function print_summary() {
  const { train, inference, failover, settlement, audit, seconds } = summary;
  const percent = (value) => `${(value * 100).toFixed(1)} %`;
  const [text, digits] = train.jobs;
  console.log(`
${bold("Millrace, from an idle machine to an audited payment")}

  Trained     ${text.name}: held-out loss ${text.first_loss.toFixed(3)} → ${text.last_loss.toFixed(3)} in ${text.steps} steps, ${text.seconds} s, ${text.receipts} receipts
              ${digits.name}: test accuracy ${percent(digits.first_accuracy)} → ${percent(digits.last_accuracy)} in ${digits.steps} steps, ${digits.seconds} s, ${digits.receipts} receipts
  Served      ${inference.requests} requests, ${inference.tokens} tokens, ${inference.tokens_per_s} tokens/s
  Failover    ${failover.worker} killed at step ${failover.killed_at_step}, resumed from step ${failover.resumed_at_step}; ${failover.steps_paid} of ${failover.steps} steps paid, none twice
  Settled     ${settlement.leases} leases, ${settlement.receipts} receipts, ${settlement.vouchers} vouchers in ${settlement.transactions} transactions, ${settlement.gas_used} gas
              ${settlement.paid} paid (fee ${settlement.fee}), ${settlement.refunded} refunded of ${settlement.locked} locked
  Audited     ${audit.receipts_checked} receipts: every token explained; a flipped byte ${audit.tamper_detected ? "was caught" : "was MISSED"}
  Time        ${seconds.total} s: ${Object.entries(seconds).filter(([key]) => key !== "total").map(([key, value]) => `${key} ${value}`).join(", ")}

  ${dim(join(folder, "summary.json").replace(`${root}/`, ""))}
`);
}

function print_invitation() {
  const millrace = `build/release/bin/millrace ${net.cli_options("buyer").join(" ")}`.replaceAll(`${root}/`, "");
  console.log(`It goes on running; Ctrl-C stops it.

  Console     ${net.market_url}/   (in a browser)
  Market      ${net.market_url}   (try /v1/models, /v1/market/book, /openapi.json, /metrics)
  Chain       ${net.chain.url}   (chain id ${net.deployment.chain_id})
  Logs        ${folder.replace(`${root}/`, "")}/logs

  ${millrace} balance
  ${millrace} market
  ${millrace} audit
`);
}

async function main() {
  await stages.run("chain", "Chain: anvil, contracts, settlement token", stage_chain);
  await stages.run("programs", "Programs: signer, market, two workers that register, bond and list themselves", stage_programs);
  const watches = await stages.run("training", "Training: two jobs as signed bids, matched, leased on chain, run in segments", stage_training);
  await stages.run("settlement", "Settlement: receipts, vouchers, claims on chain", () => stage_settlement(watches));
  await stages.run("serving", "Serving: the trained model, by the token, to the openai client", () => stage_serving(watches[0].id));
  await stages.run("failover", "Failover: kill -9 of a worker in the middle of a job", stage_failover);
  await stages.run("audit", "Audit: everything recomputed from public data; then one byte of the log flipped", stage_audit);

  const total = (performance.now() - started) / 1000 + Number(process.env.MILLRACE_SETUP_SECONDS ?? 0) + Number(process.env.MILLRACE_BUILD_SECONDS ?? 0);
  summary.seconds = {
    setup: Number(process.env.MILLRACE_SETUP_SECONDS ?? 0), build: Number(process.env.MILLRACE_BUILD_SECONDS ?? 0),
    ...stages.seconds, total: Math.round(total * 10) / 10,
  };
  writeFileSync(join(folder, "summary.json"), `${JSON.stringify(summary, null, 2)}\n`);
  print_summary();
}

/** Stops everything; the last line says how the demo ended. */
async function end(exit_code, last_line) {
  await net.stop();
  if (last_line) console.error(last_line);
  process.exit(exit_code);
}

const stopped = interruption();
try {
  const early = await Promise.race([stopped, main()]);
  if (early) {
    console.error(`\nStopping (${early.signal}) …`);
    await end(early.exit_code, `The demo was stopped by ${early.signal}; everything it started has ended.`);
  }
  if (keep) {
    print_invitation();
    await stopped;
  }
  await end(0);
} catch (error) {
  console.error(`\n${red("The demo failed:")} ${error.message}`);
  if (process.env.MILLRACE_TRACE) console.error(error.stack);
  await end(1, `The demo failed; everything it started has ended. Logs of the programs: ${folder}/logs`);
}
