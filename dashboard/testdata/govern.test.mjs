// Who may what, and who looked: policy, agents, approvals and the audit log, in a
// real Chromium against a real server.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { boolean, confirm, govern, person, refused, used, visits } from "./company.mjs";
import { launch, open, serve, telemetry, usable } from "./harness.mjs";

let place, browser, stage, signed;

before(async () => {
  [place, browser] = await Promise.all([serve(), launch()]);
  stage = await govern(place);
  signed = visits(browser, place);
});

after(async () => {
  await browser?.close();
  await place?.stop();
});

test("the policy is read as sentences, is told to be the one that Flyball comes with, and is changed by a form", async (t) => {
  const page = await signed(t, "/policy");
  await page.getByText("as Flyball comes").waitFor();
  const medium = page.getByRole("region", { name: "Approvals by risk" }).getByRole("row", { name: /medium/ });
  await medium.getByText("1 other person must approve").waitFor();
  await page.getByRole("link", { name: "Change the policy" }).click();
  await page.getByLabel("medium risk, by a guarded rollout").selectOption("1");
  await page.getByLabel("high risk, at once").selectOption("-1");
  await page.getByLabel("A request is good for").fill("2 days");
  await page.getByText("write 90m, 24h or 72h").waitFor();
  await page.getByLabel("A request is good for").fill("72h");
  await page.getByRole("button", { name: "Review and apply" }).click();
  await page.getByRole("dialog").getByText("high risk, at once: 2 other people must approve → never at once").waitFor();
  await confirm(page, "Apply", "we are careful");
  await page.getByText("your own").waitFor();
  await medium.getByText("1 other person must approve").nth(1).waitFor();
  const changed = await place.call("GET", "/api/v1/policy");
  assert.deepEqual([changed.approvals.high, changed.approvals.medium, changed.approvalTTL], [{ direct: -1, staged: 1 }, { direct: 1, staged: 1 }, "72h"]);
  assert.equal(changed.freezes.length, 1, "the freeze that stood there is gone");

  await page.getByRole("link", { name: "Change the policy" }).click();
  await page.getByRole("button", { name: "Put it back to that" }).click();
  await page.getByRole("button", { name: "Review and apply" }).click();
  await confirm(page, "Apply", "as it comes");
  await page.getByText("as Flyball comes").waitFor();
});

test("policy names the guardrails that count, by a form", async (t) => {
  await place.call("POST", "/api/v1/metrics", { key: "policy.errors", type: "rate", better: "lower", reason: "a test" });
  const page = await signed(t, "/policy?edit=1");
  await page.getByRole("button", { name: "+ guardrail" }).click();
  await page.getByText("Choose the metric that a guarded rollout must watch").waitFor();
  await page.getByLabel("Guardrail 1: metric").selectOption("policy.errors");
  await page.getByLabel("Guardrail 1: margin").fill("10");
  await usable(page);
  await page.getByRole("button", { name: "Review and apply" }).click();
  await page.getByRole("dialog").getByText("a guarded rollout watches policy.errors, at most 10 % worse, in every protected environment").waitFor();
  await confirm(page, "Apply", "errors matter");
  await page.getByText("A rollout counts as guarded only if it watches policy.errors, at most 10 % worse").waitFor();
  assert.deepEqual((await place.call("GET", "/api/v1/policy")).guardrails, [{ metric: "policy.errors", margin: { relative: 0.1 } }]);
  await page.getByRole("link", { name: "Change the policy" }).click();
  await page.getByRole("button", { name: "Remove guardrail 1" }).click();
  await page.getByRole("button", { name: "Review and apply" }).click();
  await page.getByRole("dialog").getByText("Fewer people look at some changes from now on").waitFor();
  await confirm(page, "Apply", "as it comes");
  await page.getByText("as Flyball comes").waitFor();
});

