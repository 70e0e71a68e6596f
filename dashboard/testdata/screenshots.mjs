// A picture of each page, light, dark and on a phone, of a real demonstration:
// npm run screenshots. Names given as arguments narrow it to some pages.
import { mkdir, writeFile } from "node:fs/promises";

import { govern } from "./company.mjs";
import { launch, open } from "./harness.mjs";
import { small } from "./png.mjs";
import { demo, furnish } from "./stage.mjs";

const folder = process.env.IMAGES ?? new URL("../../docs/images/", import.meta.url).pathname;
const wanted = process.argv.slice(2);

// A whole page is taken through a window as high as it is, so that what sticks to
// the window's edges stands there.
async function picture(page, name, whole = false) {
  const size = page.viewportSize();
  if (whole) {
    await page.setViewportSize({ width: size.width, height: await page.evaluate(() => document.documentElement.scrollHeight) });
    await page.waitForTimeout(300);
  }
  await writeFile(`${folder}/${name}.png`, small(await page.screenshot()));
  if (whole) await page.setViewportSize(size);
}

// review changes a share, and stops where it is seen whom that affects.
async function review(p) {
  await p.getByRole("button", { name: "Edit rule canada-tenth" }).click();
  await p.getByLabel("Rule canada-tenth serves: share of on").fill("50");
  await p.keyboard.press("Tab");
  await p.getByRole("button", { name: "Review and apply" }).click();
  await p.getByLabel("Divide by an attribute").selectOption("plan");
  await p.getByRole("region", { name: "Who gets something else in production" }).getByText(/^plan/).first().waitFor();
}

// struck looks on while the bad feature climbs until it is taken back.
async function struck(place) {
  const made = await place.call("POST", "/api/v1/rollouts", { flag: "shop.search.new-ranking", environment: "production", treatment: "on", control: "off", steps: [{ ppm: 20_000, hold: "20s" }, { ppm: 200_000, hold: "20s" }, { ppm: 500_000, hold: "20s" }, { ppm: 1_000_000, hold: "20s" }], guardrails: [{ metric: "shop.search.errors", margin: { relative: 0.05 } }], onUnsure: { after: "20s", then: "advance" }, reason: "a better order of results" });
  const { page, context, go } = await open(browser, place, { viewport: { width: 1280, height: 860 } });
  await go(`/rollouts/${made.id}`);
  await page.getByText("Taken back from everybody").waitFor({ timeout: 120_000 });
  await page.getByText("rollout.abort").waitFor();
  await page.waitForTimeout(1500);
  await picture(page, "rollout-struck-light", true);
  await context.close();
}

const place = await demo();
const browser = await launch();
await mkdir(folder, { recursive: true });
try {
  // Rollouts first: once previews know the crowd, raising one takes approvals.
  if (wanted.length === 0 || wanted.includes("rollout-struck")) await struck(place);
  // One that stands still at a step, with the shop's live traffic.
  const live = await place.call("POST", "/api/v1/rollouts", { flag: "shop.search.new-ranking", environment: "production", treatment: "on", control: "off", steps: [{ ppm: 20_000, hold: "30m" }, { ppm: 200_000, hold: "1h" }, { ppm: 500_000, hold: "4h", gates: [{ approval: 1 }] }, { ppm: 1_000_000, hold: "24h" }], guardrails: [{ metric: "shop.search.errors", margin: { relative: 0.05 } }], reason: "the backend has more room now" });
  await furnish(place);
  const { waiting } = await govern(place);
  const rollouts = (await place.call("GET", "/api/v1/rollouts")).rollouts;
  const bad = rollouts.find((r) => r.flag === "shop.search.new-ranking" && r.endedAt);
  const flag = "payments.checkout.new-flow";
  const then = (await place.call("GET", `/api/v1/flags/${flag}`)).createdAt;
  const pages = {
    home: ["/"], flags: ["/flags"], "flags-filtered": ["/flags?in=production&state=on&sort=expiry"], flag: [`/flags/${flag}`], "flag-rule": [`/flags/${flag}`, async (p) => { await p.getByRole("button", { name: "Edit rule canada-tenth" }).click(); }],
    "flag-try": [`/flags/${flag}?tab=try&context=${encodeURIComponent('{"targetingKey":"buyer-3","country":"CA","app":{"version":"2.5.1"}}')}`], "flag-history": [`/flags/${flag}?tab=history`, async (p) => { await p.getByRole("button", { name: /What entry/ }).nth(1).click(); }],
    "flag-compare": [`/flags/${flag}?tab=compare`], "flag-then": [`/flags/${flag}?at=${then}`], "flag-definition": [`/flags/${flag}?tab=details`],
    "flag-kill": [`/flags/${flag}`, async (p) => { await p.getByRole("button", { name: "Kill in production" }).click(); await p.getByRole("button", { name: "Kill now" }).waitFor(); }], "flag-review": [`/flags/${flag}`, review],
    "new-flag": ["/flags/new"], rollouts: ["/rollouts"], "rollout-live": [`/rollouts/${live.id}`, async (p) => { await p.waitForTimeout(12_000); }], "rollout-aborted": [`/rollouts/${bad.id}`], "new-rollout": [`/rollouts/new?flag=${flag}&environment=production`, async (p) => { await p.getByRole("button", { name: "Add a guardrail" }).click(); }],
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
      if (look === "phone" && name === "keys") continue; // it has none
      await go("/blank-between");
      await go(at);
      await page.locator("main h1").first().waitFor();
      await page.waitForTimeout(900);
      await act?.(page);
      await page.waitForTimeout(500);
      await picture(page, `${name}-${look}`, name.includes("rollout"));
    }
    if (trouble.length > 0) console.error(look, trouble);
    await context.close();
  }
  const { page, context } = await open(browser, { url: place.url }, { viewport: { width: 900, height: 640 } });
  await page.goto(place.url);
  await page.getByLabel("Password").first().waitFor();
  await picture(page, "sign-in-light");
  await context.close();
} finally {
  await browser.close();
  await place.stop();
}
