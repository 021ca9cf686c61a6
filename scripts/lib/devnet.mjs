// SPDX-License-Identifier: Apache-2.0
// A whole market on this machine: chain, signer, market and workers as separate programs, driven through the
// command line and REST as anybody would. What the demo and the end-to-end tests share.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { events } from "./chain_totals.mjs";
import { deploy, dev_keys, place_permit2, privateKeyToAccount, root, start_chain } from "./chain.mjs";
import { Processes, free_port, run } from "./processes.mjs";
import { Rest } from "./rest.mjs";

const bin = (name) => join(process.env.MILLRACE_BIN ?? join(root, "build/release/bin"), name);
const account_of = (name) => privateKeyToAccount(dev_keys[name]);
const million = 1_000_000n;

/** A program said no: its exit code and its last words. */
export class CommandFailed extends Error {
  constructor(program, args, result) {
    super(`${program} ${args.join(" ")}: ${result.stderr.trim() || result.stdout.trim() || `code ${result.code}`}`);
    this.exit_code = result.code;
    this.output = `${result.stdout}${result.stderr}`;
    this.json = parse(result.stdout);
  }
}

export class Devnet {
  processes;
  chain;
  chain_port; // a free one, unless it is set
  deployment;
  deployment_file;
  market_url;
  market_port; // the same
  rest;

