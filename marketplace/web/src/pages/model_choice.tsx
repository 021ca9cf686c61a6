// SPDX-License-Identifier: Apache-2.0
// Which published model is meant: a folder of this machine, one that the market holds for a job of one's own, or files by hash.
import { useState } from "preact/hooks";
import { request, session } from "../lib/api";
import { file_bytes_max, is_stored, pick_file, type PickedFile } from "../lib/files";
import { read_model_shape, type ModelFiles, type ModelShape } from "../lib/finetune";
import { count } from "../lib/format";
import { needed_files, parse_sums } from "../lib/model_files";
import { models_of } from "../lib/own_models";
import { Empty, Failure, Field, NeedSession, Panel, useAction, useLoad } from "../ui/parts";

export interface ChosenModel {
  label: string;
  /** The folder's name on this machine, where it lies here. */
  folder: string | null;
  files: ModelFiles;
  shape: ModelShape;
  /** What may have to be sent. */
  picked: PickedFile[];
}
type Set = (model: ChosenModel | null) => void;
const config_bytes_max = 1_048_576;

/** A model whose files the market has. */
async function stored_model(label: string, files: ModelFiles): Promise<ChosenModel> {
  const response = await request(`/v1/blobs/${files["config.json"]}`);
  const config = await response.blob();
  if (config.size > config_bytes_max) throw new Error("config.json is larger than 1 MiB.");
  return { label, folder: null, files, shape: read_model_shape(await config.text()), picked: [] };
}

function FolderField({ set }: { set: Set }) {
  const [reading, set_reading] = useState("");
  const take = useAction(async (list: FileList | null) => {
    set(null);
    // Only what lies in the folder itself, not in folders within.
    const inside = [...(list ?? [])].filter((file) => file.webkitRelativePath.split("/").length === 2);
    if (inside.length === 0) return;
    const picked: PickedFile[] = [];
    try {
      for (const name of needed_files(inside.map((file) => file.name))) {
        set_reading(`Reading ${name}…`);
        picked.push(await pick_file(inside.find((file) => file.name === name)!, name, file_bytes_max));
      }
    } finally {
      set_reading("");
    }
    const config = picked.find(({ name }) => name === "config.json")!.blob;
    if (config.size > config_bytes_max) throw new Error("config.json is larger than 1 MiB.");
    const folder = inside[0]!.webkitRelativePath.split("/")[0]!;
    set({ label: folder, folder, files: Object.fromEntries(picked.map(({ name, hash }) => [name, hash])), shape: read_model_shape(await config.text()), picked });
  });
  return (
    <>
      <Field label="Folder" hint={reading || "as model hubs publish them: config.json, tokenizer.json, safetensors; goes to the market when you post"}>{(props) => (
        <input {...props} type="file" {...{ webkitdirectory: true }} onChange={(event) => void take.run(event.currentTarget.files)} />)}
      </Field>
      <Failure error={take.error} />
    </>
  );
}

function OwnField({ set }: { set: Set }) {
  const account = session.value!.address;
  const models = useLoad(() => models_of(account), [account]);
  const take = useAction(async (label: string) => {
    set(null);
    const model = models.value?.find((one) => one.label === label);
    if (model) set(await stored_model(model.label, model.files));
  });
  if (models.value?.length === 0) return <Empty>None of your jobs has used a published folder yet. Choose a folder of this machine first.</Empty>;
  return (
    <>
      <Field label="Known as">{(props) => (
        <select {...props} onChange={(event) => void take.run(event.currentTarget.value)}>
          <option value="">choose…</option>
          {models.value?.map(({ label }) => <option key={label}>{label}</option>)}
        </select>)}
      </Field>
      <Failure error={models.error ?? take.error} />
    </>
  );
}

function SumsField({ set }: { set: Set }) {
  const [text, set_text] = useState("");
  const take = useAction(async () => {
    set(null);
    const files = parse_sums(text);
    for (const [name, hash] of Object.entries(files)) if (!(await is_stored(hash))) throw new Error(`The market has no ${name} of that hash. Send the folder there first: millrace publish NAME --folder FOLDER.`);
    set(await stored_model("model by hashes", files));
  });
  return (
    <form onSubmit={(event) => {
      event.preventDefault();
      void take.run();
    }}>
      <Field label="Files by hash" hint="what sha256sum * prints in the folder; for models that are at the market already">{(props) => (
        <textarea {...props} class="mono" rows={5} spellcheck={false} value={text} onInput={(event) => set_text(event.currentTarget.value.slice(0, 65_536))} />)}
      </Field>
      <button type="submit" disabled={take.busy || text.trim() === ""}>Look them up</button>
      <Failure error={take.error} />
    </form>
  );
}

const sources = { folder: "a folder of this machine", own: "a model of my jobs at the market", sums: "files at the market, by hash" };

export function ModelChoice({ chosen, set }: { chosen: ChosenModel | null; set: Set }) {
  const [source, set_source] = useState<keyof typeof sources>("folder");
  const why = "The market shows you your own jobs' models only, so sign in first.";
  return (
    <Panel title="Model">
      <Field label="The model is">{(props) => (
        <select {...props} value={source} onChange={(event) => {
          set(null);
          set_source(event.currentTarget.value as typeof source);
        }}>
          {Object.entries(sources).map(([name, title]) => <option key={name} value={name}>{title}</option>)}
        </select>)}
      </Field>
      {source === "folder" && <FolderField set={set} />}
      {source === "own" && <NeedSession why={why}><OwnField set={set} /></NeedSession>}
      {source === "sums" && <NeedSession why={why}><SumsField set={set} /></NeedSession>}
      {chosen && <div class="note good" role="status">{chosen.label}: {chosen.shape.type}, {count(chosen.shape.depth)} layers of width {count(chosen.shape.width)}, reads {count(chosen.shape.context)} tokens, {Object.keys(chosen.files).length} files.</div>}
    </Panel>
  );
}
