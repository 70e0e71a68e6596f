// The page: what it knows comes from the public API, and what it shows of it
// is always text, never markup.

import { interval, number, progress, serving, share, span } from "./numbers.js";

const byId = (id) => document.getElementById(id);
const most = 200; // flags shown at a time
const justEnded = 3_600_000; // for so long a rollout that ended is shown

// el makes an element. Children that are strings become text.
function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// say changes a text only if it differs, so that nobody is told the same twice
// and a selection stays.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// keep makes the children of parent those of items, in order. A child that
// stays is updated where it stands: it keeps the focus.
function keep(parent, items, keyOf, make) {
  const known = parent.known ??= new Map();
  const keys = new Set(items.map(keyOf));
  for (const [key, row] of known) {
    if (!keys.has(key)) { row.node.remove(); known.delete(key); }
  }
  items.forEach((item, i) => {
    let row = known.get(keyOf(item));
    if (!row) known.set(keyOf(item), row = make(item));
    if (parent.children[i] !== row.node) parent.insertBefore(row.node, parent.children[i] ?? null);
    row.update?.(item);
  });
}

// ---- the API ----

class Problem extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

const token = () => sessionStorage.getItem("flyball.token");

async function call(path, body) {
  const response = await fetch(path, {
    method: body ? "POST" : "GET",
    headers: { Authorization: `Bearer ${token()}`, ...(body && { "Content-Type": "application/json" }) },
    body: body && JSON.stringify(body),
    cache: "no-store",
    signal: AbortSignal.timeout(10_000),
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Problem(response.status, answer.detail ?? `the server answered ${response.status}`);
  return answer;
}

// ---- signing in ----

function signOut(why = "") {
  sessionStorage.removeItem("flyball.token");
  show(false);
  say(byId("sign-in-error"), why);
  say(byId("connection"), "");
  byId("token").focus();
}

function show(open) {
  byId("sign-in").hidden = open;
  byId("main").hidden = !open;
  byId("sign-out").hidden = !open;
  if (!open && byId("kill").open) byId("kill").close();
}

byId("sign-out").addEventListener("click", () => signOut());
byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("flyball.token", byId("token").value.trim());
  byId("token").value = "";
  say(byId("sign-in-error"), "");
  show(true);
  byId("main").focus();
  seen = "";
  poll();
});

// ---- rollouts ----

function rolloutCard() {
  const title = el("h3"), state = el("span", { className: "badge" }), now = el("p"), why = el("p", { className: "soft" });
  const steps = el("ol", { className: "steps", ariaLabel: "steps" });
  const guardrails = el("tbody"), table = el("table", {},
    el("caption", {}, "Guardrails and success metrics"),
    el("thead", {}, el("tr", {}, ...["Metric", "Verdict", "Evidence of harm or of a win", "For the next step", "Treatment against control", "Trials"].map((h) => el("th", { scope: "col" }, h)))),
    guardrails);
  const ratio = el("p"), blocks = el("p", { className: "warn" });
  let key, environment;
  const kill = killButton(() => [key, environment]);
  const node = el("article", { className: "rollout" }, el("header", {}, title, state, kill), now, steps, why, table, ratio, blocks);

  function update(r) {
    key = r.flag; environment = r.environment;
    say(title, `${r.flag} in ${r.environment}`);
    kill.ariaLabel = `Kill ${r.flag} in ${r.environment}`;
    const e = r.evidence;
    state.className = `badge ${tone(e?.verdict)}`;
    say(state, e ? `${r.state}, ${e.verdict}` : r.state);
    const step = r.steps[r.at];
    const lease = r.leaseUntil ? `, leased for ${span(Date.parse(r.leaseUntil) - Date.now())} more` : "";
    kill.hidden = Boolean(r.endedAt);
    if (r.endedAt) say(now, `Ended ${span(Date.now() - Date.parse(r.endedAt))} ago, at ${share(step.ppm)} of ${r.treatment} in place of ${r.control}`);
    else say(now, `Step ${r.at + 1} of ${r.steps.length}: ${r.treatment} to ${share(step.ppm)} in place of ${r.control}, for ${span(Date.now() - Date.parse(r.steppedAt))} (held ${step.hold} at least)${lease}`);
    keep(steps, r.steps.map((s, i) => ({ ...s, i, at: r.at })), (s) => s.i, stepItem);
    say(why, [r.why, e?.why].filter(Boolean).join("; "));
    const metrics = [...(e?.guardrails ?? []).map((m) => ({ ...m, role: "guardrail" })), ...(e?.success ?? []).map((m) => ({ ...m, role: "success" }))];
    table.hidden = metrics.length === 0;
    keep(guardrails, metrics, (m) => `${m.role} ${m.metric}`, metricRow);
    say(ratio, e ? sampleRatio(e) : "The judge has heard nothing yet.");
    ratio.className = e?.srm?.mismatch ? "bad" : "soft";
    const stop = [...(e?.blocks ?? []), e?.lossy].filter(Boolean);
    blocks.hidden = stop.length === 0;
    say(blocks, `No advance: ${stop.join("; ")}`);
  }
  return { node, update };
}

