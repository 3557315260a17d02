/**
 * Fanfare in the browser: one connection that comes back by itself, speaking `fanfare.v1`.
 *
 *     const fanfare = new Fanfare("/ws");
 *     const lobby = fanfare.subscribe("chat.lobby", { last: 50 });
 *     lobby.on("message", (m) => console.log(m.data));
 *     lobby.on("gap", (gap) => console.log("missed", gap.missed ?? "some"));
 *     await fanfare.publish("chat.lobby", { text: "hello" });
 *
 * What it promises: each message of a logged topic reaches its handler once and in order across reconnects, or a `gap`
 * comes in its place. A publish is confirmed, refused, or rejected as `unknown_outcome`; it is never sent twice blindly.
 *
 * Events of `Fanfare`: `state` {state, code, reason}, `reconnecting` {attempt, delay, code, reason}, `gap` {topic, missed,
 * reason}, `message` (of every topic), `error`. Events of a `Subscription`: `subscribed` {recovered}, `message`, `gap`,
 * `live`, `presence`, `error`. Durations are in milliseconds. No dependencies; no timer outlives `close()`.
 */

/** @typedef {"connecting" | "catching up" | "live" | "offline" | "closed"} State  only `closed` is final */
/** @typedef {{ topic: string, data: any, event?: string, key?: string, from?: { client: string, user?: string }, time?: number,
 *   pos?: string, messageId?: string }} Message  `data`: a JSON value, a string, or a Uint8Array where binary was sent */
/** @typedef {{ event?: string, key?: string, echo?: boolean, text?: boolean, messageId?: string, queue?: boolean }} PublishOptions
 *   `echo: false`: not back to this client; `text`: send a string as text, not as JSON; `messageId`: makes a publish to a logged
 *   topic idempotent (made here for topics that are subscribed); `queue: false`: fail at once while offline */
/** @typedef {{ last?: number, latest?: boolean, after?: string }} Start  where to begin; nothing = live */

/** `code` is the server's, or one of: `offline`, `disconnected`, `unknown_outcome`, `queue_full`, `closed`. */
export class FanfareError extends Error {
  constructor({ code, message, retry = false, retry_ms = 0, ...details }) {
    super(message ?? code);
    this.name = "FanfareError";
    Object.assign(this, { code, retry, retryMs: retry_ms, ...details });
  }
}

class Emitter extends EventTarget {
  /** Calls `handler(detail)` for each event; returns a function that takes the handler away again. */
  on(type, handler) {
    const listener = (event) => handler(event.detail);
    this.addEventListener(type, listener);
    return () => this.removeEventListener(type, listener);
  }
  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** What `Fanfare.subscribe` returns. It survives reconnects; `pos` is the cursor from which it resumes. */
export class Subscription extends Emitter {
  constructor(client, topic, start) {
    super();
    this.topic = topic;
    /** @type {"pending" | "catching up" | "live" | "refused" | "ended"} `refused` is asked again, `ended` is not */
    this.state = "pending";
    this.pos = start.after;
    this.logged = false;
    this.known = false; // was accepted once
    this.tries = 0;
    Object.defineProperties(this, { client: { value: client }, start: { value: start } });
  }
  /** No message arrives after this call. May be called any number of times. */
  unsubscribe() {
    return this.client.unsubscribe(this.topic);
  }
  request() {
    if (this.pos !== undefined) return { topic: this.topic, after: this.pos };
    return { topic: this.topic, last: this.start.last, latest: this.start.latest };
  }
}

const DEFAULTS = {
  /** The reconnect delay is random in 0..min(maxDelay, minDelay * 2^attempt): full jitter spreads a storm best. */
  minDelay: 500,
  maxDelay: 20_000,
  connectTimeout: 10_000,
  pongTimeout: 10_000,
  /** Publishes that wait here, and those on the wire without an answer. */
  maxQueue: 256,
  maxInFlight: 32,
  /** How long after its first sending a publish may be sent again; the server remembers a message_id for 2 minutes. */
  resendWindow: 110_000,
};
const STABLE = 5_000; // a connection that lived this long resets the backoff

export class Fanfare extends Emitter {
  #url;
  #token;
  #options;
  #link = null; // the connection of now: { ws, greeted, ready, since, heard, closing, timers }; null while offline
  #state = "connecting";
  #session;
  #attempt = 0;
  #renewed = false; // the refused token was already replaced once
  #retry = null; // { timer, told }: the wait for the next connection
  #pause = null; // a retryable refusal holds publishes back until this timer
  #nextId = 1;
  #subs = new Map(); // topic -> Subscription
  #calls = new Map(); // id -> { done(error, ok), size }
  #queue = []; // publishes that are not on the wire, oldest first

