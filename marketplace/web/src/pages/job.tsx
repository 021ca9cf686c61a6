// SPDX-License-Identifier: Apache-2.0
// One job: phases, live loss and speed, events, leases, cost against the cap, artifacts, cancel.
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type UPlot from "uplot";
import { get, request, session, type Job, type Lease, type List } from "../lib/api";
import { clock_time, count, date_time, duration, price_unit, tokens, words } from "../lib/format";
import { spec_of, trained_of, type JobSpec } from "../lib/own_models";
import { phases_of, type PhaseRecord } from "../lib/phases";
import { open_stream } from "../lib/stream";
import { axis, Chart, colour, small_number } from "../ui/chart";
import { Empty, Failure, Field, Hash, Panel, State, useAction, useLoad } from "../ui/parts";

interface Metric {
  step: number;
  loss: number | null;
  metric: number | null;
  tokens_per_s: number | null;
}
interface JobRecord {
  train: Metric[];
  evals: Metric[];
  lines: string[];
  live: boolean;
}
const lines_max = 5_000;

/** The job's record as it grows; drawn once per frame. It begins anew when the market restarts: steps do not double. */
function useRecord(id: string): JobRecord {
  const [record, set_record] = useState<JobRecord>({ train: [], evals: [], lines: [], live: false });
  useEffect(() => {
    const train = new Map<number, Metric>();
    const evals = new Map<number, Metric>();
    let lines: string[] = [];
    let live = false;
    let frame = 0;
    let ended = false;
    const by_step = (all: Map<number, Metric>) => [...all.values()].sort((a, b) => a.step - b.step);
    const show = () => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        set_record({ train: by_step(train), evals: by_step(evals), lines, live });
      });
    };
    const say = (text: string) => {
      lines = [...lines.slice(-lines_max + 1), text];
      show();
    };
    const close = open_stream(`/v1/jobs/${encodeURIComponent(id)}/events`, {
      on_state: (now) => {
        live = now;
        show();
      },
      events: {
        phase: ({ state, units_done, reason }: { state: string; units_done: number; reason: string }) =>
          say(`phase ${words(state)}, ${units_done} units done${reason ? `: ${reason}` : ""}`),
        train: (metric: Metric) => {
          if (train.has(metric.step)) return;
          train.set(metric.step, metric);
          say(`step ${metric.step}  loss ${metric.loss?.toFixed(4) ?? "not finite"}  ${small_number(metric.tokens_per_s ?? 0)} tokens/s`);
        },
        eval: (metric: Metric) => {
          if (evals.has(metric.step)) return;
          evals.set(metric.step, metric);
          say(`step ${metric.step}  held-out loss ${metric.loss?.toFixed(4) ?? "not finite"}  accuracy ${((metric.metric ?? 0) * 100).toFixed(1)} %`);
        },
        end: () => {
          ended = true;
          close();
          show();
        },
      },
    });
    return () => {
      if (!ended) close();
      cancelAnimationFrame(frame);
    };
  }, [id]);
  return record;
}

/** Loss of training and of evaluations over the same steps. */
function loss_data({ train, evals }: JobRecord, smooth: boolean): UPlot.AlignedData {
  const steps = [...new Set([...train, ...evals].map(({ step }) => step))].sort((a, b) => a - b);
  const held_out = new Map(evals.map(({ step, loss }) => [step, loss]));
  const losses = new Map(train.map(({ step, loss }) => [step, loss]));
  let mean: number | null = null;
  const shown = steps.map((step) => {
    const loss = losses.get(step) ?? null;
    if (loss === null || !smooth) return loss;
    mean = mean === null ? loss : mean * 0.9 + loss * 0.1;
    return mean;
  });
  return [steps, shown, steps.map((step) => held_out.get(step) ?? null)];
}
const line_options = (labels: string[], colours: string[]) => (): Omit<UPlot.Options, "width" | "height"> => ({
  scales: { x: { time: false } },
  axes: [axis({ label: "step", labelSize: 18 }), axis({ values: (_plot, values) => values.map(small_number), size: 56 })],
  series: [{ label: "step" }, ...labels.map((label, i) => ({ label, stroke: colour(colours[i]!), width: 2, spanGaps: true, points: { show: i > 0 } }))],
});

