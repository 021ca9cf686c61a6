// SPDX-License-Identifier: Apache-2.0
// Fine-tuning a published model with the reader's examples, from a form.
import type { ComponentChildren } from "preact";
import { useMemo, useState } from "preact/hooks";
import { quoted } from "../lib/equivalent";
import { no_blob, send_files, type PickedFile } from "../lib/files";
import {
  count_examples, first_tune, fit_plan, is_step_too_large, rate_of, targets_of, tune_flops, tune_labels, tune_options, tune_problems, tune_spec, type ModelShape, type Target, type TuneNumber, type TunePlan,
} from "../lib/finetune";
import { count } from "../lib/format";
import { Empty, Field, NeedSession, Panel } from "../ui/parts";
import { ceiling_of, Equivalent, FileField, first_order, order_options, OrderFields, PostButton, QuotePanel, useQuote, useSteps, type Order } from "./job_parts";
import { ModelChoice, type ChosenModel } from "./model_choice";

const examples_bytes_max = 64 * 1024 * 1024;

interface Examples {
  file: PickedFile;
  count: number;
}

interface PlanProps {
  plan: TunePlan;
  set: (plan: TunePlan) => void;
  problems: Partial<Record<keyof TunePlan, string>>;
}
function NumberFields({ names, plan, set, problems }: PlanProps & { names: TuneNumber[] }) {
  return (
    <>
      {names.map((name) => (
        <Field key={name} label={tune_labels[name]} wrong={problems[name]}>{(props) => (
          <input {...props} type="number" value={plan[name]} onInput={(event) => set({ ...plan, [name]: event.currentTarget.valueAsNumber })} />)}
        </Field>
      ))}
    </>
  );
}

/** What most people leave as it is. */
function MoreFields({ plan, set, problems, shape, examples }: PlanProps & { shape: ModelShape | null; examples: ComponentChildren }) {
  const targets = shape ? targets_of(shape) : [];
  const toggle = (name: Target, on: boolean) => set({ ...plan, targets: targets.filter((one) => (one === name ? on : plan.targets.includes(one))) });
  return (
    <details>
      <summary>More</summary>
      {plan.method === "lora" && targets.length > 0 && (
        <fieldset>
          <legend>Adapters beside (none chosen: every linear layer)</legend>
          {targets.map((name) => <label key={name} class="check"><input type="checkbox" checked={plan.targets.includes(name)} onChange={(event) => toggle(name, event.currentTarget.checked)} /> {name}</label>)}
        </fieldset>
      )}
      <div class="row">
        {plan.method === "lora" && (
          <Field label="Alpha" hint="empty: twice the rank" wrong={problems.alpha}>{(props) => (
            <input {...props} inputMode="decimal" value={plan.alpha} onInput={(event) => set({ ...plan, alpha: event.currentTarget.value })} />)}
          </Field>
        )}
        <NumberFields names={["warmup_steps"]} {...{ plan, set, problems }} />
        <Field label="Weight decay" wrong={problems.weight_decay}>{(props) => (
          <input {...props} inputMode="decimal" value={plan.weight_decay} onInput={(event) => set({ ...plan, weight_decay: event.currentTarget.value })} />)}
        </Field>
        <Field label="Precision">{(props) => (
          <select {...props} value={plan.precision} onChange={(event) => set({ ...plan, precision: event.currentTarget.value as TunePlan["precision"] })}>
            <option>fp32</option><option>bf16</option>
          </select>)}
        </Field>
        <Field label="A row holds">{(props) => (
          <select {...props} value={plan.rows} onChange={(event) => set({ ...plan, rows: event.currentTarget.value as TunePlan["rows"] })}>
            <option value="padded">one example</option><option value="packed">as many as fit</option>
          </select>)}
        </Field>
      </div>
      {examples}
    </details>
  );
}

function PlanFields({ plan, set, problems }: PlanProps) {
  const numbers: TuneNumber[] = [...(plan.method === "lora" ? ["rank" as const] : []), "context", "batch", "steps", "segment_steps", "seed"];
  return (
    <div class="row">
      <Field label="Train">{(props) => (
        <select {...props} value={plan.method} onChange={(event) => set({ ...plan, method: event.currentTarget.value as TunePlan["method"] })}>
          <option value="lora">adapters (LoRA)</option><option value="full">every weight</option>
        </select>)}
      </Field>
      {plan.method === "lora" && (
        <Field label="The result is">{(props) => (
          <select {...props} value={plan.result} onChange={(event) => set({ ...plan, result: event.currentTarget.value as TunePlan["result"] })}>
            <option value="merged">a whole model</option><option value="adapter">the adapter, for PEFT</option>
          </select>)}
        </Field>
      )}
      <NumberFields names={numbers} {...{ plan, set, problems }} />
      <Field label="Learning rate" hint={plan.learning_rate ? undefined : `empty: ${rate_of(plan)}`} wrong={problems.learning_rate}>{(props) => (
        <input {...props} inputMode="decimal" value={plan.learning_rate} onInput={(event) => set({ ...plan, learning_rate: event.currentTarget.value })} />)}
      </Field>
    </div>
  );
}

