/**
 * The page of one user, in any number of tabs.
 *
 * `notify.NAME` is a logged topic: what has come while the page was closed or offline comes first, and a loss is shown. What comes to the
 * user's address (`direct`) needs no subscription and is not kept: short notices, and word from another tab of what has been read there.
 */

import { Fanfare, topicName, userAddress } from "./fanfare.js";

const $ = (id) => document.getElementById(id);
const LAST = 50;
const TOAST_MS = 6_000;

const me = sessionStorage.getItem("name");
if (me) start();
else {
  $("login").hidden = false;
  $("login").elements.name.focus();
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("name", event.target.elements.name.value.trim());
  location.reload();
});

function start() {
  const fanfare = new Fanfare("ws", { token: me });
  const notes = fanfare.subscribe(topicName("notify", me), { last: LAST });
  const seen = `read ${me}`; // the place up to which everything has been read, in this browser
  let unread = 0;

  $("app").hidden = false;
  $("me").textContent = me;
  draw();

  notes.on("message", ({ data, time, pos }) => {
    $("none").hidden = true;
    $("notes").prepend(item(data.text, time, pos));
    unread += 1;
    if (pos === localStorage.getItem(seen)) markRead(pos);
    draw();
  });
  notes.on("gap", ({ missed }) => {
    $("notes").prepend(make("li", "gap", `${missed ?? "Some"} older notifications are not kept any more`));
  });
  notes.on("live", draw);

  fanfare.on("direct", ({ event, data }) => {
    if (event === "note") toast(data.text);
    if (event === "read") markRead(data);
    if (event === "tabs") $("tabs").textContent = data === 1 ? "This is the only tab that is open" : `${data} tabs are open`;
  });
  fanfare.on("state", draw);

  $("read").addEventListener("click", () => {
    const last = $("notes").querySelector("[data-pos]").dataset.pos;
    markRead(last);
    // The other tabs of this user, here and elsewhere; not this one.
    fanfare.publish(userAddress(me), last, { event: "read", echo: false, queue: false }).catch(() => {});
  });

  /** All up to a place in the log has been read. */
  function markRead(pos) {
    const at = [...$("notes").children].findIndex((note) => note.dataset.pos === pos);
    if (at < 0) return;
    localStorage.setItem(seen, pos);
    for (const note of [...$("notes").children].slice(at)) note.classList.remove("unread");
    unread = $("notes").querySelectorAll(".unread").length;
    draw();
  }

  function draw() {
    $("unread").textContent = unread;
    $("unread").hidden = $("read").disabled = unread === 0;
    document.title = `${unread ? `(${unread}) ` : ""}Notifications of ${me}`;
    $("state").textContent = $("state").dataset.state = fanfare.state;
  }
}

$("leave").addEventListener("click", () => {
  sessionStorage.removeItem("name");
  location.reload();
});

$("notify").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { to, text, keep } = event.target.elements;
  const body = JSON.stringify({ to: to.value.trim() || null, text: text.value, keep: keep.checked && !keep.disabled });
  const answer = await fetch("notify", { method: "POST", headers: { "content-type": "application/json" }, body }).catch(() => null);
  if (answer?.ok) text.value = "";
  else toast(`Not sent: ${answer ? await answer.text() : "the server cannot be reached"}`);
});
// What is for everybody is not kept for anybody.
$("notify").addEventListener("input", ({ currentTarget: { elements } }) => (elements.keep.disabled = !elements.to.value.trim()));
$("notify").elements.to.value = me ?? "";

function item(text, time, pos) {
  const note = make("li", "unread", text);
  note.dataset.pos = pos;
  const when = new Date(time);
  const today = when.toDateString() === new Date().toDateString();
  const shown = today ? when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : when.toLocaleDateString([], { day: "numeric", month: "short" });
  note.append(Object.assign(make("time", "", shown), { dateTime: when.toISOString(), title: when.toLocaleString() }));
  return note;
}

function toast(text) {
  const shown = make("li", "", text);
  $("toasts").append(shown);
  setTimeout(() => shown.remove(), TOAST_MS);
}

function make(tag, className, text) {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}