function stepItem() {
  const node = el("li");
  return { node, update(s) {
    say(node, share(s.ppm));
    if (s.i === s.at) node.setAttribute("aria-current", "step");
    else node.removeAttribute("aria-current");
  } };
}

function metricRow(metric) {
  const name = el("th", { scope: "row" }), verdict = cell("Verdict"), evidence = cell("Evidence"), next = cell("Next step");
  const estimate = cell("Treatment against control"), trials = cell("Trials");
  const meter = el("meter", { min: 0, max: 1, high: 0.8, optimum: 0 }), nextMeter = el("meter", { min: 0, max: 1 });
  const text = el("span", { className: "note" }), nextText = el("span", { className: "note" });
  evidence.append(meter, text);
  next.append(nextMeter, nextText);
  const node = el("tr", {}, name, verdict, evidence, next, estimate, trials);
  if (metric.role === "success") meter.optimum = 1;
  return { node, update(m) {
    say(name, m.role === "success" ? `${m.metric} (success)` : m.metric);
    verdict.className = tone(m.verdict);
    say(verdict, m.why ? `${m.verdict}: ${m.why}` : m.verdict);
    meter.value = progress(m.e, m.threshold);
    say(text, `e = ${number(m.e)} of ${number(m.threshold)}`);
    nextMeter.hidden = !(m.advanceThreshold > 0);
    nextMeter.value = progress(m.advanceE, m.advanceThreshold);
    say(nextText, m.advanceThreshold > 0 ? `e = ${number(m.advanceE)} of ${number(m.advanceThreshold)}, margin ${number(m.advanceMargin)}` : "–");
    say(estimate, interval(m.estimate, m.interval));
    say(trials, `${m.n.treatment} against ${m.n.control}`);
  } };
}

const cell = (label) => el("td", { "data-label": label });
const tone = (verdict) => ({ healthy: "good", unsure: "warn", breached: "bad" })[verdict] ?? "soft";

function sampleRatio(e) {
  const units = `${e.units.treatment} units in treatment, ${e.units.control} in control`;
  return e.srm.mismatch
    ? `Sample-ratio mismatch: ${units} (Bayes factor ${number(e.srm.bayesFactor)}, at most ${number(e.srm.threshold)})`
    : `${units}; the sample ratio fits (Bayes factor ${number(e.srm.bayesFactor)} of ${number(e.srm.threshold)})`;
}

// ---- flags ----

let flags = [], environments = [];

function showFlags() {
  const words = byId("search").value.trim().toLowerCase();
  const found = flags.filter((f) => [f.key, f.owner, f.description ?? ""].some((s) => s.toLowerCase().includes(words)));
  const shown = found.slice(0, most);
  say(byId("flag-count"), shown.length < found.length ? `the first ${most} of ${found.length}` : `${found.length} of ${flags.length}`);
  const columns = environments.join(" ");
  let table = byId("flags").firstElementChild;
  if (table?.dataset.columns !== columns) {
    table = el("table", {}, el("thead", {}, el("tr", {}, ...["Flag", ...environments].map((h) => el("th", { scope: "col" }, h)))), el("tbody"));
    table.dataset.columns = columns;
    byId("flags").replaceChildren(table);
  }
  keep(table.tBodies[0], shown, (f) => f.key, flagRow);
}

