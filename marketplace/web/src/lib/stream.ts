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
 * Last-Event-ID; where it gives up (an HTTP error, as while the market restarts) this begins again behind the last
 * event. A page that nobody sees gives its connection back: a browser has six for one market, over all its tabs.
 */
export function open_stream(url: string, { events, on_state }: StreamHandlers): () => void {
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last_id = "";
  const stop = () => {
    clearTimeout(timer);
    source?.close();
    source = undefined;
  };
  const open = () => {
    stop();
    const own = new EventSource(last_id ? `${url}?after=${last_id}` : url);
    source = own;
    own.onopen = () => on_state?.(true);
    own.onerror = () => {
      on_state?.(false);
      if (own.readyState === EventSource.CLOSED && own === source) timer = setTimeout(open, again_ms);
    };
    for (const [name, handle] of Object.entries(events)) {
      own.addEventListener(name, (event) => {
        const { data, lastEventId } = event as MessageEvent<string>;
        last_id = lastEventId || last_id;
        handle(JSON.parse(data) as never);
      });
    }
  };
  const look = () => (document.visibilityState === "hidden" ? stop() : source ?? open());
  document.addEventListener("visibilitychange", look);
  look();
  return () => {
    document.removeEventListener("visibilitychange", look);
    stop();
  };
}
