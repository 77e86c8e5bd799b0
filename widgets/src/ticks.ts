/** Round numbers and round times along an axis. */

const SECOND = 1_000;
const DAY = 86_400 * SECOND;
const STEPS = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200].map((s) => s * SECOND),
  ...[1, 2, 7, 14, 30, 60, 90, 180, 365, 730, 1_825, 3_650].map((d) => d * DAY),
];

/** About so many round values from `low` to `high`, and the distance between two. */
export function ticks(low: number, high: number, most: number): { at: number[]; step: number } {
  const rough = (high - low) / Math.max(1, most);
  if (!(rough > 0) || !Number.isFinite(rough)) return { at: [low], step: 0 };
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * (([1, 2, 5, 10] as const).find((m) => m * power >= rough * 0.999) ?? 10);
  return { at: along(low, high, step), step };
}

/** The same for milliseconds since 1970. */
export function timeTicks(low: number, high: number, most: number): { at: number[]; step: number } {
  const rough = (high - low) / Math.max(1, most);
  if (!(rough > 0)) return { at: [low], step: 0 };
  const step = STEPS.find((s) => s >= rough);
  return step ? { at: along(low, high, step), step } : ticks(low, high, most);
}

function along(low: number, high: number, step: number): number[] {
  const out: number[] = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9 && out.length < 100; n++) out.push(n * step + 0);
  return out;
}

/** A value of an axis whose values are `step` apart. */
export function label(value: number, step: number): string {
  const size = Math.abs(value);
  if (size >= 1e6 || (size && size < 1e-4)) return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
  const digits = step > 0 ? Math.min(6, Math.max(0, -Math.floor(Math.log10(step) + 1e-9))) : 3;
  return value.toLocaleString("en-US", { minimumFractionDigits: step ? digits : 0, maximumFractionDigits: digits });
}

/** A time of an axis whose times are `step` milliseconds apart, in UTC. */
export function timeLabel(ms: number, step: number): string {
  const text = new Date(ms).toISOString();
  if (step >= DAY) return text.slice(0, 10);
  if (step >= 60 * SECOND) return `${text.slice(5, 10)} ${text.slice(11, 16)}`;
  return step >= SECOND ? text.slice(11, 19) : text.slice(14, 23);
}
