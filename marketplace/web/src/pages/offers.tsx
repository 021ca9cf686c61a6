// SPDX-License-Identifier: Apache-2.0
// Every open ask as a table: filtered by GPU and by what was measured of it, in the order that the reader wants.
import { useState } from "preact/hooks";
import { get, type Offer } from "../lib/api";
import { count, kind_name, price_unit, tokens, unit_kinds, words } from "../lib/format";
import { is_wanted, parse_least, sort_offers, type OfferColumn } from "../lib/offers";
import { Empty, Failure, Field, Hash, Panel, State, useLoad } from "../ui/parts";

const columns: { name: OfferColumn; title: string; numeric: boolean }[] = [
  { name: "price", title: "Price", numeric: true },
  { name: "units_free", title: "Units free", numeric: true },
  { name: "gpu_model", title: "GPU", numeric: false },
  { name: "vram_mib", title: "Memory", numeric: true },
  { name: "gflop_per_s", title: "GFLOP/s", numeric: true },
  { name: "memory_mb_per_s", title: "MB/s", numeric: true },
  { name: "region", title: "Region", numeric: false },
  { name: "reliability_bp", title: "Reliability", numeric: true },
];
const measured = (value: number): string => (value === 0 ? "not told" : count(value));

interface Order {
  column: OfferColumn;
  up: boolean;
}
function Table({ offers, order, set_order }: { offers: Offer[]; order: Order; set_order: (order: Order) => void }) {
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="Offers">
      <table>
        <thead>
          <tr>
            {columns.map(({ name, title, numeric }) => (
              <th key={name} class={numeric ? "n" : ""} aria-sort={order.column === name ? (order.up ? "ascending" : "descending") : "none"}>
                <button type="button" onClick={() => set_order({ column: name, up: order.column === name ? !order.up : true })}>
                  {title}{order.column === name ? (order.up ? " ↑" : " ↓") : ""}
                </button>
              </th>
            ))}
            <th>Class</th><th>Runtime</th><th>Worker</th><th>Provider</th>
          </tr>
        </thead>
        <tbody>
          {offers.map((offer) => (
            <tr key={offer.id}>
              <td class="n">{tokens(offer.price)}</td><td class="n">{count(offer.units_free)}</td>
              <td>{offer.gpu_count > 1 ? `${offer.gpu_count} × ` : ""}{offer.gpu_model}</td><td class="n">{(offer.vram_mib / 1024).toFixed(0)} GiB</td>
              <td class="n">{measured(offer.gflop_per_s)}</td><td class="n">{measured(offer.memory_mb_per_s)}</td>
              <td>{offer.region}</td><td class="n">{(offer.reliability_bp / 100).toFixed(0)} %</td>
              <td>{words(offer.order_class)}</td><td>{offer.runtime}</td>
              <td><State name={offer.online ? "online" : "away"} /></td>
              <td><Hash value={offer.provider} href={`/app/provider/${offer.provider}`} /></td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function OffersPage() {
  const [kind, set_kind] = useState("training_step");
  const [model, set_model] = useState("");
  const [compute, set_compute] = useState("");
  const [bandwidth, set_bandwidth] = useState("");
  const [order, set_order] = useState<Order>({ column: "price", up: true });
  const book = useLoad(() => get<{ asks: Offer[] }>(`/v1/market/book?unit_kind=${kind}&limit=500`), [kind], 5_000);
  const all = book.value?.asks ?? [];
  const models = [...new Set([...all.map(({ gpu_model }) => gpu_model), ...(model ? [model] : [])])].sort();
  const [gflop_per_s, memory_mb_per_s] = [parse_least(compute), parse_least(bandwidth)];
  const wishes = { gpu_model: model, gflop_per_s: gflop_per_s ?? 0, memory_mb_per_s: memory_mb_per_s ?? 0 };
  const offers = sort_offers(all.filter((offer) => is_wanted(offer, wishes)), order.column, order.up);
  const least = (label: string, value: string, wrong: boolean, set: (text: string) => void) => (
    <Field label={label} wrong={wrong ? "a whole number" : undefined}>{(props) => (
      <input {...props} inputMode="numeric" placeholder="any" value={value} onInput={(event) => set(event.currentTarget.value)} />)}
    </Field>
  );
  return (
    <>
      <h1>Offers</h1>
      <p class="lead">Every open ask. A price is what a provider signed: nobody can charge more. Speeds are what the worker measured of one GPU (or its CPU).</p>
      <div class="panel row">
        <Field label="Sold by">{(props) => (
          <select {...props} value={kind} onChange={(event) => set_kind(event.currentTarget.value)}>
            {unit_kinds.map((name) => <option key={name} value={name}>{kind_name(name)}</option>)}
          </select>)}
        </Field>
        <Field label="GPU class">{(props) => (
          <select {...props} value={model} onChange={(event) => set_model(event.currentTarget.value)}>
            <option value="">all</option>
            {models.map((name) => <option key={name}>{name}</option>)}
          </select>)}
        </Field>
        {least("GFLOP/s at least", compute, gflop_per_s === null, set_compute)}
        {least("MB/s at least", bandwidth, memory_mb_per_s === null, set_bandwidth)}
        <p><a class="button main" href="/app/jobs/new">New job</a></p>
      </div>
      <Failure error={book.error} />
      <Panel title={`${offers.length === 1 ? "One offer" : `${offers.length} offers`}, price per ${price_unit(kind)}`}>
        {book.value && all.length === 0 && <Empty>Nobody sells this now. Post a job all the same: it waits in the book until an ask fits.</Empty>}
        {all.length > 0 && offers.length === 0 && <Empty>None of {all.length === 1 ? "one offer" : `${all.length} offers`} is like that. Ask for less, or for another GPU.</Empty>}
        {offers.length > 0 && <Table {...{ offers, order, set_order }} />}
      </Panel>
    </>
  );
}
