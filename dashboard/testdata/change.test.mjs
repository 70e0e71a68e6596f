// What a person does with a flag: create it, change what it serves, kill it, and
// see what others do meanwhile.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { apply, boolean, launch, open, serve, silent, telemetry } from "./harness.mjs";

let place, browser;
const signed = (t, at, options, expected) => silent(t, browser, place, at, options, expected);

before(async () => {
  [place, browser] = await Promise.all([serve(), launch()]);
});

after(async () => {
  await browser?.close();
  await place?.stop();
});

test("create a flag, build a nested rule, apply it, and OFREP serves it", async (t) => {
  const page = await signed(t, "/flags");
  await page.getByRole("link", { name: "Create a flag" }).click();
  await page.getByLabel("Key").fill("shop.search.ranked");
  await page.getByText("ops", { exact: true }).click();
  await page.getByLabel("Owner").selectOption("default");
  await page.getByRole("button", { name: "Create…" }).click();
  await apply(page, "Create", "try a better order");
  await page.getByRole("heading", { name: "shop.search.ranked" }).waitFor();
  await page.getByLabel("Disabled: everybody gets the off variant").check();
  await page.getByRole("button", { name: "Add a rule" }).click();
  await page.getByLabel("Rule rule-1, part 1: attribute").fill("plan");
  await page.getByRole("combobox", { name: "Rule rule-1, part 1: values" }).fill("pro");
  await page.getByRole("combobox", { name: "Rule rule-1, part 1: values" }).press("Enter");
  await page.getByRole("button", { name: "Add a group to Rule rule-1", exact: true }).click();
  const inner = "Rule rule-1, part 2, part 1";
  await page.getByLabel(`${inner}: attribute`).fill("app.version");
  await page.getByLabel(`${inner}: operator`).selectOption("semverGte");
  await page.getByRole("combobox", { name: `${inner}: values` }).fill("2.0.0");
  await page.getByRole("combobox", { name: `${inner}: values` }).press("Enter");
  await page.getByRole("button", { name: "Add a test to Rule rule-1, part 2" }).click();
  await page.getByLabel("Rule rule-1, part 2, part 2: attribute").fill("age");
  await page.getByLabel("Rule rule-1, part 2, part 2: operator").selectOption("gt");
  await page.getByRole("combobox", { name: "Rule rule-1, part 2, part 2: values" }).fill("17");
  await page.getByRole("combobox", { name: "Rule rule-1, part 2, part 2: values" }).press("Enter");
  await page.getByRole("button", { name: "Rule rule-1, part 2, part 2: more" }).click();
  await page.getByRole("menuitem", { name: "negate" }).click();
  await page.getByRole("button", { name: "Review and apply" }).click();
  await page.getByRole("dialog").getByText("if plan is “pro” and (app.version is at least version “2.0.0” or not (age > 17)): on").waitFor();
  await apply(page, "Apply", "grown-ups on new apps first");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  const { environments } = await place.call("GET", "/api/v1/flags/shop.search.ranked");
  assert.deepEqual(environments.production.rules[0].if, {
    all: [{ attribute: "plan", op: "in", values: ["pro"] }, { any: [{ attribute: "app.version", op: "semverGte", values: ["2.0.0"] }, { not: { attribute: "age", op: "gt", values: [17] } }] }],
  });
  const sdk = (await place.call("POST", "/api/v1/tokens", { kind: "sdk", name: "shop", environment: "production", reason: "a test" })).secret;
  const ask = (context) => place.call("POST", "/ofrep/v1/evaluate/flags/shop.search.ranked", { context }, sdk);
  const [yes, no] = [await ask({ targetingKey: "u", plan: "pro", app: { version: "2.1.0" }, age: 30 }), await ask({ targetingKey: "u", plan: "pro", app: { version: "1.0.0" }, age: 30 })];
  assert.deepEqual([yes.value, yes.reason, no.value], [true, "TARGETING_MATCH", false]);

  await page.getByRole("tab", { name: "Who gets what" }).click();
  await page.getByLabel("Context, as JSON").fill('{"targetingKey":"u","plan":"pro","app":{"version":"2.1.0"}}');
  await page.getByRole("button", { name: "Evaluate" }).click();
  await page.getByText("TARGETING_MATCH").waitFor();
});