test("a freeze is planned by the reader's clock, holds raises, and is told on the first page", async (t) => {
  const page = await signed(t, "/policy?edit=1", { timezoneId: "America/New_York" });
  await page.getByText("by the clock of America/New_York").waitFor();
  await page.getByRole("button", { name: "+ freeze" }).click();
  await page.getByRole("button", { name: "Review and apply" }).isDisabled().then((is) => assert.ok(is));
  await page.getByText("Say of each freeze why nothing is raised").waitFor();
  await page.getByLabel("Freeze 2: from").fill("2026-01-01T07:30");
  await page.getByLabel("Freeze 2: to").fill("2036-01-01T07:30");
  await page.getByLabel("Freeze 2: why").fill("the books are closed");
  await page.getByRole("button", { name: "Review and apply" }).click();
  await confirm(page, "Apply", "the books");
  await page.getByText("frozen now").waitFor();
  const freeze = (await place.call("GET", "/api/v1/policy")).freezes[1];
  assert.deepEqual([freeze.from, freeze.to], ["2026-01-01T12:30:00Z", "2036-01-01T12:30:00Z"]);
  assert.match(await refused(stage.ann("PUT", `/api/v1/environments/production/flags/${stage.flag}/default`, { default: { variant: "on" }, reason: "now" })), /frozen until.*the books are closed/);
  await page.goto(`${place.url}/#/`);
  await page.getByText("Nothing is raised in protected environments").waitFor();
  await page.goto(`${place.url}/#/policy?edit=1`);
  await page.getByRole("button", { name: "Remove freeze 2" }).click();
  await page.getByRole("button", { name: "Review and apply" }).click();
  await confirm(page, "Apply", "they are open");
  await page.getByText("frozen now").waitFor({ state: "detached" });
});

