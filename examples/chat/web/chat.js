/** The chat page: who one is, the state of the connection, and writing. `places.js` has the rooms, `people.js` who is in them. */

import { Fanfare } from "./fanfare.js";
import { $, count, load, ofBrowser, ofTab, paintAvatar, save } from "./page.js";
import { People } from "./people.js";
import { Places } from "./places.js";

const box = $("composer").elements.text;
let fanfare, people, places;
let me = load(ofTab, "name") ?? "";

function start() {
  // The name is the token: the server believes whoever says one.
  fanfare = new Fanfare("ws", { token: me, maxDelay: 5_000, pongTimeout: 5_000 });
  places = new Places(fanfare, me);
  people = new People(fanfare, me, (user) => places.open(user, true));
  places.addEventListener("open", showPlace);
  places.addEventListener("change", drawBar);
  places.addEventListener("people", () => {
    people.draw();
    places.drawPeople();
    drawBar();
  });
  places.addEventListener("read", ({ detail: { place, from } }) => place === places.current && people.stopsTyping(from));
  watchConnection();
  places.start();
}

function showPlace() {
  const { name, isPrivate } = places.current;
  $("title").textContent = name;
  $("app").classList.toggle("is-private", isPrivate);
  box.placeholder = isPrivate ? `Write to ${name}, privately` : `Message # ${name}`;
  people.show(places.current);
  drawBar();
  showSide("menu", false);
  showSide("people", false);
  if (matchMedia("(hover: hover)").matches) box.focus(); // elsewhere it would open the keyboard
}

// ---- writing ----

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = box.value.trim();
  if (!text) return;
  if (!me) return askName();
  places.say(text);
  box.value = "";
  fit();
  people.tellTyping(false);
  box.focus();
});
box.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});
box.addEventListener("input", () => {
  fit();
  people?.tellTyping(box.value.trim() !== "");
});

function fit() {
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, 160)}px`;
  $("composer").classList.toggle("ready", box.value.trim() !== "");
}

// ---- the state of the connection ----

function watchConnection() {
  let countdown, away;
  fanfare.on("state", (change) => {
    drawBar();
    clearInterval(countdown);
    if (change.state === "offline") away ??= Date.now();
    if (change.state === "live" || change.state === "catching up") {
      $("banner").hidden = true;
      if (away) places.wasAway(away);
      away = undefined;
    }
    if (change.state !== "closed") return;
    const why = change.message || change.reason || change.code;
    if (change.code === 4001) return askName(`The server does not take this name: ${why}.`);
    showBanner(`The connection was closed: ${why}.`, "Reload", () => location.reload());
  });
  fanfare.on("reconnecting", ({ delay }) => {
    const at = Date.now() + delay;
    const draw = () => {
      const seconds = Math.ceil((at - Date.now()) / 1000);
      const next = seconds > 0 ? `Next try in ${seconds} s.` : "Trying again.";
      showBanner(`No connection. ${next} What you write is kept and sent then.`, "Try now", () => fanfare.reconnect());
    };
    clearInterval(countdown);
    countdown = setInterval(draw, 500);
    draw();
  });
}

function showBanner(text, action, run) {
  const [span, button] = $("banner").children;
  span.textContent = text;
  button.textContent = action;
  button.onclick = run;
  $("banner").hidden = false;
}

function drawBar() {
  const state = fanfare.state;
  $("state").dataset.state = state;
  $("state").lastChild.textContent = state;
  $("progress").classList.toggle("busy", state === "connecting" || state === "catching up");
  document.body.classList.toggle("away", state === "offline" || state === "closed");
  const place = places?.current;
  if (!place) return;
  $("subtitle").textContent = subtitle(place);
  const { missed } = place;
  $("missed").hidden = !missed;
  if (missed) $("missed").textContent = missed.count ? `missed ${missed.count}${missed.unknown ? "+" : ""}` : "missed some";
  places.look();
  $("jump").hidden = place.log.atEnd;
  $("jump").lastChild.textContent = place.unread ? `${place.unread} new` : "Latest";
}

function subtitle({ name, isPrivate, log }) {
  if (!isPrivate) return log.count ? `${count(log.count, "line", "lines")} from ${count(log.people, "person", "people")}` : "Rooms keep their latest lines";
  const [room] = places.whereIs(name);
  return room === undefined ? "Private · in none of your rooms now" : `Private · in # ${room} now`;
}

$("missed").onclick = () => {
  places.current.gap.scrollIntoView({ block: "center", behavior: "smooth" });
  places.current.missed = undefined;
  drawBar();
};
$("jump").onclick = () => places.current.log.toEnd();

// ---- who one is ----

function askName(why) {
  const input = $("welcome").querySelector("input");
  input.value = me || load(ofBrowser, "name") || "";
  if (why) $("welcome").querySelector("p").textContent = why;
  $("welcome").showModal();
  input.select();
}
$("welcome").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = event.target.elements.name.value.trim().replace(/\s+/g, " ");
  if (!name) return;
  $("welcome").close();
  if (name === me && fanfare?.state !== "closed") return;
  save(ofTab, "name", name);
  save(ofBrowser, "name", name);
  me = name;
  drawMe();
  if (!fanfare) return start();
  // Another name is another user: the session of the one before ends, for all to see, and a page of its own begins.
  fanfare.close();
  location.reload();
});
$("welcome").addEventListener("cancel", (event) => me || event.preventDefault());
$("me").onclick = () => (showSide("menu", false), askName());

function drawMe() {
  paintAvatar($("me").firstElementChild, me || "?");
  $("me").querySelector("strong").textContent = me || "Nobody yet";
}

// ---- the page around it ----

const SIDES = { menu: "menu", people: "here" }; // what is opened, and by which button

function showSide(side, on) {
  $("app").classList.toggle(`${side}-open`, on);
  $(SIDES[side]).setAttribute("aria-expanded", String(on));
}
for (const side of Object.keys(SIDES)) $(SIDES[side]).onclick = () => showSide(side, true);
const closeSides = () => Object.keys(SIDES).forEach((side) => showSide(side, false));
$("shade").onclick = closeSides;
$("people-close").onclick = closeSides;
document.addEventListener("keydown", (event) => event.key === "Escape" && closeSides());
document.addEventListener("visibilitychange", () => places && drawBar());
$("open").addEventListener("submit", (event) => {
  event.preventDefault();
  places?.open(event.target.elements.room.value);
  event.target.reset();
});

drawMe();
if (me) start();
else askName();
