/** Who is in a room, who is typing there, and what is written to one of them: in real Chromium windows, on the real server. */

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { ExampleServer, Proxy, findChromium, freePort, launch } from "../../../../tests/browser/support.mjs";
import { Window } from "./support.mjs";

const executable = findChromium();

describe("people in the chat", { skip: !executable && "no Chromium", timeout: 240_000 }, () => {
  let browser, server, proxy;
  const windows = [];

  const open = async ({ port = server.port, ...options }) => {
    const window = await Window.open(browser, port, options);
    windows.push(window);
    return window;
  };

  before(async () => {
    ExampleServer.build("chat");
    server = new ExampleServer("chat", await freePort());
    await server.start();
    proxy = await Proxy.to(server.port);
    browser = await launch(executable);
  });
  after(async () => {
    await browser?.close();
    proxy?.close();
    await server?.kill();
  });
  afterEach(async () => {
    const problems = windows.flatMap((window) => window.problems);
    for (const window of windows.splice(0)) await window.close();
    assert.deepEqual(problems, []);
  });

  /** Notes every change of the list, from now on. */
  const note = (window) =>
    window.page.evaluate(() => {
      globalThis.seen = [];
      const list = document.querySelector("#members");
      const read = () => [...list.children].map((item) => item.dataset.user).sort().join();
      let last = read();
      new MutationObserver(() => read() !== last && globalThis.seen.push((last = read()))).observe(list, { childList: true });
    });
  const noted = (window) => window.page.evaluate(() => globalThis.seen);

  test("two see each other, and a window that is closed leaves", async () => {
    const ann = await open({ nick: "Ann", room: "list" });
    await ann.sees("Ann");
    const ben = await open({ nick: "Ben", room: "list" });
    await Promise.all([ann.sees("Ann", "Ben"), ben.sees("Ann", "Ben")]);
    assert.deepEqual(await ben.members(), ["Ben", "Ann"], "oneself first");
    await windows.pop().close();
    await ann.sees("Ann");
    assert.equal(await ann.page.textContent("#people-count"), "1");
  });

  test("each room has its own people, and who leaves one is gone from it at once", async () => {
    const [ann, ben] = [await open({ nick: "Ann", room: "here" }), await open({ nick: "Ben", room: "here" })];
    await ann.sees("Ann", "Ben");
    await ben.page.fill("#open input", "there");
    await ben.page.press("#open input", "Enter");
    await ben.sees("Ben");
    await ann.sees("Ann", "Ben"); // in both rooms
    await ben.page.getByLabel("Leave here", { exact: true }).dispatchEvent("click");
    await ann.sees("Ann");
  });

  test("a reload is no leave and join; another name is", async () => {
    const [ann, ben] = [await open({ nick: "Ann", room: "reload" }), await open({ nick: "Ben", room: "reload" })];
    await ann.sees("Ann", "Ben");
    await note(ann);
    await ben.page.reload();
    await ben.state("live");
    await ben.sees("Ann", "Ben");
    // Later than any word of a leave: the grace has passed, and another has come.
    await ben.page.waitForTimeout(6_000);
    const cleo = await open({ nick: "Cleo", room: "reload" });
    await ann.sees("Ann", "Ben", "Cleo");
    assert.deepEqual(await noted(ann), ["Ann,Ben,Cleo"]);
    await cleo.page.click("#me");
    await cleo.page.fill("#welcome input", "Dora");
    await cleo.page.press("#welcome input", "Enter");
    await ann.sees("Ann", "Ben", "Dora");
    await cleo.sees("Ann", "Ben", "Dora");
  });

  test("a tab more of a user is one entry", async () => {
    const [ann, ben] = [await open({ nick: "Ann", room: "tabs" }), await open({ nick: "Ben", room: "tabs" })];
    await ann.sees("Ann", "Ben");
    await note(ann);
    await open({ nick: "Ben", room: "tabs", beside: ben });
    await ann.sees("Ann", "Ben 2");
    assert.equal(await ann.page.textContent("#people-count"), "2");
    await windows.pop().page.close();
    await ann.sees("Ann", "Ben");
    assert.deepEqual(await noted(ann), []);
  });

  test("typing appears and goes, and is not told to one's own tabs", async () => {
    const [ann, ben] = [await open({ nick: "Ann", room: "typing" }), await open({ nick: "Ben", room: "typing" })];
    const tab = await open({ nick: "Ben", room: "typing", beside: ben });
    await ann.sees("Ann", "Ben 2");
    await ben.page.locator("#composer textarea").pressSequentially("So");
    await ann.page.locator("#typing", { hasText: "Ben is typing" }).waitFor();
    await ann.page.locator('#members [data-user="Ben"]', { hasText: "typing" }).waitFor();
    await ben.page.fill("#composer textarea", "");
    await ann.page.locator("#typing:empty").waitFor({ state: "attached" });
    // Who says no more is not believed for long.
    await ben.page.locator("#composer textarea").pressSequentially("Well");
    await ann.page.locator("#typing", { hasText: "Ben is typing" }).waitFor();
    await ann.page.locator("#typing:empty").waitFor({ state: "attached", timeout: 20_000 });
    assert.equal(await tab.page.textContent("#typing"), "");
  });

  test("a private line reaches all tabs of both, and nobody else", async () => {
    const ann = await open({ nick: "Ann", room: "private" });
    const ben = await open({ nick: "Ben Ü. *", room: "private" });
    const tabs = [ann, await open({ nick: "Ann", room: "private", beside: ann }), await open({ nick: "Ann", room: "elsewhere" })];
    const bens = [ben, await open({ nick: "Ben Ü. *", room: "elsewhere", beside: ben })];
    const cleo = await open({ nick: "Cleo", room: "private" });
    await ann.sees("Ann 2", "Ben Ü. * 2", "Cleo"); // a tab more opens what its browser had open
    await ann.writeTo("Ben Ü. *");
    await ann.say("just <b>you</b>");
    assert.deepEqual(await ann.settled(1), ["just <b>you</b>"]);
    for (const tab of bens) await tab.page.locator("#privates .unread", { hasText: "1" }).waitFor();
    await ben.page.locator("#privates .room").click();
    await ben.say("and you");
    for (const tab of [...tabs, ...bens]) {
      const other = tabs.includes(tab) ? "Ben Ü. *" : "Ann";
      await tab.page.locator("#privates small", { hasText: "and you" }).waitFor();
      if (!(await tab.page.locator(".is-private").count())) await tab.page.locator("#privates .room").click();
      assert.deepEqual(await tab.settled(2), ["just <b>you</b>", "and you"]);
      assert.equal(await tab.page.textContent("#title"), other);
      assert.equal(await tab.page.locator(".log:not([hidden]) .line.own").count(), 1);
    }
    assert.equal(await ben.page.locator(".log b:not(.unread)").count(), 0);

    // Whoever comes last has heard all before it.
    await ben.page.locator("#rooms .room", { hasText: "private" }).click();
    await ben.say("for all");
    assert.deepEqual(await cleo.settled(1), ["for all"]);
    assert.deepEqual(await cleo.privates(), []);

    // A page that is loaded again shows what it has seen.
    await ann.page.reload();
    await ann.state("live");
    assert.deepEqual(await ann.settled(2), ["just <b>you</b>", "and you"]);
  });

  test("a private line to somebody who has gone is refused and can be sent again", async () => {
    const [ann, ben] = [await open({ nick: "Ann", room: "gone" }), await open({ nick: "Ben", room: "gone" })];
    await ann.sees("Ann", "Ben");
    await ann.writeTo("Ben");
    await windows.pop().close();
    await ann.page.locator("#subtitle", { hasText: "in none of your rooms" }).waitFor();
    await ann.say("are you there?");
    await ann.page.locator(".failed", { hasText: "Ben is not here" }).waitFor();
    const again = await open({ nick: "Ben", room: "gone" });
    await ann.page.locator("#subtitle", { hasText: "in # gone" }).waitFor();
    await ann.page.getByRole("button", { name: "Send again" }).click();
    assert.deepEqual(await ann.settled(1), ["are you there?"]);
    await again.page.locator("#privates small", { hasText: "are you there?" }).waitFor();
    assert.notEqual(ben, again);
  });

  test("nobody can write in another's name", async () => {
    const [ann, ben] = [await open({ nick: "Ann", room: "forged" }), await open({ nick: "Ben", room: "forged" })];
    const told = await ben.page.evaluate(async () => {
      const { Fanfare, userAddress } = await import("/fanfare.js");
      const other = new Fanfare("ws", { token: "Mallory", resume: false });
      const refused = (promise) => promise.then(() => "done", (error) => error.code);
      const codes = [
        await refused(other.publish(userAddress("Ann"), { from: "Ben", to: "Ann", text: "x" }, { event: "private" })),
        await refused(other.publish("$all", { text: "x" })),
        await refused(other.call("whisper", { to: "Ann", from: "Ben", text: "it is me", id: "1" })),
        await refused(other.publish("chat.forged", { from: "Ben", text: "me too" }, { messageId: "2" })),
      ];
      other.close();
      return codes;
    });
    assert.deepEqual(told, ["forbidden", "forbidden", "done", "done"]);
    await ann.settled(1);
    assert.equal(await ann.page.textContent(".log:not([hidden]) .nick"), "Mallory");
    await ann.page.locator("#privates small", { hasText: "Mallory: it is me" }).waitFor();
    assert.deepEqual(await ann.privates(), [["Mallory", "Mallory: it is me"]]);
  });

  test("what is written while there is no connection: private lines say that some may be missing", async () => {
    const [ann, ben] = [await open({ nick: "Ann", room: "away", port: proxy.port }), await open({ nick: "Ben", room: "away" })];
    await ann.sees("Ann", "Ben");
    await ben.sees("Ann", "Ben");
    await ben.writeTo("Ann");
    await ben.say("one");
    await ann.page.locator("#privates .room").click();
    assert.deepEqual(await ann.settled(1), ["one"]);
    proxy.cut();
    await ann.page.waitForFunction(() => document.querySelector("#state").dataset.state !== "live");
    await ann.say("two");
    proxy.restore();
    await ann.state("live");
    assert.deepEqual(await ann.settled(2), ["one", "two"]);
    await ann.page.locator(".log:not([hidden]) .notice", { hasText: "No connection at" }).waitFor();
    await ben.page.locator("#privates small", { hasText: "two" }).waitFor();
  });

  test("a name that the server does not take is asked for again", async () => {
    const ann = await open({ room: "names" });
    await ann.page.fill("#welcome input", "Ann\u0085");
    await ann.page.press("#welcome input", "Enter");
    await ann.page.locator("#welcome p", { hasText: "does not take this name" }).waitFor();
    await ann.page.fill("#welcome input", "Ann");
    await ann.page.press("#welcome input", "Enter");
    await ann.sees("Ann");
  });
});
