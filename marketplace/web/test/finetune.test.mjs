// SPDX-License-Identifier: Apache-2.0
// Fine-tuning jobs as the console makes them, against those of the command line.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { load } from "./load.mjs";

const hash = (text) => `0x${createHash("sha256").update(text).digest("hex")}`;
const llama = {
  model_type: "llama", vocab_size: 97, hidden_size: 48, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, intermediate_size: 80,
  max_position_embeddings: 64,
};

test("finetune: configs that say no sizes, and other families, are refused by name", async () => {
  const { read_model_shape } = await load("finetune");
  const refused = (config, words) => assert.throws(() => read_model_shape(typeof config === "string" ? config : JSON.stringify(config)), words);
  for (const wrong of ["", "{", "null", "7", "[]", "{}", '{"model_type":7}']) refused(wrong, /model_type is missing/);
  refused({ ...llama, model_type: "mamba<script>" }, /Models of type mamba<script> are not known/);
  for (const name of ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings"]) {
    for (const value of [0, -1, 1.5, "48", true, 2 ** 24 + 1]) refused({ ...llama, [name]: value }, new RegExp(name));
    for (const value of [undefined, null]) refused({ ...llama, [name]: value }, new RegExp(`${name} is missing`));
  }
  refused({ model_type: "gpt2", vocab_size: 97, n_embd: 48, n_layer: 2, n_head: 4 }, /n_positions/);
});

test("finetune: plans that no worker takes are told by field", async () => {
  const { first_tune, read_model_shape, tune_problems } = await load("finetune");
  const shape = read_model_shape(JSON.stringify(llama));
  const good = { ...first_tune, context: 64 };
  assert.deepEqual(tune_problems(good, shape, 8), {});
  const wrong = [
    { rank: 0 }, { rank: 1025 }, { rank: 1.5 }, { context: 65 }, { context: 7 }, { context: NaN }, { batch: 9 }, { batch: 0 }, { steps: 0 }, { segment_steps: 31 }, { segment_steps: 0 },
    { warmup_steps: 31 }, { warmup_steps: -1 }, { seed: -1 }, { learning_rate: "0" }, { learning_rate: "1e-3" }, { learning_rate: ".5" }, { weight_decay: "-1" }, { weight_decay: "" },
    { alpha: "x" }, { alpha: "0.0001" }, { alpha: "65537" },
  ];
  for (const change of wrong) assert.deepEqual(Object.keys(tune_problems({ ...good, ...change }, shape, 8)), Object.keys(change), JSON.stringify(change));
  assert.deepEqual(tune_problems({ ...good, method: "full", rank: 0, alpha: "x" }, shape, 8), {}, "adapters' fields are not read");
});

test("finetune: the sizes fitted to model and examples are the command line's", async () => {
  const { first_tune, fit_plan, read_model_shape } = await load("finetune");
  const shape = read_model_shape(JSON.stringify(llama));
  const fitted = (examples) => {
    const { context, batch, steps, segment_steps } = fit_plan(first_tune, shape, examples);
    return [context, batch, steps, segment_steps];
  };
  assert.deepEqual(fitted(null), [64, 8, 30, 3]);
  assert.deepEqual(fitted(1), [64, 1, 3, 1]);
  assert.deepEqual(fitted(16), [64, 8, 6, 1]);
  assert.deepEqual(fitted(1_001), [64, 8, 376, 37]);
});

test("finetune: its specs are the command line's, byte for byte", async () => {
  const { canonical, first_tune, read_model_shape, tune_spec } = await load("finetune", "messages");
  const made = JSON.parse(readFileSync(new URL("finetune_specs.json", import.meta.url), "utf8"));
  assert.ok(made.length >= 7);
  const files = { "config.json": hash("a"), "model.safetensors": hash("b"), "tokenizer.json": hash("c") };
  for (const { config, plan, validation, spec } of made)
    assert.equal(canonical(tune_spec({ ...first_tune, ...plan }, read_model_shape(config), files, hash("d"), validation ? hash("e") : undefined)), spec);
});

