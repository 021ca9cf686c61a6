// SPDX-License-Identifier: Apache-2.0
// Server-sent events that outlive a restart of the market.

export interface StreamHandlers {
  /** Named events with their parsed data. */
  events: Record<string, (data: never) => void>;
  on_state?: (live: boolean) => void;
}

const again_ms = 2_000;

/**
 * Reads a stream until the returned function is called. The browser resumes a cut connection by itself, with
 * Last-Event-ID; where it gives up (an HTTP error, as while the market restarts) this begins anew.
 */
export function open_stream(url: string, { events, on_state }: StreamHandlers): () => void {
  let source: EventSource;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let closed = false;
  const open = () => {
    source = new EventSource(url);
    source.onopen = () => on_state?.(true);
    source.onerror = () => {
      on_state?.(false);
      if (source.readyState === EventSource.CLOSED && !closed) timer = setTimeout(open, again_ms);
    };
    for (const [name, handle] of Object.entries(events)) {
      source.addEventListener(name, (event) => handle(JSON.parse((event as MessageEvent<string>).data) as never));
    }
  };
  open();
  return () => {
    closed = true;
    clearTimeout(timer);
    source.close();
  };
}