function ExamplesField({ label, hint, examples, set }: { label: string; hint: string; examples: Examples | null; set: (examples: Examples | null) => void }) {
  const take = async (file: PickedFile | undefined) => {
    set(null);
    if (file) set({ file, count: count_examples(await file.blob.text()) });
  };
  const chosen = examples ? `${examples.file.name}, ${count(examples.count)} ${examples.count === 1 ? "example" : "examples"}` : undefined;
  return <FileField {...{ label, hint, chosen }} bytes_max={examples_bytes_max} set={take} />;
}

interface Tuning {
  plan: TunePlan;
  order: Order;
  model: ChosenModel | null;
  data: Examples | null;
  validation: Examples | null;
}
function command_of({ plan, order, model, data, validation }: Tuning): string {
  const folder = model?.folder ?? "FOLDER";
  return [
    `millrace finetune --folder ${quoted(folder)} --data ${quoted(data?.file.name ?? "FILE")}`, ...(validation ? [`--validation ${quoted(validation.file.name)}`] : []),
    ...tune_options(plan), `--max-price ${order.price} ${order_options(order)} --out ${quoted(`${folder}-tuned`)}`,
  ].join(" \\\n  ");
}

const wanting = "Choose the model: its sizes say what a step takes, and the market at once whether the job would match.";

export function FinetuneForm() {
  const [plan, set_plan] = useState(first_tune);
  const [order, set_order] = useState(first_order("0.001"));
  const [model, set_model] = useState<ChosenModel | null>(null);
  const [data, set_data] = useState<Examples | null>(null);
  const [validation, set_validation] = useState<Examples | null>(null);
  const take_model = (chosen: ChosenModel | null) => {
    set_model(chosen);
    if (chosen) set_plan((before) => ({ ...fit_plan(before, chosen.shape, null), targets: before.targets.filter((name) => targets_of(chosen.shape).includes(name)) }));
  };
  const take_data = (examples: Examples | null) => {
    set_data(examples);
    if (examples) set_plan((before) => fit_plan(before, model?.shape ?? null, examples.count));
  };
  const problems = tune_problems(plan, model?.shape ?? null, data?.count ?? null);
  const ceiling = ceiling_of(order);
  const sound = Object.keys(problems).length === 0;
  const flops = sound && model ? tune_flops(plan, model.shape) : null;
  const fine = flops !== null && !is_step_too_large(flops) && ceiling !== null;
  const spec = useMemo(
    () => (fine ? tune_spec(plan, model!.shape, model!.files, data?.file.hash ?? no_blob, validation?.file.hash) : null), [plan, model, data, validation, fine]);
  const legs = useSteps(fine ? plan.steps : null, ceiling);
  const answer = useQuote(spec, legs, order);
  const complete = model !== null && data !== null;
  const upload = (told: (text: string) => void) => send_files([...model!.picked, data!.file, ...(validation ? [validation.file] : [])], told);
  return (
    <div class="grid">
      <div>
        <ModelChoice chosen={model} set={take_model} />
        <Panel title="Examples and plan">
          <ExamplesField label="Examples to learn" hint="JSON lines: messages as OpenAI's chats, or prompt and completion, or text" examples={data} set={take_data} />
          <PlanFields {...{ plan, problems }} set={set_plan} />
          <MoreFields {...{ plan, problems }} set={set_plan} shape={model?.shape ?? null}
            examples={<ExamplesField label="Examples to judge by" hint="of the same form; their loss is plotted beside" examples={validation} set={set_validation} />} />
          {flops !== null && (is_step_too_large(flops)
            ? <div class="note warn" role="status">A step of this job is too large for any order: take a smaller batch or context.</div>
            : <p class="hint">{(Number(flops) / 1e9).toPrecision(3)} GFLOP per step.</p>)}
        </Panel>
        <Panel title="Order"><OrderFields order={order} set={set_order} unit="step" kind="training_step" /></Panel>
      </div>
      <div>
        <QuotePanel answer={answer} wanting={wanting} />
        <NeedSession why="Model and examples are uploaded under your account, so sign in first.">
          <Panel title="Post">
            {complete ? <p>You sign the bid, and then that the market's delegate may sign vouchers for it. Your money moves only as receipts come.</p> : <Empty>{model ? "Choose the examples first." : "Choose the model first."}</Empty>}
            <PostButton answer={complete && fine ? answer : null} before={upload} />
          </Panel>
        </NeedSession>
        {answer && <Equivalent draft={answer.draft} command={command_of({ plan, order, model, data, validation })} />}
      </div>
    </div>
  );
}
