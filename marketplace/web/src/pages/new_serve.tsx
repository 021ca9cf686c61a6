// SPDX-License-Identifier: Apache-2.0
// Serving what a training or fine-tuning of one's own made.
import { useMemo, useState } from "preact/hooks";
import { session } from "../lib/api";
import { amount_for, tokens } from "../lib/format";
import { folder_spec, weights_formats, type WeightsFormat } from "../lib/model_files";
import type { Leg } from "../lib/order";
import { trained_by, type Trained } from "../lib/own_models";
import { is_model_name, serve_spec } from "../lib/spec";
import { Empty, Failure, Field, Panel, useLoad } from "../ui/parts";
import { ceiling_of, Equivalent, order_options, OrderFields, PostButton, QuotePanel, useQuote, type Order, type Spec } from "./job_parts";

function spec_of({ job, model, files }: Trained, format: WeightsFormat, name: string): Spec {
  return files ? folder_spec(files, format, name) : serve_spec(model!, job.checkpoint!, name);
}

interface Serving {
  of: Trained | undefined;
  name: string;
  format: WeightsFormat;
  order: Order;
  worst_case: bigint;
}
function command_of({ of, name, format, order, worst_case }: Serving): string {
  const job = of?.job.id ?? "JOB";
  const publish = of?.files
    ? [`millrace finetune --job ${job} --folder FOLDER --out ${name}`, `millrace publish ${name} --folder ${name} --weights ${format}`]
    : [`millrace publish ${name} --job ${job}`];
  return [
    ...publish,
    `millrace serve ${name} --max-price-input ${order.price} --max-price-output ${order.price} \\\n  --max-amount ${tokens(worst_case).replaceAll("\u202f", "")} ${order_options(order)}`,
  ].join("\n");
}

/** `wanted`: the job whose model is meant at first. */
export function ServeForm({ wanted }: { wanted: string }) {
  const account = session.value!.address;
  const trained = useLoad(() => trained_by(account), [account]);
  const [chosen, set_chosen] = useState(wanted);
  const of = trained.value?.find(({ job }) => job.id === chosen) ?? trained.value?.[0];
  const [format, set_format] = useState<WeightsFormat>("bf16");
  const [name, set_name] = useState("my-model");
  const [volume, set_volume] = useState("100000");
  const [order, set_order] = useState<Order>({ price: "1", hours: 2, gpu_model: "" });
  const ceiling = ceiling_of(order);
  const units = /^\d{1,12}$/.test(volume) && BigInt(volume) > 0n ? BigInt(volume) : null;
  const fine = ceiling !== null && units !== null && is_model_name(name);
  const spec = useMemo(() => (fine && of ? spec_of(of, format, name) : null), [fine, of, format, name]);
  const legs = useMemo((): Leg[] | null => {
    if (!fine) return null;
    return (["input_token", "output_token"] as const).map((kind) => ({ kind, price_ceiling: ceiling, volume: units, max_amount: amount_for(kind, units, ceiling) }));
  }, [fine, ceiling, units]);
  const answer = useQuote(spec, spec ? legs : null, order);
  if (trained.value?.length === 0)
    return <Panel title="Model"><Empty>None of your jobs has made a model that can be served yet: text models can, once their training is complete. Train or fine-tune one first, then serve it here.</Empty></Panel>;
  return (
    <div class="grid">
      <Panel title="Model and order">
        <Failure error={trained.error} />
        <Field label="Made by job">{(props) => (
          <select {...props} value={of?.job.id} onChange={(event) => set_chosen(event.currentTarget.value)}>
            {trained.value?.map(({ job, files }) => <option key={job.id} value={job.id}>{job.id.slice(0, 12)}, {files ? "fine-tuned" : "trained"} {job.units_done} steps</option>)}
          </select>)}
        </Field>
        {of?.files && (
          <Field label="Weights in memory as" hint="fewer bits: faster and cheaper to hold, a little less exact">{(props) => (
            <select {...props} value={format} onChange={(event) => set_format(event.currentTarget.value as WeightsFormat)}>
              {weights_formats.map((one) => <option key={one}>{one}</option>)}
            </select>)}
          </Field>
        )}
        <Field label="Name" hint="clients ask for the model by it" wrong={is_model_name(name) ? undefined : "1 to 64 letters, digits, '-', '_' or '.'"}>{(props) => (
          <input {...props} value={name} onInput={(event) => set_name(event.currentTarget.value)} />)}
        </Field>
        <Field label="Tokens, in and out each" hint="most that may be served under this job" wrong={units === null ? "a whole number" : undefined}>{(props) => (
          <input {...props} inputMode="numeric" value={volume} onInput={(event) => set_volume(event.currentTarget.value)} />)}
        </Field>
        <OrderFields order={order} set={set_order} unit="1M tokens" kind="output_token" />
      </Panel>
      <div>
        <QuotePanel answer={answer} unit="1M tokens" wanting="Fill in the form: the market says at once whether a worker would serve it." />
        <Panel title="Post"><p>Two bids are signed, for tokens in and out, and the delegation. Only tokens served are paid.</p><PostButton answer={spec ? answer : null} /></Panel>
        {answer && <Equivalent draft={answer.draft} command={command_of({ of, name, format, order, worst_case: answer.draft.worst_case })} />}
      </div>
    </div>
  );
}
