/**
 * Two people in the chat's page, in Chromium.
 *
 * usage: chat.mjs --lines N URL
 *
 * Opens two windows of the page, and types so many lines into each at once, as fast as a page takes them. Writes a line of JSON for each
 * that both have typed (`typed`), and in the end what the windows show (`windows`): their lines, gaps, lines without a place,
 * how often they were offline, and problems. Ends when its standard input does.
 */

import { parseArgs } from "node:util";
import { Window } from "../../examples/chat/tests/browser/support.mjs";
import { findChromium, launch } from "../browser/support.mjs";

const { values, positionals } = parseArgs({ allowPositionals: true, options: { lines: { type: "string" } } });
const [url, lines] = [positionals[0], Number(values.lines)];
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

process.stdin.resume();
process.stdin.on("end", () => process.exit(0));

const browser = await launch(findChromium());
const windows = [];
for (const nick of ["ann", "ben"]) windows.push(await Window.open(browser, url, { nick, ignoreHTTPSErrors: true }));
for (const { page } of windows) await page.evaluate(countBreaks);
for (let n = 0; n < lines; n += 1) {
  await Promise.all(windows.map((window, i) => window.say(`${["ann", "ben"][i]} ${n}`)));
  say({ typed: n + 1 });
}
const seen = async (window) => ({
  lines: await window.settled(2 * lines),
  gaps: await window.gaps(),
  waiting: await window.waiting(),
  breaks: await window.page.evaluate(() => globalThis.breaks),
  problems: window.problems,
});
say({ windows: await Promise.all(windows.map(seen)) });
await browser.close();
process.exit(0);

/** Runs in the page. */
function countBreaks() {
  globalThis.breaks = 0;
  const state = document.querySelector("#state");
  new MutationObserver(() => (globalThis.breaks += state.dataset.state === "offline")).observe(state, { attributes: true });
}
