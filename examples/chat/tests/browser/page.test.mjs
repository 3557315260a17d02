/** The client module in real Chromium, against a real server: calls, sessions, tokens, presence, messages to a user. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ExampleServer, Proxy, findChromium, freePort, launch } from "../../../../tests/browser/support.mjs";

const executable = findChromium();

/** Connects, notes what happens, and waits until the client is live. */
function connect({ token, options = {}, topics = [], wait = true }) {
  return import("/fanfare.js").then(async ({ Fanfare }) => {
    window.tokens = 0;
    const fanfare = (window.fanfare = new Fanfare("/ws", { token: () => ((window.tokens += 1), token), minDelay: 100, maxDelay: 400, ...options }));
    window.log = [];
    for (const type of ["state", "direct", "gap", "error"]) fanfare.on(type, (detail) => log.push([type, detail.state ?? detail.data ?? detail.reason ?? detail.code]));
    fanfare.on("subscribed", (sub) => note(sub));
    window.note = (sub) => {
      log.push(["subscription", sub.topic]);
      sub.on("message", (m) => log.push(["message", m.data]));
      sub.on("gap", (gap) => log.push(["sub gap", gap.reason]));
      sub.on("unsubscribed", ({ code }) => log.push(["unsubscribed", code]));
      sub.on("presence", ({ joined, left, clients, users }) => log.push(["presence", joined.map((m) => m.user), left.map((m) => m.user), clients, users]));
      return sub;
    };
    window.until = async (found) => {
      for (const end = Date.now() + 20_000; Date.now() < end; await new Promise((done) => setTimeout(done, 20))) {
        const value = await found();
        if (value) return value;
      }
      throw new Error(`it did not happen: ${JSON.stringify(log)}`);
    };
    window.subs = topics.map(([topic, start]) => note(fanfare.subscribe(topic, start)));
    if (wait) await until(() => fanfare.state === "live");
    return fanfare.client;
  });
}

