import { describe, expect, test } from "vitest";

import { doorsOf } from "../api/governance";
import { eventsIn, touched } from "../api/events";
import { parse, stringify } from "../api/json";
import { configDifference, differences } from "./difference";
import { ago, interval, milliseconds, number, percentToPPM, progress, share, span, weigh } from "./numbers";
import { conditionWords, lease, serveWords, serving } from "./serving";

describe("numbers", () => {
  test("shares keep the digits that count", () => {
    expect([100, 10_000, 333_333, 1_000_000].map(share)).toEqual(["0.01 %", "1 %", "33.3333 %", "100 %"]);
    expect([0.01, 33.3333, 100, 250, -1].map(percentToPPM)).toEqual([100, 333_333, 1_000_000, 1_000_000, 0]);
  });
  test("numbers have four digits, and powers where they are far off", () => {
    expect([0, 1.23456, 1e7, 0.00012, null].map(number)).toEqual(["0", "1.235", "1.0e+7", "1.2e-4", "–"]);
    expect(interval(1.5, [1, 2])).toBe("1.5 (1 to 2)");
    expect(interval(null, [1, 2])).toBe("–");
  });
  test("evidence goes its way in logarithms", () => {
    expect(progress(10, 100)).toBeCloseTo(0.5);
    expect([progress(0.5, 100), progress(1e9, 100), progress(NaN, 100)]).toEqual([0, 1, 0]);
  });
  test("lengths of time", () => {
    expect([0, 61_000, 90_061_000].map(span)).toEqual(["0 s", "1 min 1 s", "1 d 1 h"]);
    expect(["1h30m", "250ms", "90s", "0", "", "nonsense"].map(milliseconds)).toEqual([5_400_000, 250, 90_000, 0, undefined, undefined]);
    expect([ago(0, 3000), ago(0, 120_000), ago(7_200_000, 0)]).toEqual(["just now", "2 min ago", "in 2 h"]);
  });
  test("a split sums to a million whatever is typed", () => {
    for (const [weights, at, ppm] of [[[100_000, 900_000], 0, 250_000], [[500_000, 300_000, 200_000], 0, 900_000], [[1_000_000], 0, 5], [[0, 0, 1_000_000], 2, 0]] as const) {
      const next = weigh([...weights], at, ppm);
      expect(next.reduce((a, b) => a + b, 0)).toBe(1_000_000);
      expect(Math.min(...next)).toBeGreaterThanOrEqual(0);
    }
    expect(weigh([500_000, 300_000, 200_000], 0, 600_000)).toEqual([600_000, 300_000, 100_000]);
  });
});

describe("words", () => {
  const config = { flag: "f", enabled: true, offVariant: "off", default: { variant: "on" }, version: 1 };
  test("a condition reads as it is meant", () => {
    expect(conditionWords({ all: [{ attribute: "email", op: "endsWith", values: ["@x.org"] }, { not: { any: [{ segment: "beta" }, { attribute: "age", op: "gte", values: [18] }] } }] }))
      .toBe("email ends with “@x.org” and not (in segment beta or age ≥ 18)");
    expect(conditionWords({ any: [{ all: [{ segment: "a" }, { segment: "b" }] }, { attribute: "plan", op: "exists", values: [false] }] })).toBe("(in segment a and in segment b) or plan is missing");
  });
  test("what is served", () => {
    expect(serveWords({ split: { by: "account.id", weights: [{ variant: "on", ppm: 100_000 }, { variant: "off", ppm: 900_000 }] } })).toBe("10 % on, 90 % off by account.id");
    expect(serving({ ...config, killed: { at: "", by: "user:a", reason: "fire" } }, { safeVariant: "off" })).toMatchObject({ text: "killed: off", tone: "bad" });
    expect(serving({ ...config, enabled: false }, { safeVariant: "off" }).state).toBe("off");
  });
  test("a rule outside its dates does not exist", () => {
    const now = Date.parse("2026-01-02T00:00:00Z");
    expect([lease({}, now), lease({ notBefore: "2026-01-03T00:00:00Z" }, now), lease({ notAfter: "2026-01-02T00:00:00Z" }, now), lease({ notAfter: "2026-01-02T00:00:01Z" }, now)])
      .toEqual(["none", "coming", "over", "open"]);
  });
  test("a difference names what differs and nothing else", () => {
    const rule = { id: "staff", if: { segment: "staff" }, serve: { variant: "on" } };
    expect(configDifference(config, config)).toEqual([]);
    expect(configDifference(config, { ...config, enabled: false, rules: [rule] })).toEqual(["disabled: everybody gets off", "rule staff added: if in segment staff: on"]);
    expect(configDifference({ ...config, rules: [rule, { ...rule, id: "b" }] }, { ...config, rules: [{ ...rule, id: "b" }, rule] })).toEqual(["order of rules: staff, b → b, staff"]);
    expect(differences([{ noun: "team", key: "t", before: { name: "A" }, after: { name: "B" } }])).toEqual(["team t: name: A → B"]);
  });
});

describe("the API", () => {
  test("whole numbers that a double cannot hold are not changed where the engine tells them", () => {
    const text = '{"a":[9007199254740993,1.5,"12345678901234567890"]}';
    const canTell = typeof (JSON as { rawJSON?: unknown }).rawJSON === "function";
    if (canTell) expect(stringify(parse(text))).toBe(text);
    expect(stringify(parse('{"n":1,"x":"y"}'))).toBe('{"n":1,"x":"y"}');
  });
  test("events are read in whole, however they arrive", () => {
    const [events, rest] = eventsIn('retry: 1000\n\n: beat\n\nevent: change\nid: 7\ndata: {"seq":7}\n\nevent: cha');
    expect(events).toEqual([{ id: "7", name: "change", data: '{"seq":7}' }]);
    expect(rest).toBe("event: cha");
  });
  test("a change makes what it touches be read again", () => {
    const { keys, flags } = touched([{ seq: 1, at: "", actor: "user:a", action: "rollout.abort", subject: "shop.fast", environment: "production", version: 3, rollout: "ab" }]);
    expect([...keys].sort()).toEqual(["agents", "audit", "changes", "environments", "fleet", "rollout", "rollouts", "worklist"]);
    expect([...flags]).toEqual(["shop.fast"]);
  });
  test("a dry run is asked for only where the document has it", () => {
    expect(doorsOf({ paths: { "/api/v1/flags": { post: {} } } })).toEqual({ plans: false, changes: false, policy: false });
    expect(doorsOf({ paths: { "/api/v1/flags": { post: { parameters: [{ name: "dryRun", in: "query" }] } }, "/api/v1/changes": {}, "/api/v1/policy": {} } }))
      .toEqual({ plans: true, changes: true, policy: true });
  });
});
