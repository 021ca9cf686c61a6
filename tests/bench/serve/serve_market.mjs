// SPDX-License-Identifier: Apache-2.0
// The second part of `scripts/bench serve`: the same model and the same clients, through REST to a real market, worker,
// signer and chain, with metering, receipts and vouchers on.
//
//   serve_market.mjs FOLDER TOKENS_PER_S_OF_A_BATCH REPORT    (the first part starts it)
import { rmSync } from "node:fs";
import { join } from "node:path";
import { deposit_with_permit, dev_keys, privateKeyToAccount, root } from "../../../scripts/lib/chain.mjs";
import { Devnet } from "../../../scripts/lib/devnet.mjs";
import { OpenAI } from "../../../scripts/lib/openai.mjs";
import { cpu_seconds, descendants } from "../cpu_seconds.mjs";

const [model_folder, batch_text, report_text] = process.argv.slice(2);
const batch = Number(batch_text);
const report = JSON.parse(report_text);
const folder = join(root, "build/bench/serve");
const clients = 8;
const turns = 3;
const prompt_tokens = 64;
rmSync(folder, { recursive: true, force: true });
const net = new Devnet(folder);
const buyer = privateKeyToAccount(dev_keys.buyer);

/** No two begin alike; a letter is a token. */
const prompt = (client, turn) =>
  Array.from({ length: prompt_tokens }, (_, i) => String.fromCharCode(97 + ((client * 3 + turn * 7 + i * (client + 2)) % 26))).join("");

/** One text: when it was asked for, when each piece came (seconds), what was billed. */
async function complete(openai, client, turn) {
  const asked = performance.now() / 1000;
  const stream = await openai.completions.create({
    // First texts last until all eight are under way, also where prompts take ten seconds.
    model: "bench", prompt: prompt(client, turn), max_tokens: (turn === 0 ? 96 : 40) + 4 * client, temperature: 0,
    stream: true, stream_options: { include_usage: true },
  });
  const times = [];
  let usage;
  for await (const chunk of stream) {
    if (chunk.choices[0]?.text) times.push(performance.now() / 1000);
    usage = chunk.usage ?? usage;
  }
  if (usage.prompt_tokens !== prompt_tokens) throw new Error(`a prompt has ${usage.prompt_tokens} tokens`);
  return { turn, asked, times, tokens: usage.completion_tokens };
}

/** Tokens a second while all first texts were under way, each over the time between two of its own pieces. */
function steady_rate(texts) {
  const first = texts.filter((text) => text.turn === 0);
  const from = Math.max(...first.map((text) => text.times[0]));
  const to = Math.min(...first.map((text) => text.times.at(-1)));
  return first.map(({ times, tokens }) => {
    const inside = times.filter((time) => time >= from && time <= to);
    if (inside.length < 2) return 0; // a very busy machine: they did not run side by side
    return ((inside.length - 1) / (inside.at(-1) - inside[0])) * (tokens / times.length);
  }).reduce((a, b) => a + b);
}

const percentile = (values, share) => values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(share * values.length))];
const goal = (name, value, limit, unit, better) =>
  ({ name, value: Number(value.toFixed(4)), goal: limit, unit, better, met: better === "lower" ? value <= limit : value >= limit });

try {
  await net.start_chain();
  await net.start_signer();
  await net.start_market({ blob_quota_bytes: 8 * 2 ** 30 });
  await deposit_with_permit(net.chain, net.deployment, dev_keys.buyer, 100_000_000);
  await net.start_worker("worker", "provider1", { setup: ["--job-memory-mib", "6000"] });
  await net.make_wallet("buyer");
  await net.rest.sign_in(buyer);
  await net.processes.until("market", "the deposit to be seen", async () =>
    Number((await net.rest.get(`/v1/accounts/${buyer.address}`)).available) >= 100_000_000);
  const { key } = (await net.rest.request("POST", "/v1/api-keys", { body: {} })).json;
  const openai = new OpenAI({ baseURL: `${net.market_url}/v1`, apiKey: key, maxRetries: 0 });
  await net.cli("buyer", "publish", "bench", "--folder", model_folder, "--weights", "int8");
  const served = await net.command("millrace", [...net.cli_options("buyer"), "--json", "--yes", "serve", "bench", "--max-amount", "5", "--wait", "600"], { timeout_ms: 600_000 });
  if (served.state !== "running") throw new Error(`the model is ${served.state}`);
  await complete(openai, 0, turns); // the model is in memory

  const parts = ["worker", "market", "signer"].map((name) => net.processes.pid(name));
  const job = descendants(parts[0]);
  const spent = (pids) => pids.map(cpu_seconds).reduce((a, b) => a + b);
  const before = [spent(parts), spent(job)];
  const began = performance.now() / 1000;
  const texts = (await Promise.all(Array.from({ length: clients }, async (_, client) => {
    const out = [];
    for (let turn = 0; turn < turns; ++turn) out.push(await complete(openai, client, turn));
    return out;
  }))).flat();
  const ended = Math.max(...texts.map((text) => text.times.at(-1)));
  const beside = spent(parts) - before[0];
  const working = spent(job) - before[1];

  const first_token = percentile(texts.filter((text) => text.turn === 0).map((text) => text.times[0] - text.asked), 0.99);
  const gaps = texts.flatMap(({ times }) => times.slice(1).map((time, i) => time - times[i]));
  const steady = steady_rate(texts);
  const rate = texts.map((text) => text.tokens).reduce((a, b) => a + b) / (ended - began);
  console.log(`through the market: first token after ${first_token.toFixed(2)} s (p99); ${steady.toFixed(1)} tokens/s with 8 texts under way; ` +
    `${rate.toFixed(1)} tokens/s with all prompts;\nbetween tokens ${(1000 * percentile(gaps, 0.5)).toFixed(0)} ms, ` +
    `p99 ${(1000 * percentile(gaps, 0.99)).toFixed(0)} ms; worker, market and signer took ${beside.toFixed(2)} s beside the job's ${working.toFixed(1)} s`);
  report.metrics.market_tokens_per_s = Number(steady.toFixed(2));
  report.metrics.market_tokens_per_s_with_prompts = Number(rate.toFixed(2));
  report.goals.push(
    goal("market_first_token_p99_s", first_token, 2.5, "s", "lower"),
    goal("market_share_of_batch_8", steady / batch, 0.9, "ratio", "higher"),
    goal("market_p99_over_median_between_tokens", percentile(gaps, 0.99) / percentile(gaps, 0.5), 2, "ratio", "lower"),
    goal("market_and_receipts_over_token_time", beside / working, 0.02, "ratio", "lower"));
  console.log(JSON.stringify(report));
} finally {
  await net.stop();
  rmSync(model_folder, { recursive: true, force: true });
  rmSync(folder, { recursive: true, force: true });
}
