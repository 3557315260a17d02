/**
 * Fanfare in the browser: one connection that comes back by itself, speaking `fanfare.v1`.
 *
 *     const fanfare = new Fanfare("/ws", { token: () => fetchToken() });
 *     const lobby = fanfare.subscribe("chat.lobby", { last: 50, presence: true });
 *     lobby.on("message", (m) => console.log(m.data));
 *     lobby.on("gap", (gap) => console.log("missed", gap.missed ?? "some"));
 *     lobby.on("presence", ({ joined, left }) => console.log(lobby.members.size, "are here", joined, left));
 *     await fanfare.publish("chat.lobby", { text: "hello" });
 *     const { nick } = await fanfare.call("rename", { nick: "ann" });
 *     fanfare.onCall("confirm", (question) => confirm(question));
 *     fanfare.on("direct", (m) => console.log("only for me:", m.data));
 *
 * What it promises: each message of a logged topic reaches its handler once and in order across reconnects, or a `gap`
 * comes in its place. A publish is confirmed, refused, or rejected as `unknown_outcome`; it is sent again only where the server
 * applies it once (to a logged topic, by its `messageId`). A call is sent once at most.
 *
 * Events of `Fanfare`: `state` {@link StateChange}, `reconnecting` {attempt, delay, code, reason, message}, `gap` {@link Gap}, `message`
 * {@link Message} (of every topic), `direct` {@link Message} (to this client, its user, or everybody), `subscribed`
 * {@link Subscription} (by the server), `token` (see {@link Fanfare#refresh}), `error` {@link FanfareError}. Events of a
 * `Subscription`: `subscribed` {recovered, pos}, `message`, `gap`, `live`, `presence` {@link PresenceChange}, `unsubscribed` {code,
 * message} (by the server), `error`. Durations are in milliseconds. No dependencies; no timer outlives `close()`.
 */

/** @typedef {"connecting" | "catching up" | "live" | "offline" | "closed"} State  only `closed` is final */
/** @typedef {{ state: State, code?: number, reason?: string, message?: string }} StateChange  `code` and `reason`: the close code that
 *   led to it, and its name; `message`: what the server has to say beyond that, a sentence for a person */
/** @typedef {{ topic: string, data: any, event?: string, key?: string, from?: { client: string, user?: string }, time?: number,
 *   pos?: string, messageId?: string }} Message  `data`: a JSON value, a string, or a Uint8Array where binary was sent */
/** @typedef {{ topic: string, missed?: number, last?: string, next?: string, reason: string }} Gap  `reason`: `slow`, `backend`,
 *   `history`, `epoch`, or `offline` for what an ephemeral topic carried while there was no connection */
/** @typedef {{ client: string, user?: string, meta?: any }} Member */
/** @typedef {{ joined: Member[], left: Member[], updated: Member[], clients: number, users?: number, complete: boolean }}
 *   PresenceChange  `clients`, `users`: how many there are; `complete`: all of them are in `members` */
/** @typedef {{ event?: string, key?: string, echo?: boolean, text?: boolean, messageId?: string, queue?: boolean }} PublishOptions
 *   `echo: false`: not back to this client; `text`: send a string as text, not as JSON; `messageId`: makes a publish to a logged
 *   topic idempotent (made here for topics that are subscribed); `queue: false`: fail at once while offline */
/** @typedef {{ timeout?: number, queue?: boolean }} CallOptions  `timeout`: the wait for a connection included */
/** @typedef {{ last?: number, latest?: boolean, after?: string, presence?: boolean }} Start  where to begin; nothing = live.
 *   `presence`: keep the list of members */
/** @typedef {{ method: string, timeout: number }} CallInfo  how long the server waits for the answer */
/** @typedef {string | undefined | (() => string | undefined | Promise<string | undefined>)} Token */

/** `code` is the server's, or one of: `offline`, `disconnected`, `timeout`, `unknown_outcome`, `queue_full`, `closed`. */
export class FanfareError extends Error {
  /** @param {{ code: string, message?: string, retry?: boolean, retry_ms?: number, field?: string, limit?: number, value?: number }} error */
  constructor({ code, message, retry = false, retry_ms = 0, ...details }) {
    super(message ?? code);
    this.name = "FanfareError";
    /** What kind of failure. @type {string} */
    this.code = code;
    /** Whether the same can succeed later. @type {boolean} */
    this.retry = retry;
    /** When; 0 where nobody said. @type {number} */
    this.retryMs = retry_ms;
    Object.assign(this, details);
  }
}