test("kill in two clicks, resume, and go back to what it served before", async (t) => {
  await place.call("POST", "/api/v1/flags", boolean("shop.pay.retry"));
  await place.call("PUT", "/api/v1/environments/production/flags/shop.pay.retry", { enabled: true, default: { variant: "on" }, reason: "the first" });
  await place.call("PUT", "/api/v1/environments/production/flags/shop.pay.retry", { enabled: true, default: { variant: "off" }, reason: "the second" });
  const page = await signed(t, "/flags/shop.pay.retry?environment=production");
  await page.getByRole("button", { name: "Kill in production" }).click();
  await page.getByRole("button", { name: "Kill now" }).click();
  await page.getByRole("radio", { name: /production: killed: off/ }).waitFor();
  const killed = await place.call("GET", "/api/v1/flags/shop.pay.retry");
  assert.equal(killed.environments.production.killed.by, "user:admin");
  await page.getByRole("button", { name: "Resume in production" }).click();
  await apply(page, "Resume", "it was something else");
  await page.getByRole("button", { name: "Kill in production" }).waitFor();
  await page.getByRole("tab", { name: "History" }).click();
  const first = page.getByRole("listitem").filter({ hasText: "the first" });
  await first.getByRole("button", { name: /As it was/ }).click();
  await page.getByRole("radio", { name: /production: on/ }).waitFor();
  await page.getByText("default: on → off").waitFor();
  assert.match(page.url(), /at=20/);
  await page.reload();
  await page.getByText("default: on → off").waitFor();
  await page.getByRole("button", { name: "later change" }).click();
  await page.getByRole("radio", { name: /production: off/ }).waitFor();
  await page.getByRole("button", { name: "earlier change" }).click();
  await page.getByText("default: on → off").waitFor();
  await page.getByRole("button", { name: "Back to now" }).click();
  await page.getByRole("tab", { name: "History" }).click();
  await first.getByRole("button", { name: /Put back/ }).click();
  await page.getByRole("dialog").getByText("default: off → on").waitFor();
  await apply(page, "Put back", "it was better");
  await page.getByRole("radio", { name: /production: on/ }).waitFor();
});

test("somebody who was quicker is told, and nothing that was written is lost", async (t) => {
  await place.call("POST", "/api/v1/flags", boolean("shop.cart.merge"));
  const page = await signed(t, "/flags/shop.cart.merge?environment=production", {}, 409);
  await page.getByLabel("Default serves", { exact: true }).selectOption("on");
  await page.getByRole("button", { name: "Review and apply" }).click();
  await page.getByRole("textbox", { name: "Reason" }).fill("mine");
  await place.call("POST", "/api/v1/environments/production/flags/shop.cart.merge/enable", { reason: "theirs" });
  await page.getByRole("button", { name: "Apply", exact: true }).click();
  await page.getByText("Somebody changed this meanwhile").waitFor();
  await page.getByRole("button", { name: "Look at it again, and keep what I wrote" }).click();
  await page.getByText("production was changed while you edited").waitFor();
  await page.getByText("enabled: rules and default apply").first().waitFor();
  await page.getByRole("button", { name: "Keep what I wrote, on top of that" }).click();
  await page.getByLabel("Disabled: everybody gets the off variant").check();
  await page.getByRole("button", { name: "Review and apply" }).click();
  await apply(page, "Apply", "both");
  await page.getByRole("radio", { name: /production: on/ }).waitFor();
  const { environments } = await place.call("GET", "/api/v1/flags/shop.cart.merge");
  assert.deepEqual([environments.production.enabled, environments.production.default.variant], [true, "on"]);
});

test("rules are moved by keys alone, and a split sums to a hundred percent", async (t) => {
  await place.call("POST", "/api/v1/flags", boolean("shop.rules.order"));
  const rule = (id) => ({ id, if: { attribute: "plan", op: "in", values: [id] }, serve: { variant: "on" } });
  await place.call("PUT", "/api/v1/environments/production/flags/shop.rules.order", { enabled: true, default: { variant: "off" }, rules: [rule("a"), rule("b"), rule("c")], reason: "a test" });
  const page = await signed(t, "/flags/shop.rules.order?environment=production");
  await page.getByRole("button", { name: /Move rule a:/ }).focus();
  await page.keyboard.press("Alt+ArrowDown");
  await page.keyboard.press("Alt+ArrowDown");
  await page.getByRole("button", { name: "Default serves: split" }).click();
  await page.getByLabel("Default serves: share of off").fill("12.5");
  await page.getByLabel("Default serves: share of off").press("Tab");
  await page.getByRole("button", { name: "Review and apply" }).click();
  await page.getByRole("dialog").getByText("order of rules: a, b, c → b, c, a").waitFor();
  await apply(page, "Apply", "by keys");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  const { environments } = await place.call("GET", "/api/v1/flags/shop.rules.order");
  assert.deepEqual(environments.production.rules.map((r) => r.id), ["b", "c", "a"]);
  assert.deepEqual(environments.production.default.split.weights, [{ variant: "off", ppm: 125_000 }, { variant: "on", ppm: 875_000 }]);
});

