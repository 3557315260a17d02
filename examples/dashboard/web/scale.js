/** Numbers as people read them, and axes that end at round ones. */

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const SUFFIX = { percent: "%", per_second: "/s" };
const NOTE = { percent: "percent", per_second: "per second", tasks: "tasks that run or wait" };

/** What a unit is called beside a title; counts and bytes need no name. */
export const unitName = (unit) => NOTE[unit] ?? "";

/** A value as `{ number, unit }`, for who sets them apart. */
export function format(value, unit) {
  if (unit !== "bytes") return { number: decimal(value, unit in SUFFIX ? 1 : 2), unit: SUFFIX[unit] ?? "" };
  const power = binaryPower(value);
  return { number: decimal(value / 1024 ** power, 2), unit: BINARY[power] };
}

/** A value with its unit. */
export function text(value, unit) {
  const { number, unit: name } = format(value, unit);
  return name === "%" || name === "/s" ? number + name : `${number}\u202f${name}`.trim();
}

/** Three digits are enough to see a change: below 10 so many decimals, above 100 none. */
function decimal(value, decimals) {
  if (value >= 10_000) return new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(value);
  const digits = Number.isInteger(value) || value >= 100 ? 0 : value >= 10 ? decimals - 1 : decimals;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** From 1,000 of a unit on the next one takes less room. */
function binaryPower(value) {
  return value < 1 ? 0 : Math.min(Math.floor(Math.log2(value * 1.024) / 10), BINARY.length - 1);
}

/** The values of an axis' lines, from 0 to the first round number that is not below `max`. */
export function axis(max, unit) {
  const quarter = (max || 1) / 4;
  const round = unit === "bytes" ? 2 ** Math.ceil(Math.log2(quarter)) : roundUp(quarter);
  const step = unit === "count" ? Math.max(Math.ceil(round), 1) : round;
  const lines = Math.max(Math.ceil(max / step - 1e-9), 2);
  return Array.from({ length: lines + 1 }, (_, index) => index * step);
}

/** An axis' value: no more digits than it has, and the unit where the title does not say it. */
export function axisText(value, unit) {
  if (value === 0 || unit !== "bytes") return new Intl.NumberFormat("en", { notation: value < 10_000 ? "standard" : "compact" }).format(value) + (unit === "percent" ? "%" : "");
  const power = binaryPower(value);
  return `${+(value / 1024 ** power).toPrecision(3)}\u202f${BINARY[power]}`;
}

/** The next of 1, 2, 2.5, 5 times a power of ten. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 2.5, 5].find((factor) => factor * power >= value * (1 - 1e-9)) ?? 10);
}

const SECOND = 1_000;
const STEPS = [10, 20, 30, 60, 120, 300].map((seconds) => seconds * SECOND);

/** Round times between two, at most `count`: `{ time, label }` by the reader's own clock. */
export function timeAxis(from, to, count) {
  const step = STEPS.find((step) => (to - from) / step <= count) ?? STEPS.at(-1);
  const ticks = [];
  for (let time = Math.ceil(from / step) * step; time <= to; time += step) ticks.push({ time, label: clock(time, step < 60 * SECOND) });
  return ticks;
}

export function clock(time, seconds = true) {
  const parts = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...(seconds && { second: "2-digit" }) };
  return new Date(time).toLocaleTimeString("en-GB", parts);
}

export function duration(milliseconds) {
  const seconds = Math.max(Math.round(milliseconds / SECOND), 0);
  if (seconds < 120) return `${seconds}\u202fs`;
  return seconds < 7200 ? `${Math.round(seconds / 60)}\u202fmin` : `${Math.round(seconds / 3600)}\u202fh`;
}
