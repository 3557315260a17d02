/** The chat in real Chromium windows, on the real server: nothing lost, nothing doubled, and every loss shown. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ExampleServer, Proxy, findChromium, freePort, launch } from "../../../../tests/browser/support.mjs";
import { Window } from "./support.mjs";

const executable = findChromium();

describe("the chat", { skip: !executable && "no Chromium", timeout: 240_000 }, () => {
  let browser, server;
  const windows = [];
  const proxies = [];

  const open = async ({ proxy, ...options }) => {
    const window = await Window.open(browser, (proxy ?? server).port, options);
    windows.push(window);
    return window;
  };
  const proxied = async () => {
    const proxy = await Proxy.to(server.port);
    proxies.push(proxy);
    return proxy;
  };
  const numbered = (name, from, to) => Array.from({ length: to - from + 1 }, (_, i) => `${name} ${from + i}`);
  const of = (name, lines) => lines.filter((line) => line.startsWith(`${name} `));

  before(async () => {
    ExampleServer.build("chat");
    server = new ExampleServer("chat", await freePort());
    await server.start();
    browser = await launch(executable);
  });
  after(async () => {
    await browser?.close();
    for (const proxy of proxies) proxy.close();
    await server?.kill();
  });

  const endOfTest = async () => {
    const problems = windows.flatMap((window) => window.problems);
    for (const window of windows.splice(0)) await window.close();
    assert.deepEqual(problems, []);
  };

  test("messages go both ways, in one order", async () => {
    const [ann, ben] = [await open({ nick: "Ann", room: "order" }), await open({ nick: "Ben", room: "order" })];
    await Promise.all([ann.say(...numbered("ann", 1, 20)), ben.say(...numbered("ben", 1, 20))]);
    const [left, right] = [await ann.settled(40), await ben.settled(40)];
    assert.deepEqual(left, right);
    assert.equal(left.length, 40);
    assert.deepEqual(of("ann", left), numbered("ann", 1, 20));
    assert.deepEqual(of("ben", left), numbered("ben", 1, 20));
    assert.equal(await ann.page.locator(".pending").count(), 0);
    await endOfTest();
  });

  test("(a) the network is cut for 5 s: every message once, in order, no gap", async () => {
    const proxy = await proxied();
    const [ann, ben] = [await open({ nick: "Ann", room: "cut", proxy }), await open({ nick: "Ben", room: "cut" })];
    await ben.say("ben 1");
    await ann.settled(1);

    proxy.cut();
    const back = sleep(5_000);
    await ann.page.waitForFunction(() => ["offline", "connecting"].includes(document.querySelector("#state").dataset.state));
    await ben.say(...numbered("ben", 2, 12));
    await ann.say(...numbered("ann", 1, 4));
    assert.deepEqual(await ann.waiting(), numbered("ann", 1, 4));
    assert.deepEqual(await ann.lines(), ["ben 1"]);
    await ann.shot("offline");
    await back;
    proxy.restore();

    await ann.state("live");
    const [left, right] = [await ann.settled(16), await ben.settled(16)];
    assert.deepEqual(left, right);
    assert.deepEqual(left, [...numbered("ben", 1, 12), ...numbered("ann", 1, 4)]);
    assert.deepEqual([await ann.gaps(), await ben.gaps()], [[], []]);
    assert.equal(await ann.page.locator("#missed").isVisible(), false);
    await ann.shot("caught-up");
    await endOfTest();
  });

  test("a connection that falls silent is noticed when the network is back, and replaced", async () => {
    const proxy = await proxied();
    const [ann, ben] = [await open({ nick: "Ann", room: "silent", proxy }), await open({ nick: "Ben", room: "silent" })];
    await ben.say("ben 1");
    await ann.settled(1);
    proxy.vanish();
    await ben.say("ben 2");
    await ann.say("ann 1");
    await ann.page.evaluate(() => dispatchEvent(new Event("online")));
    const lines = await ann.settled(3);
    assert.deepEqual(lines.toSorted(), ["ann 1", "ben 1", "ben 2"]);
    assert.deepEqual(lines, await ben.settled(3));
    assert.deepEqual(await ann.gaps(), []);
    await endOfTest();
  });

  test("(b) the server is killed and started again: one gap, nothing doubled, lines typed meanwhile once", async () => {
    const [ann, ben] = [await open({ nick: "Ann", room: "kill" }), await open({ nick: "Ben", room: "kill" })];
    await ann.say(...numbered("ann", 1, 3));
    await ben.settled(3);
    await ben.say(...numbered("ben", 1, 3));
    const old = await ann.settled(6);

    await server.kill();
    await Promise.all([ann, ben].map((window) => window.page.waitForFunction(() => document.querySelector("#state").dataset.state !== "live")));
    await ann.say(...numbered("ann", 4, 6));
    await ben.say(...numbered("ben", 4, 6));
    await server.start();
    await Promise.all([ann.state("live"), ben.state("live")]);

    for (const window of [ann, ben]) {
      const lines = await window.settled(12);
      assert.deepEqual(lines.slice(0, 6), old, "what was shown stays");
      assert.deepEqual(of("ann", lines), numbered("ann", 1, 6));
      assert.deepEqual(of("ben", lines), numbered("ben", 1, 6));
      assert.equal((await window.gaps()).length, 1);
      const before = await window.page.$$eval(".log:not([hidden]) .lines > *", (all) =>
        all.slice(0, all.findIndex((e) => e.matches(".gap"))).filter((e) => e.matches(".line")).length);
      assert.equal(before, 6, "the gap stands where it occurred");
      assert.match(await window.page.textContent("#missed"), /^missed /);
    }
    assert.deepEqual((await ann.lines()).slice(6), (await ben.lines()).slice(6));

    await ann.say("ann 7");
    await ben.say("ben 7");
    assert.deepEqual((await ann.settled(14)).length, 14);
    await ann.shot("gap");
    await ann.page.click("#missed");
    assert.equal(await ann.page.locator("#missed").isVisible(), false);
    assert.equal((await ben.settled(14)).length, 14);
    assert.equal((await ben.gaps()).length, 1);
    await endOfTest();
  });

  test("who joins sees the last 50 lines, and older ones on request", async () => {
    const ann = await open({ nick: "Ann", room: "long" });
    await ann.say(...numbered("line", 1, 60));
    await ann.settled(60);
    const ben = await open({ nick: "Ben", room: "long" });
    assert.deepEqual(await ben.settled(50), numbered("line", 11, 60));
    await ben.page.click(".log:not([hidden]) .earlier");
    assert.deepEqual(await ben.settled(60), numbered("line", 1, 60));
    await ben.page.locator(".log:not([hidden]) .earlier").waitFor({ state: "hidden" });
    assert.equal(await ben.page.locator(".log:not([hidden]) .day").count(), 1);
    await endOfTest();
  });

  test("what users write is text, and room names cannot leave their segment", async () => {
    const room = "a.b > *.%41 ü";
    const [ann, ben] = [await open({ nick: "<b>Ann</b>", room }), await open({ nick: "Ben", room })];
    const nasty = '<img src=x onerror="document.title=1"><script>alert(1)</script>';
    await ann.say(nasty, "javascript:alert(1) https://example.org/a?b=c.");
    assert.deepEqual(await ben.settled(2), [nasty, "javascript:alert(1) https://example.org/a?b=c."]);
    assert.equal(await ben.page.locator(".log img, .log script, .nick b").count(), 0);
    assert.deepEqual(await ben.page.$$eval(".log a", (all) => all.map((a) => a.href)), ["https://example.org/a?b=c"]);
    assert.equal(await ben.page.textContent("#title"), room);
    await endOfTest();
  });

  test("rooms, people, typing, unread and private lines; with pictures", async () => {
    const light = { colorScheme: "light", locale: "en-GB" };
    const ann = await open({ nick: "Ann Bell", ...light });
    const ben = await open({ nick: "Ben", ...light });
    const cleo = await open({ nick: "Cleo", ...light });
    await ann.say("Morning! Did the new build go out last night?");
    await ben.settled(1);
    await ben.say("It did. Rolled to all four nodes at 23:10, no complaints.", "Reconnect storm after the restart was gone in two seconds.");
    await cleo.settled(3);
    await cleo.say("I watched it from the train. Tunnel after tunnel, and every line was there when I came out.");
    await ann.settled(4);
    await ann.say("That is the whole point", "I put the notes here: https://example.org/notes/rollout");
    await cleo.page.click('.room:has-text("music")');
    await cleo.say("Has anyone heard the new brass quintet record?", "Side B is wonderful.");
    await ann.page.click('.room:has-text("music")');
    await ann.settled(2);
    await ann.page.click('.room:has-text("lobby")');
    await cleo.say("The fanfare at 3:12!");
    const unread = ann.page.locator('li:has-text("music") .unread');
    await unread.filter({ hasText: "1" }).waitFor();
    await ann.page.fill("#open input", "release-party");
    await ann.page.press("#open input", "Enter");
    await ann.page.locator(".log:not([hidden]) .empty").waitFor();
    await ann.shot("empty-room");
    await ann.page.click('.room:has-text("lobby")');

    await ben.writeTo("Ann Bell");
    await ben.say("Cake at four? Not a word to Cleo.");
    await ann.page.locator("#privates .unread", { hasText: "1" }).waitFor();
    await ben.page.click('.room:has-text("lobby")');
    await ben.page.locator("#composer textarea").pressSequentially("Cake at");
    await ann.page.locator("#typing", { hasText: "Ben is typing" }).waitFor();
    await ann.shot("wide-light");
    await ann.page.emulateMedia({ colorScheme: "dark" });
    await ann.shot("wide-dark");
    await ann.page.setViewportSize({ width: 390, height: 780 });
    await ben.page.locator("#composer textarea").pressSequentially(" four?");
    await ann.shot("narrow-dark");
    await ann.page.emulateMedia({ colorScheme: "light" });
    await ann.shot("narrow-light");
    await ann.page.click("#menu");
    await ann.shot("narrow-rooms");
    await ann.page.click("#privates .room");
    await ann.say("My lips are sealed");
    await ann.settled(2);
    await ann.shot("narrow-private");
    await ann.page.setViewportSize({ width: 1180, height: 800 });
    await ann.shot("wide-private");
    await ann.page.click('.room:has-text("lobby")');
    await ann.page.setViewportSize({ width: 390, height: 780 });
    await ann.page.click("#here");
    await ann.shot("narrow-people");
    await ann.page.click("#people-close");
    await ben.page.press("#composer textarea", "Enter");
    await ann.page.locator("#typing:empty").waitFor({ state: "attached" });

    const guest = await open({ ...light });
    await guest.shot("welcome");
    await endOfTest();
  });
});
