/** The chat page: rooms are logged topics `chat.ROOM`, who is typing goes over ephemeral topics `typing.ROOM`. */

import { Fanfare, newMessageId, topicName } from "./fanfare.js";
import { RoomLog, icon, make, paintAvatar, readLine } from "./log.js";

const $ = (id) => document.getElementById(id);
const ROOMS = ["lobby", "music", "random"];
const MAX_ROOMS = 30;
const LAST = 50;
const WHY = {
  epoch: "the server was started anew",
  history: "older than what the server keeps",
  slow: "this connection was too slow",
  backend: "the servers lost touch for a while",
};

const fanfare = new Fanfare("ws", { maxDelay: 5_000, pongTimeout: 5_000 });
const rooms = new Map(); // name -> { name, log, sub, unread, missed, gap, joined, item }
const me = { who: load(sessionStorage, "who") ?? newMessageId(), nick: load(sessionStorage, "nick") ?? "" };
let current;
save(sessionStorage, "who", me.who);

// ---- rooms ----

function addRoom(name) {
  if (rooms.has(name)) return rooms.get(name);
  const room = { name, unread: 0, missed: undefined, caught: 0, joined: false };
  room.log = new RoomLog(name, me.who, showJump);
  room.log.element.hidden = true;
  $("logs").prepend(room.log.element);
  rooms.set(name, room);
  drawRoom(room);
  return room;
}

function join(room) {
  if (room.joined) return;
  room.joined = true;
  room.sub = fanfare.subscribe(topicName("chat", room.name), { last: LAST });
  room.sub.on("subscribed", () => (room.caught = 0));
  room.sub.on("message", (message) => receive(room, message));
  room.sub.on("gap", (gap) => showGap(room, gap));
  room.sub.on("live", () => caughtUp(room));
  room.sub.on("error", (error) => room.log.notice(`${error.retry ? "Not open at the moment" : "This room can't be opened"}: ${error.code}`));
}

function leave(room) {
  room.sub?.unsubscribe();
  room.log.element.remove();
  room.item.remove();
  rooms.delete(room.name);
  remember();
  if (room === current) open([...rooms.keys()][0] ?? ROOMS[0]);
}

function open(name) {
  if (!rooms.has(name) && rooms.size >= MAX_ROOMS) return showToast(`${MAX_ROOMS} rooms are enough: leave one first`);
  const room = addRoom(name);
  const before = current;
  current = room;
  join(room);
  room.unread = 0;
  for (const other of rooms.values()) other.log.element.hidden = other !== room;
  room.log.settle();
  if (before !== room) watchTyping(room);
  remember();
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  $("title").textContent = name;
  $("composer").elements.text.placeholder = `Message # ${name}`;
  if (before && rooms.has(before.name)) drawRoom(before);
  drawRoom(room);
  drawBar();
  showMenu(false);
  if (matchMedia("(hover: hover)").matches) box.focus(); // elsewhere it would open the keyboard
}

function remember() {
  save(localStorage, "rooms", JSON.stringify([...rooms.values()].filter((room) => room.joined).map((room) => room.name)));
}

function receive(room, message) {
  const line = readLine(message);
  if (!line || !room.log.add(line)) return;
  room.caught += 1;
  stopsTyping(line.who);
  const seen = room === current && document.visibilityState === "visible";
  if (!seen && line.who !== me.who && room.began) room.unread += 1;
  else if (room === current && !room.log.atEnd) room.unread += 1;
  drawRoom(room);
  if (room === current) drawBar();
}

function showGap(room, gap) {
  room.gap = room.log.gap(gap.missed, WHY[gap.reason] ?? gap.reason);
  room.missed = { count: (room.missed?.count ?? 0) + (gap.missed ?? 0), unknown: gap.missed === undefined || room.missed?.unknown };
  drawBar();
}

/** All that was missed is here: offer what lies further back, and say what the break has cost. */
function caughtUp(room) {
  if (!room.began) {
    room.began = true;
    room.log.showEmpty();
    if (room.log.count >= LAST) offerEarlier(room);
  } else if (room === current && !room.missed) {
    showToast(room.caught ? `Back: caught up on ${room.caught} ${room.caught === 1 ? "line" : "lines"}, none missed` : "Back: nothing was missed");
  }
  room.caught = 0;
  drawBar();
}

