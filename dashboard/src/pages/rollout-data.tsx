// What the judge hears, and what is wrong with it.
import type { Rollout } from "../api/client";
import { Card, Empty, Moment, Tag } from "../parts/basics";
import { count, milliseconds, number, span } from "../words/numbers";

// What is wrong with data, and what to look at.
const mends: Record<string, [string, string]> = {
  silent: ["an arm has gone silent", "Look whether its programs run, and whether the variant breaks their telemetry."],
  armMissing: ["an arm was never heard", "Look whether anybody falls into it, and whether the programs send exposures."],
  lossy: ["telemetry was lost", "Look at the errors of its instances on the fleet page."],
  sampleRatio: ["the arms have not the sizes that they should", "Something decides who is counted: a crash, a redirect, a filter. No number below can be trusted."],
  crossed: ["units were seen in both arms", "The unit is not stable: look at what fills in the targeting key."],
  unjoined: ["observations have no exposure", "They carry another unit than exposures do, or come from where the flag is not evaluated."],
  late: ["observations came late", "They are in totals only. Look at how long programs hold them back."],
  untrusted: ["browsers and apps sent some", "Anybody can send what they send: it is shown, and decides nothing."],
  broken: ["the judge failed on this rollout", "It holds. The server's log tells why."],
};

export function Quality({ of }: { of: Rollout }) {
  const e = of.evidence;
  if (!e || e.units.treatment + e.units.control === 0) return <Card title="Data"><Empty title="Nothing heard yet">Programs send exposures and observations through their SDKs; the judge looks at each batch. No data is never health.</Empty></Card>;
  const joined = e.joined + e.unjoined;
  const expected = (of.steps?.[e.step]?.ppm ?? 0) / 1e6, got = e.stepUnits.treatment / Math.max(1, e.stepUnits.treatment + e.stepUnits.control);
  const wrong = e.quality ?? [];
  const lag = milliseconds(e.lag);
  return (
    <Card title="Data" actions={wrong.length === 0 ? <Tag tone="good">can be trusted</Tag> : <Tag tone={wrong.some((q) => q.blocks) ? "bad" : "warn"}>{wrong.some((q) => q.blocks) ? "it may not advance on these" : "look at this"}</Tag>}>
      {wrong.length > 0 && <ul className="rows" style={{ marginBottom: 10 }}>{wrong.map((q) => {
        const [title, mend] = mends[q.kind] ?? [q.kind, ""];
        return <li key={q.kind} className="small"><div className="line"><Tag tone={q.blocks ? "bad" : "warn"}>{title}</Tag><span className="grow">{q.why}</span></div><div className="soft">{mend}</div></li>;
      })}</ul>}
      <dl className="facts">
        <dt>units</dt><dd>{count(e.units.treatment)} with {of.treatment}, {count(e.units.control)} with {of.control}</dd>
        <dt>this step</dt><dd>{count(e.stepUnits.treatment)} and {count(e.stepUnits.control)}: {Number((100 * got).toPrecision(3))} % got {of.treatment}, {Number((100 * expected).toPrecision(3))} % should</dd>
        <dt>sample ratio</dt><dd>{e.srm.mismatch ? <Tag tone="bad">mismatch: the arms are not comparable</Tag> : "as the weights say"} <span className="soft small">Bayes factor {number(e.srm.bayesFactor)} of {number(e.srm.threshold)}</span></dd>
        <dt>last heard</dt><dd>{of.treatment} <Moment at={e.last.treatment} />, {of.control} <Moment at={e.last.control} />, {lag === undefined ? e.lag : lag < 1000 ? "less than a second" : span(lag)} late</dd>
        <dt>unjoined</dt><dd>{joined === 0 ? "no observations yet" : `${Number(((100 * e.unjoined) / joined).toPrecision(2))} % of ${count(joined)} observations`}</dd>
        <dt>crossed</dt><dd>{e.crossed === 0 ? "nobody seen in both arms" : `${count(e.crossed)} units seen in both arms`}</dd>
        <dt>exposure</dt><dd>{count(Math.round(e.unitMinutes))} user minutes with {of.treatment}</dd>
      </dl>
    </Card>
  );
}
