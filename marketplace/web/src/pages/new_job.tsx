// SPDX-License-Identifier: Apache-2.0
// A job from a form: what the market would do with it now, what it may cost, and the same by curl and command line.
import { useState } from "preact/hooks";
import { Field, NeedSession } from "../ui/parts";
import { FinetuneForm } from "./new_finetune";
import { ServeForm } from "./new_serve";
import { TrainForm } from "./new_train";

export function NewJobPage() {
  const query = new URLSearchParams(location.search);
  const wanted = query.get("serve") ?? "";
  const [kind, set_kind] = useState(wanted ? "serve" : query.has("finetune") ? "finetune" : query.has("serve") ? "serve" : "train");
  return (
    <>
      <h1>New job</h1>
      <p class="lead">You pay for metered work only, at no more than the ceiling you sign.</p>
      <div class="panel">
        <Field label="What">{(props) => (
          <select {...props} value={kind} onChange={(event) => set_kind(event.currentTarget.value)}>
            <option value="train">Train a model of text or images</option>
            <option value="finetune">Fine-tune a published model with your examples</option>
            <option value="serve">Serve a model</option>
          </select>)}
        </Field>
      </div>
      {kind === "train" && <TrainForm />}
      {kind === "finetune" && <FinetuneForm />}
      {kind === "serve" && <NeedSession why="Your training jobs are found by your account."><ServeForm wanted={wanted} /></NeedSession>}
    </>
  );
}