function offerEarlier(room) {
  room.log.offerEarlier(async () => {
    try {
      const page = await fanfare.history(room.sub.topic, { before: room.log.firstPos, limit: LAST });
      room.log.prepend(page.messages.map(readLine).filter(Boolean));
      if (!page.more) room.log.offerEarlier(null);
    } catch (error) {
      showToast(error.retry ? "Not now: there is no connection" : `The server refused: ${error.code}`);
    }
    drawBar();
  });
}

function drawRoom(room) {
  if (!room.item) {
    room.item = make("li");
    const button = make("button", "room");
    const text = make("span", "about");
    text.append(make("strong", "", room.name), make("small"));
    button.append(make("span", "hash", "#"), text, make("b", "unread"));
    button.onclick = () => open(room.name);
    const close = make("button", "icon leave");
    close.append(icon("close"));
    close.title = `Leave ${room.name}`;
    close.setAttribute("aria-label", close.title);
    close.onclick = () => leave(room);
    button.type = close.type = "button";
    room.item.append(button, close);
    $("rooms").append(room.item);
  }
  const last = room.log.last;
  const [preview, unread] = [room.item.querySelector("small"), room.item.querySelector(".unread")];
  preview.textContent = last ? `${last.who === me.who ? "You" : last.nick}: ${last.text}` : room.joined ? "No messages yet" : "Not joined yet";
  unread.textContent = room.unread > 99 ? "99+" : String(room.unread);
  unread.hidden = !room.unread;
  room.item.classList.toggle("current", room === current);
  room.item.classList.toggle("joined", room.joined);
  room.item.firstChild.toggleAttribute("aria-current", room === current);
  const total = [...rooms.values()].reduce((sum, other) => sum + other.unread, 0);
  document.title = `${total ? `(${total}) ` : ""}${current?.name ?? "Fanfare"} · Fanfare chat`;
}

// ---- writing ----

function say(text) {
  const room = current;
  const line = { who: me.who, nick: me.nick, text, time: Date.now(), id: newMessageId() };
  room.log.wait(line);
  fanfare
    .publish(topicName("chat", room.name), { who: line.who, nick: line.nick, text }, { messageId: line.id })
    .then(() => room.log.sent(line.id))
    .catch((error) => {
      const why = error.code === "unknown_outcome" ? "It is not known whether this arrived." : `Not sent (${error.code}).`;
      room.log.failed(line.id, why, () => current === room && say(text));
    });
}

const box = $("composer").elements.text;
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = box.value.trim();
  if (!text) return;
  if (!me.nick) return askNick();
  say(text);
  box.value = "";
  fit();
  tellTyping(false);
  box.focus();
});
box.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});
box.addEventListener("input", () => {
  fit();
  tellTyping(box.value.trim() !== "");
});

