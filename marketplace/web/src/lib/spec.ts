// SPDX-License-Identifier: Apache-2.0
// Job specs from what a person enters. Pure.
import type { Document } from "./messages";

export type Arch = "gpt" | "cnn" | "resnet" | "vit" | "mlp";
/** What the form asks; each model reads the sizes that `fields_of` names, and no others. */
export interface TrainPlan {
  arch: Arch;
  width: number;
  depth: number;
  heads: number;
  context: number;
  classes: number;
  colors: number;
  image_height: number;
  image_width: number;
  channels: number;
  stages: number;
  blocks: number;
  patch: number;
  hidden: number;
  batch: number;
  steps: number;
  segment_steps: number;
  learning_rate: string;
  seed: number;
}
export type NumberField = Exclude<keyof TrainPlan, "arch" | "learning_rate">;
export const first_plan: TrainPlan = {
  arch: "gpt", width: 64, depth: 2, heads: 4, context: 64, classes: 10, colors: 1, image_height: 28, image_width: 28, channels: 16, stages: 3, blocks: 2,
  patch: 4, hidden: 128, batch: 8, steps: 200, segment_steps: 25, learning_rate: "0.003", seed: 7,
};
const vocab = 256; // one token per byte
const warmup_steps_most = 20;

const bounds: Record<NumberField, [label: string, least: number, most: number]> = {
  width: ["Width", 8, 4096], depth: ["Layers", 1, 64], heads: ["Heads", 1, 64], context: ["Context, bytes", 8, 4096],
  classes: ["Classes", 2, 65_536], colors: ["Colours", 1, 3], image_height: ["Image height", 4, 1024], image_width: ["Image width", 4, 1024],
  channels: ["Channels", 1, 1024], stages: ["Stages", 1, 5], blocks: ["Blocks a stage", 1, 64], patch: ["Patch, pixels", 1, 64], hidden: ["Hidden width", 1, 65_536],
  batch: ["Batch", 1, 4096], steps: ["Steps", 1, 10_000_000], segment_steps: ["Steps per receipt", 1, 10_000_000], seed: ["Seed", 0, 2 ** 31],
};
const of_images: NumberField[] = ["classes", "image_height", "image_width"];
const of_model: Record<Arch, NumberField[]> = {
  gpt: ["width", "depth", "heads", "context"],
  cnn: [...of_images, "channels"],
  resnet: [...of_images, "colors", "channels", "stages", "blocks"],
  vit: [...of_images, "colors", "patch", "width", "depth", "heads"],
  mlp: [...of_images, "colors", "hidden", "depth"],
};
const of_loop: NumberField[] = ["batch", "steps", "segment_steps", "seed"];

/** The numbers that a model's job is made of, with their labels. */
export const fields_of = (arch: Arch): [name: NumberField, label: string][] =>
  [...of_model[arch], ...of_loop].map((name) => [name, bounds[name][0]]);

/** What is wrong with a plan, by field; empty: nothing. */
export function plan_problems(plan: TrainPlan): Partial<Record<keyof TrainPlan, string>> {
  const out: Partial<Record<keyof TrainPlan, string>> = {};
  for (const [name] of fields_of(plan.arch)) {
    const value = plan[name];
    const [, least, bound] = bounds[name];
    const most = name === "segment_steps" ? plan.steps || 1 : bound;
    if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most)
      out[name] = `a whole number from ${least} to ${most}`;
  }
  const has = (name: NumberField) => of_model[plan.arch].includes(name);
  if (has("heads") && !out.width && !out.heads && plan.width % plan.heads !== 0) out.heads = "must divide the width";
  if (has("patch") && !out.patch && (plan.image_height % plan.patch !== 0 || plan.image_width % plan.patch !== 0)) out.patch = "must divide the image's sides";
  if (has("colors") && plan.colors === 2) out.colors = "1 or 3";
  if (!/^\d{1,3}(\.\d{1,12})?$/.test(plan.learning_rate) || Number(plan.learning_rate) === 0)
    out.learning_rate = "a decimal like 0.003";
  return out;
}