function flagRow(first) {
  const about = el("small"), title = el("th", { scope: "row" }, first.key, about);
  const cells = new Map(environments.map((env) => [env, servingCell(first.key, env)]));
  const node = el("tr", {}, title, ...[...cells.values()].map((c) => c.node));
  return { node, update(f) {
    const overdue = f.expiresAt && Date.parse(f.expiresAt) < Date.now();
    say(about, [f.kind, f.owner, overdue ? "overdue" : "", f.description].filter(Boolean).join(" · "));
    about.className = overdue ? "warn" : "";
    for (const [env, c] of cells) c.update(f);
  } };
}

function servingCell(key, environment) {
  const node = cell(environment), text = el("span"), note = el("span", { className: "note" });
  const kill = killButton(() => [key, environment]);
  kill.ariaLabel = `Kill ${key} in ${environment}`;
  node.append(text, " ", kill, note);
  return { node, update(f) {
    const config = f.environments?.[environment];
    kill.hidden = !config || Boolean(config.killed);
    const s = config ? serving(config, f) : { text: "–", tone: "soft", note: "" };
    text.className = s.tone;
    say(text, s.text);
    say(note, s.note);
  } };
}

byId("search").addEventListener("input", showFlags);

// ---- kill ----

let target;

function killButton(what) {
  const button = el("button", { type: "button", className: "kill" }, "Kill");
  button.addEventListener("click", () => {
    const [key, environment] = target = what();
    say(byId("kill-title"), `Kill ${key} in ${environment}`);
    say(byId("kill-what"), "Its safe variant is served to everybody there, at once, until a person resumes it. A live rollout ends.");
    say(byId("kill-error"), "");
    byId("kill-reason").value = "";
    byId("kill").showModal();
    byId("kill-reason").focus();
  });
  return button;
}

byId("kill-cancel").addEventListener("click", () => byId("kill").close());
byId("kill-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const submit = byId("kill-form").querySelector(".danger");
  if (submit.disabled) return;
  const [key, environment] = target;
  submit.disabled = true;
  try {
    await call(`/api/v1/environments/${encodeURIComponent(environment)}/flags/${encodeURIComponent(key)}/kill`, { reason: byId("kill-reason").value.trim() });
    byId("kill").close();
    poll();
  } catch (problem) {
    say(byId("kill-error"), problem.message);
  } finally {
    submit.disabled = false;
  }
});

// ---- changes ----

function auditItem(e) {
  const at = new Date(e.at);
  const who = e.actor.onBehalfOf ? `${e.actor.id} for ${e.actor.onBehalfOf}` : e.actor.id;
  const where = e.environment ? ` in ${e.environment}${e.version ? ` (version ${e.version})` : ""}` : "";
  return { node: el("li", {},
    el("time", { dateTime: e.at, className: "soft" }, at.toLocaleString()), ` ${who}: `, el("strong", {}, e.action), ` ${e.subject}${where}: ${e.reason}`) };
}

// ---- the loop ----

let timer, round = 0, seen = "";

// poll asks for all that is shown, each second. Flags, which are many, are
// asked for again only after a change was audited.
async function poll() {
  clearTimeout(timer);
  if (!token()) return;
  const mine = ++round;
  try {
    const [live, latest, { entries }] = await Promise.all([call("/api/v1/rollouts?live=true"), call("/api/v1/rollouts?limit=10"), call("/api/v1/audit?limit=30")]);
    const ended = latest.rollouts.filter((r) => Date.now() - Date.parse(r.endedAt) < justEnded);
    const rollouts = await Promise.all([...live.rollouts, ...ended].map((r) => call(`/api/v1/rollouts/${encodeURIComponent(r.id)}`)));
    const head = String(entries[0]?.seq ?? 0);
    if (head !== seen) {
      const [all, where] = await Promise.all([call("/api/v1/flags"), call("/api/v1/environments")]);
      if (mine !== round) return;
      flags = all.flags;
      environments = where.environments.map((e) => e.key);
      showFlags();
      seen = head;
    }
    if (mine !== round || !token()) return;
    byId("no-rollouts").hidden = rollouts.length > 0;
    keep(byId("rollouts"), rollouts, (r) => r.id, rolloutCard);
    keep(byId("audit"), entries, (e) => e.seq, auditItem);
    say(byId("connection"), "");
  } catch (problem) {
    if (mine !== round) return;
    if (problem.status === 401 || problem.status === 403) return signOut(problem.message);
    say(byId("connection"), `Not up to date: ${problem.message}`);
  }
  if (!document.hidden) timer = setTimeout(poll, 1000);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });

show(Boolean(token()));
if (token()) poll();
else byId("token").focus();