describe("agents", () => {
  test("one is let in with an envelope, and what it uses of it is seen; beyond it, it asks and a person is told so", async (t) => {
    const page = await signed(t, "/agents");
    await page.getByRole("link", { name: "Let an agent in" }).click();
    await page.getByLabel("Name").fill("builder");
    await page.getByLabel("On behalf of").selectOption("user:dot");
    await page.getByRole("button", { name: "Trusted" }).click();
    await page.getByRole("button", { name: "Careful" }).click();
    await page.getByRole("combobox", { name: "Flags", exact: true }).fill("growth.*");
    await page.getByRole("combobox", { name: "Flags", exact: true }).press("Enter");
    await page.getByLabel("Largest share").fill("2");
    await page.getByLabel("Users in a rollout: no bound").check();
    await page.getByRole("complementary").getByText("shows 2 % of users something else at most, for 10 min at a time").waitFor();
    await page.getByRole("button", { name: "Review and create…" }).click();
    await page.getByRole("dialog").getByText("acts as agent:builder on behalf of user:dot, for 24 hours").waitFor();
    await confirm(page, "Create its token", "it builds");
    const secret = await page.getByText(/^fb_agent_/).first().textContent();
    await page.getByText("claude mcp add").waitFor();
    const made = (await place.call("GET", "/api/v1/agents")).agents.find((a) => a.name === "builder");
    assert.deepEqual(made.envelope, { flags: ["growth.*"], environments: ["production"], maxPpm: 20_000, maxMinutesPerExposure: 10, maxConcurrentRollouts: 1, maxUnitMinutesPerDay: 20_000, maxRiskTier: "low", changesPerHour: 6 });

    const key = "growth.banner.wide";
    await place.call("POST", "/api/v1/flags", { ...boolean(key, "growth-team", { kind: "release", riskTier: "low", expiresAt: "2030-01-01" }) });
    const agent = (method, path, body) => place.call(method, path, body, secret);
    const expose = (ppm, how = "") => agent("POST", `/api/v1/environments/production/flags/${key}/expose${how}`, { ppm, for: "2m", maxUnits: 100, reason: "a first look" });
    await place.call("POST", `/api/v1/environments/production/flags/${key}/enable`, { reason: "ready" });
    assert.match(await refused(expose(30_000)), /"limit":"maxPpm"/);
    await expose(10_000);
    const row = page.getByRole("listitem").filter({ hasText: "agent:builder" }).first();
    await row.getByText("1 of 6").waitFor();
    await row.getByText("1 of 1").waitFor();
    await page.getByRole("heading", { name: "What agents did lately" }).waitFor();

    const live = (await place.call("GET", "/api/v1/rollouts?live=true")).rollouts.find((r) => r.flag === key);
    await agent("POST", `/api/v1/rollouts/${live.id}/abort`, { reason: "seen enough" });
    await expose(30_000, "?propose=true");
    await page.goto(`${place.url}/#/approvals`);
    await page.getByRole("listitem").filter({ hasText: "an agent asks" }).getByRole("link").first().click();
    await page.getByText("Beyond the agent’s envelope").waitFor();
    await page.goto(`${place.url}/#/agents`);
    await page.getByRole("button", { name: "Revoke builder" }).click();
    await confirm(page, "Revoke", "it is done");
    assert.match(await refused(expose(1)), /unknown, expired or revoked/);
  });

  test("all are frozen in two clicks, and let go on", async (t) => {
    const page = await signed(t, "/agents");
    await page.getByRole("button", { name: "Freeze all agents" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Freeze them now" }).click();
    await page.getByText("All agents are read-only").waitFor();
    assert.match(await refused(place.call("POST", `/api/v1/flags`, boolean("shop.new.thing", "payments-team"), stage.shipper.secret)), /read-only/);
    await page.goto(`${place.url}/#/`);
    await page.getByText("All agents are read-only").waitFor();
    await page.goto(`${place.url}/#/agents`);
    await page.getByRole("button", { name: "Let them go on…" }).click();
    await confirm(page, "Let them go on", "it was a dashboard");
    await page.getByText("Agents may act").waitFor();
  });
});

describe("approvals", () => {
  test("each sees whose turn it is; nobody approves their own, and the button says why", async (t) => {
    const hers = await signed(t, "/approvals", { token: stage.ann.secret, expected: 409 });
    await hers.getByRole("heading", { name: "Waits for others" }).waitFor();
    await hers.goto(`${place.url}/#/approvals/${stage.waiting}`);
    const approve = hers.getByRole("button", { name: "Approve…" });
    await approve.waitFor();
    assert.ok(await approve.isDisabled());
    await hers.getByText("You proposed it, and nobody approves their own").waitFor();
    await hers.getByRole("button", { name: "Take it back…" }).waitFor();

    const cem = await person(place, "cem");
    const his = await signed(t, "/", { token: cem.secret });
    await his.getByRole("list", { name: "At a glance" }).getByText("wait for you").click();
    await his.getByRole("heading", { name: "Waits for you" }).waitFor();
    await his.getByRole("link", { name: "Change the default of payments.refunds.instant in production" }).click();
    await his.getByText("1 of 2").waitFor();
    await his.getByText("production: default: off → on").waitFor();
    await his.getByRole("button", { name: "Approve…" }).click();
    await confirm(his, "Approve", "support is right");
    await his.getByRole("button", { name: "Apply…" }).waitFor();
    await hers.getByRole("button", { name: "Apply…" }).click(); // she sees it without a reload
    await hers.getByRole("textbox", { name: "Reason" }).fill("both agree");
    await hers.getByRole("dialog").getByRole("button", { name: "Apply", exact: true }).click();
    // What the glass was broken for was edited since it was proposed.
    await hers.getByText("has been changed since it was proposed").waitFor();
  }, { timeout: 60_000 });

  test("a request is rejected and stays among those decided; a broken glass is reviewed by another", async (t) => {
    const flag = "payments.limits.higher";
    await place.call("POST", "/api/v1/flags", boolean(flag, "payments-team", { riskTier: "high" }));
    await place.call("POST", `/api/v1/environments/production/flags/${flag}/enable`, { reason: "a test" });
    await used(place, flag);
    await stage.ann("PUT", `/api/v1/environments/production/flags/${flag}/default?propose=true`, { default: { variant: "on" }, reason: "they ask for it" });
    const page = await signed(t, "/approvals", { token: stage.bea.secret });
    await page.getByRole("link", { name: `Change the default of ${flag} in production` }).click();
    await page.getByRole("button", { name: "Reject…" }).click();
    await confirm(page, "Reject", "after the audit");
    await page.getByText("rejected", { exact: true }).first().waitFor();
    await page.goto(`${place.url}/#/approvals?state=closed`);
    await page.getByRole("listitem").filter({ hasText: flag }).getByText("rejected").waitFor();

    await page.goto(`${place.url}/#/approvals`);
    await page.getByRole("heading", { name: "To be reviewed" }).waitFor();
    await page.getByRole("link", { name: "Change what is served by payments.refunds.instant in production" }).click();
    await page.getByText("The glass was broken").waitFor();
    await page.getByRole("button", { name: "Close the review…" }).click();
    await confirm(page, "Close it", "it was right");
    await page.getByText("The glass was broken").waitFor({ state: "detached" });
  });
});

describe("the audit log", () => {
  test("is narrowed by who, where and when, in an address that says so, and shows before and after", async (t) => {
    const page = await signed(t, "/audit", { timezoneId: "Asia/Kathmandu" });
    await page.getByLabel("Actor").fill("user:dot");
    await page.getByText("broken glass").waitFor();
    await page.getByText("user.create").waitFor({ state: "detached" });
    await page.getByLabel("Environment").selectOption("production");
    await page.getByLabel("From").fill("2026-01-01T05:45");
    await page.getByLabel("Until").fill("2100-01-01T05:45");
    assert.match(decodeURIComponent(page.url()), /actor=user:dot.*environment=production.*from=2026-01-01T00:00:00Z&to=2100-01-01T00:00:00Z/);
    await page.reload();
    const entry = page.getByRole("listitem").filter({ hasText: "broken glass" });
    await entry.getByRole("button", { name: /What entry/ }).click();
    await entry.getByText(/rule stuck added/).waitFor();
    await entry.getByRole("button", { name: "before and after" }).click();
    await entry.getByText('"stuck"').waitFor();
    const link = await entry.getByRole("link", { name: /^entry \d+$/ }).getAttribute("href");
    await page.getByLabel("Until").fill("2026-01-01T05:46");
    await page.getByText("No entry is like that").waitFor();
    await page.getByRole("button", { name: "Show all" }).click();
    await page.getByLabel("Action").selectOption("policy.*");
    await page.getByText("policy.update").first().waitFor();
    await page.getByText("token.create").waitFor({ state: "detached" });
    await page.locator("time").first().hover();
    await page.getByRole("tooltip").getByText(/ UTC$/).waitFor();
    await page.goto(place.url + "/" + link);
    await page.getByText(/rule stuck added/).waitFor();
  });

  test("proves itself, and is taken along as signed checkpoint and as export", async (t) => {
    const page = await signed(t, "/audit");
    await page.getByRole("button", { name: "Verify the log" }).click();
    await page.getByText("Intact.").waitFor();
    const proved = await place.call("GET", "/api/v1/audit/verify");
    await page.getByText(proved.hash).or(page.getByText(/entries are what was written/)).first().waitFor();
    const saved = async (button) => {
      const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: button }).click()]);
      return readFile(await download.path(), "utf8");
    };
    assert.ok(JSON.parse(await saved("Sign a checkpoint")).signature.length > 40);
    const lines = (await saved("Export all")).trim().split("\n");
    assert.equal(JSON.parse(lines[0]).seq, 1);
    assert.ok(lines.length >= proved.seq && lines.every((line) => JSON.parse(line).hash));
  });
});

