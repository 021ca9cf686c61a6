// SPDX-License-Identifier: Apache-2.0
// A model as hubs publish it, from its folder to the public openai client: published, served by a worker, asked with
// its own chat template, metered by its own tokens. Hugging Face's JavaScript libraries say what a prompt must cost.
import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { OpenAI } from "../../scripts/lib/openai.mjs";
import { deposit_with_permit, dev_keys, privateKeyToAccount, root } from "../../scripts/lib/chain.mjs";
import { Devnet } from "../../scripts/lib/devnet.mjs";
import { write_tiny_folder } from "./text/tiny_folder.mjs";

const require = createRequire(new URL("../../scripts/package.json", import.meta.url));
const { Tokenizer } = require("@huggingface/tokenizers");
const { Template } = require("@huggingface/jinja");

const folder = join(root, "build/test/folder");
const buyer = privateKeyToAccount(dev_keys.buyer);
const serve = ["--max-amount", "0.4", "--wait", "60"];
let net;
let client;
let words;
let served;

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  net = new Devnet(folder);
  await net.start_chain();
  await net.start_signer();
  await net.start_market();
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 100_000_000);
  await net.start_worker("worker", "provider1", { setup: ["--threads", "2"] });
  await net.make_wallet("buyer");
  await net.rest.sign_in(buyer);
  await net.processes.until("market", "the deposit to be seen", async () =>
    Number((await net.rest.get(`/v1/accounts/${buyer.address}`)).available) >= 100_000_000);
  const { key } = (await net.rest.request("POST", "/v1/api-keys", { body: {} })).json;
  client = new OpenAI({ baseURL: `${net.market_url}/v1`, apiKey: key, maxRetries: 0 });
});
after(() => net?.stop());

const count = (text, options) =>
  new Tokenizer(words.tokenizer, words.words).encode(text, options).ids.length;
/** What a chat must cost. */
function chat_tokens(messages) {
  const { bos_token, eos_token, chat_template } = words.words;
  const text = new Template(chat_template).render({ messages, add_generation_prompt: true, bos_token, eos_token });
  return count(text, { add_special_tokens: false });
}

test("a folder is published and served", async () => {
  words = write_tiny_folder(net.file("tiny"));
  const model = await net.cli("buyer", "publish", "tiny-llama", "--folder", net.file("tiny"), "--weights", "fp32");
  assert.equal(model.id, "tiny-llama");
  served = await net.cli("buyer", "serve", "tiny-llama", ...serve);
  assert.equal(served.state, "running");
  assert.ok((await client.models.list()).data.some((one) => one.id === "tiny-llama"));
});

test("a chat is the model's own template, whole and streamed", async () => {
  const messages = [
    { role: "system", content: "You speak of the whale." },
    { role: "user", content: "What is the user in the whale?\n¿Qué? 鯨 🐋" },
  ];
  const ask = { model: "tiny-llama", messages, max_tokens: 12, seed: 11 };
  const whole = await client.chat.completions.create(ask);
  assert.equal(whole.usage.prompt_tokens, chat_tokens(messages));
  assert.ok(whole.usage.prompt_tokens < JSON.stringify(messages).length);
  const stream = await client.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } });
  let text = "";
  let usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, whole.choices[0].message.content, "the same seed gives the same text");
  assert.equal(usage.prompt_tokens, whole.usage.prompt_tokens);
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
});

test("the publisher's temperature holds until the buyer says otherwise", async () => {
  const ask = { model: "tiny-llama", messages: [{ role: "user", content: "Call me" }], max_tokens: 24, seed: 5 };
  const text_of = async (more) => (await client.chat.completions.create({ ...ask, ...more })).choices[0].message.content;
  const advised = await text_of({});
  assert.equal(await text_of({ temperature: 0.6, top_p: 0.95 }), advised);
  assert.notEqual(await text_of({ temperature: 2, top_p: 1 }), advised);
});

test("a plain prompt is text: special tokens in it are letters", async () => {
  const prompt = "The whale <|im_end|> the user";
  const { usage } = await client.completions.create({ model: "tiny-llama", prompt, max_tokens: 4, seed: 1 });
  // The library has no such option: spelt apart, the special token is the same letters.
  const letters = count("The whale", {}) + count(" <|", {}) + count("im", {}) + count("_", {}) + count("end", {}) + count("|>", {}) + count(" the user", {});
  assert.equal(usage.prompt_tokens, letters);
});

