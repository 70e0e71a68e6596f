// What numbers and lengths of time look like to people.

export const million = 1_000_000;

export const share = (ppm: number) => `${Number((ppm / 10_000).toPrecision(6))} %`;

export function number(n: number | null | undefined): string {
  if (n === null || n === undefined) return "–";
  const size = Math.abs(n);
  if (size >= 1e6 || (size !== 0 && size < 1e-3)) return n.toExponential(1);
  return String(Number(n.toPrecision(4)));
}

export const count = (n: number) => new Intl.NumberFormat("en").format(n);

export const plural = (n: number, one: string, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`;

// progress says how far an e-value has come to its threshold, from 0 to 1.
// E-values multiply, so that the way is measured in logarithms.
export function progress(e: number, threshold: number): number {
  if (!(e > 1) || !(threshold > 1)) return 0;
  return Math.min(1, Math.log(e) / Math.log(threshold));
}

export function interval(estimate: number | null | undefined, bounds: number[] | null | undefined): string {
  if (estimate === null || estimate === undefined) return "–";
  return bounds ? `${number(estimate)} (${number(bounds[0])} to ${number(bounds[1])})` : number(estimate);
}

const units: [string, number][] = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1000]];

// span tells a length of time in its one or two largest units.
export function span(milliseconds: number): string {
  let rest = Math.max(0, milliseconds);
  const parts: string[] = [];
  for (const [name, size] of units) {
    const n = Math.floor(rest / size);
    if (n > 0) parts.push(`${n} ${name}`);
    rest -= n * size;
    if (parts.length === 2) break;
  }
  return parts.join(" ") || "0 s";
}

const sizes: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

// milliseconds reads a duration as Go writes it, such as 1h30m; nothing if it
// is none.
export function milliseconds(duration: string | undefined): number | undefined {
  if (!duration || !/^([\d.]+(ns|us|µs|ms|s|m|h))+$/.test(duration)) return duration === "0" ? 0 : undefined;
  let total = 0;
  for (const [, n, unit] of duration.matchAll(/([\d.]+)(ns|us|µs|ms|s|m|h)/g)) total += Number(n) * sizes[unit];
  return total;
}

// ago is how long ago a moment was, or how far off it is.
export function ago(then: number, now: number): string {
  const off = now - then;
  if (Math.abs(off) < 5000) return "just now";
  return off > 0 ? `${coarse(off)} ago` : `in ${coarse(-off)}`;
}

function coarse(off: number): string {
  const [name, size] = units.find(([, size]) => off >= size) ?? units[3];
  return `${Math.floor(off / size)} ${name}`;
}

const zoned = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

// localTime is a moment in the reader's own zone.
export const localTime = (at: string | number) => zoned.format(new Date(at));

// percentToPPM reads a percentage that a person typed.
export const percentToPPM = (percent: number) => Math.max(0, Math.min(million, Math.round(percent * 10_000)));

// weigh sets one weight of a split and takes the difference from the others,
// the last first, so that they sum to a million at all times.
export function weigh(weights: number[], at: number, ppm: number): number[] {
  const next = [...weights];
  next[at] = Math.max(0, Math.min(million, ppm));
  let over = next.reduce((a, b) => a + b, 0) - million;
  for (let i = next.length - 1; i >= 0 && over !== 0; i--) {
    if (i === at) continue;
    const to = Math.max(0, Math.min(million, next[i] - over));
    over -= next[i] - to;
    next[i] = to;
  }
  if (over !== 0) next[at] -= over; // there is no other to take it from
  return next;
}
