/** Calls of the client module, in both directions, against a scripted server. */

import assert from "node:assert/strict";
import { describe, mock, test } from "node:test";
import { FanfareError, PlainText } from "../../web/fanfare.js";
import { fakePage, tick, timers } from "./fake.mjs";

/** A binary frame as the server writes it. */
function binary(header, ...bytes) {
  const head = new TextEncoder().encode(JSON.stringify(header));
  const frame = new Uint8Array([0, 0, 0, head.length, ...head, ...bytes]);
  return frame.buffer;
}

/** The header and the payload of a binary frame that the client has sent. */
function unpack(frame) {
  const length = new DataView(frame.buffer).getUint32(0);
  return [JSON.parse(new TextDecoder().decode(frame.subarray(4, 4 + length))), [...frame.subarray(4 + length)]];
}

describe("calls of fanfare.js", () => {
  const page = fakePage();
  const { create, accept } = page;

  test("each answer finds its caller, in whichever order they come", async () => {
    const fanfare = create();
    const socket = await accept();
    const calls = Array.from({ length: 1_000 }, (_, n) => n).map((n) => (n < 256 ? fanfare.call("double", n) : undefined));
    // So many are on the wire at once; the others follow as these are answered.
    const answered = calls.slice(0, 256);
    let served = 0;
    while (served < 256) {
      const frames = socket.take.reverse();
      assert.ok(frames.length > 0 && frames.length <= 32, `${frames.length} at once`);
      for (const { id, call } of frames) socket.push({ id, ok: { data: 2 * call.data } });
      served += frames.length;
    }
    assert.deepEqual(await Promise.all(answered), Array.from({ length: 256 }, (_, n) => 2 * n));
  });

  test("payloads of every kind go both ways", async () => {
    const fanfare = create();
    const socket = await accept();
    const answers = [fanfare.call("json", { a: [1] }), fanfare.call("text", new PlainText("hi")), fanfare.call("bytes", new Uint8Array([0, 255])), fanfare.call("none")];
    const [json, text, bytes, none] = socket.take;
    assert.deepEqual(json.call, { method: "json", data: { a: [1] } });
    assert.deepEqual(text.call, { method: "text", text: true, data: "hi" });
    const [header, payload] = unpack(bytes);
    assert.deepEqual([header.call, payload], [{ method: "bytes" }, [0, 255]]);
    assert.deepEqual(none.call, { method: "none" });
    socket.push({ id: json.id, ok: { data: null } }, { id: text.id, ok: { text: true, data: "HI" } }, binary({ id: header.id, ok: {} }, 1, 2), { id: none.id, ok: { data: false } });
    assert.deepEqual(await Promise.all(answers), [null, "HI", new Uint8Array([1, 2]), false]);
  });

  test("a call that takes too long is rejected, and its late answer finds nobody", async () => {
    const fanfare = create();
    const socket = await accept();
    const call = fanfare.call("slow", 1, { timeout: 5_000 });
    const { id } = socket.command;
    mock.timers.tick(4_999);
    const next = fanfare.call("next");
    mock.timers.tick(1);
    await assert.rejects(call, { code: "timeout", retry: true });
    socket.push({ id, ok: { data: "late" } });
    socket.push({ id: socket.command.id, ok: { data: "next" } });
    assert.equal(await next, "next");
    assert.equal(timers.size, 1, "only the heartbeat is left");
  });

  test("a call is sent once at most: while offline it waits, once sent it is not repeated", async () => {
    const fanfare = create();
    const waits = fanfare.call("early", 1);
    await assert.rejects(fanfare.call("now", 1, { queue: false }), { code: "offline" });
    const never = fanfare.call("never", 1, { timeout: 100 });
    mock.timers.tick(100);
    await assert.rejects(never, { code: "timeout" });
    let socket = await accept();
    const { id, call } = socket.command;
    assert.equal(call.method, "early", "the one that was given up is not sent");
    socket.push({ id, ok: { data: 1 } });
    assert.equal(await waits, 1);
    const cut = fanfare.call("cut", 2);
    socket.drop();
    await assert.rejects(cut, { code: "unknown_outcome" });
    mock.timers.tick(250);
    socket = await accept();
    assert.deepEqual(socket.sent, []);
    const open = [fanfare.call("a"), fanfare.call("b")];
    fanfare.close();
    const settled = await Promise.allSettled([...open, fanfare.call("c")]);
    assert.deepEqual(settled.map((r) => r.reason.code), ["unknown_outcome", "unknown_outcome", "closed"]);
    assert.equal(timers.size, 0);
  });

  test("calls and publishes keep their order, and an error is the server's", async () => {
    const fanfare = create();
    const socket = await accept();
    const all = [fanfare.publish("t", 1), fanfare.call("m", 2), fanfare.publish("t", 3)];
    const frames = socket.take;
    assert.deepEqual(frames.map((f) => (f.publish ?? f.call).data), [1, 2, 3]);
    socket.push({ id: frames[0].id, ok: {} }, { id: frames[1].id, error: { code: "no_such_method", message: "no", field: "method", retry: false } }, { id: frames[2].id, ok: {} });
    await assert.rejects(all[1], { name: "FanfareError", code: "no_such_method", field: "method", retry: false });
    await Promise.all([all[0], all[2]]);
    const circle = {};
    circle.self = circle;
    await assert.rejects(fanfare.call("m", circle), TypeError);
  });

  test("the server's calls are answered by their handlers, with a payload of any kind or an error", async () => {
    const fanfare = create();
    const socket = await accept();
    const call = async (method, data, id = method) => {
      socket.push({ call: { call_id: id, method, data, timeout_ms: 5_000 } });
      for (let i = 0; i < 3; i += 1) await tick();
      return socket.sent.shift();
    };
    const seen = [];
    fanfare.onCall("json", (data, info) => (seen.push([data, info]), { n: data.n + 1 }));
    fanfare.onCall("later", async () => (await tick(), "done"));
    fanfare.onCall("nothing", () => {});
    fanfare.onCall("bytes", (data) => data.reverse());
    fanfare.onCall("text", () => new PlainText("plain"));
    fanfare.onCall("no", () => { throw new FanfareError({ code: "declined", message: "the user said no" }); });
    fanfare.onCall("bug", () => undefined.x);
    fanfare.onCall("circle", () => { const circle = {}; circle.self = circle; return circle; });
    assert.deepEqual(await call("json", { n: 1 }), { answer: { call_id: "json", data: { n: 2 } } });
    assert.deepEqual(seen, [[{ n: 1 }, { method: "json", timeout: 5_000 }]]);
    assert.deepEqual(await call("later"), { answer: { call_id: "later", data: "done" } });
    assert.deepEqual(await call("nothing"), { answer: { call_id: "nothing" } });
    assert.deepEqual(await call("text"), { answer: { call_id: "text", text: true, data: "plain" } });
    assert.deepEqual(await call("no"), { answer: { call_id: "no", error: { code: "declined", message: "the user said no" } } });
    assert.deepEqual(await call("what"), { answer: { call_id: "what", error: { code: "no_such_method", message: "this page has no method of the name what" } } });
    assert.equal((await call("bug")).answer.error.code, "internal");
    assert.equal((await call("circle")).answer.error.code, "internal");
    socket.push(binary({ call: { call_id: "b", method: "bytes", timeout_ms: 5_000 } }, 1, 2, 3));
    await tick();
    assert.deepEqual(unpack(socket.sent.shift()), [{ answer: { call_id: "b" } }, [3, 2, 1]]);
  });

  test("an answer that nobody waits for any more is not sent", async () => {
    const fanfare = create();
    let socket = await accept();
    const gates = [];
    const off = fanfare.onCall("slow", () => new Promise((resolve) => gates.push(resolve)));
    socket.push({ call: { call_id: "s1", method: "slow", timeout_ms: 1_000 } });
    mock.timers.tick(1_000);
    gates.shift()("too late");
    await tick();
    socket.push({ call: { call_id: "s2", method: "slow", timeout_ms: 60_000 } });
    const old = socket;
    socket.drop();
    mock.timers.tick(250);
    socket = await accept();
    gates.shift()("of another connection");
    await tick();
    assert.deepEqual([old.sent, socket.sent], [[], []]);
    off();
    socket.push({ call: { call_id: "s1", method: "slow", timeout_ms: 1_000 } });
    await tick();
    assert.equal(socket.command.answer.error.code, "no_such_method");
  });
});