function Plots({ record }: { record: JobRecord }) {
  const [smooth, set_smooth] = useState(false);
  const loss = useMemo(() => loss_data(record, smooth), [record, smooth]);
  const speed = useMemo((): UPlot.AlignedData => [record.train.map(({ step }) => step), record.train.map(({ tokens_per_s }) => tokens_per_s)], [record]);
  const newest = record.train.at(-1);
  const held_out = record.evals.at(-1);
  if (!newest && !held_out) return <Panel title="Loss"><Empty>The curve appears with the first steps.</Empty></Panel>;
  return (
    <div class="grid">
      <Panel title="Loss" tools={<label><input type="checkbox" checked={smooth} onChange={(event) => set_smooth(event.currentTarget.checked)} /> smooth</label>}>
        <Chart label={`Loss over ${record.train.length} steps`} options={line_options(["training", "held out"], ["accent", "ask"])} shape="loss" data={loss} />
        <p class="hint" id="loss-now">
          {newest && <>Step {newest.step}: loss {newest.loss?.toFixed(3) ?? "not finite"}. </>}
          {held_out && <>Held out at step {held_out.step}: {held_out.loss?.toFixed(3) ?? "not finite"}, accuracy {((held_out.metric ?? 0) * 100).toFixed(1)} %.</>}
        </p>
      </Panel>
      <Panel title="Throughput">
        <Chart label="Tokens per second" options={line_options(["tokens/s"], ["accent"])} shape="speed" data={speed} />
        <p class="hint">{newest ? `${small_number(newest.tokens_per_s ?? 0)} tokens per second now.` : ""}</p>
      </Panel>
    </div>
  );
}

function save(name: string, content: Blob): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function EventLog({ id, lines, live }: { id: string; lines: string[]; live: boolean }) {
  const [word, set_word] = useState("");
  const list = useRef<HTMLOListElement>(null);
  const follows = useRef(true);
  const shown = lines.filter((text) => text.toLowerCase().includes(word.toLowerCase())).slice(-500);
  // Follows the end, unless the reader scrolled away from it.
  useEffect(() => {
    if (list.current && follows.current) list.current.scrollTop = list.current.scrollHeight;
  }, [shown.length]);
  return (
    <Panel title={live ? "Log (live)" : "Log"} tools={<button type="button" disabled={lines.length === 0} onClick={() => save(`${id}.log`, new Blob([lines.map((text) => `${text}\n`).join("")]))}>Download</button>}>
      <Field label="Search">{(props) => <input {...props} type="search" value={word} onInput={(event) => set_word(event.currentTarget.value)} />}</Field>
      {shown.length === 0 ? <Empty>Nothing here yet.</Empty> : (
        <ol class="log" tabIndex={0} aria-label="Log" ref={list} onScroll={({ currentTarget: at }) => (follows.current = at.scrollHeight - at.scrollTop - at.clientHeight < 8)}>{shown.map((text, i) => <li key={i}>{text}</li>)}</ol>
      )}
    </Panel>
  );
}

function Cost({ job, leases }: { job: Job; leases: Lease[] }) {
  const sum = (field: "amount" | "claimed" | "locked" | "refunded" | "fee") => leases.reduce((total, lease) => total + BigInt(lease[field]), 0n);
  const cap = job.bids.reduce((total, bid) => total + BigInt(bid.maxAmount), 0n);
  const spent = sum("amount");
  return (
    <Panel title="Cost against the cap">
      <progress aria-label="Spent of the cap" max={Number(cap) || 1} value={Number(spent)} />
      <dl class="facts">
        <dt>Spent</dt><dd id="spent">{tokens(spent)} of at most {tokens(cap)}</dd>
        <dt>Paid on chain</dt><dd>{tokens(sum("claimed"))}, of it {tokens(sum("fee"))} fee</dd>
        <dt>Locked, refunded</dt><dd>{tokens(sum("locked"))}, {tokens(sum("refunded"))}</dd>
      </dl>
    </Panel>
  );
}

