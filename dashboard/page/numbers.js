// What numbers and configurations look like to people. Nothing here touches
// the page.

export const share = (ppm) => `${Number((ppm / 10_000).toPrecision(6))} %`;

export function number(n) {
  if (n === null || n === undefined) return "–";
  const size = Math.abs(n);
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) return n.toExponential(1);
  return String(Number(n.toPrecision(4)));
}

// progress says how far an e-value has come to its threshold, from 0 to 1.
// E-values multiply, so that the way is measured in logarithms.
export function progress(e, threshold) {
  if (!(e > 1) || !(threshold > 1)) return 0;
  return Math.min(1, Math.log(e) / Math.log(threshold));
}

export function interval(estimate, bounds) {
  if (estimate === null || estimate === undefined) return "–";
  return bounds ? `${number(estimate)} (${number(bounds[0])} to ${number(bounds[1])})` : number(estimate);
}

const units = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1000]];

// span tells a length of time in its one or two largest units.
export function span(milliseconds) {
  let rest = Math.max(0, milliseconds);
  const parts = [];
  for (const [name, size] of units) {
    const n = Math.floor(rest / size);
    if (n > 0) parts.push(`${n} ${name}`);
    rest -= n * size;
    if (parts.length === 2) break;
  }
  return parts.join(" ") || "0 s";
}

// serving tells in a few words what an environment serves for a flag, and how
// grave that is.
export function serving(config, flag) {
  if (config.killed) return { text: `killed: ${flag.safeVariant}`, tone: "bad", note: `${config.killed.reason} (${config.killed.by})` };
  if (!config.enabled) return { text: `disabled: ${config.offVariant}`, tone: "soft", note: "" };
  const rules = config.rules?.length ?? 0;
  const note = rules === 0 ? "" : rules === 1 ? "after 1 rule" : `after ${rules} rules`;
  if (config.rollout) {
    const r = config.rollout;
    return { text: `rollout: ${r.treatment} to ${share(r.ppm)}`, tone: "warn", note: r.where === "default" ? note : `in rule ${r.where}` };
  }
  return { text: serve(config.default), tone: "good", note };
}

function serve(s) {
  if (!s.split) return s.variant;
  return s.split.weights.map((w) => `${w.variant} ${share(w.ppm)}`).join(", ");
}
