// SPDX-License-Identifier: Apache-2.0
// The newcomer's clock, from a running market: a provider's first command to the first job matched on the machine, and a
// buyer from nothing to a streamed token. Both at a terminal, counting questions and commands; and what else a person
// sees there: the live job, Ctrl-C, colours.
import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { dev_keys, fund, root } from "../../scripts/lib/chain.mjs";
import { write_moby_dick } from "../../scripts/lib/data.mjs";
import { Devnet } from "../../scripts/lib/devnet.mjs";
import { Terminal, plain } from "../../scripts/lib/pty.mjs";
import { run } from "../../scripts/lib/processes.mjs";
import { until } from "../../scripts/lib/wait.mjs";

const folder = join(root, "build/test/newcomer");
const programs = process.env.MILLRACE_BIN ?? join(root, "build/release/bin");
let net;
let env;
const open = [];

function terminal(program, args, options = {}) {
  const one = new Terminal(join(programs, program), args, { env, ...options });
  open.push(one);
  return one;
}

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain();
  await net.start_signer();
  await net.start_market();
  env = { HOME: folder, MILLRACE_MARKET: net.market_url, MILLRACE_RPC: net.chain.url, MILLRACE_PASSWORD_FILE: "" };
});
after(async () => {
  open.forEach((one) => one.close());
  await net?.stop();
});

const seconds_since = (start) => Math.round((performance.now() - start) / 100) / 10;
const money_for = (file) => until(`the key file ${file}`, () => {
  const { address } = JSON.parse(readFileSync(net.file(file), "utf8"));
  return `0x${address.replace(/^0x/, "")}`;
}).then((address) => fund(net.chain.url, net.deployment, address, 1_000_000_000n));

test("a provider: from setup to the first matched job in five minutes, with at most three questions", async (t) => {
  await net.make_wallet("tester", "buyer");
  await net.cli("tester", "deposit", "50");
  write_moby_dick(net.file("text.txt"), 100_000);
  const start = performance.now();
  const setup = terminal("millrace-worker", ["setup"]);
  let questions = 0;
  while (setup.code === undefined) {
    const asked = await until("a question, or the end", () => plain(setup.output).match(/\]: /g)?.length > questions || setup.code !== undefined);
    assert.ok(asked);
    if (setup.code !== undefined) break;
    questions += 1;
    setup.type("\n");
  }
  assert.equal(setup.code, 0, setup.output);
  await money_for(".millrace-worker/provider.json");
  const registered = terminal("millrace-worker", ["register"]);
  assert.equal(await registered.ended(), 0, registered.output);
  net.processes.start("worker", join(programs, "millrace-worker"), ["run"], { env });
  await net.processes.until("worker", "its asks", async () => (await net.open_asks()).length > 0);
  const { id } = await net.cli("tester", "train", "--text", net.file("text.txt"), "--width", "32", "--depth", "1", "--heads", "2", "--context", "32",
    "--steps", "20", "--segment-steps", "10", "--max-amount", "1", "--detach");
  await net.processes.until("worker", "the match", async () => (await net.job_leases(id)).length > 0);
  const matched_s = seconds_since(start);
  await net.job_done(id);
  console.log(`newcomer: provider matched after ${matched_s} s, job done after ${seconds_since(start)} s, ${questions} questions`);
  t.diagnostic(`provider: ${matched_s} s, ${questions} questions`);
  assert.ok(matched_s < 300);
  assert.ok(questions <= 3, `${questions} questions`);
  net.trained = id;
});

