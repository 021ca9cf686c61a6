// SPDX-License-Identifier: Apache-2.0
// The demo's seven stages. `scripts/demo` builds first and then runs this.
import assert from "node:assert/strict";
import { openSync, readFileSync, rmSync, writeFileSync, writeSync, closeSync } from "node:fs";
import { join } from "node:path";
import OpenAI from "openai";
import { dev_keys, privateKeyToAccount, root, tokens } from "./lib/chain.mjs";
import { settlement_totals, unexplained } from "./lib/chain_totals.mjs";
import { write_mnist, write_moby_dick } from "./lib/data.mjs";
import { CommandFailed, Devnet } from "./lib/devnet.mjs";
import { JobWatch } from "./lib/job_watch.mjs";
import { LiveRegion, Stages, bold, dim, green, note, red } from "./lib/terminal.mjs";
import { until } from "./lib/wait.mjs";

const keep = process.argv.includes("--keep");
const folder = join(root, "build/demo");
rmSync(folder, { recursive: true, force: true });
const net = new Devnet(folder);
const stages = new Stages(7);
const started = performance.now();
const live = new LiveRegion();
const workers = ["worker-1", "worker-2"];
const model_name = "moby-dick";

// One thread per worker: two of them share the two cores that a small machine has.
const text_steps = 150;
const digit_steps = 400;
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
    ...["--width", "160", "--depth", "4", "--heads", "4", "--context", "64", "--batch", "16"],
    ...["--steps", text_steps, "--segment-steps", "25", "--learning-rate", "0.002", "--no-watch"]);
  const digits = await net.cli("buyer", "train", ...["--arch", "cnn", "--images", net.file("images.idx"), "--labels", net.file("labels.idx")],
    ...["--holdout-bp", "1000", "--batch", "64", "--eval-batches", "16"],
    ...["--steps", digit_steps, "--segment-steps", "100", "--learning-rate", "0.002", "--no-watch"]);
  const watches = [
    new JobWatch(net, text.id, { name: "Moby-Dick transformer", steps: text_steps }),
    new JobWatch(net, digits.id, { name: "MNIST CNN", steps: digit_steps, shows: "accuracy" }),
  ];
  await watch_all(watches);
  return watches;
}
