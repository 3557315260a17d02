/** Sessions, tokens, presence and what the server does by itself, in the client module, against a scripted server. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, mock, test } from "node:test";
import { userAddress } from "../../web/fanfare.js";
import { FakeSocket, fakePage, online, received, tick, timers } from "./fake.mjs";

/** What a tab keeps. A copy of the tab begins with a copy of it. */
class Storage {
  constructor(entries = []) {
    this.all = new Map(entries);
  }
  getItem(key) {
    return this.all.get(key) ?? null;
  }
  setItem(key, value) {
    this.all.set(key, String(value));
  }
  removeItem(key) {
    this.all.delete(key);
  }
  copy() {
    return new Storage(this.all);
  }
}

const leave = () => online.dispatchEvent(new Event("pagehide"));

describe("sessions of fanfare.js", () => {
  const page = fakePage();
  const { create, accept } = page;
  beforeEach(() => (globalThis.sessionStorage = new Storage()));
  afterEach(() => delete globalThis.sessionStorage);

  test("a session is taken up again, with every subscription where it stopped", async () => {
    const fanfare = create();
    const log = fanfare.subscribe("log", { last: 10 });
    const now = fanfare.subscribe("now");
    const [, gaps] = [received(log), received(now)];
    let socket = await accept({ log: "e:5" }, {}, { session: "secret-1" });
    assert.equal(socket.connect.session, undefined);
    const made = [];
    fanfare.on("subscribed", (sub) => made.push([sub.topic, received(sub), sub]));
    socket.push({ subscribed: { topic: "room.7", pos: "r:1" } }, { topic: "room.7", pos: "r:2", data: "welcome" });
    const [topic, got, sub] = made[0];
    assert.deepEqual([topic, got, sub.byServer, sub.state, sub.logged], ["room.7", ["welcome"], true, "live", true]);
    socket.drop();
    mock.timers.tick(250);
    socket = await accept({ log: "e:5", "room.7": "r:2" }, { now: { recovered: false } }, { session: "secret-2", resumed: true });
    assert.equal(socket.connect.session, "secret-1");
    assert.deepEqual(socket.connect.subscribe, [{ topic: "log", after: "e:5" }, { topic: "now" }, { topic: "room.7", after: "r:2" }]);
    socket.push({ topic: "now", gap: { reason: "backend" } }, { topic: "room.7", pos: "r:3", data: "back" });
    assert.deepEqual([got, gaps, made.length], [["welcome", "back"], [{ gap: "backend" }], 1], "one gap, not two");
    socket.drop();
    mock.timers.tick(500);
    socket = await accept({}, {}, { session: "secret-3" });
    assert.equal(socket.connect.session, "secret-2");
  });

  test("without its session a client does not ask for what the server had given it", async () => {
    const fanfare = create();
    let socket = await accept({}, {}, { session: "secret" });
    socket.push({ subscribed: { topic: "room" } }, { subscribed: { topic: "kept" } });
    const kept = fanfare.subscribe("kept"); // the page wants this one itself
    const ended = [];
    fanfare.on("subscribed", () => assert.fail("nothing new"));
    socket.drop();
    mock.timers.tick(250);
    await tick();
    FakeSocket.last.onopen();
    const { id, connect } = FakeSocket.last.command;
    assert.deepEqual(connect.subscribe, [{ topic: "room" }, { topic: "kept" }]);
    FakeSocket.last.push({ id, ok: { client: "c2", session: "other", subscribed: [{ topic: "room" }, { topic: "kept" }] } });
    assert.deepEqual(FakeSocket.last.command.unsubscribe, { topic: "room" });
    assert.equal(kept.state, "live");
    assert.deepEqual(ended, []);
  });

  test("the next page of a tab takes the session up; a copy of the tab does not", async () => {
    let fanfare = create();
    fanfare.subscribe("stays");
    fanfare.subscribe("goes");
    let socket = await accept({}, {}, { session: "secret" });
    const copy = globalThis.sessionStorage.copy();
    leave();

    // The same tab, another page of it: a subscription of the last one that it does not want is ended, one of the server's is kept.
    fanfare = create();
    const made = [];
    fanfare.on("subscribed", (sub) => made.push(sub.topic));
    fanfare.subscribe("stays", { last: 5 });
    socket = await accept({}, {}, { session: "next", resumed: true, subscribed: [{ topic: "goes" }, { topic: "room", pos: "r:1" }] });
    assert.equal(socket.connect.session, "secret");
    assert.deepEqual(socket.connect.subscribe, [{ topic: "stays", last: 5 }]);
    assert.deepEqual(made, ["room"]);
    assert.deepEqual(socket.command.unsubscribe, { topic: "goes" });
    assert.equal(globalThis.sessionStorage.all.size, 0, "while the page lives its secret is nowhere else");

    globalThis.sessionStorage = copy;
    create();
    socket = await accept();
    assert.equal(socket.connect.session, undefined);
    fanfare.close();
  });

  test("a session ends with `close`, where it is not wanted, and where nothing can be kept", async () => {
    const fanfare = create();
    await accept({}, {}, { session: "secret" });
    fanfare.close();
    leave();
    assert.equal(globalThis.sessionStorage.all.size, 0);
    create({ resume: false });
    let socket = await accept({}, {}, { session: "secret" });
    leave();
    assert.equal(globalThis.sessionStorage.all.size, 0);
    socket.drop();
    mock.timers.tick(250);
    socket = await accept();
    assert.equal(socket.connect.session, undefined);
    page.fanfare.close();
    Object.defineProperty(globalThis, "sessionStorage", { configurable: true, get: () => { throw new Error("not allowed"); } });
    create();
    socket = await accept({}, {}, { session: "secret" });
    leave();
    socket.drop();
    mock.timers.tick(250);
    socket = await accept();
    assert.equal(socket.connect.session, "secret", "within the page it is");
  });

  test("the server ends a subscription: for good, or to be asked again", async () => {
    const fanfare = create();
    const [never, soon] = [fanfare.subscribe("never"), fanfare.subscribe("soon")];
    const ended = [];
    for (const sub of [never, soon]) {
      sub.on("unsubscribed", ({ code }) => ended.push(["unsubscribed", sub.topic, code]));
      sub.on("error", ({ code }) => ended.push(["error", sub.topic, code]));
    }
    const socket = await accept();
    socket.push({ unsubscribed: { topic: "never", code: "revoked", retry: false } }, { unsubscribed: { topic: "soon", code: "backend_unavailable", retry: true, retry_ms: 300 } }, { unsubscribed: { topic: "unknown", code: "revoked" } });
    assert.deepEqual(ended, [["unsubscribed", "never", "revoked"], ["error", "soon", "backend_unavailable"]]);
    assert.deepEqual([never.state, soon.state], ["ended", "refused"]);
    mock.timers.tick(300);
    assert.deepEqual(socket.command.subscribe, { topic: "soon" });
  });

  test("messages to this client, its user or everybody", async () => {
    const fanfare = create();
    const got = [];
    fanfare.on("direct", ({ topic, data }) => got.push([topic, data]));
    const pattern = received(fanfare.subscribe(">"));
    const socket = await accept();
    socket.push({ topic: "$user.ann", data: 1 }, { topic: "$client.c1", data: 2 }, { topic: "$all", event: "news", data: 3 }, { topic: "t", data: 4 });
    assert.deepEqual(got, [["$user.ann", 1], ["$client.c1", 2], ["$all", 3]]);
    assert.deepEqual(pattern, [4]);
    fanfare.publish(userAddress("a.b $x"), "hi").catch(() => {});
    assert.deepEqual(socket.command.publish, { topic: "$user.a%2Eb%20$x", data: "hi" });
  });

  test("a token is replaced in time, when the server says so, and again when that fails", async () => {
    let issued = 0;
    const fanfare = create({ token: async () => `token ${++issued}` });
    let socket = await accept({}, {}, { expires_ms: 20_000 });
    assert.equal(socket.connect.token, "token 1");
    mock.timers.tick(15_999);
    await tick();
    assert.deepEqual(socket.sent.filter((f) => f.refresh), []);
    mock.timers.tick(1);
    await tick();
    const refresh = () => socket.take.find((f) => f.refresh);
    let asked = refresh();
    assert.deepEqual(asked.refresh, { token: "token 2" });
    socket.push({ token: { expires_ms: 4_000 } }); // the server says so as well: once is enough
    await tick();
    assert.equal(refresh(), undefined);
    socket.push({ id: asked.id, ok: { expires_ms: 3_600_000 } });
    await tick();
    socket.push({ token: { expires_ms: 60_000 } });
    await tick();
    asked = refresh();
    assert.equal(asked.refresh.token, "token 3");
    socket.push({ id: asked.id, error: { code: "internal", retry: true, retry_ms: 500 } });
    await tick();
    mock.timers.tick(500);
    await tick();
    asked = refresh();
    assert.equal(asked.refresh.token, "token 4");
    socket.push({ id: asked.id, ok: {} });
    await tick();
    assert.equal(fanfare.state, "live");
    fanfare.close();
    assert.equal(timers.size, 0);
  });

  test("without a token function the page is told, and refreshes by itself", async () => {
    const fanfare = create({ token: "first" });
    let socket = await accept({}, {}, { expires_ms: 10 ** 12 });
    assert.equal(timers.size, 1, "what is beyond a timer is no reason for one");
    socket.push({ token: { expires_ms: 60_000 } });
    assert.equal(page.events.at(-1)[0], "token");
    const done = fanfare.refresh("second");
    const { id, refresh } = socket.command;
    assert.deepEqual(refresh, { token: "second" });
    socket.push({ id, ok: { expires_ms: 3_600_000 } });
    await done;
    socket.drop();
    mock.timers.tick(250);
    socket = await accept();
    assert.equal(socket.connect.token, "second");
    const refused = fanfare.refresh("third");
    socket.push({ id: socket.command.id, error: { code: "unauthenticated", retry: false } });
    await assert.rejects(refused, { code: "unauthenticated" });
  });
});

