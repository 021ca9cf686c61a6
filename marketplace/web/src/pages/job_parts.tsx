// SPDX-License-Identifier: Apache-2.0
// What every form of a new job has: files, order, quote, the same in other languages, signing and posting.
import { useEffect, useMemo, useState } from "preact/hooks";
import { get, type Offer } from "../lib/api";
import { as_curl, as_javascript, as_python, quoted } from "../lib/equivalent";
import { pick_file, type PickedFile } from "../lib/files";
import { amount_for, count, duration, parse_tokens, price_unit, tokens, unit_kinds } from "../lib/format";
import { any_machine, is_machine, machine_options, machine_wishes, wish_value, type Machine } from "../lib/machine";
import { canonical, type Document } from "../lib/messages";
import { ask_quote, draft_job, quote_body, sign_and_post, type JobDraft, type Leg, type Quote } from "../lib/order";
import { go } from "../lib/route";
import { connected } from "../lib/wallet";
import { CopyBlock, Empty, Failure, Field, Panel, useAction, useLoad } from "../ui/parts";

const quote_wait_ms = 400;
const quote_every_ms = 5_000;

export type Spec = { [name: string]: Document };

/** What is bid, besides the work. */
export interface Order {
  price: string;
  hours: number;
  gpu_model: string;
  machine: Machine;
}
/** What the form begins with. */
export const first_order = (price: string): Order => ({ price, hours: 2, gpu_model: "", machine: any_machine });
/** Atoms of the order's price; null while the order makes no sense. */
export function ceiling_of({ price, hours, machine }: Order): bigint | null {
  const atoms = parse_tokens(price);
  return atoms !== null && atoms > 0n && hours > 0 && hours <= 8_760 && is_machine(machine) ? atoms : null;
}
export const order_options = ({ hours, gpu_model, machine }: Order): string =>
  [`--hours ${Math.ceil(hours) || 1}`, ...(gpu_model ? [`--gpu-model ${quoted(gpu_model)}`] : []), ...machine_options(machine)].join(" ");

function MachineFields({ machine, set }: { machine: Machine; set: (machine: Machine) => void }) {
  return (
    <details>
      <summary>More of the machine</summary>
      <div class="row">
        {(Object.keys(machine_wishes) as (keyof Machine)[]).map((name) => (
          <Field key={name} label={machine_wishes[name].label} wrong={wish_value(machine, name) === null ? `a whole number up to ${machine_wishes[name].most}` : undefined}>{(props) => (
            <input {...props} inputMode="numeric" placeholder="any" value={machine[name]} onInput={(event) => set({ ...machine, [name]: event.currentTarget.value })} />)}
          </Field>
        ))}
      </div>
    </details>
  );
}

/** `kind`: what the asks sell among which GPU classes are chosen. */
export function OrderFields({ order, set, unit, kind }: { order: Order; set: (order: Order) => void; unit: string; kind: string }) {
  const book = useLoad(() => get<{ asks: Offer[] }>(`/v1/market/book?unit_kind=${kind}&limit=500`), [kind]);
  const models = [...new Set((book.value?.asks ?? []).map(({ gpu_model }) => gpu_model))].sort();
  const atoms = parse_tokens(order.price);
  return (
    <>
      <div class="row">
        <Field label={`Price ceiling per ${unit}`} hint="tokens; you pay the ask's price" wrong={atoms === null || atoms === 0n ? "an amount like 0.001" : undefined}>{(props) => (
          <input {...props} inputMode="decimal" value={order.price} onInput={(event) => set({ ...order, price: event.currentTarget.value })} />)}
        </Field>
        <Field label="Hours at most" wrong={order.hours > 0 && order.hours <= 8_760 ? undefined : "more than 0, at most 8760"}>{(props) => (
          <input {...props} type="number" min={0.1} max={8760} step="any" value={order.hours} onInput={(event) => set({ ...order, hours: event.currentTarget.valueAsNumber })} />)}
        </Field>
        <Field label="GPU class">{(props) => (
          <select {...props} value={order.gpu_model} onChange={(event) => set({ ...order, gpu_model: event.currentTarget.value })}>
            <option value="">any</option>
            {models.map((name) => <option key={name}>{name}</option>)}
          </select>)}
        </Field>
      </div>
      <MachineFields machine={order.machine} set={(machine) => set({ ...order, machine })} />
    </>
  );
}

/** What a training asks for: so many steps at most at the ceiling; null while either is not given. */
export function useSteps(steps: number | null, ceiling: bigint | null): Leg[] | null {
  return useMemo(() => {
    if (steps === null || ceiling === null) return null;
    const volume = BigInt(steps);
    return [{ kind: "training_step", price_ceiling: ceiling, volume, max_amount: amount_for("training_step", volume, ceiling) }];
  }, [steps, ceiling]);
}

