/** The log of one room, or of what two write to each other: lines in their order, own lines that wait for their confirmation, dividers. */

import { avatar, icon, make } from "./page.js";

const GROUP_MS = 5 * 60_000; // lines of one author within this time stand together
const KEEP = 1_000; // lines on the page; older ones can be fetched again
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

/** What a message says, or nothing where another program sent something that is no chat line. Who wrote it says the server. */
export function readLine({ data, from, time = Date.now(), messageId: id, pos }) {
  if (typeof data?.text !== "string" || !data.text.trim()) return undefined;
  return { from: from?.user ?? "Nobody", text: data.text.slice(0, 2_000), time, id, pos };
}

export class RoomLog {
  element = make("div", "log");
  #list = make("ol", "lines");
  #waiting = make("ol", "lines waiting"); // own lines stand last until the topic has given them their place
  #earlier = make("button", "earlier", "Earlier messages");
  #empty = make("p", "empty");
  #lines = []; // { line, row } in the order of the topic
  #ids = new Map(); // message_id -> row, so that a line shows once whichever way it comes
  #pending = new Map(); // message_id -> { line, row, sent }
  #me;
  #stuck = true;

  /** @param {{ label: string, title: string, hint: string }} words  what it is, and what stands there while it is empty
   * @param {string} me  this page's user @param {() => void} onScroll  called when the log was scrolled or has grown */
  constructor({ label, title, hint }, me, onScroll) {
    this.#me = me;
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "log");
    this.element.setAttribute("aria-label", label);
    this.#earlier.type = "button";
    this.#earlier.hidden = true;
    this.#empty.append(make("strong", "", title), make("span", "", hint));
    this.#empty.hidden = true;
    this.element.append(this.#earlier, this.#empty, this.#list, this.#waiting);
    this.element.addEventListener("scroll", () => {
      const { scrollTop, scrollHeight, clientHeight } = this.element;
      this.#stuck = scrollHeight - scrollTop - clientHeight < 60;
      onScroll();
    });
    // A keyboard that opens or a banner that appears must not hide the last line.
    new ResizeObserver(() => this.settle()).observe(this.element);
  }

