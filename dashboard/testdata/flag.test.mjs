// A flag's page in a real Chromium: its rules, its environments, its past, and
// who gets what.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { apply, boolean, launch, serve, silent, usable } from "./harness.mjs";

let place, browser;

before(async () => {
  [place, browser] = await Promise.all([serve(), launch()]);
});

after(async () => {
  await browser?.close();
  await place?.stop();
});

const signed = (t, at, { token = place.token, ...options } = {}) => silent(t, browser, { url: place.url, token }, at, options);

const put = (key, body, environment = "production") => place.call("PUT", `/api/v1/environments/${environment}/flags/${key}`, { enabled: true, default: { variant: "off" }, reason: "a test", ...body });
const config = async (key, environment = "production") => (await place.call("GET", `/api/v1/flags/${key}`)).environments[environment];
const rule = (id, more = {}) => ({ id, if: { attribute: "plan", op: "in", values: [id] }, serve: { variant: "on" }, ...more });

test("rules are dragged, and one that is open stays open where it goes", async (t) => {
  await place.call("POST", "/api/v1/flags", boolean("drag.rules"));
  await put("drag.rules", { rules: [rule("a"), rule("b"), rule("c")] });
  const page = await signed(t, "/flags/drag.rules?environment=production");
  await page.getByRole("button", { name: "Edit rule c" }).click();
  const last = page.getByRole("group", { name: "Rule 3: c" });
  await last.getByLabel("Description").fill("once last");
  await page.getByRole("button", { name: /Move rule c:/ }).dragTo(page.getByRole("group", { name: "Rule 1: a" }), { targetPosition: { x: 200, y: 4 } });
  await page.getByRole("group", { name: "Rule 1: c" }).getByLabel("Description").waitFor();
  await page.getByRole("button", { name: /Move rule a:/ }).dragTo(page.getByRole("group", { name: "Rule 3: b" }), { targetPosition: { x: 200, y: 40 } });
  await page.getByRole("group", { name: "Rule 3: a" }).waitFor();
  await page.getByRole("button", { name: "Move rule b up" }).click();
  await page.getByRole("button", { name: "Review and apply" }).click();
  await page.getByRole("dialog").getByText("order of rules: a, b, c → b, c, a").waitFor();
  await apply(page, "Apply", "the other way round");
  const { rules } = await config("drag.rules");
  assert.deepEqual(rules.map((r) => [r.id, r.description]), [["b", undefined], ["c", "once last"], ["a", undefined]]);
});

test("conditions nest five deep and no deeper, and every operator is taken by the server", async (t) => {
  await place.call("POST", "/api/v1/flags", boolean("deep.rules"));
  await put("deep.rules", {});
  const page = await signed(t, "/flags/deep.rules?environment=production");
  await page.getByRole("button", { name: "Add a rule" }).click();
  let label = "Rule rule-1";
  await page.getByLabel(`${label}, part 1: attribute`).fill("plan");
  await page.getByRole("combobox", { name: `${label}, part 1: values` }).fill("pro");
  await page.getByRole("combobox", { name: `${label}, part 1: values` }).press("Enter");
  for (let depth = 2; depth <= 4; depth++) {
    await page.getByRole("button", { name: `Add a group to ${label}`, exact: true }).click();
    label += ", part 2";
    await page.getByLabel(`${label}, part 1: attribute`).fill(`level.${depth}`);
    await page.getByRole("combobox", { name: `${label}, part 1: values` }).fill("x");
    await page.getByRole("combobox", { name: `${label}, part 1: values` }).press("Enter");
  }
  assert.ok(await page.getByRole("button", { name: `Add a group to ${label}`, exact: true }).isDisabled());
  await page.getByLabel("Conditions nest at most 5 deep: move the inner part into a segment.").waitFor();
  await page.getByRole("button", { name: "Review and apply" }).click();
  await apply(page, "Apply", "as deep as it goes");
  let c = (await config("deep.rules")).rules[0].if, depth = 1;
  while (c.all || c.any) [c, depth] = [(c.all ?? c.any).at(-1), depth + 1];
  assert.equal(depth, 5);

  const operators = [["in", "x"], ["startsWith", "x"], ["endsWith", "x"], ["contains", "x"], ["matches", "^x$"], ["lt", "1"], ["lte", "1"], ["gt", "1.5"], ["gte", "-1"], ["semverEq", "1.2.3"], ["semverLt", "1.2.3"], ["semverLte", "1.2.3"], ["semverGt", "1.2.3"], ["semverGte", "1.2.3"], ["cidr", "10.0.0.0/8"], ["before", "2027-01-02T03:04:05"], ["after", "2027-01-02T03:04:05"], ["exists", false]];
  await place.call("POST", "/api/v1/flags", boolean("all.operators"));
  await put("all.operators", { rules: [rule("every", { if: { any: operators.map(() => ({ attribute: "a", op: "in", values: ["x"] })) } })] });
  await page.goto(`${place.url}/#/flags/all.operators?environment=production`);
  await page.getByRole("button", { name: "Edit rule every" }).click();
  for (const [i, [op, text]] of operators.entries()) {
    const part = `Rule every, part ${i + 1}`;
    await page.getByLabel(`${part}: operator`).selectOption(op);
    if (op === "exists") await page.getByLabel(`${part}: values`).setChecked(text);
    else if (op === "before" || op === "after") await page.getByLabel(`${part}: values`).fill(text);
    else if (!["in", "startsWith", "endsWith", "contains"].includes(op)) {
      const field = page.getByRole("combobox", { name: `${part}: values` });
      await field.fill(text);
      await field.press("Enter");
    }
  }
  await usable(page);
  await page.getByRole("button", { name: "Review and apply" }).click();
  await apply(page, "Apply", "one of each");
  const made = (await config("all.operators")).rules[0].if.any;
  assert.deepEqual(made.map((x) => x.op), operators.map(([op]) => op));
  assert.deepEqual(made[7].values, [1.5]);
  assert.deepEqual(made.at(-1).values, [false]);
});

