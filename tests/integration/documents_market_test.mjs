// SPDX-License-Identifier: Apache-2.0
// What the documents show is what happens: the README's tours and the API guide's examples, run as they stand there,
// in a home of their own, against a market like the one `scripts/devnet` starts.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { dev_keys, root } from "../../scripts/lib/chain.mjs";
import { Devnet } from "../../scripts/lib/devnet.mjs";
import { code_blocks, to_script } from "../../scripts/lib/documents.mjs";
import { run } from "../../scripts/lib/processes.mjs";

const folder = join(root, "build/test/documents");
let net;
let env;

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain();
  await net.start_signer();
  await net.start_market({ anchor_every_ms: 1_000 });
  const home = net.file("home");
  mkdirSync(home, { recursive: true });
  const programs = process.env.MILLRACE_BIN ?? join(root, "build/release/bin");
  env = {
    HOME: home, MILLRACE_MARKET: net.market_url, MILLRACE_RPC: net.chain.url, MILLRACE_PASSWORD_FILE: net.password_file,
    PATH: `${programs}:${process.env.PATH}`,
  };
});
after(() => net?.stop());

/** Runs blocks in one shell in the repository's root; all of their output. */
async function run_blocks(file, blocks, more_env = {}) {
  assert.ok(blocks.length > 0, `${file} has no such examples`);
  const result = await run("bash", ["-c", to_script(file, blocks)], { cwd: root, env: { ...env, ...more_env }, timeout_ms: 300_000 });
  assert.equal(result.code, 0, `${result.stdout.slice(-2000)}\n${result.stderr.slice(-3000)}`);
  return `${result.stdout}${result.stderr}`;
}
const tour = (who) => code_blocks("README.md").filter((block) => block.language === "sh" && block.heading === `… ${who}`);

test("the README's provider is listed", async () => {
  // The worker that the tour starts must outlive its shell and end with this test: it runs as one of ours.
  const [block] = tour("a provider");
  const line = /^millrace-worker run .*&.*\n/m;
  assert.match(block.text, line, "the tour starts a worker");
  const at = block.text.search(line);
  const [before_run, after_run] = [block.text.slice(0, at), block.text.slice(at).replace(line, "")];
  const told = await run_blocks("README.md", [{ ...block, text: before_run }]);
  assert.match(told, /Registered/);
  net.processes.start("worker", join(env.PATH.split(":")[0], "millrace-worker"), ["run"], { env });
  await net.processes.until("worker", "its asks", async () => (await net.open_asks()).length > 0);
  await run_blocks("README.md", [{ ...block, text: after_run }]);
});

test("the README's buyer trains a model and asks it", async () => {
  const told = await run_blocks("README.md", tour("a buyer"));
  assert.match(told, /To spend +0 tokens/);
  assert.match(told, /Never above 1/);
  assert.match(told, /Done: 3 receipts/);
  assert.match(told, /Serving tiny/);
  assert.match(told, /mrk_/);
});

test("the README's auditor finds every token", async () => {
  const jobs = (await net.rest.get("/v1/jobs")).data;
  await net.settled(jobs.find((job) => job.kind === "train").id);
  const told = await run_blocks("README.md", tour("an auditor"));
  assert.match(told, /Every decision comes out the same/);
  assert.match(told, /at the end/);
  assert.match(told, /3 same, 0 differ, 0 not told; receipts reach to step 60/);
});

test("the API guide's examples do what it says", async () => {
  // The guide's JavaScript signs with the key of the same account as the command line.
  const home = net.file("home-guide");
  mkdirSync(home, { recursive: true });
  const guide = { HOME: home, MARKET: net.market_url, BUYER_KEY: dev_keys.buyer };
  const spec = join(env.HOME, ".millrace/models/tiny.json"); // of the model that the README's buyer published
  const prepare = `(umask 077 && printf %s "$BUYER_KEY" >"$HOME/key")
millrace init --import-key "$HOME/key" --deposit 20 --light-key-file
millrace serve tiny --spec ${spec} --max-amount 1 --yes
`;
  const told = await run_blocks("marketplace/api/GUIDE.md", [
    { language: "sh", text: prepare, line: 0 }, ...code_blocks("marketplace/api/GUIDE.md"),
  ], guide);
  assert.match(told, /is signed in until/);
  assert.match(told, /tokens in, 8 out/);
  assert.match(told, /leases have cost/);
  assert.match(told, /job\.completed is from the market/);
  for (const cause of ["deposit", "hold"]) assert.match(told, new RegExp(`"cause":"${cause}"`));
  assert.match(told, /the weights are blob 0x[0-9a-f]{64}/);
});

/** Markdown files of this repository, without what was installed or built. */
function documents(below = root) {
  return readdirSync(below, { withFileTypes: true }).flatMap((entry) => {
    if (["node_modules", "build", ".git", "out", "cache"].includes(entry.name)) return [];
    const path = join(below, entry.name);
    if (entry.isDirectory()) return documents(path);
    return entry.name.endsWith(".md") ? [path] : [];
  });
}

test("every command that a document shows is one that the program has", async () => {
  const { stdout } = await run(join(env.PATH.split(":")[0], "millrace"), ["man"]);
  const commands = new Set([...stdout.matchAll(/^\.SS "([^"]+)"/gm)].map((match) => match[1].replaceAll("\\-", "-")));
  assert.ok(commands.size > 40, `${commands.size} commands`);
  const unknown = [];
  for (const file of documents()) {
    for (const [, words] of readFileSync(file, "utf8").matchAll(/(?:^|`)(?:\$ )?millrace ([a-z][a-z -]*)/gm)) {
      const path = words.split(" ").filter((word) => /^[a-z-]+$/.test(word) && !word.startsWith("-"));
      // Two names of keys, in worker/agent/README.md, begin like commands.
      if (["sealed job", "lease key"].includes(path.join(" "))) continue;
      if (path.length > 0 && !commands.has(path[0])) unknown.push(`${file.slice(root.length + 1)}: millrace ${words}`);
    }
  }
  assert.deepEqual(unknown, []);
});

test("links and files that the new documents name are there", () => {
  const missing = [];
  for (const file of ["README.md", "marketplace/api/GUIDE.md", "marketplace/app/OPERATING.md", "ledger/audit/TRUST.md"]) {
    for (const [, path] of readFileSync(join(root, file), "utf8").matchAll(/[`;( ]((?:ledger|marketplace|worker|contracts|scripts|tests)\/[\w./]+\.(?:md|sol|yml|mjs|service))/g)) {
      if (!existsSync(join(root, path))) missing.push(`${file}: ${path}`);
    }
  }
  assert.deepEqual(missing, []);
});
