// SPDX-License-Identifier: Apache-2.0
// A tiny Llama of seeded random weights as model hubs publish them: config, byte-level tokenizer, chat template and
// safetensors. Its texts mean nothing; what they cost and how they begin is exact.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { byte_chars } from "./trained.mjs";
import { templates } from "./templates.mjs";

const specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
const merges = [["Ġ", "t"], ["h", "e"], ["Ġt", "he"], ["i", "n"], ["e", "r"], ["u", "s"], ["us", "er"], ["Ġ", "w"], ["h", "a"], ["l", "e"]];

export function tiny_tokenizer() {
  const vocab = {};
  for (const symbol of [...byte_chars, ...merges.map(([left, right]) => left + right)]) vocab[symbol] ??= Object.keys(vocab).length;
  const first = Object.keys(vocab).length;
  const added_tokens = specials.map((content, i) =>
    ({ id: first + i, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }));
  const byte_level = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: "1.0", truncation: null, padding: null, added_tokens, normalizer: null, pre_tokenizer: byte_level,
    post_processor: byte_level, decoder: byte_level,
    model: { type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null,
      fuse_unk: false, byte_fallback: false, ignore_merges: false, vocab, merges },
  };
}

/** Numbers around 0 from a seed (mulberry32). */
function make_normal(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => (uniform() + uniform() + uniform() + uniform() - 2) * 0.6;
}

/** [name, shape] of every tensor. */
function layout({ vocab_size: vocab, hidden_size: width, intermediate_size: ffn, num_hidden_layers: depth }) {
  const kv = width / 2;
  const out = [["model.embed_tokens.weight", [vocab, width]], ["model.norm.weight", [width]], ["lm_head.weight", [vocab, width]]];
  for (let i = 0; i < depth; ++i) {
    const layer = `model.layers.${i}.`;
    out.push([`${layer}input_layernorm.weight`, [width]], [`${layer}post_attention_layernorm.weight`, [width]]);
    out.push([`${layer}self_attn.q_proj.weight`, [width, width]], [`${layer}self_attn.o_proj.weight`, [width, width]]);
    out.push([`${layer}self_attn.k_proj.weight`, [kv, width]], [`${layer}self_attn.v_proj.weight`, [kv, width]]);
    out.push([`${layer}mlp.gate_proj.weight`, [ffn, width]], [`${layer}mlp.up_proj.weight`, [ffn, width]], [`${layer}mlp.down_proj.weight`, [width, ffn]]);
  }
  return out;
}

function safetensors(tensors, seed) {
  const normal = make_normal(seed);
  const header = {};
  const parts = [];
  let at = 0;
  for (const [name, shape] of tensors) {
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => (shape.length === 1 ? 1 : normal()));
    header[name] = { dtype: "F32", shape, data_offsets: [at, at + values.byteLength] };
    parts.push(Buffer.from(values.buffer));
    at += values.byteLength;
  }
  const text = JSON.stringify(header);
  const head = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(head.length));
  return Buffer.concat([size, head, ...parts]);
}

/** Writes the folder. `config` overrides fields of config.json, but not the weights, which stay as they are. */
export function write_tiny_folder(folder, { seed = 7, config = {}, tokenizer_config = {} } = {}) {
  mkdirSync(folder, { recursive: true });
  const tokenizer = tiny_tokenizer();
  const end = tokenizer.added_tokens.find((token) => token.content === "<|im_end|>").id;
  const shape = {
    architectures: ["LlamaForCausalLM"], model_type: "llama", vocab_size: tokenizer.added_tokens.at(-1).id + 1, hidden_size: 32,
    intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 512,
    rms_norm_eps: 1e-5, rope_theta: 10000, hidden_act: "silu", tie_word_embeddings: false, torch_dtype: "float32",
  };
  const write = (name, value) => writeFileSync(join(folder, name), JSON.stringify(value));
  const words = { chat_template: templates.chatml, bos_token: "<|endoftext|>", eos_token: "<|im_end|>", ...tokenizer_config };
  write("config.json", { ...shape, ...config });
  write("generation_config.json", { eos_token_id: end, temperature: 0.6, top_p: 0.95, do_sample: true });
  write("tokenizer.json", tokenizer);
  write("tokenizer_config.json", words);
  writeFileSync(join(folder, "model.safetensors"), safetensors(layout(shape), seed));
  return { tokenizer, words };
}