/** A string that travels as text and not as JSON: `publish(topic, new PlainText("hi"))`, or what a method answers. */
export class PlainText {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
  }
}

class Emitter extends EventTarget {
  /**
   * Calls `handler(detail)` for each event; returns a function that takes the handler away again.
   * @param {string} type
   * @param {(detail: any) => void} handler
   */
  on(type, handler) {
    const listener = (/** @type {any} */ event) => handler(event.detail);
    this.addEventListener(type, listener);
    return () => this.removeEventListener(type, listener);
  }
  /** @param {string} type @param {any} [detail] */
  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** What `Fanfare.subscribe` returns. It survives reconnects; `pos` is the cursor from which it resumes. */
export class Subscription extends Emitter {
  /** @param {Fanfare} client @param {string} topic @param {Start} start */
  constructor(client, topic, start, byServer = false) {
    super();
    this.topic = topic;
    /** @type {"pending" | "catching up" | "live" | "refused" | "ended"} `refused` is asked again, `ended` is not */
    this.state = "pending";
    /** @type {string | undefined} */
    this.pos = start.after;
    this.logged = false;
    /** Whether the server made it. It ends with the session. */
    this.byServer = byServer;
    this.known = false; // was accepted once
    this.tries = 0;
    /** Who is subscribed, by client, where `presence` was asked for. @type {Map<string, Member>} */
    this.members = new Map();
    /** How many are subscribed, and how many different users that are, without those that have none; `undefined` until it is known. @type {number | undefined} */
    this.clients = undefined;
    /** @type {number | undefined} */
    this.users = undefined;
    /** Where the list goes on; `undefined` when `members` is complete. @type {string | undefined} */
    this.next = undefined;
    /** Whether changes of single members are told: not where there are too many. */
    this.kept = true;
    /** @type {Set<string> | undefined} who changed while a page of the list is on its way */
    this.changed = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    Object.defineProperties(this, { client: { value: client }, start: { value: start, writable: true } });
  }

  /** No message arrives after this call. May be called any number of times. */
  unsubscribe() {
    return this.client.unsubscribe(this.topic);
  }

  /** Adds the next page of members to the list, and says whether it is complete now. @returns {Promise<boolean>} */
  async more(limit = 100) {
    if (this.next === undefined) return true;
    if (this.changed) throw new FanfareError({ code: "bad_request", message: "a page is on its way" });
    const changed = (this.changed = new Set());
    try {
      const page = await this.client.presence(this.topic, { limit, next: this.next });
      if (this.changed !== changed) return this.next === undefined; // a new snapshot has come meanwhile
      const joined = page.members.filter(({ client }) => !changed.has(client) && !this.members.has(client));
      for (const member of joined) this.members.set(member.client, member);
      Object.assign(this, { clients: page.clients, users: page.users, next: page.next });
      this.#tell({ joined });
    } finally {
      if (this.changed === changed) this.changed = undefined;
    }
    return this.next === undefined;
  }

  request() {
    const presence = this.start.presence || undefined;
    if (this.pos !== undefined) return { topic: this.topic, after: this.pos, presence };
    return { topic: this.topic, last: this.start.last, latest: this.start.latest, presence };
  }

  /** Takes a snapshot, which replaces the list, or changes of single members. */
  present({ snapshot, join = [], leave = [], update = [], clients, users, next }) {
    if (snapshot) {
      const before = this.members;
      this.members = new Map(snapshot.map((member) => [member.client, member]));
      this.changed = undefined;
      this.kept = true;
      Object.assign(this, { clients, users, next });
      const same = (member) => JSON.stringify(member) === JSON.stringify(before.get(member.client));
      const stayed = snapshot.filter(({ client }) => before.has(client));
      const joined = snapshot.filter(({ client }) => !before.has(client));
      // Whom an incomplete list does not name may be there all the same.
      const left = next === undefined ? [...before.values()].filter(({ client }) => !this.members.has(client)) : [];
      return this.#tell({ joined, left, updated: stayed.filter((member) => !same(member)) });
    }
    if (!join.length && !leave.length && !update.length) {
      // There are too many to be told of each: until the next snapshot the list is not kept.
      this.kept = false;
      Object.assign(this, { clients, users });
      return this.#tell({});
    }
    const [joined, left, updated] = [[], [], []];
    for (const client of leave) {
      left.push(this.members.get(client) ?? { client });
      this.members.delete(client);
    }
    for (const member of [...join, ...update]) {
      (this.members.has(member.client) || !join.includes(member) ? updated : joined).push(member);
      this.members.set(member.client, member);
    }
    for (const { client } of [...left, ...joined, ...updated]) this.changed?.add(client);
    Object.assign(this, { clients, users });
    this.#tell({ joined, left, updated });
  }