test("a log that was edited behind the server's back says where", async (t) => {
  const other = await serve();
  t.after(() => other.stop());
  for (const key of ["a-team", "b-team", "c-team"]) await other.call("POST", "/api/v1/teams", { key, reason: "a test" });
  const edit = "import sqlite3, sys, glob\nc = sqlite3.connect(sys.argv[1])\nc.execute('DROP TRIGGER audit_no_update')\nassert c.execute(\"UPDATE audit SET body = replace(body, 'b-team', 'x-team') WHERE seq = 3\").rowcount == 1\nc.commit()";
  execFileSync("python3", ["-c", edit, join(other.folder, "flyball.db")]);
  const { page, context, trouble, go } = await open(browser, other);
  t.after(() => context.close());
  await go("/audit");
  await page.getByRole("button", { name: "Verify the log" }).click();
  await page.getByRole("alert").getByText("Entry 3 is edited").waitFor();
  await page.getByText("2 entries before it are what was written").waitFor();
  assert.deepEqual(trouble, []);
});

test("environments, segments, metrics and webhooks are defined on pages of their own", async (t) => {
  const page = await signed(t, "/environments?edit=%2B");
  await page.getByLabel("Key").fill("staging");
  await page.getByLabel("Protected").check();
  await page.getByRole("combobox", { name: "Attributes that previews know" }).fill("plan");
  await page.getByRole("combobox", { name: "Attributes that previews know" }).press("Enter");
  await page.getByRole("button", { name: "Create…" }).click();
  await confirm(page, "Create", "a rehearsal");
  await page.getByRole("row", { name: /staging/ }).getByText("protected").waitFor();
  const staging = await place.call("GET", "/api/v1/environments/staging");
  assert.deepEqual([staging.protected, staging.sampleAttributes], [true, ["plan"]]);
  await page.getByRole("button", { name: "Edit staging" }).click();
  await page.getByLabel("Protected").uncheck();
  await page.getByRole("button", { name: "Review and apply" }).click();
  await page.getByRole("dialog").getByText("Nobody has to look at any change there").waitFor();
  await confirm(page, "Apply", "nobody is there");

  await page.goto(`${place.url}/#/segments?edit=%2B`);
  await page.getByLabel("Key").fill("beta-testers");
  await page.getByLabel("Owner").selectOption("growth-team");
  await page.getByLabel("Always in (0)").fill("user-1\nuser-2");
  await page.getByRole("button", { name: "Create…" }).click();
  await confirm(page, "Create", "the first testers");
  await page.getByRole("row", { name: /beta-testers/ }).waitFor();

  await page.goto(`${place.url}/#/metrics?edit=%2B`);
  await page.getByLabel("Key").fill("checkout.errors");
  await page.getByRole("button", { name: "Create…" }).click();
  await confirm(page, "Create", "to guard it");
  await page.getByRole("row", { name: /checkout.errors/ }).waitFor();

  await page.goto(`${place.url}/#/webhooks?edit=%2B`);
  await page.getByLabel("Key").fill("growth-alerts");
  await page.getByLabel("Address").fill("https://hooks.example.com/T000/B000");
  await page.getByLabel("It is told").uncheck();
  await page.getByRole("button", { name: "Create…" }).click();
  await confirm(page, "Create", "the channel");
  await page.getByRole("row", { name: /growth-alerts/ }).getByText("off", { exact: true }).waitFor();
});

