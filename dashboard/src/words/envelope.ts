// What an agent may do at most, in words and as a form holds it.
import type { Schemas } from "../api/client";
import { count, plural, share } from "./numbers";

export type Envelope = Schemas["Envelope"];

export const envelopeStarts: { name: string; about: string; envelope: Omit<Envelope, "flags" | "environments"> }[] = [
  { name: "Careful", about: "Shows a thousandth of the users something for a few minutes, one at a time.", envelope: { maxPpm: 1000, maxMinutesPerExposure: 10, maxConcurrentRollouts: 1, maxUnits: 500, maxUnitMinutesPerDay: 20_000, maxRiskTier: "low", changesPerHour: 6 } },
  { name: "Everyday", about: "Ships a feature to one user in twenty; people take it further.", envelope: { maxPpm: 50_000, maxMinutesPerExposure: 30, maxConcurrentRollouts: 2, maxUnits: 20_000, maxUnitMinutesPerDay: 500_000, maxRiskTier: "medium", changesPerHour: 20 } },
  { name: "Trusted", about: "Takes a guarded rollout to everybody, of flags that are not of the high tier.", envelope: { maxPpm: 1_000_000, maxMinutesPerExposure: 240, maxConcurrentRollouts: 4, maxUnits: 0, maxUnitMinutesPerDay: 0, maxRiskTier: "medium", changesPerHour: 60 } },
];

export function exposureWords(e: Envelope): string {
  const long = e.maxMinutesPerExposure ? `for ${e.maxMinutesPerExposure} min at a time` : "for any time";
  const many = e.maxUnits ? `, at most ${plural(e.maxUnits, "user")} in a rollout` : "";
  return e.maxPpm === 0 ? "shows nobody anything" : `shows ${share(e.maxPpm)} of users something else at most, ${long}${many}`;
}

export function envelopeLines(e: Envelope): string[] {
  const kinds = e.kinds?.length ? e.kinds.join(" and ") : "release and experiment";
  return [
    `changes ${kinds} flags named ${(e.flags ?? []).join(", ") || "nothing"} in ${(e.environments ?? []).join(", ") || "no environment"}`,
    exposureWords(e),
    `raises flags of the ${e.maxRiskTier === "low" ? "low tier alone" : e.maxRiskTier === "medium" ? "low and medium tiers" : "low, medium and high tiers"}`,
    `makes ${plural(e.changesPerHour, "raise")} an hour, and has ${plural(e.maxConcurrentRollouts, "rollout")} live at once`,
    e.maxUnitMinutesPerDay ? `plans ${count(e.maxUnitMinutesPerDay)} user-minutes a day at most` : "plans user-minutes without a bound",
  ];
}

// envelopeTrouble says what is wrong with an envelope, before the server would.
export function envelopeTrouble(e: Envelope): string | undefined {
  if (!e.flags?.length) return "Name the flags that it may change, such as payments.*";
  if (!e.environments?.length) return "Choose where it may change them.";
  const whole = [e.maxPpm, e.maxMinutesPerExposure ?? 0, e.maxConcurrentRollouts, e.maxUnits ?? 0, e.maxUnitMinutesPerDay ?? 0, e.changesPerHour];
  return whole.every((n) => Number.isInteger(n) && n >= 0) ? undefined : "Limits are whole numbers, from 0 on.";
}
