// SPDX-License-Identifier: Apache-2.0
// Trains small byte-pair vocabularies and dresses them as the tokenizer.json of the model families: the pre-tokenizer,
// normalizer, post-processor and decoder are those of the family, the tokens come from Moby-Dick and the hard texts.
import { hard_texts, moby_dick } from "./corpus.mjs";

export const byte_chars = (() => {
  const out = [];
  let next = 0x100;
  for (let byte = 0; byte < 256; ++byte) {
    const prints = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    out.push(String.fromCodePoint(prints ? byte : next++));
  }
  return out;
})();
const to_byte_chars = (word) => [...Buffer.from(word, "utf8")].map((byte) => byte_chars[byte]);

/** Merges of the most frequent pairs of neighbours; `split` cuts a text into words of symbols. */
function train(split, merges_max) {
  const text = moby_dick().slice(0, 300_000) + hard_texts.join("\n").repeat(3);
  const counts = new Map();
  for (const symbols of split(text)) {
    const key = symbols.join("\u0001");
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const words = [...counts].map(([key, count]) => ({ symbols: key.split("\u0001"), count }));
  const merges = [];
  const joined = new Set();
  while (merges.length < merges_max) {
    const pairs = new Map();
    for (const { symbols, count } of words) {
      for (let i = 0; i + 1 < symbols.length; ++i) {
        const pair = `${symbols[i]}\u0001${symbols[i + 1]}`;
        pairs.set(pair, (pairs.get(pair) ?? 0) + count);
      }
    }
    // Some hundred pairs a pass: close enough to the true order, and a real order all the same.
    const best = [...pairs].filter(([, count]) => count > 1).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 100);
    if (best.length === 0) break;
    const ranks = new Map();
    for (const [pair] of best) {
      const [left, right] = pair.split("\u0001");
      if (joined.has(left + right)) continue;
      joined.add(left + right);
      ranks.set(pair, merges.length);
      merges.push([left, right]);
    }
    if (ranks.size === 0) break;
    for (const word of words) {
      for (let i = 0; i + 1 < word.symbols.length; ++i) {
        if (!ranks.has(`${word.symbols[i]}\u0001${word.symbols[i + 1]}`)) continue;
        word.symbols.splice(i, 2, word.symbols[i] + word.symbols[i + 1]);
      }
    }
  }
  return merges;
}

const special = (id, content, more = {}) =>
  ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true, ...more });

/** Vocabulary of the symbols, then one token a merge. */
function make_model(symbols, merges, more) {
  const vocab = {};
  for (const symbol of [...symbols, ...merges.map(([left, right]) => left + right)])
    vocab[symbol] ??= Object.keys(vocab).length;
  return { type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null,
    fuse_unk: false, byte_fallback: false, vocab, merges, ...more };
}

const byte_level = (more = {}) => ({ type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true, ...more });
const regex_split = (regex) => ({ type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false });
const regexes = {
  gpt2: "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
  llama3: "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  qwen2: "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
};

function byte_family(regex, { model = {}, specials = ["<|endoftext|>"], ...parts }) {
  const merges = train((text) => (text.match(new RegExp(regex.replace("(?i:", "(?:"), "gu")) ?? []).map(to_byte_chars), 1500);
  const body = make_model(byte_chars, merges, model);
  const first = Object.keys(body.vocab).length;
  return { version: "1.0", added_tokens: specials.map((token, i) =>
    typeof token === "string" ? special(first + i, token) : special(first + i, token.content, token)),
  normalizer: null, post_processor: byte_level(), decoder: byte_level(), model: body, ...parts };
}

/** Characters and <0xNN> bytes, with U+2581 for spaces, as SentencePiece models are written by the converters. */
function piece_family({ model = {}, added = [], ...parts }) {
  const words = (text) => (text.replaceAll(" ", "▁").match(/▁*[^▁]+|▁+/gu) ?? []).map((word) => [...word]);
  const merges = train(words, 1500);
  const letters = new Set(merges.flat().filter((part) => [...part].length === 1));
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  const body = make_model(["<unk>", "<s>", "</s>", ...bytes, ...letters, "▁"], merges,
    { unk_token: "<unk>", fuse_unk: true, byte_fallback: true, ...model });
  return { version: "1.0", added_tokens: [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>"), ...added],
    normalizer: null, pre_tokenizer: null, model: body,
    post_processor: { type: "TemplateProcessing", single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
      special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } } },
    decoder: { type: "Sequence", decoders: [{ type: "Replace", pattern: { String: "▁" }, content: " " }, { type: "ByteFallback" },
      { type: "Fuse" }, { type: "Strip", content: " ", start: 1, stop: 0 }] }, ...parts };
}

