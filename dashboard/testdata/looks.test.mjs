// The pages of those who govern, as they are seen, read aloud and led to by keys.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { AxeBuilder } from "@axe-core/playwright";

import { govern, visits } from "./company.mjs";
import { launch, open, serve } from "./harness.mjs";

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
