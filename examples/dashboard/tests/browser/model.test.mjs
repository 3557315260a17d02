/** What the page makes of messages, without a browser: lines that break where samples are missing, values that grow stale. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, mock, test } from "node:test";
import { Model } from "../../web/model.js";
import { axis, axisText, duration, text, timeAxis } from "../../web/scale.js";
import { trace } from "../../web/svg.js";

const START = 1_732_175_000_000;

describe("the model", () => {
  let model;
  const tick = (seconds) => mock.timers.tick(seconds * 1_000);
  const add = (...seconds) => seconds.forEach((second) => model.add(START + second * 1_000, { cpu: second }));
  const runs = (from = 0) => model.runs(START + from * 1_000).map((run) => run.map(({ values }) => values.cpu));
  const gaps = () => model.gaps(0).map(({ from, to, reason, open }) => [(from - START) / 1_000, (to - START) / 1_000, reason ?? (open ? "open" : undefined)]);

  beforeEach(() => {
    mock.timers.enable({ apis: ["Date"], now: START });
    model = new Model({ keep: 5, every: 1_000, now: START });
  });
  afterEach(() => mock.timers.reset());

  test("keeps so many samples and no more", () => {
    add(1, 2, 3, 4, 5, 6, 7);
    assert.deepEqual(runs(), [[3, 4, 5, 6, 7]]);
  });

  test("a line reaches the edge of what is in sight: it begins with the sample before", () => {
    add(1, 2, 3, 4);
    assert.deepEqual(runs(2.5), [[2, 3, 4]]);
    assert.deepEqual(runs(9), [[4]]);
  });

  test("a line breaks where a gap was told, however short, and where samples did not come", () => {
    add(1, 2);
    model.break("epoch");
    add(3, 4, 9);
    tick(9);
    assert.deepEqual(runs(), [[1, 2], [3, 4], [9]]);
    assert.deepEqual(gaps(), [[2, 3, "epoch"], [4, 9, undefined]]);
  });

  test("one sample that comes late is no gap", () => {
    add(1, 3.4, 4);
    assert.equal(runs().length, 1);
  });

  test("a gap before anything is known is none", () => {
    model.break("epoch");
    add(1, 2);
    assert.deepEqual([runs(), gaps()], [[[1, 2]], []]);
  });

  test("a server whose clock was set back tells those minutes anew", () => {
    add(1, 2, 3, 4, 2.5, 3.5);
    assert.deepEqual(runs(), [[1, 2, 2.5, 3.5]]);
  });

  test("values are stale when three more should have come; the gap goes on until one does", () => {
    add(1);
    tick(4.4);
    assert.deepEqual([model.staleFor(START + 1_000), gaps()], [undefined, []]);
    tick(7.6);
    assert.equal(model.staleFor(START + 1_000), 11_000);
    assert.deepEqual(gaps(), [[1, 12, "open"]]);
    add(12);
    assert.deepEqual(gaps(), [[1, 12, undefined]]);
  });

  test("a page whose own clock is wrong knows how old values are", () => {
    model = new Model({ keep: 5, every: 1_000, now: START - 3_600_000 });
    assert.equal(model.staleFor(START - 3_600_000), undefined);
    tick(10);
    assert.equal(model.staleFor(START - 3_600_000), 10_000);
    // Messages that were on their way for longer than the quickest say little about the clock.
    model.heardAt(START - 3_600_000 + 9_900);
    assert.ok(Math.abs(model.clock() - (START - 3_600_000 + 10_000)) <= 3);
    // One that comes sooner than was thought possible says that the clock is ahead of what was thought.
    model.heardAt(START - 3_600_000 + 10_500);
    assert.equal(model.clock(), START - 3_600_000 + 10_500);
  });

  test("the sample of a time is the nearest, unless there is none near it", () => {
    add(1, 2, 9);
    const at = (second) => model.at(START + second * 1_000)?.values.cpu;
    assert.deepEqual([at(0.9), at(1.4), at(1.6), at(2.9), at(5), at(8.2), at(20)], [1, 1, 2, 2, undefined, 9, undefined]);
  });

  test("a trace lifts the pen between runs, and where a figure is not known", () => {
    const runs = [
      [{ time: 0, values: { a: 1 } }, { time: 1, values: { a: 2 } }],
      [{ time: 5, values: { a: 3 } }, { time: 6, values: {} }, { time: 7, values: { a: 0 } }, { time: 8, values: { a: 1 } }],
    ];
    const { line, area } = trace(runs, ({ a }) => a, (time) => time * 10, (value) => 100 - value);
    assert.equal(line, "M0 99L10 98M49 97h2M70 100L80 99");
    assert.equal(area, "M0 100L0 99L10 98L10 100ZM50 100L50 97L50 100ZM70 100L70 100L80 99L80 100Z");
  });
});

describe("numbers", () => {
  test("three digits and a unit", () => {
    const cases = [
      [0, "percent", "0%"], [3.14159, "percent", "3.1%"], [99.6, "percent", "100%"], [8.285, "per_second", "8.3/s"], [63, "per_second", "63/s"],
      [1234.5, "per_second", "1,235/s"], [123456, "per_second", "123K/s"], [0.24, "tasks", "0.24"], [12, "count", "12"],
      [0, "bytes", "0\u202fB"], [999, "bytes", "999\u202fB"], [1001 * 2 ** 20, "bytes", "0.98\u202fGiB"], [1024, "bytes", "1\u202fKiB"], [11.72 * 2 ** 20, "bytes", "11.7\u202fMiB"], [1.5 * 2 ** 30, "bytes", "1.50\u202fGiB"],
    ];
    for (const [value, unit, expected] of cases) assert.equal(text(value, unit), expected);
  });

  test("axes end at the first round number that is not below the greatest value", () => {
    assert.deepEqual(axis(100, "percent"), [0, 25, 50, 75, 100]);
    assert.deepEqual(axis(1_608, "per_second"), [0, 500, 1_000, 1_500, 2_000]);
    assert.deepEqual(axis(0, "count"), [0, 1, 2]);
    assert.deepEqual(axis(3, "count"), [0, 1, 2, 3]);
    assert.deepEqual(axis(0, "per_second"), [0, 0.25, 0.5]);
    assert.deepEqual(axis(23.5 * 2 ** 30, "bytes").map((value) => axisText(value, "bytes")), ["0", "8\u202fGiB", "16\u202fGiB", "24\u202fGiB"]);
    for (let max = 0.001; max < 1e9; max *= 1.7) {
      for (const unit of ["per_second", "count", "bytes"]) {
        const lines = axis(max, unit);
        assert.ok(lines.at(-1) >= max * (1 - 1e-9) && lines.length >= 3 && lines.length <= 6, `${max} ${unit}: ${lines}`);
      }
    }
  });

  test("times are round, as many as there is room for, and moving on", () => {
    const ticks = timeAxis(START + 1_000, START + 301_000, 6);
    assert.deepEqual(ticks.map(({ time }) => time % 60_000), [0, 0, 0, 0, 0]);
    assert.match(ticks[0].label, /^\d\d:\d\d$/);
    assert.match(timeAxis(START, START + 60_000, 4)[0].label, /^\d\d:\d\d:\d\d$/);
    assert.deepEqual([duration(12_400), duration(119_000), duration(180_000), duration(4 * 3_600_000)], ["12\u202fs", "119\u202fs", "3\u202fmin", "4\u202fh"]);
  });
});