test("a rule is leased by a length and by a date, and splits sum by themselves", async (t) => {
  await place.call("POST", "/api/v1/flags", boolean("leased.rule"));
  await put("leased.rule", { rules: [rule("soon")] });
  const page = await signed(t, "/flags/leased.rule?environment=production");
  await page.getByRole("button", { name: "Edit rule soon" }).click();
  const begun = Date.now();
  await page.getByLabel("Length of the lease of rule soon").fill("90m");
  await page.getByText("ends in 1 h 29 min").or(page.getByText("ends in 1 h 30 min")).waitFor();
  await page.getByRole("button", { name: "Rule soon serves: split" }).click();
  await page.getByLabel("Rule soon serves: share of on").fill("0.1");
  await page.getByLabel("Rule soon serves: share of on").press("Tab");
  await page.getByText("100 % in all").waitFor();
  await page.getByRole("button", { name: "Review and apply" }).click();
  await apply(page, "Apply", "for an hour and a half");
  const [made] = (await config("leased.rule")).rules;
  const length = Date.parse(made.notAfter) - begun;
  assert.ok(Math.abs(length - 5_400_000) < 20_000, `leased for ${length} ms`);
  assert.deepEqual(made.serve.split.weights, [{ variant: "on", ppm: 1000 }, { variant: "off", ppm: 999_000 }]);
});

test("environments stand side by side, and one is made like another", async (t) => {
  await place.call("POST", "/api/v1/flags", boolean("side.by.side"));
  await put("side.by.side", { rules: [rule("pro")], default: { variant: "on" } }, "development");
  await put("side.by.side", {});
  const page = await signed(t, "/flags/side.by.side?tab=compare", { reducedMotion: "reduce" });
  await page.getByRole("cell", { name: "1. if plan is “pro”: on" }).waitFor();
  assert.equal(await page.locator("td.differs").count(), 2);
  await usable(page);
  await page.getByRole("button", { name: "Copy development to another environment" }).click();
  await page.getByRole("menuitem", { name: "production" }).click();
  await page.getByRole("menu").waitFor({ state: "detached" });
  await page.getByRole("dialog").getByText("rule pro added: if plan is “pro”: on").waitFor();
  await page.getByRole("dialog").getByText("Whom it affects").waitFor();
  await usable(page);
  await apply(page, "Copy", "it went well there");
  await page.waitForFunction(() => document.querySelectorAll("td.differs").length === 0);
  assert.deepEqual((await config("side.by.side")).rules.map((r) => r.id), ["pro"]);
});

test("who gets what is tried with what the rules ask for, now and then, with the reason", async (t) => {
  await place.call("POST", "/api/v1/flags", boolean("who.gets.what"));
  await put("who.gets.what", { rules: [{ id: "canada", if: { all: [{ attribute: "country", op: "in", values: ["CA"] }, { attribute: "app.version", op: "semverGte", values: ["2.0.0"] }] }, serve: { split: { by: "targetingKey", weights: [{ variant: "on", ppm: 1_000_000 }, { variant: "off", ppm: 0 }] } } }] });
  const then = new Date().toISOString();
  await put("who.gets.what", { default: { variant: "off" } });
  const page = await signed(t, "/flags/who.gets.what?tab=try");
  await page.getByText("Try somebody").waitFor();
  await page.goto(`${place.url}/#/flags/who.gets.what?tab=try&at=${then}`);
  await page.getByLabel("country").fill("CA");
  await page.getByLabel("app.version").fill("2.1.0");
  await page.getByLabel("app.version").press("Enter");
  await page.getByText("rule 1, canada, matches: country is “CA” and app.version is at least version “2.0.0”").waitFor();
  await page.getByRole("img", { name: /user-1 falls at [\d.]+ % of the ring/ }).waitFor();
  assert.deepEqual(JSON.parse(await page.getByLabel("Context, as JSON").inputValue()), { targetingKey: "user-1", country: "CA", app: { version: "2.1.0" } });
  await usable(page);
  await page.getByRole("button", { name: "Back to now" }).click();
  await page.getByText("there are no rules, so the default applies").first().waitFor();
  await page.reload();
  await page.getByText("there are no rules, so the default applies").first().waitFor();
});

