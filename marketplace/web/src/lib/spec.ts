// SPDX-License-Identifier: Apache-2.0
// Job specs from what a person enters. Pure.
import type { Document } from "./messages";

export interface TrainPlan {
  width: number;
  depth: number;
  heads: number;
  context: number;
  batch: number;
  steps: number;
  segment_steps: number;
  learning_rate: string;
  seed: number;
}
export const first_plan: TrainPlan = {
  width: 64, depth: 2, heads: 4, context: 64, batch: 8, steps: 200, segment_steps: 25, learning_rate: "0.003", seed: 7,
};
const vocab = 256; // one token per byte

/** What is wrong with a plan, by field; empty: nothing. */
export function plan_problems(plan: TrainPlan): Partial<Record<keyof TrainPlan, string>> {
  const out: Partial<Record<keyof TrainPlan, string>> = {};
  const whole = (name: keyof TrainPlan, least: number, most: number) => {
    const value = plan[name];
    if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most)
      out[name] = `a whole number from ${least} to ${most}`;
  };
  whole("width", 8, 4096);
  whole("depth", 1, 64);
  whole("heads", 1, 64);
  whole("context", 8, 4096);
  whole("batch", 1, 4096);
  whole("steps", 1, 10_000_000);
  whole("segment_steps", 1, plan.steps || 1);
  whole("seed", 0, 2 ** 31);
  if (!out.width && !out.heads && plan.width % plan.heads !== 0) out.heads = "must divide the width";
  if (!/^\d{1,3}(\.\d{1,12})?$/.test(plan.learning_rate) || Number(plan.learning_rate) === 0)
    out.learning_rate = "a decimal like 0.003";
  return out;
}

/** Floating-point operations of one step, from the op graph: what bids declare and asks bound. */
export function flops_per_step(plan: TrainPlan): number {
  const w = plan.width;
  const layer = 24 * w * w + 4 * plan.context * w;
  const forward = plan.batch * plan.context * (plan.depth * layer + 2 * w * vocab);
  return 3 * forward + 16 * parameter_count(plan);
}
export function parameter_count(plan: TrainPlan): number {
  const w = plan.width;
  return (vocab + plan.context) * w + plan.depth * (12 * w * w + 13 * w) + 2 * w;
}

export function train_spec(plan: TrainPlan, text_blob: string): { [name: string]: Document } {
  return {
    version: 1,
    kind: "train",
    model: { arch: "gpt", vocab, width: plan.width, depth: plan.depth, heads: plan.heads, context: plan.context },
    data: { format: "text", blob: text_blob },
    holdout_bp: 500,
    batch: plan.batch,
    steps: plan.steps,
    segment_steps: plan.segment_steps,
    eval_batches: 8,
    learning_rate: plan.learning_rate,
    warmup_steps: Math.min(20, plan.steps),
    weight_decay: "0.01",
    seed: plan.seed,
    precision: "fp32",
    numeric_class: "D1",
    flops_per_step: flops_per_step(plan),
  };
}

/** Serves what a training job ended with; `model` is that of its spec. */
export function serve_spec(model: Document, weights: string, name: string): { [name: string]: Document } {
  return { version: 1, kind: "infer.serve", model, weights, tokenizer: "bytes", name };
}
export const is_model_name = (name: string): boolean => /^[A-Za-z0-9._-]{1,64}$/.test(name);