  /**
   * @param {string} url  absolute, or relative to the page
   * @param {{ token?: string | (() => string | Promise<string>) } & Partial<typeof DEFAULTS>} [options]
   *   a `token` function is asked before each connection
   */
  constructor(url, { token, ...options } = {}) {
    super();
    this.#url = new URL(url, globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.#token = token;
    this.#options = { ...DEFAULTS, ...options };
    globalThis.addEventListener?.("online", this.#wake);
    globalThis.document?.addEventListener("visibilitychange", this.#wake);
    this.#connect();
  }

  /** @returns {State} */
  get state() {
    return this.#state;
  }

  /** Subscribes to a topic or pattern; a topic that is subscribed already gives the same object. @param {Start} start */
  subscribe(topic, start = {}) {
    const known = this.#subs.get(topic);
    if (known) return known;
    const sub = new Subscription(this, topic, start);
    if (this.#state === "closed") return Object.assign(sub, { state: "ended" });
    this.#subs.set(topic, sub);
    if (this.#link?.greeted) this.#ask(sub);
    return sub;
  }

  async unsubscribe(topic) {
    const sub = this.#subs.get(topic);
    if (!sub) return;
    this.#end(sub);
    // Should the connection break first, the next one simply does not ask for the topic.
    if (this.#link?.greeted) await this.#request("unsubscribe", { topic }).catch(() => {});
  }

  /**
   * Resolves when the server has accepted the message. While offline it waits in a bounded queue, in order.
   * @param {string | string[]} topic  several only where all are ephemeral
   * @param {any} data  an ArrayBuffer or a view of one travels as binary, all else as JSON
   * @param {PublishOptions} [options]
   * @returns {Promise<{ pos?: string, duplicate?: boolean }>}
   */
  publish(topic, data, options = {}) {
    return new Promise((resolve, reject) => {
      const refuse = (code, message) => reject(new FanfareError({ code, message, retry: code !== "closed" }));
      if (this.#state === "closed") return refuse("closed", "the connection was closed for good");
      if (options.queue === false && !this.#link?.ready) return refuse("offline", "not connected");
      if (this.#queue.length >= this.#options.maxQueue) return refuse("queue_full", "too many messages are waiting");
      const { messageId, ...rest } = options;
      this.#queue.push({ order: this.#nextId++, topic, data, messageId, options: rest, sentAt: 0, tries: 0, resolve, reject });
      this.#flush();
    });
  }

  /** A page of a logged topic, oldest first. @returns {Promise<{ messages: Message[], more: boolean }>} */
  async history(topic, { before, limit } = {}) {
    const { messages, more } = await this.#request("history", { topic, before, limit });
    return { messages: messages.map((m) => toMessage({ topic, ...m })), more };
  }

  /** The round trip time. @returns {Promise<number>} */
  async ping() {
    const start = performance.now();
    await this.#request("ping", {});
    return performance.now() - start;
  }

  /** Stops waiting and connects now; does nothing where there is a connection. */
  reconnect() {
    if (!this.#retry) return;
    clearTimeout(this.#retry.timer);
    this.#connect();
  }

  /** Ends it for good: what is unanswered is rejected, nothing stays behind. */
  close(code = 1000, reason = "closed by the page") {
    if (this.#state === "closed") return;
    globalThis.removeEventListener?.("online", this.#wake);
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    clearTimeout(this.#retry?.timer);
    clearTimeout(this.#pause);
    this.#retry = this.#pause = null;
    this.#state = "closed"; // first, so that what handlers do from here on is refused
    for (const sub of this.#subs.values()) this.#end(sub);
    this.#unlink(1000);
    for (const entry of this.#queue.splice(0)) {
      entry.reject(new FanfareError(entry.sentAt ? UNKNOWN : { code: "closed", message: reason }));
    }
    this.emit("state", { state: "closed", code, reason });
  }

  // ---- the connection ----

  async #connect() {
    this.#retry = null;
    const link = (this.#link = { ws: null, greeted: false, ready: false, since: 0, heard: 0, closing: null, timers: {} });
    const current = () => link === this.#link; // a connection that was given up has no say any more
    link.timers.deadline = setTimeout(() => this.#lost(0, "no answer"), this.#options.connectTimeout);
    this.#update();
    try {
      const token = typeof this.#token === "function" ? await this.#token() : this.#token;
      if (!current()) return;
      const ws = (link.ws = new WebSocket(this.#url.href));
      ws.binaryType = "arraybuffer";
      ws.onopen = () => current() && this.#greet(link, token);
      ws.onmessage = (event) => current() && this.#receive(link, event.data);
      ws.onclose = (event) => current() && this.#lost(link.closing?.code ?? event.code, link.closing?.name ?? event.reason);
    } catch (error) {
      if (current()) this.#lost(0, String(error));
    }
  }

  /** One frame carries the token and every subscription with its cursor. */
  #greet(link, token) {
    const subs = [...this.#subs.values()];
    link.greeted = true;
    this.#call("connect", { token, session: this.#session, subscribe: subs.map((sub) => sub.request()) }, (error, ok) => {
      if (error?.code === "disconnected") return;
      if (error) return this.#lost(error.retry ? 4100 : CLOSE_CODES[error.code] ?? 4000, error.code, error.retryMs || undefined);
      clearTimeout(link.timers.deadline);
      link.ready = true;
      link.since = Date.now();
      link.timers.beat = setInterval(() => this.#beat(link, ok.ping_ms ?? 25_000), ok.ping_ms ?? 25_000);
      this.#session = ok.session;
      Object.assign(this, { client: ok.client, user: ok.user });
      this.#renewed = false;
      for (const reply of ok.subscribed ?? []) {
        const sub = subs.find((s) => s.topic === reply.topic);
        if (sub) this.#subscribed(sub, reply.error && new FanfareError(reply.error), reply);
      }
      this.#update();
      this.#flush();
    });
  }

  /** Takes the connection away and lets every unanswered call know. */
  #unlink(code) {
    const link = this.#link;
    this.#link = null;
    if (!link) return;
    for (const timer of Object.values(link.timers)) clearTimeout(timer);
    if (link.ws) link.ws.onopen = link.ws.onmessage = link.ws.onclose = null;
    link.ws?.close();
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    if (code === 1009 && calls.length) {
      // The server does not say which message was too big; sent again, it would end each connection.
      const biggest = calls.reduce((a, b) => (b.size > a.size ? b : a));
      biggest.done(new FanfareError({ code: "too_large", message: "the server does not take a message of this size" }));
      calls.splice(calls.indexOf(biggest), 1);
    }
    for (const call of calls) call.done(new FanfareError({ code: "disconnected", message: "the connection broke", retry: true }));
  }

  #lost(code, reason, retryMs = this.#link?.closing?.retry_ms) {
    const lived = this.#link?.since ? Date.now() - this.#link.since : 0;
    this.#unlink(code);
    if (this.#state === "closed") return;
    for (const sub of this.#subs.values()) {
      clearTimeout(sub.timer);
      sub.state = "pending";
    }
    if (code === 1000 || (code >= 4000 && code < 4100)) {
      const renewable = typeof this.#token === "function" && !this.#renewed && (code === 4001 || code === 4004);
      if (!renewable) return this.close(code, reason); // it was meant to end, or the same again would be refused again
      this.#renewed = true;
    }
    if (lived >= STABLE) this.#attempt = 0;
    const attempt = this.#attempt++;
    const later = (code >= 4100 && code < 4200) || code === 1013;
    const told = retryMs !== undefined || later;
    const least = retryMs ?? (later ? this.#options.minDelay * 4 : 0);
    const delay = Math.round(least + (retryMs !== undefined && attempt === 0 ? 0 : this.#backoff(attempt)));
    this.#retry = { told, timer: setTimeout(() => this.#connect(), delay) };
    this.#update({ code, reason });
    this.emit("reconnecting", { attempt: attempt + 1, delay, code, reason });
  }

  #backoff(attempt) {
    return Math.random() * Math.min(this.#options.maxDelay, this.#options.minDelay * 2 ** Math.min(attempt, 20));
  }

  /** The network or the page is back: do not wait for a timer, and do not trust a connection that may be dead. */
  #wake = (event) => {
    if (event.type === "visibilitychange" && document.visibilityState === "hidden") return;
    if (this.#link?.ready) this.#beat(this.#link, 0);
    else if (this.#retry && !this.#retry.told) this.reconnect();
  };

  /** Pages can't see WebSocket pings, so a silent connection is asked here. Any frame is an answer. */
  #beat(link, silence) {
    if (link.timers.pong || Date.now() - link.heard < silence * 0.9) return;
    link.timers.pong = setTimeout(() => this.#lost(0, "no answer"), this.#options.pongTimeout);
    this.#call("ping", {}, () => {});
  }

  #update(cause = {}) {
    const catchingUp = () => [...this.#subs.values()].some((sub) => sub.state === "catching up");
    const state = !this.#link ? "offline" : !this.#link.ready ? "connecting" : catchingUp() ? "catching up" : "live";
    if (state === this.#state || this.#state === "closed") return;
    this.#state = state;
    this.emit("state", { state, ...cause });
  }

  // ---- commands ----

  #call(method, params, done, data) {
    const id = this.#nextId++;
    const frame = encode({ id, [method]: params }, method, data);
    this.#calls.set(id, { done, size: frame.byteLength ?? frame.length });
    this.#link.ws.send(frame);
  }

  #request(method, params) {
    return new Promise((resolve, reject) => {
      if (!this.#link?.greeted) return reject(new FanfareError({ code: "offline", message: "not connected", retry: true }));
      this.#call(method, params, (error, ok) => (error ? reject(error) : resolve(ok)));
    });
  }

  #ask(sub) {
    sub.state = "pending";
    this.#call("subscribe", sub.request(), (error, ok) => this.#subscribed(sub, error, ok));
  }

  #subscribed(sub, error, ok) {
    if (this.#subs.get(sub.topic) !== sub || error?.code === "disconnected") return;
    if (error) {
      this.#refused(sub, error);
    } else {
      const again = sub.known;
      const replays = sub.pos !== undefined || sub.start.last !== undefined || sub.start.latest;
      sub.known = true;
      sub.tries = 0;
      sub.logged = ok.pos !== undefined;
      sub.pos = ok.pos;
      sub.state = sub.logged && replays ? "catching up" : "live";
      sub.emit("subscribed", { recovered: ok.recovered, pos: ok.pos });
      // Nobody kept what an ephemeral topic carried meanwhile; say so rather than lose it silently.
      if (again && !sub.logged) this.#gap(sub, { topic: sub.topic, reason: "offline" });
    }
    this.#update();
    this.#flush();
  }

  #refused(sub, error) {
    if (error.retry) {
      sub.state = "refused";
      sub.tries += 1;
      sub.timer = setTimeout(() => this.#ask(sub), error.retryMs || this.#backoff(sub.tries));
    } else {
      this.#end(sub);
    }
    sub.emit("error", error);
  }

  #end(sub) {
    clearTimeout(sub.timer);
    sub.state = "ended";
    this.#subs.delete(sub.topic);
    this.#update();
  }

  /** Puts publishes on the wire, in order, once it is known whether their topic is logged. */
  #flush() {
    while (this.#link?.ready && !this.#pause && this.#queue.length && this.#calls.size < this.#options.maxInFlight) {
      const sub = this.#subs.get(this.#queue[0].topic);
      if (sub?.state === "pending") return;
      const entry = this.#queue.shift();
      if (entry.sentAt && Date.now() - entry.sentAt > this.#options.resendWindow) {
        entry.reject(new FanfareError(UNKNOWN)); // the server may have forgotten its message_id
        continue;
      }
      if (sub?.logged) entry.messageId ??= newMessageId();
      entry.sentAt ||= Date.now();
      const topics = Array.isArray(entry.topic) ? { topics: entry.topic } : { topic: entry.topic };
      const params = { ...topics, ...entry.options, queue: undefined, message_id: entry.messageId };
      try {
        this.#call("publish", params, (error, ok) => this.#published(entry, error, ok), entry.data ?? null);
      } catch (error) {
        entry.reject(error); // data that is no JSON
      }
    }
  }

  #published(entry, error, ok) {
    const lost = error?.code === "disconnected";
    if (!error) entry.resolve(ok);
    else if (entry.messageId !== undefined && error.retry && this.#state !== "closed") {
      const after = this.#queue.findIndex((other) => other.order > entry.order);
      this.#queue.splice(after < 0 ? this.#queue.length : after, 0, entry);
      if (!lost) this.#pauseFor(error.retryMs || this.#backoff(++entry.tries));
    } else entry.reject(lost ? new FanfareError(UNKNOWN) : error);
    this.#flush();
  }

  #pauseFor(delay) {
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => {
      this.#pause = null;
      this.#flush();
    }, delay);
  }

  // ---- what the server sends ----

  #receive(link, raw) {
    link.heard = Date.now();
    clearTimeout(link.timers.pong);
    link.timers.pong = undefined;
    const frame = decode(raw);
    if (frame.id !== undefined) {
      const call = this.#calls.get(frame.id);
      this.#calls.delete(frame.id);
      call?.done(frame.error && new FanfareError(frame.error), frame.ok);
    } else if (frame.topic !== undefined) this.#deliver(frame);
    else if (frame.close) link.closing = frame.close;
    else if (frame.token) this.#refresh();
    else if (frame.error) this.emit("error", new FanfareError(frame.error));
    else if (frame.unsubscribed) {
      const sub = this.#subs.get(frame.unsubscribed.topic);
      if (sub) this.#refused(sub, new FanfareError({ message: "the server ended the subscription", ...frame.unsubscribed }));
    } // anything else is of a later version
  }

  #deliver(frame) {
    const sub = this.#subs.get(frame.topic);
    if (sub?.state === "pending" || sub?.state === "refused") return; // of an earlier subscription to the topic
    if (sub && frame.pos !== undefined) sub.pos = frame.pos;
    if (frame.gap) this.#gap(sub, { topic: frame.topic, ...frame.gap });
    else if (frame.presence) sub?.emit("presence", frame.presence);
    else if (frame.live && sub) {
      sub.state = "live";
      sub.emit("live", {});
      this.#update();
    } else if ("data" in frame || "base64" in frame) {
      const message = toMessage(frame);
      // One copy comes per connection: it is its topic's, else that of the patterns that match.
      const takers = sub ? [sub] : [...this.#subs.values()].filter((s) => matches(s.topic, frame.topic));
      for (const taker of takers) taker.emit("message", message);
      this.emit("message", message);
    } // else only the cursor moved: a message that is hidden from this client
  }

  #gap(sub, gap) {
    sub?.emit("gap", gap);
    this.emit("gap", gap);
  }

  async #refresh() {
    try {
      if (typeof this.#token === "function") await this.#request("refresh", { token: await this.#token() });
    } catch (error) {
      this.emit("error", error);
    }
  }
}

const UNKNOWN = { code: "unknown_outcome", message: "the connection broke before the answer; the message may have been accepted" };
const CLOSE_CODES = { unauthenticated: 4001, forbidden: 4003, token_expired: 4004 };

/** A topic name of these segments, any of which may be what a user typed: ("chat", "a b.c") is "chat.a%20b%2Ec". */
export function topicName(...segments) {
  return segments.map(segment).join(".");
}

/** One segment: what it may not hold is escaped byte by byte, so that no input can add a segment. */
export function segment(text, index = 0) {
  const escape = (bad) => Array.from(new TextEncoder().encode(bad), (b) => `%${b.toString(16).toUpperCase().padStart(2, "0")}`).join("");
  const escaped = text.replace(/[.*>%\p{White_Space}\p{Cc}]/gu, escape) || "%";
  return index === 0 ? escaped.replace(/^\$/, "%24") : escaped; // a leading $ would make it a topic of the system
}

/** An id for `messageId`; `crypto.randomUUID` would need a secure page. */
export function newMessageId() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join("-");
}

/** Whether a pattern (`*` = one segment, `>` = one or more to the end) matches a topic. */
export function matches(pattern, topic) {
  const [p, t] = [pattern.split("."), topic.split(".")];
  const rest = p.at(-1) === ">";
  if (topic.startsWith("$") && (p[0] === "*" || p[0] === ">")) return false; // the system's topics are named in full
  if (rest ? t.length < p.length : t.length !== p.length) return false;
  return p.every((part, i) => part === "*" || part === t[i] || (rest && i === p.length - 1));
}

/** A command as one frame: text, or for binary data a length (u32, big endian), the JSON header and the data. */
function encode(frame, method, data) {
  if (!(data instanceof ArrayBuffer || ArrayBuffer.isView(data))) {
    return JSON.stringify({ ...frame, [method]: { ...frame[method], data } });
  }
  const body = data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const head = new TextEncoder().encode(JSON.stringify(frame));
  const out = new Uint8Array(4 + head.length + body.length);
  new DataView(out.buffer).setUint32(0, head.length);
  out.set(head, 4);
  out.set(body, 4 + head.length);
  return out;
}

function decode(raw) {
  if (typeof raw === "string") return JSON.parse(raw);
  const length = new DataView(raw).getUint32(0);
  const frame = JSON.parse(new TextDecoder().decode(new Uint8Array(raw, 4, length)));
  return { ...frame, data: new Uint8Array(raw, 4 + length) };
}

/** @returns {Message} */
function toMessage({ message_id: messageId, base64, text, ...rest }) {
  if (base64 !== undefined) rest.data = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  return { ...rest, messageId };
}