  #tell({ joined = [], left = [], updated = [] }) {
    const complete = this.kept && this.next === undefined;
    this.emit("presence", { joined, left, updated, clients: this.clients, users: this.users, complete });
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
  /** How long a call may take. */
  callTimeout: 30_000,
  /** Whether a session is taken up again, after a break and by the page that this tab loads next: `false`, or a name
   * of its own where one page has several connections to one address. */
  resume: /** @type {boolean | string} */ (true),
};
const STABLE = 5_000; // a connection that lived this long resets the backoff
const GIVEN_UP = 3000; // the close code of a connection that is replaced by another
const MAX_DELAY = 2 ** 31 - 1; // what a timer can hold

export class Fanfare extends Emitter {
  #url;
  #token;
  #options;
  #link = null; // the connection of now: { ws, greeted, ready, since, heard, closing, timers }; null while offline
  #state = "connecting";
  /** @type {string | undefined} the secret with which the session is taken up again */
  #session;
  #kept; // where the secret waits for the tab's next page
  #former = new Set(); // what the tab's last page was subscribed to
  #attempt = 0;
  #renewed = false; // the refused token was already replaced once
  #retry = null; // { timer, told }: the wait for the next connection
  #pause = null; // a retryable refusal holds publishes back until this timer
  #nextId = 1;
  #subs = new Map(); // topic -> Subscription
  #open = new Map(); // id -> { done(error, ok, data), size }: commands without a reply
  #queue = []; // publishes and calls that are not on the wire, oldest first
  #methods = new Map(); // what the server may call

