// SPDX-License-Identifier: Apache-2.0
// Small pieces that every page uses.
import type { ComponentChildren } from "preact";
import { useCallback, useEffect, useId, useRef, useState } from "preact/hooks";
import { MarketError, session } from "../lib/api";
import { short } from "../lib/format";
import { sign_in } from "../lib/sign_in";
import { connect, connected, wallets, WalletError } from "../lib/wallet";

/** What went wrong, in words, with what to do. */
export function Failure({ error }: { error: unknown }) {
  if (!error) return null;
  const problem = error instanceof MarketError ? error.problem : null;
  const text = error instanceof Error ? error.message : String(error);
  return (
    <div class="note bad" role="alert">
      {text}
      {problem && problem.status > 0 && <> <span class="mono">({problem.code})</span></>}
      {problem?.help && <div class="hint">{problem.help}</div>}
    </div>
  );
}

export const Empty = ({ children }: { children: ComponentChildren }) => <p class="empty">{children}</p>;

export function Panel({ title, children, tools }: { title: string; children: ComponentChildren; tools?: ComponentChildren }) {
  const id = useId();
  return (
    <section class="panel" aria-labelledby={id}>
      <div class="row spread"><h2 id={id}>{title}</h2>{tools}</div>
      {children}
    </section>
  );
}

interface FieldProps {
  label: string;
  hint?: string | undefined;
  wrong?: string | undefined;
  children: (props: { id: string; "aria-describedby": string; "aria-invalid": boolean }) => ComponentChildren;
}
export function Field({ label, hint, wrong, children }: FieldProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children({ id, "aria-describedby": `${id}-hint`, "aria-invalid": Boolean(wrong) })}
      <span id={`${id}-hint`} class={wrong ? "wrong" : "hint"}>{wrong ?? hint}</span>
    </div>
  );
}

/** Text to be taken elsewhere as it stands. */
export function CopyBlock({ label, text }: { label: string; text: string }) {
  const [copied, set_copied] = useState(false);
  const copy = useAction(async () => {
    if (!navigator.clipboard) throw new Error("This browser copies only on https or on this machine: select the text instead.");
    await navigator.clipboard.writeText(text);
    set_copied(true);
  });
  useEffect(() => set_copied(false), [text]);
  return (
    <>
      <pre tabIndex={0} aria-label={label}>{text}</pre>
      <p><button type="button" onClick={() => copy.run()} aria-label={`Copy: ${label}`}>{copied ? "Copied" : "Copy"}</button></p>
      <Failure error={copy.error} />
    </>
  );
}

/** A hash or address: short, whole on hover, copied by its button. */
export function Hash({ value, href }: { value: string; href?: string }) {
  const [copied, set_copied] = useState(false);
  const copy = async () => {
    await navigator.clipboard?.writeText(value);
    set_copied(true);
    setTimeout(() => set_copied(false), 1_500);
  };
  return (
    <span class="mono" title={value}>
      {href ? <a href={href}>{short(value)}</a> : short(value)}{" "}
      <button type="button" class="copy" aria-label={`Copy ${short(value)}`} onClick={copy}>{copied ? "copied" : "copy"}</button>
    </span>
  );
}

const good_states = ["completed", "running", "closed", "open", "confirmed", "final"];
const bad_states = ["failed", "open_failed", "expired", "cancelled", "reverted"];
export const State = ({ name }: { name: string }) => (
  <span class={`tag ${good_states.includes(name) ? "good" : bad_states.includes(name) ? "bad" : ""}`}>{name.replaceAll("_", " ")}</span>
);

/** Runs an action once at a time; gives its error and whether it is under way. */
export function useAction<A extends unknown[]>(work: (...args: A) => Promise<void>) {
  const [busy, set_busy] = useState(false);
  const [error, set_error] = useState<unknown>(null);
  const run = async (...args: A) => {
    if (busy) return;
    set_busy(true);
    set_error(null);
    try {
      await work(...args);
    } catch (reason) {
      set_error(reason);
      if (!(reason instanceof MarketError || reason instanceof WalletError)) console.warn(reason);
    } finally {
      set_busy(false);
    }
  };
  return { run, busy, error };
}

/** Loads when `keys` change and every `every_ms`; an answer that comes too late is dropped. */
export function useLoad<T>(load: () => Promise<T>, keys: unknown[], every_ms = 0) {
  const [value, set_value] = useState<T | null>(null);
  const [error, set_error] = useState<unknown>(null);
  const turn = useRef(0);
  const latest = useRef(load);
  latest.current = load;
  const reload = useCallback(async () => {
    const mine = ++turn.current;
    try {
      const answer = await latest.current();
      if (mine !== turn.current) return;
      set_value(() => answer);
      set_error(null);
    } catch (reason) {
      if (mine === turn.current) set_error(reason);
    }
  }, []);
  useEffect(() => {
    void reload();
    const timer = every_ms > 0 ? setInterval(() => void reload(), every_ms) : undefined;
    return () => {
      ++turn.current;
      clearInterval(timer);
    };
  }, keys);
  return { value, error, reload };
}

/** Buttons for the wallets that announced themselves. */
export function ConnectWallet() {
  const { run, busy, error } = useAction(connect);
  if (connected.value) return null;
  if (wallets.value.length === 0)
    return <Empty>No wallet is here. Install a browser wallet (any that announces itself by EIP-6963), then reload this page. The command line works without: <code>millrace wallet new</code>.</Empty>;
  return (
    <div>
      <div class="row">
        {wallets.value.map((wallet) => (
          <button type="button" class="main" key={wallet.info.uuid} disabled={busy} onClick={() => run(wallet)}>Connect {wallet.info.name}</button>
        ))}
      </div>
      <Failure error={error} />
    </div>
  );
}

/** Shows its children to who is signed in; others are told how to. */
export function NeedSession({ why, children }: { why: string; children: ComponentChildren }) {
  const { run, busy, error } = useAction(sign_in);
  if (session.value) return <>{children}</>;
  return (
    <Panel title="Sign in">
      <p>{why}</p>
      {connected.value
        ? <button type="button" class="main" disabled={busy} onClick={() => run()}>{busy ? "Look at your wallet…" : "Sign in with the wallet"}</button>
        : <ConnectWallet />}
      <Failure error={error} />
    </Panel>
  );
}