function fit() {
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, 160)}px`;
  $("composer").classList.toggle("ready", box.value.trim() !== "");
}

// ---- who is typing ----

const TYPING_MS = 5_000; // how long one says it is believed
const typists = new Map(); // who -> { nick, timer }
let typing; // the subscription of the room that is open
let toldAt = 0;

function watchTyping(room) {
  typing?.unsubscribe();
  for (const who of [...typists.keys()]) stopsTyping(who);
  typing = fanfare.subscribe(topicName("typing", room.name));
  typing.on("message", ({ data }) => {
    if (typeof data?.who !== "string" || typeof data.nick !== "string" || data.who === me.who) return;
    stopsTyping(data.who);
    if (!data.typing || typists.size >= 20) return;
    typists.set(data.who, { nick: data.nick.slice(0, 24), timer: setTimeout(() => stopsTyping(data.who), TYPING_MS) });
    drawTyping();
  });
}

function stopsTyping(who) {
  clearTimeout(typists.get(who)?.timer);
  if (typists.delete(who)) drawTyping();
}

/** Worth nothing when it comes late: not queued while offline, and lost without regret. */
function tellTyping(on) {
  if (!me.nick || (on && Date.now() - toldAt < TYPING_MS / 2) || (!on && !toldAt)) return;
  toldAt = on ? Date.now() : 0;
  fanfare.publish(typing.topic, { ...me, typing: on }, { echo: false, queue: false }).catch(() => {});
}

function drawTyping() {
  const names = [...typists.values()].map(({ nick }) => nick);
  const text = names.length > 2 ? `${names.length} people are typing` : names.length === 2 ? `${names[0]} and ${names[1]} are typing` : `${names[0]} is typing`;
  $("typing").replaceChildren(...(names.length ? [make("i"), make("span", "", text)] : []));
}

// ---- the state of the connection ----

let countdown;

fanfare.on("state", (change) => {
  drawBar();
  clearInterval(countdown);
  if (change.state === "live" || change.state === "catching up") $("banner").hidden = true;
  if (change.state === "closed") showBanner(`The connection was closed: ${change.reason || change.code}.`, "Reload", () => location.reload());
});
fanfare.on("reconnecting", ({ delay }) => {
  const at = Date.now() + delay;
  const draw = () => {
    const seconds = Math.ceil((at - Date.now()) / 1000);
    showBanner(`No connection. ${seconds > 0 ? `Next try in ${seconds} s.` : "Trying again."} What you write is kept and sent then.`, "Try now", () => fanfare.reconnect());
  };
  clearInterval(countdown);
  countdown = setInterval(draw, 500);
  draw();
});

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
  if (!current) return;
  const { count, people } = current.log;
  $("subtitle").textContent = count ? `${count} ${count === 1 ? "line" : "lines"} from ${people} ${people === 1 ? "person" : "people"}` : "Rooms keep their latest lines";
  const missed = current.missed;
  $("missed").hidden = !missed;
  if (missed) $("missed").textContent = missed.count ? `missed ${missed.count}${missed.unknown ? "+" : ""}` : "missed some";
}

$("missed").onclick = () => {
  current.gap.scrollIntoView({ block: "center", behavior: "smooth" });
  current.missed = undefined;
  drawBar();
};

function showJump() {
  if (!current) return;
  if (current.log.atEnd && document.visibilityState === "visible" && current.unread) {
    current.unread = 0;
    drawRoom(current);
  }
  $("jump").hidden = current.log.atEnd;
  $("jump").lastChild.textContent = current.unread ? `${current.unread} new` : "Latest";
}
$("jump").onclick = () => current.log.toEnd();

let toastTimer;
function showToast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => ($("toast").hidden = true), 4_000);
}

// ---- the page around it ----

function askNick() {
  const input = $("welcome").querySelector("input");
  input.value = me.nick || load(localStorage, "nick") || "";
  $("welcome").showModal();
  input.select();
}
$("welcome").addEventListener("submit", (event) => {
  event.preventDefault();
  const nick = event.target.elements.nick.value.trim().replace(/\s+/g, " ");
  if (!nick) return;
  me.nick = nick;
  save(sessionStorage, "nick", nick);
  save(localStorage, "nick", nick);
  $("welcome").close();
  drawMe();
  box.focus();
});
$("welcome").addEventListener("cancel", (event) => me.nick || event.preventDefault());
$("me").onclick = () => (showMenu(false), askNick());

function drawMe() {
  paintAvatar($("me").firstElementChild, { who: me.who, nick: me.nick || "?" });
  $("me").querySelector("strong").textContent = me.nick || "Nobody yet";
}

function showMenu(on) {
  $("app").classList.toggle("menu-open", on);
  $("menu").setAttribute("aria-expanded", String(on));
}
$("menu").onclick = () => showMenu(true);
$("shade").onclick = () => showMenu(false);
document.addEventListener("keydown", (event) => event.key === "Escape" && showMenu(false));
document.addEventListener("visibilitychange", showJump);

const roomName = (text) => text.trim().replace(/^#\s*/, "").replace(/\s+/g, " ").slice(0, 40);
$("open").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = roomName(event.target.elements.room.value);
  if (name) open(name);
  event.target.reset();
});

/** Storage that may be switched off: the chat then forgets, and works. */
function load(storage, key) {
  try {
    return storage.getItem(`fanfare.chat.${key}`);
  } catch {
    return null;
  }
}
function save(storage, key, value) {
  try {
    storage.setItem(`fanfare.chat.${key}`, value);
  } catch {
    // nothing is kept
  }
}

function fromHash() {
  try {
    return roomName(decodeURIComponent(location.hash.slice(1)));
  } catch {
    return "";
  }
}
function remembered() {
  try {
    return JSON.parse(load(localStorage, "rooms") ?? "[]").filter((name) => typeof name === "string" && roomName(name) === name && name);
  } catch {
    return [];
  }
}

const joined = remembered().slice(0, MAX_ROOMS - ROOMS.length - 1);
for (const name of new Set([...ROOMS, ...joined])) addRoom(name);
for (const name of joined) join(rooms.get(name));
open(fromHash() || ROOMS[0]);
addEventListener("hashchange", () => fromHash() && fromHash() !== current.name && open(fromHash()));
for (const room of rooms.values()) drawRoom(room);
drawMe();
drawBar();
if (!me.nick) askNick();
