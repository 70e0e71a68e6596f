import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";

// The page's modules have the ending that browsers like; node wants to be told.
const source = await readFile(new URL("../page/numbers.js", import.meta.url), "utf8");
const { interval, number, progress, serving, share, span } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

test("shares are told in percent, without losing the smallest", () => {
  assert.deepEqual([1, 100, 10_000, 125_000, 1_000_000].map(share), ["0.0001 %", "0.01 %", "1 %", "12.5 %", "100 %"]);
});

test("numbers keep four digits, and none is no zero", () => {
  assert.deepEqual([0, 1, 0.123456, 1234.56, 4_812_000, 0.00004, -2.5, null, undefined].map(number), ["0", "1", "0.1235", "1235", "4.8e+6", "4.0e-5", "-2.5", "–", "–"]);
});

test("an e-value goes from 1 to its threshold in equal factors", () => {
  assert.equal(progress(1, 100), 0);
  assert.equal(progress(10, 100), 0.5);
  assert.equal(progress(100, 100), 1);
  assert.equal(progress(1e9, 100), 1);
  assert.equal(progress(0.01, 100), 0);
  assert.equal(progress(undefined, undefined), 0);
});

test("an estimate is told with its interval", () => {
  assert.equal(interval(1.05, [0.98, 1.123456]), "1.05 (0.98 to 1.123)");
  assert.equal(interval(1.05, null), "1.05");
  assert.equal(interval(null, null), "–");
});

test("spans have at most two units", () => {
  assert.deepEqual([0, 999, 1000, 61_000, 3_600_000, 90_061_000, -5].map(span), ["0 s", "0 s", "1 s", "1 min 1 s", "1 h", "1 d 1 h", "0 s"]);
});

test("what is served is told by what wins", () => {
  const flag = { safeVariant: "off" };
  const rollout = { treatment: "on", ppm: 10_000, where: "default" };
  const says = (config) => serving(config, flag).text;
  assert.equal(says({ killed: { by: "user:ann", reason: "broken" }, enabled: true, rollout }), "killed: off");
  assert.equal(says({ enabled: false, offVariant: "off", rollout }), "disabled: off");
  assert.equal(says({ enabled: true, rollout, default: { variant: "off" } }), "rollout: on to 1 %");
  assert.equal(says({ enabled: true, default: { variant: "off" } }), "off");
  assert.equal(says({ enabled: true, default: { split: { weights: [{ variant: "on", ppm: 100_000 }, { variant: "off", ppm: 900_000 }] } } }), "on 10 %, off 90 %");
  assert.equal(serving({ enabled: true, rules: [{}, {}], default: { variant: "off" } }, flag).note, "after 2 rules");
});
