// Coming in, being sent out, and coming back.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { apply, boolean, launch, open, serve, usable } from "./harness.mjs";

let place, browser;

before(async () => {
  [place, browser] = await Promise.all([serve(), launch()]);
  await place.call("POST", "/api/v1/flags", boolean("shop.checkout.fast"));
});

after(async () => {
  await browser?.close();
  await place?.stop();
});

describe("signing in", () => {
  test("a token that is not good is told, and not kept; a good one opens the page", async (t) => {
    const { page, context, trouble } = await open(browser, { url: place.url });
    t.after(() => context.close());
    const response = await page.goto(place.url);
    assert.match(response.headers()["content-security-policy"], /^default-src 'self'; script-src 'self'; style-src 'self' 'nonce-[0-9a-f]{32}'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'$/);
    await page.getByLabel("Token").first().fill("fb_api_000000000000_00");
    await page.getByRole("button", { name: "Open the dashboard" }).click();
    await page.getByText("unknown, expired or revoked").waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.getItem("flyball.token")), null);
    assert.equal(trouble.splice(0).filter((line) => !line.includes("401")).length, 0);
    await page.getByLabel("Token").first().fill(place.token);
    await page.getByRole("button", { name: "Open the dashboard" }).click();
    await page.getByRole("heading", { name: "Home", exact: true }).waitFor();
    await page.getByLabel("Live: changes appear as they happen").waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Token").first().waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.getItem("flyball.token")), null);
    assert.deepEqual(trouble, []);
  });

  test("a token that is revoked closes the page, and says why", async (t) => {
    const made = await place.call("POST", "/api/v1/tokens", { kind: "api", name: "short", actor: "user:ann", reason: "a test" });
    const { page, context, go } = await open(browser, { url: place.url, token: made.secret });
    t.after(() => context.close());
    await go("/flags");
    await page.getByText("shop.checkout.fast").first().waitFor();
    await place.call("POST", `/api/v1/tokens/${made.id}/revoke`, { reason: "a test" });
    await page.getByText("You were signed out").waitFor();
  });
});

test("the first person sets themselves up, is led to a flag that code reads, leaves, and comes back by password", async (t) => {
  const place = await serve(); // a link is good once
  const { page, context, trouble } = await open(browser, { url: place.url });
  t.after(() => context.close().then(() => place.stop()));
  await page.goto(place.link);
  await page.getByLabel("Your name").fill("ann");
  await page.getByLabel("Password").first().fill("a sentence that is long enough");
  await page.getByRole("button", { name: "Make the first account" }).click();
  await page.getByRole("heading", { name: "Home", exact: true }).waitFor();
  await page.getByRole("link", { name: "Create the first" }).click();
  await page.getByLabel("Key").fill("shop.first.flag");
  await page.getByRole("button", { name: "Create…" }).click(); // the one team owns it
  await apply(page, "Create", "to begin with");
  await page.getByText("No program reads it yet").waitFor();
  await page.getByRole("button", { name: "How code reads it" }).click();
  await page.getByText(`client.BooleanValue(ctx, "shop.first.flag", false, user)`).waitFor();
  await page.getByRole("link", { name: "Home" }).click();
  await page.getByRole("listitem").filter({ hasText: "Create a flag: done" }).waitFor();
  await page.getByRole("link", { name: "Make a token" }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Name").fill("ann");
  await page.getByLabel("Password").first().fill("a sentence that is long enough");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.getByRole("heading", { name: "Home", exact: true }).waitFor();
  assert.deepEqual(trouble, []);
});

describe("a session that ends in the midst of work", () => {
  // working gives a page of somebody by a token, and what ends it.
  async function working(t, name, at) {
    const made = await place.call("POST", "/api/v1/tokens", { kind: "api", name, actor: `user:${name}`, reason: "a test" });
    const { page, context, go, trouble } = await open(browser, { url: place.url, token: made.secret });
    t.after(async () => {
      await context.close();
      assert.deepEqual(trouble.filter((line) => !line.includes("status of 401")), []);
    });
    await go(at);
    const end = async () => {
      await place.call("POST", `/api/v1/tokens/${made.id}/revoke`, { reason: "a test" });
      await page.getByText("What you wrote is kept").waitFor();
    };
    const back = async (as) => {
      const { secret } = await place.call("POST", "/api/v1/tokens", { kind: "api", name: as, actor: `user:${as}`, reason: "a test" });
      await page.getByLabel("Token").first().fill(secret);
      await page.getByRole("button", { name: "Open the dashboard" }).click();
    };
    return { page, end, back };
  }

  test("takes nothing of what was written: the same person goes on, up to the reason", async (t) => {
    const { page, end, back } = await working(t, "ann", "/flags/shop.checkout.fast?environment=production");
    await page.getByLabel("Default serves", { exact: true }).selectOption("on");
    await page.getByRole("button", { name: "Review and apply" }).click();
    await page.getByRole("textbox", { name: "Reason" }).fill("written before");
    await end();
    assert.ok(!(await page.getByRole("dialog").isVisible()), "the page is seen by whoever comes by");
    assert.ok(!(await page.getByRole("heading", { name: "shop.checkout.fast" }).isVisible()), "the page is seen by whoever comes by");
    await usable(page);
    await back("ann");
    await page.getByRole("textbox", { name: "Reason" }).waitFor();
    assert.equal(await page.getByRole("textbox", { name: "Reason" }).inputValue(), "written before");
    await page.getByRole("dialog").getByRole("button", { name: "Apply", exact: true }).click();
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await page.getByLabel("Live: changes appear as they happen").waitFor();
    assert.equal((await place.call("GET", "/api/v1/flags/shop.checkout.fast")).environments.production.default.variant, "on");
  });

  test("keeps a form, and gives it to nobody else", async (t) => {
    const { page, end, back } = await working(t, "bea", "/segments?edit=%2B");
    await page.getByLabel("Description").fill("half a thought");
    await end();
    await back("cem");
    await page.getByLabel("Description").waitFor();
    assert.equal(await page.getByLabel("Description").inputValue(), "");
  });
});

test("a server that goes and comes back is told of, and what was written meanwhile is applied", async (t) => {
  let place = await serve();
  await place.call("POST", "/api/v1/flags", boolean("shop.outage.seen"));
  const { page, context, go, trouble } = await open(browser, place);
  t.after(() => context.close().then(() => place.stop()));
  await go("/flags/shop.outage.seen?environment=production");
  await page.getByLabel("Live: changes appear as they happen").waitFor();
  await page.getByLabel("Default serves", { exact: true }).waitFor();
  await place.stop({ leave: true });
  await page.getByLabel(/The server is not heard of/).waitFor();
  await page.getByLabel("Default serves", { exact: true }).selectOption("on");
  await page.getByRole("button", { name: "Review and apply" }).click();
  await page.getByText("The server does not answer").first().waitFor();
  await page.getByRole("button", { name: "Cancel" }).click();
  place = await serve({ again: place });
  await page.getByLabel("Live: changes appear as they happen").waitFor();
  await page.getByRole("button", { name: "Review and apply" }).click();
  await apply(page, "Apply", "written while it was away");
  assert.equal((await place.call("GET", "/api/v1/flags/shop.outage.seen")).environments.production.default.variant, "on");
  assert.deepEqual(trouble.filter((line) => !/ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|Failed to fetch/.test(line)), []);
});
