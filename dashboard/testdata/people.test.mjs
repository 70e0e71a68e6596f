// People, teams and tokens, and how people come in, in a real Chromium against a
// real server.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";

import { confirm, govern, person, visits } from "./company.mjs";
import { launch, open, serve } from "./harness.mjs";

let place, browser, signed;

before(async () => {
  [place, browser] = await Promise.all([serve(), launch()]);
  await govern(place);
  signed = visits(browser, place);
});

after(async () => {
  await browser?.close();
  await place?.stop();
});

const user = async (id) => place.call("GET", `/api/v1/users/${id}`);

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
  const backIn = async () => { // in another tab, so that nothing that she wrote is lost
    const [tab] = await Promise.all([context.waitForEvent("page"), page.getByRole("link", { name: "Sign in with your organisation, in another tab" }).click()]);
    await tab.getByRole("heading", { name: "Home", exact: true }).waitFor();
    await tab.close();
  };
  await page.goto(`${other.url}/auth/oidc/callback?state=stale&code=x`); // of yesterday's tab
  await page.getByRole("alert").filter({ hasText: "This sign-in was not begun here" }).getByText(/more than ten minutes ago.*Begin again/).waitFor();
  await go("/policy");
  await page.getByRole("link", { name: "Sign in with your organisation" }).click();
  await vouch(page);
  await page.getByRole("heading", { name: "Policy" }).waitFor(); // where she was going
  await page.getByRole("link", { name: /ann@example.com: your account/ }).click();
  await page.getByText("You last proved who you are never").waitFor();
  await page.goto(`${other.url}/auth/oidc/callback?state=stale&code=x`); // what fails takes nothing from her
  await page.getByRole("heading", { name: "You are signed in" }).waitFor();
  await page.getByRole("alert").filter({ hasText: "This sign-in was not begun here" }).waitFor();
  await go("/account");
  await page.getByText("You last proved who you are never").waitFor();

  const id = "ann@example.com";
  await other.call("PUT", `/api/v1/users/${encodeURIComponent("user:" + id)}`, { ...(await other.call("GET", `/api/v1/users/${encodeURIComponent(id)}`)), version: undefined, createdAt: undefined, lastSeen: undefined, grants: [{ role: "admin" }], reason: "she runs it" });
  await backIn(); // other grants end her sessions
  await page.getByText("You last proved who you are").waitFor(); // and she is back on the page where she was
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
  await backIn(); // another password ends her sessions
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
