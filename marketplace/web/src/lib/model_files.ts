// SPDX-License-Identifier: Apache-2.0
// Which files of a published model's folder a job needs, and what a tuned model consists of. Pure.
import type { ModelFiles } from "./finetune";
import type { Document } from "./messages";

const small = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"];
const weights = "model.safetensors";
const index = "model.safetensors.index.json";
const files_max = 256;
const is_weights = (name: string): boolean => name.endsWith(".safetensors") || name === index;

/** The names that a job needs out of a folder's; throws an Error for people when some are missing. */
export function needed_files(names: string[]): string[] {
  const has = (name: string) => names.includes(name);
  const shards = has(weights) ? [weights] : has(index) ? [index, ...names.filter((name) => name.endsWith(".safetensors"))] : [];
  if (shards.length === 0) throw new Error(`The folder has neither ${weights} nor ${index} with its shards.`);
  if (shards.length === 1 && shards[0] === index) throw new Error(`The folder has ${index}, but none of its shards.`);
  if (!has("config.json")) throw new Error("The folder has no config.json.");
  if (!has("tokenizer.json")) throw new Error("The folder has no tokenizer.json, which workers read. Save it again with a fast tokenizer: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR).");
  const out = [...shards, ...small.filter(has)].sort();
  if (out.length > files_max) throw new Error("The folder has too many safetensors.");
  return out;
}

/** Files by their hashes, from lines as `sha256sum *` prints them; throws an Error that names the line. */
export function parse_sums(text: string): ModelFiles {
  const all: ModelFiles = {};
  for (const [i, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const match = /^(?:0x)?([0-9a-fA-F]{64}) [ *]?(?:\.\/)?([A-Za-z0-9._-]{1,128})$/.exec(line.trim());
    if (!match) throw new Error(`Line ${i + 1} is not as sha256sum prints it: 64 hex digits, two spaces, the file's name.`);
    all[match[2]!] = `0x${match[1]!.toLowerCase()}`;
  }
  return Object.fromEntries(needed_files(Object.keys(all)).map((name) => [name, all[name]!]));
}

/** The files of a model whose weights were trained on: those of the first, with other weights. */
export const tuned_files = (files: ModelFiles, checkpoint: string): ModelFiles =>
  Object.fromEntries([...Object.entries(files).filter(([name]) => !is_weights(name)), [weights, checkpoint]]);

export type WeightsFormat = "fp32" | "bf16" | "int8" | "int4";
export const weights_formats: WeightsFormat[] = ["bf16", "int8", "int4", "fp32"];
/** Serves a published folder, as `millrace publish --folder` makes it. */
export const folder_spec = (files: ModelFiles, format: WeightsFormat, name: string): { [name: string]: Document } =>
  ({ version: 1, kind: "infer.serve", files: { ...files }, weights_format: format, name });
