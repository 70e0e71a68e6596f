// What is served: one variant, or a split that always sums to a hundred percent.
import { ActionIcon, Button, NativeSelect, NumberInput, TextInput } from "@mantine/core";

import type { Serve } from "../api/client";
import { million, percentToPPM, share, weigh } from "../words/numbers";
import { Icon } from "./icons";

const colours = ["var(--accent)", "var(--soft)", "var(--good)", "var(--warn)", "var(--bad)"];

interface Props { value: Serve; variants: string[]; onChange: (s: Serve) => void; label: string; disabled?: boolean }

export function ServeEditor({ value, variants, onChange, label, disabled }: Props) {
  if (value.split) return <SplitEditor value={value} variants={variants} onChange={onChange} label={label} disabled={disabled} />;
  const other = variants.find((v) => v !== value.variant);
  const split = () => onChange({ split: { by: "targetingKey", weights: [{ variant: value.variant ?? variants[0], ppm: other ? 500_000 : million }, ...(other ? [{ variant: other, ppm: 500_000 }] : [])] } });
  return (
    <div className="line">
      <span className="small soft">serve</span>
      <NativeSelect aria-label={label} value={value.variant ?? ""} data={variants} onChange={(e) => onChange({ variant: e.currentTarget.value })} disabled={disabled} />
      {other && !disabled && <Button variant="subtle" size="compact-xs" onClick={split} aria-label={`${label}: split`}>split…</Button>}
    </div>
  );
}

function SplitEditor({ value, variants, onChange, label, disabled }: Props) {
  const split = value.split!, weights = split.weights ?? [];
  const ppms = weights.map((w) => w.ppm);
  const put = (next: { variant: string; ppm: number }[], by = split.by) => onChange({ split: { ...(by && { by }), weights: next } });
  const set = (i: number, percent: number) => put(weigh(ppms, i, percentToPPM(percent)).map((ppm, j) => ({ ...weights[j], ppm })));
  const unused = variants.find((v) => !weights.some((w) => w.variant === v));
  const remove = (i: number) => {
    const rest = weights.toSpliced(i, 1);
    put(rest.map((w, j) => (j === rest.length - 1 ? { ...w, ppm: w.ppm + weights[i].ppm } : w)));
  };
  return (
    <div role="group" aria-label={label}>
      <div className="splitbar" aria-hidden>{weights.map((w, i) => <span key={w.variant} style={{ width: `${w.ppm / 10_000}%`, background: colours[i % colours.length] }} />)}</div>
      {weights.map((w, i) => (
        <div className="line" key={i} style={{ marginTop: 6 }}>
          <span className="dot" style={{ background: colours[i % colours.length] }} />
          <NativeSelect aria-label={`${label}: variant ${i + 1}`} value={w.variant} data={variants} disabled={disabled} onChange={(e) => put(weights.with(i, { ...w, variant: e.currentTarget.value }))} />
          <NumberInput aria-label={`${label}: share of ${w.variant}`} value={w.ppm / 10_000} min={0} max={100} step={1} decimalScale={4} suffix=" %" w={110} disabled={disabled} clampBehavior="strict" onChange={(v) => typeof v === "number" && set(i, v)} />
          {weights.length > 1 && !disabled && <ActionIcon variant="subtle" color="gray" size="sm" onClick={() => remove(i)} aria-label={`${label}: remove ${w.variant}`}><Icon name="cross" size={13} /></ActionIcon>}
        </div>
      ))}
      {!disabled && (
        <div className="line" style={{ marginTop: 6 }}>
          {unused && <Button variant="subtle" size="compact-xs" onClick={() => put([...weights, { variant: unused, ppm: 0 }])}>+ variant</Button>}
          <TextInput aria-label={`${label}: split by`} leftSection={<span className="small soft">by</span>} leftSectionWidth={28} w={180} value={split.by ?? "targetingKey"} onChange={(e) => put(weights, e.currentTarget.value)} />
          <Button variant="subtle" size="compact-xs" onClick={() => onChange({ variant: weights[0]?.variant ?? variants[0] })}>one variant</Button>
          <span className="small soft">{share(ppms.reduce((a, b) => a + b, 0))} in all</span>
        </div>
      )}
    </div>
  );
}
