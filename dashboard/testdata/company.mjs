// The people, teams, agents and requests of a company that uses Flyball, for
// tests and pictures: what a page of governance has to show.
import assert from "node:assert/strict";

import { open } from "./harness.mjs";

const reason = "set the stage";

const teams = [["payments-team", "Payments", "#payments"], ["growth-team", "Growth", "#growth"], ["platform-team", "Platform", "#platform"]];

const people = [
  ["ann", "Ann Okafor", [{ role: "editor", team: "payments-team" }, { role: "approver", team: "payments-team", environment: "production" }]],
  ["bea", "Bea Lindqvist", [{ role: "approver", environment: "production" }, { role: "editor", team: "growth-team" }]],
  ["cem", "Cem Yıldız", [{ role: "approver" }]],
  ["dot", "Dot Ferreira", [{ role: "admin" }]],
  ["eve", "Eve Marchetti", []],
  ["finn", "Finn Adeyemi", [{ role: "editor", environment: "development" }]],
];

export const envelope = {
  flags: ["shop.*", "growth.*"], environments: ["production"], maxPpm: 50_000, maxMinutesPerExposure: 30, maxConcurrentRollouts: 2, maxUnits: 20_000, maxUnitMinutesPerDay: 500_000, maxRiskTier: "medium", changesPerHour: 20,
};

export const boolean = (key, owner, more = {}) => ({ key, kind: "ops", owner, type: "boolean", variants: { on: true, off: false }, safeVariant: "off", reason, ...more });

// person gives somebody a token of their own, and returns how they call.
export async function person({ call }, name) {
  const { secret } = await call("POST", "/api/v1/tokens", { kind: "api", name: `${name}'s own`, actor: `user:${name}`, reason });
  return Object.assign((method, path, body) => call(method, path, body, secret), { secret });
}

// used makes the server believe that a program evaluates a flag.
export async function used({ url, call }, flag, environment = "production") {
  const { secret } = await call("POST", "/api/v1/tokens", { kind: "sdk", name: "the stage's program", environment, reason });
  const now = Date.now();
  await fetch(`${url}/sdk/v1/telemetry`, { method: "POST", headers: { Authorization: `Bearer ${secret}`, "Content-Type": "application/json" }, body: JSON.stringify({
    batch: crypto.randomUUID(), seq: 1, sentAt: new Date(now).toISOString(), dropped: { exposures: 0, observations: 0 }, instance: { id: `stage-${flag}`, service: "stage", version: "1", sdk: "test/1" }, applied: { epoch: 1, version: 1 }, errors: [], exposures: [], observations: [], contexts: [],
    counts: [{ flag, variant: "off", n: 10, from: new Date(now - 5000).toISOString(), to: new Date(now).toISOString() }], unknownFlags: [],
  }) });
  while (!(await call("GET", `/api/v1/flags/${flag}`)).lastEvaluated) await new Promise((resolve) => setTimeout(resolve, 100));
}

export async function govern(place) {
  const { call } = place;
  const have = new Set((await call("GET", "/api/v1/teams")).teams.map((t) => t.key));
  for (const [key, name, contact] of teams) if (!have.has(key)) await call("POST", "/api/v1/teams", { key, name, contact, reason });
  for (const [id, name, grants] of people) await call("POST", "/api/v1/users", { id, name, email: `${id}@shop.example`, grants, reason });
  await call("POST", "/api/v1/users/eve/disable", { reason: "she left the company" });
  await call("PUT", "/api/v1/environments/production", { protected: true, sampleAttributes: ["country", "plan", "group", "app"], reason });
  await call("PUT", "/api/v1/policy", { ...(await call("GET", "/api/v1/policy")), freezes: [{ from: "2027-12-20", to: "2028-01-02", environments: ["production"], reason: "the holidays: nobody is there to look" }], reason });

  const flag = "payments.refunds.instant";
  await call("POST", "/api/v1/flags", boolean(flag, "payments-team", { riskTier: "high", description: "Pays refunds back at once instead of at night." }));
  await call("POST", `/api/v1/environments/production/flags/${flag}/enable`, { reason });
  await used(place, flag);
  const [ann, bea, dot] = [await person(place, "ann"), await person(place, "bea"), await person(place, "dot")];
  const ask = async (as, key, verb, body, method = "PUT") => as(method, `/api/v1/environments/production/flags/${key}${verb}?propose=true`, body);
  const wish = await ask(ann, flag, "/default", { default: { variant: "on" }, reason: "support asks for it every week" });
  const waiting = wish.id ?? (await call("GET", "/api/v1/changes")).changes[0].id;
  await bea("POST", `/api/v1/changes/${waiting}/approve`, { reason: "the ledger can take it" });
  await dot("PUT", `/api/v1/environments/production/flags/${flag}?breakGlass=true`, { enabled: true, default: { variant: "off" }, rules: [{ id: "stuck", description: "whose refund is stuck", if: { attribute: "country", op: "in", values: ["CA"] }, serve: { variant: "on" } }], reason: "refunds to Canada are stuck, and it is four in the morning" });

  const shipper = await call("POST", "/api/v1/tokens", { kind: "agent", name: "shipper", onBehalfOf: "user:ann", envelope, reason });
  await call("POST", "/api/v1/tokens", { kind: "agent", name: "clean up", actor: "agent:clean-up", onBehalfOf: "user:bea", envelope: { ...envelope, flags: ["growth.*"], maxPpm: 1000, maxUnits: 500, maxUnitMinutesPerDay: 0, maxConcurrentRollouts: 1, maxRiskTier: "low", changesPerHour: 4 }, reason });
  await call("POST", "/api/v1/tokens", { kind: "api", name: "deploys of payments", actor: "service:payments-ci", grants: [{ role: "editor", team: "payments-team" }], expiresAt: "2027-12-01", reason });
  return { flag, waiting, ann, bea, dot, shipper };
}

// visits gives pages of somebody who is signed in. Each must stay silent: no
// error, and no request to anybody else. Where a refusal is meant, expected is
// its status, of which the browser itself complains.
export const visits = (browser, place) => async (t, at, { token = place.token, expected, ...options } = {}) => {
  const opened = await open(browser, { url: place.url, token }, options);
  t.after(async () => {
    await opened.context.close();
    assert.deepEqual(opened.trouble.filter((line) => !expected || !line.includes(`status of ${expected}`)), []);
  });
  await opened.go(at);
  return opened.page;
};

// confirm says why, and makes the change that a dialog asks about.
export async function confirm(page, verb, reason) {
  await page.getByRole("textbox", { name: "Reason" }).fill(reason);
  await page.getByRole("dialog").getByRole("button", { name: verb, exact: true }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
}

// refused is what the server says who will not do a thing.
export const refused = (work) => work.then(() => assert.fail("it was allowed"), (error) => String(error.message));
