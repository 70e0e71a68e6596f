import type { Schemas } from "../api/client";
import { isLive } from "../api/queries";
import { to } from "../routes";
import { share } from "../words/numbers";
import type { Tone } from "../words/serving";
import { Moment, Tag } from "./basics";

export const stateTone: Record<string, Tone | "accent"> = { running: "accent", pending: "accent", holding: "warn", paused: "warn", completed: "good", aborted: "bad", stopped: "soft" };

// RolloutLine is a rollout in a list: where it stands and why.
export function RolloutLine({ of }: { of: Schemas["Rollout"] }) {
  const steps = of.steps ?? [], step = steps[of.at];
  return (
    <li>
      <div className="line"><Tag tone={stateTone[of.state] ?? "soft"}>{of.state}</Tag><a href={to.rollout(of.id)} className="mono">{of.flag}</a><span className="small soft">{of.environment}</span><span className="push small soft"><Moment at={of.endedAt ?? of.steppedAt} /></span></div>
      <div className="small soft">{of.treatment} {isLive(of.state) ? "is at" : "was at"} {share(step?.ppm ?? 0)}, step {of.at + 1} of {steps.length}{of.why && `: ${of.why}`}</div>
    </li>
  );
}
