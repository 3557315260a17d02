/** The feed against a scripted `EventSource`: it comes back where the browser does not, and always after the last event. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, mock, test } from "node:test";
import { Feed } from "../../web/feed.js";

/** The browser's, without a network; the test is the server at its other end. */
class FakeEventSource extends EventTarget {
  static CLOSED = 2;
  static all = [];
  static get last() {
    return FakeEventSource.all.at(-1);
  }
  readyState = 0;
  constructor(url) {
    super();
    this.url = url;
    FakeEventSource.all.push(this);
  }
  open() {
    this.readyState = 1;
    this.onopen();
  }
  push(type, data, lastEventId = "") {
    this.dispatchEvent(Object.assign(new Event(type), { data: JSON.stringify(data), lastEventId }));
  }
  /** `final`: the browser does not come back by itself. */
  fail({ final = false } = {}) {
    this.readyState = final ? 2 : 0;
    this.onerror();
  }
  close() {
    this.readyState = 2;
    this.isClosed = true;
  }
}

describe("the feed", () => {
  let feed, got, online, status;

  beforeEach(() => {
    mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_732_175_000_000 });
    FakeEventSource.all = [];
    globalThis.EventSource = FakeEventSource;
    globalThis.addEventListener = (type, run) => (online = run);
    globalThis.fetch = async (url, { method }) => (asked.push(`${method} ${url}`), { status });
    status = 503;
    asked.length = 0;
    got = [];
    const on = Object.fromEntries(["message", "gap", "live", "state"].map((name) => [name, (what) => got.push([name, what])]));
    feed = new Feed((after) => `events?after=${after}`, on);
  });
  afterEach(() => mock.timers.reset());

  const asked = [];
  const opened = () => FakeEventSource.all.length;

  test("tells what comes, and how it is doing", () => {
    assert.equal(feed.state, "connecting");
    FakeEventSource.last.open();
    FakeEventSource.last.push("message", { topic: "a", data: 1 });
    FakeEventSource.last.push("$gap", { topic: "a", gap: { reason: "epoch" } });
    FakeEventSource.last.push("$live", { topic: "a", live: true });
    assert.deepEqual(got, [
      ["state", "open"],
      ["message", { topic: "a", data: 1 }],
      ["gap", { topic: "a", gap: { reason: "epoch" } }],
      ["live", { topic: "a", live: true }],
    ]);
  });

  test("leaves it to the browser to come back from a broken connection", () => {
    FakeEventSource.last.open();
    mock.timers.tick(10_000);
    FakeEventSource.last.fail();
    assert.equal(feed.state, "lost");
    mock.timers.tick(14_999);
    assert.equal(opened(), 1);
    FakeEventSource.last.open();
    assert.deepEqual([feed.state, opened()], ["open", 1]);
  });

  test("comes back itself where the browser gives up, later each time, after the last event", () => {
    FakeEventSource.last.open();
    FakeEventSource.last.push("message", {}, "c:7");
    FakeEventSource.last.push("$cursor", {}, "c:8");
    for (const delay of [1_000, 2_000, 4_000, 8_000, 15_000, 15_000]) {
      const before = opened();
      FakeEventSource.last.fail({ final: true });
      mock.timers.tick(delay - 1);
      assert.equal(opened(), before, `too early: ${delay}`);
      mock.timers.tick(1);
      assert.equal(opened(), before + 1);
      assert.equal(FakeEventSource.last.url, "events?after=c:8");
    }
    FakeEventSource.last.open();
    FakeEventSource.last.fail({ final: true });
    mock.timers.tick(1_000);
    assert.equal(opened(), 8);
  });

  test("begins anew when the server does not know its cursor", async () => {
    FakeEventSource.last.push("message", {}, "c:7");
    FakeEventSource.last.fail({ final: true });
    await new Promise(setImmediate);
    mock.timers.tick(1_000);
    assert.equal(FakeEventSource.last.url, "events?after=c:7", "a server that is busy knows it");
    status = 400;
    FakeEventSource.last.fail({ final: true });
    await new Promise(setImmediate);
    mock.timers.tick(2_000);
    assert.equal(FakeEventSource.last.url, "events?after=undefined");
    assert.deepEqual(asked, ["HEAD events?after=c:7", "HEAD events?after=c:7"]);
  });

  test("gives up a connection that fell silent, and closes it; one that speaks is kept", () => {
    FakeEventSource.last.open();
    for (let second = 0; second < 40; second += 10) {
      FakeEventSource.last.push("message", {}, `c:${second}`);
      mock.timers.tick(10_000);
    }
    assert.equal(opened(), 1);
    mock.timers.tick(5_000);
    assert.deepEqual([opened(), feed.state], [2, "lost"]);
    assert.ok(FakeEventSource.all[0].isClosed);
    assert.equal(FakeEventSource.last.url, "events?after=c:30");
    // Nor does one that never answers keep it waiting.
    mock.timers.tick(15_000);
    assert.equal(opened(), 3);
  });

  test("tries at once when the network is back", () => {
    FakeEventSource.last.fail();
    online();
    assert.equal(opened(), 2);
    assert.ok(FakeEventSource.all[0].isClosed);
  });

  test("a server that says goodbye is not called lost before it is", () => {
    FakeEventSource.last.open();
    FakeEventSource.last.push("$close", { close: { name: "draining" } });
    assert.equal(feed.state, "closing");
    FakeEventSource.last.fail();
    assert.equal(feed.state, "closing");
    FakeEventSource.last.open();
    assert.equal(feed.state, "open");
  });
});