  get count() {
    return this.#lines.length;
  }
  get last() {
    return this.#lines.at(-1)?.line;
  }
  get firstPos() {
    return this.#lines[0]?.line.pos;
  }
  get people() {
    return new Set(this.#lines.map(({ line }) => line.from)).size;
  }
  get atEnd() {
    return this.#stuck;
  }

  /** Adds a line at the end; false where it is there already. */
  add(line) {
    if (line.id !== undefined && this.#ids.has(line.id)) return false;
    this.#drop(line.id);
    const row = this.#row(line);
    this.#place(this.#list, this.#lines.at(-1)?.line, line, row);
    this.#lines.push({ line, row });
    if (line.id !== undefined) this.#ids.set(line.id, row);
    if (this.#lines.length > KEEP && this.#stuck) this.#forget();
    this.#empty.hidden = true;
    this.settle();
    return true;
  }

  /** Puts older lines above the others, without moving what is being read. */
  prepend(lines) {
    const fresh = lines.filter((line) => line.id === undefined || !this.#ids.has(line.id));
    const above = document.createDocumentFragment();
    const entries = fresh.map((line) => ({ line, row: this.#row(line) }));
    entries.forEach(({ line, row }, i) => {
      this.#place(above, entries[i - 1]?.line, line, row);
      if (line.id !== undefined) this.#ids.set(line.id, row);
    });
    const [newest, oldest] = [entries.at(-1)?.line, this.#lines[0]];
    if (newest && oldest) {
      if (sameDay(newest, oldest.line)) this.#list.querySelector(".day")?.remove();
      oldest.row.classList.toggle("first", !together(newest, oldest.line));
    }
    const fromEnd = this.element.scrollHeight - this.element.scrollTop;
    this.#list.prepend(above);
    this.#lines.unshift(...entries);
    this.element.scrollTop = this.element.scrollHeight - fromEnd;
  }

  /** Shows an own line that nobody has confirmed yet. */
  wait(line) {
    const row = this.#row(line);
    row.classList.add("pending", "first");
    const before = [...this.#pending.values()].at(-1)?.line ?? this.last;
    row.classList.toggle("first", !before || !together(before, line));
    this.#pending.set(line.id, { line, row, sent: false });
    this.#waiting.append(row);
    this.#empty.hidden = true;
    this.#stuck = true;
    this.settle();
  }

  /** The server has the line; its place in the log follows with the message itself. */
  sent(id) {
    const entry = this.#pending.get(id);
    if (!entry) return;
    entry.sent = true;
    entry.row.classList.remove("pending");
  }

  /** The line was not accepted: says why and offers to send it again or to give it up. */
  failed(id, why, again) {
    const entry = this.#pending.get(id);
    if (!entry) return;
    entry.row.classList.replace("pending", "failed");
    const note = make("p", "note", `${why} `);
    const retry = make("button", "", "Send again");
    const forget = make("button", "", "Discard");
    retry.type = forget.type = "button";
    retry.onclick = () => (this.#drop(id), again());
    forget.onclick = () => this.#drop(id);
    note.append(retry, forget);
    entry.row.querySelector(".body").append(note);
    this.settle();
  }

  /** A line across the log where messages are missing. */
  gap(missed, why) {
    // What was accepted just before the loss will not come again: it stays where it is.
    for (const [id, entry] of [...this.#pending]) if (entry.sent) this.add({ ...entry.line, id });
    const text = missed === undefined ? "Some messages are missing here" : `${missed} ${missed === 1 ? "message is" : "messages are"} missing here`;
    const row = make("li", "divider gap");
    const label = make("span", "", text);
    label.append(make("small", "", why));
    row.append(label);
    this.#list.append(row);
    this.settle();
    return row;
  }

  notice(text) {
    const row = make("li", "divider notice");
    row.append(make("span", "", text));
    this.#list.append(row);
    this.settle();
  }

  /** Shows the button for older lines, or hides it where there are none. @param {(() => Promise<void>) | null} fetch */
  offerEarlier(fetch) {
    this.#earlier.hidden = !fetch;
    this.#earlier.onclick = async () => {
      this.#earlier.disabled = true;
      await fetch?.();
      this.#earlier.disabled = false;
    };
  }

  showEmpty() {
    this.#empty.hidden = this.count + this.#pending.size > 0;
  }

  /** Stays at the end where the reader is at the end. */
  settle() {
    if (this.#stuck) this.element.scrollTop = this.element.scrollHeight;
  }
  toEnd() {
    this.#stuck = true;
    this.element.scrollTo({ top: this.element.scrollHeight, behavior: "smooth" });
  }

  #drop(id) {
    this.#pending.get(id)?.row.remove();
    this.#pending.delete(id);
    // The one that is now the first of the waiting lines may follow someone else.
    const next = [...this.#pending.values()][0];
    if (next && this.last) next.row.classList.toggle("first", !together(this.last, next.line));
  }

  #forget() {
    const { line, row } = this.#lines.shift();
    this.#ids.delete(line.id);
    while (this.#list.firstChild !== row) this.#list.firstChild.remove();
    row.remove();
    this.#lines[0].row.classList.add("first");
  }

  #place(parent, before, line, row) {
    if (!before || !sameDay(before, line)) {
      const day = make("li", "divider day");
      day.append(make("span", "", sameDay(line, { time: Date.now() }) ? "Today" : DAY.format(line.time)));
      parent.append(day);
    }
    const divided = parent.lastElementChild?.classList.contains("divider");
    row.classList.toggle("first", divided || !together(before, line));
    parent.append(row);
  }

  #row(line) {
    const row = make("li", line.from === this.#me ? "line own" : "line");
    const body = make("div", "body");
    const nick = make("strong", "nick", line.from);
    const bubble = make("div", "bubble");
    const text = make("span", "text");
    const time = make("time", "", CLOCK.format(line.time));
    time.dateTime = new Date(line.time).toISOString();
    const face = avatar(line.from);
    row.style.setProperty("--hue", face.style.getPropertyValue("--hue"));
    if (/^(\p{Extended_Pictographic}[\u{fe0f}\u{200d}\u{1f3fb}-\u{1f3ff}]*){1,3}$/u.test(line.text)) bubble.classList.add("emoji");
    text.append(...withLinks(line.text));
    bubble.append(text, time);
    if (line.from === this.#me) time.append(icon("check"), icon("clock"));
    body.append(nick, bubble);
    row.append(face, body);
    return row;
  }
}

function together(a, b) {
  return a.from === b.from && Math.abs(b.time - a.time) < GROUP_MS;
}

function sameDay(a, b) {
  return new Date(a.time).toDateString() === new Date(b.time).toDateString();
}

function withLinks(text) {
  return text.split(/(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]])/).map((part, i) => {
    if (i % 2 === 0) return document.createTextNode(part);
    const link = make("a", "", part);
    Object.assign(link, { href: part, target: "_blank", rel: "noopener noreferrer" });
    return link;
  });
}