/** Parameters, and floating-point operations of one row's forward pass: 2 per multiply-add of the op graph. */
interface Work {
  parameters: number;
  forward: number;
}
function gpt_work({ width: w, depth, context }: TrainPlan): Work {
  return {
    parameters: (vocab + context) * w + depth * (12 * w * w + 13 * w) + 2 * w,
    forward: context * (depth * (24 * w * w + 4 * context * w) + 2 * w * vocab),
  };
}
function cnn_work({ channels: c, image_height, image_width, classes }: TrainPlan): Work {
  const half = Math.floor(image_height / 2) * Math.floor(image_width / 2);
  const quarter = Math.floor(image_height / 4) * Math.floor(image_width / 4);
  return {
    parameters: 10 * c + 18 * c * c + 2 * c + (2 * c * quarter + 1) * classes,
    forward: 18 * c * image_height * image_width + 36 * c * c * half + 4 * c * quarter * classes,
  };
}
function resnet_work(plan: TrainPlan): Work {
  const out = { parameters: 0, forward: 0 };
  let { channels, image_height: height, image_width: width } = plan;
  const convolve = (into: number, taps: number) => { // without bias, with its norm
    out.parameters += into * channels * taps + 2 * channels;
    out.forward += 2 * into * channels * taps * height * width;
  };
  convolve(plan.colors, 9);
  for (let stage = 0; stage < plan.stages; ++stage) {
    let into = channels;
    if (stage > 0) {
      channels *= 2;
      height = Math.ceil(height / 2);
      width = Math.ceil(width / 2);
      convolve(into, 1);
    }
    for (let block = 0; block < plan.blocks; ++block) {
      convolve(into, 9);
      convolve(channels, 9);
      into = channels;
    }
  }
  out.parameters += (channels + 1) * plan.classes;
  out.forward += 2 * channels * plan.classes;
  return out;
}
function vit_work({ width: d, patch, image_height, image_width, colors, depth, classes }: TrainPlan): Work {
  const tokens = Math.floor(image_height / patch) * Math.floor(image_width / patch);
  const inputs = colors * patch * patch;
  return {
    parameters: (inputs + 1) * d + tokens * d + depth * (12 * d * d + 13 * d) + 2 * d + (d + 1) * classes,
    forward: tokens * (depth * (24 * d * d + 4 * tokens * d) + 2 * inputs * d) + 2 * d * classes,
  };
}
function mlp_work({ hidden: h, depth, colors, image_height, image_width, classes }: TrainPlan): Work {
  const products = colors * image_height * image_width * h + (depth - 1) * h * h + h * classes;
  return { parameters: products + depth * h + classes, forward: 2 * products };
}
const works: Record<Arch, (plan: TrainPlan) => Work> = { gpt: gpt_work, cnn: cnn_work, resnet: resnet_work, vit: vit_work, mlp: mlp_work };

/** Floating-point operations of one step: what bids declare and asks bound. */
export function flops_per_step(plan: TrainPlan): number {
  const { parameters, forward } = works[plan.arch](plan);
  return 3 * plan.batch * forward + 16 * parameters;
}
export const parameter_count = (plan: TrainPlan): number => works[plan.arch](plan).parameters;

function model_of(plan: TrainPlan): Document {
  if (plan.arch === "gpt") return { arch: "gpt", vocab, width: plan.width, depth: plan.depth, heads: plan.heads, context: plan.context };
  const image = { arch: plan.arch, classes: plan.classes, height: plan.image_height, width: plan.image_width };
  switch (plan.arch) {
    case "cnn": return { ...image, channels: plan.channels };
    case "resnet": return { ...image, colors: plan.colors, channels: plan.channels, stages: plan.stages, blocks: plan.blocks };
    case "vit": return { ...image, colors: plan.colors, patch: plan.patch, dim: plan.width, depth: plan.depth, heads: plan.heads };
    case "mlp": return { ...image, colors: plan.colors, hidden: plan.hidden, depth: plan.depth };
  }
}

/** What a job learns from, by the hashes of its files. */
export type TrainData = { format: "text" | "tar"; blob: string } | { format: "idx"; images: string; labels: string };

const warmup_of = (plan: TrainPlan): number => Math.min(warmup_steps_most, plan.steps);
/** The spec that `millrace train` makes of the same. */
export function train_spec(plan: TrainPlan, data: TrainData): { [name: string]: Document } {
  return {
    version: 1,
    kind: "train",
    model: model_of(plan),
    data: { ...data },
    holdout_bp: 500,
    batch: plan.batch,
    steps: plan.steps,
    segment_steps: plan.segment_steps,
    eval_batches: 8,
    learning_rate: plan.learning_rate,
    warmup_steps: warmup_of(plan),
    weight_decay: "0.01",
    seed: plan.seed,
    precision: "fp32",
    numeric_class: "D1",
    flops_per_step: flops_per_step(plan),
  };
}

/** The command line's options that say the same; those of files come besides. */
export function train_options(plan: TrainPlan): string[] {
  const option = (name: NumberField) => `--${name.replaceAll("_", "-")} ${plan[name]}`;
  const warmup = warmup_of(plan) === warmup_steps_most ? "" : ` --warmup-steps ${warmup_of(plan)}`;
  return [of_model[plan.arch].map(option).join(" "), ["batch" as const, "steps" as const, "segment_steps" as const].map(option).join(" "), `--learning-rate ${plan.learning_rate} --seed ${plan.seed}${warmup}`];
}

/** Height and width of the images in an IDX file, from its head; null when it is none. */
export function idx_image_sizes(head: Uint8Array): { image_height: number; image_width: number } | null {
  if (head.length < 16 || head[0] !== 0 || head[1] !== 0 || head[2] !== 8 || head[3] !== 3) return null;
  const view = new DataView(head.buffer, head.byteOffset);
  return { image_height: view.getUint32(8), image_width: view.getUint32(12) };
}

/** Serves what a training job ended with; `model` is that of its spec. */
export function serve_spec(model: Document, weights: string, name: string): { [name: string]: Document } {
  return { version: 1, kind: "infer.serve", model, weights, tokenizer: "bytes", name };
}
export const is_model_name = (name: string): boolean => /^[A-Za-z0-9._-]{1,64}$/.test(name);
