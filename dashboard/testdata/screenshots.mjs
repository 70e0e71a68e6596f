// A picture of each page, light, dark and on a phone, of a real demonstration:
// npm run screenshots. Names given as arguments narrow it to some pages.
import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { createInterface } from "node:readline";

import { govern } from "./company.mjs";
import { launch, open, program } from "./harness.mjs";

const folder = process.env.IMAGES ?? new URL("../../docs/images/", import.meta.url).pathname;
const wanted = process.argv.slice(2);

// demo starts the demonstration, and waits until the bad feature is being judged.
async function demo() {
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

async function furnish({ call }) {
  const reason = "set the stage";
  const soon = new Date(Date.now() + 9 * 86_400_000).toISOString().slice(0, 10), later = new Date(Date.now() + 70 * 86_400_000).toISOString().slice(0, 10);
  for (const [key, name, contact] of [["payments-team", "Payments", "#payments"], ["growth-team", "Growth", "#growth"], ["platform-team", "Platform", "#platform"]]) await call("POST", "/api/v1/teams", { key, name, contact, reason });
  await call("POST", "/api/v1/segments", { key: "staff", owner: "platform-team", description: "People who work here", if: { attribute: "email", op: "endsWith", values: ["@shop.example"] }, reason });
  await call("POST", "/api/v1/segments", { key: "beta-testers", owner: "growth-team", description: "Who asked to see things early", include: ["user-12", "user-77", "user-1041"], reason });
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
}

// struck looks on while the bad feature climbs until it is taken back.
async function struck(place) {
  const made = await place.call("POST", "/api/v1/rollouts", { flag: "shop.search.new-ranking", environment: "production", treatment: "on", control: "off", steps: [{ ppm: 20_000, hold: "20s" }, { ppm: 200_000, hold: "20s" }, { ppm: 500_000, hold: "20s" }, { ppm: 1_000_000, hold: "20s" }], guardrails: [{ metric: "shop.search.errors", margin: { relative: 0.05 } }], onUnsure: { after: "20s", then: "advance" }, reason: "a better order of results" });
  const { page, context, go } = await open(browser, place, { viewport: { width: 1280, height: 860 } });
  await go(`/rollouts/${made.id}`);
  await page.getByText("Taken back from everybody").waitFor({ timeout: 120_000 });
  await page.getByText("rollout.abort").waitFor();
  await page.waitForTimeout(1500);
  await page.screenshot({ path: `${folder}/rollout-struck-light.png`, fullPage: true });
  await context.close();
}

const place = await demo();
const browser = await launch();
await mkdir(folder, { recursive: true });
try {
  await furnish(place);
  const { waiting } = await govern(place);
  const rollouts = (await place.call("GET", "/api/v1/rollouts")).rollouts;
  const good = rollouts.find((r) => r.flag === "shop.checkout.retry-payments"), bad = rollouts.find((r) => r.flag === "shop.search.new-ranking");
  const flag = "payments.checkout.new-flow";
  if (wanted.length === 0 || wanted.includes("rollout-struck")) await struck(place);
  // One that stands still at a step, with the shop's live traffic.
  const live = await place.call("POST", "/api/v1/rollouts", { flag: "shop.search.new-ranking", environment: "production", treatment: "on", control: "off", steps: [{ ppm: 20_000, hold: "30m" }, { ppm: 200_000, hold: "1h" }, { ppm: 500_000, hold: "4h", gates: [{ approval: 1 }] }, { ppm: 1_000_000, hold: "24h" }], guardrails: [{ metric: "shop.search.errors", margin: { relative: 0.05 } }], reason: "the backend has more room now" }).catch((e) => console.error(String(e)));
  const pages = {
    home: ["/"], flags: ["/flags"], flag: [`/flags/${flag}`], "flag-rule": [`/flags/${flag}`, async (p) => { await p.getByRole("button", { name: "Edit rule canada-tenth" }).click(); }],
    "flag-try": [`/flags/${flag}?tab=try&context=${encodeURIComponent('{"targetingKey":"user-12","country":"CA"}')}`], "flag-history": [`/flags/${flag}?tab=history`, async (p) => { await p.getByRole("button", { name: /What entry/ }).first().click(); }],
    "flag-definition": [`/flags/${flag}?tab=details`], "flag-kill": [`/flags/${flag}`, async (p) => { await p.getByRole("button", { name: "Kill in production" }).click(); await p.getByRole("button", { name: "Kill now" }).waitFor(); }],
    "new-flag": ["/flags/new"], rollouts: ["/rollouts"], "rollout-live": [`/rollouts/${live?.id ?? good.id}`, async (p) => { await p.waitForTimeout(12_000); }], "rollout-aborted": [`/rollouts/${bad.id}`], "new-rollout": [`/rollouts/new?flag=${flag}&environment=production`, async (p) => { await p.getByRole("button", { name: "Add a guardrail" }).click(); }],
    approvals: ["/approvals"], approval: [`/approvals/${waiting}`], audit: ["/audit", async (p) => { await p.getByRole("button", { name: "Verify the log" }).click(); await p.getByText("Intact.").waitFor(); }], fleet: ["/fleet"], segments: ["/segments"], segment: ["/segments?edit=staff"], metrics: ["/metrics"], metric: ["/metrics?edit=%2B"], tokens: ["/tokens"], webhooks: ["/webhooks"],
    people: ["/people"], person: ["/people/ann"], "new-person": ["/people/new"], teams: ["/teams"], team: ["/teams/payments-team"], agents: ["/agents"], "new-agent": ["/agents?edit=%2B"], policy: ["/policy"], "policy-edit": ["/policy?edit=1"], environments: ["/environments"], account: ["/account"],
    palette: ["/", async (p) => { await p.keyboard.press("Control+k"); await p.getByPlaceholder("Flags, rollouts, pages").fill("pay"); }], keys: ["/", async (p) => { await p.keyboard.press("Escape"); await p.waitForTimeout(500); await p.keyboard.press("?"); }],
  };
  const looks = process.env.LOOKS?.split(",");
  for (const [look, options] of Object.entries({ light: { colorScheme: "light" }, dark: { colorScheme: "dark" }, phone: { colorScheme: "light", viewport: { width: 390, height: 844 } } })) {
    if (looks && !looks.includes(look)) continue;
    const { page, context, go, trouble } = await open(browser, place, { viewport: { width: 1280, height: 860 }, ...options });
    for (const [name, [at, act]] of Object.entries(pages)) {
      if (wanted.length > 0 && !wanted.includes(name)) continue;
      if (wanted.length === 0 && look === "dark" && ["palette", "keys", "segment", "metric"].includes(name)) continue;
      await go("/blank-between");
      await go(at);
      await page.locator("main h1").first().waitFor();
      await page.waitForTimeout(900);
      await act?.(page);
      await page.waitForTimeout(500);
      await page.screenshot({ path: `${folder}/${name}-${look}.png`, fullPage: name.includes("rollout") });
    }
    if (trouble.length > 0) console.error(look, trouble);
    await context.close();
  }
  const { page, context } = await open(browser, { url: place.url }, { viewport: { width: 900, height: 640 } });
  await page.goto(place.url);
  await page.getByLabel("Password").first().waitFor();
  await page.screenshot({ path: `${folder}/sign-in-light.png` });
  await context.close();
} finally {
  await browser.close();
  await place.stop();
}
