/** A window of the dashboard, as its tests use it. */

import { shot } from "../../../../tests/browser/support.mjs";

const CHARTS = 8;

export class Window {
  /** `options` are those of a browser context. */
  static async open(browser, port, options = {}) {
    const window = new Window();
    const origin = `http://127.0.0.1:${port}`;
    window.problems = [];
    window.context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: "light", ...options });
    window.page = await window.context.newPage();
    const { page, problems } = window;
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("console", (message) => {
      // Chromium itself reports each connection that fails.
      if (["error", "warning"].includes(message.type()) && !/ERR_/.test(message.text())) problems.push(message.text());
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(`${origin}/`)) problems.push(`a request to ${request.url()}`);
    });
    await page.addInitScript(noteWhatIsThereAtOnce);
    await page.goto(origin);
    await page.waitForFunction(() => globalThis.dashboard);
    return window;
  }

  state(name) {
    return this.page.waitForFunction((name) => document.querySelector("#state").dataset.state === name, name, { timeout: 30_000 });
  }

  /** Waits until so many samples are there, and drawn. */
  samples(count) {
    const drawn = ([count]) => dashboard.model.samples.length >= count && document.querySelector('[data-key="delivered"].line').getAttribute("d");
    return this.page.waitForFunction(drawn, [count], { timeout: 60_000 });
  }

  model() {
    return this.page.evaluate(() => ({
      samples: dashboard.model.samples,
      now: Object.fromEntries(dashboard.model.now),
      gaps: dashboard.model.gaps(0),
    }));
  }

  /** The runs of a line as they are drawn: each a list of `[x, y]`. */
  async line(key) {
    const path = await this.page.getAttribute(`.chart [data-key="${key}"]`, "d");
    return path.split("M").slice(1).map((run) => run.replace("h2", "").split("L").map((point) => point.split(" ").map(Number)));
  }

  tile(key) {
    return this.page.locator(`.tile[data-key="${key}"]`);
  }

  /** What each chart says at its cursor; one entry, if they all point at the same time. */
  async cursors() {
    const shown = await this.page.locator('.cursor[visibility="visible"] text').allTextContents();
    return shown.length === CHARTS ? [...new Set(shown)] : shown;
  }

  shot(name) {
    return shot(this.page, "dashboard", name);
  }

  close() {
    return this.context.close();
  }
}

/** In the page: what was known when the stream said for the first time that all that was missed had come. */
function noteWhatIsThereAtOnce() {
  globalThis.EventSource = class extends EventSource {
    constructor(url) {
      super(url);
      this.addEventListener("$live", ({ data }) => {
        const { samples, now } = globalThis.dashboard.model;
        globalThis.atOnce ??= {};
        globalThis.atOnce[JSON.parse(data).topic] ??= { samples: samples.map(({ time }) => time), now: [...now.keys()] };
      });
    }
  };
}
