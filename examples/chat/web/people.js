/** Who is in the room that is open, by user whatever number of tabs they have, and who is typing there. */

import { topicName } from "./fanfare.js";
import { $, avatar, button, count, make } from "./page.js";

const TYPING_MS = 5_000; // how long one says it is believed
const MAX_TYPING = 20;
const FACES = 3;

/** The users among a topic's members: each once, with how many tabs. @returns {Map<string, number>} */
export function users(sub) {
  const tabs = new Map();
  for (const { user } of sub?.members.values() ?? []) if (user !== undefined) tabs.set(user, (tabs.get(user) ?? 0) + 1);
  return tabs;
}

export class People {
  #fanfare;
  #me;
  #write;
  #room; // the subscription of the room that is open
  #typing; // and that of who is typing there
  #toldAt = 0;
  #typists = new Map(); // user -> timer

  /** @param {(user: string) => void} write  called for the user that somebody wants to write to */
  constructor(fanfare, me, write) {
    this.#fanfare = fanfare;
    this.#me = me;
    this.#write = write;
  }

  /** Shows the people of another room; of none where two write to each other. */
  show(room) {
    this.#room = room.sub;
    this.#typing?.unsubscribe();
    this.#typing = undefined;
    this.#toldAt = 0;
    for (const user of [...this.#typists.keys()]) this.stopsTyping(user);
    if (room.sub) {
      this.#typing = this.#fanfare.subscribe(topicName("typing", room.name));
      this.#typing.on("message", (message) => this.#types(message));
    }
    this.draw();
  }

  draw() {
    const here = users(this.#room);
    const others = [...here.keys()].filter((user) => user !== this.#me).sort((a, b) => a.localeCompare(b));
    const names = here.has(this.#me) ? [this.#me, ...others] : others;
    const focused = document.activeElement?.closest("#members li")?.dataset.user;
    const items = names.map((name) => this.#member(name, here.get(name)));
    $("members").replaceChildren(...items);
    if (focused !== undefined) items.find((item) => item.dataset.user === focused)?.firstChild.focus();
    // A large room is told page by page.
    const total = this.#room?.users ?? names.length;
    const rest = this.#room && this.#room.next !== undefined;
    $("more").hidden = !rest;
    $("more").textContent = `Show more of ${total}`;
    $("more").onclick = () => this.#room.more().catch(() => {});
    $("people-count").textContent = String(total);
    $("here").hidden = !this.#room;
    $("here").setAttribute("aria-label", `${count(total, "person", "people")} in this room`);
    const faces = (others.length ? others : names).slice(0, FACES).map(avatar);
    $("here").replaceChildren(...faces, make("b", "", String(total)));
  }

  #member(name, tabs) {
    const item = make("li");
    const isMe = name === this.#me;
    const who = make("span", "who");
    const note = isMe ? "You" : this.#typists.has(name) ? "typing …" : "";
    who.append(make("strong", "", name), make("small", "", [note, tabs > 1 ? count(tabs, "tab", "tabs") : ""].filter(Boolean).join(" · ")));
    const face = make("span", "face");
    face.append(avatar(name));
    const row = isMe ? make("div", "member") : button("member", `Write to ${name}, privately`, () => this.#write(name));
    row.append(face, who);
    item.append(row);
    item.dataset.user = name;
    item.dataset.tabs = String(tabs);
    return item;
  }

  #types({ from, data }) {
    const user = from?.user;
    if (user === undefined || user === this.#me) return;
    this.stopsTyping(user);
    if (!data?.typing || this.#typists.size >= MAX_TYPING) return;
    this.#typists.set(user, setTimeout(() => this.stopsTyping(user), TYPING_MS));
    this.#drawTyping();
  }

  stopsTyping(user) {
    clearTimeout(this.#typists.get(user));
    if (this.#typists.delete(user)) this.#drawTyping();
  }

  /** Worth nothing when it comes late: not queued while offline, and lost without regret. */
  tellTyping(on) {
    if (!this.#typing || (on && Date.now() - this.#toldAt < TYPING_MS / 2) || (!on && !this.#toldAt)) return;
    this.#toldAt = on ? Date.now() : 0;
    this.#fanfare.publish(this.#typing.topic, { typing: on }, { echo: false, queue: false }).catch(() => {});
  }

  #drawTyping() {
    const names = [...this.#typists.keys()];
    const [one, two] = names;
    const text = names.length > 2 ? `${names.length} people are typing` : names.length === 2 ? `${one} and ${two} are typing` : `${one} is typing`;
    $("typing").replaceChildren(...(names.length ? [make("i"), make("span", "", text)] : []));
    this.draw();
  }
}
