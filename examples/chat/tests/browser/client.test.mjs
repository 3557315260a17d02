/** The client module against a scripted server: every rule of the protocol that a browser test cannot provoke at will. */

import assert from "node:assert/strict";
import { describe, mock, test } from "node:test";
import { matches, segment, topicName } from "../../web/fanfare.js";
import { FakeSocket, fakePage, listeners, online, received, tick, timers } from "./fake.mjs";

describe("fanfare.js", () => {
  const page = fakePage();
  const { create, accept, states } = page;

  test("resumes every topic in one connect, from where its cursor stands", async () => {
    const fanfare = create();
    const [a, b] = [fanfare.subscribe("a", { last: 50 }), fanfare.subscribe("b")];
    const got = received(a);
    let socket = await accept({ a: "e:0", b: "e:7" });
    assert.deepEqual(socket.connect.subscribe, [{ topic: "a", last: 50 }, { topic: "b" }]);
    assert.equal(fanfare.state, "catching up");
    socket.push({ topic: "a", pos: "e:1", data: 1 }, { topic: "a", live: true, pos: "e:1" }, { topic: "a", pos: "e:2" });
    assert.equal(fanfare.state, "live");
    socket.drop();
    assert.deepEqual([fanfare.state, a.state, b.state], ["offline", "pending", "pending"]);
    mock.timers.tick(250);
    socket = await accept({ a: "e:2", b: "e:7" });
    assert.deepEqual(socket.connect.subscribe, [{ topic: "a", after: "e:2" }, { topic: "b", after: "e:7" }]);
    socket.push({ topic: "a", pos: "e:3", data: 3 }, { topic: "a", live: true, pos: "e:3" }, { topic: "b", live: true, pos: "e:7" });
    assert.deepEqual(got, [1, 3]);
    assert.deepEqual(states(), ["catching up", "live", "offline", "connecting", "catching up", "live"]);
  });

  test("a gap is told where it stands and does not move the cursor; an ephemeral topic's break is told too", async () => {
    const fanfare = create();
    const [log, now] = [fanfare.subscribe("log"), fanfare.subscribe("now")];
    const [logged, ephemeral] = [received(log), received(now)];
    let socket = await accept({ log: "e:0" });
    assert.deepEqual(ephemeral, []);
    socket.push({ topic: "log", pos: "e:1", data: 1 }, { topic: "log", gap: { missed: 3, last: "e:1", next: "e:5", reason: "slow" } });
    assert.equal(log.pos, "e:1");
    socket.push({ topic: "log", pos: "e:5", data: 5 });
    socket.drop();
    mock.timers.tick(250);
    socket = await accept({ log: "f:0" }, { log: { recovered: false } });
    socket.push({ topic: "log", gap: { last: "e:5", next: "f:1", reason: "epoch" } }, { topic: "log", pos: "f:1", data: 6 });
    assert.deepEqual(logged, [1, { gap: 3 }, 5, { gap: "epoch" }, 6]);
    assert.deepEqual(ephemeral, [{ gap: "offline" }]);
    assert.deepEqual(page.events.filter(([type]) => type === "gap").map(([, { topic, reason }]) => `${topic} ${reason}`), ["log slow", "now offline", "log epoch"]);
  });

  test("an unacknowledged publish to a logged topic is sent again with its message_id, in order", async () => {
    const fanfare = create();
    fanfare.subscribe("log");
    let socket = await accept({ log: "e:0" });
    const done = ["a", "b", "c"].map((text) => fanfare.publish("log", text));
    const first = socket.take;
    assert.equal(new Set(first.map((f) => f.publish.message_id)).size, 3);
    socket.push({ id: first[0].id, ok: { pos: "e:1" } });
    assert.deepEqual(await done[0], { pos: "e:1" });
    socket.drop();
    const offline = fanfare.publish("log", "d");
    mock.timers.tick(250);
    socket = await accept({ log: "e:0" });
    const again = socket.take;
    assert.deepEqual(again.map((f) => f.publish.data), ["b", "c", "d"]);
    assert.deepEqual(again.slice(0, 2).map((f) => f.publish.message_id), first.slice(1).map((f) => f.publish.message_id));
    again.forEach((f, i) => socket.push({ id: f.id, ok: { pos: `e:${i + 2}`, duplicate: i === 0 || undefined } }));
    assert.deepEqual(await Promise.all([...done, offline]), [{ pos: "e:1" }, { pos: "e:2", duplicate: true }, { pos: "e:3" }, { pos: "e:4" }]);
  });

  test("a publish is never sent again blindly: ephemeral topics, and after the server may have forgotten the id", async () => {
    const fanfare = create({ resendWindow: 200 });
    fanfare.subscribe("log");
    fanfare.subscribe("now");
    let socket = await accept({ log: "e:0" });
    const [ephemeral, logged] = [fanfare.publish("now", 1), fanfare.publish("log", 2)];
    assert.equal(socket.take[0].publish.message_id, undefined);
    const settled = Promise.allSettled([ephemeral, logged]);
    socket.drop();
    const later = fanfare.publish("now", 3); // never sent, so it may wait
    mock.timers.tick(250);
    socket = await accept({ log: "e:0" });
    assert.deepEqual((await settled).map((r) => r.reason?.code), ["unknown_outcome", "unknown_outcome"]);
    const { id, publish } = socket.command;
    assert.deepEqual(publish, { topic: "now", data: 3 });
    socket.push({ id, ok: {} });
    assert.deepEqual(await later, {});
  });

  test("a publish waits until it is known whether its topic is logged", async () => {
    const fanfare = create();
    const socket = await accept();
    fanfare.subscribe("log");
    fanfare.publish("log", 1).catch(() => {});
    const { id, subscribe } = socket.command;
    assert.deepEqual(subscribe, { topic: "log" });
    socket.push({ id, ok: { pos: "e:0" } });
    assert.ok(socket.command.publish.message_id);
  });

  test("the queue is bounded, `queue: false` does not wait, and a refusal is the server's error", async () => {
    const fanfare = create({ maxQueue: 2 });
    const waiting = [1, 2, 3].map((n) => fanfare.publish("t", n));
    await assert.rejects(waiting[2], { code: "queue_full" });
    await assert.rejects(fanfare.publish("t", 4, { queue: false }), { code: "offline" });
    const socket = await accept();
    const [one, two] = socket.take;
    socket.push({ id: one.id, error: { code: "too_large", message: "no", field: "data", limit: 5, value: 9, retry: false } }, { id: two.id, ok: {} });
    await assert.rejects(waiting[0], { code: "too_large", field: "data", limit: 5, value: 9, retry: false });
    await waiting[1];
  });

  test("a retryable refusal of a logged publish is repeated after the time the server names", async () => {
    const fanfare = create();
    fanfare.subscribe("log");
    const socket = await accept({ log: "e:0" });
    const done = [fanfare.publish("log", 1), fanfare.publish("log", 2)];
    const [one, two] = socket.take;
    socket.push({ id: one.id, error: { code: "rate_limited", retry: true, retry_ms: 700 } });
    done.push(fanfare.publish("log", 3));
    socket.push({ id: two.id, error: { code: "rate_limited", retry: true, retry_ms: 700 } });
    mock.timers.tick(699);
    assert.deepEqual(socket.sent, []);
    mock.timers.tick(1);
    const again = socket.take;
    assert.deepEqual(again.slice(0, 2).map((f) => f.publish), [one.publish, two.publish]);
    assert.equal(again[2].publish.data, 3);
    for (const { id } of again) socket.push({ id, ok: {} });
    await Promise.all(done);
  });

  test("close codes: 40xx is final, 41xx comes later, 42xx comes at the time of the close frame", async () => {
    let fanfare;
    const delays = async (...frames) => {
      fanfare = create();
      const socket = await accept();
      socket.push(...frames);
      socket.drop(frames[0].close.code);
      return page.events.find(([type]) => type === "reconnecting")?.[1].delay;
    };
    assert.equal(await delays({ close: { code: 4200, name: "draining", retry_ms: 3817 } }), 3817);
    fanfare.close();
    assert.ok((await delays({ close: { code: 4100, name: "slow_consumer" } })) >= 2_000);
    online.dispatchEvent(new Event("online"));
    assert.equal(fanfare.state, "offline", "told to wait, it waits");
    fanfare.close();
    assert.equal(await delays({ close: { code: 4003, name: "forbidden", message: "members only" } }), undefined);
    assert.deepEqual(page.events.at(-1), ["state", { state: "closed", code: 4003, reason: "forbidden", message: "members only" }]);
    mock.timers.tick(600_000);
    await tick();
    assert.equal(FakeSocket.all.length, 3);
    await assert.rejects(fanfare.publish("t", 1), { code: "closed" });
  });

  test("backoff grows with full jitter up to its cap, and a connection that held starts it anew", async () => {
    const fanfare = create({ minDelay: 500, maxDelay: 3_000 });
    const delays = [];
    fanfare.on("reconnecting", ({ delay, attempt }) => delays.push([attempt, delay]));
    for (let i = 0; i < 5; i += 1) {
      await tick();
      FakeSocket.last.drop();
      mock.timers.tick(3_000);
    }
    assert.deepEqual(delays, [[1, 250], [2, 500], [3, 1_000], [4, 1_500], [5, 1_500]]);
    const socket = await accept();
    mock.timers.tick(5_000);
    socket.drop();
    assert.deepEqual(delays.at(-1), [1, 250]);
  });

  test("a token function is asked before each connection; an expired token is replaced once", async () => {
    let issued = 0;
    let fanfare = create({ token: async () => `token ${++issued}` });
    let socket = await accept();
    assert.equal(socket.connect.token, "token 1");
    socket.drop(4004);
    mock.timers.tick(250);
    await tick();
    FakeSocket.last.onopen();
    const { id, connect } = FakeSocket.last.command;
    assert.equal(connect.token, "token 2");
    FakeSocket.last.push({ id, error: { code: "unauthenticated", message: "no", retry: false } });
    assert.equal(fanfare.state, "closed");

    fanfare = create({ token: "fixed" });
    socket = await accept();
    socket.drop(4004);
    assert.equal(fanfare.state, "closed");
  });

  test("a silent connection is asked, and replaced when it does not answer", async () => {
    const fanfare = create();
    const socket = await accept();
    mock.timers.tick(25_000);
    const { id, ping } = socket.command;
    assert.deepEqual(ping, {});
    socket.push({ id, ok: {} });
    mock.timers.tick(25_000);
    assert.deepEqual(socket.command.ping, {});
    mock.timers.tick(9_999);
    assert.equal(fanfare.state, "live");
    mock.timers.tick(1);
    assert.equal(fanfare.state, "offline");
    assert.ok(socket.closed);
    socket.push({ topic: "t", data: 1 }); // what a dead connection still says is not heard
  });

  test("`online` ends the wait at once, and doubts the connection that seems to be open", async () => {
    const fanfare = create();
    let socket = await accept();
    socket.drop();
    online.dispatchEvent(new Event("online"));
    socket = await accept();
    assert.equal(FakeSocket.all.length, 2);
    online.dispatchEvent(new Event("online"));
    assert.deepEqual(socket.command.ping, {});
  });

  test("a connection that is never answered is given up", async () => {
    const fanfare = create();
    await tick();
    FakeSocket.last.onopen();
    mock.timers.tick(10_000);
    assert.equal(fanfare.state, "offline");
    mock.timers.tick(250);
    await accept();
    assert.equal(fanfare.state, "live");
  });

  test("a refused subscription is told; it is asked again only where the server says so", async () => {
    const fanfare = create();
    const [never, soon] = [fanfare.subscribe("never"), fanfare.subscribe("soon")];
    const errors = [];
    for (const sub of [never, soon]) sub.on("error", (error) => errors.push([sub.topic, error.code]));
    const socket = await accept({}, {
      never: { error: { code: "forbidden", retry: false } },
      soon: { error: { code: "backend_unavailable", retry: true, retry_ms: 400 } },
    });
    assert.deepEqual(errors, [["never", "forbidden"], ["soon", "backend_unavailable"]]);
    assert.deepEqual([never.state, soon.state], ["ended", "refused"]);
    mock.timers.tick(400);
    const { id, subscribe } = socket.command;
    assert.deepEqual(subscribe, { topic: "soon" });
    const gaps = received(soon);
    socket.push({ id, ok: {} });
    assert.equal(soon.state, "live");
    assert.deepEqual(gaps, [], "nothing was missed before the first subscription");
  });

  test("unsubscribe may be called twice; nothing of the old subscription reaches the new one", async () => {
    const fanfare = create();
    const first = fanfare.subscribe("t");
    assert.equal(fanfare.subscribe("t"), first);
    const socket = await accept();
    const got = received(first);
    const done = [first.unsubscribe(), first.unsubscribe()];
    const again = fanfare.subscribe("t");
    const anew = received(again);
    const [unsubscribe, subscribe] = socket.take;
    assert.deepEqual([unsubscribe.unsubscribe, subscribe.subscribe], [{ topic: "t" }, { topic: "t" }]);
    socket.push({ topic: "t", data: "old" }, { id: unsubscribe.id, ok: {} }, { id: subscribe.id, ok: {} }, { topic: "t", data: "new" });
    await Promise.all(done);
    assert.deepEqual([got, anew], [[], ["new"]]);
  });

  test("a message goes to its topic's subscription, else to the patterns that match", async () => {
    const fanfare = create();
    const [all, one] = [fanfare.subscribe("chat.>"), fanfare.subscribe("chat.a")];
    const [many, single] = [received(all), received(one)];
    const socket = await accept();
    socket.push({ topic: "chat.a", data: 1 }, { topic: "chat.b", data: 2 }, { topic: "other", data: 3 }, { unheard: {} });
    assert.deepEqual([many, single], [[2], [1]]);
  });

  test("binary and text payloads travel as what they are", async () => {
    const fanfare = create();
    const sub = fanfare.subscribe("t");
    const socket = await accept();
    fanfare.publish("t", new Uint8Array([0, 255, 7]), { event: "e" }).catch(() => {});
    const frame = socket.command;
    const length = new DataView(frame.buffer).getUint32(0);
    const header = JSON.parse(new TextDecoder().decode(frame.subarray(4, 4 + length)));
    assert.deepEqual(header.publish, { topic: "t", event: "e" });
    assert.deepEqual([...frame.subarray(4 + length)], [0, 255, 7]);
    fanfare.publish("t", "plain", { text: true }).catch(() => {});
    assert.deepEqual(socket.command.publish, { topic: "t", text: true, data: "plain" });

    const got = [];
    sub.on("message", (m) => got.push(m.data));
    const head = new TextEncoder().encode('{"topic":"t","event":"ü"}');
    const bytes = new Uint8Array([0, 0, 0, head.length, ...head, 1, 2]);
    socket.push(bytes.buffer, { topic: "t", text: true, data: "words" }, { topic: "t", data: null });
    assert.deepEqual(got, [new Uint8Array([1, 2]), "words", null]);

    const page = fanfare.history("t", { limit: 1 });
    const { id, history } = socket.command;
    assert.deepEqual(history, { topic: "t", limit: 1 });
    socket.push({ id, ok: { messages: [{ topic: "t", pos: "e:1", base64: "AAEC/w==" }], more: true } });
    assert.deepEqual(await page, { messages: [{ topic: "t", pos: "e:1", data: new Uint8Array([0, 1, 2, 255]), messageId: undefined }], more: true });
  });

  test("a message that is too big for the server ends itself, not every connection after it", async () => {
    const fanfare = create();
    fanfare.subscribe("log");
    let socket = await accept({ log: "e:0" });
    const small = fanfare.publish("log", "small");
    const big = fanfare.publish("log", "x".repeat(1_000));
    socket.drop(1009);
    await assert.rejects(big, { code: "too_large" });
    mock.timers.tick(250);
    socket = await accept({ log: "e:0" });
    const { id, publish } = socket.command;
    assert.equal(publish.data, "small");
    socket.push({ id, ok: {} });
    await small;
  });

  test("close rejects what is open and leaves no timer and no listener", async () => {
    const fanfare = create();
    const sub = fanfare.subscribe("log");
    const socket = await accept({ log: "e:0" });
    const refused = fanfare.subscribe("refused");
    const open = [fanfare.publish("log", 1), fanfare.ping(), fanfare.publish("log", 2)];
    const settled = Promise.allSettled(open);
    const [asked, , , held] = socket.sent;
    socket.push({ id: asked.id, error: { code: "internal", retry: true } }, { id: held.id, error: { code: "draining", retry: true } });
    assert.equal(refused.state, "refused");
    online.dispatchEvent(new Event("online"));
    assert.deepEqual([timers.size, listeners.size], [4, 1], "heartbeat, its answer, the subscription's and the publish's retry");
    fanfare.close();
    assert.deepEqual([timers.size, listeners.size], [0, 0]);
    fanfare.close();
    assert.deepEqual((await settled).map((r) => r.reason.code), ["unknown_outcome", "disconnected", "unknown_outcome"]);
    assert.deepEqual([socket.closed, sub.state, states().at(-1)], [true, "ended", "closed"]);
    online.dispatchEvent(new Event("online"));
    mock.timers.tick(600_000);
    await tick();
    assert.equal(FakeSocket.all.length, 1);
  });

  test("a token that comes after close opens nothing", async () => {
    let give;
    const fanfare = create({ token: () => new Promise((resolve) => (give = resolve)) });
    fanfare.close();
    give("late");
    await tick();
    assert.deepEqual([FakeSocket.all.length, timers.size], [0, 0]);
  });

  test("topic names of user input, and patterns", () => {
    assert.equal(topicName("chat", "lobby.admin *"), "chat.lobby%2Eadmin%20%2A");
    assert.equal(topicName("chat", "a>b%\u00a0\u0007ü😀"), "chat.a%3Eb%25%C2%A0%07ü😀");
    assert.equal(topicName("$all", "$x", ""), "%24all.$x.%");
    assert.equal(segment("$a"), "%24a");
    for (const [pattern, topic, expected] of [
      ["a.*", "a.b", true], ["a.*", "a", false], ["a.*", "a.b.c", false], ["a.>", "a.b.c", true], ["a.>", "a", false],
      ["*.b", "a.b", true], [">", "a.b", true], [">", "$all.x", false], ["*.x", "$all.x", false], ["$all.*", "$all.x", true],
    ]) assert.equal(matches(pattern, topic), expected, `${pattern} ${topic}`);
  });
});
