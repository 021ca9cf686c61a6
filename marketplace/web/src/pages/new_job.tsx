// SPDX-License-Identifier: Apache-2.0
// A job from a form: what the market would do with it now, what it may cost, and the same by curl and command line.
import { useEffect, useMemo, useState } from "preact/hooks";
import { bytesToHex, sha256, type Hex } from "viem";
import { get, request, session, type Job, type Offer } from "../lib/api";
import { as_curl, as_javascript, as_python, quoted } from "../lib/equivalent";
import { amount_for, count, duration, parse_tokens, tokens } from "../lib/format";
import { canonical, type Document } from "../lib/messages";
import { ask_quote, draft_job, quote_body, sign_and_post, type JobDraft, type Leg, type Quote } from "../lib/order";
import { go } from "../lib/route";
import {
  fields_of, first_plan, flops_per_step, idx_image_sizes, is_model_name, parameter_count, plan_problems, serve_spec, train_options, train_spec, type Arch, type TrainData,
} from "../lib/spec";
import { connected } from "../lib/wallet";
import { CopyBlock, Empty, Failure, Field, NeedSession, Panel, useAction, useLoad } from "../ui/parts";

const no_blob: Hex = `0x${"0".repeat(64)}`;
const text_bytes_max = 256 * 1024 * 1024;
const quote_wait_ms = 400;

interface Data {
  bytes: Uint8Array<ArrayBuffer>;
  name: string;
  hash: Hex;
}
async function hash_of(bytes: Uint8Array<ArrayBuffer>): Promise<Hex> {
  // Not there on plain http other than localhost.
  return crypto.subtle ? bytesToHex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))) : sha256(bytes);
}

/** The quote for a draft that changes while a person types. */
function useQuote(spec: { [name: string]: Document } | null, legs: Leg[] | null, gpu_model: string, hours: number) {
  const buyer = connected.value?.address;
  const key = spec && legs ? JSON.stringify([canonical(spec), legs.map(Object.values), gpu_model, hours, buyer], (_name, value: unknown) => (typeof value === "bigint" ? String(value) : value)) : "";
  const [answer, set_answer] = useState<{ draft: JobDraft; quote: Quote | null; error: unknown } | null>(null);
  useEffect(() => {
    if (!spec || !legs) {
      set_answer(null);
      return undefined;
    }
    let current = true;
    const ask = async () => {
      const draft = await draft_job(spec, legs, { gpu_model, hours }, buyer);
      const [quote, error] = await ask_quote(draft).then((value): [Quote | null, unknown] => [value, null], (reason: unknown): [null, unknown] => [null, reason]);
      if (current) set_answer({ draft, quote, error });
    };
    const fail = (error: unknown) => current && set_answer((before) => (before ? { ...before, error } : null));
    const first = setTimeout(() => void ask().catch(fail), quote_wait_ms);
    const again = setInterval(() => void ask().catch(fail), 5_000);
    return () => {
      current = false;
      clearTimeout(first);
      clearInterval(again);
    };
  }, [key]);
  return answer;
}

function QuotePanel({ answer, unit }: { answer: ReturnType<typeof useQuote>; unit: string }) {
  if (!answer) return <Panel title="Quote"><Empty>Fill in the form: the market says at once whether the job would match.</Empty></Panel>;
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
            {quote.legs.map((leg) => [<dt key={`${leg.ask} name`}>Price</dt>, <dd key={leg.ask}>{tokens(leg.price)} per {unit}, {count(leg.max_units)} units</dd>])}
            <dt>Starts</dt><dd>{quote.starts_ms === null ? "not foreseeable" : quote.starts_ms <= Date.now() ? "at once" : `in ${duration(quote.starts_ms - Date.now())}`}</dd>
            <dt>Never above</dt><dd><b>{tokens(draft.worst_case)}</b></dd>
          </dl>
        </>
      )}
    </Panel>
  );
}

const languages = [["curl", as_curl], ["Python", as_python], ["JavaScript", as_javascript]] as const;

