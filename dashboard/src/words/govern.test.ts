import { describe, expect, test } from "vitest";

import { refusal, type Session } from "../api/auth";
import type { ChangeRequest } from "../api/governance";
import { onTop } from "../parts/form";
import { grantDifference, grantWords, runs, sameGrant } from "./access";
import { envelopeLines, envelopeStarts, envelopeTrouble, exposureWords } from "./envelope";
import { defaultPolicy, freezeState, policyDifference, policyTrouble } from "./policy";
import { appliable, approvable, missing, titleOf, turnOf } from "./request";

const somebody = (user: string, ...rights: Session["rights"] & object): Session => ({ state: "in", accounts: true, oidc: false, passwords: true, user, rights });

describe("access", () => {
  test("grants in words, and what differs between them", () => {
    expect([{ role: "admin" }, { role: "admin", team: "a" }, { role: "editor", team: "a", environment: "b" }, { role: "approver" }].map(grantWords)).toEqual(["admin: runs the installation", "admin of a", "editor of a in b", "approver of everything"]);
    expect([runs([{ role: "admin", environment: "b" }]), runs([{ role: "admin" }]), runs(null)]).toEqual([false, true, false]);
    expect(sameGrant({ role: "editor", team: "" }, { role: "editor" })).toBe(true);
    expect(grantDifference([{ role: "editor" }], [{ role: "approver", team: "a" }])).toEqual(["may be approver of a", "is no longer editor of everything"]);
  });
  test("each set of rights must allow what is done, and nobody without grants may do anything", () => {
    const need = { role: "editor", team: "a", environment: "b" };
    expect(refusal(somebody("user:x", [{ role: "editor", team: "a" }]), need)).toBeUndefined();
    expect(refusal(somebody("user:x", [{ role: "admin" }], [{ role: "editor", environment: "c" }]), need)).toMatch(/role editor of a in b/);
    expect(refusal(somebody("user:x", []), need)).toMatch(/role editor/);
    expect(refusal({ ...somebody("user:x"), rights: undefined }, need)).toBeUndefined();
  });
});

describe("policy", () => {
  test("what differs is told line by line", () => {
    const other = { ...defaultPolicy, approvals: { ...defaultPolicy.approvals, high: { direct: -1, staged: 0 } }, approvalTTL: "90m", requireDescription: true, freezes: [{ from: "2026-12-20T00:00:00Z", to: "2027-01-02T00:00:00Z", reason: "holidays" }] };
    expect(policyDifference(defaultPolicy, { ...defaultPolicy, approvalTTL: "24h" })).toEqual([]);
    expect(policyDifference(defaultPolicy, other)).toEqual([
      "high risk, at once: 2 other people must approve → never at once", "high risk, by a guarded rollout: 1 other person must approve → a reason is enough", "a request is good for 1 d → 1 h 30 min",
      "a new flag must say what it does", "frozen from 2026-12-20 00:00 to 2027-01-02 00:00 UTC, every protected environment: holidays",
    ]);
  });
  test("what is wrong is said before the server would", () => {
    const freeze = { from: "2026-12-20T00:00:00Z", to: "2026-12-19T00:00:00Z", reason: "r" };
    expect(["24h", "30s", "721h", "soon"].map((approvalTTL) => policyTrouble({ ...defaultPolicy, approvalTTL }) === undefined)).toEqual([true, false, false, false]);
    expect(policyTrouble({ ...defaultPolicy, freezes: [freeze] })).toMatch(/ends after/);
    expect(policyTrouble({ ...defaultPolicy, freezes: [{ ...freeze, to: "2027-01-01T00:00:00Z", reason: " " }] })).toMatch(/why/);
    const at = (time: string) => freezeState({ from: "2026-12-20T00:00:00Z", to: "2026-12-21T00:00:00Z", reason: "r" }, Date.parse(time));
    expect(["2026-12-19T00:00:00Z", "2026-12-20T00:00:00Z", "2026-12-21T00:00:00Z"].map(at)).toEqual(["later", "now", "over"]);
  });
});

test("an envelope in words, and what is wrong with one", () => {
  const e = { flags: ["pay.*"], environments: ["production"], ...envelopeStarts[0].envelope };
  expect(envelopeLines(e)).toEqual([
    "changes release and experiment flags named pay.* in production", "shows 0.1 % of users something else at most, for 10 min at a time, at most 500 users in a rollout", "raises flags of the low tier alone", "makes 6 raises an hour, and has 1 rollout live at once", "plans 20,000 user-minutes a day at most",
  ]);
  expect(exposureWords({ ...e, maxPpm: 0 })).toBe("shows nobody anything");
  expect([envelopeTrouble(e), envelopeTrouble({ ...e, flags: [] }), envelopeTrouble({ ...e, environments: null }), envelopeTrouble({ ...e, changesPerHour: 1.5 })].map(Boolean)).toEqual([false, true, true, true]);
});

describe("requests", () => {
  const c = {
    state: "open", proposer: { id: "agent:bot", onBehalfOf: "user:ann" }, approvals: [{ by: "user:bea", at: "", digest: "" }],
    plan: { action: "flag.default", subject: "a.b", versions: { production: 3 }, needs: { number: 2, from: [{ role: "approver", team: "pay", environment: "production" }] } },
  } as unknown as ChangeRequest;
  const may = [{ role: "approver", environment: "production" }];
  test("whose turn it is", () => {
    expect(["user:ann", "user:bea", "user:cem", "service:ci"].map((who) => turnOf(c, somebody(who, may)))).toEqual(["others", "others", "yours", "others"]);
    expect(turnOf(c, somebody("user:cem", []))).toBe("others");
    expect(turnOf({ ...c, approvals: [...c.approvals!, { by: "user:cem", at: "", digest: "" }] }, somebody("user:dot", may))).toBe("ready");
    expect([turnOf({ ...c, state: "review" }, somebody("user:x", [])), turnOf({ ...c, state: "applied" }, somebody("user:x", []))]).toEqual(["review", "closed"]);
    expect(approvable(c, somebody("user:ann", may))).toMatch(/one party/);
    expect(appliable(c, somebody("user:cem", may))).toMatch(/role editor of pay in production/);
  });
  test("what is wanted, and who is missing", () => {
    expect(titleOf(c)).toBe("Change the default of a.b in production");
    expect(titleOf({ plan: { ...c.plan, action: "policy.update", subject: "policy", versions: undefined } })).toBe("policy.update policy");
    expect(missing(c)).toBe("for an approver of pay in production");
  });
});

test("what was not touched is theirs, and the rest stays mine", () => {
  const was = { name: "a", tags: ["x"], email: "e" }, theirs = { name: "b", tags: ["y"] };
  expect(onTop({ name: "a", tags: ["z"], email: "e" }, was, theirs)).toEqual({ name: "b", tags: ["z"], email: "" });
});
