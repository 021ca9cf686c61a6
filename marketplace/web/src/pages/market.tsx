// SPDX-License-Identifier: Apache-2.0
// The book as it changes: depth, ladder, trades, candles; filtered by unit and GPU class; live by server-sent events.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import UPlot from "uplot";
import { get, type List, type Trade } from "../lib/api";
import { DepthBook, type DepthDocument, type LevelChange, type Rung } from "../lib/book";
import { clock_time, count, kind_name, price_unit, tokens, unit_kinds, words, type UnitKind } from "../lib/format";
import { open_stream } from "../lib/stream";
import { axis, Chart, colour, draw_candles, small_number } from "../ui/chart";
import { Empty, Failure, Field, Panel, useLoad } from "../ui/parts";

const rungs_shown = 12;
const rungs_drawn = 500;
const trades_kept = 40;
const candles_every_ms = 2_000;
const depth_every_ms = 250;

interface Picture {
  asks: Rung[];
  bids: Rung[];
  trades: Trade[];
  live: boolean;
  error: unknown;
}
const nothing: Picture = { asks: [], bids: [], trades: [], live: false, error: null };

/**
 * Depth and trades of one good, kept up to date. Changes between a reset and the depth that answers it wait for that
 * depth; what it holds already is passed over by its sequence. The picture is drawn once per frame, however many
 * changes came.
 */
function useLiveBook(kind: UnitKind, model: string): Picture {
  const [picture, set_picture] = useState(nothing);
  useEffect(() => {
    let book: DepthBook | null = null;
    let trades: Trade[] = [];
    let waiting: LevelChange[] = [];
    let live = false;
    let error: unknown = null;
    let frame = 0;
    let ended = false;
    let load_turn = 0;
    const filter = `unit_kind=${kind}${model ? `&gpu_model=${encodeURIComponent(model)}` : ""}`;
    const show = () => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        set_picture({ asks: book?.rungs("ask", rungs_drawn) ?? [], bids: book?.rungs("bid", rungs_drawn) ?? [], trades, live, error });
      });
    };
    const load = async () => {
      const mine = ++load_turn;
      book = null;
      waiting = [];
      try {
        const [depth, list] = await Promise.all([
          get<DepthDocument>(`/v1/market/depth?${filter}&limit=500`),
          get<List<Trade>>(`/v1/market/trades?${filter}&limit=${trades_kept}`),
        ]);
        if (ended || mine !== load_turn) return;
        book = new DepthBook(depth, model);
        for (const change of waiting) book.apply(change);
        waiting = [];
        trades = list.data;
        error = null;
      } catch (reason) {
        error = reason;
      }
      show();
    };
    const close = open_stream("/v1/market/stream", {
      on_state: (now) => {
        live = now;
        show();
      },
      events: {
        reset: () => void load(),
        level: (change: LevelChange) => {
          if (!book) waiting.push(change);
          else if (book.apply(change)) show();
        },
        match: (trade: Trade & { index: number }) => {
          if (trade.unit_kind !== kind || (model && trade.gpu_model !== model)) return;
          const id = `${trade.sequence}-${trade.index}`;
          if (trades.some((known) => known.id === id)) return;
          trades = [{ ...trade, id }, ...trades].slice(0, trades_kept);
          show();
        },
      },
    });
    return () => {
      ended = true;
      close();
      cancelAnimationFrame(frame);
    };
  }, [kind, model]);
  return picture;
}

/** Cumulative units over price, bids falling to the left, asks rising to the right. */
function depth_data(asks: Rung[], bids: Rung[]): UPlot.AlignedData {
  const price = (rung: Rung) => Number(rung.price) / 1e6;
  const total = (rung: Rung) => Number(rung.total);
  const left = [...bids].reverse();
  // The last step of each side goes on for a tenth of its price.
  const [low, high] = [left.slice(0, 1), asks.slice(-1)];
  return [
    [...low.map((rung) => price(rung) * 0.9), ...left.map(price), ...asks.map(price), ...high.map((rung) => price(rung) * 1.1)],
    [...low.map(total), ...left.map(total), ...asks.map(() => null), ...high.map(() => null)],
    [...low.map(() => null), ...left.map(() => null), ...asks.map(total), ...high.map(total)],
  ];
}
/** The newest value, at most every `every_ms`: a chart costs more to draw than a row, and nobody sees it sixty times a second. */
function useSlower<T>(value: T, every_ms: number): T {
  const [shown, set_shown] = useState(value);
  const latest = useRef(value);
  latest.current = value;
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  if (value !== shown && timer.current === undefined) {
    timer.current = setTimeout(() => {
      timer.current = undefined;
      set_shown(latest.current);
    }, every_ms);
  }
  useEffect(() => () => clearTimeout(timer.current), []);
  return shown;
}

