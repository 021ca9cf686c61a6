// SPDX-License-Identifier: Apache-2.0
// Balances as the chain has them, deposit, withdrawal, API keys, webhooks, statement.
import { useState } from "preact/hooks";
import { encodeFunctionData, parseSignature, type Address } from "viem";
import { get, market_info, post, request, session, type List } from "../lib/api";
import { chain, escrow_abi, read_funds, rpc_url, token_abi, type Funds } from "../lib/chain";
import { date_time, duration, parse_tokens, tokens } from "../lib/format";
import { sign_in } from "../lib/sign_in";
import { connected, send, sign_message } from "../lib/wallet";
import { ConnectWallet, Empty, Failure, Field, Hash, NeedSession, Panel, useAction, useLoad } from "../ui/parts";
import { StatementPanel } from "./account_statement";
import { Webhooks } from "./account_webhooks";

const permit_lives_s = 3_600n;

/** One transaction where the token takes permits (ERC-2612), else an approval first. */
async function deposit(owner: Address, atoms: bigint): Promise<void> {
  const { deployment, chain_id } = await market_info();
  const client = await chain();
  const rows: [string, string][] = [["amount", `${tokens(atoms)} tokens`], ["into the escrow account of", owner]];
  const token = { address: deployment.token, abi: token_abi } as const;
  const permit = await Promise.all([
    client.readContract({ ...token, functionName: "eip712Domain" }),
    client.readContract({ ...token, functionName: "nonces", args: [owner] }),
  ]).catch(() => null);
  if (!permit) {
    await send(owner, deployment.token, encodeFunctionData({ abi: token_abi, functionName: "approve", args: [deployment.escrow, atoms] }), "Allow the escrow to take the tokens", [rows[0]!, ["to be taken by", deployment.escrow]]);
    await send(owner, deployment.escrow, encodeFunctionData({ abi: escrow_abi, functionName: "deposit", args: [owner, atoms] }), "Deposit", rows);
    return;
  }
  const [[, name, version], nonce] = permit;
  const deadline = BigInt(Math.floor(Date.now() / 1_000)) + permit_lives_s;
  const message = { owner, spender: deployment.escrow, value: atoms, nonce, deadline };
  const domain = { name, version, chainId: chain_id, verifyingContract: deployment.token };
  const signature = await sign_message(owner, domain, "Permit", message, "Allow the escrow to take the tokens", (field, value) =>
    field === "value" ? `${tokens(value)} tokens` : field === "deadline" ? `${value} (for an hour)` : field === "spender" ? `${value} (the market's escrow contract)` : String(value));
  const { r, s, yParity } = parseSignature(signature);
  const data = encodeFunctionData({ abi: escrow_abi, functionName: "depositWithPermit", args: [owner, atoms, deadline, 27 + yParity, r, s] });
  await send(owner, deployment.escrow, data, "Deposit", rows);
}

function AmountForm({ name, hint, most, submit }: { name: string; hint: string; most: bigint; submit: (atoms: bigint) => Promise<void> }) {
  const [text, set_text] = useState("");
  const action = useAction(async (atoms: bigint) => {
    await submit(atoms);
    set_text("");
  });
  const atoms = parse_tokens(text);
  const wrong = text === "" ? undefined : atoms === null || atoms === 0n ? "an amount like 12.5" : atoms > most ? `at most ${tokens(most)}` : undefined;
  return (
    <form onSubmit={(event) => {
      event.preventDefault();
      if (atoms && !wrong) void action.run(atoms);
    }}>
      <div class="row">
        <Field label={`${name}: amount`} hint={hint} wrong={wrong}>{(props) => (
          <input {...props} inputMode="decimal" autoComplete="off" value={text} onInput={(event) => set_text(event.currentTarget.value)} />)}
        </Field>
        <button type="submit" class="main" disabled={action.busy || !atoms || Boolean(wrong)}>{action.busy ? "Look at your wallet…" : name}</button>
      </div>
      <Failure error={action.error} />
    </form>
  );
}

