import type { Schemas } from "../api/client";
import { isLive } from "../api/queries";
import { to } from "../address";
import { share } from "../words/numbers";
import type { Tone } from "../words/serving";
import { Moment, Tag } from "./basics";

export const stateTone: Record<string, Tone | "accent"> = { running: "accent", pending: "accent", holding: "warn", paused: "warn", completed: "good", aborted: "bad", stopped: "soft" };

// RolloutLine is a rollout in a list: where it stands and why.
export function RolloutLine({ of }: { of: Schemas["Rollout"] }) {
  const steps = of.steps ?? [], step = steps[of.at];
  return (
    <li className="rollout-line">
      <Rungs of={of} />
      <div className="grow">
        <div className="line"><Tag tone={stateTone[of.state] ?? "soft"}>{of.state}</Tag><a href={to.rollout(of.id)} className="mono">{of.flag}</a><span className="small soft">{of.environment}</span></div>
        <div className="line small"><span>{of.treatment} {isLive(of.state) ? "is at" : "was at"} <b>{share(step?.ppm ?? 0)}</b>, step {of.at + 1} of {steps.length}{isLive(of.state) && steps[of.at + 1] && <span className="soft">, next {share(steps[of.at + 1].ppm)}</span>}</span><span className="push soft"><Moment at={of.endedAt ?? of.steppedAt} /></span></div>
        {of.why && <div className="small soft clip" title={of.why}>{of.why}</div>}
      </div>
    </li>
  );
}

// Rungs is the ladder, small.
function Rungs({ of }: { of: Schemas["Rollout"] }) {
  const live = isLive(of.state), done = of.state === "completed";
  return (
    <span className="rungs" aria-hidden>{(of.steps ?? []).map((s, i) => (
      <i key={i} className={done || i < of.at ? "good" : i > of.at ? undefined : live ? (of.state === "running" || of.state === "pending" ? "accent" : "warn") : of.state === "aborted" ? "bad" : "soft"} style={{ height: `${15 + 85 * Math.sqrt(s.ppm / 1e6)}%` }} />
    ))}</span>
  );
}