const depth_options = (unit: string) => (): Omit<UPlot.Options, "width" | "height"> => ({
  legend: { show: false },
  cursor: { y: false },
  scales: { x: { time: false }, y: { range: (_plot, _least, most) => [0, (most || 1) * 1.05] } },
  axes: [axis({ label: `price per ${unit}`, labelSize: 18, values: (_plot, values) => values.map(small_number) }), axis({ values: (_plot, values) => values.map(small_number), size: 52 })],
  series: [
    {},
    { stroke: colour("bid"), fill: colour("bar-bid"), width: 2, paths: UPlot.paths.stepped!({ align: -1 }), points: { show: false } },
    { stroke: colour("ask"), fill: colour("bar-ask"), width: 2, paths: UPlot.paths.stepped!({ align: 1 }), points: { show: false } },
  ],
});

function DepthPanel({ asks, bids, kind }: { asks: Rung[]; bids: Rung[]; kind: UnitKind }) {
  const data = useMemo(() => depth_data(asks, bids), [asks, bids]);
  return (
    <Panel title="Depth">
      {asks.length + bids.length > 0
        ? <Chart label={`Depth: ${asks.length} ask and ${bids.length} bid prices; the ladder has the numbers`} options={depth_options(price_unit(kind))} shape={kind} data={data} />
        : <Empty>The book is empty here. Providers list a machine with <code>millrace-worker setup</code>; buyers <a href="/app/jobs/new">post a job</a>, which waits in the book.</Empty>}
    </Panel>
  );
}