function Equivalent({ draft, command }: { draft: JobDraft; command: string }) {
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

/** Signs, posts and goes to the job. */
function PostButton({ draft, before }: { draft: JobDraft | null; before?: () => Promise<void> }) {
  const post = useAction(async () => {
    const buyer = connected.value?.address;
    if (!draft || !buyer) return;
    await before?.();
    go(`/app/jobs/${await sign_and_post(draft, buyer)}`);
  });
  const ready = draft && connected.value;
  return (
    <>
      <button type="button" class="main" disabled={!ready || post.busy} onClick={() => post.run()}>{post.busy ? "Look at your wallet…" : "Sign and post"}</button>
      <Failure error={post.error} />
    </>
  );
}

function OrderFields({ price, set_price, hours, set_hours, gpu_model, set_gpu_model, unit, models }: {
  price: string; set_price: (text: string) => void; hours: number; set_hours: (value: number) => void;
  gpu_model: string; set_gpu_model: (name: string) => void; unit: string; models: string[];
}) {
  const atoms = parse_tokens(price);
  return (
    <div class="row">
      <Field label={`Price ceiling per ${unit}`} hint="tokens; you pay the ask's price" wrong={atoms === null || atoms === 0n ? "an amount like 0.001" : undefined}>{(props) => (
        <input {...props} inputMode="decimal" value={price} onInput={(event) => set_price(event.currentTarget.value)} />)}
      </Field>
      <Field label="Hours at most" wrong={hours > 0 && hours <= 8_760 ? undefined : "more than 0"}>{(props) => (
        <input {...props} type="number" min={0.1} max={8760} step="any" value={hours} onInput={(event) => set_hours(event.currentTarget.valueAsNumber)} />)}
      </Field>
      <Field label="GPU class">{(props) => (
        <select {...props} value={gpu_model} onChange={(event) => set_gpu_model(event.currentTarget.value)}>
          <option value="">any</option>
          {models.map((name) => <option key={name}>{name}</option>)}
        </select>)}
      </Field>
    </div>
  );
}

function useModels(kind: string): string[] {
  const book = useLoad(() => get<{ asks: Offer[] }>(`/v1/market/book?unit_kind=${kind}&limit=500`), [kind]);
  return [...new Set((book.value?.asks ?? []).map(({ gpu_model }) => gpu_model))].sort();
}

const archs: [Arch, string][] = [
  ["gpt", "Text: GPT over bytes"], ["cnn", "Images: convolutional net"], ["resnet", "Images: residual net"], ["vit", "Images: vision transformer"], ["mlp", "Images: multilayer perceptron"],
];
type Format = TrainData["format"];
/** The files of each format: the member of the spec's data, the option of the command line, what it is. */
const files_of: Record<Format, [member: string, option: string, label: string, hint: string][]> = {
  text: [["blob", "--text", "Text to learn from", "any UTF-8 file; goes to the market when you post"]],
  tar: [["blob", "--image-tar", "Tar of images", "PNG, JPEG or PPM, a folder for each label"]],
  idx: [["images", "--images", "IDX images", "as MNIST has them, unpacked"], ["labels", "--labels", "IDX labels", "as MNIST has them, unpacked"]],
};

function FileField({ label, hint, data, set }: { label: string; hint: string; data: Data | undefined; set: (data: Data | undefined) => void }) {
  const take = useAction(async (file: File | undefined) => {
    set(undefined);
    if (!file) return;
    if (file.size === 0 || file.size > text_bytes_max) throw new Error("The file must have 1 byte to 256 MiB; larger ones go by the command line.");
    const bytes = new Uint8Array(await file.arrayBuffer());
    set({ bytes, name: file.name, hash: await hash_of(bytes) });
  });
  return (
    <>
      <Field label={label} hint={data ? `${data.name}, ${count(data.bytes.length)} bytes` : hint}>{(props) => (
        <input {...props} type="file" onChange={(event) => void take.run(event.currentTarget.files?.[0])} />)}
      </Field>
      <Failure error={take.error} />
    </>
  );
}

function TrainForm() {
  const [plan, set_plan] = useState(first_plan);
  const [image_format, set_image_format] = useState<Format>("tar");
  const [files, set_files] = useState<Record<string, Data | undefined>>({});
  const [price, set_price] = useState("0.001");
  const [hours, set_hours] = useState(2);
  const [gpu_model, set_gpu_model] = useState("");
  const models = useModels("training_step");
  const format = plan.arch === "gpt" ? "text" : image_format;
  const wanted = files_of[format].map(([member, option, label, hint]) => ({ member, option, label, hint, data: files[`${format} ${member}`] }));
  const complete = wanted.every(({ data }) => data);
  const problems = plan_problems(plan);
  const ceiling = parse_tokens(price);
  const fine = Object.keys(problems).length === 0 && ceiling !== null && ceiling > 0n && hours > 0;
  const spec = useMemo(() => {
    const hashes = Object.fromEntries(wanted.map(({ member, data }) => [member, data?.hash ?? no_blob]));
    return fine ? train_spec(plan, { format, ...hashes } as TrainData) : null;
  }, [plan, files, format, fine]);
  const legs = useMemo((): Leg[] | null => {
    if (!fine) return null;
    const volume = BigInt(plan.steps);
    return [{ kind: "training_step", price_ceiling: ceiling, volume, max_amount: amount_for("training_step", volume, ceiling) }];
  }, [plan.steps, price, fine]);
  const answer = useQuote(spec, legs, gpu_model, hours);
  const set_file = (member: string, data: Data | undefined) => {
    set_files((before) => ({ ...before, [`${format} ${member}`]: data }));
    const sizes = format === "idx" && member === "images" && data && idx_image_sizes(data.bytes);
    if (sizes) set_plan((before) => ({ ...before, ...sizes }));
  };
  const upload = async () => {
    for (const { data } of wanted) await request(`/v1/blobs/${data!.hash}`, { method: "PUT", bytes: data!.bytes });
  };
  const command = [
    `millrace train --arch ${plan.arch}`, wanted.map(({ option, data }) => `${option} ${quoted(data?.name ?? "FILE")}`).join(" "), ...train_options(plan),
    `--max-price ${price} --hours ${Math.ceil(hours) || 1}${gpu_model ? ` --gpu-model ${quoted(gpu_model)}` : ""}`,
  ].join(" \\\n  ");
  return (
    <div class="grid">
      <div>
        <Panel title="Data and model">
          <div class="row">
            <Field label="Model">{(props) => (
              <select {...props} value={plan.arch} onChange={(event) => set_plan({ ...plan, arch: event.currentTarget.value as Arch })}>
                {archs.map(([arch, name]) => <option key={arch} value={arch}>{name}</option>)}
              </select>)}
            </Field>
            {plan.arch !== "gpt" && (
              <Field label="Images as">{(props) => (
                <select {...props} value={image_format} onChange={(event) => set_image_format(event.currentTarget.value as Format)}>
                  <option value="tar">a tar, a folder for each label</option><option value="idx">IDX files</option>
                </select>)}
              </Field>
            )}
          </div>
          {wanted.map(({ member, label, hint, data }) => <FileField key={`${format} ${member}`} {...{ label, hint, data }} set={(chosen) => set_file(member, chosen)} />)}
          <div class="row">
            {fields_of(plan.arch).map(([name, label]) => (
              <Field key={name} label={label} wrong={problems[name]}>{(props) => (
                <input {...props} type="number" value={plan[name]} onInput={(event) => set_plan({ ...plan, [name]: event.currentTarget.valueAsNumber })} />)}
              </Field>
            ))}
            <Field label="Learning rate" wrong={problems.learning_rate}>{(props) => (
              <input {...props} inputMode="decimal" value={plan.learning_rate} onInput={(event) => set_plan({ ...plan, learning_rate: event.currentTarget.value })} />)}
            </Field>
          </div>
          {fine && <p class="hint">{count(parameter_count(plan))} parameters, {(flops_per_step(plan) / 1e9).toPrecision(3)} GFLOP per step.</p>}
        </Panel>
        <Panel title="Order">
          <OrderFields {...{ price, set_price, hours, set_hours, gpu_model, set_gpu_model, models }} unit="step" />
        </Panel>
      </div>
      <div>
        <QuotePanel answer={answer} unit="step" />
        <NeedSession why="The data is uploaded under your account, so sign in first.">
          <Panel title="Post">
            {complete ? <p>You sign the bid, and then that the market's delegate may sign vouchers for it. Your money moves only as receipts come.</p> : <Empty>Choose the data first.</Empty>}
            <PostButton draft={complete && fine ? answer?.draft ?? null : null} before={upload} />
          </Panel>
        </NeedSession>
        {answer && <Equivalent draft={answer.draft} command={command} />}
      </div>
    </div>
  );
}

/** The jobs of this buyer whose model can be served. */
function ServeForm({ wanted }: { wanted: string }) {
  const account = session.value?.address;
  const jobs = useLoad(() => get<{ data: Job[] }>(`/v1/jobs?limit=100&state=completed&buyer=${account}`), [account]);
  const trained = (jobs.value?.data ?? []).filter((job) => job.kind === "train" && job.checkpoint);
  const [chosen, set_chosen] = useState(wanted);
  const job = trained.find(({ id }) => id === chosen) ?? trained[0];
  const train = useLoad(async () => (job ? get<{ model: Document }>(`/v1/jobs/${job.id}/spec`) : null), [job?.id]);
  const [name, set_name] = useState("my-model");
  const [price, set_price] = useState("1");
  const [volume, set_volume] = useState("100000");
  const [hours, set_hours] = useState(2);
  const [gpu_model, set_gpu_model] = useState("");
  const models = useModels("output_token");
  const ceiling = parse_tokens(price);
  const units = /^\d{1,12}$/.test(volume) && BigInt(volume) > 0n ? BigInt(volume) : null;
  const fine = ceiling !== null && ceiling > 0n && units !== null && is_model_name(name) && hours > 0;
  const spec = useMemo(() => (fine && job?.checkpoint && train.value ? serve_spec(train.value.model, job.checkpoint, name) : null), [fine, job?.id, train.value, name]);
  const legs = useMemo((): Leg[] | null => {
    if (!fine) return null;
    return (["input_token", "output_token"] as const).map((kind) => ({ kind, price_ceiling: ceiling, volume: units, max_amount: amount_for(kind, units, ceiling) }));
  }, [fine, price, volume]);
  const answer = useQuote(spec, spec ? legs : null, gpu_model, hours);
  if (jobs.value && trained.length === 0) return <Panel title="Model"><Empty>None of your training jobs is complete yet. Train one first, then serve it here.</Empty></Panel>;
  const command = [
    `millrace publish ${name} --job ${job?.id ?? "JOB"}`,
    `millrace serve ${name} --max-price-input ${price} --max-price-output ${price} \\\n  --max-amount ${tokens(answer?.draft.worst_case ?? 0n).replaceAll("\u202f", "")} --hours ${Math.ceil(hours) || 1}${gpu_model ? ` --gpu-model ${quoted(gpu_model)}` : ""}`,
  ].join("\n");
  return (
    <div class="grid">
      <Panel title="Model and order">
        <Failure error={jobs.error ?? train.error} />
        <Field label="Trained by job">{(props) => (
          <select {...props} value={job?.id} onChange={(event) => set_chosen(event.currentTarget.value)}>
            {trained.map(({ id, units_done }) => <option key={id} value={id}>{id.slice(0, 12)}, {units_done} steps</option>)}
          </select>)}
        </Field>
        <Field label="Name" hint="clients ask for the model by it" wrong={is_model_name(name) ? undefined : "1 to 64 letters, digits, '-', '_' or '.'"}>{(props) => (
          <input {...props} value={name} onInput={(event) => set_name(event.currentTarget.value)} />)}
        </Field>
        <Field label="Tokens, in and out each" hint="most that may be served under this job" wrong={units === null ? "a whole number" : undefined}>{(props) => (
          <input {...props} inputMode="numeric" value={volume} onInput={(event) => set_volume(event.currentTarget.value)} />)}
        </Field>
        <OrderFields {...{ price, set_price, hours, set_hours, gpu_model, set_gpu_model, models }} unit="1M tokens" />
      </Panel>
      <div>
        <QuotePanel answer={answer} unit="1M tokens" />
        <Panel title="Post"><p>Two bids are signed, for tokens in and out, and the delegation. Only tokens served are paid.</p><PostButton draft={spec ? answer?.draft ?? null : null} /></Panel>
        {answer && <Equivalent draft={answer.draft} command={command} />}
      </div>
    </div>
  );
}

export function NewJobPage() {
  const wanted = new URLSearchParams(location.search).get("serve") ?? "";
  const [kind, set_kind] = useState(wanted ? "serve" : "train");
  return (
    <>
      <h1>New job</h1>
      <p class="lead">You pay for metered work only, at no more than the ceiling you sign.</p>
      <div class="panel">
        <Field label="What">{(props) => (
          <select {...props} value={kind} onChange={(event) => set_kind(event.currentTarget.value)}>
            <option value="train">Train a model of text or images</option>
            <option value="serve">Serve a model you trained</option>
          </select>)}
        </Field>
      </div>
      {kind === "train" ? <TrainForm /> : <NeedSession why="Your training jobs are found by your account."><ServeForm wanted={wanted} /></NeedSession>}
    </>
  );
}
