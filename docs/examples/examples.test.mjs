// Runs each example as its first lines say, against one real server with a
// rollout under way: all give a user the same, and what they tell arrives.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { promisify } from "node:util";

import { build } from "esbuild";
import { chromium } from "playwright-core";

const here = new URL(".", import.meta.url).pathname;
const program = process.env.FLYBALL_BINARY ?? join(here, "../../bin/flyball");
const unit = "user-4711";
let folder, server, url, admin, sdk, client, rollout, want;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "flyball-examples-"));
  server = spawn(program, ["serve", "--listen", "127.0.0.1:0", "--data", folder], { stdio: ["ignore", "ignore", "pipe"] });
  for await (const line of createInterface({ input: server.stderr })) {
    admin = /^admin token: (\S+)/.exec(line)?.[1] ?? admin;
    url = / url=(\S+)/.exec(line)?.[1];
    if (url) break;
  }
  const reason = "an example";
  await api("POST", "/api/v1/flags", {
    key: "shop.checkout.fast", kind: "ops", owner: "default", type: "boolean", variants: { on: true, off: false },
    safeVariant: "off", clientVisible: true, reason,
  });
  await api("POST", "/api/v1/environments/production/flags/shop.checkout.fast/enable", { reason });
  await api("POST", "/api/v1/metrics", { key: "shop.checkout.errors", type: "rate", better: "lower", reason });
  rollout = await api("POST", "/api/v1/rollouts", {
    flag: "shop.checkout.fast", environment: "production", treatment: "on", control: "off", steps: [{ ppm: 500000, hold: "1h" }, { ppm: 1000000, hold: "1h" }],
    guardrails: [{ metric: "shop.checkout.errors", margin: { relative: 0.05 } }], reason,
  });
  sdk = (await api("POST", "/api/v1/tokens", { kind: "sdk", name: "programs", environment: "production", reason })).secret;
  client = (await api("POST", "/api/v1/tokens", { kind: "client", name: "page", environment: "production", reason })).secret;
  const { value, variant } = await api("POST", "/ofrep/v1/evaluate/flags/shop.checkout.fast", { context: { targetingKey: unit } }, sdk);
  want = `fast: ${value} (${variant}, SPLIT)`;
});

after(async () => {
  if (server && server.exitCode === null) {
    const ended = once(server, "exit");
    server.kill("SIGINT");
    await ended;
  }
  await rm(folder, { recursive: true, force: true });
});

async function api(method, path, body, token = admin) {
  const response = await fetch(url + path, {
    method, headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" }, body: body && JSON.stringify(body),
  });
  const answer = await response.json();
  assert.ok(response.ok, `${method} ${path}: ${JSON.stringify(answer)}`);
  return answer;
}

const programs = {
  go: ["go", "run", "../../docs/examples/go/main.go"],
  node: ["node", "node/example.mjs"],
  python: ["python3", "python/example.py"],
  java: ["java", "-cp", "/usr/share/java/gson.jar", "java/Example.java"],
};

for (const [language, [command, ...args]] of Object.entries(programs)) {
  test(`${language}: the example gives what the server says, and its telemetry arrives`, async () => {
    const env = { ...process.env, FLYBALL_SERVER: url, FLYBALL_TOKEN: sdk };
    const { stdout } = await promisify(execFile)(command, [...args, unit], { cwd: here, env });
    assert.equal(stdout.trim(), want);
    const heard = Object.keys(programs).indexOf(language) + 1;
    for (let asked = 0; ; asked++) { // the judge works after the answer
      const { evidence } = await api("GET", `/api/v1/rollouts/${rollout.id}`);
      if (evidence.joined === heard) break;
      assert.ok(asked < 100, `${evidence.joined} observations joined an exposure, want ${heard}`);
      await setTimeout(100);
    }
  });
}

test("browser: the page shows what the server says, and follows a change", async (t) => {
  const page = await build({ entryPoints: [join(here, "browser/example.mjs")], bundle: true, format: "esm", write: false });
  const html = await readFile(join(here, "browser/index.html"));
  const site = createServer((request, response) => {
    const [type, body] = request.url.startsWith("/page.js") ? ["text/javascript", page.outputFiles[0].contents] : ["text/html", html];
    response.writeHead(200, { "Content-Type": type }).end(body);
  });
  await once(site.listen(0, "127.0.0.1"), "listening");
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  t.after(async () => {
    await browser.close();
    site.closeAllConnections();
    site.close();
  });
  const tab = await browser.newPage();
  await tab.goto(`http://127.0.0.1:${site.address().port}/?${new URLSearchParams({ server: url, token: client, unit })}`);
  await tab.getByText(want).waitFor();
  await api("POST", "/api/v1/environments/production/flags/shop.checkout.fast/kill", { reason: "an example" });
  await tab.getByText("fast: false (off, DISABLED)").waitFor();
});
