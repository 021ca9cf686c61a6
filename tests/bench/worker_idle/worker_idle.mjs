// SPDX-License-Identifier: Apache-2.0
// A worker that is connected to a real market and has no job yet: the memory it holds and the processor time it uses;
// then the same while the market is gone, and how soon after its return the worker is connected again.
//
//   scripts/bench worker-idle [--seconds N]
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { root } from "../../../scripts/lib/chain.mjs";
import { Devnet } from "../../../scripts/lib/devnet.mjs";
import { cpu_seconds } from "../cpu_seconds.mjs";

const at = process.argv.indexOf("--seconds");
const seconds = at < 0 ? 10 : Number(process.argv[at + 1]);
const folder = join(root, "build/bench/worker-idle");
const memory_mib_max = 150;
const cpu_percent_max = 1;
rmSync(folder, { recursive: true, force: true });
const net = new Devnet(folder);

const memory = (pid, name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024;

/** Percent of one core over the time. */
async function busy(pid) {
  const before = cpu_seconds(pid);
  await pause(seconds * 1000);
  return (100 * (cpu_seconds(pid) - before)) / seconds;
}

try {
  await net.start_chain();
  await net.start_signer();
  await net.start_market();
  await net.start_worker("worker", "provider1");
  const pid = net.processes.pid("worker");
  const idle_cpu = await busy(pid);
  const resident = memory(pid, "VmRSS");
  const peak = memory(pid, "VmHWM");
  const threads = Number(/^Threads:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]);

  await net.processes.kill9("market");
  const alone_cpu = await busy(pid);
  const log = net.processes.log_tail("worker", 10_000).split("\n").filter((line) => /warning/.test(line)).length;
  net.processes.must_run("worker");
  await net.start_market();
  const back = performance.now();
  // Its asks stayed in the book, which the market keeps; what has to come back is the worker itself.
  await net.processes.until("worker", "the worker to be back", async () =>
    /connected to the market$/.test(net.processes.log_tail("worker", 1)), { timeout_ms: 60_000, every_ms: 20 });
  const back_s = (performance.now() - back) / 1000;

  const goal = (name, value, limit, unit) => ({ name, value: Number(value.toFixed(3)), goal: limit, unit, better: "lower", met: value <= limit });
  console.log(JSON.stringify({
    bench: "worker_idle",
    metrics: {
      resident_mib: Number(resident.toFixed(1)), peak_mib: Number(peak.toFixed(1)), threads, seconds,
      idle_cpu_percent: Number(idle_cpu.toFixed(3)), alone_cpu_percent: Number(alone_cpu.toFixed(3)),
      alone_tries_logged: log, back_s: Number(back_s.toFixed(2)),
    },
    goals: [
      goal("resident memory before any job", resident, memory_mib_max, "MiB"),
      goal("processor time while idle", idle_cpu, cpu_percent_max, "% of a core"),
      goal("processor time while the market is gone", alone_cpu, cpu_percent_max, "% of a core"),
      goal("connected again after the market is back", back_s, 5, "s"),
    ],
  }));
} finally {
  await net.stop();
}
