/**
 * Where one can be: rooms, which are logged topics `chat.ROOM`, and what two users write to each other, which the server keeps nowhere
 * and brings to all tabs of both. A private place has the name of the other user.
 */

import { newMessageId, topicName } from "./fanfare.js";
import { RoomLog, readLine } from "./log.js";
import { users } from "./people.js";
import { $, avatar, button, count, icon, load, make, ofBrowser, ofTab, save, showToast } from "./page.js";

const ROOMS = ["lobby", "music", "random"];
const MAX_PLACES = 30;
const LAST = 50;
const KEPT = 100; // private lines of one user, in this tab, so that they outlast a reload
const WHY = {
  epoch: "the server was started anew",
  history: "older than what the server keeps",
  slow: "this connection was too slow",
  backend: "the servers lost touch for a while",
};

const roomName = (text) => text.trim().replace(/^[#@]\s*/, "").replace(/\s+/g, " ").slice(0, 40);
const keyOf = (name, isPrivate) => (isPrivate ? `@${name}` : name);

export class Places extends EventTarget {
  current;
  #fanfare;
  #me;
  #all = new Map(); // key -> { key, name, isPrivate, log, sub, unread, missed, caught, gap, joined, began, item, lines }

  /** Tells `open` (another one is shown), `change` (what is known of the shown one), `read` (of a user's line that has come). */
  constructor(fanfare, me) {
    super();
    this.#fanfare = fanfare;
    this.#me = me;
    fanfare.on("direct", (message) => this.#receivePrivate(message));
    fanfare.on("gap", (gap) => gap.topic === "$direct" && this.#missedPrivate(gap));
    this.#restore();
    addEventListener("hashchange", () => this.#fromHash());
  }

  // ---- rooms and private places ----

  open(text, isPrivate = false) {
    const name = isPrivate ? text : roomName(text);
    const key = keyOf(name, isPrivate);
    if (!name) return;
    if (!this.#all.has(key) && this.#all.size >= MAX_PLACES) return showToast(`${MAX_PLACES} are enough: leave one first`);
    const place = this.#add(name, isPrivate);
    const before = this.current;
    this.current = place;
    if (!isPrivate) this.#join(place);
    place.unread = 0;
    for (const other of this.#all.values()) other.log.element.hidden = other !== place;
    place.log.settle();
    if (isPrivate) place.log.showEmpty();
    this.#remember();
    history.replaceState(null, "", `#${encodeURIComponent(key)}`);
    if (before && this.#all.has(before.key)) this.#draw(before);
    this.#draw(place);
    if (before !== place) this.#tell("open");
  }

  #add(name, isPrivate) {
    const key = keyOf(name, isPrivate);
    const known = this.#all.get(key);
    if (known) return known;
    const words = isPrivate
      ? { label: `Private lines with ${name}`, title: `Between ${name} and you`, hint: "In every tab that either of you has open, and kept nowhere." }
      : { label: `Messages in ${name}`, title: `This is # ${name}`, hint: "Nothing has been said yet. Begin!" };
    const place = { key, name, isPrivate, unread: 0, missed: undefined, caught: 0, joined: false, lines: [] };
    place.log = new RoomLog(words, this.#me, () => this.#tell("change"));
    place.log.element.hidden = true;
    $("logs").prepend(place.log.element);
    this.#all.set(key, place);
    this.#draw(place);
    return place;
  }

  #join(room) {
    if (room.joined) return;
    room.joined = true;
    room.sub = this.#fanfare.subscribe(topicName("chat", room.name), { last: LAST, presence: true });
    room.sub.on("subscribed", () => (room.caught = 0));
    room.sub.on("message", (message) => this.#receive(room, readLine(message)));
    room.sub.on("gap", (gap) => this.#showGap(room, gap));
    room.sub.on("live", () => this.#caughtUp(room));
    room.sub.on("presence", () => this.#tell("people"));
    room.sub.on("error", (error) => room.log.notice(`${error.retry ? "Not open at the moment" : "This room can't be opened"}: ${error.code}`));
  }

  leave(place) {
    place.sub?.unsubscribe();
    place.log.element.remove();
    place.item.remove();
    this.#all.delete(place.key);
    this.#remember();
    this.#keep(place, []);
    if (place === this.current) this.open([...this.#all.values()].find((other) => !other.isPrivate)?.name ?? ROOMS[0]);
    this.#drawUnread();
  }

  /** The rooms in which a user is, of those that are joined. */
  whereIs(user) {
    return [...this.#all.values()].filter((place) => users(place.sub).has(user)).map((place) => place.name);
  }

  // ---- lines ----

  say(text) {
    const place = this.current;
    const line = { from: this.#me, text, time: Date.now(), id: newMessageId() };
    place.log.wait(line);
    const sending = place.isPrivate
      ? this.#fanfare.call("whisper", { to: place.name, text, id: line.id })
      : this.#fanfare.publish(place.sub.topic, { text }, { messageId: line.id });
    sending.then(
      () => place.log.sent(line.id),
      (error) => {
        const why = error.code === "unknown_outcome" ? "It is not known whether this arrived." : `Not sent: ${error.message}.`;
        place.log.failed(line.id, why, () => this.current === place && this.say(text));
      },
    );
  }

  #receive(place, line) {
    if (!line || !place.log.add(line)) return;
    place.caught += 1;
    this.dispatchEvent(new CustomEvent("read", { detail: { place, from: line.from } }));
    const isCurrent = place === this.current;
    const isSeen = isCurrent && document.visibilityState === "visible";
    if (!isSeen && line.from !== this.#me && (place.began || place.isPrivate)) place.unread += 1;
    else if (isCurrent && !place.log.atEnd) place.unread += 1;
    this.#draw(place);
    if (isCurrent) this.#tell("change");
  }

  /** The server says whom it is from: this user wrote it, in whichever tab, or is written to. */
  #receivePrivate(message) {
    const { from, to, id } = message.data ?? {};
    if (message.event !== "private" || typeof from !== "string" || typeof to !== "string") return;
    const name = from === this.#me ? to : from;
    if (!this.#all.has(keyOf(name, true)) && this.#all.size >= MAX_PLACES) return showToast(`${from} has written to you: leave a room to see it`);
    const place = this.#add(name, true);
    const line = readLine({ ...message, from: { user: from }, messageId: id });
    this.#receive(place, line);
    if (line) this.#keep(place, [...place.lines, line].slice(-KEPT));
  }

  #missedPrivate({ missed, reason }) {
    for (const place of this.#all.values()) if (place.isPrivate) place.log.gap(missed, WHY[reason] ?? reason);
  }

  /** Nobody keeps private lines: what was written while there was no connection is not known. */
  wasAway(since) {
    const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
    for (const place of this.#all.values()) {
      if (place.isPrivate) place.log.notice(`No connection at ${clock.format(since)}: what was written then is not here`);
    }
  }

  #showGap(room, gap) {
    room.gap = room.log.gap(gap.missed, WHY[gap.reason] ?? gap.reason);
    room.missed = { count: (room.missed?.count ?? 0) + (gap.missed ?? 0), unknown: gap.missed === undefined || room.missed?.unknown };
    this.#tell("change");
  }

  /** All that was missed is here: offer what lies further back, and say what the break has cost. */
  #caughtUp(room) {
    if (!room.began) {
      room.began = true;
      room.log.showEmpty();
      if (room.log.count >= LAST) this.#offerEarlier(room);
    } else if (room === this.current && !room.missed) {
      showToast(room.caught ? `Back: caught up on ${count(room.caught, "line", "lines")}, none missed` : "Back: nothing was missed");
    }
    room.caught = 0;
    this.#tell("change");
  }

  #offerEarlier(room) {
    room.log.offerEarlier(async () => {
      try {
        const page = await this.#fanfare.history(room.sub.topic, { before: room.log.firstPos, limit: LAST });
        room.log.prepend(page.messages.map(readLine).filter(Boolean));
        if (!page.more) room.log.offerEarlier(null);
      } catch (error) {
        showToast(error.retry ? "Not now: there is no connection" : `The server refused: ${error.code}`);
      }
      this.#tell("change");
    });
  }

  /** What is at the end of the shown log was read, if somebody looks. */
  look() {
    const place = this.current;
    if (!place?.unread || !place.log.atEnd || document.visibilityState !== "visible") return;
    place.unread = 0;
    this.#draw(place);
  }

  #tell(what) {
    this.dispatchEvent(new CustomEvent(what));
  }

  // ---- the list of them ----

  #draw(place) {
    place.item ??= this.#item(place);
    const { item, log, name } = place;
    const last = log.last;
    const nothing = place.isPrivate ? "Nothing written yet" : place.joined ? "No messages yet" : "Not joined yet";
    item.querySelector("small").textContent = last ? `${last.from === this.#me ? "You" : last.from}: ${last.text}` : nothing;
    const unread = item.querySelector(".unread");
    unread.textContent = place.unread > 99 ? "99+" : String(place.unread);
    unread.hidden = !place.unread;
    item.classList.toggle("current", place === this.current);
    item.classList.toggle("joined", place.joined || place.isPrivate);
    item.querySelector(".room").toggleAttribute("aria-current", place === this.current);
    if (place.isPrivate) item.querySelector(".face").classList.toggle("is-here", this.whereIs(name).length > 0);
    this.#drawUnread();
  }

  #item(place) {
    const item = make("li");
    const row = button("room", "", () => this.open(place.name, place.isPrivate));
    const text = make("span", "about");
    const face = make("span", place.isPrivate ? "face" : "hash", place.isPrivate ? undefined : "#");
    if (place.isPrivate) face.append(avatar(place.name));
    text.append(make("strong", "", place.name), make("small"));
    row.append(face, text, make("b", "unread"));
    const close = button("icon leave", place.isPrivate ? `Close the lines with ${place.name}` : `Leave ${place.name}`, () => this.leave(place));
    close.append(icon("close"));
    item.append(row, close);
    $(place.isPrivate ? "privates" : "rooms").append(item);
    return item;
  }

  /** Who is here has changed. */
  drawPeople() {
    for (const place of this.#all.values()) if (place.isPrivate) this.#draw(place);
  }

  #drawUnread() {
    const total = [...this.#all.values()].reduce((sum, place) => sum + place.unread, 0);
    document.title = `${total ? `(${total}) ` : ""}${this.current?.name ?? "Fanfare"} · Fanfare chat`;
    $("menu").classList.toggle("has-unread", total > (this.current?.unread ?? 0));
    $("privates-title").hidden = ![...this.#all.values()].some((place) => place.isPrivate);
  }

  // ---- what outlasts a reload ----

  #restore() {
    const rooms = parsed(load(ofBrowser, "rooms")).filter((name) => typeof name === "string" && name && roomName(name) === name);
    const joined = rooms.slice(0, MAX_PLACES / 2);
    for (const name of new Set([...ROOMS, ...joined])) this.#add(name, false);
    for (const name of joined) this.#join(this.#all.get(name));
    for (const [name, lines] of parsed(load(ofTab, `private.${this.#me}`)).slice(0, MAX_PLACES / 3)) {
      const place = this.#add(name, true);
      for (const line of (place.lines = lines)) place.log.add(line);
      this.#draw(place);
    }
  }

  /** Opens what the address names, else the first room. */
  start() {
    this.#fromHash();
    if (!this.current) this.open(ROOMS[0]);
    for (const place of this.#all.values()) this.#draw(place);
  }

  #fromHash() {
    try {
      const key = decodeURIComponent(location.hash.slice(1));
      if (key !== this.current?.key) this.open(key.replace(/^@/, ""), key.startsWith("@"));
    } catch {
      // no text
    }
  }

  #remember() {
    save(ofBrowser, "rooms", JSON.stringify([...this.#all.values()].filter((place) => place.joined).map((place) => place.name)));
  }

  #keep(place, lines) {
    if (!place.isPrivate) return;
    place.lines = lines;
    const kept = [...this.#all.values()].filter((other) => other.lines.length).map((other) => [other.name, other.lines]);
    save(ofTab, `private.${this.#me}`, JSON.stringify(kept));
  }
}

function parsed(text) {
  try {
    const value = JSON.parse(text ?? "[]");
    return Array.isArray(value) ? value : [];
  } catch {
    return [];
  }
}