test("the fleet tells who runs what, and who is behind; one that is gone is declared so", async (t) => {
  const page = await signed(t, "/fleet");
  const behind = page.getByRole("region", { name: "Laggards in production" }).getByRole("row", { name: new RegExp(`stage-${stage.flag}`) });
  await behind.getByText("v1").waitFor();
  await page.getByRole("region", { name: "Programs in production" }).getByRole("row", { name: /stage/ }).getByText(/v1 ×/).waitFor();
  await behind.getByRole("button", { name: /gone/ }).click();
  await confirm(page, "Forget it", "the node was taken down");
  await behind.waitFor({ state: "detached" });
});

test("a metric tells what it is worth in a live rollout", async (t) => {
  const flag = "shop.metric.live";
  await place.call("POST", "/api/v1/flags", boolean(flag, "payments-team"));
  await place.call("POST", `/api/v1/environments/production/flags/${flag}/enable`, { reason: "a test" });
  await place.call("POST", "/api/v1/metrics", { key: "shop.failures", type: "rate", better: "lower", analysis: "request", reason: "a test" });
  const rollout = await place.call("POST", "/api/v1/rollouts", { flag, environment: "production", treatment: "on", control: "off", steps: [{ ppm: 500_000, hold: "1h" }], guardrails: [{ metric: "shop.failures", margin: { relative: 5 } }], reason: "a test" });
  const send = await telemetry(place, rollout, "shop.failures");
  await send(200, { treatment: 0, control: 0, version: rollout.steppedIn });
  const page = await signed(t, "/metrics");
  await page.getByRole("row", { name: /shop.failures/ }).getByText("0 % against 0 %").waitFor();
  await page.getByRole("link", { name: "shop.failures", exact: true }).click();
  await page.getByRole("complementary").getByText(flag).waitFor();
  await place.call("POST", `/api/v1/rollouts/${rollout.id}/abort`, { reason: "a test" });
});
