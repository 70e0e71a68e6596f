// The few signs that the page uses, drawn on a 16 by 16 grid.
const shapes = {
  home: "M2 7.5 8 2.5l6 5M3.5 6.5V13.5h9V6.5",
  flag: "M3.5 14V2.5M3.5 3h8.5l-2 3 2 3H3.5",
  rollout: "M2 13.5h3v-3h3v-3h3v-4h3",
  check: "M2.5 8.5 6 12l7.5-8",
  audit: "M3.5 2h9v12h-9zM5.5 5h5M5.5 8h5M5.5 11h3",
  fleet: "M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5h.01M5 11h.01",
  segment: "M8 8m-5.5 0a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0-11 0M8 2.5V8l4 3.8",
  metric: "M2 13.5h12M3.5 11V8M7 11V4M10.5 11V6.5M13 11V3",
  token: "M5.5 10.5m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0M7.6 8.4 13 3M11 5l1.8 1.8",
  webhook: "M3 8a5 5 0 0 1 5-5M8 13a5 5 0 0 1-5-5M9 5.5 13 8l-4 2.5M13 8H6",
  person: "M8 5.2m-2.7 0a2.7 2.7 0 1 0 5.4 0a2.7 2.7 0 1 0-5.4 0M2.8 13.8c.5-3 2.5-4.6 5.2-4.6s4.7 1.6 5.2 4.6",
  team: "M6 5.5m-2.3 0a2.3 2.3 0 1 0 4.6 0a2.3 2.3 0 1 0-4.6 0M1.8 13.3c.4-2.6 2-4 4.2-4s3.8 1.4 4.2 4M10.3 3.4a2.3 2.3 0 0 1 0 4.3M11.6 9.7c1.5.5 2.4 1.7 2.7 3.6",
  agent: "M3.5 5.5h9v7h-9zM8 5.5V3M8 2.5h.01M6 8.5v.8M10 8.5v.8M1.8 8.2v2.2M14.2 8.2v2.2",
  policy: "M8 2v12M4.5 14h7M3 4.5h10M3 4.5 1.5 9h3zM13 4.5 11.5 9h3z",
  environment: "M2.5 4.5 8 2l5.5 2.5L8 7zM2.5 8 8 10.5 13.5 8M2.5 11.5 8 14l5.5-2.5",
  settings: "M2.5 4.5h11M2.5 8h11M2.5 11.5h11M5 3v3M11 6.5v3M7 10v3",
  search: "M7 7m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0M10.5 10.5 14 14",
  sun: "M8 8m-2.7 0a2.7 2.7 0 1 0 5.4 0a2.7 2.7 0 1 0-5.4 0M8 1.5v1.7M8 12.8v1.7M1.5 8h1.7M12.8 8h1.7M3.4 3.4l1.2 1.2M11.4 11.4l1.2 1.2M12.6 3.4l-1.2 1.2M4.6 11.4l-1.2 1.2",
  moon: "M13 9.5A5.5 5.5 0 0 1 6.5 3 5.5 5.5 0 1 0 13 9.5",
  up: "M8 13V3M4 7l4-4 4 4",
  down: "M8 3v10M4 9l4 4 4-4",
  cross: "M4 4l8 8M12 4l-8 8",
  plus: "M8 3v10M3 8h10",
  copy: "M5.5 5.5h8v8h-8zM3 10.5H2.5v-8h8V3",
  stop: "M5.3 2.5h5.4l2.8 2.8v5.4l-2.8 2.8H5.3l-2.8-2.8V5.3zM5.5 8h5",
  out: "M9.5 3H3v10h6.5M7 8h7M11.5 5.5 14 8l-2.5 2.5",
} as const;

export type IconName = keyof typeof shapes;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 16 16" fill="none" stroke="currentColor" strokeWidth={1.4} strokeLinecap="round" strokeLinejoin="round" aria-hidden focusable={false}>
      <path d={shapes[name]} />
    </svg>
  );
}
