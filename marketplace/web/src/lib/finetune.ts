// SPDX-License-Identifier: Apache-2.0
// Specs of fine-tuning jobs from what a person enters, as `millrace finetune` makes them. Pure.
import type { Document } from "./messages";

/** The sizes of a published decoder, as its config.json says them. */
export interface ModelShape {
  type: string;
  vocab: number;
  width: number;
  depth: number;
  heads: number;
  kv_heads: number;
  head_dim: number;
  ffn: number;
  /** Tokens that the model reads at most. */
  context: number;
  gated: boolean;
  /** Queries, keys and values in one layer. */
  fused: boolean;
}
const size_max = 2 ** 24;
const known_types = ["llama", "mistral", "qwen2", "qwen3", "gpt_neox", "gpt2"];

/** Throws an Error for people where the file says no such sizes. */
export function read_model_shape(text: string): ModelShape {
  let config: Record<string, unknown> | null;
  try {
    config = JSON.parse(text) as typeof config;
  } catch {
    config = null;
  }
  const type = typeof config === "object" && config !== null ? config.model_type : undefined;
  if (typeof type !== "string") throw new Error("config.json: model_type is missing.");
  if (!known_types.includes(type)) throw new Error(`Models of type ${type.slice(0, 40)} are not known here; those of ${known_types.join(", ")} are.`);
  const size = (name: string, otherwise?: number): number => {
    const value = config![name] ?? otherwise;
    if (value === undefined) throw new Error(`config.json: ${name} is missing.`);
    if (typeof value !== "number" || !Number.isInteger(value) || value < 1 || value > size_max) throw new Error(`config.json: ${name} must be 1 to ${size_max}.`);
    return value;
  };
  if (type === "gpt2") {
    const [width, heads] = [size("n_embd"), size("n_head")];
    return { type, vocab: size("vocab_size"), width, depth: size("n_layer"), heads, kv_heads: heads, head_dim: Math.floor(width / heads), ffn: size("n_inner", 4 * width), context: size("n_positions"), gated: false, fused: true };
  }
  const [width, heads] = [size("hidden_size"), size("num_attention_heads")];
  const fused = type === "gpt_neox";
  const even = Math.max(1, Math.floor(width / heads));
  return {
    type, vocab: size("vocab_size"), width, depth: size("num_hidden_layers"), heads, ffn: size("intermediate_size"), context: size("max_position_embeddings"), gated: !fused, fused,
    kv_heads: fused ? heads : size("num_key_value_heads", heads), head_dim: fused ? even : size("head_dim", type === "qwen3" ? 128 : even),
  };
}

export type Target = "q" | "k" | "v" | "o" | "gate" | "up" | "down";
export interface TunePlan {
  method: "lora" | "full";
  rank: number;
  /** Empty: twice the rank. */
  alpha: string;
  /** Empty: every linear layer. */
  targets: Target[];
  result: "merged" | "adapter";
  rows: "padded" | "packed";
  context: number;
  batch: number;
  steps: number;
  segment_steps: number;
  /** Empty: what the method usually takes. */
  learning_rate: string;
  warmup_steps: number;
  weight_decay: string;
  seed: number;
  precision: "fp32" | "bf16";
}
export type TuneNumber = "rank" | "context" | "batch" | "steps" | "segment_steps" | "warmup_steps" | "seed";
export const first_tune: TunePlan = {
  method: "lora", rank: 16, alpha: "", targets: [], result: "merged", rows: "padded", context: 512, batch: 8, steps: 30, segment_steps: 3, learning_rate: "",
  warmup_steps: 0, weight_decay: "0", seed: 7, precision: "fp32",
};
const eval_batches = 8;
const epochs = 3;

export const tune_labels: Record<TuneNumber, string> = {
  rank: "Rank of the adapters", context: "Context, tokens", batch: "Batch, examples", steps: "Steps", segment_steps: "Steps per receipt", warmup_steps: "Warm-up steps", seed: "Seed",
};
const bounds: Record<TuneNumber, [least: number, most: number]> = {
  rank: [1, 1024], context: [8, 2 ** 17], batch: [1, 4096], steps: [1, 10_000_000], segment_steps: [1, 10_000_000], warmup_steps: [0, 10_000_000], seed: [0, 2 ** 31],
};
export const rate_of = ({ learning_rate, method }: TunePlan): string => learning_rate || (method === "full" ? "0.00002" : "0.0002");

