// SPDX-License-Identifier: Apache-2.0
// What is about to be signed or sent, decoded, before the wallet shows it.
import { useEffect, useRef } from "preact/hooks";
import { question } from "../lib/wallet";

export function SignDialog() {
  const ref = useRef<HTMLDialogElement>(null);
  const asked = question.value;
  useEffect(() => {
    if (asked && !ref.current?.open) ref.current?.showModal();
    if (!asked && ref.current?.open) ref.current.close();
  }, [asked]);
  return (
    <dialog ref={ref} aria-labelledby="sign-title" onCancel={() => asked?.answer(false)}>
      {asked && (
        <>
          <h2 id="sign-title">{asked.title}</h2>
          <p class="hint">{asked.note}</p>
          <dl class="facts">
            {asked.rows.map(([name, value]) => [<dt key={name}>{name}</dt>, <dd key={`${name} value`} class="mono">{value}</dd>])}
          </dl>
          <p />
          <div class="row">
            <button type="button" class="main" onClick={() => asked.answer(true)}>Continue in the wallet</button>
            <button type="button" onClick={() => asked.answer(false)}>Cancel</button>
          </div>
        </>
      )}
    </dialog>
  );
}
