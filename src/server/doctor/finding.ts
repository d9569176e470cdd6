/** What the doctor looks at, in the order in which it tells. */
export const doctorAreas = [
  "configuration",
  "runtime",
  "disk",
  "descriptors",
  "memory",
  "clock",
  "network",
  "certificates",
  "packages",
] as const;

export type DoctorArea = (typeof doctorAreas)[number];

/** One thing that was looked at. What isn't well comes with what to do about it. */
export type Finding =
  | { readonly area: DoctorArea; readonly level: "ok"; readonly finding: string }
  /** `problem`: a start fails, or loses what it promises. `warning`: it works, and will hurt. */
  | { readonly area: DoctorArea; readonly level: "warning" | "problem"; readonly finding: string; readonly advice: string };

export function ok(area: DoctorArea, finding: string): Finding {
  return { area, level: "ok", finding };
}

export function warning(area: DoctorArea, finding: string, advice: string): Finding {
  return { area, level: "warning", finding, advice };
}

export function problem(area: DoctorArea, finding: string, advice: string): Finding {
  return { area, level: "problem", finding, advice };
}