function Ladder({ side, rungs, unit }: { side: "ask" | "bid"; rungs: Rung[]; unit: string }) {
  const shown = rungs.slice(0, rungs_shown);
  const most = Number(shown.at(-1)?.total ?? 1n);
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label={side === "ask" ? "Asks" : "Bids"}>
      <table class="ladder">
        <caption class="sr">{side === "ask" ? "Asks, cheapest first" : "Bids, highest first"}</caption>
        <thead><tr><th>{side === "ask" ? "Asks" : "Bids"} per {unit}</th><th class="n">Units</th><th class="n">Sum</th><th><span class="sr">Share</span></th></tr></thead>
        <tbody>
          {shown.length === 0 && <tr><td colSpan={4} class="none">none</td></tr>}
          {shown.map((rung) => (
            <tr key={rung.price.toString()}>
              <td class={side}>{tokens(rung.price)}</td><td class="n">{count(rung.units)}</td><td class="n">{count(rung.total)}</td>
              <td><meter class="depth" aria-hidden="true" min={0} max={most} value={Number(rung.total)} /></td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface Candle {
  start_ms: number;
  open: string;
  high: string;
  low: string;
  close: string;
  volume: string;
  trades: number;
}
const candle_options = (): Omit<UPlot.Options, "width" | "height"> => ({
  legend: { show: false },
  scales: { x: { range: (plot, least, most) => (plot.data[0].length === 1 ? [least - 1_800, least + 1_800] : [least, most]) }, y: { range: (_plot, least, most) => (least === most ? [least * 0.9, most * 1.1 || 1] : [least - (most - least) * 0.1, most + (most - least) * 0.1]) } },
  axes: [axis(), axis({ values: (_plot, values) => values.map(small_number), size: 72 })],
  series: [{}, ...["open", "high", "low", "close"].map((label) => ({ label, stroke: "transparent", points: { show: false } }))],
  hooks: { draw: [draw_candles] },
});

function Candles({ kind, model, turn }: { kind: UnitKind; model: string; turn: number }) {
  const [interval, set_interval] = useState("1m");
  // Asked for again when a trade came, at most every two seconds.
  const last = useRef(0);
  const [due, set_due] = useState(0);
  useEffect(() => {
    const wait = Math.max(0, last.current + candles_every_ms - performance.now());
    const timer = setTimeout(() => {
      last.current = performance.now();
      set_due((value) => value + 1);
    }, wait);
    return () => clearTimeout(timer);
  }, [turn]);
  const { value } = useLoad(
    () => get<{ data: Candle[] }>(`/v1/market/candles?unit_kind=${kind}&gpu_model=${encodeURIComponent(model)}&interval=${interval}&limit=120`),
    [kind, model, interval, due],
  );
  const data = useMemo((): UPlot.AlignedData => {
    const candles = value?.data ?? [];
    const of = (name: "open" | "high" | "low" | "close") => candles.map((candle) => Number(candle[name]) / 1e6);
    return [candles.map(({ start_ms }) => start_ms / 1000), of("open"), of("high"), of("low"), of("close")];
  }, [value]);
  const newest = value?.data.at(-1);
  return (
    <Panel title={`Price history, ${model}`} tools={
      <select aria-label="Candle length" value={interval} onChange={(event) => set_interval(event.currentTarget.value)}>
        {["1m", "5m", "1h", "1d"].map((name) => <option key={name}>{name}</option>)}
      </select>
    }>
      {newest
        ? <><Chart label={`Candles of ${interval}: ${value!.data.length}; the newest closed at ${tokens(newest.close)}`} options={candle_options} shape={`${kind} ${model} ${interval}`} data={data} />
          <p class="hint">Last {tokens(newest.close)}, high {tokens(newest.high)}, low {tokens(newest.low)}, {count(newest.volume)} units in {newest.trades === 1 ? "one trade" : `${newest.trades} trades`}.</p></>
        : <Empty>No trade yet. Candles appear with the first match.</Empty>}
    </Panel>
  );
}

function Tape({ trades }: { trades: Trade[] }) {
  return (
    <Panel title="Trades">
      {trades.length === 0 ? <Empty>No trade yet.</Empty> : (
        <div class="scroll" tabIndex={0} role="group" aria-label="Trades">
          <table>
            <thead><tr><th>Time</th><th class="n">Price</th><th class="n">Units</th><th>GPU</th><th>Class</th><th>Lease</th></tr></thead>
            <tbody>
              {trades.map((trade) => (
                <tr key={trade.id}>
                  <td>{clock_time(trade.time_ms)}</td><td class="n">{tokens(trade.price)}</td><td class="n">{count(trade.units)}</td>
                  <td>{trade.gpu_model}</td><td>{words(trade.order_class)}</td>
                  <td><a href={`/app/settlement/lease/${trade.lease}`} class="mono">{trade.lease.slice(0, 8)}</a></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}

interface Good {
  unit_kind: UnitKind;
  gpu_model: string;
  price: string | null;
  source: string;
}

export function MarketPage() {
  const [kind, set_kind] = useState<UnitKind>("training_step");
  const [model, set_model] = useState("");
  const goods = useLoad(() => get<{ data: Good[] }>("/v1/market/index"), [], 10_000);
  const { asks, bids, trades, live, error } = useLiveBook(kind, model);
  const models = [...new Set((goods.value?.data ?? []).map(({ gpu_model }) => gpu_model))].sort();
  const candle_model = model || trades[0]?.gpu_model || models[0] || "";
  const unit = price_unit(kind);
  const newest = trades[0]?.sequence ?? 0;
  // What did not change is not looked at again when the ladder does.
  const slow_asks = useSlower(asks, depth_every_ms);
  const slow_bids = useSlower(bids, depth_every_ms);
  const depth = useMemo(() => <DepthPanel asks={slow_asks} bids={slow_bids} kind={kind} />, [slow_asks, slow_bids, kind]);
  const candles = useMemo(() => candle_model !== "" && <Candles kind={kind} model={candle_model} turn={newest} />, [kind, candle_model, newest]);
  const tape = useMemo(() => <Tape trades={trades} />, [trades]);
  const index = goods.value?.data.find((good) => good.unit_kind === kind && good.gpu_model === candle_model);
  return (
    <>
      <h1>Market</h1>
      <p class="lead">Who sells GPU work, who wants it, and at what price. {live ? "Live." : ""}</p>
      {!live && <div class="note" role="status">Connecting to the market…</div>}
      <Failure error={error ?? goods.error} />
      <div class="panel row">
        <Field label="Sold by">{(props) => (
          <select {...props} value={kind} onChange={(event) => set_kind(event.currentTarget.value as UnitKind)}>
            {unit_kinds.map((name) => <option key={name} value={name}>{kind_name(name)}</option>)}
          </select>)}
        </Field>
        <Field label="GPU class">{(props) => (
          <select {...props} value={model} onChange={(event) => set_model(event.currentTarget.value)}>
            <option value="">all</option>
            {models.map((name) => <option key={name}>{name}</option>)}
          </select>)}
        </Field>
      </div>
      <div class="figures">
        <div class="figure"><b>{asks[0] ? tokens(asks[0].price) : "–"}</b><span>best ask per {unit}</span></div>
        <div class="figure"><b>{bids[0] ? tokens(bids[0].price) : "–"}</b><span>best bid per {unit}</span></div>
        <div class="figure"><b>{index?.price ? tokens(index.price) : "–"}</b><span>index {index ? `(${words(index.source)})` : ""}</span></div>
        <div class="figure"><b>{trades[0] ? tokens(trades[0].price) : "–"}</b><span>last trade</span></div>
      </div>
      <div class="grid">
        {depth}
        {candles}
        <Panel title="Ladder">
          <Ladder side="ask" rungs={asks} unit={unit} />
          <Ladder side="bid" rungs={bids} unit={unit} />
        </Panel>
        {tape}
      </div>
    </>
  );
}
