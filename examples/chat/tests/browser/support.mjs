/** What the tests stand on: the chat binary, a proxy that can take the network away, and Chromium. */

import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const ROOT = path.resolve(HERE, "../../../..");
const SCREENSHOTS = process.env.SCREENSHOTS ?? path.join(HERE, "screenshots");

/** The path of Chromium, or nothing; in CI its absence is an error, since a skipped test proves nothing there. */
export function findChromium() {
  const candidates = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const found = candidates.find((file) => file && existsSync(file));
  if (!found && process.env.CI === "true") throw new Error("no Chromium found: apt-get install chromium, or set CHROMIUM");
  if (!found) console.error("\n!!! SKIPPED: the browser tests need Chromium (apt-get install chromium, or set CHROMIUM) !!!\n");
  return found;
}

/** Starts the browser. The sandbox needs user namespaces, which containers seldom have. */
export function launch(executablePath) {
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}

export async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The chat binary: `CHAT_BIN`, or what cargo builds. */
export class ChatServer {
  #child;

  constructor(port) {
    this.port = port;
  }

  static build() {
    if (!process.env.CHAT_BIN) execFileSync("cargo", ["build", "--quiet", "-p", "chat"], { cwd: ROOT, stdio: "inherit" });
  }

  async start() {
    const target = process.env.CARGO_TARGET_DIR ?? path.join(ROOT, "target");
    const binary = process.env.CHAT_BIN ?? path.join(target, "debug/chat");
    const child = spawn(binary, ["--listen", `127.0.0.1:${this.port}`], { stdio: ["ignore", "ignore", "inherit"] });
    this.#child = child;
    child.on("error", (error) => console.error(`${binary}: ${error.message}`));
    for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(50)) {
      if (child.exitCode !== null) throw new Error(`${binary} ended with ${child.exitCode}`);
      if (await reachable(this.port)) return;
    }
    throw new Error(`${binary} does not listen on port ${this.port}`);
  }

  /** SIGKILL: the server has no chance to say goodbye. */
  async kill() {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
  }
}

function reachable(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1");
    socket.once("connect", () => (socket.destroy(), resolve(true)));
    socket.once("error", () => resolve(false));
  });
}

/** A TCP proxy. `cut`: connections break and new ones fail; `vanish`: the open ones fall silent and never say why. */
export class Proxy {
  #server;
  #pairs = new Set();
  #down = false;

  static async to(target) {
    const proxy = new Proxy();
    proxy.#server = net.createServer((client) => proxy.#accept(client, target)).listen(0, "127.0.0.1");
    await new Promise((resolve) => proxy.#server.once("listening", resolve));
    proxy.port = proxy.#server.address().port;
    return proxy;
  }

  #accept(client, target) {
    client.on("error", () => {});
    if (this.#down) return client.destroy();
    const server = net.connect(target, "127.0.0.1");
    const pair = { client, server };
    this.#pairs.add(pair);
    const end = () => {
      client.destroy();
      server.destroy();
      this.#pairs.delete(pair);
    };
    for (const socket of [client, server]) socket.on("error", end).on("close", end);
    client.pipe(server);
    server.pipe(client);
  }

  cut() {
    this.#down = true;
    for (const { client, server } of [...this.#pairs]) {
      client.destroy();
      server.destroy();
    }
  }

  restore() {
    this.#down = false;
  }

  vanish() {
    for (const { client, server } of this.#pairs) {
      client.unpipe(server).pause();
      server.unpipe(client).pause();
    }
  }

  close() {
    this.cut();
    this.#server.close();
  }
}

/** One window of the chat, used as a person uses it. */
export class Window {
  static async open(browser, port, { nick, room = "lobby", ...context }) {
    const window = new Window();
    window.context = await browser.newContext({ viewport: { width: 1180, height: 800 }, ...context });
    window.page = await window.context.newPage();
    window.problems = [];
    window.page.on("pageerror", (error) => window.problems.push(String(error)));
    window.page.on("console", (message) => {
      // Chromium itself reports each refused connection.
      if (message.type() === "error" && !/WebSocket connection|ERR_/.test(message.text())) window.problems.push(message.text());
    });
    await window.page.goto(`http://127.0.0.1:${port}/#${encodeURIComponent(room)}`);
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

  async shot(name) {
    mkdirSync(SCREENSHOTS, { recursive: true });
    await sleep(350); // animations
    await this.page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`) });
  }

  close() {
    return this.context.close();
  }
}
