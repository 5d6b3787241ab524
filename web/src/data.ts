// The series of the run, as html_report.py packs it. Times are microseconds; a value that nothing tells is null.

export type Values = (number | null)[];

export interface Line {
  name: string;
  at: number[]; // the numbers of the stretches in which anything was counted
  count: Values;
  failures: Values;
  p50: Values;
  p95: Values;
  p99: Values;
  levels: number[]; // how many did not exceed it: log10(1 / (1 - share))
  reached: number[];
}

export interface Stretches {
  edges: number[]; // milliseconds since the start; the last one is the end
}

export interface Data {
  start: number; // unix seconds
  measured: number; // milliseconds since the start: from here on the tables count
  whole: Stretches;
  named: Stretches;
  lines: Line[]; // all requests together first
  users: Values;
  busy: Values; // percent of a core
  lag: Values;
}

// Returns null where the page has no series.
export async function read(): Promise<Data | null> {
  const text = document.getElementById("series")?.textContent?.trim();
  if (!text) return null;
  const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return JSON.parse(await new Response(stream).text()) as Data;
}

// Returns a value a stretch from the values of those in which anything was counted.
export function spread(at: number[], values: Values, stretches: number, empty: number | null): Values {
  const all: Values = new Array<number | null>(stretches).fill(empty);
  at.forEach((place, index) => (all[place] = values[index] ?? empty));
  return all;
}
