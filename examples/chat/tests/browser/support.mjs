/** The windows of the chat, as its tests use them. */

import { setTimeout as sleep } from "node:timers/promises";
import { shot } from "../../../../tests/browser/support.mjs";

/** One window of the chat, used as a person uses it. */
export class Window {
  /** `place` is a port of this machine, or the address of the page; `beside` is a window whose browser gets another tab. */
  static async open(browser, place, { nick, room = "lobby", beside, ...context }) {
    const window = new Window();
    window.context = beside?.context ?? (await browser.newContext({ viewport: { width: 1180, height: 800 }, ...context }));
    window.page = await window.context.newPage();
    window.problems = [];
    window.page.on("pageerror", (error) => window.problems.push(String(error)));
    window.page.on("console", (message) => {
      // Chromium itself reports each refused connection.
      if (message.type() === "error" && !/WebSocket connection|ERR_/.test(message.text())) window.problems.push(message.text());
    });
    const url = typeof place === "number" ? `http://127.0.0.1:${place}/` : place;
    await window.page.goto(`${url}#${encodeURIComponent(room)}`);
    if (nick) {
      await window.page.fill("#welcome input", nick);
      await window.page.press("#welcome input", "Enter");
      await window.state("live");
    }
    return window;
  }

  async say(...texts) {
    for (const text of texts) {
      await this.page.fill("#composer textarea", text);
      await this.page.press("#composer textarea", "Enter");
    }
  }

  state(name) {
    return this.page.waitForFunction((state) => document.querySelector("#state").dataset.state === state, name, { timeout: 30_000 });
  }

  /** The lines that have their place in the log, as shown. */
  lines() {
    return this.page.$$eval(".log:not([hidden]) .lines:not(.waiting) .line .text", (all) => all.map((e) => e.textContent));
  }

  gaps() {
    return this.page.$$eval(".log:not([hidden]) .divider.gap", (all) => all.map((e) => e.textContent));
  }

  /** Own lines that the topic has not given their place yet. */
  waiting() {
    return this.page.$$eval(".log:not([hidden]) .waiting .line .text", (all) => all.map((e) => e.textContent));
  }

  /** Waits until exactly so many lines stand in the log and none waits. */
  async settled(count) {
    const read = ([n]) => {
      const log = document.querySelector(".log:not([hidden])");
      return log.querySelectorAll(".lines:not(.waiting) .line").length >= n && !log.querySelector(".waiting .line");
    };
    await this.page.waitForFunction(read, [count], { timeout: 20_000 }).catch(async () => {
      throw new Error(`expected ${count} lines, have ${JSON.stringify(await this.lines())}, waiting ${JSON.stringify(await this.waiting())}`);
    });
    await sleep(150); // a line that comes twice comes at once: give it the time
    return this.lines();
  }

  /** Who is in the room, as shown: "Ann", or "Ann 2" with two tabs. */
  members() {
    return this.page.$$eval("#members li", (all) => all.map(({ dataset }) => (dataset.tabs === "1" ? dataset.user : `${dataset.user} ${dataset.tabs}`)));
  }

  /** Waits until exactly these are shown, in any order. */
  async sees(...members) {
    const read = (wanted) => {
      const shown = [...document.querySelectorAll("#members li")].map(({ dataset }) => (dataset.tabs === "1" ? dataset.user : `${dataset.user} ${dataset.tabs}`));
      return JSON.stringify(shown.sort()) === JSON.stringify(wanted.sort());
    };
    await this.page.waitForFunction(read, members, { timeout: 20_000 }).catch(async () => {
      throw new Error(`expected ${members}, have ${await this.members()}`);
    });
  }

  /** Opens what is written to somebody of the list. */
  async writeTo(user) {
    await this.page.locator("#members li", { hasText: user }).locator("button").dispatchEvent("click");
    await this.page.locator(".is-private h1", { hasText: user }).waitFor();
  }

  /** The names beside private lines, and what stands under each. */
  privates() {
    return this.page.$$eval("#privates li .about", (all) => all.map((e) => [e.children[0].textContent, e.children[1].textContent]));
  }

  shot(name) {
    return shot(this.page, "chat", name);
  }

  close() {
    return this.context.close();
  }
}
