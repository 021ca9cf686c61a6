// SPDX-License-Identifier: Apache-2.0
// Chat with a served model: tokens as they come, and for each answer its price and the receipts that prove it.
import { useRef, useState } from "preact/hooks";
import { get, request } from "../lib/api";
import { EventLines } from "../lib/event_lines";
import { tokens } from "../lib/format";
import { Empty, Failure, Field, NeedSession, Panel, useAction, useLoad } from "../ui/parts";

interface Model {
  id: string;
  owned_by: string;
  context_length?: number;
}
interface Bill {
  cost_atoms: string;
  receipts: string[];
}
interface Said {
  role: "user" | "assistant";
  content: string;
  bill?: Bill;
  tokens_per_s?: number;
}
interface Chunk {
  choices?: { delta?: { content?: string } }[];
  millrace?: Bill;
  usage?: { completion_tokens: number } | null;
  error?: { message: string };
}

/** Streams one answer; `on_text` gets all of it so far. */
async function ask(body: unknown, abort: AbortSignal, on_text: (text: string) => void): Promise<Omit<Said, "role">> {
  const response = await request("/v1/chat/completions", { method: "POST", body, signal: abort });
  const lines = new EventLines();
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let content = "";
  let bill: Bill | undefined;
  let first_ms = 0;
  let used = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    for (const data of lines.push(value)) {
      if (data === "[DONE]") continue;
      const chunk = JSON.parse(data) as Chunk;
      if (chunk.error) throw new Error(chunk.error.message);
      first_ms ||= performance.now();
      content += chunk.choices?.[0]?.delta?.content ?? "";
      bill = chunk.millrace ?? bill;
      used = chunk.usage?.completion_tokens ?? used;
      on_text(content);
    }
  }
  const seconds = (performance.now() - first_ms) / 1_000;
  return { content, ...(bill ? { bill } : {}), ...(used > 1 && seconds > 0 ? { tokens_per_s: used / seconds } : {}) };
}

function Chat({ models }: { models: Model[] }) {
  const [model, set_model] = useState(models.at(-1)!.id);
  const [most, set_most] = useState(32);
  const [temperature, set_temperature] = useState(1);
  const [talk, set_talk] = useState<Said[]>([]);
  const [text, set_text] = useState("");
  const abort = useRef<AbortController | null>(null);
  const send = useAction(async () => {
    const before: Said[] = [...talk, { role: "user", content: text }];
    const controller = new AbortController();
    abort.current = controller;
    set_talk([...before, { role: "assistant", content: "" }]);
    set_text("");
    let so_far = "";
    try {
      const messages = before.map(({ role, content }) => ({ role, content }));
      const answer = await ask(
        { model, messages, max_tokens: most, temperature, stream: true, stream_options: { include_usage: true } }, controller.signal,
        (content) => set_talk([...before, { role: "assistant", content: (so_far = content) }]));
      set_talk([...before, { role: "assistant", ...answer }]);
    } catch (error) {
      set_talk(so_far ? [...before, { role: "assistant", content: so_far }] : talk);
      if (!so_far) set_text(before.at(-1)!.content);
      if (!controller.signal.aborted) throw error;
    }
  });
  return (
    <>
      <div class="panel row">
        <Field label="Model">{(props) => (
          <select {...props} value={model} onChange={(event) => set_model(event.currentTarget.value)}>
            {models.map(({ id }) => <option key={id}>{id}</option>)}
          </select>)}
        </Field>
        <Field label="Tokens at most">{(props) => <input {...props} type="number" min={1} max={4096} value={most} onInput={(event) => set_most(event.currentTarget.valueAsNumber)} />}</Field>
        <Field label="Temperature">{(props) => <input {...props} type="number" min={0} max={2} step={0.1} value={temperature} onInput={(event) => set_temperature(event.currentTarget.valueAsNumber)} />}</Field>
      </div>
      <div class="chat" aria-live="polite" aria-busy={send.busy}>
        {talk.length === 0 && <Empty>Say something. Each answer shows what it cost.</Empty>}
        {talk.map((said, i) => (
          <div key={i} class={`said ${said.role}`}>
            <p><span class="sr">{said.role}: </span>{said.content || (send.busy ? "…" : "(no text)")}</p>
            {said.bill && (
              <span class="hint">
                Cost {tokens(said.bill.cost_atoms)}{said.tokens_per_s ? `, ${said.tokens_per_s.toFixed(0)} tokens/s` : ""}. Receipts:{" "}
                {said.bill.receipts.map((receipt, n) => <span key={receipt}>{n > 0 && ", "}<a class="mono" href={`/app/settlement/receipt/${receipt}`}>{receipt.slice(0, 10)}</a></span>)}
              </span>
            )}
          </div>
        ))}
      </div>
      <Failure error={send.error} />
      <form onSubmit={(event) => {
        event.preventDefault();
        if (text.trim()) void send.run();
      }}>
        <Field label="Message">{(props) => (
          <textarea {...props} rows={3} value={text} onInput={(event) => set_text(event.currentTarget.value)} onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            if (text.trim()) void send.run();
          }} />)}
        </Field>
        <div class="row">
          <button type="submit" class="main" disabled={send.busy || !text.trim()}>Send</button>
          {send.busy && <button type="button" onClick={() => abort.current?.abort()}>Stop</button>}
          <button type="button" disabled={send.busy || talk.length === 0} onClick={() => set_talk([])}>New talk</button>
        </div>
      </form>
    </>
  );
}

export function PlaygroundPage() {
  const models = useLoad(() => get<{ data: Model[] }>("/v1/models"), [], 10_000);
  return (
    <>
      <h1>Playground</h1>
      <p class="lead">Chat with a model that is served here. Any OpenAI client can do the same with <code>{location.origin}/v1</code> and an <a href="/app/account">API key</a>.</p>
      <Failure error={models.error} />
      <NeedSession why="Answers are paid from your account under the leases of your serving job, so sign in first.">
        {models.value?.data.length === 0 && <Panel title="Models"><Empty>No model is served yet. <a href="/app/jobs/new?serve">Serve a published one</a>, or <a href="/app/jobs/new">train your own</a>.</Empty></Panel>}
        {models.value && models.value.data.length > 0 && <Chat models={models.value.data} />}
      </NeedSession>
    </>
  );
}