describe("fanfare.js in a browser", { skip: !executable && "no Chromium", timeout: 240_000 }, () => {
  let browser, server;
  const contexts = [];
  const proxies = [];

  before(async () => {
    ExampleServer.build("acceptance-page", "acceptance");
    server = new ExampleServer("acceptance-page", await freePort());
    await server.start();
    browser = await launch(executable);
  });
  after(async () => {
    await browser?.close();
    for (const proxy of proxies) proxy.close();
    await server?.kill();
  });

  /** A tab of a browser of its own, or another one of the same. */
  const open = async ({ port = server.port, context, ...args } = {}) => {
    if (!context) contexts.push((context = await browser.newContext()));
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${port}/`);
    page.client = await page.evaluate(connect, { token: "ann", ...args });
    return page;
  };
  const proxied = async () => {
    const proxy = await Proxy.to(server.port);
    proxies.push(proxy);
    return proxy;
  };
  const logged = (page, type) => page.evaluate((type) => log.filter(([t]) => t === type).map(([, ...rest]) => (rest.length === 1 ? rest[0] : rest)), type);
  const live = (page) => page.evaluate(() => until(() => fanfare.state === "live"));

  test("a page calls and is called, with JSON and with an image", async () => {
    const page = await open();
    const result = await page.evaluate(async () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 90, height: 60 });
      canvas.getContext("2d").fillRect(9, 9, 40, 30);
      const image = new Uint8Array(await (await new Promise((done) => canvas.toBlob(done))).arrayBuffer());
      const same = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);
      fanfare.onCall("question", (data) => (data instanceof Uint8Array ? data.reverse() : { said: data }));
      const back = await fanfare.call("ask.me", image);
      return {
        image: image.length > 100 && same(image, await fanfare.call("echo", image)) && same(image, back.reverse()),
        asked: await fanfare.call("ask.me", { ü: 1 }),
        crash: await fanfare.call("crash").catch((error) => [error.code, error.retry]),
        after: await fanfare.call("echo", "alive"),
        unknown: await fanfare.call("what").catch((error) => error.code),
      };
    });
    assert.deepEqual(result, { image: true, asked: { said: { ü: 1 } }, crash: ["internal", true], after: "alive", unknown: "no_such_method" });
  });

  test("many calls at once get each its own answer, and one that takes too long leaves nothing behind", async () => {
    const page = await open();
    const answers = await page.evaluate(() => Promise.all(Array.from({ length: 150 }, (_, n) => fanfare.call("wait", (n * 37) % 200))));
    assert.deepEqual(answers, Array.from({ length: 150 }, (_, n) => (n * 37) % 200));
    const late = await page.evaluate(async () => {
      const call = await fanfare.call("wait", 400, { timeout: 100 }).catch((error) => error.code);
      await new Promise((done) => setTimeout(done, 600));
      return [call, await fanfare.call("echo", 1), log.filter(([type]) => type === "error").length];
    });
    assert.deepEqual(late, ["timeout", 1, 0]);
  });

  test("of all clients of a topic so many have answered", async () => {
    const pages = [];
    for (const answer of ["yes", "no", undefined]) {
      const page = await open({ topics: [["poll.1", {}]] });
      await page.evaluate((answer) => {
        fanfare.onCall("question", () => answer ?? new Promise(() => {}));
      }, answer);
      pages.push(page);
    }
    const result = await pages[0].evaluate(() => fanfare.call("ask.all", ["poll.1", 1_000]));
    assert.deepEqual([result.said.sort(), result.asked], [["no", "yes"], 3]);
  });

  test("30 lines while the network is away: what was missed comes once and in order, what was written is sent once", async () => {
    const proxy = await proxied();
    const [near, far] = [await open({ topics: [["log.cut", { last: 100 }]] }), await open({ port: proxy.port, topics: [["log.cut", { last: 100 }]] })];
    const before = far.client;
    await near.evaluate(() => fanfare.publish("log.cut", "first"));
    await far.evaluate(() => until(() => log.some(([, data]) => data === "first")));
    proxy.cut();
    await far.evaluate(() => until(() => fanfare.state === "offline"));
    for (let n = 0; n < 10; n += 1) await near.evaluate((n) => fanfare.publish("log.cut", n), n);
    const written = far.evaluate(() => Promise.all(["a", "b", "c"].map((text) => fanfare.publish("log.cut", text))));
    proxy.restore();
    await written;
    const expected = ["first", ...Array.from({ length: 10 }, (_, n) => n), "a", "b", "c"];
    for (const page of [near, far]) {
      await page.evaluate((n) => until(() => log.filter(([type]) => type === "message").length >= n), expected.length);
      assert.deepEqual(await logged(page, "message"), expected);
      assert.deepEqual(await logged(page, "sub gap"), []);
    }
    assert.equal(await far.evaluate(() => fanfare.client), before, "it is the same client still");
  });

  test("a page that is loaded again is the same client, and keeps what the server subscribed it to", async () => {
    const page = await open();
    await page.evaluate(() => fanfare.call("subscribe.me", "given.1"));
    await page.evaluate(() => until(() => log.some(([type, topic]) => type === "subscription" && topic === "given.1")));
    await page.reload();
    const after = await page.evaluate(connect, { token: "ann" });
    assert.equal(after, page.client);
    assert.deepEqual(await logged(page, "subscription"), ["given.1"]);
    await page.evaluate(() => fanfare.publish("given.1", "still here"));
    await page.evaluate(() => until(() => log.some(([, data]) => data === "still here")));

    // Another user takes up no one's session.
    await page.reload();
    assert.notEqual(await page.evaluate(connect, { token: "ben" }), page.client);
    assert.deepEqual(await logged(page, "subscription"), []);
  });

  test("a copy of a tab is a client of its own, and the first one keeps its session", async () => {
    const page = await open();
    const opened = page.context().waitForEvent("page");
    await page.evaluate(() => void window.open(location.href)); // begins with a copy of what this tab keeps
    const copy = await opened;
    await copy.waitForLoadState();
    const other = await copy.evaluate(connect, { token: "ann" });
    assert.notEqual(other, page.client);
    assert.equal(await page.evaluate(() => fanfare.call("echo", "undisturbed")), "undisturbed");
    assert.deepEqual(await logged(page, "state"), ["live"]);
    await copy.reload();
    assert.equal(await copy.evaluate(connect, { token: "ann" }), other);
    await page.reload();
    assert.equal(await page.evaluate(connect, { token: "ann" }), page.client);
  });

  test("a private message reaches all tabs of a user and nobody else", async () => {
    const tabs = [await open(), await open()];
    tabs.push(await open({ context: tabs[0].context() }));
    const ben = await open({ token: "ben" });
    await ben.evaluate(() => fanfare.call("tell", ["$user.ann", "hello ann"]));
    for (const tab of tabs) {
      await tab.evaluate(() => until(() => log.some(([type]) => type === "direct")));
      assert.deepEqual(await logged(tab, "direct"), ["hello ann"]);
    }
    await ben.evaluate((client) => fanfare.call("tell", [`$client.${client}`, "just you"]), tabs[1].client);
    await tabs[1].evaluate(() => until(() => log.filter(([type]) => type === "direct").length === 2));
    await ben.evaluate((client) => fanfare.call("tell", [`$client.${client}`, "marker"]), ben.client);
    await ben.evaluate(() => until(() => log.some(([type]) => type === "direct")));
    assert.deepEqual(await logged(ben, "direct"), ["marker"]);
    assert.deepEqual(await logged(tabs[0], "direct"), ["hello ann"]);
  });

  test("a token that expires is replaced on the connection that stays", async () => {
    const page = await open({ token: "ann:2500" });
    await sleep(5_500);
    assert.equal(await page.evaluate(() => fanfare.call("echo", 1)), 1);
    assert.deepEqual(await logged(page, "state"), ["live"], "one connection all the time");
    assert.ok((await page.evaluate(() => tokens)) >= 3);
  });

  test("a right that is taken back ends the subscription and not the connection", async () => {
    const page = await open({ topics: [["staff.plans", {}], ["public", {}]] });
    assert.deepEqual(await page.evaluate(() => subs.map((sub) => sub.state)), ["ended", "live"]);
    await page.evaluate(() => fanfare.call("revoke", "public"));
    await page.evaluate(() => until(() => log.some(([type]) => type === "unsubscribed")));
    assert.deepEqual(await logged(page, "unsubscribed"), ["revoked"]);
    assert.equal(await page.evaluate(() => fanfare.call("echo", 1)), 1);
  });

  test("who is in a room: a snapshot, then who comes and goes; a reload is neither", async () => {
    const ann = await open({ topics: [["room.1", { presence: true }]] });
    const ben = await open({ token: "ben", topics: [["room.1", { presence: true }]] });
    const members = (page) => page.evaluate(() => [...subs[0].members.values()].map((m) => m.user).sort());
    const told = (page, n) => page.evaluate((n) => until(() => log.filter(([type]) => type === "presence").length >= n), n);
    await told(ann, 2);
    await told(ben, 1);
    assert.deepEqual([await members(ann), await members(ben)], [["ann", "ben"], ["ann", "ben"]]);
    await ben.reload();
    await ben.evaluate(connect, { token: "ben", topics: [["room.1", { presence: true }]] });
    const cat = await open({ token: "cat", topics: [["room.1", { presence: true }]] });
    await told(ann, 3);
    await cat.evaluate(() => fanfare.close());
    await told(ann, 4);
    assert.deepEqual(await logged(ann, "presence"), [[["ann"], [], 1, 1], [["ben"], [], 2, 2], [["cat"], [], 3, 3], [[], ["cat"], 2, 2]]);
    assert.deepEqual(await members(ben), ["ann", "ben"]);
  });
});
