// SPDX-License-Identifier: Apache-2.0
// Serving what a training or fine-tuning of one's own made, or a model as hubs publish them.
import { useEffect, useMemo, useState } from "preact/hooks";
import { session } from "../lib/api";
import { quoted } from "../lib/equivalent";
import { send_files } from "../lib/files";
import type { ModelFiles } from "../lib/finetune";
import { amount_for, tokens } from "../lib/format";
import { folder_spec, weights_formats, type WeightsFormat } from "../lib/model_files";
import type { Leg } from "../lib/order";
import { trained_by, type Trained } from "../lib/own_models";
import { is_model_name, serve_spec } from "../lib/spec";
import { Empty, Failure, Field, Panel, useLoad } from "../ui/parts";
import { ceiling_of, Equivalent, first_order, order_options, OrderFields, PostButton, QuotePanel, useQuote, type Order, type Spec } from "./job_parts";
import { ModelChoice, type ChosenModel } from "./model_choice";

/** What is served: the result of a job, or a folder that is published with it. */
type Served = { trained: Trained } | { folder: ChosenModel };
const files_of = (served: Served): ModelFiles | undefined => ("folder" in served ? served.folder.files : served.trained.files);

function spec_of(served: Served, format: WeightsFormat, name: string): Spec {
  const files = files_of(served);
  if (files || "folder" in served) return folder_spec(files!, format, name);
  return serve_spec(served.trained.model!, served.trained.job.checkpoint!, name);
}

interface Serving {
  served: Served | null;
  name: string;
  format: WeightsFormat;
  order: Order;
  worst_case: bigint;
}
function publish_lines({ served, name, format }: Serving): string[] {
  if (!served) return [`millrace publish ${name} --job JOB`];
  if ("folder" in served) return [`millrace publish ${name} --folder ${quoted(served.folder.folder ?? "FOLDER")} --weights ${format}`];
  const { job, files } = served.trained;
  return files
    ? [`millrace finetune --job ${job.id} --folder FOLDER --out ${name}`, `millrace publish ${name} --folder ${name} --weights ${format}`]
    : [`millrace publish ${name} --job ${job.id}`];
}
function command_of(serving: Serving): string {
  const { name, order, worst_case } = serving;
  return [
    ...publish_lines(serving),
    `millrace serve ${name} \\\n  --max-price-input ${order.price} --max-price-output ${order.price} \\\n  --max-amount ${tokens(worst_case).replaceAll("\u202f", "")} ${order_options(order)}`,
  ].join("\n");
}

function TrainedField({ wanted, set }: { wanted: string; set: (trained: Trained | null) => void }) {
  const account = session.value!.address;
  const [chosen, set_chosen] = useState(wanted);
  const trained = useLoad(() => trained_by(account), [account]);
  const of = trained.value?.find(({ job }) => job.id === chosen) ?? trained.value?.[0] ?? null;
  useEffect(() => set(of), [of]);
  if (trained.value?.length === 0)
    return <Empty>None of your jobs has made a model that can be served yet: text models can, once their training is complete. Train or fine-tune one first, or serve a published folder.</Empty>;
  return (
    <>
      <Failure error={trained.error} />
      <Field label="Made by job">{(props) => (
        <select {...props} value={of?.job.id} onChange={(event) => set_chosen(event.currentTarget.value)}>
          {trained.value?.map(({ job, files }) => <option key={job.id} value={job.id}>{job.id.slice(0, 12)}, {files ? "fine-tuned" : "trained"} {job.units_done} steps</option>)}
        </select>)}
      </Field>
    </>
  );
}

interface Terms {
  name: string;
  volume: string;
  format: WeightsFormat;
}
function TermsFields({ terms, set, formats, units }: { terms: Terms; set: (terms: Terms) => void; formats: boolean; units: bigint | null }) {
  return (
    <>
      {formats && (
        <Field label="Weights in memory as" hint="fewer bits: faster and cheaper to hold, a little less exact">{(props) => (
          <select {...props} value={terms.format} onChange={(event) => set({ ...terms, format: event.currentTarget.value as WeightsFormat })}>
            {weights_formats.map((one) => <option key={one}>{one}</option>)}
          </select>)}
        </Field>
      )}
      <Field label="Name" hint="clients ask for the model by it" wrong={is_model_name(terms.name) ? undefined : "1 to 64 letters, digits, '-', '_' or '.'"}>{(props) => (
        <input {...props} value={terms.name} onInput={(event) => set({ ...terms, name: event.currentTarget.value })} />)}
      </Field>
      <Field label="Tokens, in and out each" hint="most that may be served under this job" wrong={units === null ? "a whole number" : undefined}>{(props) => (
        <input {...props} inputMode="numeric" value={terms.volume} onInput={(event) => set({ ...terms, volume: event.currentTarget.value })} />)}
      </Field>
    </>
  );
}

/** `wanted`: the job whose model is meant at first. */
export function ServeForm({ wanted }: { wanted: string }) {
  const [source, set_source] = useState<"job" | "folder">("job");
  const [served, set_served] = useState<Served | null>(null);
  const [terms, set_terms] = useState<Terms>({ name: "my-model", volume: "100000", format: "bf16" });
  const [order, set_order] = useState(first_order("1"));
  const { name, volume, format } = terms;
  const ceiling = ceiling_of(order);
  const units = /^\d{1,12}$/.test(volume) && BigInt(volume) > 0n ? BigInt(volume) : null;
  const fine = ceiling !== null && units !== null && is_model_name(name);
  const spec = useMemo(() => (fine && served ? spec_of(served, format, name) : null), [fine, served, format, name]);
  const legs = useMemo((): Leg[] | null => {
    if (!fine) return null;
    return (["input_token", "output_token"] as const).map((kind) => ({ kind, price_ceiling: ceiling, volume: units, max_amount: amount_for(kind, units, ceiling) }));
  }, [fine, ceiling, units]);
  const answer = useQuote(spec, spec ? legs : null, order);
  const picked = served && "folder" in served ? served.folder.picked : [];
  return (
    <div class="grid">
      <div>
        <Panel title="What is served">
          <Field label="Serve">{(props) => (
            <select {...props} value={source} onChange={(event) => {
              set_served(null);
              set_source(event.currentTarget.value as typeof source);
            }}>
              <option value="job">what a job of mine made</option><option value="folder">a published model</option>
            </select>)}
          </Field>
          {source === "job" && <TrainedField wanted={wanted} set={(trained) => set_served(trained && { trained })} />}
        </Panel>
        {source === "folder" && <ModelChoice chosen={served && "folder" in served ? served.folder : null} set={(folder) => set_served(folder && { folder })} />}
        <Panel title="Order">
          <TermsFields terms={terms} set={set_terms} units={units} formats={Boolean(served && files_of(served))} />
          <OrderFields order={order} set={set_order} unit="1M tokens" kind="output_token" />
        </Panel>
      </div>
      <div>
        <QuotePanel answer={answer} wanting="Choose a model: the market says at once whether a worker would serve it." />
        <Panel title="Post">
          <p>Two bids are signed, for tokens in and out, and the delegation. Only tokens served are paid.</p>
          <PostButton answer={spec ? answer : null} before={(told) => send_files(picked, told)} />
        </Panel>
        {answer && <Equivalent draft={answer.draft} command={command_of({ served, name, format, order, worst_case: answer.draft.worst_case })} />}
      </div>
    </div>
  );
}
