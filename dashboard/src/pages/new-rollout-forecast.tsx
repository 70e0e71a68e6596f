// What the server expects of a plan, and what it supposes of the traffic.
import { NumberInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";

import { post, read, type Schemas } from "../api/client";
import { stringify } from "../api/json";
import { Card, Tag, Trouble } from "../parts/basics";
import { number } from "../words/numbers";
import type { bodyOf, PlanDraft } from "../words/plan";

export interface Forecast { told?: Schemas["RolloutForecast"]; trouble?: unknown; asking: boolean }

// useForecast asks the server whenever the plan has come to rest. A body that is
// not there is no plan yet.
export function useForecast(body: ReturnType<typeof bodyOf> | undefined, traffic: PlanDraft["traffic"]): Forecast {
  const known = { ...(traffic.unitsPerDay && { unitsPerDay: traffic.unitsPerDay }), ...(traffic.requestsPerSecond && { requestsPerSecond: traffic.requestsPerSecond }), ...(Object.keys(traffic.baseline).length > 0 && { baseline: traffic.baseline }) };
  const [asked] = useDebouncedValue(body && stringify({ ...body, ...(Object.keys(known).length > 0 && { traffic: known }) }), 250);
  const found = useQuery({
    queryKey: ["forecast", asked], enabled: asked !== undefined, retry: false, staleTime: 10_000, refetchInterval: 30_000,
    placeholderData: (old: Schemas["RolloutForecast"] | undefined) => old,
    queryFn: () => read(post("/api/v1/rollouts/plan", { body: JSON.parse(asked!) })),
  });
  return { told: body && found.data, trouble: body && found.error ? found.error : undefined, asking: found.isFetching };
}

const per = (n: number | null | undefined, unit: string) => (n === null || n === undefined ? <span className="warn">not known</span> : `${number(n)} ${unit}`);

export function Traffic({ d, set, forecast, measured }: { d: PlanDraft; set: (p: Partial<PlanDraft>) => void; forecast: Forecast; measured: Schemas["MetricView"][] }) {
  const { told, trouble } = forecast;
  const tell = (part: Partial<PlanDraft["traffic"]>) => set({ traffic: { ...d.traffic, ...part } });
  const unitOf = (key: string) => measured.find((m) => m.key === key)?.type === "rate" ? 100 : 1;
  return (
    <Card title="What it rests on" actions={told && <span className="small soft">at the present traffic, should {d.treatment} do as {d.control} does</span>}>
      {trouble !== undefined && <Trouble error={trouble} />}
      {told && (told.traffic?.length ?? 0) > 0 && (
        <div className="scroll" tabIndex={0} role="region" aria-label="Traffic">
          <table className="plain"><thead><tr><th>Metric</th><th>Seen</th><th className="num">Judged a second</th><th className="num">Users a day</th><th className="num">Now</th><th>You know better</th></tr></thead>
            <tbody>{told.traffic!.map((t) => {
              const unit = unitOf(t.metric), given = d.traffic.baseline[t.metric];
              const without = Object.fromEntries(Object.entries(d.traffic.baseline).filter(([k]) => k !== t.metric));
              return (
                <tr key={t.metric}>
                  <td className="mono">{t.metric}</td><td><Tag tone={t.from === "unknown" ? "warn" : t.from === "given" ? "accent" : "good"}>{t.from === "unknown" ? "never" : t.from === "given" ? "as you say" : "lately"}</Tag></td>
                  <td className="num">{per(t.trialsPerSecond, "")}</td><td className="num">{per(t.unitsPerDay, "")}</td><td className="num">{t.baseline === null ? per(null, "") : unit === 100 ? `${number(100 * t.baseline)} %` : number(t.baseline)}</td>
                  <td><NumberInput aria-label={`${t.metric}: what it is now`} placeholder="as seen" w={110} min={0} decimalScale={6} suffix={unit === 100 ? " %" : ""} value={given === undefined ? "" : given * unit} onChange={(v) => tell({ baseline: typeof v === "number" ? { ...without, [t.metric]: v / unit } : without })} /></td>
                </tr>
              );
            })}</tbody></table>
        </div>
      )}
      <div className="line foot" style={{ marginTop: 8 }}>
        <NumberInput label="Users a day" placeholder="as seen" w={140} min={0} thousandSeparator="," value={d.traffic.unitsPerDay ?? ""} onChange={(v) => tell({ unitsPerDay: typeof v === "number" && v > 0 ? v : undefined })} />
        <NumberInput label="Requests a second" placeholder="as seen" w={140} min={0} value={d.traffic.requestsPerSecond ?? ""} onChange={(v) => tell({ requestsPerSecond: typeof v === "number" && v > 0 ? v : undefined })} />
        <span className="small soft grow" style={{ minWidth: 220 }}>What the server has not seen, or not for long, you may know better. Nothing of it is kept: it only serves the estimate.</span>
      </div>
      {(told?.notes?.length ?? 0) > 0 && <ul className="small notes" aria-label="Notes">{told!.notes!.map((n) => <li key={n}>{n.replace(/: say --traffic '[^']*'/, ": say how many users come in a day, if you know")}</li>)}</ul>}
    </Card>
  );
}
