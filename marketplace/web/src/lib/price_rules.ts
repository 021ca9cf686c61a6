// SPDX-License-Identifier: Apache-2.0
// Prices of a machine as its worker's settings have them. Pure.
import { parse_tokens, type UnitKind } from "./format";

/** What a worker sells, and the setting that holds its price. */
export const price_settings: [kind: UnitKind, setting: string][] = [
  ["training_step", "price_step"], ["input_token", "price_input_token"], ["output_token", "price_output_token"],
];
/** What prices may be at most: 2^50 atoms. */
const price_max = 1n << 50n;

export const is_price = (text: string): boolean => {
  const atoms = parse_tokens(text);
  return atoms !== null && atoms <= price_max;
};

/** The lines of worker.toml; null while a price is none. Amounts are digits and a point alone, so they need no escapes. */
export function settings_lines(prices: Partial<Record<UnitKind, string>>): string | null {
  const lines: string[] = [];
  for (const [kind, setting] of price_settings) {
    const text = (prices[kind] ?? "0").trim();
    if (!is_price(text)) return null;
    lines.push(`${setting} = "${text}"`);
  }
  return lines.join("\n");
}
