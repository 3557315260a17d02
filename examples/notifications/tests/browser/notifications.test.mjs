/** Notifications in real Chromium tabs, on the real server: all tabs of a user and nobody else, and nothing lost by being away. */

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ExampleServer, Proxy, findChromium, freePort, launch, shot } from "../../../../tests/browser/support.mjs";

const executable = findChromium();

describe("notifications", { skip: !executable && "no Chromium", timeout: 240_000 }, () => {
  let browser, server;
  const contexts = [];
  const problems = [];

  before(async () => {
    ExampleServer.build("notifications");
    server = new ExampleServer("notifications", await freePort(), ["--every", "1"]);
    await server.start();
    browser = await launch(executable);
  });
  after(async () => {
    await browser?.close();
    await server?.kill();
  });

  /** A tab in which somebody has logged in; tabs of one `context` share what a browser keeps. */
  const open = async (name, { port = server.port, context, ...options } = {}) => {
    context ??= await browser.newContext({ viewport: { width: 820, height: 860 }, ...options });
    if (!contexts.includes(context)) contexts.push(context);
    const page = await context.newPage();
    page.on("pageerror", (error) => problems.push(String(error)));
    await page.goto(`http://127.0.0.1:${port}/`);
    await page.fill("#login input", name);
    await page.click("#login button");
    await page.waitForSelector('#state[data-state="live"]', { timeout: 30_000 });
    return page;
  };
  const tell = async (to, text, keep = true) => {
    const body = JSON.stringify({ to, text, keep });
    const answer = await fetch(`http://127.0.0.1:${server.port}/notify`, { method: "POST", headers: { "content-type": "application/json" }, body });
    return answer.status;
  };
  const notes = (page) => page.$$eval("#notes li", (all) => all.map((note) => note.firstChild.textContent));
  const until = (page, texts) =>
    page.waitForFunction((wanted) => {
      const shown = [...document.querySelectorAll("#notes li")].map((note) => note.firstChild.textContent);
      return JSON.stringify(shown) === wanted;
    }, JSON.stringify(texts), { timeout: 20_000 }).catch(async () => assert.deepEqual(await notes(page), texts));
  const unread = async (page, count) => {
    await page.waitForFunction((wanted) => {
      const shown = document.querySelector("#unread");
      return (shown.hidden ? "0" : shown.textContent) === String(wanted);
    }, count, { timeout: 20_000 });
    assert.match(await page.title(), count ? new RegExp(`^\\(${count}\\) `) : /^Notifications/);
  };
  const toast = (page, text) => page.waitForSelector(`#toasts li:text-is("${text}")`, { timeout: 20_000 });
  const endOfTest = async () => {
    for (const context of contexts.splice(0)) await context.close();
    assert.deepEqual(problems.splice(0), []);
  };

  test("all tabs of a user get what is for it, and nobody else does", async () => {
    const [ann, annToo, ben] = [await open("ann"), await open("ann"), await open("ben")];
    assert.equal(await tell("ann", "Your parcel is on its way"), 202);
    assert.equal(await tell("ann", "only now", false), 202);
    for (const tab of [ann, annToo]) {
      await until(tab, ["Your parcel is on its way"]);
      await unread(tab, 1);
      await toast(tab, "only now");
    }
    assert.equal(await tell(null, "we close soon", false), 202);
    for (const tab of [ann, annToo, ben]) await toast(tab, "we close soon");
    assert.deepEqual(await notes(ben), []);
    assert.equal(await ben.locator('#toasts li:text-is("only now")').count(), 0);
    await endOfTest();
  });

  test("who was away gets what was kept, once, and what was read stays read", async () => {
    const first = await open("cleo");
    const context = first.context();
    await tell("cleo", "one");
    await tell("cleo", "two");
    await until(first, ["two", "one"]);
    await first.click("#read");
    await unread(first, 0);
    await first.close();
    await tell("cleo", "three");
    await tell("cleo", "gone", false);
    const again = await open("cleo", { context });
    await until(again, ["three", "two", "one"]);
    await unread(again, 1);
    assert.equal(await again.locator("#toasts li").count(), 0);
    await endOfTest();
  });

  test("what is read in one tab is read in all", async () => {
    const [one, other] = [await open("dora"), await open("dora")];
    await tell("dora", "a");
    await tell("dora", "b");
    for (const tab of [one, other]) await unread(tab, 2);
    await one.click("#read");
    for (const tab of [one, other]) await unread(tab, 0);
    await tell("dora", "c");
    for (const tab of [one, other]) await unread(tab, 1);
    await endOfTest();
  });

  test("a break costs nothing that is kept", async () => {
    const proxy = await Proxy.to(server.port);
    const ann = await open("emil", { port: proxy.port });
    await tell("emil", "before");
    await until(ann, ["before"]);
    proxy.cut();
    await ann.waitForFunction(() => document.querySelector("#state").dataset.state !== "live");
    await tell("emil", "meanwhile");
    proxy.restore();
    await until(ann, ["meanwhile", "before"]);
    await unread(ann, 2);
    await endOfTest();
    proxy.close();
  });

  test("names may hold anything, and nobody reads what is another's", async () => {
    const name = "a.b > *$all";
    const [odd, plain] = [await open(name), await open("a")];
    await tell(name, "<b>for you</b>");
    await tell(name, "psst", false);
    await until(odd, ["<b>for you</b>"]);
    await toast(odd, "psst");
    assert.deepEqual(await notes(plain), []);
    const refused = await plain.evaluate(async () => {
      const { Fanfare, topicName, userAddress } = await import("./fanfare.js");
      const fanfare = new Fanfare("ws", { token: "a", resume: false });
      const sub = fanfare.subscribe(topicName("notify", "a.b > *$all"));
      const subscribed = new Promise((resolve) => sub.on("error", ({ code }) => resolve(code)));
      const published = (to) => fanfare.publish(to, 1).catch(({ code }) => code);
      const codes = [await subscribed, await published("$all"), await published(userAddress("ben")), await published("notify.a")];
      fanfare.close();
      return codes;
    });
    assert.deepEqual(refused, Array(4).fill("forbidden"));
    assert.equal(await tell(null, "for all", true), 400, "there is no log of everybody");
    await endOfTest();
  });

  test("the form, the job, and pictures", async () => {
    const light = { colorScheme: "light", locale: "en-GB" };
    const [ann, ben] = [await open("Ann Bell", light), await open("Ben", light)];
    await ann.waitForSelector('#tabs:text-is("2 tabs are open")', { timeout: 20_000 });
    await shot(await loggedOut(light), "notifications", "login");
    for (const text of ["Your order 4711 has been paid", "Your parcel is on its way", "Ben has invited you to Release party"]) {
      await ben.fill("#notify [name=to]", "Ann Bell");
      await ben.fill("#notify [name=text]", text);
      await ben.click("#notify button");
      await ben.waitForFunction(() => document.querySelector("#notify [name=text]").value === "");
      if (text.includes("paid")) {
        await unread(ann, 1);
        await ann.click("#read");
      }
    }
    await unread(ann, 2);
    await ben.fill("#notify [name=to]", "");
    assert.equal(await ben.isDisabled("#notify [name=keep]"), true);
    await ben.fill("#notify [name=text]", "We close for maintenance in ten minutes");
    await ben.click("#notify button");
    await toast(ann, "We close for maintenance in ten minutes");
    await shot(ann, "notifications", "wide-light");
    await ann.emulateMedia({ colorScheme: "dark" });
    await ann.setViewportSize({ width: 390, height: 780 });
    await shot(ann, "notifications", "narrow-dark");
    await endOfTest();
  });

  const loggedOut = async (options) => {
    const context = await browser.newContext({ viewport: { width: 820, height: 620 }, ...options });
    contexts.push(context);
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${server.port}/`);
    return page;
  };
});
