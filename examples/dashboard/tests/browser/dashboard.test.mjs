/** The dashboard in real Chromium windows, on the real server: what moves, what is missing and what is stale is shown as such. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ExampleServer, findChromium, freePort, launch } from "../../../../tests/browser/support.mjs";
import { Window } from "./support.mjs";

const executable = findChromium();

describe("the dashboard", { skip: !executable && "no Chromium", timeout: 240_000 }, () => {
  let browser, server, first;
  const windows = [];

  const open = async (options) => {
    const window = await Window.open(browser, server.port, options);
    windows.push(window);
    return window;
  };

  before(async () => {
    ExampleServer.build("dashboard");
    server = new ExampleServer("dashboard", await freePort(), ["--demo", "light"]);
    await server.start();
    browser = await launch(executable);
    first = await open();
  });
  after(async () => {
    server?.resume();
    await browser?.close();
    await server?.kill();
  });

  const endOfTest = async () => {
    const problems = [first, ...windows].flatMap(({ problems }) => problems);
    for (const window of windows.splice(0)) if (window !== first) await window.close();
    assert.deepEqual(problems, []);
  };

  test("values move, and are those of the broker", async () => {
    await first.state("live");
    await first.samples(4);
    const shown = () => first.page.locator(".tile .value").allTextContents();
    const [values, line, { samples }] = [await shown(), await first.line("delivered"), await first.model()];
    await first.samples(samples.length + 3);
    assert.notDeepEqual(await shown(), values);
    const { samples: later, now } = await first.model();
    assert.ok(later.at(-1).time > samples.at(-1).time);
    assert.ok((await first.line("delivered")).flat().length >= line.flat().length + 3);

    assert.deepEqual(now.topics.value.slice(0, 3), [
      { topic: "demo.prices", subscribers: 24 },
      { topic: "demo.clicks", subscribers: 15 },
      { topic: "demo.orders", subscribers: 7 },
    ]);
    // The demo's, one who hears which level is wanted, and two of this page.
    assert.equal(now.subscriptions.value, 49);
    assert.equal(now.connections.value, 1);
    assert.ok(now.delivered.value > now.published.value && now.published.value > 10);
    assert.ok(now["memory.process"].value > 2 ** 20 && now["memory.process"].value < now.memory.value);
    assert.ok(now.cpu.value >= 0 && now.cpu.value <= 100);
    assert.deepEqual(await first.page.locator("#topics span").allTextContents(), now.topics.value.map(({ topic }) => topic));
    assert.equal(await first.page.locator(".stale").count(), 0);
    await endOfTest();
  });

  test("who joins late has the last values and the past at once", async () => {
    await first.samples(10);
    const { samples, now } = await first.model();
    const late = await open();
    await late.page.waitForFunction(() => globalThis.atOnce?.["figures.now"] && globalThis.atOnce["figures.past"]);
    const atOnce = await late.page.evaluate(() => globalThis.atOnce);
    assert.deepEqual(atOnce["figures.past"].samples.slice(0, samples.length), samples.map(({ time }) => time));
    assert.deepEqual(atOnce["figures.now"].now.toSorted(), Object.keys(now).toSorted());
    await endOfTest();
  });

  test("all charts are read at one time, by mouse and by keyboard", async () => {
    const plot = first.page.locator(".plot").first();
    await plot.scrollIntoViewIfNeeded();
    const box = await plot.boundingBox();
    await first.page.mouse.move(box.x + box.width - 60, box.y + 60);
    await first.page.locator('.cursor[visibility="visible"]').first().waitFor();
    const cursors = await first.cursors();
    assert.equal(cursors.length, 1, `${cursors}`);
    assert.match(cursors[0], /^\d\d:\d\d:\d\d$/);
    await first.shot("hover");
    await first.page.mouse.move(2, 2);
    await first.page.waitForFunction(() => !document.querySelector('.cursor[visibility="visible"]'));

    await plot.focus();
    assert.match(await plot.getAttribute("aria-label"), /^Messages per second: delivered [\d,.]+\/s, published/);
    await first.page.keyboard.press("ArrowLeft");
    const [at] = await first.cursors();
    await first.page.keyboard.press("ArrowLeft");
    const [before] = await first.cursors();
    assert.ok(before < at || at.startsWith("00:00"), `${before} is before ${at}`);
    assert.match(await first.page.textContent("#status"), /^delivered [\d,.]+\/s, published/);
    await first.page.keyboard.press("Escape");
    await first.page.waitForFunction(() => !document.querySelector('.cursor[visibility="visible"]'));
    await plot.blur();
    await endOfTest();
  });

  test("it fits every screen, light and dark", async () => {
    const narrow = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
    await first.samples(25);
    for (const [name, options] of Object.entries({ wide: {}, narrow, least: { viewport: { width: 320, height: 600 } } })) {
      for (const colorScheme of ["light", "dark"]) {
        const window = await open({ ...options, colorScheme });
        await window.samples(25);
        const width = await window.page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        assert.equal(width[0], width[1], "nothing sticks out");
        if (name !== "least") await window.shot(`${name}-${colorScheme}`);
      }
    }
    const [light, dark] = [await open(), await open()];
    const paper = (window) => window.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await dark.page.click("#theme");
    await dark.page.click("#theme");
    assert.notEqual(await paper(light), await paper(dark));
    await dark.page.reload();
    await dark.page.waitForFunction(() => document.documentElement.dataset.theme === "dark");
    assert.notEqual(await paper(light), await paper(dark), "the choice is remembered");
    await endOfTest();
  });

  test("a page switches the demo, for all pages", async () => {
    const other = await open();
    await other.samples(1);
    await first.page.locator("#demo label", { hasText: "off" }).click();
    const isChecked = (value) => document.querySelector(`#demo [value="${value}"]`).checked && dashboard.model.now.get("demo").value === value;
    for (const { page } of [first, other]) await page.waitForFunction(isChecked, "off");
    await other.page.waitForFunction(() => !document.querySelector("#topics").textContent.includes("demo.prices"));
    await other.page.locator("#demo label", { hasText: "light" }).click();
    for (const { page } of [first, other]) await page.waitForFunction(isChecked, "light");
    await first.page.waitForFunction(() => dashboard.model.now.get("topics").value[0].topic === "demo.prices");

    // Nothing else can be published, and nothing else asked for.
    const status = (topic, level) =>
      first.page.evaluate(async ([topic, body]) => {
        const headers = { "content-type": "application/json" };
        return (await fetch(`publish?topic=${topic}`, { method: "POST", headers, body })).status;
      }, [topic, JSON.stringify(level)]);
    assert.equal(await status("figures.now", 7), 403);
    assert.equal(await status("demo.level", "louder"), 422);
    assert.equal(await first.page.evaluate(async () => (await fetch("events?topic=demo.prices")).status), 403);
    first.problems = first.problems.filter((problem) => !/status of 4/.test(problem));
    await endOfTest();
  });

  test("a server that hangs: values are marked stale, the axis moves on, and the hole stays a hole", async () => {
    server.pause();
    await first.state("silent");
    await first.page.waitForFunction(() => document.querySelectorAll(".tile.stale").length === 6);
    const note = () => first.tile("published").locator(".note").textContent();
    const [stale, end] = [await note(), (await first.line("delivered")).at(-1).at(-1)[0]];
    assert.match(stale, /^stale, \d+\u202fs ago$/);
    await first.page.waitForFunction((stale) => document.querySelector('.tile[data-key="published"] .note').textContent !== stale, stale);
    assert.match(await note(), /^stale, \d+\u202fs ago$/);
    assert.ok((await first.line("delivered")).at(-1).at(-1)[0] < end, "the axis moves on");
    assert.match(await first.page.textContent("#words"), /^silent for \d+\u202fs$/);
    await first.page.waitForFunction(() => dashboard.model.gaps(0).at(-1)?.to - dashboard.model.gaps(0).at(-1)?.from > 8_000);
    await first.page.evaluate(() => scrollTo(0, 0));
    await first.shot("stale");

    // In the end the page gives the connection up, and the next one goes on where it stopped.
    const asked = first.page.waitForRequest(/events.*after=/);
    await first.state("lost");
    await asked;
    server.resume();
    await first.state("live");
    await first.page.waitForFunction(() => !document.querySelector(".stale"));
    const { gaps, samples } = await first.model();
    assert.ok(samples.every(({ time }, index) => index === 0 || time > samples[index - 1].time));
    assert.equal(gaps.length, 1);
    assert.ok(gaps[0].to - gaps[0].from > 8_000 && !gaps[0].open);
    assert.equal((await first.line("delivered")).length, 2);
    await endOfTest();
  });

  test("a restart is survived: the past stays, and the gap is a gap in the line", async () => {
    const { samples: old } = await first.model();
    await server.kill();
    await first.state("lost");
    await first.page.waitForFunction((last) => dashboard.model.clock() - last > 6_000, old.at(-1).time);
    await server.start();
    await first.state("live");
    await first.page.waitForFunction((last) => dashboard.model.samples.filter(({ time }) => time > last + 5_000).length >= 6, old.at(-1).time);

    const { samples, gaps } = await first.model();
    assert.deepEqual(samples.slice(0, old.length), old);
    assert.equal(gaps.length, 2);
    const gap = gaps[1];
    assert.equal(gap.reason, "epoch");
    const last = samples.findLast(({ time }) => time <= gap.from);
    assert.ok(samples.every(({ time }) => time <= gap.from || time >= gap.to) && last.time === gap.from);
    for (const key of ["delivered", "memory", "cpu"]) {
      const runs = await first.line(key);
      assert.equal(runs.length, 3, `${key}: ${runs.length} runs`);
      for (const run of runs) {
        for (const [index, [x]] of run.entries()) assert.ok(index === 0 || x >= run[index - 1][0]);
      }
      assert.ok(runs[2][0][0] > runs[1].at(-1)[0] + 10, "the line does not cross the gap");
    }
    assert.equal(await first.page.locator(".chart:first-child .gap").count(), 2);

    await first.page.evaluate(() => scrollTo(0, 0));
    // At the cursor the gap says why it is there.
    const { x, width } = await first.page.locator(".chart:first-child .gap").last().boundingBox();
    const { y } = await first.page.locator(".plot").first().boundingBox();
    await first.page.mouse.move(x + width / 2, y + 60);
    await first.page.locator('.cursor[visibility="visible"]').first().waitFor();
    const [said] = await first.cursors();
    assert.match(said, /^\d\d:\d\d:\d\d \u00b7 the server was started anew$/);
    await first.shot("gap");
    await first.page.mouse.move(2, 2);
    await endOfTest();
  });

  test("a server that is told to end says goodbye, and pages come back to the next one", async () => {
    const { page } = first;
    const word = page.waitForFunction(() => dashboard.feed.state === "closing", undefined, { polling: 10 });
    assert.equal(await server.terminate(), 0);
    await word;
    await server.start();
    await first.state("live");
    await endOfTest();
  });
});
