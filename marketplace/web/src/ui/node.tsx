// SPDX-License-Identifier: Apache-2.0
// Which node the chain is read through.
import { useState } from "preact/hooks";
import type { WalkProgress } from "../lib/block_walk";
import { rpc_url, set_rpc_url } from "../lib/chain";
import { count } from "../lib/format";
import { connected } from "../lib/wallet";
import { Field, Panel } from "./parts";

const is_url = (text: string): boolean => /^https?:\/\/\S+$/.test(text) && URL.canParse(text);

export function NodeChoice() {
  const [text, set_text] = useState(rpc_url.value);
  const fine = text === "" || is_url(text);
  const from = rpc_url.value ? `through ${new URL(rpc_url.value).host}` : connected.value ? `through the wallet (${connected.value.wallet.info.name})` : "not at all: name a node, or connect a wallet";
  return (
    <Panel title="Your own node">
      <form class="row" onSubmit={(event) => {
        event.preventDefault();
        if (fine) set_rpc_url(text);
      }}>
        <Field label="RPC URL" hint={`The chain is read ${from}.`} wrong={fine ? undefined : "http:// or https://"}>{(props) => (
          <input {...props} type="url" placeholder="https://…" value={text} onInput={(event) => set_text(event.currentTarget.value.trim())} />)}
        </Field>
        <button type="submit" disabled={!fine}>Use it</button>
      </form>
    </Panel>
  );
}

/** How far events have been read. */
export const BlocksRead = ({ progress: { what, looked, all } }: { progress: WalkProgress }) => (
  <div>
    <progress aria-label="Blocks read" max={1} value={all === 0n ? 1 : Number((looked * 1_000n) / all) / 1_000} />
    <p class="hint">Reading {what}: {count(looked)} of {count(all)} blocks.</p>
  </div>
);
