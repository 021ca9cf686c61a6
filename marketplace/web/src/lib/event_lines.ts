// SPDX-License-Identifier: Apache-2.0
// The data of server-sent events from pieces of text as they arrive. Pure.

export class EventLines {
  #rest = "";

  /** The `data:` of every event that is now complete. */
  push(piece: string): string[] {
    this.#rest += piece;
    const out: string[] = [];
    for (;;) {
      const end = this.#rest.indexOf("\n\n");
      if (end < 0) return out;
      const data = this.#rest
        .slice(0, end)
        .split("\n")
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5).replace(/^ /, ""));
      if (data.length > 0) out.push(data.join("\n"));
      this.#rest = this.#rest.slice(end + 2);
    }
  }
}
