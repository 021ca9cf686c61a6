// SPDX-License-Identifier: Apache-2.0
// The operator's guide, run as it stands: keys, contracts, units, a copy brought back; and a copy that is too
// old is refused. `systemctl` is a stand-in that runs what the shipped units say.
import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { dev_keys, fund, privateKeyToAccount, root } from "../../scripts/lib/chain.mjs";
import { abi_of } from "../../scripts/lib/chain_totals.mjs";
import { Devnet } from "../../scripts/lib/devnet.mjs";
import { code_blocks, to_script } from "../../scripts/lib/documents.mjs";
import { free_port, run } from "../../scripts/lib/processes.mjs";
import { Rest, small_text_spec } from "../../scripts/lib/rest.mjs";
import { until } from "../../scripts/lib/wait.mjs";

const folder = join(root, "build/test/operating");
const guide = "marketplace/app/OPERATING.md";
const units = join(root, "marketplace/app/systemd");
const programs = process.env.MILLRACE_BIN ?? join(root, "build/release/bin");
const buyer = privateKeyToAccount(dev_keys.buyer);
let net;
let env;

/** Starts and stops what the units say, with their folders moved; a start returns when the program is there. */
const stand_in = `#!/usr/bin/env bash
set -euo pipefail
action=$1
shift
for unit in "$@"; do
  pid_file="$run/$unit.pid"
  [ "$action" = start ] || [ -f "$pid_file" ] || continue
  if [ "$action" = start ]; then
    line=$(sed -n 's/^ExecStart=//p' "$units/$unit.service")
    line=\${line//\\/usr\\/bin/$programs}
    line=\${line//\\/etc\\/millrace/$etc}
    line=\${line//\\/var\\/lib\\/millrace/$state}
    line=\${line//\\/run\\/millrace/$run}
    line=\${line//'\${CREDENTIALS_DIRECTORY}'/$etc}
    setsid $line >>"$logs/$unit.log" 2>&1 </dev/null &
    echo $! >"$pid_file"
    until [ "$(ps -o sid= -p $! | tr -d ' ')" = $! ]; do kill -0 $!; done # out of this script's session, which ends
    [ "$unit" != millrace-signer ] || until [ -S "$run/signer.sock" ]; do kill -0 "$(cat "$pid_file")"; sleep 0.05; done
  elif [ "$action" = stop ]; then
    kill -TERM "$(cat "$pid_file")" 2>/dev/null || true
    tail --pid="$(cat "$pid_file")" -f /dev/null
    rm -f "$pid_file" $([ "$unit" = millrace-signer ] && echo "$run/signer.sock")
  fi
done
`;

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  mkdirSync(net.file("bin"), { recursive: true });
  writeFileSync(net.file("bin/systemctl"), stand_in, { mode: 0o755 });
  const { start_chain } = await import("../../scripts/lib/chain.mjs");
  net.chain = await start_chain(net.processes);
  const port = await free_port();
  net.market_url = `http://127.0.0.1:${port}`;
  net.rest = new Rest(net.market_url);
  const run_folder = mkdtempSync(join(tmpdir(), "millrace-")); // a socket's path may have 107 bytes only
  env = {
    etc: net.file("etc"), state: net.file("state"), run: run_folder, socket: join(run_folder, "signer.sock"), units, programs, logs: net.file("logs"),
    rpc: net.chain.url, listen: `127.0.0.1:${port}`, DEPLOYER_KEY: dev_keys.deployer,
    PATH: `${net.file("bin")}:${programs}:${join(root, "contracts/node_modules/.bin")}:${process.env.PATH}`,
  };
});
after(async () => {
  if (env) await run("systemctl", ["stop", "millrace-market", "millrace-signer"], { env }).catch(() => {});
  await net?.stop();
  if (env) rmSync(env.run, { recursive: true, force: true });
});

/** The guide's boxes under a heading, in one shell. */
async function follow(heading) {
  const blocks = code_blocks(guide).filter((block) => block.language === "sh" && block.heading === heading);
  assert.ok(blocks.length > 0, heading);
  const result = await run("bash", ["-c", to_script(guide, blocks)], { cwd: root, env, timeout_ms: 120_000 });
  const logs = ["millrace-signer", "millrace-market"].map((unit) => {
    const file = net.processes.log_path(unit);
    return existsSync(file) ? readFileSync(file, "utf8").slice(-1500) : "";
  });
  assert.equal(result.code, 0, `${result.stdout.slice(-1500)}\n${result.stderr.slice(-1500)}\n${logs.join("\n")}`);
  return result.stdout;
}

const systemctl = async (...args) => {
  const result = await run("systemctl", args, { env });
  assert.equal(result.code, 0, `${args.join(" ")}: ${result.stderr}\n${readFileSync(net.processes.log_path("millrace-signer"), "utf8").slice(-1500)}`);
};
const settlement = async () => (await net.rest.get("/readyz")).settlement;
const settles = (status) => until(`settlement to be ${status}`, async () => {
  const said = await settlement();
  if (said !== status) throw new Error(`it is ${said}`);
  return true;
}, { timeout_ms: 60_000 });

/** One job from order to the last token paid. */
async function work() {
  await net.rest.sign_in(buyer);
  const blob = await net.rest.upload(Buffer.from("The operator's guide is run by a test. ".repeat(400)));
  const { id } = await net.rest.post_job(buyer, small_text_spec(blob, { steps: 20 }));
  const job = await until("the job to end", async () => {
    const now = await net.job(id);
    return now.final ? now : undefined;
  }, { timeout_ms: 120_000, every_ms: 200 });
  assert.equal(job.state, "completed", job.reason);
  await until("the leases to be closed", async () => (await net.job_leases(id)).every((lease) => lease.state === "closed"), { timeout_ms: 60_000 });
  return id;
}

