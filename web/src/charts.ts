// The charts: of all requests together, or of one that is chosen; and of gaggle itself.

import uPlot from "uplot";

import { spread, type Data, type Line, type Values } from "./data";
import { onTheme } from "./theme";

interface Curve {
  label: string;
  color: string; // the name of a property of style.css
  values: Values;
  scale?: string;
  filled?: boolean;
}

interface Chart {
  id: string;
  xs: number[];
  curves: Curve[];
  units: Record<string, (value: number) => string>; // by scale; the second one is at the right
  levels?: boolean; // x is a percentile, and not a time
}

const HEIGHT = 220;
const plots: uPlot[] = [];

const whole = (value: number): string => value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 2 : 0 });
const ms = (us: number): string => `${(us / 1000).toLocaleString("en", { maximumSignificantDigits: 3 })} ms`;
const percent = (value: number): string => `${whole(value)}%`;

export function showCharts(data: Data | null): void {
  const section = document.getElementById("charts");
  if (!data || !section || data.whole.edges.length < 2) return;
  section.hidden = false;
  const chooser = document.getElementById("subject") as HTMLSelectElement;
  chooser.append(...data.lines.map((line, index) => new Option(line.name, String(index))));
  const draw = (): void => drawAll(data, Number(chooser.value));
  chooser.addEventListener("change", draw);
  onTheme(draw);
  new ResizeObserver(() => plots.forEach((plot) => plot.setSize(sizeOf(plot.root.parentElement!)))).observe(section);
  draw();
}

function drawAll(data: Data, chosen: number): void {
  plots.splice(0).forEach((plot) => plot.destroy());
  const line = data.lines[chosen];
  if (!line) return;
  for (const chart of [...chartsOf(data, line, chosen > 0), ...chartsOfGaggle(data)]) {
    const target = document.getElementById(chart.id);
    if (target) plots.push(plotted(target, chart, data));
  }
}

function chartsOf(data: Data, line: Line, isNamed: boolean): Chart[] {
  const { edges } = isNamed ? data.named : data.whole;
  const xs = edges.slice(0, -1).map((edge) => data.start + edge / 1000);
  const seconds = xs.map((_, place) => (edges[place + 1]! - edges[place]!) / 1000);
  const all = (values: Values, empty: number | null): Values => spread(line.at, values, xs.length, empty);
  const rate = (values: Values): Values => all(values, 0).map((value, place) => (value ?? 0) / seconds[place]!);
  return [
    {
      id: "chart-rate",
      xs,
      units: { rate: whole },
      curves: [
        { label: "requests/s", color: "--good", values: rate(line.count), filled: true },
        { label: "failures/s", color: "--bad", values: rate(line.failures), filled: true },
      ],
    },
    {
      id: "chart-times",
      xs,
      units: { time: ms },
      curves: [
        { label: "50%", color: "--low", values: all(line.p50, null) },
        { label: "95%", color: "--middle", values: all(line.p95, null) },
        { label: "99%", color: "--high", values: all(line.p99, null) },
      ],
    },
    {
      id: "chart-distribution",
      xs: line.levels,
      levels: true,
      units: { time: ms },
      curves: [{ label: "response time", color: "--middle", values: line.reached, filled: true }],
    },
  ];
}

function chartsOfGaggle(data: Data): Chart[] {
  const xs = data.whole.edges.slice(0, -1).map((edge) => data.start + edge / 1000);
  return [
    {
      id: "chart-users",
      xs,
      units: { users: whole },
      curves: [{ label: "users", color: "--low", values: data.users, filled: true }],
    },
    {
      id: "chart-health",
      xs,
      units: { busy: percent, lag: ms },
      curves: [
        { label: "busiest engine", color: "--low", values: data.busy },
        { label: "lag, 99%", color: "--high", values: data.lag, scale: "lag" },
      ],
    },
  ];
}

function plotted(target: HTMLElement, chart: Chart, data: Data): uPlot {
  const style = getComputedStyle(document.documentElement);
  const color = (name: string): string => style.getPropertyValue(name).trim();
  const scales = Object.keys(chart.units);
  const options: uPlot.Options = {
    ...sizeOf(target),
    cursor: chart.levels ? {} : { sync: { key: "run" } },
    scales: {
      x: { time: !chart.levels },
      ...Object.fromEntries(scales.map((name) => [name, { range: fromZero }])),
    },
    axes: [
      { stroke: color("--faint"), grid: { stroke: color("--line") }, ...(chart.levels ? LEVELS : TIMES) },
      ...scales.map((scale, place) => ({
        scale,
        side: place ? 1 : 3,
        size: 70,
        stroke: color("--faint"),
        grid: { show: !place, stroke: color("--line") },
        values: (_: uPlot, ticks: number[]) => ticks.map(chart.units[scale]!),
      })),
    ],
    series: [
      chart.levels ? { label: "share", value: (_, level) => (level == null ? "–" : share(level)) } : { label: "time", value: (_, at) => (at == null ? "–" : clock(at)) },
      ...chart.curves.map((curve) => seriesOf(curve, curve.scale ?? scales[0]!, chart, color)),
    ],
    hooks: chart.levels ? {} : { drawClear: [(plot: uPlot) => shadeWhatIsSetAside(plot, data, color("--line"))] },
  };
  return new uPlot(options, [chart.xs, ...chart.curves.map((curve) => curve.values)] as uPlot.AlignedData, target);
}

function seriesOf(curve: Curve, scale: string, chart: Chart, color: (name: string) => string): uPlot.Series {
  const stroke = color(curve.color);
  return {
    label: curve.label,
    scale,
    stroke,
    width: 1.5,
    points: { show: chart.xs.length < 3 },
    value: (_, value) => (value == null ? "–" : chart.units[scale]!(value)),
    ...(curve.filled ? { fill: `${stroke}22` } : {}),
  };
}

// A percentile axis: each step has ten times fewer above it.
const LEVELS: uPlot.Axis = {
  splits: (plot, _, least, most) => {
    const apart = plot.width < 400 ? 2 : 1;
    return Array.from({ length: Math.ceil(most) + 1 }, (_, step) => step).filter((step) => step >= least && step % apart === 0);
  },
  values: (_, levels) => levels.map(share),
};

function share(level: number): string {
  const percent = 100 * (1 - 10 ** -level);
  return `${percent.toFixed(Math.max(0, Math.ceil(level) - 2))}%`;
}

const TIMES: uPlot.Axis = {
  space: 80,
  values: (_, ticks) => ticks.map(clock),
};

function clock(at: number): string {
  return new Date(at * 1000).toLocaleTimeString("en-GB");
}

function fromZero(_: uPlot, __: number, most: number | null): uPlot.Range.MinMax {
  return [0, most ? most * 1.05 : 1];
}

function sizeOf(target: HTMLElement): { width: number; height: number } {
  const { paddingLeft, paddingRight } = getComputedStyle(target);
  const width = target.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
  return { width: Math.max(width, 200), height: HEIGHT };
}

// What was counted before the reset is in the charts and not in the tables.
function shadeWhatIsSetAside(plot: uPlot, data: Data, color: string): void {
  const { left, top, height } = plot.bbox;
  const width = plot.valToPos(data.start + data.measured / 1000, "x", true) - left;
  if (data.measured <= 0 || width <= 0) return;
  plot.ctx.save();
  plot.ctx.fillStyle = color;
  plot.ctx.globalAlpha = 0.5;
  plot.ctx.fillRect(left, top, Math.min(width, plot.bbox.width), height);
  plot.ctx.restore();
}