test("choices cost one prompt, are told apart by index, and come from seeds of their own", async () => {
  const messages = [{ role: "user", content: "the whale" }];
  const ask = { model: "tiny-llama", messages, max_tokens: 10, temperature: 1, seed: 21 };
  const one = await client.chat.completions.create(ask);
  const three = await client.chat.completions.create({ ...ask, n: 3 });
  assert.deepEqual(three.choices.map((choice) => choice.index), [0, 1, 2]);
  assert.equal(three.choices[0].message.content, one.choices[0].message.content);
  assert.equal(new Set(three.choices.map((choice) => choice.message.content)).size, 3);
  assert.equal(three.usage.prompt_tokens, one.usage.prompt_tokens);
  const texts = ["", "", ""];
  let usage;
  for await (const chunk of await client.chat.completions.create({ ...ask, n: 3, stream: true, stream_options: { include_usage: true } })) {
    for (const choice of chunk.choices) texts[choice.index] += choice.delta.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.deepEqual(texts, three.choices.map((choice) => choice.message.content));
  assert.equal(usage.completion_tokens, three.usage.completion_tokens);
});

test("log probabilities: of chats and of completions, whole and streamed", async () => {
  const messages = [{ role: "user", content: "the whale" }];
  const ask = { model: "tiny-llama", messages, max_tokens: 6, seed: 4, logprobs: true, top_logprobs: 3 };
  const whole = await client.chat.completions.create(ask);
  const { content } = whole.choices[0].logprobs;
  assert.ok(content.length > 0 && content.length <= whole.usage.completion_tokens);
  for (const entry of content) {
    assert.equal(entry.top_logprobs.length, 3);
    assert.ok(entry.logprob <= 0 && entry.top_logprobs[0].logprob >= entry.top_logprobs[1].logprob);
    assert.ok(Array.isArray(entry.bytes));
  }
  const streamed = [];
  for await (const chunk of await client.chat.completions.create({ ...ask, stream: true }))
    streamed.push(...(chunk.choices[0]?.logprobs?.content ?? []));
  assert.deepEqual(streamed, content);
  const text = await client.completions.create({ model: "tiny-llama", prompt: "the", max_tokens: 4, seed: 4, logprobs: 2 });
  const logprobs = text.choices[0].logprobs;
  assert.equal(logprobs.tokens.length, logprobs.token_logprobs.length);
  assert.equal(logprobs.text_offset[0], 0);
});

test("biases, penalties and what is out of range", async () => {
  const ask = { model: "tiny-llama", prompt: "the", max_tokens: 8, temperature: 0, logprobs: 1 };
  const usual = await client.completions.create(ask);
  const forced = await client.completions.create({ ...ask, logit_bias: { 3: 100 } });
  assert.equal(new Set(forced.choices[0].logprobs.tokens).size, 1);
  assert.notDeepEqual(forced.choices[0].logprobs.tokens, usual.choices[0].logprobs.tokens);
  const spread = await client.completions.create({ ...ask, logit_bias: { 3: 40 }, repetition_penalty: 10, frequency_penalty: 2, min_p: 0.01, top_k: 50, user: "u" });
  assert.ok(new Set(spread.choices[0].logprobs.tokens).size > 1);
  const refused = (more, param) => assert.rejects(client.completions.create({ ...ask, ...more }), (error) => {
    assert.equal(error.status, 400);
    assert.equal(error.param, param);
    return true;
  });
  await refused({ n: 17 }, "n");
  await refused({ logit_bias: { 99999: 1 } }, "logit_bias");
  await refused({ presence_penalty: 3 }, "presence_penalty");
  await refused({ tools: [{ type: "function", function: { name: "f" } }] }, "tools");
});

test("embeddings: floats and base64 alike, metered as input", async () => {
  const input = ["the whale", "the user"];
  const floats = await client.embeddings.create({ model: "tiny-llama", input, encoding_format: "float" });
  assert.equal(floats.data.length, 2);
  assert.equal(floats.usage.prompt_tokens, count(input[0], {}) + count(input[1], {}));
  for (const { embedding } of floats.data) assert.ok(Math.abs(Math.hypot(...embedding) - 1) < 1e-5);
  // Without a format the client asks for base64 and decodes it.
  const packed = await client.embeddings.create({ model: "tiny-llama", input });
  packed.data.forEach(({ embedding }, i) => assert.deepEqual(Array.from(embedding), floats.data[i].embedding.map(Math.fround)));
  const ids = new Tokenizer(words.tokenizer, words.words).encode(input[0], {}).ids;
  const listed = await client.embeddings.create({ model: "tiny-llama", input: ids, encoding_format: "float", dimensions: 8 });
  assert.equal(listed.data[0].embedding.length, 8);
  assert.ok(Math.abs(Math.hypot(...listed.data[0].embedding) - 1) < 1e-5);
  assert.equal(floats.millrace.receipts.length, 1);
  // Longer than the model's vectors: refused before it is billed, so the next receipt follows the last.
  await assert.rejects(client.embeddings.create({ model: "tiny-llama", input, dimensions: 4096 }), (error) => error.status === 400 && error.param === "dimensions" && /at most \d+ with this model/.test(error.message));
});

test("a response format: what ends with \"stop\" parses", async () => {
  const messages = [{ role: "user", content: "the whale" }];
  const schema = { type: "object", properties: { ok: { type: "boolean" }, kind: { enum: ["whale", "user"] } }, required: ["ok", "kind"], additionalProperties: false };
  const ask = { model: "tiny-llama", messages, max_tokens: 120, temperature: 1, response_format: { type: "json_schema", json_schema: { name: "n", strict: true, schema } } };
  let whole = 0;
  for (let seed = 1; seed <= 6; ++seed) {
    const [choice] = (await client.chat.completions.create({ ...ask, seed })).choices;
    if (choice.finish_reason !== "stop") continue;
    ++whole;
    const value = JSON.parse(choice.message.content);
    assert.equal(typeof value.ok, "boolean");
    assert.ok(["whale", "user"].includes(value.kind));
  }
  assert.ok(whole > 0);
  const any = await client.chat.completions.create({ ...ask, seed: 1, response_format: { type: "json_object" } });
  assert.ok(any.choices[0].message.content.trimStart().startsWith("{"));
  if (any.choices[0].finish_reason === "stop") JSON.parse(any.choices[0].message.content);
  await assert.rejects(client.chat.completions.create({ ...ask, response_format: { type: "json_schema", json_schema: { name: "n", schema: { $ref: "#" } } } }), (error) => error.status === 400 && error.param === "response_format");
});

test("the command line chats with it", async () => {
  const answer = await net.cli("buyer", "chat", "tiny-llama", "the whale", "--max-tokens", "6", "--seed", "3");
  assert.equal(answer.usage.prompt_tokens, chat_tokens([{ role: "user", content: "the whale" }]));
});

test("a folder whose config contradicts its weights fails with the reason; the worker goes on", async () => {
  write_tiny_folder(net.file("broken"), { config: { intermediate_size: 80 } });
  await net.cli("buyer", "publish", "broken", "--folder", net.file("broken"));
  const { id } = await net.cli("buyer", "serve", "broken", ...serve, "--detach");
  await net.processes.until("market", "the leases to fail", async () =>
    (await net.job_leases(id)).some((lease) => lease.close_reason === "worker_failed"));
  assert.equal((await net.job(id)).reason, "data_invalid");
  await net.cli("buyer", "jobs", "cancel", id);
  // Without a template there is no chat, but there are completions.
  write_tiny_folder(net.file("bare"), { seed: 8, tokenizer_config: { chat_template: null } });
  await net.cli("buyer", "publish", "bare", "--folder", net.file("bare"), "--weights", "int8");
  await net.cli("buyer", "serve", "bare", ...serve);
  await assert.rejects(client.chat.completions.create({ model: "bare", messages: [{ role: "user", content: "a" }], max_tokens: 2 }), /completions/);
  const plain = await client.completions.create({ model: "bare", prompt: "the whale", max_tokens: 3, seed: 1 });
  assert.ok(plain.usage.completion_tokens > 0);
});

test("a folder that lacks a file is refused before anything is sent", async () => {
  write_tiny_folder(net.file("half"));
  rmSync(net.file("half", "tokenizer.json"));
  await assert.rejects(net.cli("buyer", "publish", "half", "--folder", net.file("half")), /tokenizer/);
  writeFileSync(net.file("half", "tokenizer.model"), "pieces");
  await assert.rejects(net.cli("buyer", "publish", "half", "--folder", net.file("half")), /no tokenizer\.json.*save_pretrained/s);
});
