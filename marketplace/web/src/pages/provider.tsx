// SPDX-License-Identifier: Apache-2.0
// What a provider earns, how it stands, and why it has no jobs.
import { useState } from "preact/hooks";
import { getAddress, isAddress, type Address } from "viem";
import { get, market_info, request, session, type Lease, type List, type Offer } from "../lib/api";
import { chain, escrow_abi, has_chain, providers_abi, rpc_url } from "../lib/chain";
import { count, kind_name, price_unit, tokens, unit_kinds, words, type UnitKind } from "../lib/format";
import { is_price, price_settings, settings_lines } from "../lib/price_rules";
import { go } from "../lib/route";
import { connected } from "../lib/wallet";
import { NodeChoice } from "../ui/node";
import { CopyBlock, Empty, Failure, Field, Hash, Panel, State, useAction, useLoad } from "../ui/parts";

const leases_pages_max = 20;

async function leases_of(provider: Address): Promise<Lease[]> {
  const out: Lease[] = [];
  let after = "";
  for (let i = 0; i < leases_pages_max; ++i) {
    const page = await get<List<Lease>>(`/v1/leases?provider=${provider}&limit=100${after}`);
    out.push(...page.data);
    if (!page.has_more || page.data.length === 0) break;
    after = `&after=${page.data.at(-1)!.id}`;
  }
  return out;
}

async function offers_everywhere(): Promise<Offer[]> {
  const books = await Promise.all(unit_kinds.map((kind) => get<{ asks: Offer[] }>(`/v1/market/book?unit_kind=${kind}&limit=500`)));
  return books.flatMap(({ asks }) => asks);
}

const is_running = ({ state }: Lease): boolean => state === "running" || state === "open";

/** What an ask's worker does now, and what keeps the ask from being matched, as far as book and leases show it. */
function why_idle(offer: Offer, all: Offer[], leases: Lease[]): string[] {
  const out: string[] = [];
  const now = leases.filter((lease) => is_running(lease) && lease.worker === offer.worker && lease.unit_kind === offer.unit_kind).length;
  if (now > 0) out.push(now === 1 ? "One lease runs." : `${now} leases run.`);
  if (!offer.online) out.push("The worker is away: start millrace-worker run.");
  if (offer.units_free === "0") out.push("All its units are under leases.");
  const cheaper = all.filter((other) => other.unit_kind === offer.unit_kind && other.gpu_model === offer.gpu_model && other.online && BigInt(other.price) < BigInt(offer.price));
  if (cheaper.length > 0) out.push(`${cheaper.length} of the same GPU ask less; the cheapest asks ${tokens(cheaper.reduce((least, { price }) => (BigInt(price) < least ? BigInt(price) : least), BigInt(cheaper[0]!.price)))}.`);
  if (offer.reliability_bp < 9_000) out.push(`Only ${(offer.reliability_bp / 100).toFixed(0)} % of its leases came to their end: buyers may ask for more.`);
  return out.length > 0 ? out : ["Nothing stands in the way: no bid wants it now."];
}

async function read_bond(provider: Address) {
  const { deployment } = await market_info();
  const client = await chain();
  const contract = { address: deployment.providers, abi: providers_abi } as const;
  const [bond, minimum, [unbonding], [, , earned]] = await Promise.all([
    client.readContract({ ...contract, functionName: "bondOf", args: [provider] }),
    client.readContract({ ...contract, functionName: "minimumBond" }),
    client.readContract({ ...contract, functionName: "unbondingOf", args: [provider] }),
    client.readContract({ address: deployment.escrow, abi: escrow_abi, functionName: "accounts", args: [provider] }),
  ]);
  return { bond, minimum, unbonding, earned };
}

