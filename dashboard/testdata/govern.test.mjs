// Who may what, and who looked: people, teams, policy, agents, approvals and the
// audit log, in a real Chromium against a real server.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";

import { AxeBuilder } from "@axe-core/playwright";

import { launch, open, serve, telemetry } from "./harness.mjs";
import { boolean, envelope, govern, person, used } from "./company.mjs";

let place, browser, stage;

before(async () => {
  [place, browser] = await Promise.all([serve(), launch()]);
  stage = await govern(place);
});

after(async () => {
  await browser?.close();
  await place?.stop();
});

// signed gives a page of somebody who is signed in. It must stay silent: no
// error, and no request to anybody else. Where a refusal is meant, expected is
// its status, of which the browser itself complains.
async function signed(t, at, { token = place.token, expected, ...options } = {}) {
  const opened = await open(browser, { url: place.url, token }, options);
  t.after(async () => {
    await opened.context.close();
    assert.deepEqual(opened.trouble.filter((line) => !expected || !line.includes(`status of ${expected}`)), []);
  });
  await opened.go(at);
  return opened.page;
}

const confirm = async (page, verb, reason) => {
  await page.getByRole("textbox", { name: "Reason" }).fill(reason);
  await page.getByRole("dialog").getByRole("button", { name: verb, exact: true }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
};
const user = async (id) => place.call("GET", `/api/v1/users/${id}`);
const refused = async (work) => {
  const error = await work.then(() => assert.fail("it was allowed"), (e) => e);
  return String(error.message);
};

describe("people", () => {
  test("somebody is added, comes in by a link, changes their password, and is shut out", async (t) => {
    const page = await signed(t, "/people");
    await page.getByRole("link", { name: "Add somebody" }).click();
    await page.getByLabel("Sign-in name").fill("gus");
    await page.getByLabel("Name", { exact: true }).fill("Gus Haley");
    await page.getByRole("button", { name: "+ role" }).click();
    await page.getByLabel("Role 1: team").selectOption("payments-team");
    await page.getByRole("button", { name: "Add…" }).click();
    await page.getByRole("dialog").getByText("may be editor of payments-team").waitFor();
    await confirm(page, "Add", "he joins");
    await page.getByRole("heading", { name: "Gus Haley" }).waitFor();
    assert.deepEqual((await user("gus")).grants, [{ role: "editor", team: "payments-team" }]);

    await page.getByRole("button", { name: "Invite by a link…" }).click();
    await confirm(page, "Make the link", "his first password");
    const link = await page.getByText(/#\/setup\?token=/).textContent();
    await page.goto(link); // whoever makes it is signed in, and must not use it up
    await page.getByRole("heading", { name: "You are signed in as admin" }).waitFor();

    const { page: his, context } = await open(browser, { url: place.url });
    t.after(() => context.close());
    await his.goto(link);
    await his.getByLabel("Password").first().fill("a sentence of his own");
    await his.getByRole("button", { name: "Set the password" }).click();
    await his.getByRole("heading", { name: "Home", exact: true }).waitFor();
    await his.getByRole("link", { name: /gus: your account/ }).click();
    await his.getByText("of payments-team").waitFor();
    await his.getByLabel("As it is", { exact: true }).fill("a sentence of his own");
    await his.getByLabel("As it is to be").fill("another sentence of his");
    await his.getByRole("button", { name: "Change it" }).click();
    await his.getByText("Your password is another now: sign in by it.").waitFor();
    await his.getByLabel("Name").fill("gus");
    await his.getByLabel("Password").first().fill("another sentence of his");
    await his.getByRole("button", { name: "Sign in", exact: true }).click();
    await his.getByRole("heading", { name: "gus" }).waitFor(); // where he was

    await page.goto(`${place.url}/#/people/gus`);
    await page.getByRole("button", { name: "Disable…" }).click();
    await confirm(page, "Disable", "he leaves");
    await page.getByText("disabled", { exact: true }).first().waitFor();
    await his.getByText("You were signed out").waitFor();
    await page.getByRole("button", { name: "Let them in again…" }).click();
    await confirm(page, "Let them in", "he is back");
    assert.equal((await user("gus")).disabled, undefined);
  });

  test("roles are changed, and what they are is told", async (t) => {
    const page = await signed(t, "/people/finn?edit=1");
    await page.getByLabel("Role 1", { exact: true }).selectOption("approver");
    await page.getByRole("button", { name: "+ role" }).click();
    await page.getByLabel("Role 2", { exact: true }).selectOption("admin");
    await page.getByText("runs the installation").first().waitFor();
    await page.getByLabel("Role 2: environment").selectOption("development");
    await page.getByRole("button", { name: "Review and apply" }).click();
    for (const line of ["may be approver in development", "may be admin in development", "is no longer editor in development"]) await page.getByRole("dialog").getByText(line).waitFor();
    await confirm(page, "Apply", "he takes over");
    assert.deepEqual((await user("finn")).grants, [{ role: "approver", environment: "development" }, { role: "admin", environment: "development" }]);
  });

  test("who was quicker is told of, and what was written stays on top of theirs", async (t) => {
    const page = await signed(t, "/people/bea?edit=1", { expected: 409 });
    await page.getByLabel("Address").fill("bea@example.com");
    const { grants, name } = await user("bea");
    await place.call("PUT", "/api/v1/users/bea", { name: `${name}, M.Sc.`, grants, reason: "she graduated" });
    await page.getByRole("button", { name: "Review and apply" }).click();
    await page.getByRole("textbox", { name: "Reason" }).fill("another address");
    await page.getByRole("dialog").getByRole("button", { name: "Apply", exact: true }).click();
    await page.getByRole("button", { name: "Look at it again, and keep what I wrote" }).click();
    await page.waitForFunction(() => [...document.querySelectorAll("input")].some((i) => i.value === "Bea Lindqvist, M.Sc."));
    assert.equal(await page.getByLabel("Address").inputValue(), "bea@example.com");
    await page.getByRole("button", { name: "Review and apply" }).click();
    await confirm(page, "Apply", "another address");
    await page.getByText("bea@example.com").waitFor();
    assert.equal((await user("bea")).name, "Bea Lindqvist, M.Sc."); // theirs, which was not touched here
  });

  test("what is refused leaves what was written", async (t) => {
    const page = await signed(t, "/people/new", { expected: 409 });
    await page.getByLabel("Sign-in name").fill("ann");
    await page.getByLabel("Name", { exact: true }).fill("Ann the Second");
    await page.getByRole("button", { name: "Add…" }).click();
    await page.getByRole("textbox", { name: "Reason" }).fill("again");
    await page.getByRole("dialog").getByRole("button", { name: "Add", exact: true }).click();
    await page.getByRole("dialog").getByRole("alert").waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    assert.equal(await page.getByLabel("Name", { exact: true }).inputValue(), "Ann the Second");
  });
});

test("a team is made, gets a member, and loses them", async (t) => {
  const page = await signed(t, "/teams");
  await page.getByRole("link", { name: "Create a team" }).click();
  await page.getByLabel("Key").fill("search-team");
  await page.getByLabel("Name").fill("Search");
  await page.getByLabel("Contact").fill("#search");
  await page.getByRole("button", { name: "Create…" }).click();
  await confirm(page, "Create", "a new team");
  await page.getByRole("heading", { name: "Search", exact: true }).waitFor();
  await page.getByText("Nobody has a role here alone yet.").waitFor();
  await page.getByLabel("Who").selectOption("user:cem");
  await page.getByLabel("Where").selectOption("production");
  await page.getByRole("button", { name: "Add a member…" }).click();
  await page.getByRole("dialog").getByText("may be editor of search-team in production").waitFor();
  await confirm(page, "Apply", "he writes the search");
  await page.getByRole("region", { name: "Members" }).getByText("Cem Yıldız").waitFor();
  assert.deepEqual((await user("cem")).grants, [{ role: "approver" }, { role: "editor", environment: "production", team: "search-team" }]);
  await page.getByRole("button", { name: "Take editor from user:cem" }).click();
  await confirm(page, "Apply", "he is back at approving");
  await page.getByText("Nobody has a role here alone yet.").waitFor();
  assert.deepEqual((await user("cem")).grants, [{ role: "approver" }]);
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
    await page.getByLabel("Action").selectOption("policy.");
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

test("who only looks sees why each door is shut, and is asked for nothing that the server refuses", async (t) => {
  await place.call("POST", "/api/v1/users", { id: "vic", name: "Vic", reason: "a test" });
  const vic = await person(place, "vic");
  const page = await signed(t, "/teams", { token: vic.secret });
  for (const [at, button] of [["/teams", "Create a team"], ["/policy", "Change the policy"], ["/agents", "Freeze all agents"], ["/environments", "Create an environment"], ["/segments", "Create a segment"], ["/metrics", "Create a metric"]]) {
    await page.goto(`${place.url}/#${at}`);
    const door = page.getByRole("button", { name: button }).first();
    await door.waitFor();
    assert.ok(await door.isDisabled(), at);
    await door.locator("..").hover();
    await page.getByRole("tooltip").getByText(/This takes the role|Those who run the installation/).first().waitFor();
    await page.mouse.move(0, 0);
    await page.getByRole("tooltip").waitFor({ state: "detached" });
  }
  for (const at of ["/people", "/tokens", "/webhooks"]) {
    await page.goto(`${place.url}/#${at}`);
    await page.getByText("Those who run the installation do this, and you are none of them.").waitFor();
  }
  await page.goto(`${place.url}/#/account`);
  await page.getByText("ask an administrator for a role").waitFor();
});

test("tokens are made with roles, and revoked; the secret is shown once", async (t) => {
  const page = await signed(t, "/tokens?edit=%2B");
  await page.getByText("a person or a script", { exact: true }).click();
  await page.getByLabel("Name").fill("deploys of growth");
  await page.getByText("bounded by nothing").waitFor();
  await page.getByRole("button", { name: "+ role" }).click();
  await page.getByLabel("Role 1: team").selectOption("growth-team");
  await page.getByRole("button", { name: "Review and create…" }).click();
  await page.getByRole("dialog").getByText("acts as service:deploys-of-growth").waitFor();
  await confirm(page, "Create", "a pipeline");
  const secret = await page.getByText(/^fb_api_/).textContent();
  await place.call("GET", "/api/v1/flags", undefined, secret);
  await page.getByRole("button", { name: "Revoke deploys of growth" }).click();
  await confirm(page, "Revoke", "it is done");
  await page.getByRole("button", { name: "Revoke deploys of growth" }).waitFor({ state: "detached" });
  await page.getByText("Revoked or over").click();
  await page.getByRole("row", { name: /deploys of growth/ }).getByText("revoked").waitFor();
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

test("a new installation shows the way in, and the first link makes the first account", async (t) => {
  const fresh = await serve();
  t.after(() => fresh.stop());
  const { page, context, trouble } = await open(browser, { url: fresh.url });
  t.after(() => context.close());
  await page.goto(fresh.link);
  await page.getByLabel("Your name").fill("ann");
  await page.getByLabel("Password").first().fill("a sentence that is long enough");
  await page.getByRole("button", { name: "Make the first account" }).click();
  await page.getByRole("heading", { name: "The way in" }).waitFor();
  for (const step of ["Create the first", "Make a token", "Create a metric", "Start a rollout"]) await page.getByRole("link", { name: step }).first().waitFor();
  await page.goto(`${fresh.url}/#/people`);
  await page.getByRole("link", { name: "ann", exact: true }).click();
  await page.getByRole("button", { name: "Disable…" }).waitFor();
  assert.ok(await page.getByRole("button", { name: "Disable…" }).isDisabled());
  await fresh.call("POST", "/api/v1/users/ann/disable", { reason: "a test" });
  await page.getByText("You were signed out").waitFor();
  assert.deepEqual(trouble.filter((line) => !/status of 40[13]/.test(line)), []);
});

// Who signs in at a provider proves anew at the provider, in another tab, and
// goes on where they were.
test("the organisation's sign-in opens the page, and is asked again before something is approved", async (t) => {
  const folder = new URL("../../internal/api/testdata/oidc/", import.meta.url).pathname;
  if (!existsSync(`${folder}/node_modules`)) execFileSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], { cwd: folder });
  const provider = spawn("node", ["provider.mjs"], { cwd: folder, stdio: ["pipe", "pipe", "ignore"] });
  t.after(() => provider.stdin.end());
  const told = createInterface({ input: provider.stdout })[Symbol.asyncIterator]();
  const issuer = (await told.next()).value;
  const other = await serve({ args: ["--oidc-issuer", issuer, "--oidc-client-id", "flyball"], env: { FLYBALL_OIDC_CLIENT_SECRET: "the secret of a test" } });
  t.after(() => other.stop());
  provider.stdin.write(`${other.url}/auth/oidc/callback\n`);
  await told.next();

  const { page, context, trouble, go } = await open(browser, { url: other.url });
  t.after(() => context.close());
  const vouch = async (at) => {
    await at.locator("input[name=login]").fill("ann");
    await at.locator("input[name=password]").fill("any");
    await at.locator("button[type=submit]").click();
    const consent = at.getByRole("button", { name: "Continue" });
    await Promise.race([consent.click(), at.waitForURL(`${other.url}/**`)]);
    await at.waitForURL(`${other.url}/**`);
  };
  await go("/policy");
  await page.getByRole("link", { name: "Sign in with your organisation" }).click();
  await vouch(page);
  await page.getByRole("heading", { name: "Policy" }).waitFor(); // where she was going
  await page.getByRole("link", { name: /ann@example.com: your account/ }).click();
  await page.getByText("You last proved who you are never").waitFor();

  const id = "ann@example.com";
  await other.call("PUT", `/api/v1/users/${encodeURIComponent("user:" + id)}`, { ...(await other.call("GET", `/api/v1/users/${encodeURIComponent(id)}`)), version: undefined, createdAt: undefined, lastSeen: undefined, grants: [{ role: "admin" }], reason: "she runs it" });
  await page.getByRole("link", { name: "Sign in with your organisation" }).click(); // other grants end her sessions
  await page.waitForURL(`${other.url}/**`);
  await page.goto(`${other.url}/#/teams/new`);
  await page.getByLabel("Key").fill("proved-team");
  await page.getByRole("button", { name: "Create…" }).click();
  await page.getByRole("textbox", { name: "Reason" }).fill("a new team");
  await page.getByRole("dialog").getByRole("button", { name: "Create", exact: true }).click();
  await page.getByText("prove once more who you are").waitFor();
  const [tab] = await Promise.all([context.waitForEvent("page"), page.getByRole("link", { name: /With your organisation/ }).click()]);
  await vouch(tab);
  await tab.close();
  assert.equal(await page.getByRole("textbox", { name: "Reason" }).inputValue(), "a new team");
  await page.getByRole("dialog").getByRole("button", { name: "Create", exact: true }).click();
  await page.getByRole("heading", { name: "proved-team" }).waitFor();

  // With a password of her own she proves it in place.
  const link = await other.call("POST", `/api/v1/users/${encodeURIComponent("user:" + id)}/password`, { link: true, reason: "for when the provider is down" });
  const set = await fetch(`${other.url}/auth/setup`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token: new URLSearchParams(link.path.split("?")[1]).get("token"), password: "a sentence of her own" }) });
  assert.ok(set.ok, await set.text());
  await page.getByRole("link", { name: "Sign in with your organisation" }).click(); // another password ends her sessions
  await page.getByRole("heading", { name: "proved-team" }).waitFor();
  await page.getByRole("link", { name: "Edit" }).click();
  await page.getByLabel("Contact").fill("#proved");
  await page.getByRole("button", { name: "Review and apply" }).click();
  await page.getByRole("textbox", { name: "Reason" }).fill("where it is reached");
  await page.getByRole("dialog").getByRole("button", { name: "Apply", exact: true }).click();
  await page.getByRole("dialog").getByLabel("Password").first().fill("a sentence that is wrong");
  await page.getByRole("button", { name: "Prove it" }).click();
  await page.getByText("the name or the password is wrong").waitFor();
  await page.getByRole("dialog").getByLabel("Password").first().fill("a sentence of her own");
  await page.getByRole("button", { name: "Prove it" }).click();
  await page.getByText("prove once more who you are").waitFor({ state: "detached" });
  await page.getByRole("dialog").getByRole("button", { name: "Apply", exact: true }).click();
  await page.getByText("#proved").waitFor();
  assert.deepEqual(trouble.filter((line) => !line.includes(issuer) && !/status of 40[13]/.test(line) && !line.includes("fonts.g")), []);
});

test("every page is led to by keys and by the palette", async (t) => {
  const page = await signed(t, "/");
  await page.getByRole("heading", { name: "Home", exact: true }).waitFor();
  for (const [key, heading] of [["u", "People"], ["o", "Teams"], ["i", "Agents"], ["y", "Policy"], ["e", "Environments"], ["p", "Approvals"], ["h", "Home"]]) {
    await page.keyboard.press("g");
    await page.keyboard.press(key);
    await page.getByRole("heading", { name: heading, exact: true, level: 1 }).waitFor();
  }
  await page.keyboard.press("Control+k");
  await page.getByPlaceholder("Flags, rollouts, pages").fill("growth-team");
  await page.getByRole("option", { name: /Growth/ }).or(page.getByText("Growth", { exact: true })).first().waitFor();
  await page.getByPlaceholder("Flags, rollouts, pages").fill("freeze all");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Agents", exact: true }).waitFor();
});

const grave = async (page, at) => {
  const { violations } = await new AxeBuilder({ page }).setLegacyMode(true).analyze();
  assert.deepEqual(violations.filter((v) => ["serious", "critical"].includes(v.impact)).map((v) => `${v.id}: ${v.nodes[0].html} ${v.nodes[0].failureSummary}`), [], at);
};

for (const [look, options] of Object.entries({ light: {}, dark: { colorScheme: "dark" }, phone: { viewport: { width: 390, height: 844 } } })) {
  test(`the doors are open to everybody's eyes, ${look}`, async (t) => {
    const { page, context, trouble } = await open(browser, { url: place.url }, { reducedMotion: "reduce", ...options });
    t.after(() => context.close());
    await page.goto(place.url);
    await page.getByRole("button", { name: "Sign in", exact: true }).waitFor();
    await grave(page, "by name");
    await page.getByRole("button", { name: "Use a token instead" }).click();
    await page.getByRole("button", { name: "Open the dashboard" }).waitFor();
    await grave(page, "by token");
    await page.goto(`${place.url}/#/setup?token=0`);
    await page.reload();
    await page.getByRole("button", { name: "Set the password" }).waitFor();
    await grave(page, "by link");
    await page.getByLabel("Password").first().fill("a sentence that is long enough");
    await page.getByRole("button", { name: "Set the password" }).click();
    await page.getByRole("alert").getByText("the link was used, is over, or was never made").waitFor();
    assert.deepEqual(trouble.filter((line) => !line.includes("status of 403")), []);
  });
}

const pages = () => [
  "/", "/approvals", "/approvals?state=closed", `/approvals/${stage.waiting}`, "/audit", "/fleet", "/people", "/people/ann", "/people/new", "/people/ann?edit=1", "/teams", "/teams/payments-team", "/teams/new", "/agents", "/agents?edit=%2B",
  "/policy", "/policy?edit=1", "/environments", "/environments?edit=production", "/tokens", "/tokens?edit=%2B", "/webhooks", "/webhooks?edit=%2B", "/segments?edit=%2B", "/metrics?edit=%2B", "/account", "/setup?token=0",
];

for (const [look, options] of Object.entries({ light: {}, dark: { colorScheme: "dark" }, phone: { viewport: { width: 390, height: 844 } } })) {
  test(`axe finds nothing serious on any page of governance, and nothing is too wide, ${look}`, async (t) => {
    const page = await signed(t, "/", { reducedMotion: "reduce", ...options });
    for (const at of pages()) {
      await page.goto(`${place.url}/#${at}`);
      await page.waitForFunction((hash) => location.hash === hash, `#${at}`);
      await page.locator("#main .card").first().waitFor();
      await page.waitForFunction(() => !document.querySelector("#main [aria-busy]"));
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${at} is ${wide} pixels too wide`);
      await grave(page, at);
    }
  });
}