describe("presence in fanfare.js", () => {
  const page = fakePage();
  const { create, accept } = page;
  const member = (client, user, meta) => ({ client, user, meta });
  const names = (sub) => [...sub.members.keys()].sort().join(" ");
  const watch = (sub) => {
    const seen = [];
    const list = (members) => members.map((m) => m.client).join(" ");
    sub.on("presence", ({ joined, left, updated, clients, users, complete }) => seen.push([list(joined), list(left), list(updated), clients, users, complete]));
    return seen;
  };

  test("a list is kept from a snapshot and the changes after it", async () => {
    const fanfare = create();
    const sub = fanfare.subscribe("room", { presence: true });
    const seen = watch(sub);
    const socket = await accept();
    assert.deepEqual(socket.connect.subscribe, [{ topic: "room", presence: true }]);
    socket.push({ topic: "room", presence: { snapshot: [member("a", "ann", { typing: false }), member("b", "bob")], clients: 2, users: 2 } });
    socket.push({ topic: "room", presence: { join: [member("c", "ann")], update: [member("a", "ann", { typing: true })], clients: 3, users: 2 } });
    socket.push({ topic: "room", presence: { leave: ["b", "never"], clients: 2, users: 1 } });
    assert.equal(names(sub), "a c");
    assert.deepEqual(sub.members.get("a").meta, { typing: true });
    assert.deepEqual(seen, [["a b", "", "", 2, 2, true], ["c", "", "a", 3, 2, true], ["", "b never", "", 2, 1, true]]);
  });

  test("after a break the new snapshot is told as what has changed", async () => {
    const fanfare = create();
    const sub = fanfare.subscribe("room", { presence: true });
    let socket = await accept();
    socket.push({ topic: "room", presence: { snapshot: [member("a"), member("b", "bob", 1)], clients: 2, users: 1 } });
    socket.drop();
    mock.timers.tick(250);
    socket = await accept();
    const seen = watch(sub);
    socket.push({ topic: "room", presence: { snapshot: [member("b", "bob", 2), member("c")], clients: 2, users: 1 } });
    assert.deepEqual(seen, [["c", "a", "b", 2, 1, true]], "who has no user is no user");
  });

  test("a long list comes page by page, and what happens meanwhile is not undone", async () => {
    const fanfare = create();
    const sub = fanfare.subscribe("room", { presence: true });
    const socket = await accept();
    socket.push({ topic: "room", presence: { snapshot: [member("a")], clients: 4, users: 3, next: "n1" } });
    const seen = watch(sub);
    const more = sub.more(2);
    await assert.rejects(sub.more(), { code: "bad_request" });
    const { id, presence } = socket.command;
    assert.deepEqual(presence, { topic: "room", limit: 2, next: "n1" });
    // c leaves and a changes while the page, which was made before that, is on its way.
    socket.push({ topic: "room", presence: { leave: ["c"], update: [member("a", undefined, 1)], join: [member("e")], clients: 4, users: 3 } });
    socket.push({ id, ok: { members: [member("b"), member("c"), member("a")], clients: 4, users: 3, next: "n2" } });
    assert.equal(await more, false);
    assert.equal(names(sub), "a b e");
    assert.equal(sub.members.get("a").meta, 1);
    const last = sub.more();
    socket.push({ id: socket.command.id, ok: { members: [member("d", "dan")], clients: 4, users: 3 } });
    assert.equal(await last, true);
    assert.equal(await sub.more(), true);
    assert.equal(names(sub), "a b d e");
    assert.deepEqual(seen, [["e", "c", "a", 4, 3, false], ["b", "", "", 4, 3, false], ["d", "", "", 4, 3, true]]);
  });

  test("a page of members without a subscription", async () => {
    const fanfare = create();
    const socket = await accept();
    const asked = fanfare.presence("room", { limit: 10 });
    const { id, presence } = socket.command;
    assert.deepEqual(presence, { topic: "room", limit: 10 });
    const ok = { members: [member("a", "ann")], clients: 1, users: 1 };
    socket.push({ id, ok });
    assert.deepEqual(await asked, { members: [{ client: "a", user: "ann" }], clients: 1, users: 1 });
  });
});