  constructor(folder) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true });
    this.processes = new Processes(join(folder, "logs"));
    this.password_file = this.file("password");
    writeFileSync(this.password_file, "only-for-this-machine\n", { mode: 0o600 });
  }

  /** A path in the run's folder. */
  file(...parts) {
    return join(this.folder, ...parts);
  }

  /** Runs a program to its end; the JSON it printed (its last line may be one, too), else its text. */
  async command(program, args, options = {}) {
    const result = await run(bin(program), args, {
      ...options,
      env: { MILLRACE_PASSWORD_FILE: this.password_file, ...options.env },
    });
    if (result.code !== 0) throw new CommandFailed(program, args, result);
    return parse(result.stdout) ?? parse(result.stdout.trim().split("\n").at(-1)) ?? result.stdout.trim();
  }

  /** `millrace … --json` with the wallet and settings of `who`. */
  cli(who, ...args) {
    return this.command("millrace", [...this.cli_options(who), "--json", "--yes", ...args]);
  }

  cli_options(who) {
    return ["--data", this.file(who), "--market", this.market_url, "--rpc", this.chain.url, "--password-file", this.password_file];
  }

  /** Gives `who` a wallet with one of the chain's well-known funded keys. */
  async make_wallet(who, key_name = who) {
    const secret = this.file(`${who}.secret`);
    writeFileSync(secret, dev_keys[key_name], { mode: 0o600 });
    return this.cli(who, "wallet", "import", secret, "--light-key-file");
  }

  /** anvil with the contracts deployed, Permit2 in its place, and tokens in the hands of buyer and providers. */
  async start_chain(options = {}) {
    this.chain = await start_chain(this.processes, { port: this.chain_port });
    this.deployment_file = this.file("deployment.json");
    this.deployment = await deploy(this.chain, this.deployment_file, {
      operator: account_of("operator").address,
      mint: ["buyer", "provider1", "provider2"].map((name) => [account_of(name).address, 1000n * million]),
      "close-window": 2,
      "min-bond": 10n * million,
      ...options,
    });
    await place_permit2(this.chain);
    return this.deployment;
  }

  /** The signer with the operator's key and a delegate's that it makes itself; `policy`: more options of its policy. */
  async start_signer({ policy: more = [] } = {}) {
    const keys = ["--keystore", this.file("signer", "keys"), "--password-file", this.password_file];
    await this.command("millrace-signer", ["import-key", ...keys, "--secret-env", "MILLRACE_KEY", "--light"], {
      env: { MILLRACE_KEY: dev_keys.operator },
    });
    this.delegate = await this.command("millrace-signer", ["new-key", ...keys, "--light"]);
    const policy = await this.command("millrace-signer", ["policy", "--deployment", this.deployment_file, "--delegate", this.delegate, ...more]);
    writeFileSync(this.file("signer", "policy.toml"), `${policy}\n`);
    // A socket's path may have 107 bytes only, and a checkout may lie deep.
    this.signer_socket = join(await mkdtemp(join(tmpdir(), "millrace-")), "signer.sock");
    await this.run_signer();
  }

  /** Starts the signer, the first time or again after it ended. */
  async run_signer({ env } = {}) {
    this.processes.start("signer", bin("millrace-signer"), [
      ...["run", "--keystore", this.file("signer", "keys"), "--password-file", this.password_file, "--socket", this.signer_socket],
      ...["--state", this.file("signer", "state"), "--policy", this.file("signer", "policy.toml")],
    ], { env });
    await this.processes.until("signer", "the signer to be ready", () => accepts(this.signer_socket), { every_ms: 20 });
  }

  /** Writes the market's settings; `change` overrides or adds some. */
  market_config(name, change = {}) {
    const settings = {
      listen: `127.0.0.1:${this.market_port}`,
      data_dir: this.file("market"),
      deployment: this.deployment_file,
      signer_socket: this.signer_socket,
      rpc_url: this.chain.url,
      worker_grace_ms: 3_000,
      settle_poll_ms: 200,
      anchor_every_ms: 5_000,
      ...change,
    };
    const file = this.file(`${name}.toml`);
    writeFileSync(file, Object.entries(settings).map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`).join(""));
    return file;
  }

  /** Starts the market, the first time or again after it ended: same port, same data. */
  async start_market(change, { env } = {}) {
    this.market_port ??= await free_port();
    this.market_url = `http://127.0.0.1:${this.market_port}`;
    this.rest ??= new Rest(this.market_url);
    this.processes.start("market", bin("millrace-market"), ["--config", this.market_config("market", change)], { env });
    await this.processes.until("market", "the market to be ready", async () => (await fetch(`${this.market_url}/readyz`)).ok, { every_ms: 50 });
  }

  /** Sets up, registers and starts a worker; its asks are in the book when this returns. */
  async start_worker(name, key_name, options = {}) {
    const secret = this.file(`${key_name}.secret`);
    writeFileSync(secret, dev_keys[key_name], { mode: 0o600 });
    await this.worker_command(name, "setup", "--yes", "--light-key-files", "--import-provider-key", secret, ...(options.setup ?? []));
    await this.worker_command(name, "register");
    const before = (await this.open_asks()).length;
    await this.run_worker(name, options);
    await this.processes.until(name, `the asks of ${name}`, async () => (await this.open_asks()).length > before);
  }

  worker_options(name) {
    return ["--data", this.file(name), "--market", this.market_url, "--rpc", this.chain.url, "--password-file", this.password_file];
  }

  worker_command(name, command, ...args) {
    return this.command("millrace-worker", [command, ...this.worker_options(name), "--json", ...args]);
  }

  async run_worker(name) {
    this.processes.start(name, bin("millrace-worker"), ["run", ...this.worker_options(name)]);
  }

  async open_asks() {
    return (await this.rest.get("/v1/market/orders?state=open&limit=100")).data;
  }

  job(id) {
    return this.rest.get(`/v1/jobs/${id}`);
  }

  async job_leases(id) {
    return (await this.rest.get(`/v1/jobs/${id}/leases`)).data;
  }

  /** Waits for a job's end; anything but "completed" is an error with the market's reason. */
  async job_done(id, { timeout_ms = 300_000, on_poll = () => {} } = {}) {
    const job = await this.processes.until("market", `job ${id} to end`, async () => {
      const now = await this.job(id);
      await on_poll(now);
      return now.final ? now : undefined;
    }, { timeout_ms, every_ms: 250 });
    if (job.state !== "completed") throw new Error(`job ${id} is ${job.state}: ${job.reason}`);
    return job;
  }

  /** Waits until every lease of a job is closed on chain; gives them. */
  settled(id) {
    return this.processes.until("market", "the leases to be closed on chain", async () => {
      const leases = await this.job_leases(id);
      return leases.length > 0 && leases.every((lease) => ["closed", "open_failed"].includes(lease.state)) ? leases : undefined;
    }, { timeout_ms: 90_000, every_ms: 250 });
  }

  /** Waits until a head of the public log that holds everything up to now is anchored on chain. */
  async anchored() {
    const { log_size } = await this.rest.get("/readyz");
    await this.processes.until("market", "the log to be anchored", async () => {
      const anchors = (await events(this.chain, this.deployment, "ReceiptLog", "receipt_log")).filter((event) => event.eventName === "Anchored");
      return anchors.some((event) => Number(event.args.size) >= log_size);
    }, { timeout_ms: 60_000, every_ms: 250 });
  }

  /** The name of the worker program whose key has this address. */
  worker_named(address, names) {
    return names.find((name) => {
      const { address: own } = JSON.parse(readFileSync(this.file(name, "worker.json"), "utf8"));
      return address.toLowerCase().endsWith(own.toLowerCase().replace(/^0x/, ""));
    });
  }

  async stop() {
    await this.processes.stop_all();
    if (this.signer_socket) rmSync(dirname(this.signer_socket), { recursive: true, force: true });
  }
}

/** Whether somebody listens on a unix socket. */
function accepts(path) {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => socket.end(() => resolve(true)));
    socket.once("error", () => resolve(false));
  });
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
