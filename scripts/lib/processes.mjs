// SPDX-License-Identifier: Apache-2.0
// The programs a run starts: each has its own process group, and none outlives the run, however that ends.
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { final, until } from "./wait.mjs";

const stop_ms_max = 10_000;
const signals = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 };
const groups = new Set(); // process groups of this run that may still live
const commands = new Set(); // those among them that `run` waits for
let interrupted_by;
let tell;

// The last resort, when the run ends without stop_all: it may not wait any more.
process.once("exit", () => groups.forEach((group) => send(group, "SIGKILL")));
for (const [name, number] of Object.entries(signals)) {
  process.on(name, () => {
    if (interrupted_by || !tell) process.exit(128 + number);
    interrupted_by = name;
    commands.forEach((group) => send(group, "SIGTERM"));
    tell({ signal: name, exit_code: 128 + number });
  });
}

/**
 * Resolves with the first signal that wants the run to end; from then on no program can be started. A second signal
 * ends the run at once, as the first one does where nobody asked for this.
 */
export function interruption() {
  return new Promise((resolve) => (tell = resolve));
}

function send(group, signal) {
  try {
    process.kill(-group, signal);
  } catch {
    // The group is gone already.
  }
}

function launch(command, args, options) {
  if (interrupted_by) throw final(new Error(`stopped by ${interrupted_by}`));
  const child = spawn(command, args, { ...options, detached: true });
  if (child.pid) groups.add(child.pid);
  return child;
}

/** Ends what is left of a program's group. */
function sweep(child) {
  if (!child.pid) return;
  send(child.pid, "SIGKILL");
  groups.delete(child.pid);
}

/** A TCP port that is free now. */
export function free_port() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

export class Processes {
  #running = new Map(); // name → child
  #ends = new Map(); // name → how it ended
  #log_folder;

  constructor(log_folder) {
    this.#log_folder = log_folder;
    mkdirSync(log_folder, { recursive: true });
  }

  log_path(name) {
    return join(this.#log_folder, `${name}.log`);
  }

  /** The end of a program's log, for messages. */
  log_tail(name, lines = 15) {
    try {
      return readFileSync(this.log_path(name), "utf8").trimEnd().split("\n").slice(-lines).join("\n");
    } catch {
      return "";
    }
  }

  /** Starts a program; `env` adds to this process's environment. */
  start(name, command, args, { cwd, env } = {}) {
    if (this.#running.has(name)) throw new Error(`${name} is running already`);
    const log = openSync(this.log_path(name), "a");
    let child;
    try {
      child = launch(command, args, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", log, log] });
    } finally {
      closeSync(log);
    }
    child.ended = new Promise((resolve) => {
      child.once("error", (error) => resolve(`could not start: ${error.message}`));
      child.once("exit", (code, signal) => resolve(signal ? `ended by ${signal}` : `ended with code ${code}`));
    }).then((how) => {
      this.#ends.set(name, how);
      if (this.#running.get(name) === child) this.#running.delete(name);
      return how;
    });
    this.#running.set(name, child);
    return child;
  }

  running(name) {
    return this.#running.has(name);
  }

  /** Throws when the program has ended: for `until`'s `alive`. */
  must_run(name) {
    if (this.#running.has(name)) return;
    throw final(new Error(`${name} ${this.#ends.get(name)}; the last of its log:\n${this.log_tail(name)}`));
  }

  /** Waits for a condition that `name` has to bring about. */
  until(name, what, condition, options = {}) {
    return until(what, condition, { ...options, alive: () => this.must_run(name) });
  }

  pid(name) {
    return this.#running.get(name)?.pid;
  }

  /** kill -9, as a power cut would; returns when the process is gone. */
  async kill9(name) {
    const child = this.#running.get(name);
    if (!child) throw new Error(`${name} is not running`);
    sweep(child);
    await child.ended;
  }

  /** SIGTERM, then SIGKILL when that takes too long. */
  async stop(name) {
    const child = this.#running.get(name);
    if (!child) return;
    if (child.pid) send(child.pid, "SIGTERM");
    const timer = setTimeout(() => sweep(child), stop_ms_max);
    await child.ended;
    clearTimeout(timer);
    sweep(child);
  }

  /** Everything that runs, the latest first. */
  async stop_all() {
    for (const name of [...this.#running.keys()].reverse()) await this.stop(name);
  }
}

/** Runs a program to its end; gives { code, stdout, stderr }. Rejects when the run is interrupted. */
export function run(command, args, { cwd, env, input, timeout_ms = 120_000 } = {}) {
  return new Promise((resolve, reject) => {
    const child = launch(command, args, { cwd, env: { ...process.env, ...env }, timeout: timeout_ms });
    if (child.pid) commands.add(child.pid);
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
    child.once("error", reject);
    child.once("exit", () => {
      commands.delete(child.pid);
      sweep(child);
    });
    child.once("close", (code, signal) => {
      if (interrupted_by) reject(final(new Error(`stopped by ${interrupted_by}`)));
      else resolve({ code: code ?? signal, stdout, stderr });
    });
    child.stdin.on("error", () => {});
    child.stdin.end(input ?? "");
  });
}
