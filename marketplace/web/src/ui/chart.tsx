// SPDX-License-Identifier: Apache-2.0
// uPlot in the console's colours. A chart is a picture for eyes: its label says what it shows, and the page has the
// same numbers as text.
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import UPlot from "uplot";
import "uplot/dist/uPlot.min.css";

/** Counts changes of the theme: charts are drawn anew with its colours. */
export const theme_turn = signal(0);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => ++theme_turn.value);

export const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

interface ChartProps {
  label: string;
  /** Made anew when `shape` or the theme changes. */
  options: () => Omit<UPlot.Options, "width" | "height">;
  shape: string;
  data: UPlot.AlignedData;
  height?: number;
}
export function Chart({ label, options, shape, data, height = 220 }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot | null>(null);
  const turn = theme_turn.value;
  useEffect(() => {
    const host = place.current!;
    const made = new UPlot({ ...options(), width: Math.max(host.clientWidth, 100), height }, data, host);
    plot.current = made;
    const watch = new ResizeObserver(() => made.setSize({ width: Math.max(host.clientWidth, 100), height }));
    watch.observe(host);
    return () => {
      watch.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape, turn]);
  useEffect(() => plot.current?.setData(data), [data]);
  return <div class="chart" ref={place} role="img" aria-label={label} />;
}

export const axis = (extra: UPlot.Axis = {}): UPlot.Axis => ({
  stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 }, font: "12px system-ui", ...extra,
});
export const small_number = (value: number): string =>
  Math.abs(value) >= 1e6 ? `${+(value / 1e6).toFixed(1)}M` : Math.abs(value) >= 1e4 ? `${+(value / 1e3).toFixed(1)}k` : `${+value.toPrecision(4)}`;

/** Open, high, low and close as candles, from series 1 to 4. */
export function draw_candles(plot: UPlot): void {
  const { ctx } = plot;
  const [times, open, high, low, close] = plot.data as number[][];
  ctx.save();
  const wide = Math.max(2, Math.min(14, (plot.bbox.width / Math.max(times!.length, 8)) * 0.6));
  for (let i = 0; i < times!.length; ++i) {
    const x = Math.round(plot.valToPos(times![i]!, "x", true));
    const y = (series: number[]) => Math.round(plot.valToPos(series[i]!, "y", true));
    ctx.fillStyle = colour(close![i]! >= open![i]! ? "bid" : "ask");
    ctx.fillRect(x, y(high!), 1, Math.max(1, y(low!) - y(high!)));
    const top = Math.min(y(open!), y(close!));
    ctx.fillRect(x - wide / 2, top, wide, Math.max(2, Math.abs(y(open!) - y(close!))));
  }
  ctx.restore();
}