test("a buyer: from nothing to a streamed token in three commands", async (t) => {
  // The model the buyer brings is a spec that its publisher gave away.
  await net.cli("tester", "publish", "brought", "--job", net.trained);
  const spec = net.file("tester/models/brought.json");
  const start = performance.now();
  const init = terminal("millrace", ["init", "--deposit", "5"]); // 1
  for (const question of [/Market \[/, /Node of the chain .*\[/]) {
    await init.shows(question);
    init.type("\n");
  }
  await init.shows(/Password of/);
  init.type("only for this test\n");
  await init.shows(/Again/);
  init.type("only for this test\n");
  await init.shows(/Waiting for 5 tokens/);
  await money_for(".millrace/wallet.json");
  assert.equal(await init.ended({ timeout_ms: 60_000 }), 0, init.output);
  const serve = terminal("millrace", ["serve", "brought", "--spec", spec, "--max-amount", "1"]); // 2
  await serve.shows(/Password of/);
  serve.type("only for this test\n");
  await serve.shows(/Open the serving leases\? \[y\/N\]/);
  assert.match(plain(serve.output), /Never above +1/, "what it may cost is shown before the question");
  serve.type("y\n");
  assert.equal(await serve.ended({ timeout_ms: 90_000 }), 0, serve.output);
  const chat = terminal("millrace", ["chat", "brought", "Ahoy", "--max-tokens", "8"]); // 3
  assert.equal(await chat.ended({ timeout_ms: 60_000 }), 0, chat.output);
  assert.match(plain(chat.output), /\d+ tokens in, 8 out/);
  const total_s = seconds_since(start);
  console.log(`newcomer: buyer had tokens streamed after ${total_s} s, 3 commands`);
  t.diagnostic(`buyer: ${total_s} s, 3 commands`);
});

test("Ctrl-C leaves a watched job running and says how to come back", async () => {
  const args = ["--data", net.file("tester"), "--password-file", net.password_file, "train", "--text", net.file("text.txt"), "--width", "64", "--depth", "2",
    "--heads", "2", "--context", "64", "--steps", "400", "--segment-steps", "40", "--max-amount", "2", "--yes"];
  const watched = terminal("millrace", args);
  await watched.shows(/cost +[^\n]* of 0\.\d/, { timeout_ms: 60_000 }); // against what is locked
  await watched.shows(/steps [^\n]*of 400/);
  await watched.shows(/loss \d/, { timeout_ms: 60_000 });
  watched.type("\x03");
  assert.equal(await watched.ended(), 0, "to detach is no failure");
  const [, id] = watched.output.match(/Come back with:\s+millrace jobs watch (job_[0-9a-f]+)/);
  assert.equal((await net.job(id)).final, false, "the job goes on");
  for (const line of plain(watched.output).split(/[\r\n]+/)) assert.ok([...line].length <= 80, line);
  const again = terminal("millrace", ["--data", net.file("tester"), "jobs", "watch", id], { columns: 80 });
  await again.shows(/steps [^\n]*of 400/);
  await net.job_done(id);
  assert.equal(await again.ended({ timeout_ms: 30_000 }), 0, again.output);
  const logs = await net.cli("tester", "jobs", "logs", id);
  assert.ok(logs.some((record) => record.kind === "phase" && record.data.state === "completed"));
  const metrics = await run(join(programs, "millrace"), [...net.cli_options("tester"), "jobs", "metrics", id, "--csv", "-"]);
  const rows = metrics.stdout.trimEnd().split("\r\n");
  assert.equal(rows[0], "step,kind,loss,metric,tokens_per_s,time_ms");
  assert.ok(rows.length > 5);
});

test("colours are for terminals, and not for those who want none", async () => {
  const args = [...net.cli_options("tester"), "market", "book"];
  const bold = /\x1b\[1m/;
  const shown = terminal("millrace", args);
  assert.equal(await shown.ended(), 0);
  assert.match(shown.output, bold);
  const without = terminal("millrace", args, { env: { ...env, NO_COLOR: "1" } });
  assert.equal(await without.ended(), 0);
  assert.doesNotMatch(without.output, bold);
  assert.doesNotMatch((await run(join(programs, "millrace"), args)).stdout, /\x1b/);
});

test("nothing is sent by a dry run, and its transaction is tried", async () => {
  const nonce = () => net.chain.client.getTransactionCount({ address: net.tester });
  net.tester = (await net.cli("tester", "wallet", "show")).address;
  const before_it = await nonce();
  const tried = await net.cli("tester", "deposit", "1", "--dry-run");
  assert.equal(tried.dry_run, true);
  assert.ok(tried.gas > 21_000, `${tried.gas}`);
  await net.cli("tester", "withdraw", "1", "--dry-run");
  await net.cli("tester", "revoke", "--dry-run");
  const jobs = (await net.rest.get("/v1/jobs?limit=100")).data.length;
  const quoted = await net.cli("tester", "serve", "brought", "--max-amount", "1", "--dry-run");
  assert.equal(quoted.worst_case, "1000000");
  assert.equal((await net.rest.get("/v1/jobs?limit=100")).data.length, jobs);
  assert.equal(await nonce(), before_it);
  const refused = await run(join(programs, "millrace"), [...net.cli_options("tester"), "withdraw", "--finish", "--dry-run"]);
  assert.equal(refused.code, 1, "what the contract would refuse is refused: nothing was requested");
});

test("exit codes say what kind of failure it was, and the last line what to type next", async () => {
  const cases = [
    [["no-such-command"], 2],
    [["train", "--text", join(root, "LICENSE")], 2],
    [["info"], 8, "--market"],
    [["balance"], 8, "--rpc"],
    [["deposit", "100000000"], 4],
    [["--yes", "quote", "--text", join(root, "LICENSE"), "--gpu-model", "none-such", "--max-amount", "1", "--explain"], 5],
    [["jobs", "show", "job_00000000000000000000000000000000"], 1],
    [["proof", "--verify", join(root, "LICENSE")], 7],
    [["serve", "never-published", "--max-amount", "1"], 5],
  ];
  for (const [args, code, away] of cases) {
    const settings = net.cli_options("tester");
    if (away) settings[settings.indexOf(away) + 1] = "http://127.0.0.1:1"; // nobody listens there
    const result = await run(join(programs, "millrace"), [...settings, ...args]);
    assert.equal(result.code, code, `${args.join(" ")}: ${result.stderr}`);
    assert.match(result.stderr.trimEnd().split("\n").at(-1), /^Next: /, args.join(" "));
  }
  const told = await run(join(programs, "millrace"), [...net.cli_options("tester"), ...cases[5][0]]);
  assert.match(told.stderr, /\d+ asks? with another GPU.*--gpu-model/);
  assert.match(told.stderr, /exit status 5/);
});

test("--curl prints commands that a shell can run, without secrets", async () => {
  const { stderr } = await run(join(programs, "millrace"), [...net.cli_options("tester"), "--curl", "keys", "list"]);
  const line = stderr.split("\n").find((text) => text.includes("/v1/api-keys"));
  const token = JSON.parse(readFileSync(net.file("tester/session.json"), "utf8")).token;
  assert.ok(!stderr.includes(token), "the session's token is not shown");
  const again = await run("bash", ["-c", line], { env: { MILLRACE_TOKEN: token } });
  assert.equal(JSON.parse(again.stdout).object, "list");
  rmSync(net.file("tester/session.json"));
  const signing = await run(join(programs, "millrace"), [...net.cli_options("tester"), "--curl", "keys", "list"]);
  assert.match(signing.stderr, /auth\/siwe/);
  assert.doesNotMatch(signing.stderr, /0x[0-9a-f]{130}/, "nor a signature that makes a session");
});

test("a statement's sums are the contract's", async () => {
  const statement = await net.cli("tester", "statement");
  const [free, locked, earned, withdrawing] = await net.chain.client.readContract({
    address: net.deployment.escrow, abi: JSON.parse(readFileSync(join(root, "contracts/abi/Escrow.json"), "utf8")), functionName: "accounts", args: [net.tester],
  });
  assert.deepEqual(Object.values(statement.balances).map(BigInt).sort(), [free, locked, earned, withdrawing].sort());
  const sum = (kinds) => statement.movements.filter((one) => kinds.includes(one.kind)).reduce((total, one) => total + BigInt(one.amount), 0n);
  assert.equal(BigInt(statement.deposited), sum(["deposit"]));
  assert.equal(BigInt(statement.spent), -sum(["claim"]));
  assert.equal(BigInt(statement.closing), BigInt(statement.opening) + BigInt(statement.deposited) + BigInt(statement.earned) - BigInt(statement.spent) - BigInt(statement.fees) - BigInt(statement.withdrawn));
  const later = await net.cli("tester", "statement", "--from", "2100-01-01");
  assert.equal(later.opening, statement.closing);
  assert.equal(later.movements.length, 0);
  const file = net.file("statement.csv");
  await net.cli("tester", "statement", "--csv", file);
  assert.equal(readFileSync(file, "utf8").trimEnd().split("\r\n").length, statement.movements.length + 1);
  writeFileSync(file, "");
});