function Withdrawal({ funds, account, reload }: { funds: Funds; account: Address; reload: () => Promise<void> }) {
  const info = useLoad(market_info, []);
  const act = useAction(async (functionName: "withdraw" | "cancelWithdraw" | "sweep") => {
    const { deployment } = await market_info();
    const data = functionName === "sweep"
      ? encodeFunctionData({ abi: escrow_abi, functionName, args: [account] })
      : encodeFunctionData({ abi: escrow_abi, functionName });
    const title = { withdraw: "Take the withdrawal out", cancelWithdraw: "Put the withdrawal back", sweep: "Take out what was earned" }[functionName];
    await send(account, deployment.escrow, data, title, [["amount", `${tokens(functionName === "sweep" ? funds.earned : funds.withdrawing)} tokens`], ["to", account]]);
    await reload();
  });
  const ask = async (atoms: bigint) => {
    const { deployment } = await market_info();
    const data = encodeFunctionData({ abi: escrow_abi, functionName: "requestWithdraw", args: [atoms] });
    await send(account, deployment.escrow, data, "Ask for a withdrawal", [["amount", `${tokens(atoms)} tokens`], ["leaves after", duration(deployment.withdraw_delay_s * 1_000)]]);
    await reload();
  };
  const wait_ms = Number(funds.withdrawable_at_s) * 1_000 - Date.now();
  const delay = info.value ? duration(info.value.deployment.withdraw_delay_s * 1_000) : "its delay";
  return (
    <>
      {funds.withdrawing > 0n ? (
        <div class="note">
          <p>{tokens(funds.withdrawing)} on the way out{wait_ms > 0 ? `; it can be taken from ${date_time(Number(funds.withdrawable_at_s) * 1_000)}` : " and ready"}.</p>
          <div class="row">
            <button type="button" class="main" disabled={act.busy || wait_ms > 0} onClick={() => act.run("withdraw")}>Take it out</button>
            <button type="button" disabled={act.busy} onClick={() => act.run("cancelWithdraw")}>Put it back</button>
          </div>
        </div>
      ) : (
        <AmountForm name="Withdraw" hint={`${tokens(funds.free)} free; leaves ${delay} after you ask`} most={funds.free} submit={ask} />
      )}
      {funds.earned > 0n && <p><button type="button" disabled={act.busy} onClick={() => act.run("sweep")}>Take out {tokens(funds.earned)} earned</button></p>}
      <Failure error={act.error} />
    </>
  );
}

function Balances({ account }: { account: Address }) {
  const funds = useLoad(() => read_funds(account), [account, rpc_url.value, connected.value?.chain_id], 4_000);
  const market = useLoad(() => get<{ available: string; held: string }>(`/v1/accounts/${account}`), [account], 2_000);
  const value = funds.value;
  return (
    <>
      <Failure error={funds.error ?? market.error} />
      <div class="figures">
        <div class="figure"><b>{value ? tokens(value.free) : "…"}</b><span>free in escrow</span></div>
        <div class="figure"><b>{value ? tokens(value.locked) : "…"}</b><span>locked under leases</span></div>
        <div class="figure"><b>{market.value ? tokens(market.value.available) : "…"}</b><span>the market lets you spend</span></div>
        <div class="figure"><b>{value ? tokens(value.earned) : "…"}</b><span>earned</span></div>
        <div class="figure"><b>{value ? tokens(value.wallet) : "…"}</b><span>in the wallet</span></div>
      </div>
      {value && connected.value && (
        <div class="grid">
          <Panel title="Deposit">
            <AmountForm name="Deposit" hint={`${tokens(value.wallet)} in the wallet`} most={value.wallet} submit={async (atoms) => {
              await deposit(account, atoms);
              await funds.reload();
            }} />
            <p class="hint">The market sees a deposit after a few blocks. Only you can move it out again; leases can lock it within what you sign.</p>
          </Panel>
          <Panel title="Withdraw"><Withdrawal funds={value} account={account} reload={funds.reload} /></Panel>
        </div>
      )}
    </>
  );
}

interface ApiKey {
  id: string;
  label: string;
  created_ms: number;
  revoked: boolean;
  scopes: string[];
  spend_cap: string | null;
  spent: string;
  expires_ms: number | null;
}

const day_ms = 86_400_000;

/** What the form asks of a new key; null while a figure in it makes no sense. */
function key_terms(label: string, cap: string, days: string, scope: string): Record<string, unknown> | null {
  const atoms = cap === "" ? undefined : parse_tokens(cap);
  const lasts = days === "" ? undefined : Number(days);
  if (atoms === null || atoms === 0n || (lasts !== undefined && !(lasts > 0 && lasts <= 36_500))) return null;
  return {
    label,
    ...(atoms === undefined ? {} : { spend_cap: String(atoms) }),
    ...(lasts === undefined ? {} : { expires_ms: Date.now() + Math.round(lasts * day_ms) }),
    ...(scope === "" ? {} : { scopes: [scope] }),
  };
}

