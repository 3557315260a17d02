/** A page without a browser: a socket whose other end is the test, a clock that the test moves, and a count of what is left. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock } from "node:test";
import { Fanfare } from "../../web/fanfare.js";

/** The socket of the page; the test is the server at its other end. */
export class FakeSocket {
  static all = [];
  static get last() {
    return FakeSocket.all.at(-1);
  }
  sent = [];
  constructor(url) {
    this.url = url;
    FakeSocket.all.push(this);
  }
  send(frame) {
    this.sent.push(typeof frame === "string" ? JSON.parse(frame) : frame);
  }
  close() {
    this.closed = true;
  }
  get take() {
    return this.sent.splice(0);
  }
  get command() {
    assert.equal(this.sent.length, 1, `one command, not ${JSON.stringify(this.sent)}`);
    return this.sent.shift();
  }
  push(...frames) {
    for (const frame of frames) this.onmessage?.({ data: frame instanceof ArrayBuffer ? frame : JSON.stringify(frame) });
  }
  drop(code = 1006, reason = "") {
    this.onclose?.({ code, reason });
  }
}

export const tick = () => new Promise((resolve) => setImmediate(resolve));
export const online = new EventTarget();
export const listeners = new Set();
export const timers = new Set();

/** Keeps count of the page's timers, which the clock of the tests does not tell. */
function countTimers(set, clear) {
  const [start, stop] = [globalThis[set], globalThis[clear]];
  globalThis[set] = (run, delay) => {
    const timer = start(() => {
      if (set === "setTimeout") timers.delete(timer);
      run();
    }, delay);
    timers.add(timer);
    return timer;
  };
  globalThis[clear] = (timer) => {
    timers.delete(timer);
    stop(timer);
  };
}

/** Gives each test of a suite its page. */
export function fakePage() {
  const page = { fanfare: undefined, events: [] };

  beforeEach(() => {
    mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_732_175_000_000 });
    mock.method(Math, "random", () => 0.5);
    FakeSocket.all = [];
    globalThis.WebSocket = FakeSocket;
    globalThis.addEventListener = (type, run) => (listeners.add(run), online.addEventListener(type, run));
    globalThis.removeEventListener = (type, run) => (listeners.delete(run), online.removeEventListener(type, run));
    timers.clear();
    countTimers("setTimeout", "clearTimeout");
    countTimers("setInterval", "clearTimeout"); // one clears either kind
  });
  afterEach(() => {
    page.fanfare?.close();
    page.fanfare = undefined;
    mock.timers.reset();
    mock.restoreAll();
  });

  page.create = (options) => {
    const fanfare = (page.fanfare = new Fanfare("http://chat.test/ws", options));
    page.events = [];
    for (const type of ["state", "reconnecting", "gap", "error", "token"]) fanfare.on(type, (detail) => page.events.push([type, detail]));
    return fanfare;
  };
  /** Opens the socket and answers `connect`; a topic named in `pos` is logged, `ok` adds to the reply. Returns the socket. */
  page.accept = async (pos = {}, more = {}, ok = {}) => {
    await tick();
    const socket = FakeSocket.last;
    socket.onopen();
    const { id, connect } = socket.command;
    const subscribed = connect.subscribe.map(({ topic, after }) => ({ topic, pos: pos[topic], recovered: after && true, ...more[topic] }));
    socket.push({ id, ok: { client: "c1", ping_ms: 25_000, ...ok, subscribed: [...subscribed, ...(ok.subscribed ?? [])] } });
    return Object.assign(socket, { connect });
  };
  page.states = () => page.events.filter(([type]) => type === "state").map(([, { state }]) => state);
  return page;
}

/** Everything that a subscription gets: payloads, and gaps. */
export function received(sub) {
  const got = [];
  sub.on("message", (m) => got.push(m.data));
  sub.on("gap", (gap) => got.push({ gap: gap.missed ?? gap.reason }));
  return got;
}
