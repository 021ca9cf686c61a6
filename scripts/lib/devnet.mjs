// SPDX-License-Identifier: Apache-2.0
// A whole market on this machine: chain, signer, market and workers as separate programs, driven through the
// command line and REST as anybody would. What the demo and the end-to-end tests share.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chain_id, deploy, dev_keys, root, start_chain } from "./chain.mjs";
import { Processes, free_port, run } from "./processes.mjs";
import { until } from "./wait.mjs";

const bin = (name) => join(root, "build/release/bin", name);

/** A program said no: its exit code, and the problem document it printed with --json. */
export class CommandFailed extends Error {
  constructor(args, result, problem) {
    super(`millrace ${args.join(" ")}: ${problem?.detail ?? (result.stderr.trim() || result.stdout.trim() || `code ${result.code}`)}`);
    this.exit_code = result.code;
    this.problem = problem;
    this.code = problem?.code;
  }
}

export class Devnet {
  processes;
  chain;
  deployment;
  market;
  workers = [];
  #password_file;

  constructor(folder) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true });
    this.processes = new Processes(join(folder, "logs"));
    this.#password_file = this.file("password");
    writeFileSync(this.#password_file, "only-for-this-machine\n", { mode: 0o600 });
  }

  /** A path in the run's folder. */
  file(...parts) {
    return join(this.folder, ...parts);
  }

  async start_chain(options = {}) {
    this.chain = await start_chain(this.processes, options);
    this.deployment_file = this.file("deployment.json");
    this.deployment = await deploy(this.chain, this.deployment_file, options.deploy);
    return this.deployment;
  }

  /** Runs a program to its end; its JSON, or a CommandFailed. */
  async command(program, args, options = {}) {
    const result = await run(bin(program), args, {
      ...options,
      env: { MILLRACE_PASSWORD_FILE: this.#password_file, ...options.env },
    });
    const lines = result.stdout.trim().split("\n");
    const json = parse(result.stdout) ?? parse(lines.at(-1));
    if (result.code !== 0) throw new CommandFailed(args, result, json ?? parse(result.stderr.trim().split("\n").at(-1)));
    return json ?? result.stdout;
  }

  /** `millrace` as `who`, with --json. */
  cli(who, ...args) {
    return this.command("millrace", [...args, "--json", "--data", this.file(who)]);
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