function Asks({ provider, offers, all, leases, reload }: { provider: Address; offers: Offer[]; all: Offer[]; leases: Lease[]; reload: () => Promise<void> }) {
  const own = session.value?.address.toLowerCase() === provider.toLowerCase();
  const take_down = useAction(async (id: string) => {
    await request(`/v1/market/orders/${id}`, { method: "DELETE" });
    await reload();
  });
  if (offers.length === 0) return <Empty>No open ask. A machine is listed with <code>millrace-worker setup</code>, then <code>millrace-worker run</code>; its price rules are in its settings.</Empty>;
  return (
    <>
      <Failure error={take_down.error} />
      <div class="scroll" tabIndex={0} role="group" aria-label="Asks">
        <table>
          <thead><tr><th>Sells</th><th class="n">Price</th><th class="n">Units free</th><th>GPU</th><th>Class</th><th>Worker</th><th class="n">Reliability</th><th>Why no job?</th>{own && <th><span class="sr">Actions</span></th>}</tr></thead>
          <tbody>
            {offers.map((offer) => (
              <tr key={offer.id}>
                <td>{kind_name(offer.unit_kind)}</td><td class="n">{tokens(offer.price)} per {price_unit(offer.unit_kind)}</td><td class="n">{count(offer.units_free)}</td><td>{offer.gpu_model}</td>
                <td>{words(offer.order_class)}</td><td><State name={offer.online ? "online" : "away"} /></td><td class="n">{(offer.reliability_bp / 100).toFixed(0)} %</td>
                <td class="wrap">{why_idle(offer, all, leases).join(" ")}</td>
                {own && <td><button type="button" disabled={take_down.busy} onClick={() => take_down.run(offer.id)}>Take down</button></td>}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

/** New prices for a machine. Asks are signed with the provider's key, which only its worker holds: this writes what the worker reads. */
function PriceRules({ offers, all }: { offers: Offer[]; all: Offer[] }) {
  const [typed, set_typed] = useState<Partial<Record<UnitKind, string>>>({});
  const price_now = (kind: UnitKind) => offers.find((offer) => offer.unit_kind === kind)?.price;
  const prices = Object.fromEntries(price_settings.map(([kind]) => [kind, typed[kind] ?? tokens(price_now(kind) ?? 0).replaceAll("\u202f", "")])) as Record<UnitKind, string>;
  const lines = settings_lines(prices);
  const gpus = new Set(offers.map(({ gpu_model }) => gpu_model));
  const least = (kind: UnitKind) => all
    .filter((offer) => offer.unit_kind === kind && offer.online && gpus.has(offer.gpu_model) && !offers.includes(offer))
    .reduce<bigint | null>((lowest, { price }) => (lowest === null || BigInt(price) < lowest ? BigInt(price) : lowest), null);
  return (
    <Panel title="Price rules">
      <p class="hint">Asks are signed with the provider's key, which never leaves its machine. Set the prices here, and put the lines into the settings there. 0: not offered.</p>
      <div class="row">
        {price_settings.map(([kind]) => {
          const others = least(kind);
          return (
            <Field key={kind} label={`${kind_name(kind)}: price per ${price_unit(kind)}`} hint={others === null ? "nobody else offers it on this GPU" : `others on this GPU: from ${tokens(others)}`} wrong={is_price(prices[kind]) ? undefined : "an amount like 0.0005"}>{(props) => (
              <input {...props} inputMode="decimal" autoComplete="off" value={prices[kind]} onInput={(event) => set_typed({ ...typed, [kind]: event.currentTarget.value })} />)}
            </Field>
          );
        })}
      </div>
      {lines && (
        <>
          <p>1. On the machine, take its asks off the book; what runs comes to its end:</p>
          <CopyBlock label="First command" text="millrace-worker drain" />
          <p>2. In <code>worker.toml</code> (in <code>~/.millrace-worker</code> unless you chose another folder), instead of the lines of those names:</p>
          <CopyBlock label="Lines of worker.toml" text={lines} />
          <p>3. Start it again; it signs its asks anew:</p>
          <CopyBlock label="Second command" text="millrace-worker run" />
        </>
      )}
    </Panel>
  );
}

function ProviderView({ provider }: { provider: Address }) {
  const offers = useLoad(offers_everywhere, [provider], 5_000);
  const leases = useLoad(() => leases_of(provider), [provider], 5_000);
  const bond = useLoad(async () => (has_chain() ? read_bond(provider) : null), [provider, rpc_url.value, connected.value?.address]);
  const all = leases.value ?? [];
  const sum = (field: "claimed" | "fee" | "amount") => all.reduce((total, lease) => total + BigInt(lease[field]), 0n);
  const running = all.filter(is_running).length;
  const own_machine = (session.value?.address ?? connected.value?.address)?.toLowerCase() === provider.toLowerCase();
  const mine = (offers.value ?? []).filter((offer) => offer.provider === provider);
  return (
    <>
      <p>Provider <Hash value={provider} /></p>
      <Failure error={offers.error ?? leases.error ?? bond.error} />
      <div class="figures">
        <div class="figure"><b>{tokens(sum("claimed") - sum("fee"))}</b><span>earned after the fee</span></div>
        <div class="figure"><b>{tokens(sum("fee"))}</b><span>fee of the market</span></div>
        <div class="figure"><b>{tokens(sum("amount") - sum("claimed"))}</b><span>metered, not yet paid</span></div>
        <div class="figure"><b>{count(running)} / {count(all.length)}</b><span>leases running / in all</span></div>
        <div class="figure"><b>{bond.value ? tokens(bond.value.bond) : "–"}</b><span>{bond.value ? `bond (least ${tokens(bond.value.minimum)})` : "bond: name a node below"}</span></div>
        <div class="figure"><b>{bond.value ? tokens(bond.value.earned) : "–"}</b><span>earned, still in escrow</span></div>
      </div>
      <Panel title="Asks and health"><Asks provider={provider} offers={mine} all={offers.value ?? []} leases={all} reload={offers.reload} /></Panel>
      {own_machine && offers.value && <PriceRules offers={mine} all={offers.value} />}
      <Panel title="Leases">
        {leases.value && all.length === 0 && <Empty>No lease yet.</Empty>}
        {all.length > 0 && (
          <div class="scroll" tabIndex={0} role="group" aria-label="Leases">
            <table>
              <thead><tr><th>Lease</th><th>State</th><th>Sold</th><th class="n">Units</th><th class="n">Amount</th><th class="n">Paid</th><th class="n">Fee</th></tr></thead>
              <tbody>
                {[...all].reverse().slice(0, 100).map((lease) => (
                  <tr key={lease.id}>
                    <td><a class="mono" href={`/app/settlement/lease/${lease.id}`}>{lease.id.slice(0, 10)}</a></td><td><State name={lease.state} /></td><td>{kind_name(lease.unit_kind)}</td>
                    <td class="n">{count(lease.units)}</td><td class="n">{tokens(lease.amount)}</td><td class="n">{tokens(lease.claimed)}</td><td class="n">{tokens(lease.fee)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
      <NodeChoice />
    </>
  );
}

export function ProviderPage({ rest: [named] }: { rest: string[] }) {
  const own = connected.value?.address ?? session.value?.address;
  const [text, set_text] = useState("");
  const provider = named && isAddress(named, { strict: false }) ? getAddress(named) : own;
  return (
    <>
      <h1>Provider</h1>
      <form class="panel row" onSubmit={(event) => {
        event.preventDefault();
        if (isAddress(text, { strict: false })) go(`/app/provider/${getAddress(text)}`);
      }}>
        <Field label="Address" wrong={text === "" || isAddress(text, { strict: false }) ? undefined : "0x and 40 hex digits"}>{(props) => (
          <input {...props} value={text} placeholder="0x…" onInput={(event) => set_text(event.currentTarget.value.trim())} />)}
        </Field>
        <button type="submit">Show</button>
      </form>
      {provider
        ? <ProviderView provider={provider} key={provider} />
        : <Empty>Enter a provider's address, pick one among the <a href="/app/offers">offers</a>, or connect your wallet to see your own machines.</Empty>}
    </>
  );
}
