/** Elements, and lines through samples. */

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; `svg:` in front of its name makes it one of SVG. */
export function make(name, attributes = {}, ...children) {
  const element = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
  set(element, attributes);
  element.append(...children);
  return element;
}

export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** As many children as there are items: those that are there are used again. */
export function repeat(parent, items, create, update) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  while (parent.children.length < items.length) parent.append(create());
  items.forEach((item, index) => update(parent.children[index], item, index));
}

/**
 * A line through each run of samples, as the `d` of a path, and the area below it. `read` takes the value out of a sample;
 * where there is none the line ends, too.
 */
export function trace(runs, read, x, y) {
  let line = "";
  let area = "";
  let points = [];
  const end = () => {
    if (!points.length) return;
    const [[first], [last]] = [points[0], points.at(-1)];
    const along = points.map((point) => point.map(round).join(" ")).join("L");
    // A sample alone between two gaps would be no line: it is drawn as a dash.
    line += points.length > 1 ? `M${along}` : `M${round(first - 1)} ${round(points[0][1])}h2`;
    area += `M${round(first)} ${round(y(0))}L${along}L${round(last)} ${round(y(0))}Z`;
    points = [];
  };
  for (const run of runs) {
    for (const { time, values } of run) {
      const value = read(values);
      if (typeof value === "number") points.push([x(time), y(value)]);
      else end();
    }
    end();
  }
  return { line, area };
}

const round = (value) => Math.round(value * 10) / 10;
