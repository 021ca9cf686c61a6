// SPDX-License-Identifier: Apache-2.0
// However scripts/demo is ended in the middle, it leaves no process behind, says so in its last line, and fails.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { root } from "../../scripts/lib/chain.mjs";
import { until } from "../../scripts/lib/wait.mjs";

const stopped = (signal) => `The demo was stopped by ${signal}; everything it started has ended.`;

/** All processes of this machine that are alive: pid → { parent, born, group }. */
function processes() {
  const all = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const [state, parent, group, ...rest] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (state !== "Z") all.set(Number(pid), { parent: Number(parent), group: Number(group), born: rest[16] });
    } catch {
      // It ended while we looked.
    }
  }
  return all;
}

/** Empty when the process has ended. */
function command_line(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}

/** scripts/demo in a process group of its own, as a shell starts it; remembers every process it ever had. */
class Demo {
  output = "";
  seen = new Map(); // pid → born

  constructor(name) {
    this.folder = join(root, "build/test/demo_stop", name);
    rmSync(this.folder, { recursive: true, force: true });
    const env = { ...process.env, MILLRACE_DEMO_FOLDER: this.folder };
    this.child = spawn(join(root, "scripts/demo"), { detached: true, env, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.child.stdout, this.child.stderr]) stream.on("data", (text) => (this.output += text));
    this.ended = new Promise((resolve) => this.child.once("close", (code, signal) => resolve(code ?? signal)));
  }

  /** What it has started so far, children of children too. */
  family() {
    const all = processes();
    const family = [...all.keys()].filter((pid) => {
      for (let one = pid; all.has(one); one = all.get(one).parent) if (one === this.child.pid) return true;
      return false;
    });
    for (const pid of family) this.seen.set(pid, all.get(pid).born);
    return family.filter((pid) => pid !== this.child.pid);
  }

  reaches(text) {
    return until(`the demo to say ${text}`, () => {
      this.family();
      return this.output.includes(text);
    }, { timeout_ms: 120_000, every_ms: 20, alive: () => assert.equal(this.child.exitCode, null, this.output) });
  }

  /** A signal to the whole foreground group, as a terminal sends it. */
  press(signal) {
    this.family();
    process.kill(-this.child.pid, signal);
  }

  async ends_with(code, last_line) {
    const tracking = setInterval(() => this.family(), 20);
    const ended = await this.ended;
    clearInterval(tracking);
    assert.equal(ended, code, this.output);
    assert.equal(this.output.trimEnd().split("\n").at(-1), last_line);
    const all = processes();
    const left = [...this.seen].filter(([pid, born]) => all.get(pid)?.born === born).map(([pid]) => pid);
    assert.ok(this.seen.size > 1, "nothing was started, so nothing was tested");
    assert.deepEqual(left.map(command_line), []);
  }
}

describe("the demo, ended in the middle", () => {
  test("Ctrl-C before its first stage", async () => {
    const demo = new Demo("setup");
    await until("setup to run", () => demo.family().some((pid) => command_line(pid).includes("scripts/setup")), { every_ms: 5 });
    demo.press("SIGINT");
    await demo.ends_with(130, stopped("SIGINT"));
  });
  test("Ctrl-C while the contracts are deployed", async () => {
    const demo = new Demo("chain");
    await demo.reaches("[1/7]");
    await until("chain and deployment", () => demo.family().length > 1, { every_ms: 5 });
    demo.press("SIGINT");
    await demo.ends_with(130, stopped("SIGINT"));
  });
  test("SIGTERM to the script alone while workers are set up", async () => {
    const demo = new Demo("programs");
    await demo.reaches("market at");
    demo.family();
    demo.child.kill("SIGTERM");
    await demo.ends_with(143, stopped("SIGTERM"));
  });
  test("Ctrl-C twice while jobs are trained: the second does not wait", async () => {
    const demo = new Demo("training");
    await demo.reaches("held-out loss");
    demo.press("SIGINT");
    await demo.reaches("Stopping (SIGINT)");
    demo.press("SIGINT");
    assert.equal(await demo.ended, 130, demo.output);
    await until("its sandboxes to follow", () => {
      const all = processes();
      return [...demo.seen].every(([pid, born]) => all.get(pid)?.born !== born);
    }, { timeout_ms: 5_000 });
  });
  test("a market that is killed fails the demo", async () => {
    const demo = new Demo("failure");
    await demo.reaches("data: Moby-Dick");
    const market = demo.family().find((pid) => command_line(pid).includes("millrace-market"));
    process.kill(market, "SIGKILL");
    await demo.ends_with(1, `The demo failed; everything it started has ended. Logs of the programs: ${demo.folder}/logs`);
    assert.match(demo.output, /The demo failed: .*market/s);
  });
});
