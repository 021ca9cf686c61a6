// SPDX-License-Identifier: Apache-2.0
// What the demo shows: stages, a live loss curve where there is a terminal, plain lines where there is none.

const out = process.stdout;
const colour = out.isTTY && !process.env.NO_COLOR;
const paint = (code) => (text) => (colour ? `\x1b[${code}m${text}\x1b[0m` : text);
export const bold = paint("1");
export const dim = paint("2");
export const green = paint("32");
export const red = paint("31");
export const cyan = paint("36");

/**
 * The points as a curve of braille dots: `columns` × `rows` characters, with the value range at the left.
 * points: [{ x, y }] with x rising; x_max fixes the right edge, so that the curve grows into the picture.
 */
export function curve(points, { columns = 60, rows = 8, x_max }) {
  if (points.length === 0) return [];
  const low = Math.min(...points.map((point) => point.y));
  const high = Math.max(...points.map((point) => point.y));
  const span = high - low || 1;
  const [wide, tall] = [columns * 2, rows * 4];
  const cells = Array.from({ length: rows }, () => new Uint8Array(columns));
  const bits = [
    [0x01, 0x08],
    [0x02, 0x10],
    [0x04, 0x20],
    [0x40, 0x80],
  ];
  const dot = (x, y) => (cells[y >> 2][x >> 1] |= bits[y & 3][x & 1]);
  const across = (x) => Math.min(wide - 1, Math.max(0, Math.round((x / x_max) * (wide - 1))));
  const down = (y) => Math.round(((high - y) / span) * (tall - 1));
  points.forEach((point, i) => {
    const before = points[Math.max(0, i - 1)];
    const [x0, y0, x1, y1] = [across(before.x), down(before.y), across(point.x), down(point.y)];
    const steps = Math.max(1, Math.abs(x1 - x0), Math.abs(y1 - y0));
    for (let s = 0; s <= steps; ++s) {
      dot(Math.round(x0 + ((x1 - x0) * s) / steps), Math.round(y0 + ((y1 - y0) * s) / steps));
    }
  });
  return cells.map((row, i) => {
    const label = i === 0 ? high.toFixed(2) : i === rows - 1 ? low.toFixed(2) : "";
    return `${label.padStart(7)} ┤${[...row].map((bit) => String.fromCharCode(0x2800 + bit)).join("")}`;
  });
}

/** Lines at the bottom of the terminal that are drawn anew with every change. */
export class LiveRegion {
  #drawn = 0;

  draw(lines) {
    if (!out.isTTY) return;
    this.#erase();
    const width = (out.columns ?? 80) - 1;
    for (const line of lines) out.write(`${cut(line, width)}\n`);
    this.#drawn = lines.length;
  }

  /** A line above the region that stays. */
  say(line, lines = []) {
    this.#erase();
    out.write(`${line}\n`);
    this.draw(lines);
  }

  /** Leaves the lines drawn last where they are. */
  settle() {
    this.#drawn = 0;
  }

  #erase() {
    if (this.#drawn > 0) out.write(`\x1b[${this.#drawn}A\x1b[0J`);
    this.#drawn = 0;
  }
}

/** The first `width` visible characters; colour codes take no room. */
function cut(line, width) {
  let seen = 0;
  let result = "";
  for (const piece of line.split(/(\x1b\[[0-9;]*m)/)) {
    if (piece.startsWith("\x1b")) result += piece;
    else {
      result += [...piece].slice(0, Math.max(0, width - seen)).join("");
      seen += [...piece].length;
    }
  }
  return result;
}

/** Numbered stages with their time; `seconds` goes into the summary. */
export class Stages {
  seconds = {};
  #count = 0;
  #total;

  constructor(total) {
    this.#total = total;
  }

  /** Runs one stage; `work` may tell what it does through the function it is given. */
  async run(key, title, work) {
    this.#count += 1;
    out.write(`${bold(`[${this.#count}/${this.#total}]`)} ${title}\n`);
    const start = performance.now();
    const result = await work(note);
    this.seconds[key] = Math.round((performance.now() - start) / 100) / 10;
    out.write(dim(`      ${this.seconds[key]} s\n`));
    return result;
  }
}

export function note(text) {
  out.write(`      ${text}\n`);
}
