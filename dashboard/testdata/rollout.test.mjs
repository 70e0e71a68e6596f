// A rollout in a real Chromium: planned with what is expected of it, watched,
// steered, and read afterwards.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { apply, boolean, launch, serve, silent, telemetry, usable } from "./harness.mjs";

let place, browser;

before(async () => {
  [place, browser] = await Promise.all([serve(), launch()]);
  await place.call("POST", "/api/v1/metrics", { key: "shop.errors", type: "rate", better: "lower", analysis: "request", reason: "a test" });
});

after(async () => {
  await browser?.close();
  await place?.stop();
});

const signed = (t, at, { token = place.token, ...options } = {}) => silent(t, browser, { url: place.url, token }, at, options);

async function flag(key) {
  await place.call("POST", "/api/v1/flags", boolean(key));
  await place.call("POST", `/api/v1/environments/production/flags/${key}/enable`, { reason: "a test" });
}

const start = (key, more = {}) => place.call("POST", "/api/v1/rollouts", { flag: key, environment: "production", treatment: "on", control: "off", steps: [{ ppm: 100_000, hold: "1s" }, { ppm: 500_000, hold: "2h" }, { ppm: 1_000_000, hold: "2h" }], reason: "a test", ...more });
// climb tells of users until the first step is over.
async function climb(rollout) {
  const send = await telemetry(place, rollout, "shop.errors");
  for (let i = 0; i < 40; i++) {
    await send(1200, { treatment: 0, control: 0, version: rollout.steppedIn, share: 0.1 });
    await place.call("GET", `/api/v1/rollouts/${rollout.id}/await?for=step&timeout=1s`);
    if ((await rolloutOf(rollout.id)).at === 1) return;
  }
  assert.fail("it does not climb");
}

const rolloutOf = (id) => place.call("GET", `/api/v1/rollouts/${id}`);

test("a plan tells how long it takes, whom it reaches and what harm it finds, before it begins", async (t) => {
  await flag("plan.ahead");
  const page = await signed(t, "/rollouts/new?flag=plan.ahead&environment=production");
  await page.getByText("none: no guardrails").first().waitFor();
  await page.getByRole("button", { name: "Add a guardrail" }).click();
  await page.getByRole("cell", { name: "never" }).waitFor(); // nothing was observed of it yet
  await page.getByLabel("Users a day").fill("400000");
  await page.getByLabel("Requests a second").fill("50");
  await page.getByLabel("shop.errors: what it is now").fill("1");
  await page.getByText(/^about \d+ h/).first().waitFor();
  await page.getByText(/^\+[\d.]+ %$/).first().waitFor();
  await page.getByText(/shown healthy in/).first().waitFor();
  const whole = await page.getByText(/^about \d+ h/).first().textContent();
  await page.getByRole("button", { name: "quick" }).click();
  await page.waitForFunction((was) => !document.body.textContent.includes(was), whole);
  await page.getByLabel("Step 2: share").fill("0.5");
  await page.getByText("Shares must rise from step to step.").waitFor();
  assert.ok(await page.getByRole("button", { name: "Start…" }).isDisabled());
  await page.getByRole("button", { name: "usual" }).click();
  await page.getByRole("button", { name: "Patience, silence, budget…" }).click();
  await page.getByLabel("Users at most").fill("5000");
  await page.getByLabel("If evidence is thin for").fill("30m");
  await page.getByLabel("Guardrail 1: on each").fill("route");
  await usable(page);
  await page.getByRole("button", { name: "Start…" }).click();
  await apply(page, "Start", "with a plan");
  await page.getByText("Step 1 of 5: on at 1 %").waitFor();
  const made = (await place.call("GET", "/api/v1/rollouts?flag=plan.ahead")).rollouts[0];
  assert.deepEqual([made.budget, made.onUnsure, made.guardrails[0].by], [{ exposedUnits: 5000 }, { after: "30m", then: "hold" }, "route"]);
});

test("it is held, resumed, stepped back and aborted by hand", async (t) => {
  await flag("steer.me");
  const rollout = await start("steer.me"), { id } = rollout;
  const page = await signed(t, `/rollouts/${id}`);
  await page.getByText("Step 1 of 3: on at 10 %").waitFor();
  await climb(rollout);
  await page.getByText("Step 2 of 3: on at 50 %").waitFor();
  await page.getByRole("button", { name: "Hold", exact: true }).click();
  await apply(page, "Hold", "to look");
  await page.getByText("paused", { exact: true }).first().waitFor();
  assert.equal((await rolloutOf(id)).state, "paused");
  await page.getByRole("button", { name: "Resume", exact: true }).click();
  await apply(page, "Resume", "looked");
  await page.getByText("running", { exact: true }).first().waitFor();
  await page.getByRole("button", { name: "Step back" }).click();
  await page.getByRole("dialog").getByText("on: 50 % → 10 %").or(page.getByRole("dialog").getByText("rollout: on 50 % → 10 %")).first().waitFor();
  await apply(page, "Step back", "half is too many");
  await page.getByText("Step 1 of 3: on at 10 %").waitFor();
  await page.getByText("Held by a person").waitFor();
  const back = await rolloutOf(id);
  assert.deepEqual([back.state, back.at, back.why], ["paused", 0, "half is too many"]);
  assert.ok(await page.getByRole("button", { name: "Step back" }).isDisabled());
  await page.getByLabel("It is at its first step: to take it back from everybody, abort it.").waitFor();
  await usable(page);
  await page.getByRole("button", { name: "Abort" }).click();
  await apply(page, "Abort", "enough");
  await page.getByText("Taken back from everybody").waitFor();
  for (const action of ["rollout.start", "rollout.advance", "rollout.pause", "rollout.resume", "rollout.stepBack", "rollout.abort"]) await page.getByText(action, { exact: true }).first().waitFor();
});

