/** Lines over time, with axes, gaps that are gaps, and a readout at the cursor. */

import { axis, axisText, clock, text, timeAxis, unitName } from "./scale.js";
import { make, repeat, set, trace } from "./svg.js";

const MARGIN = { left: 46, right: 10, top: 10, bottom: 22 };
const WHY = {
  epoch: "the server was started anew",
  history: "more than the server keeps",
  slow: "this page was too slow",
  backend: "the servers lost touch",
};

export class Chart {
  #spec;
  #lines;
  #size = { width: 0, height: 0 };
  #grid = make("svg:g", { class: "grid" });
  #times = make("svg:g", { class: "times" });
  #inner = make("svg:svg", { y: 0 });
  #gaps = make("svg:g", { class: "gaps" });
  #cursor = make("svg:g", { class: "cursor", visibility: "hidden" });
  #rule = make("svg:line", { y1: MARGIN.top });
  #dots = make("svg:g");
  #pill = make("svg:rect", { class: "pill", height: 18, rx: 9 });
  #when = make("svg:text", { "text-anchor": "middle" });
  /** The values at the cursor, or now, in words. */
  said = "";

  /** `spec` is `{ title, unit, max, lines: [{ key, name }] }`; `on` is told `point(fraction)`, `leave()`, `resize()` and `key(event)`. */
  constructor(spec, on) {
    this.#spec = spec;
    this.#lines = spec.lines.map(({ key, name }, index) => ({
      key,
      line: make("svg:path", { class: `line s${index}`, "data-key": key }),
      area: index === 0 ? make("svg:path", { class: "area s0" }) : undefined,
      dot: make("svg:circle", { class: `dot s${index}`, r: 3.5 }),
      value: make("b"),
      swatch: make("i", { class: `swatch s${index}` }),
      name,
    }));
    const legend = this.#lines.map(({ swatch, name, value }) => make("li", {}, swatch, make("span", {}, name), value));
    const note = unitName(spec.unit);
    const title = make("h3", {}, spec.title, ...(note ? [make("small", {}, note)] : []));

    // The first line is what the chart is about: it lies on top.
    for (const { area, line } of [...this.#lines].reverse()) this.#inner.append(...[area, line].filter(Boolean));
    this.#inner.prepend(this.#gaps);
    for (const { dot } of this.#lines) this.#dots.append(dot);
    this.#cursor.append(this.#rule, this.#dots, this.#pill, this.#when);
    this.plot = make("svg:svg", { class: "plot", tabindex: 0, role: "img" }, this.#grid, this.#times, this.#inner, this.#cursor);
    this.element = make("figure", { class: "card chart" }, make("figcaption", {}, title, make("ul", { class: "legend" }, ...legend)), this.plot);

    const point = (event) => on.point((event.offsetX - MARGIN.left) / this.#innerWidth);
    for (const type of ["pointermove", "pointerdown"]) this.plot.addEventListener(type, point);
    this.plot.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && on.leave());
    this.plot.addEventListener("keydown", (event) => on.key(event));
    this.plot.addEventListener("focus", () => this.#label());
    this.plot.addEventListener("blur", () => on.leave());
    new ResizeObserver(([{ contentRect }]) => {
      this.#size = { width: contentRect.width, height: contentRect.height };
      on.resize();
    }).observe(this.plot);
  }

  get #innerWidth() {
    return Math.max(this.#size.width - MARGIN.left - MARGIN.right, 1);
  }

  /** `view` is `{ from, to, cursor }`: the times at the edges, and at the cursor if there is one. */
  draw(model, { from, to, cursor }) {
    const { width, height } = this.#size;
    if (!width) return;
    const runs = model.runs(from);
    const values = this.#axis(runs);
    const bottom = height - MARGIN.bottom;
    const x = (time) => ((time - from) / (to - from)) * this.#innerWidth;
    const y = (value) => bottom - (value / values.at(-1)) * (bottom - MARGIN.top);

    set(this.#inner, { x: MARGIN.left, width: this.#innerWidth, height: bottom + 1 });
    this.#drawGrid(values, y);
    this.#drawTimes(timeAxis(from, to, this.#innerWidth / 64), (time) => MARGIN.left + x(time), bottom);
    const gaps = model.gaps(from);
    this.#drawGaps(gaps, x, bottom);
    this.element.classList.toggle("stale", cursor === undefined && gaps.at(-1)?.open === true);
    for (const { key, line, area, swatch } of this.#lines) {
      const width = Math.max(...runs.flat().map(({ values }) => values[key]?.length ?? 0), 0);
      const reads = width ? Array.from({ length: width }, (_, index) => (values) => values[key]?.[index]) : [(values) => values[key]];
      const traces = reads.map((read) => trace(runs, read, x, y));
      set(line, { d: traces.map(({ line }) => line).join("") });
      for (const { classList } of [line, swatch]) classList.toggle("bundle", width > 0);
      if (area) set(area, { d: traces[0].area });
    }
    this.#drawCursor(model, cursor, (time) => MARGIN.left + x(time), y, bottom);
  }

  /** The greatest value in sight decides, unless the chart does. */
  #axis(runs) {
    const { unit, max, lines } = this.#spec;
    if (max) return axis(max, unit);
    const values = runs.flat().flatMap(({ values }) => lines.flatMap(({ key }) => values[key] ?? []));
    return axis(values.reduce((a, b) => Math.max(a, b), 0), unit);
  }

  #drawGrid(values, y) {
    const create = () => make("svg:g", {}, make("svg:line", { x1: MARGIN.left }), make("svg:text", { x: MARGIN.left - 8, dy: "0.34em", "text-anchor": "end" }));
    repeat(this.#grid, values, create, ({ children: [line, label] }, value) => {
      set(line, { x2: this.#size.width - MARGIN.right, y1: Math.round(y(value)) + 0.5, y2: Math.round(y(value)) + 0.5 });
      set(label, { y: y(value) }).textContent = axisText(value, this.#spec.unit);
    });
  }

  #drawTimes(ticks, x, bottom) {
    const inside = ticks.filter(({ time }) => x(time) > MARGIN.left + 14 && x(time) < this.#size.width - 20);
    repeat(this.#times, inside, () => make("svg:text", { "text-anchor": "middle" }), (label, { time, label: text }) => {
      label.classList.remove("covered");
      set(label, { x: x(time), y: bottom + 16 }).textContent = text;
    });
  }

  #drawGaps(gaps, x, bottom) {
    repeat(this.#gaps, gaps, () => make("svg:rect", { class: "gap", y: MARGIN.top }), (rect, { from, to }) => {
      set(rect, { x: x(from), width: Math.max(x(to) - x(from), 1), height: bottom - MARGIN.top });
    });
  }

  #drawCursor(model, cursor, x, y, bottom) {
    const sample = cursor === undefined ? undefined : model.at(cursor);
    set(this.#cursor, { visibility: cursor === undefined ? "hidden" : "visible" });
    const said = [];
    for (const { key, name, value, dot } of this.#lines) {
      const read = cursor === undefined ? model.now.get(key)?.value : sample?.values[key];
      value.textContent = reading(read, this.#spec.unit);
      said.push(`${name} ${value.textContent}`);
      const isShown = cursor !== undefined && typeof read === "number";
      set(dot, { visibility: isShown ? "inherit" : "hidden", ...(isShown && { cx: x(sample.time), cy: y(read) }) });
    }
    this.said = said.join(", ");
    if (cursor === undefined) return;
    const time = sample?.time ?? cursor;
    const gap = sample ? undefined : model.gaps(0).find(({ from, to }) => from <= cursor && cursor <= to);
    const when = gap ? `${clock(cursor)} \u00b7 ${WHY[gap.reason] ?? "no data"}` : clock(time);
    if (!sample) this.said = when;
    this.#when.textContent = when;
    const half = this.#when.getComputedTextLength() / 2 + 10;
    const center = Math.min(Math.max(x(time), half + 2), this.#size.width - half - 2);
    set(this.#rule, { x1: x(time), x2: x(time), y2: bottom });
    set(this.#pill, { x: center - half, y: bottom + 3, width: 2 * half });
    set(this.#when, { x: center, y: bottom + 16 });
    for (const label of this.#times.children) label.classList.toggle("covered", Math.abs(label.getAttribute("x") - center) < half + 24);
  }

  /** What a screen reader says: told when it is asked for, not every second. */
  #label() {
    set(this.plot, { "aria-label": `${this.#spec.title} ${unitName(this.#spec.unit)}: ${this.said}. Arrow keys read along the line.` });
  }
}

function reading(value, unit) {
  if (Array.isArray(value) && value.length) {
    const [low, high] = [Math.min(...value), Math.max(...value)].map((value) => text(value, unit));
    return low === high ? high : `${low}\u2013${high}`;
  }
  return typeof value === "number" ? text(value, unit) : "\u2013";
}