/** How the result is taken, by what the job was; the spec is for its buyer. */
function result_of(job: Job, spec: JobSpec | null): { file: string; hint: ComponentChildren } {
  const command = (text: string) => <code>{text}</code>;
  if (spec?.sealed) return { file: `${job.id}.sealed`, hint: <>The result is sealed; its key is where the job was posted: {command(`millrace jobs artifacts ${job.id}`)}.</> };
  if (spec?.kind !== "finetune") return { file: `${job.id}.safetensors`, hint: null };
  const fetch = command(`millrace finetune --job ${job.id} --folder FOLDER --out NEW`);
  return spec.result === "adapter"
    ? { file: "adapter_model.safetensors", hint: <>For PEFT it wants adapter_config.json beside it; this writes both: {fetch}</> }
    : { file: "model.safetensors", hint: <>It takes the place of the model's weights beside its other files; this makes the folder: {fetch}</> };
}

function Artifacts({ job, spec }: { job: Job; spec: JobSpec | null }) {
  const { file, hint } = result_of(job, spec);
  const fetch_blob = useAction(async () => {
    const response = await request(`/v1/blobs/${job.checkpoint}`);
    save(file, await response.blob());
  });
  if (!job.checkpoint) return <Panel title="Artifacts"><Empty>The first checkpoint comes with the first receipt.</Empty></Panel>;
  return (
    <Panel title="Artifacts">
      <p>Checkpoint <Hash value={job.checkpoint} /> after {count(job.units_done)} steps.</p>
      <div class="row">
        <button type="button" disabled={!session.value || fetch_blob.busy} onClick={() => fetch_blob.run()}>{session.value ? "Download" : "Sign in to download"}</button>
        {spec && trained_of(job, spec) && <a class="button main" href={`/app/jobs/new?serve=${job.id}`}>Serve this model</a>}
      </div>
      {hint && <p class="hint">{hint}</p>}
      <Failure error={fetch_blob.error} />
    </Panel>
  );
}

function Phases({ job }: { job: Job }) {
  const records = useLoad(() => get<List<PhaseRecord>>(`/v1/jobs/${encodeURIComponent(job.id)}/events?limit=1000`), [job.id, job.state]);
  return (
    <ol class="phases" aria-label="Phases">
      {phases_of(job, records.value?.data ?? []).map(({ name, at_ms, stayed_ms }) => (
        <li key={name} aria-current={name === job.state ? "step" : undefined}>
          {words(name)}
          <span>{at_ms === null ? "–" : <time dateTime={new Date(at_ms).toISOString()}>{clock_time(at_ms)}</time>}{stayed_ms === null ? "" : `, ${duration(stayed_ms)}`}</span>
        </li>
      ))}
    </ol>
  );
}

export function JobPage({ id }: { id: string }) {
  const job = useLoad(() => get<Job>(`/v1/jobs/${encodeURIComponent(id)}`), [id], 1_500);
  const leases = useLoad(() => get<List<Lease>>(`/v1/jobs/${encodeURIComponent(id)}/leases`), [id, job.value?.state], 1_500);
  const record = useRecord(id);
  const cancel = useAction(async () => {
    await request(`/v1/jobs/${encodeURIComponent(id)}/cancel`, { method: "POST" });
    await job.reload();
  });
  const value = job.value;
  const own = session.value !== null && session.value.address.toLowerCase() === value?.buyer.toLowerCase();
  const spec = useLoad(async () => (own ? spec_of(id) : null), [id, own]).value;
  if (!value) return <><h1>Job</h1><Failure error={job.error} />{!job.error && <Empty>Loading…</Empty>}</>;
  return (
    <>
      <h1>Job <span class="mono">{id.slice(0, 12)}</span></h1>
      <p class="lead">{spec?.kind ?? value.kind}, posted {date_time(value.created_ms)} by <Hash value={value.buyer} /> <span id="job-state"><State name={value.state} /></span></p>
      <Failure error={job.error} />
      <Phases job={value} />
      {value.reason && <div class="note warn">{value.reason}</div>}
      {value.mismatches && <div class="note warn" role="status">Not matched yet: {value.mismatches.text}</div>}
      {value.total_units !== "0" && value.kind === "train" && (
        <p>{count(value.units_done)} of {count(value.total_units)} steps
          <progress aria-label="Steps done" max={Number(value.total_units)} value={Number(value.units_done)} /></p>
      )}
      {!value.final && own && (
        <p><button type="button" disabled={cancel.busy} onClick={() => cancel.run()}>Cancel the job</button> <span class="hint">What was done stays paid.</span></p>
      )}
      <Failure error={cancel.error} />
      {value.kind === "infer.serve" && value.state === "running" && <p><a class="button main" href="/app/playground">Chat with it</a></p>}
      {value.kind === "train" && <Plots record={record} />}
      <div class="grid">
        <Cost job={value} leases={leases.value?.data ?? []} />
        {value.kind === "train" && <Artifacts job={value} spec={spec} />}
      </div>
      <Panel title="Leases">
        {(leases.value?.data.length ?? 0) === 0 ? <Empty>No lease yet: one is opened when an ask matches.</Empty> : (
          <div class="scroll" tabIndex={0} role="group" aria-label="Leases">
            <table>
              <thead><tr><th>Lease</th><th>State</th><th class="n">Units</th><th class="n">Price</th><th class="n">Amount</th><th class="n">Receipts</th><th>Provider</th></tr></thead>
              <tbody>
                {leases.value!.data.map((lease) => (
                  <tr key={lease.id}>
                    <td><a class="mono" href={`/app/settlement/lease/${lease.id}`}>{lease.id.slice(0, 10)}</a></td><td><State name={lease.state} /></td>
                    <td class="n">{count(lease.units)}</td><td class="n">{tokens(lease.price)} per {price_unit(lease.unit_kind)}</td><td class="n">{tokens(lease.amount)}</td>
                    <td class="n">{lease.sequence}</td><td><Hash value={lease.provider} href={`/app/provider/${lease.provider}`} /></td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
      <EventLog id={id} lines={record.lines} live={record.live && !value.final} />
    </>
  );
}