/** The layers that adapters may be put beside, in the order of their names in the command line. */
export const targets_of = (shape: ModelShape): Target[] =>
  shape.fused ? ["q", "o", "up", "down"] : ["q", "k", "v", "o", "gate", "up", "down"];

/** Three times through the examples, with a receipt each tenth: what the command line takes. */
export function fit_plan(plan: TunePlan, shape: ModelShape | null, examples: number | null): TunePlan {
  const out = { ...plan, context: shape ? Math.min(plan.context, shape.context) : plan.context };
  if (examples === null) return out;
  out.batch = Math.min(plan.batch, examples);
  out.steps = Math.max(1, Math.ceil((examples * epochs) / out.batch));
  out.segment_steps = Math.max(1, Math.floor(out.steps / 10));
  return out;
}

const is_decimal = (text: string, zero_allowed: boolean): boolean => /^\d{1,12}(\.\d{1,12})?$/.test(text) && (zero_allowed || Number(text) > 0);

/** What is wrong with a plan, by field; empty: nothing. `examples`: how many there are, when it is known. */
export function tune_problems(plan: TunePlan, shape: ModelShape | null, examples: number | null): Partial<Record<keyof TunePlan, string>> {
  const out: Partial<Record<keyof TunePlan, string>> = {};
  const most: Partial<Record<TuneNumber, number | undefined>> = { context: shape?.context, batch: examples ?? undefined };
  for (const name of Object.keys(bounds) as TuneNumber[]) {
    if (name === "rank" && plan.method === "full") continue;
    const [least, bound] = bounds[name];
    const upper = Math.min(bound, most[name] ?? bound);
    if (!Number.isInteger(plan[name]) || plan[name] < least || plan[name] > upper) out[name] = `a whole number from ${least} to ${upper}`;
    if (name === "steps" && !out.steps) most.segment_steps = most.warmup_steps = plan.steps;
  }
  if (plan.learning_rate !== "" && !is_decimal(plan.learning_rate, false)) out.learning_rate = "a decimal like 0.0002";
  if (!is_decimal(plan.weight_decay, true)) out.weight_decay = "a decimal like 0.01";
  if (plan.method === "full") return out;
  if (plan.alpha !== "" && !(is_decimal(plan.alpha, false) && Number(plan.alpha) >= 0.001 && Number(plan.alpha) <= 65_536)) out.alpha = "a decimal from 0.001 to 65536";
  return out;
}

/** Of a linear layer: the name that targets have for it, and its sizes. */
function linears_of(shape: ModelShape): [name: Target, into: bigint, out: bigint][] {
  const [width, ffn] = [BigInt(shape.width), BigInt(shape.ffn)];
  const query = BigInt(shape.heads) * BigInt(shape.head_dim);
  const kv = BigInt(shape.kv_heads) * BigInt(shape.head_dim);
  return [
    ...(shape.fused ? [["q", width, query + 2n * kv] as const] : ([["q", width, query], ["k", width, kv], ["v", width, kv]] as const)),
    ["o", query, width], ...(shape.gated ? [["gate", width, ffn] as const] : []), ["up", width, ffn], ["down", ffn, width],
  ].map(([name, into, out]) => [name as Target, into as bigint, out as bigint]);
}

/** Floating-point operations of one full step, or a little more. Above 2^53 no JSON number holds them: check `is_step_too_large`. */
export function tune_flops(plan: TunePlan, shape: ModelShape): bigint {
  const [depth, width, ffn, vocab, heads] = [shape.depth, shape.width, shape.ffn, shape.vocab, shape.heads].map(BigInt) as [bigint, bigint, bigint, bigint, bigint];
  const rank = plan.method === "full" ? 0n : BigInt(plan.rank);
  let linear = 0n;
  let adapters = 0n;
  for (const [name, into, out] of linears_of(shape)) {
    linear += depth * into * out;
    if (plan.targets.length === 0 || plan.targets.includes(name)) adapters += depth * rank * (into + out);
  }
  const query = heads * BigInt(shape.head_dim);
  const tables = 2n * vocab * width + BigInt(shape.context) * width;
  const small = 16n * depth * (width + ffn + 2n * query); // biases and norms, and more
  const parameters = linear + tables + small + 2n * width;
  const attention = 2n * depth * BigInt(plan.context) * query;
  const products = linear + vocab * width;
  const tokens = BigInt(plan.batch) * BigInt(plan.context);
  return rank === 0n ? tokens * 6n * (products + attention) + 16n * parameters : tokens * (4n * products + 6n * attention + 6n * adapters) + 16n * adapters;
}
export const is_step_too_large = (flops: bigint): boolean => flops > BigInt(Number.MAX_SAFE_INTEGER);

