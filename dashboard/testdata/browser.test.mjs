// The page in a real Chromium, against a real server: what a person does with
// it, and what hostile text does not.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";

import { chromium } from "playwright-core";

const program = process.env.FLYBALL_BINARY ?? new URL("../../bin/flyball", import.meta.url).pathname;
const hostile = `<img src=x onerror="window.pwned = true"><script>window.pwned = true</script>`;
let folder, server, url, token, browser;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "flyball-page-"));
  server = spawn(program, ["serve", "--listen", "127.0.0.1:0", "--data", folder], { stdio: ["ignore", "ignore", "pipe"] });
  for await (const line of createInterface({ input: server.stderr })) {
    token = /^admin token: (\S+)/.exec(line)?.[1] ?? token;
    url = / url=(\S+)/.exec(line)?.[1];
    if (url) break;
  }
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  await api("POST", "/api/v1/flags", {
    key: "shop.checkout.fast", kind: "ops", owner: "default", description: hostile, type: "boolean",
    variants: { on: true, off: false }, safeVariant: "off", reason: hostile,
  });
  await api("POST", "/api/v1/environments/production/flags/shop.checkout.fast/enable", { reason: "a test" });
  await api("POST", "/api/v1/metrics", { key: "shop.errors", type: "rate", better: "lower", reason: "a test" });
});

after(async () => {
  await browser?.close();
  if (server && server.exitCode === null) {
    const ended = new Promise((resolve) => server.once("exit", resolve));
    server.kill("SIGINT");
    await ended;
  }
  await rm(folder, { recursive: true, force: true });
});

async function api(method, path, body) {
  const response = await fetch(url + path, {
    method, headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" }, body: body && JSON.stringify(body),
  });
  const answer = await response.json();
  assert.ok(response.ok, `${method} ${path}: ${JSON.stringify(answer)}`);
  return answer;
}

// open gives a page that must stay silent: no error, no refused request.
async function open(t, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const trouble = [];
  page.on("pageerror", (error) => trouble.push(String(error)));
  page.on("console", (message) => message.type() === "error" && trouble.push(message.text()));
  t.after(async () => {
    await context.close();
    assert.deepEqual(trouble, []);
  });
  await page.goto(url);
  return page;
}

async function signIn(page) {
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Open the dashboard" }).click();
  await page.getByText("shop.checkout.fast").first().waitFor();
}

test("a person signs in, sees the flag, and kills it with a reason", async (t) => {
  const page = await open(t);
  await signIn(page);
  const flag = page.getByRole("row", { name: /shop\.checkout\.fast/ });
  await flag.getByRole("button", { name: "Kill shop.checkout.fast in production" }).click();
  await page.getByLabel("Reason").fill("error rate doubled");
  await page.getByRole("button", { name: "Kill now" }).click();
  await flag.getByText(/killed/).waitFor();
  const { environments } = await api("GET", "/api/v1/flags/shop.checkout.fast");
  assert.equal(environments.production.killed.reason, "error rate doubled");
  await page.getByText("flag.kill").waitFor();
  await api("POST", "/api/v1/environments/production/flags/shop.checkout.fast/resume", { reason: "a test" });
  await flag.getByText(/killed/).waitFor({ state: "detached" });
});

test("a rollout appears while it is live, without a reload", async (t) => {
  const page = await open(t, { viewport: { width: 390, height: 844 } });
  await signIn(page);
  const rollout = await api("POST", "/api/v1/rollouts", {
    flag: "shop.checkout.fast", environment: "production", treatment: "on", control: "off", reason: "a test",
    steps: [{ ppm: 10000, hold: "1h" }, { ppm: 1000000 }], guardrails: [{ metric: "shop.errors", margin: { relative: 0.05 } }],
  });
  await page.getByRole("heading", { name: "shop.checkout.fast in production" }).waitFor();
  await page.getByText("Step 1 of 2: on to 1 %").waitFor();
  await api("POST", `/api/v1/rollouts/${rollout.id}/abort`, { reason: "a test" });
  await page.getByText(/^aborted/).first().waitFor(); // it stays for a while, as one that ended
  await page.getByText(/^Ended .* ago, at 1 % of on in place of off/).waitFor();
});

test("text from users is never markup", async (t) => {
  const page = await open(t);
  await signIn(page);
  await page.getByText("<img src=x").first().waitFor();
  assert.equal(await page.evaluate(() => window.pwned), undefined);
});

test("a token that is not good is told, and not kept", async (t) => {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(url);
  await page.getByLabel("Token").fill("fb_api_000000000000_00");
  await page.getByRole("button", { name: "Open the dashboard" }).click();
  await page.getByText("unknown, expired or revoked").waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.getItem("flyball.token")), null);
});