function Keys() {
  const keys = useLoad(() => get<List<ApiKey>>("/v1/api-keys"), [session.value?.token]);
  const [label, set_label] = useState("");
  const [cap, set_cap] = useState("");
  const [days, set_days] = useState("");
  const [scope, set_scope] = useState("");
  const terms = key_terms(label, cap, days, scope);
  const [fresh, set_fresh] = useState("");
  const create = useAction(async () => {
    const { key } = await post<{ key: string }>("/v1/api-keys", terms);
    set_fresh(key);
    set_label("");
    await keys.reload();
  });
  const revoke = useAction(async (id: string) => {
    await request(`/v1/api-keys/${encodeURIComponent(id)}`, { method: "DELETE" });
    await keys.reload();
  });
  const live = (keys.value?.data ?? []).filter((key) => !key.revoked);
  return (
    <Panel title="API keys">
      <p class="hint">For clients such as OpenAI's, with <code>{location.origin}/v1</code> as their base URL. A key acts for your account within these bounds until it is revoked; what is left empty is not bounded.</p>
      <form class="row" onSubmit={(event) => {
        event.preventDefault();
        void create.run();
      }}>
        <Field label="Label">{(props) => <input {...props} maxLength={100} value={label} onInput={(event) => set_label(event.currentTarget.value)} />}</Field>
        <Field label="May spend, tokens">{(props) => <input {...props} inputMode="decimal" value={cap} onInput={(event) => set_cap(event.currentTarget.value)} />}</Field>
        <Field label="Lasts, days">{(props) => <input {...props} inputMode="decimal" value={days} onInput={(event) => set_days(event.currentTarget.value)} />}</Field>
        <Field label="May be used for">{(props) => (
          <select {...props} value={scope} onChange={(event) => set_scope(event.currentTarget.value)}>
            <option value="">Everything</option><option value="inference">Completions</option><option value="files">Files</option>
          </select>
        )}</Field>
        <button type="submit" disabled={create.busy || !terms}>New key</button>
      </form>
      {fresh && <div class="note good" role="status">Copy it now, it is shown this once: <code>{fresh}</code></div>}
      <Failure error={create.error ?? revoke.error ?? keys.error} />
      {keys.value && live.length === 0 && <Empty>No key yet.</Empty>}
      {live.length > 0 && (
        <div class="scroll" tabIndex={0} role="group" aria-label="API keys">
          <table>
            <thead><tr><th>Label</th><th>Made</th><th>Ends</th><th>For</th><th>Spent</th><th>At most</th><th><span class="sr">Actions</span></th></tr></thead>
            <tbody>
              {live.map((key) => (
                <tr key={key.id}>
                  <td class="wrap">{key.label || "(none)"}</td><td>{date_time(key.created_ms)}</td>
                  <td>{key.expires_ms === null ? "never" : date_time(key.expires_ms)}</td>
                  <td>{key.scopes.length === 6 ? "everything" : key.scopes.join(", ")}</td>
                  <td>{tokens(key.spent)}</td><td>{key.spend_cap === null ? "no cap" : tokens(key.spend_cap)}</td>
                  <td><button type="button" disabled={revoke.busy} onClick={() => revoke.run(key.id)} aria-label={`Revoke ${key.label || key.id}`}>Revoke</button></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}

export function AccountPage() {
  const account = connected.value?.address ?? session.value?.address;
  const enter = useAction(sign_in);
  return (
    <>
      <h1>Account</h1>
      <p class="lead">Money lies in the escrow contract, not with the market. {account && <>Your account is <Hash value={account} />.</>}</p>
      {!connected.value && <Panel title="Wallet"><p>Connect the wallet that holds your account. Nothing is sent until you agree to it.</p><ConnectWallet /></Panel>}
      {connected.value && !session.value && (
        <Panel title="Sign in">
          <p>Prove with one signature that the account is yours. It costs nothing and allows nothing but reading your own, cancelling, keys and chat.</p>
          <button type="button" class="main" disabled={enter.busy} onClick={() => enter.run()}>{enter.busy ? "Look at your wallet…" : "Sign in with the wallet"}</button>
          <Failure error={enter.error} />
        </Panel>
      )}
      {account && <Balances account={account} key={account} />}
      {session.value ? <NeedSession why=""><Keys /><Webhooks /></NeedSession> : null}
      {account && <StatementPanel account={account} key={`statement ${account}`} />}
    </>
  );
}
