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

/** What clocks show in a zone, which the page looks up by its name; UTC where it has no name, or one that nobody knows. */
export class Zone {
  readonly name: string;
  #offset: Intl.DateTimeFormat | null = null;
  #short: Intl.DateTimeFormat | null = null;

  constructor(name: string) {
    try {
      this.#offset = name ? new Intl.DateTimeFormat("en-US", { timeZone: name, timeZoneName: "longOffset" }) : null;
      this.#short = name ? new Intl.DateTimeFormat("en-US", { timeZone: name, timeZoneName: "short" }) : null;
      this.name = name;
    } catch {
      this.name = "UTC";
    }
  }

  /** Milliseconds that clocks are ahead of UTC. */
  offset(ms: number): number {
    // "GMT-05:00", "GMT", and "GMT-04:56:02" before there were zones.
    const found = /([+-])(\d+):(\d+)(?::(\d+))?/.exec(named(this.#offset, ms));
    if (!found) return 0;
    const [, sign, hours, minutes, seconds] = found;
    const size = Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds ?? 0);
    return (sign === "-" ? -size : size) * SECOND;
  }

  /** A time to the second, with what the zone is called then. */
  when(ms: number): string {
    const text = new Date(ms + this.offset(ms)).toISOString();
    return `${text.slice(0, 10)} ${text.slice(11, 19)} ${named(this.#short, ms)}`.trimEnd();
  }
}

function named(format: Intl.DateTimeFormat | null, ms: number): string {
  return format?.formatToParts(ms).find(({ type }) => type === "timeZoneName")?.value ?? "";
}

/** The same for milliseconds since 1970, round by the clocks of a zone. */
export function timeTicks(low: number, high: number, most: number, zone: Zone): { at: number[]; step: number } {
  const rough = (high - low) / Math.max(1, most);
  if (!(rough > 0)) return { at: [low], step: 0 };
  const step = STEPS.find((s) => s >= rough) ?? ticks(low, high, most).step;
  // Where clocks change, those of either side are looked along: an hour that comes twice has its values twice.
  const offsets = new Set([low, ...along(low, high, step), high].map((ms) => zone.offset(ms)));
  const at = [...offsets].flatMap((offset) =>
    along(low + offset, high + offset, step)
      .map((ms) => ms - offset)
      .filter((ms) => zone.offset(ms) === offset),
  );
  return { at: at.sort((a, b) => a - b), step };
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

/** A time of an axis whose times are `step` milliseconds apart. */
export function timeLabel(ms: number, step: number, zone: Zone): string {
  const text = new Date(ms + zone.offset(ms)).toISOString();
  if (step >= DAY) return text.slice(0, 10);
  if (step >= 60 * SECOND) return `${text.slice(5, 10)} ${text.slice(11, 16)}`;
  return step >= SECOND ? text.slice(11, 19) : text.slice(14, 23);
}