test("a draft outlives a look elsewhere, and a stale one is kept", async (t) => {
  await place.call("POST", "/api/v1/flags", boolean("draft.kept"));
  await put("draft.kept", {});
  const page = await signed(t, "/flags/draft.kept?environment=production");
  await page.getByLabel("Default serves", { exact: true }).selectOption("on");
  await page.getByRole("tab", { name: "History" }).click();
  await page.getByRole("radio", { name: /production/ }).getByText("draft").waitFor();
  await page.goto(`${place.url}/#/flags`);
  await page.getByRole("heading", { name: "Flags", exact: true }).waitFor();
  await page.goBack();
  await page.getByRole("tab", { name: "Targeting" }).click();
  assert.equal(await page.getByLabel("Default serves", { exact: true }).inputValue(), "on");
  await place.call("POST", "/api/v1/environments/production/flags/draft.kept/disable", { reason: "theirs" });
  await page.getByText("production was changed while you edited").waitFor();
  await page.getByRole("button", { name: "Drop what I wrote" }).click();
  assert.equal(await page.getByLabel("Default serves", { exact: true }).inputValue(), "off");
});

test("a viewer sees everything, changes nothing, and is told why", async (t) => {
  await place.call("POST", "/api/v1/flags", boolean("seen.only"));
  await put("seen.only", { rules: [rule("a")] });
  const { id } = await place.call("POST", "/api/v1/users", { id: "vera", name: "Vera", grants: [{ role: "viewer" }], reason: "a test" }).catch(() => ({}));
  if (!id) return t.skip("this server has no accounts");
  const made = await place.call("POST", "/api/v1/tokens", { kind: "api", name: "vera", actor: "user:vera", reason: "a test" });
  const page = await signed(t, "/flags/seen.only?environment=production", { token: made.secret });
  await page.getByText("You can look, and try who gets what, but not change it").waitFor();
  assert.ok(await page.getByRole("button", { name: "Kill in production" }).isDisabled());
  assert.ok(await page.getByRole("button", { name: "Add a rule" }).isDisabled());
  await page.getByLabel(/This takes the role editor/).last().hover();
  await page.getByRole("tooltip").getByText("This takes the role editor").waitFor();
  await usable(page);
});

test("a new flag is held to every rule, each told in its place", async (t) => {
  await place.call("POST", "/api/v1/flags", boolean("gone.for.good"));
  await place.call("POST", "/api/v1/flags/gone.for.good/archive", { reason: "it was of no use" });
  const page = await signed(t, "/flags/new");
  await page.getByLabel("Key").fill("gone.for.good");
  await page.getByText("it was of no use. Its key is never free again").first().waitFor();
  await page.getByLabel("Key").fill("here.to.stay");
  await page.getByLabel("Expires").fill("");
  await page.getByText("A flag of kind release needs a date by which it goes").first().waitFor();
  assert.ok(await page.getByRole("button", { name: "Create…" }).isDisabled());
  await page.getByText("ops", { exact: true }).click();
  await page.getByLabel("Owner").selectOption("default");
  await page.getByRole("button", { name: "Create…" }).click();
  await apply(page, "Create", "to have it");
  await page.getByRole("heading", { name: "here.to.stay" }).waitFor();
});

test("flags are narrowed by each filter, held in the address, and gone through by keys", async (t) => {
  await place.call("POST", "/api/v1/flags", boolean("find.me", { tags: ["found"], kind: "release", expiresAt: new Date(Date.now() + 5 * 86_400_000).toISOString() }));
  await put("find.me", {}, "development");
  await place.call("POST", "/api/v1/environments/development/flags/find.me/kill", { reason: "a test" });
  const page = await signed(t, "/flags");
  for (const [label, value] of [["Any state", "killed"], ["in any environment", "development"], ["Any expiry", "soon"], ["Evaluated or not", "never"], ["Any kind", "release"], ["Any owner", "default"], ["Any tag", "found"]]) await page.getByLabel(label).selectOption(value);
  await page.getByRole("status").getByText(/^1 of \d+$/).waitFor();
  await page.reload();
  await page.getByRole("status").getByText(/^1 of \d+$/).waitFor();
  await page.getByLabel("in any environment").selectOption("production");
  await page.getByText("No flag is like that").waitFor();
  await usable(page);
  await page.getByRole("button", { name: "Clear", exact: true }).click();
  await page.getByLabel("Search flags", { exact: true }).press("ArrowDown");
  const at = () => page.evaluate(() => document.activeElement.querySelector(".key").textContent);
  const first = await at();
  await page.keyboard.press("ArrowDown");
  await page.waitForFunction((was) => document.activeElement.querySelector(".key")?.textContent !== was, first);
  await page.keyboard.press("ArrowUp");
  await page.waitForFunction((was) => document.activeElement.querySelector(".key")?.textContent === was, first);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: first }).waitFor();
  await page.getByRole("button", { name: /^(Kill|Resume) in/ }).waitFor();
  await page.keyboard.press("k");
  await page.getByRole("dialog").getByRole("button", { name: "Kill now" }).waitFor();
});