test("a change that another makes appears without a reload", async (t) => {
  await place.call("POST", "/api/v1/flags", boolean("shop.live.seen"));
  const page = await signed(t, "/flags/shop.live.seen?environment=production");
  await page.getByRole("radio", { name: /production: disabled/ }).waitFor();
  await page.getByLabel("Live: changes appear as they happen").waitFor();
  await place.call("POST", "/api/v1/environments/production/flags/shop.live.seen/kill", { reason: "elsewhere" });
  await page.getByRole("radio", { name: /production: killed/ }).waitFor({ timeout: 5000 }); // the interval alone would take fifteen seconds
});

test("a fleet is seen to come to a change", async (t) => {
  await place.call("POST", "/api/v1/flags", boolean("shop.fleet.seen"));
  await place.call("POST", "/api/v1/environments/development/flags/shop.fleet.seen/enable", { reason: "a test" });
  const page = await signed(t, "/flags/shop.fleet.seen?environment=development");
  const send = await telemetry(place, { environment: "development", flag: "shop.fleet.seen", id: "none", treatment: "on", control: "off" }, "shop.errors");
  await send(0, { treatment: 0, control: 0, applied: 1 });
  await page.getByRole("button", { name: "Disable in development" }).click();
  await apply(page, "Disable", "to be seen");
  await page.getByText("0 of 1 instances run the newest").waitFor();
  await page.getByRole("radio", { name: /development/ }).getByText("0 of 1 instances run it").waitFor();
  const { version } = (await place.call("GET", "/api/v1/environments")).environments.find((e) => e.key === "development");
  await send(0, { treatment: 0, control: 0, applied: version });
  await page.getByText("all 1 instances run it").nth(1).waitFor(); // on the card, and in the message
});

test("what needs others is planned, asked for, approved by them, and applied", async (t) => {
  await place.call("POST", "/api/v1/flags", boolean("shop.asks.first", { riskTier: "high" }));
  await place.call("POST", "/api/v1/environments/production/flags/shop.asks.first/enable", { reason: "a test" });
  const { secret } = await place.call("POST", "/api/v1/tokens", { kind: "sdk", name: "asks", environment: "production", reason: "a test" });
  const now = Date.now();
  await place.call("POST", "/sdk/v1/telemetry", {
    batch: crypto.randomUUID(), seq: 1, sentAt: new Date(now).toISOString(), dropped: { exposures: 0, observations: 0 }, instance: { id: "asks-1", service: "asks", version: "1", sdk: "t" }, applied: { epoch: 1, version: 1 }, errors: [], exposures: [], observations: [], contexts: [],
    counts: [{ flag: "shop.asks.first", variant: "off", n: 10, from: new Date(now - 5000).toISOString(), to: new Date(now).toISOString() }], unknownFlags: [],
  }, secret);
  while (!(await place.call("GET", "/api/v1/flags/shop.asks.first")).lastEvaluated) await new Promise((resolve) => setTimeout(resolve, 200));
  const page = await signed(t, "/flags/shop.asks.first?environment=production");
  await page.getByLabel("Default serves", { exact: true }).selectOption("on");
  await page.getByRole("button", { name: "Review and apply" }).click();
  await page.getByRole("dialog").getByText("high risk").waitFor();
  await page.getByRole("dialog").getByText("production: default: off → on").waitFor();
  await apply(page, "Ask for approval", "to everybody");
  await page.getByRole("link", { name: "See the request" }).click();
  await page.getByText("2 people must approve it").first().waitFor();
  const at = new URL(page.url()).hash.slice(1);
  // Who proposes approves by no token of their own making, whomever it acts as.
  const eve = await place.call("POST", "/api/v1/tokens", { kind: "api", name: "eve", actor: "user:eve", grants: [{ role: "admin" }], reason: "a test" });
  for (const name of ["bea", "cem"]) {
    const made = await place.call("POST", "/api/v1/tokens", { kind: "api", name, actor: `user:${name}`, reason: "a test" }, eve.secret);
    const other = await open(browser, { url: place.url, token: made.secret });
    await other.go(at);
    await other.page.getByRole("button", { name: "Approve" }).click();
    await apply(other.page, "Approve", "as expected");
    await other.page.getByText(`user:${name}`).waitFor();
    await other.context.close();
  }
  await page.getByRole("button", { name: "Apply" }).click();
  await apply(page, "Apply", "both agree");
  await page.getByText("applied", { exact: true }).first().waitFor();
  assert.equal((await place.call("GET", "/api/v1/flags/shop.asks.first")).environments.production.default.variant, "on");
});