export interface Answer {
  draft: JobDraft;
  quote: Quote | null;
  error: unknown;
  /** Whether the draft is what the form says now: another must not be posted. */
  current: boolean;
}
/** The quote for a draft that changes while a person types; null while there is none. */
export function useQuote(spec: Spec | null, legs: Leg[] | null, { gpu_model, hours, machine }: Order): Answer | null {
  const buyer = connected.value?.address;
  const key = spec && legs ? JSON.stringify([canonical(spec), legs.map(Object.values), gpu_model, hours, machine, buyer], (_name, value: unknown) => (typeof value === "bigint" ? String(value) : value)) : "";
  const [answer, set_answer] = useState<(Omit<Answer, "current"> & { key: string }) | null>(null);
  useEffect(() => {
    if (!spec || !legs) {
      set_answer(null);
      return undefined;
    }
    let current = true;
    const ask = async () => {
      const draft = await draft_job(spec, legs, { gpu_model, hours, machine }, buyer);
      const [quote, error] = await ask_quote(draft).then((value): [Quote | null, unknown] => [value, null], (reason: unknown): [null, unknown] => [null, reason]);
      if (current) set_answer({ draft, quote, error, key });
    };
    const fail = (error: unknown) => current && set_answer((before) => (before ? { ...before, error } : null));
    const first = setTimeout(() => void ask().catch(fail), quote_wait_ms);
    const again = setInterval(() => void ask().catch(fail), quote_every_ms);
    return () => {
      current = false;
      clearTimeout(first);
      clearInterval(again);
    };
  }, [key]);
  return answer && { ...answer, current: answer.key === key };
}

export function QuotePanel({ answer, wanting }: { answer: Answer | null; wanting: string }) {
  if (!answer) return <Panel title="Quote"><Empty>{wanting}</Empty></Panel>;
  const { quote, draft, error } = answer;
  return (
    <Panel title="Quote">
      <Failure error={error} />
      {quote && (
        <>
          <div class={`note ${quote.matches ? "good" : "warn"}`} role="status">
            {quote.matches
              ? `Matches now: ${quote.candidates} ${quote.candidates === 1 ? "ask fits" : "asks fit"}.`
              : `No ask fits now: ${quote.reasons.text} Posted all the same, it waits in the book.`}
          </div>
          <dl class="facts">
            <dt>Total now</dt><dd>{quote.matches ? tokens(quote.total) : "–"}</dd>
            {quote.legs.map((leg, i) => [<dt key={`${leg.ask} name`}>Price</dt>, <dd key={leg.ask}>{tokens(leg.price)} per {price_unit(unit_kinds[Number(draft.bids[i]?.unitKind)] ?? "")}, {count(leg.max_units)} units</dd>])}
            <dt>Starts</dt><dd>{quote.starts_ms === null ? "not foreseeable" : quote.starts_ms <= Date.now() ? "at once" : `in ${duration(quote.starts_ms - Date.now())}`}</dd>
            <dt>Never above</dt><dd><b>{tokens(draft.worst_case)}</b></dd>
          </dl>
        </>
      )}
    </Panel>
  );
}

const languages = [["curl", as_curl], ["Python", as_python], ["JavaScript", as_javascript]] as const;

export function Equivalent({ draft, command }: { draft: JobDraft; command: string }) {
  const [language, set_language] = useState<string>("curl");
  const write = languages.find(([name]) => name === language)![1];
  return (
    <Panel title="The same without this page">
      <p class="hint">Command line: makes, quotes, signs and posts it.</p>
      <CopyBlock label="Command line" text={command} />
      <Field label="The quote above in" hint="To post, send the same to /v1/jobs with signatures.">{(props) => (
        <select {...props} value={language} onChange={(event) => set_language(event.currentTarget.value)}>
          {languages.map(([name]) => <option key={name}>{name}</option>)}
        </select>)}
      </Field>
      <CopyBlock label={language} text={write(`${location.origin}/v1/market/quotes`, quote_body(draft))} />
    </Panel>
  );
}

/** Signs, posts and goes to the job; `before` sends what the job needs and tells how far it is. No answer: nothing can be posted yet. */
export function PostButton({ answer, before }: { answer: Answer | null; before?: (told: (text: string) => void) => Promise<void> }) {
  const draft = answer?.current ? answer.draft : null;
  const [progress, set_progress] = useState("");
  const post = useAction(async () => {
    const buyer = connected.value?.address;
    if (!draft || !buyer) return;
    try {
      await before?.(set_progress);
    } finally {
      set_progress("");
    }
    go(`/app/jobs/${await sign_and_post(draft, buyer)}`);
  });
  const ready = draft && connected.value;
  return (
    <>
      <button type="button" class="main" disabled={!ready || post.busy} onClick={() => post.run()}>{progress || (post.busy ? "Look at your wallet…" : "Sign and post")}</button>
      <Failure error={post.error} />
    </>
  );
}

interface FileFieldProps {
  label: string;
  hint: string;
  /** What stands there instead of the hint once a file is chosen. */
  chosen: string | undefined;
  bytes_max: number;
  /** May throw an Error for people: then the file is not taken. */
  set: (file: PickedFile | undefined) => void | Promise<void>;
}
export function FileField({ label, hint, chosen, bytes_max, set }: FileFieldProps) {
  const take = useAction(async (file: File | undefined) => {
    await set(undefined);
    if (file) await set(await pick_file(file, file.name, bytes_max));
  });
  return (
    <>
      <Field label={label} hint={take.busy ? "Reading…" : chosen ?? hint}>{(props) => (
        <input {...props} type="file" onChange={(event) => void take.run(event.currentTarget.files?.[0])} />)}
      </Field>
      <Failure error={take.error} />
    </>
  );
}