test("charts grow as telemetry comes, and what is wrong with the data is told with a mend", async (t) => {
  await flag("watch.me");
  const rollout = await start("watch.me", { steps: [{ ppm: 500_000, hold: "2h" }, { ppm: 1_000_000, hold: "2h" }], guardrails: [{ metric: "shop.errors", margin: { relative: 0.05 } }] });
  const page = await signed(t, `/rollouts/${rollout.id}`);
  await page.getByText("Nothing heard yet").waitFor();
  const send = await telemetry(place, rollout, "shop.errors");
  await send(400, { treatment: 0.02, control: 0.02, version: rollout.steppedIn });
  await page.getByText("at least 100 treatment units in this step").waitFor();
  const exposed = () => page.locator("figure[aria-label^='Units exposed']").getAttribute("aria-label");
  await page.locator("figure[aria-label^='Units exposed']").waitFor();
  const before = await exposed();
  await send(400, { treatment: 0.02, control: 0.02, version: rollout.steppedIn });
  await page.waitForFunction((was) => document.querySelector("figure[aria-label^='Units exposed']").getAttribute("aria-label") !== was, before);
  for (const name of ["shop.errors: effect", "shop.errors: evidence", "Share", "Exposure"]) await page.getByRole("heading", { name, exact: true }).waitFor();
  await page.locator("figure[aria-label*='anytime-valid']").waitFor();
  const effect = page.getByRole("cell", { name: /^×[\d.]+ \([\d.e+]+ to [\d.e+]+\)/ });
  for (let i = 0; i < 20 && await effect.count() === 0; i++) await send(400, { treatment: 0.05, control: 0.05, version: rollout.steppedIn });
  await effect.waitFor();
  let evidence; // whoever comes later is told how it came about
  for (let i = 0; i < 20 && !(evidence?.course?.length > 1 && evidence.guardrails[0].course?.length > 0); i++) {
    await send(400, { treatment: 0.05, control: 0.05, version: rollout.steppedIn });
    evidence = (await rolloutOf(rollout.id)).evidence;
  }
  assert.ok(evidence.course.length > 1 && evidence.course.length <= 32 && evidence.guardrails[0].course.length > 0, JSON.stringify(evidence));
  const lopsided = page.getByText("the arms have not the sizes that they should");
  for (let i = 0; i < 30 && await lopsided.count() === 0; i++) {
    await send(600, { treatment: 0.02, control: 0.02, version: rollout.steppedIn, share: 0.1 }); // a half is meant
    await place.call("GET", `/api/v1/rollouts/${rollout.id}/await?for=verdict&timeout=1s`); // it must stay so for a while
  }
  await lopsided.waitFor();
  await page.getByText("it may not advance on these").waitFor();
  await usable(page);
});

test("a viewer watches, and is told why nothing can be done", async (t) => {
  await flag("only.watched");
  const { id } = await start("only.watched");
  await place.call("POST", "/api/v1/users", { id: "vic", name: "Vic", grants: [{ role: "viewer" }], reason: "a test" });
  const made = await place.call("POST", "/api/v1/tokens", { kind: "api", name: "vic", actor: "user:vic", reason: "a test" });
  const page = await signed(t, `/rollouts/${id}`, { token: made.secret });
  await page.getByText("Step 1 of 3: on at 10 %").waitFor();
  for (const name of ["Hold", "Step back", "Abort", "Kill"]) assert.ok(await page.getByRole("button", { name, exact: true }).isDisabled(), name);
  await page.getByLabel(/This takes the role editor/).first().waitFor();
});

test("a rollout is started, climbs into harm, and is seen to be struck down", async (t) => {
  await flag("shop.harm.shown");
  const page = await signed(t, "/rollouts/new?flag=shop.harm.shown&environment=production");
  const forecast = page.waitForResponse((r) => r.url().endsWith("/rollouts/plan") && r.request().postData()?.includes("shop.errors")); // which it is, before anybody starts it
  await page.getByRole("button", { name: "Add a guardrail" }).click();
  await forecast;
  await page.getByRole("button", { name: "Start…" }).click();
  await apply(page, "Start", "watch it fail");
  await page.getByText("Step 1 of 5: on at 1 %").waitFor();
  const id = /rollouts\/([0-9a-f]+)/.exec(page.url())[1];
  const rollout = await rolloutOf(id);
  const send = await telemetry(place, rollout, "shop.errors");
  const more = (async () => {
    for (let i = 0; i < 60; i++) {
      await send(400, { treatment: 0.9, control: 0.02, version: rollout.steppedIn, share: 0.01 });
      if ((await rolloutOf(id)).state === "aborted") return;
      await place.call("GET", `/api/v1/rollouts/${id}/await?for=end&timeout=300ms`);
    }
  })();
  await page.getByRole("heading", { name: "Exposure" }).waitFor();
  await page.getByText("Taken back from everybody").waitFor({ timeout: 60_000 });
  await page.getByText("rollout.abort").waitFor();
  assert.ok(await page.locator("figure canvas").count() >= 4);
  await more;
});
