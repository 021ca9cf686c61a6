// SPDX-License-Identifier: Apache-2.0
// The programs a run starts: each logs to its own file, and none outlives the run.
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { until } from "./wait.mjs";

const stop_ms_max = 10_000;

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
    // The last resort, when the run ends without stop_all: it may not wait any more.
    process.once("exit", () => {
      for (const child of this.#running.values()) this.#signal(child, "SIGKILL");
    });
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

  /** Starts a program in its own process group; `env` adds to this process's environment. */
  start(name, command, args, { cwd, env } = {}) {
    if (this.#running.has(name)) throw new Error(`${name} is running already`);
    const log = openSync(this.log_path(name), "a");
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ["ignore", log, log],
      detached: true,
    });
    closeSync(log);
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
    const error = new Error(`${name} ${this.#ends.get(name)}; the last of its log:\n${this.log_tail(name)}`);
    error.final = true;
    throw error;
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
    this.#signal(child, "SIGKILL");
    await child.ended;
  }

  /** SIGTERM, then SIGKILL when that takes too long. */
  async stop(name) {
    const child = this.#running.get(name);
    if (!child) return;
    this.#signal(child, "SIGTERM");
    const timer = AbortSignal.timeout(stop_ms_max);
    timer.addEventListener("abort", () => this.#running.get(name) === child && this.#signal(child, "SIGKILL"));
    await child.ended;
    this.#signal(child, "SIGKILL"); // what it left in its group
  }

  /** Everything that runs, the latest first. */
  async stop_all() {
    for (const name of [...this.#running.keys()].reverse()) await this.stop(name);
  }

  #signal(child, signal) {
    if (!child.pid) return;
    try {
      process.kill(-child.pid, signal);
    } catch {
      // The group is gone already.
    }
  }
}

/** Runs a program to its end; gives { code, stdout, stderr }. */
export function run(command, args, { cwd, env, input, timeout_ms = 120_000 } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, timeout: timeout_ms });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code: code ?? signal, stdout, stderr }));
    child.stdin.on("error", () => {});
    child.stdin.end(input ?? "");
  });
}