  /**
   * @param {string} url  absolute, or relative to the page
   * @param {{ token?: Token } & Partial<typeof DEFAULTS>} [options]
   *   a `token` function is asked before each connection, and when the token is about to expire
   */
  constructor(url, { token, ...options } = {}) {
    super();
    this.#url = new URL(url, globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.#token = token;
    this.#options = { ...DEFAULTS, ...options };
    /** The public name of this connection, and its user, once it is connected. @type {string | undefined} */
    this.client = undefined;
    /** @type {string | undefined} */
    this.user = undefined;
    this.#kept = keeper(this.#options.resume, this.#url);
    const kept = this.#kept?.take();
    this.#session = kept?.session;
    this.#former = new Set(kept?.topics);
    if (this.#kept) for (const type of ["pagehide", "pageshow"]) globalThis.addEventListener(type, this.#turn);
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
    if (known) {
      known.byServer = false; // from now on the page wants it, too
      return known;
    }
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
   * @param {string | string[]} topic  several only where all are ephemeral; an address reaches a client (`$client.ID`), all tabs
   *   of a user (see {@link userAddress}) or everybody (`$all`), where the server allows it
   * @param {any} data  an ArrayBuffer or a view of one travels as binary, all else as JSON
   * @param {PublishOptions} [options]
   * @returns {Promise<{ pos?: string, duplicate?: boolean }>}
   */
  publish(topic, data, options = {}) {
    const { messageId, queue, ...rest } = options;
    return this.#enqueue({ topic, data, messageId, options: rest }, queue);
  }

  /**
   * Calls a method of the app. While offline it waits for a connection. A call is sent once at most: when the connection breaks
   * before the answer, it is rejected as `unknown_outcome`, and after `timeout` ms as `timeout`.
   * @param {string} method
   * @param {any} [data]  as in `publish`
   * @param {CallOptions} [options]
   * @returns {Promise<any>} what the method answered: a JSON value, a string, or a Uint8Array
   */
  call(method, data, { timeout = this.#options.callTimeout, queue } = {}) {
    const entry = { method, data };
    const late = () => {
      this.#queue = this.#queue.filter((other) => other !== entry);
      this.#open.delete(entry.id); // the late answer finds nobody
      entry.reject(new FanfareError({ code: "timeout", message: `no answer within ${timeout} ms`, retry: true }));
      this.#flush();
    };
    entry.timer = setTimeout(late, Math.min(timeout, MAX_DELAY));
    return this.#enqueue(entry, queue).finally(() => clearTimeout(entry.timer));
  }

  /**
   * Serves a method that the server may call. What the handler returns, or what its promise resolves to, is the answer; what it
   * throws is an error to the server, with its `code`, if it has one. A later handler of a method takes the place of the one before.
   * @param {string} method
   * @param {(data: any, info: CallInfo) => any} handler
   * @returns {() => void} takes the handler away again
   */
  onCall(method, handler) {
    this.#methods.set(method, handler);
    return () => this.#methods.get(method) === handler && this.#methods.delete(method);
  }

  /**
   * A page of a logged topic, oldest first: the last messages before a cursor, the first ones after it, or the last of all.
   * @param {string} topic
   * @param {{ before?: string, after?: string, limit?: number }} [page]
   * @returns {Promise<{ messages: Message[], more: boolean }>}
   */
  async history(topic, { before, after, limit } = {}) {
    const { messages, more } = await this.#request("history", { topic, before, after, limit });
    return { messages: messages.map((m) => toMessage({ topic, ...m })), more };
  }

  /**
   * A page of a topic's members, and how many there are.
   * @param {string} topic
   * @param {{ limit?: number, next?: string }} [page]  `next`: as in the page before
   * @returns {Promise<{ members: Member[], clients: number, users: number, next?: string }>}
   */
  presence(topic, { limit, next } = {}) {
    return this.#request("presence", { topic, limit, next });
  }

  /**
   * Shows the server a new token of the same user on the open connection. A `token` function is asked in time and needs no call of this;
   * without one the event `token` says that it is time.
   * @param {string} token
   */
  async refresh(token) {
    if (typeof this.#token !== "function") this.#token = token;
    const link = this.#link;
    const { expires_ms } = await this.#request("refresh", { token });
    if (link === this.#link) this.#expires(link, expires_ms);
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
    this.#finish({ code, reason });
  }

  #finish(cause) {
    if (this.#state === "closed") return;
    globalThis.removeEventListener?.("online", this.#wake);
    for (const type of ["pagehide", "pageshow"]) globalThis.removeEventListener?.(type, this.#turn);
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    clearTimeout(this.#retry?.timer);
    clearTimeout(this.#pause);
    this.#retry = this.#pause = null;
    this.#state = "closed"; // first, so that what handlers do from here on is refused
    for (const sub of this.#subs.values()) this.#end(sub);
    this.#unlink(1000);
    this.#session = undefined;
    for (const entry of this.#queue.splice(0)) {
      entry.reject(new FanfareError(entry.sentAt ? UNKNOWN : { code: "closed", message: cause.message ?? cause.reason }));
    }
    this.emit("state", { state: "closed", ...cause });
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

  /** One frame carries the token, the session, and every subscription with its cursor. */
  #greet(link, token) {
    const session = this.#session;
    // What the server made is its own affair, unless the session is taken up again: then it begins where it stopped here.
    const subs = [...this.#subs.values()].filter((sub) => session || !sub.byServer);
    link.greeted = true;
    this.#command("connect", { token, session, subscribe: subs.map((sub) => sub.request()) }, (error, ok) => {
      if (error?.code === "disconnected") return;
      if (error) return this.#lost(error.retry ? 4100 : CLOSE_CODES[error.code] ?? 4000, error.code, { message: error.message, retry_ms: error.retryMs || undefined });
      clearTimeout(link.timers.deadline);
      link.ready = true;
      link.since = Date.now();
      link.timers.beat = setInterval(() => this.#beat(link, ok.ping_ms ?? 25_000), ok.ping_ms ?? 25_000);
      this.#expires(link, ok.expires_ms);
      this.#session = this.#options.resume === false ? undefined : ok.session;
      Object.assign(this, { client: ok.client, user: ok.user });
      this.#renewed = false;
      for (const reply of ok.subscribed ?? []) this.#resumed(subs, reply, ok.resumed);
      this.#former.clear();
      for (const sub of [...this.#subs.values()]) {
        if (!ok.resumed && sub.byServer) this.#dismiss(sub, { code: "session_lost", message: "the session is another one" });
      }
      this.#update();
      this.#flush();
    });
  }

  /** A subscription that `connect` brought: one that was asked for, or one that the session had. */
  #resumed(asked, reply, resumed) {
    const sub = asked.find((s) => s.topic === reply.topic);
    const error = reply.error && new FanfareError(reply.error);
    if (sub?.byServer && !resumed) {
      if (!error) this.#request("unsubscribe", { topic: reply.topic }).catch(() => {});
    } else if (sub) this.#subscribed(sub, error, reply);
    else if (error || this.#subs.has(reply.topic)) return;
    else if (this.#former.has(reply.topic)) {
      // The tab's last page wanted it, this one does not.
      this.#request("unsubscribe", { topic: reply.topic }).catch(() => {});
    } else this.#adopt(reply);
  }

  /** The server has subscribed this client to a topic. */
  #adopt(ok) {
    const known = this.#subs.get(ok.topic);
    const sub = known ?? new Subscription(this, ok.topic, {}, true);
    if (!known) {
      this.#subs.set(ok.topic, sub);
      this.emit("subscribed", sub); // first, so that a handler that is added now hears all
    }
    this.#subscribed(sub, undefined, ok);
  }

  /** The server has ended a subscription. */
  #dismiss(sub, { code, message = "the server ended the subscription", retry, retry_ms }) {
    if (retry) return this.#refused(sub, new FanfareError({ code, message, retry, retry_ms }));
    this.#end(sub);
    sub.emit("unsubscribed", { code, message });
  }

  /** The page is left: what it leads with goes to the tab's next page. A copy of this tab finds nothing while the page lives. */
  #turn = (event) => {
    if (event.type === "pageshow") return event.persisted && this.#kept.take(); // it came back itself
    if (this.#session) this.#kept.put({ session: this.#session, topics: [...this.#subs.values()].filter((sub) => !sub.byServer).map((sub) => sub.topic) });
  };

  /** In time before the admission ends, the token is replaced. The server says so, too. */
  #expires(link, ms) {
    clearTimeout(link.timers.token);
    link.timers.token = undefined;
    const wait = ms - Math.min(60_000, ms / 5);
    if (ms !== undefined && wait <= MAX_DELAY) link.timers.token = setTimeout(() => this.#renew(link), wait);
  }

  async #renew(link) {
    if (link.renewing) return;
    if (typeof this.#token !== "function") return this.emit("token", {});
    link.renewing = true;
    try {
      const token = await this.#token();
      if (link === this.#link && link.ready) await this.refresh(token);
    } catch (error) {
      if (link !== this.#link) return;
      clearTimeout(link.timers.token);
      if (error.retry !== false) link.timers.token = setTimeout(() => this.#renew(link), error.retryMs || this.#backoff(2));
      this.emit("error", error);
    } finally {
      link.renewing = false;
    }
  }

  /** Takes the connection away and lets every unanswered call know. */
  #unlink(code) {
    const link = this.#link;
    this.#link = null;
    if (!link) return;
    for (const timer of Object.values(link.timers)) clearTimeout(timer);
    if (link.ws) link.ws.onopen = link.ws.onmessage = link.ws.onclose = null;
    // With 1000 the session is over; with any other code it may be taken up again.
    link.ws?.close(code === 1000 ? 1000 : GIVEN_UP);
    const calls = [...this.#open.values()];
    this.#open.clear();
    if (code === 1009 && calls.length) {
      // The server does not say which message was too big; sent again, it would end each connection.
      const biggest = calls.reduce((a, b) => (b.size > a.size ? b : a));
      biggest.done(new FanfareError({ code: "too_large", message: "the server does not take a message of this size" }));
      calls.splice(calls.indexOf(biggest), 1);
    }
    for (const call of calls) call.done(new FanfareError({ code: "disconnected", message: "the connection broke", retry: true }));
  }

  #lost(code, reason, { message, retry_ms: retryMs } = this.#link?.closing ?? {}) {
    const cause = { code, reason, ...(message && { message }) };
    const lived = this.#link?.since ? Date.now() - this.#link.since : 0;
    this.#unlink(code);
    if (this.#state === "closed") return;
    for (const sub of this.#subs.values()) {
      clearTimeout(sub.timer);
      sub.state = "pending";
    }
    if (code === 1000 || (code >= 4000 && code < 4100)) {
      const renewable = typeof this.#token === "function" && !this.#renewed && (code === 4001 || code === 4004);
      if (!renewable) return this.#finish(cause); // it was meant to end, or the same again would be refused again
      this.#renewed = true;
    }
    if (lived >= STABLE) this.#attempt = 0;
    const attempt = this.#attempt++;
    const later = (code >= 4100 && code < 4200) || code === 1013;
    const told = retryMs !== undefined || later;
    const least = retryMs ?? (later ? this.#options.minDelay * 4 : 0);
    const delay = Math.round(least + (retryMs !== undefined && attempt === 0 ? 0 : this.#backoff(attempt)));
    this.#retry = { told, timer: setTimeout(() => this.#connect(), delay) };
    this.#update(cause);
    this.emit("reconnecting", { attempt: attempt + 1, delay, ...cause });
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
    this.#command("ping", {}, () => {});
  }

  #update(cause = {}) {
    const catchingUp = () => [...this.#subs.values()].some((sub) => sub.state === "catching up");
    const state = !this.#link ? "offline" : !this.#link.ready ? "connecting" : catchingUp() ? "catching up" : "live";
    if (state === this.#state || this.#state === "closed") return;
    this.#state = state;
    this.emit("state", { state, ...cause });
  }

  // ---- commands ----

  #command(method, params, done, data) {
    const id = this.#nextId++;
    const frame = encode({ id, [method]: params }, method, data);
    this.#open.set(id, { done, size: frame.byteLength ?? frame.length });
    this.#link.ws.send(frame);
    return id;
  }

  #request(method, params) {
    return new Promise((resolve, reject) => {
      if (!this.#link?.greeted) return reject(new FanfareError({ code: "offline", message: "not connected", retry: true }));
      this.#command(method, params, (error, ok) => (error ? reject(error) : resolve(ok)));
    });
  }

  #ask(sub) {
    sub.state = "pending";
    this.#command("subscribe", sub.request(), (error, ok) => this.#subscribed(sub, error, ok));
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
      if (again && !sub.logged && ok.recovered === undefined) this.#gap(sub, { topic: sub.topic, reason: "offline" });
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

  /** A publish or a call waits for its turn. */
  #enqueue(entry, queue) {
    return new Promise((resolve, reject) => {
      Object.assign(entry, { order: this.#nextId++, sentAt: 0, tries: 0, resolve, reject });
      const refuse = (code, message) => reject(new FanfareError({ code, message, retry: code !== "closed" }));
      if (this.#state === "closed") return refuse("closed", "the connection was closed for good");
      if (queue === false && !this.#link?.ready) return refuse("offline", "not connected");
      if (this.#queue.length >= this.#options.maxQueue) return refuse("queue_full", "too many messages are waiting");
      this.#queue.push(entry);
      this.#flush();
    });
  }

  /** Puts publishes and calls on the wire, in order; a publish once it is known whether its topic is logged. */
  #flush() {
    while (this.#link?.ready && !this.#pause && this.#queue.length && this.#open.size < this.#options.maxInFlight) {
      if (this.#subs.get(this.#queue[0].topic)?.state === "pending") return;
      const entry = this.#queue.shift();
      try {
        if (entry.method !== undefined) this.#sendCall(entry);
        else this.#sendPublish(entry);
      } catch (error) {
        entry.reject(error); // data that is no JSON
      }
    }
  }

  #sendCall(entry) {
    entry.sentAt = Date.now();
    const answered = (error, ok, data) => {
      if (!error) entry.resolve(data ?? ok.data);
      else entry.reject(error.code === "disconnected" ? new FanfareError(UNKNOWN) : error);
      this.#flush();
    };
    entry.id = this.#command("call", { method: entry.method }, answered, entry.data);
  }

  #sendPublish(entry) {
    if (entry.sentAt && Date.now() - entry.sentAt > this.#options.resendWindow) {
      return entry.reject(new FanfareError(UNKNOWN)); // the server may have forgotten its message_id
    }
    if (this.#subs.get(entry.topic)?.logged) entry.messageId ??= newMessageId();
    entry.sentAt ||= Date.now();
    const topics = Array.isArray(entry.topic) ? { topics: entry.topic } : { topic: entry.topic };
    const params = { ...topics, ...entry.options, message_id: entry.messageId };
    this.#command("publish", params, (error, ok) => this.#published(entry, error, ok), entry.data ?? null);
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
      const command = this.#open.get(frame.id);
      this.#open.delete(frame.id);
      command?.done(frame.error && new FanfareError(frame.error), frame.ok, frame.data);
    } else if (frame.topic !== undefined) this.#deliver(frame);
    else if (frame.call) this.#called(link, frame.call, "data" in frame ? frame.data : frame.call.data);
    else if (frame.close) link.closing = frame.close;
    else if (frame.token) this.#renew(link);
    else if (frame.error) this.emit("error", new FanfareError(frame.error));
    else if (frame.subscribed) this.#adopt(frame.subscribed);
    else if (frame.unsubscribed) {
      const sub = this.#subs.get(frame.unsubscribed.topic);
      if (sub) this.#dismiss(sub, frame.unsubscribed);
    } // anything else is of a later version
  }

  /** The server asks this page something. */
  async #called(link, { call_id, method, timeout_ms }, data) {
    const until = Date.now() + timeout_ms;
    const answer = (params, data) => {
      // Nobody waits any more, or the call belongs to a connection that is gone.
      if (link === this.#link && Date.now() < until) link.ws.send(encode({ answer: { call_id, ...params } }, "answer", data));
    };
    try {
      const handler = this.#methods.get(method);
      if (!handler) throw new FanfareError({ code: "no_such_method", message: `this page has no method of the name ${method}` });
      answer({}, await handler(data, { method, timeout: timeout_ms }));
    } catch (error) {
      const code = typeof error?.code === "string" ? error.code : "internal";
      answer({ error: { code, message: String(error?.message ?? error) } });
    }
  }

  #deliver(frame) {
    const sub = this.#subs.get(frame.topic);
    if (sub?.state === "pending" || sub?.state === "refused") return; // of an earlier subscription to the topic
    if (sub && frame.pos !== undefined) sub.pos = frame.pos;
    if (frame.gap) this.#gap(sub, { topic: frame.topic, ...frame.gap });
    else if (frame.presence) sub?.present(frame.presence);
    else if (frame.live && sub) {
      sub.state = "live";
      sub.emit("live", {});
      this.#update();
    } else if ("data" in frame || "base64" in frame) {
      const message = toMessage(frame);
      // One copy comes per connection: it is its topic's, else that of the patterns that match.
      const takers = sub ? [sub] : [...this.#subs.values()].filter((s) => matches(s.topic, frame.topic));
      for (const taker of takers) taker.emit("message", message);
      if (!takers.length && isAddress(frame.topic)) this.emit("direct", message);
      this.emit("message", message);
    } // else only the cursor moved: a message that is hidden from this client
  }

  #gap(sub, gap) {
    sub?.emit("gap", gap);
    this.emit("gap", gap);
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

/** The address of all tabs of a user, whatever the name holds: what is published to it reaches them all. @param {string} user */
export function userAddress(user) {
  return `$user.${segment(user, 1)}`;
}

/** Whether what came under this name was sent to this client, and not to a topic. */
function isAddress(topic) {
  return topic === "$all" || topic.startsWith("$client.") || topic.startsWith("$user.");
}

/**
 * Where a session's secret waits while its tab loads another page. It is there only then: a copy of a tab, which begins with a copy of
 * what the tab keeps, finds none, and has a session of its own.
 */
function keeper(resume, url) {
  const key = `fanfare.session ${typeof resume === "string" ? resume : ""} ${url.origin}${url.pathname}`;
  try {
    const storage = resume === false ? undefined : globalThis.sessionStorage;
    if (!storage) return undefined;
    return {
      take() {
        try {
          const kept = JSON.parse(storage.getItem(key) ?? "null");
          storage.removeItem(key);
          return kept ?? undefined;
        } catch {
          return undefined;
        }
      },
      put(kept) {
        try {
          storage.setItem(key, JSON.stringify(kept));
        } catch {
          // Full: the next page begins anew.
        }
      },
    };
  } catch {
    return undefined; // the page may not keep anything
  }
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
  if (data instanceof PlainText) return JSON.stringify({ ...frame, [method]: { ...frame[method], text: true, data: data.text } });
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
