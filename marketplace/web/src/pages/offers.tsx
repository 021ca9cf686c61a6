// SPDX-License-Identifier: Apache-2.0
import { useState } from "preact/hooks";
import { get, type Offer } from "../lib/api";
import { count, kind_name, price_unit, tokens, unit_kinds, words } from "../lib/format";
import { Empty, Failure, Field, Hash, Panel, State, useLoad } from "../ui/parts";

type Column = "price" | "units_free" | "gpu_model" | "vram_mib" | "region" | "reliability_bp";
const columns: { name: Column; title: string; numeric: boolean }[] = [
  { name: "price", title: "Price", numeric: true },
  { name: "units_free", title: "Units free", numeric: true },
  { name: "gpu_model", title: "GPU", numeric: false },
  { name: "vram_mib", title: "Memory", numeric: true },
  { name: "region", title: "Region", numeric: false },
  { name: "reliability_bp", title: "Reliability", numeric: true },
];

function compare(a: Offer, b: Offer, column: Column): number {
  const [x, y] = [a[column], b[column]];
  if (column === "gpu_model" || column === "region") return String(x).localeCompare(String(y));
  return Number(BigInt(x) - BigInt(y));
}

export function OffersPage() {
  const [kind, set_kind] = useState("training_step");
  const [order, set_order] = useState<{ column: Column; up: boolean }>({ column: "price", up: true });
  const book = useLoad(() => get<{ asks: Offer[] }>(`/v1/market/book?unit_kind=${kind}&limit=500`), [kind], 5_000);
  const offers = [...(book.value?.asks ?? [])].sort((a, b) => compare(a, b, order.column) * (order.up ? 1 : -1));
  return (
    <>
      <h1>Offers</h1>
      <p class="lead">Every open ask. A price is what a provider signed: nobody can charge more.</p>
      <div class="panel row">
        <Field label="Sold by">{(props) => (
          <select {...props} value={kind} onChange={(event) => set_kind(event.currentTarget.value)}>
            {unit_kinds.map((name) => <option key={name} value={name}>{kind_name(name)}</option>)}
          </select>)}
        </Field>
        <p><a class="button main" href="/app/jobs/new">New job</a></p>
      </div>
      <Failure error={book.error} />
      <Panel title={`${offers.length} offers, price per ${price_unit(kind)}`}>
        {book.value && offers.length === 0 && <Empty>Nobody sells this now. Post a job all the same: it waits in the book until an ask fits.</Empty>}
        {offers.length > 0 && (
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
                    <td>{offer.region}</td><td class="n">{(offer.reliability_bp / 100).toFixed(0)} %</td>
                    <td>{words(offer.order_class)}</td><td>{offer.runtime}</td>
                    <td><State name={offer.online ? "online" : "away"} /></td>
                    <td><Hash value={offer.provider} href={`/app/provider/${offer.provider}`} /></td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
    </>
  );
}
