// Grants: what somebody may do, where, for which team's things.
import { ActionIcon, Button, NativeSelect } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

import type { Grant } from "../api/auth";
import { environments, teams } from "../api/queries";
import { place, roles, runs } from "../words/access";
import { Tag } from "./basics";
import { Icon } from "./icons";

export function GrantTags({ of, none = "looks at everything" }: { of: Grant[] | null | undefined; none?: string }) {
  if (!of?.length) return <span className="soft small">{none}</span>;
  return <>{of.map((g, i) => <div key={i} className="grant"><Tag tone={g.role === "admin" ? "warn" : g.role === "approver" ? "good" : "accent"} title={roles[g.role]}>{g.role}</Tag> <span className="small">{runs([g]) ? "runs the installation" : place(g)}</span></div>)}</>;
}

export function GrantsEditor({ value, onChange, team }: { value: Grant[]; onChange: (g: Grant[]) => void; team?: string }) {
  const places = useQuery(environments).data ?? [], owners = useQuery(teams).data ?? [];
  const set = (i: number, part: Partial<Grant>) => onChange(value.with(i, { ...value[i], ...part }));
  return (
    <div className="grants">
      {value.length === 0 && <div className="small soft">None yet: they look at everything, and change nothing.</div>}
      {value.map((g, i) => (
        <div key={i} className="grant-row">
          <NativeSelect label="Role" aria-label={`Role ${i + 1}`} value={g.role} onChange={(e) => set(i, { role: e.currentTarget.value })} data={["editor", "approver", "admin", "viewer"]} />
          <NativeSelect label="Of what" aria-label={`Role ${i + 1}: team`} value={g.team ?? ""} onChange={(e) => set(i, { team: e.currentTarget.value })} data={[{ value: "", label: "every team's things" }, ...owners.map((t) => ({ value: t.key, label: `what ${t.name || t.key} owns` }))]} />
          <NativeSelect label="Where" aria-label={`Role ${i + 1}: environment`} value={g.environment ?? ""} onChange={(e) => set(i, { environment: e.currentTarget.value })} data={[{ value: "", label: "every environment" }, ...places.map((p) => p.key)]} />
          <ActionIcon variant="subtle" color="gray" onClick={() => onChange(value.toSpliced(i, 1))} aria-label={`Take role ${i + 1} away`}><Icon name="cross" size={13} /></ActionIcon>
          <div className="small soft about">{g.role === "admin" && !runs([g]) ? "changes and approves there" : roles[g.role]}</div>
        </div>
      ))}
      <Button variant="subtle" size="compact-xs" onClick={() => onChange([...value, { role: "editor", ...(team && { team }) }])}>+ role</Button>
    </div>
  );
}
