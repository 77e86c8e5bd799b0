/** Numbers as people read them: three or four figures, a unit, and a dash for what is not known. */

export const UNKNOWN = "–";

const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const SUFFIXES: [number, string][] = [
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
];

/** 3.1, 48, 12,340, 123k, 4.56M */
export function count(value: number): string {
  if (!Number.isFinite(value)) return UNKNOWN;
  if (value < 0) return `−${count(-value)}`;
  if (value < 99_999.5) return value < 9.95 && !Number.isInteger(value) ? value.toFixed(1) : WHOLE.format(value);
  return scaled(value);
}

/** As `count`, in five characters at most: 3.1, 480, 1.23k, 12.3k, 123k */
export function short(value: number): string {
  if (!Number.isFinite(value)) return UNKNOWN;
  return value < 999.5 ? count(value) : scaled(value);
}

function scaled(value: number): string {
  for (const [size, suffix] of SUFFIXES) {
    // 999.6k would be written as 1000k, so it belongs to the next suffix.
    if (value >= size * 0.9995) return `${figures(value / size)}${suffix}`;
  }
  return count(value);
}

function figures(value: number): string {
  return value < 9.995 ? value.toFixed(2) : value < 99.95 ? value.toFixed(1) : value.toFixed(0);
}

/** 0.4 ms, 240 ms, 1.2 s, 3.5 min, 2.1 h, 4 d */
export function span(ms: number): string {
  if (!Number.isFinite(ms)) return UNKNOWN;
  if (ms < 0) return `−${span(-ms)}`;
  if (ms < 999.5) return `${ms < 9.95 && ms > 0 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
  const s = ms / 1000;
  if (s < 59.95) return `${tenth(s)} s`;
  if (s < 3_597) return `${tenth(s / 60)} min`;
  if (s < 86_220) return `${tenth(s / 3_600)} h`;
  return `${tenth(s / 86_400)} d`;
}

function tenth(value: number): string {
  return value < 9.95 ? value.toFixed(1) : value.toFixed(0);
}

/** 0:07, 12:40, 1:02:03 */
export function clock(seconds: number): string {
  if (!Number.isFinite(seconds)) return UNKNOWN;
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value: number) => String(value).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** 0 B, 640 KiB, 12.3 MiB */
export function bytes(value: number): string {
  if (!Number.isFinite(value)) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = value;
  let unit = 0;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${unit && size < 99.95 ? size.toFixed(1) : size.toFixed(0)} ${units[unit] ?? ""}`;
}

export function percent(share: number): string {
  return Number.isFinite(share) ? `${Math.round(share * 100)}%` : UNKNOWN;
}

/** Whole percents that sum to 100, so that what is read adds up; none known gives all NaN. */
export function shares(parts: number[]): number[] {
  const sum = parts.reduce((a, b) => a + b, 0);
  if (!(sum > 0)) return parts.map(() => NaN);
  const exact = parts.map((part) => (part / sum) * 100);
  const out = exact.map(Math.floor);
  const order = exact.map((_, at) => at).sort((a, b) => rest(exact[b]) - rest(exact[a]) || a - b);
  const missing = 100 - out.reduce((a, b) => a + b, 0);
  for (const at of order.slice(0, missing)) out[at] = (out[at] ?? 0) + 1;
  return out;
}

function rest(value: number | undefined): number {
  return value === undefined ? 0 : value - Math.floor(value);
}
