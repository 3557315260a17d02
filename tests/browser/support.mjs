/** What the examples' browser tests stand on: the example's binary, a proxy that can take the network away, and Chromium. */

import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

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

/** Writes a picture of the page to `target/screenshots/EXAMPLE/NAME.png`. Those that the READMEs show are copied from there, by hand. */
export async function shot(page, example, name) {
  const folder = path.join(ROOT, "target/screenshots", example);
  mkdirSync(folder, { recursive: true });
  await sleep(350); // animations
  await page.screenshot({ path: path.join(folder, `${name}.png`) });
}

/** The server of an example: the binary that `NAME_BIN` names, or what cargo builds. */
export class ExampleServer {
  #name;
  #options;
  #child;

  /** `options` follow `--listen` on the command line. */
  constructor(name, port, options = []) {
    this.#name = name;
    this.#options = options;
    this.port = port;
  }

  /** `of`: the package, where the binary is not its only one. */
  static build(name, of = name) {
    if (!givenBinary(name)) execFileSync("cargo", ["build", "--quiet", "-p", of, "--bin", name], { cwd: ROOT, stdio: "inherit" });
  }

  async start() {
    const target = process.env.CARGO_TARGET_DIR ?? path.join(ROOT, "target");
    const binary = givenBinary(this.#name) ?? path.join(target, "debug", this.#name);
    const listen = ["--listen", `127.0.0.1:${this.port}`];
    const child = spawn(binary, [...listen, ...this.#options], { stdio: ["ignore", "ignore", "inherit"] });
    this.#child = child;
    child.on("error", (error) => console.error(`${binary}: ${error.message}`));
    for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(50)) {
      if (child.exitCode !== null) throw new Error(`${binary} ended with ${child.exitCode}`);
      if (await reachable(this.port)) return;
    }
    throw new Error(`${binary} does not listen on port ${this.port}`);
  }

  /** SIGSTOP: the server's connections stay open, and nothing comes over them. */
  pause() {
    this.#child.kill("SIGSTOP");
  }

  resume() {
    this.#child.kill("SIGCONT");
  }

  /** SIGTERM: the server says goodbye. Returns its exit code. */
  terminate() {
    return this.#end("SIGTERM");
  }

  /** SIGKILL: the server has no chance to say goodbye. */
  kill() {
    return this.#end("SIGKILL");
  }

  async #end(signal) {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    return gone;
  }
}

function givenBinary(name) {
  return process.env[`${name.toUpperCase().replaceAll("-", "_")}_BIN`];
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