test("the units are well formed and start programs that exist", async () => {
  for (const unit of ["millrace-signer", "millrace-market", "millrace-worker"]) {
    const text = readFileSync(join(units, `${unit}.service`), "utf8");
    const line = text.match(/^ExecStart=(.*)$/m)[1].split(" ");
    const program = line[0].replace("/usr/bin", programs);
    assert.ok(existsSync(program), program);
    // Options may be of the program or of its subcommand.
    const words = line[1].startsWith("-") ? [[]] : [[], [line[1]]];
    const help = (await Promise.all(words.map(async (word) => (await run(program, [...word, "--help"])).stdout))).join("");
    for (const option of line.filter((word) => word.startsWith("--"))) assert.ok(help.includes(option), `${unit} ${option}`);
  }
});

test("systemd has nothing to say about the units but that they are not installed", async (t) => {
  const files = ["signer", "market", "worker"].map((name) => join(units, `millrace-${name}.service`));
  const said = await run("systemd-analyze", ["verify", "--man=no", ...files], { env }).catch(() => undefined);
  if (!said) return t.skip("no systemd-analyze here");
  const lines = `${said.stdout}${said.stderr}`.trim().split("\n").filter((line) => /millrace-/.test(line) && !/is not executable/.test(line)); // it also tells of this machine's own units
  assert.deepEqual(lines, []);
});

test("the guide sets up a market that works", async () => {
  await follow("Set up");
  await settles("ok");
  net.deployment_file = join(env.etc, "deployment.json");
  net.deployment = JSON.parse(readFileSync(net.deployment_file, "utf8"));
  for (const name of ["buyer", "provider1"]) await fund(net.chain.url, net.deployment, privateKeyToAccount(dev_keys[name]).address, 1_000_000_000n);
  await net.make_wallet("buyer");
  await net.cli("buyer", "deposit", "50");
  const secret = net.file("provider.secret");
  writeFileSync(secret, dev_keys.provider1, { mode: 0o600 });
  await net.worker_command("worker", "setup", "--yes", "--light-key-files", "--import-provider-key", secret, "--threads", "1");
  await net.worker_command("worker", "register");
  await net.run_worker("worker");
  await net.processes.until("worker", "its asks", async () => (await net.open_asks()).length > 0);
  await work();
});

test("what the alerts and the guide watch is there", async () => {
  const metrics = (await net.rest.request("GET", "/metrics")).text;
  const named = new Set(readFileSync(join(units, "alerts.yml"), "utf8").match(/\bmillrace_\w+/g));
  assert.ok(named.size >= 4);
  for (const name of named) assert.ok(metrics.includes(`# TYPE ${name} `), name);
  const alerts = readFileSync(join(units, "alerts.yml"), "utf8").match(/(?<=alert: )\w+/g);
  for (const name of alerts) assert.ok(readFileSync(join(root, guide), "utf8").includes(`\`${name}\``), name);
});

test("what was copied goes on where it is brought back", async () => {
  const before_it = await net.rest.get("/readyz");
  await follow("Back up, move, bring back");
  await settles("ok");
  const after_it = await net.rest.get("/readyz");
  assert.ok(after_it.log_size >= before_it.log_size, "nothing that was acknowledged is lost");
  await net.processes.until("worker", "the worker to be back", async () => (await net.rest.get("/readyz")).workers > 0, { timeout_ms: 60_000 });
  await work();
  const report = await net.cli("buyer", "audit");
  assert.equal(report.ok, true, JSON.stringify(report.findings));
});

test("a copy that is older than what was signed is refused before anything is signed", async () => {
  const { chain, deployment } = net;
  const operator_nonce = () => chain.client.getTransactionCount({ address: deployment.operator });
  const paid = () => chain.client.readContract({ address: deployment.escrow, abi: abi_of("Escrow"), functionName: "accounts", args: [buyer.address] });
  await systemctl("stop", "millrace-market", "millrace-signer");
  const [nonce, balances] = [await operator_nonce(), await paid()];
  for (const part of ["market", "signer"]) cpSync(join(env.state, part), net.file(`new-${part}`), { recursive: true });
  const restored = await run("bash", ["-c", 'rm -rf "$state/market" "$state/signer" && tar -C "$state" -xf "$etc/backup.tar"'], { env });
  assert.equal(restored.code, 0, restored.stderr);
  await systemctl("start", "millrace-signer", "millrace-market");
  const refused = await until("the market to say no", async () => {
    const said = await settlement().catch(() => readFileSync(net.processes.log_path("millrace-market"), "utf8").match(/foreign_nonce|ledger_mismatch|chain_mismatch/)?.[0]);
    return ["foreign_nonce", "ledger_mismatch", "chain_mismatch"].find((code) => said?.includes(code));
  }, { timeout_ms: 60_000 });
  assert.ok(refused);
  assert.equal(await operator_nonce(), nonce, "nothing was sent");
  assert.deepEqual(await paid(), balances, "nothing was paid");
  // The newest copy is taken as ever.
  await systemctl("stop", "millrace-market", "millrace-signer");
  for (const part of ["market", "signer"]) {
    rmSync(join(env.state, part), { recursive: true, force: true });
    cpSync(net.file(`new-${part}`), join(env.state, part), { recursive: true });
  }
  await systemctl("start", "millrace-signer", "millrace-market");
  await settles("ok");
});
