/** A figure in large, with its last minute, and the word when it is stale. */

import { make, set, trace } from "./svg.js";
import { duration, format, text } from "./scale.js";

const MINUTE = 60_000;
const [WIDTH, HEIGHT] = [100, 28];

export class Tile {
  #figure;
  #number = make("b");
  #unit = make("span", { class: "unit" });
  #note = make("p", { class: "note" });
  #area = make("svg:path", { class: "area" });
  #line = make("svg:path", { class: "line", "vector-effect": "non-scaling-stroke" });

  /** `figure` is `{ title, unit, key }`. */
  constructor(figure) {
    this.#figure = figure;
    const spark = make("svg:svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, this.#area, this.#line);
    this.element = make("article", { class: "card tile", "data-key": figure.key }, make("h3", {}, figure.title), make("p", { class: "value" }, this.#number, this.#unit), spark, this.#note);
  }

  draw(model) {
    const { key, unit } = this.#figure;
    const now = model.now.get(key);
    const stale = now && model.staleFor(now.time);
    this.element.classList.toggle("stale", stale !== undefined);
    const shown = now ? format(now.value, unit) : { number: "\u2013", unit: "" };
    this.#number.textContent = shown.number;
    this.#unit.textContent = shown.unit;

    const to = model.clock();
    const runs = model.runs(to - MINUTE);
    const values = runs.flat().map(({ values }) => values[key]).filter((value) => typeof value === "number");
    const [low, high] = [Math.min(...values), Math.max(...values)];
    this.#note.textContent = stale ? `stale, ${duration(stale)} ago` : values.length ? range(low, high, unit) : "no samples yet";
    // Never so large that noise looks like news.
    const top = Math.max(high, unit === "percent" ? 20 : 0, low + (high - low) * 1.1) || 1;
    const floor = unit === "bytes" ? Math.max(low - (top - low) - top / 200, 0) : 0;
    const x = (time) => WIDTH - ((to - time) / MINUTE) * WIDTH;
    const y = (value) => HEIGHT - 1.5 - (Math.max(value - floor, 0) / (top - floor || 1)) * (HEIGHT - 3);
    const { line, area } = trace(runs, (values) => values[key], x, y);
    set(this.#line, { d: line });
    set(this.#area, { d: area });
  }
}

function range(low, high, unit) {
  const [from, to] = [format(low, unit), format(high, unit)];
  const lowest = from.unit === to.unit ? from.number : text(low, unit);
  return `1 min: ${lowest === to.number ? "" : `${lowest}\u2013`}${text(high, unit)}`;
}
