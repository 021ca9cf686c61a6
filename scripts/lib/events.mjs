// SPDX-License-Identifier: Apache-2.0
// A reader of the market's server-sent events, which keeps all that came.

/** Cuts text into events: {id, event, data}, `data` as JSON where it is JSON. */
export function parse_events(text) {
  return text.split("\n\n").slice(0, -1).flatMap((block) => {
    const fields = Object.fromEntries(block.split("\n").filter((line) => !line.startsWith(":")).map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trimStart()]));
    if (fields.data === undefined) return [];
    return [{ id: fields.id, event: fields.event, data: JSON.parse(fields.data) }];
  });
}

export class EventReader {
  text = "";
  ended = false;

  /** Begins to read; throws when the answer is no stream. */
  static async open(url, token, headers = {}) {
    const reader = new EventReader();
    reader.abort = new AbortController();
    const response = await fetch(url, { headers: { authorization: `Bearer ${token}`, ...headers }, signal: reader.abort.signal });
    if (response.status !== 200) throw new Error(`${url}: ${response.status} ${await response.text()}`);
    reader.headers = response.headers;
    reader.done = reader.#take(response.body);
    return reader;
  }

  async #take(body) {
    try {
      for await (const piece of body.pipeThrough(new TextDecoderStream())) this.text += piece;
    } catch {
      // Cut by either side.
    }
    this.ended = true;
  }

  get events() {
    return parse_events(this.text);
  }

  stop() {
    this.abort.abort();
    return this.done;
  }
}
