// A real server and a real Chromium, for tests and pictures.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { AxeBuilder } from "@axe-core/playwright";
import { chromium } from "playwright-core";

export const program = process.env.FLYBALL_BINARY ?? new URL("../../bin/flyball", import.meta.url).pathname;

// serve starts a server on a fresh database and a port of its own, or again where
// one was that was stopped and left its folder.
export async function serve({ args = [], env = {}, again } = {}) {
  const folder = again?.folder ?? await mkdtemp(join(tmpdir(), "flyball-page-"));
  const server = spawn(program, ["serve", "--listen", again ? new URL(again.url).host : "127.0.0.1:0", "--data", folder, "--log-level", "info", ...args], { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, ...env } });
  let url, token = again?.token, link;
  for await (const line of createInterface({ input: server.stderr })) {
    link = /^set-up link.*?: (\S+)/.exec(line)?.[1] ?? link;
    token = /^admin token: (\S+)/.exec(line)?.[1] ?? token;
    url = / url=(\S+)/.exec(line)?.[1];
    if (url) break;
  }
  server.stderr.resume();
  async function call(method, path, body, as = token) {
    const response = await fetch(url + path, {
      method, headers: { Authorization: `Bearer ${as}`, "Content-Type": "application/json" }, body: body && JSON.stringify(body),
    });
    const text = await response.text();
    assert.ok(response.ok, `${method} ${path}: ${text}`);
    return text && JSON.parse(text);
  }
  async function stop({ leave = false } = {}) {
    if (server.exitCode === null) {
      const ended = new Promise((resolve) => server.once("exit", resolve));
      server.kill("SIGINT");
      await ended;
    }
    if (!leave) await rm(folder, { recursive: true, force: true });
  }
  return { url, token, link, folder, call, stop };
}

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

// open gives a page that is signed in, and what it complains of: errors, and
// requests to anybody else than its server.
export async function open(browser, { url, token }, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1360, height: 900 }, ...options });
  const trouble = [];
  await context.addInitScript((t) => { if (t && !sessionStorage.getItem("flyball.token")) sessionStorage.setItem("flyball.token", t); }, token ?? null);
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.on("pageerror", (error) => trouble.push(String(error)));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && trouble.push(`${message.text()} (${message.location().url})`));
  page.on("request", (request) => { if (new URL(request.url()).origin !== new URL(url).origin) trouble.push(`a request to ${request.url()}`); });
  const go = (hash) => page.goto(`${url}/#${hash}`);
  return { page, context, trouble, go };
}

// silent opens a page that must complain of nothing until the test is over: no
// error, no request to anybody else. The browser itself complains of a refused
// request; where one is meant, expected is its status.
export async function silent(t, browser, { url, token }, at, options, expected) {
  const opened = await open(browser, { url, token }, options);
  t.after(async () => {
    await opened.context.close();
    assert.deepEqual(opened.trouble.filter((line) => !expected || !line.includes(`status of ${expected}`)), []);
  });
  await opened.go(at);
  return opened.page;
}

// apply gives the reason for a change that was begun, makes it, and waits until
// the server has answered.
export async function apply(page, verb, reason) {
  await page.getByRole("textbox", { name: "Reason" }).fill(reason);
  await page.getByRole("dialog").getByRole("button", { name: verb, exact: true }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
}

// usable fails where axe finds something serious.
export async function usable(page, at) {
  const { violations } = await new AxeBuilder({ page }).setLegacyMode(true).analyze();
  const grave = violations.filter((v) => ["serious", "critical"].includes(v.impact));
  assert.deepEqual(grave.map((v) => `${v.id}: ${v.nodes[0].html} ${v.nodes[0].failureSummary}`), [], at);
}

export const boolean = (key, more = {}) => ({
  key, kind: "ops", owner: "default", type: "boolean", variants: { on: true, off: false }, safeVariant: "off", reason: "a test", ...more,
});

// telemetry makes a sender that exposes units to a rollout and tells whether
// each failed.
export async function telemetry({ url, call }, rollout, metric, seed = 1) {
  const { secret } = await call("POST", "/api/v1/tokens", { kind: "sdk", name: "sender", environment: rollout.environment, reason: "a test" });
  let seq = 0, unit = 0;
  const random = () => { seed = (seed * 1103515245 + 12345) % 2147483648; return seed / 2147483648; };
  return async function send(n, { treatment, control, step = 0, version = 1, applied = version, share = 0.5 }) {
    const exposures = [], observations = [], now = Date.now();
    for (let i = 0; i < n; i++) {
      const treated = random() < share;
      const t = new Date(now - 5).toISOString(), id = `unit-${++unit}`;
      exposures.push({ t, flag: rollout.flag, variant: treated ? rollout.treatment : rollout.control, unit: id, rollout: rollout.id, step, version });
      observations.push({ t: new Date(now).toISOString(), metric, unit: id, value: random() < (treated ? treatment : control) ? 1 : 0 });
    }
    const batch = { batch: crypto.randomUUID(), seq: ++seq, sentAt: new Date().toISOString(), dropped: { exposures: 0, observations: 0 }, instance: { id: "sender-1", service: "shop", version: "1.0", sdk: "test/1" }, applied: { epoch: 1, version: applied }, errors: [], exposures, observations, contexts: [], counts: [], unknownFlags: [] };
    return call("POST", "/sdk/v1/telemetry", batch, secret);
  };
}
