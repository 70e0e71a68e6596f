// The stage that pictures are taken on: a real demonstration, and around it what
// a company has.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

import { program } from "./harness.mjs";

// demo starts the demonstration, and waits until the bad feature is being judged.
export async function demo() {
  const child = spawn(program, ["demo", "--listen", "127.0.0.1:0"], { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, NO_COLOR: "1" } });
  let url, token;
  for await (const line of createInterface({ input: child.stdout })) {
    token = /FLYBALL_TOKEN=(\S+)/.exec(line)?.[1] ?? token;
    url = /FLYBALL_SERVER=(\S+)/.exec(line)?.[1] ?? url;
    if (token) break;
  }
  child.stdout.resume();
  const call = async (method, path, body, as = token) => {
    const response = await fetch(url + path, { method, headers: { Authorization: `Bearer ${as}`, "Content-Type": "application/json" }, body: body && JSON.stringify(body) });
    if (!response.ok) throw new Error(`${method} ${path}: ${await response.text()}`);
    return response.json();
  };
  return { url, token, call, stop: () => new Promise((resolve) => { child.once("exit", resolve); child.kill("SIGINT"); }) };
}

export async function furnish({ call }) {
  const reason = "set the stage";
  const soon = new Date(Date.now() + 9 * 86_400_000).toISOString().slice(0, 10), later = new Date(Date.now() + 70 * 86_400_000).toISOString().slice(0, 10);
  for (const [key, name, contact] of [["payments-team", "Payments", "#payments"], ["growth-team", "Growth", "#growth"], ["platform-team", "Platform", "#platform"]]) await call("POST", "/api/v1/teams", { key, name, contact, reason });
  await call("POST", "/api/v1/segments", { key: "staff", owner: "platform-team", description: "People who work here", if: { attribute: "group", op: "in", values: ["staff"] }, reason });
  await call("POST", "/api/v1/segments", { key: "beta-testers", owner: "growth-team", description: "Who asked to see things early", include: ["buyer-12", "buyer-77", "buyer-1041"], reason });
  const flags = [
    ["payments.checkout.new-flow", "release", "payments-team", "Routes checkout through the rebuilt pricing pipeline.", { riskTier: "high", tags: ["checkout"], expiresAt: later }],
    ["payments.invoices.batching", "release", "payments-team", "Sends invoices once an hour.", { expiresAt: soon }],
    ["payments.fraud.strict-mode", "ops", "payments-team", "Declines more, for the hours of an attack.", {}],
    ["growth.signup.short-form", "experiment", "growth-team", "Asks for an e-mail address only.", { expiresAt: later, tags: ["signup"] }],
    ["growth.home.banner", "experiment", "growth-team", "A banner above the fold.", { expiresAt: soon }],
    ["platform.cache.read-through", "ops", "platform-team", "Reads through the regional cache.", { consistency: "stateful" }],
    ["platform.api.rate-limits", "permission", "platform-team", "Higher limits for some customers.", {}],
  ];
  for (const [key, kind, owner, description, more] of flags) await call("POST", "/api/v1/flags", { key, kind, owner, description, type: "boolean", variants: { on: true, off: false }, safeVariant: "off", reason, ...more });
  const put = (environment, key, body) => call("PUT", `/api/v1/environments/${environment}/flags/${key}`, { enabled: true, default: { variant: "off" }, reason: "who sees it first", ...body });
  await put("production", "payments.checkout.new-flow", { rules: [
    { id: "staff", description: "internal people first", if: { any: [{ segment: "staff" }, { segment: "beta-testers" }] }, serve: { variant: "on" } },
    { id: "canada-tenth", if: { all: [{ attribute: "country", op: "in", values: ["CA"] }, { not: { attribute: "app.version", op: "semverLt", values: ["2.4.0"] } }] }, serve: { split: { by: "targetingKey", weights: [{ variant: "on", ppm: 100_000 }, { variant: "off", ppm: 900_000 }] } }, notAfter: new Date(Date.now() + 3_600_000).toISOString() },
  ] });
  await put("development", "payments.checkout.new-flow", { default: { variant: "on" } });
  await put("production", "platform.api.rate-limits", { rules: [{ id: "gold", if: { attribute: "plan", op: "in", values: ["gold"] }, serve: { variant: "on" } }] });
  await put("production", "growth.signup.short-form", { default: { split: { by: "targetingKey", weights: [{ variant: "on", ppm: 500_000 }, { variant: "off", ppm: 500_000 }] } } });
  await put("production", "payments.fraud.strict-mode", {});
  await put("production", "platform.cache.read-through", { default: { variant: "on" } });
  await call("POST", "/api/v1/environments/production/flags/platform.cache.read-through/kill", { reason: "cache hits fell to nothing" });
  await call("POST", "/api/v1/tokens", { kind: "agent", name: "release bot", actor: "agent:release-bot", onBehalfOf: "user:ann", envelope: { flags: ["growth.*"], environments: ["production"], maxPpm: 50_000, maxMinutesPerExposure: 60, maxConcurrentRollouts: 2, maxRiskTier: "medium", changesPerHour: 20 }, reason });
  await call("POST", "/api/v1/webhooks", { key: "payments-alerts", kind: "generic", url: "https://hooks.example.com/flyball", secret: "a secret of the stage", flags: ["payments.*"], enabled: false, reason });
  await crowd(call);
}

// crowd tells of users, so that the effect of a change can be previewed.
async function crowd(call) {
  await call("PUT", "/api/v1/environments/production", { protected: true, sampleAttributes: ["country", "plan", "group", "app"], reason: "previews by country and plan" });
  const { secret } = await call("POST", "/api/v1/tokens", { kind: "sdk", name: "payments", environment: "production", reason: "a service" });
  const now = Date.now(), countries = ["CA", "US", "DE", "FR", "JP"], plans = ["free", "free", "pro", "gold"];
  let seq = 0;
  const tell = (more) => call("POST", "/sdk/v1/telemetry", { batch: crypto.randomUUID(), seq: ++seq, sentAt: new Date().toISOString(), dropped: { exposures: 0, observations: 0 }, instance: { id: "payments-1", service: "payments", version: "3.2.0", sdk: "go/1" }, applied: { epoch: 1, version: 1 }, errors: [], exposures: [], observations: [], contexts: [], counts: [], unknownFlags: [], ...more }, secret);
  while (!(await tell({})).sample?.attributes?.includes("app")) await new Promise((resolve) => setTimeout(resolve, 500)); // until it is asked for
  const contexts = Array.from({ length: 1600 }, (_, i) => ({ t: new Date(now - i * 300).toISOString(), unit: `buyer-${i}`, attributes: { country: countries[(i * 7) % 5], plan: plans[(i * 11) % 4], group: i % 40 === 0 ? "staff" : "customers", app: { version: i % 3 === 0 ? "2.5.1" : "2.3.9" } } }));
  const counts = ["payments.checkout.new-flow", "payments.fraud.strict-mode", "growth.signup.short-form", "platform.cache.read-through"].map((flag) => ({ flag, variant: "off", n: 500, from: new Date(now - 60_000).toISOString(), to: new Date(now).toISOString() }));
  for (let i = 0; i < contexts.length; i += 100) await tell({ contexts: contexts.slice(i, i + 100), counts: i === 0 ? counts : [], leaving: i + 100 >= contexts.length });
}