test("finetune: a step that no number in JSON holds is told", async () => {
  const { first_tune, is_step_too_large, read_model_shape, tune_flops } = await load("finetune");
  const shape = read_model_shape(JSON.stringify({ ...llama, vocab_size: 2 ** 24, hidden_size: 2 ** 15, max_position_embeddings: 2 ** 17 }));
  assert.equal(is_step_too_large(tune_flops({ ...first_tune, batch: 4096, context: 2 ** 17 }, shape)), true);
  assert.equal(is_step_too_large(tune_flops({ ...first_tune, batch: 1, context: 8 }, shape)), false);
});

test("finetune: examples are counted, and the first line that is none is named", async () => {
  const { count_examples } = await load("finetune");
  const chat = '{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}';
  assert.equal(count_examples(`${chat}\n\n \t\r\n{"prompt":"a","completion":"b"}\r\n{"text":""}`), 3);
  const wrong = [
    ["", /no examples/], ["\n\n", /no examples/], [`${chat}\n\nnot json`, /Line 3 is no JSON\./], ["[]", /Line 1 is no JSON object/], ["null", /Line 1/], ['{"messages":[]}', /Line 1 has no messages/],
    ['{"messages":"a"}', /Line 1/], ['{"prompt":"a"}', /both text/], ['{"prompt":"a","completion":1}', /both text/], ['{"text":1}', /neither/], ["{}", /neither/],
    [`{"text":"${"a".repeat(2 ** 20)}"}`, /longer than 1 MiB/], [`{"text":"${"é".repeat(2 ** 19)}"}`, /longer than 1 MiB/],
  ];
  for (const [text, words] of wrong) assert.throws(() => count_examples(text), words, text.slice(0, 40));
});

test("model_files: what a folder lacks is told; only what a job needs is taken", async () => {
  const { needed_files, parse_sums, tuned_files } = await load("model_files");
  const whole = ["README.md", "model.safetensors", "tokenizer.json", "config.json", ".gitattributes", "pytorch_model.bin"];
  assert.deepEqual(needed_files(whole), ["config.json", "model.safetensors", "tokenizer.json"]);
  const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json", "config.json", "tokenizer.json", "tokenizer_config.json"];
  assert.deepEqual(needed_files(shards), [...shards].sort());
  for (const [gone, words] of [["config.json", /no config\.json/], ["tokenizer.json", /no tokenizer\.json/], ["model.safetensors", /neither model\.safetensors/]])
    assert.throws(() => needed_files(whole.filter((name) => name !== gone)), words);
  assert.throws(() => needed_files(["model.safetensors.index.json", "config.json", "tokenizer.json"]), /none of its shards/);
  assert.throws(() => needed_files([...shards, ...Array.from({ length: 256 }, (_, i) => `x${i}.safetensors`)]), /too many/);
  const sums = `${"a".repeat(64)}  config.json\n${"B".repeat(64)} *./model.safetensors\n0x${"c".repeat(64)}  tokenizer.json\n${"d".repeat(64)}  README.md\n`;
  const files = { "config.json": `0x${"a".repeat(64)}`, "model.safetensors": `0x${"b".repeat(64)}`, "tokenizer.json": `0x${"c".repeat(64)}` };
  assert.deepEqual(parse_sums(sums), files);
  for (const line of ["x", `${"a".repeat(63)}  config.json`, `${"a".repeat(64)}  ../config.json`, `${"a".repeat(64)}  a b`, `${"a".repeat(64)}config.json`]) assert.throws(() => parse_sums(`${sums}${line}`), /Line 5/, line);
  assert.deepEqual(tuned_files({ ...files, "model.safetensors.index.json": "0x1", "model-1.safetensors": "0x2" }, "0x3"), { ...files, "model.safetensors": "0x3" });
});