/** Names of a model's files with their SHA-256. */
export type ModelFiles = Record<string, string>;

/** The spec that `millrace finetune` makes of the same; `validation`: the hash of examples to judge by. */
export function tune_spec(plan: TunePlan, shape: ModelShape, files: ModelFiles, data: string, validation?: string): { [name: string]: Document } {
  const lora = { name: "lora", rank: plan.rank, alpha: plan.alpha || String(2 * plan.rank), targets: plan.targets.length > 0 ? plan.targets : "all-linear" };
  return {
    version: 1,
    kind: "finetune",
    files: { ...files },
    method: plan.method === "full" ? { name: "full" } : lora,
    data: { format: "jsonl", blob: data },
    context: plan.context,
    rows: plan.rows,
    result: plan.method === "full" ? "merged" : plan.result,
    batch: plan.batch,
    steps: plan.steps,
    segment_steps: plan.segment_steps,
    learning_rate: rate_of(plan),
    warmup_steps: plan.warmup_steps,
    weight_decay: plan.weight_decay,
    seed: plan.seed,
    precision: plan.precision,
    numeric_class: "D1",
    flops_per_step: Number(tune_flops(plan, shape)),
    ...(validation === undefined ? {} : { validation: { format: "jsonl", blob: validation }, eval_batches }),
  };
}

/** The command line's options that say the same, by line; those of files come besides. */
export function tune_options(plan: TunePlan): string[] {
  const option = (name: TuneNumber) => `--${name.replaceAll("_", "-")} ${plan[name]}`;
  const lora = [
    `--lora ${plan.rank}`, ...(plan.alpha ? [`--alpha ${plan.alpha}`] : []), ...(plan.targets.length > 0 ? [`--targets ${plan.targets.join(",")}`] : []),
    ...(plan.result === "adapter" ? ["--adapter"] : []),
  ];
  return [
    [...(plan.method === "full" ? ["--full"] : lora), ...(plan.rows === "packed" ? ["--packed"] : [])].join(" "),
    (["context", "batch", "steps", "segment_steps"] as const).map(option).join(" "),
    [`--learning-rate ${rate_of(plan)}`, option("seed"), ...(plan.warmup_steps ? [option("warmup_steps")] : []), ...(Number(plan.weight_decay) ? [`--weight-decay ${plan.weight_decay}`] : []),
      ...(plan.precision === "bf16" ? ["--precision bf16"] : [])].join(" "),
  ];
}

const line_bytes_max = 1_048_576;
/** What is wrong with a line of examples, null: nothing that is seen without the model. */
function line_problem(line: string): string | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return "is no JSON";
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "is no JSON object";
  const { messages, prompt, completion, text } = value as Record<string, unknown>;
  if (messages !== undefined) return Array.isArray(messages) && messages.length > 0 ? null : "has no messages";
  if (prompt !== undefined || completion !== undefined) return typeof prompt === "string" && typeof completion === "string" ? null : "needs prompt and completion, both text";
  return typeof text === "string" ? null : "has neither messages, nor prompt and completion, nor text";
}
/** How many examples a JSON-lines text has; throws an Error that names the first line that is none. */
export function count_examples(jsonl: string): number {
  let examples = 0;
  let number = 0;
  for (const line of jsonl.split("\n")) {
    ++number;
    if (line.trim() === "") continue;
    const too_long = line.length * 3 > line_bytes_max && new TextEncoder().encode(line).length > line_bytes_max;
    const problem = too_long ? "is longer than 1 MiB" : line_problem(line);
    if (problem) throw new Error(`Line ${number} ${problem}.`);
    ++examples;
  }
  if (examples === 0) throw new Error("The file has no examples.");
  return examples;
}