const sequence = (...pretokenizers) => ({ type: "Sequence", pretokenizers });
const string_merges = (file) => ({ ...file, model: { ...file.model, merges: file.model.merges.map((pair) => pair.join(" ")) } });

/** The files by name; each is made when asked for. */
export const families = {
  gpt2: () => string_merges(byte_family(regexes.gpt2, { pre_tokenizer: byte_level() })),
  gpt2_prefix_space: () => byte_family(regexes.gpt2, { pre_tokenizer: byte_level({ add_prefix_space: true }) }),
  pythia: () => byte_family(regexes.gpt2, {
    normalizer: { type: "NFC" }, pre_tokenizer: byte_level(),
    specials: ["<|endoftext|>", "<|padding|>",
      ...[24, 12, 8, 4, 3, 2].map((n) => ({ content: " ".repeat(n), normalized: true, special: false })),
      { content: "Ishmael", normalized: true, special: false }] }),
  smollm: () => byte_family(regexes.gpt2, {
    specials: ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    pre_tokenizer: sequence({ type: "Digits", individual_digits: true }, byte_level()) }),
  llama3: () => {
    const file = byte_family(regexes.llama3, { model: { ignore_merges: true }, specials: ["<|begin_of_text|>", "<|eot_id|>", "<|endoftext|>"],
      pre_tokenizer: sequence(regex_split(regexes.llama3), byte_level({ use_regex: false })) });
    const bos = file.added_tokens[0].id;
    file.post_processor = { type: "Sequence", processors: [byte_level(), { type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<|begin_of_text|>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }], pair: [],
      special_tokens: { "<|begin_of_text|>": { id: "<|begin_of_text|>", ids: [bos], tokens: ["<|begin_of_text|>"] } } }] };
    return file;
  },
  qwen2: () => byte_family(regexes.qwen2, {
    normalizer: { type: "NFC" }, specials: ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    pre_tokenizer: sequence(regex_split(regexes.qwen2), byte_level({ use_regex: false })) }),
  llama2: () => string_merges(piece_family({ normalizer: { type: "Sequence", normalizers: [
    { type: "Prepend", prepend: "▁" }, { type: "Replace", pattern: { String: " " }, content: "▁" }] } })),
  mistral: () => piece_family({
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: false },
    added: [special(259, "[INST]"), special(260, "[/INST]")].map((token, i) => ({ ...token, id: 9000 + i })) }),
  metaspace_words: () => piece_family({
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true } }),
  unknown: () => piece_family({ model: { byte_fallback: false },
    normalizer: { type: "Sequence", normalizers: [{ type: "NFKC" }, { type: "Replace", pattern: { String: " " }, content: "▁" }] } }),
  unknown_each: () => piece_family({ model: { byte_fallback: false, fuse_unk: false },
    normalizer: { type: "Replace", pattern: { Regex: "\\s+" }, content: "▁" } }),
  punctuation: () => byte_family(regexes.gpt2, { pre_tokenizer: sequence({ type: "WhitespaceSplit" }, { type: "Punctuation", behavior: "Isolated" },
    byte_level({ use_regex: false })) }),
  strips: () => byte_family(regexes.gpt2, { normalizer: { type: "Strip", strip_left: true, strip_right: true }, pre_tokenizer: byte_level(),
    specials: [{ content: "<|endoftext|>", lstrip: true }, { content: "<|im_start|>", rstrip: true }] }),
  ...Object.fromEntries(["Isolated", "Removed", "MergedWithNext"].map((behavior) =>
    [`split_${behavior}`, () => byte_family(regexes.gpt2, { pre_tokenizer: sequence(
      { type: "Split", pattern: { Regex: "[.,;]|\\d" }, behavior, invert: false }, byte_level({ use_regex: false })) })])),
};
