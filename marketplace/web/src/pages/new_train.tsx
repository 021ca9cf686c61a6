// SPDX-License-Identifier: Apache-2.0
// A training job from a form.
import { useMemo, useState } from "preact/hooks";
import { quoted } from "../lib/equivalent";
import { data_bytes_max, no_blob, send_files, type PickedFile } from "../lib/files";
import { count } from "../lib/format";
import { fields_of, first_plan, flops_per_step, idx_image_sizes, parameter_count, plan_problems, train_options, train_spec, type Arch, type TrainData } from "../lib/spec";
import { Empty, Field, NeedSession, Panel } from "../ui/parts";
import { ceiling_of, Equivalent, FileField, first_order, order_options, OrderFields, PostButton, QuotePanel, useQuote, useSteps } from "./job_parts";

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

export function TrainForm() {
  const [plan, set_plan] = useState(first_plan);
  const [image_format, set_image_format] = useState<Format>("tar");
  const [files, set_files] = useState<Record<string, PickedFile | undefined>>({});
  const [order, set_order] = useState(first_order("0.001"));
  const format = plan.arch === "gpt" ? "text" : image_format;
  const wanted = files_of[format].map(([member, option, label, hint]) => ({ member, option, label, hint, file: files[`${format} ${member}`] }));
  const picked = wanted.flatMap(({ file }) => (file ? [file] : []));
  const complete = picked.length === wanted.length;
  const problems = plan_problems(plan);
  const ceiling = ceiling_of(order);
  const fine = Object.keys(problems).length === 0 && ceiling !== null;
  const spec = useMemo(() => {
    const hashes = Object.fromEntries(wanted.map(({ member, file }) => [member, file?.hash ?? no_blob]));
    return fine ? train_spec(plan, { format, ...hashes } as TrainData) : null;
  }, [plan, files, format, fine]);
  const legs = useSteps(fine ? plan.steps : null, ceiling);
  const answer = useQuote(spec, legs, order);
  const set_file = async (member: string, file: PickedFile | undefined) => {
    set_files((before) => ({ ...before, [`${format} ${member}`]: file }));
    if (format !== "idx" || member !== "images" || !file) return;
    const sizes = idx_image_sizes(new Uint8Array(await file.blob.slice(0, 16).arrayBuffer()));
    if (sizes) set_plan((before) => ({ ...before, ...sizes }));
  };
  const command = [
    `millrace train --arch ${plan.arch}`, wanted.map(({ option, file }) => `${option} ${quoted(file?.name ?? "FILE")}`).join(" "), ...train_options(plan),
    `--max-price ${order.price} ${order_options(order)}`,
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
          {wanted.map(({ member, label, hint, file }) => (
            <FileField key={`${format} ${member}`} {...{ label, hint }} bytes_max={data_bytes_max} chosen={file && `${file.name}, ${count(file.blob.size)} bytes`} set={(chosen) => set_file(member, chosen)} />))}
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
        <Panel title="Order"><OrderFields order={order} set={set_order} unit="step" kind="training_step" /></Panel>
      </div>
      <div>
        <QuotePanel answer={answer} wanting="Fill in the form: the market says at once whether the job would match." />
        <NeedSession why="The data is uploaded under your account, so sign in first.">
          <Panel title="Post">
            {complete ? <p>You sign the bid, and then that the market's delegate may sign vouchers for it. Your money moves only as receipts come.</p> : <Empty>Choose the data first.</Empty>}
            <PostButton answer={complete && fine ? answer : null} before={(told) => send_files(picked, told)} />
          </Panel>
        </NeedSession>
        {answer && <Equivalent draft={answer.draft} command={command} />}
      </div>
    </div>
  );
}
