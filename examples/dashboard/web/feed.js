/**
 * The events of several topics over one `EventSource`, for as long as the page is open.
 *
 * The browser comes back by itself when a connection breaks, and says where it stopped. Two things it does not do, and so
 * they are done here: a connection on which nothing comes any more (the network is gone, the server hangs) is given up, and
 * one that was answered by an error is tried again. Both begin after the cursor of the last event.
 */

const PATIENCE = 15_000;
const FIRST_DELAY = 1_000;
const LONGEST_DELAY = 15_000;
const MESSAGES = ["message", "$gap", "$live", "$cursor", "$close"];

export class Feed {
  /** `connecting`, `open`, `closing` (the server said that it ends) or `lost`. */
  state = "connecting";
  /** When the state began, by this machine's clock. */
  since = Date.now();
  #url;
  #on;
  #cursor;
  #source;
  #timer;
  #delay = FIRST_DELAY;

  /** `url(cursor)` names the stream from its beginning, or after a cursor; `on` is told `message`, `gap`, `live` and `state`. */
  constructor(url, on) {
    this.#url = url;
    this.#on = on;
    this.#open();
    addEventListener("online", () => this.#reopen());
  }

  #reopen() {
    this.#source.close();
    this.#enter("lost");
    this.#open();
  }

  #open() {
    const source = (this.#source = new EventSource(this.#url(this.#cursor)));
    source.onopen = () => this.#opened();
    source.onerror = () => this.#failed(source);
    for (const type of MESSAGES) source.addEventListener(type, (event) => this.#receive(event));
    this.#reopenAfter(PATIENCE);
  }

  #opened() {
    this.#delay = FIRST_DELAY;
    this.#enter("open");
    this.#reopenAfter(PATIENCE);
  }

  #receive(event) {
    if (event.lastEventId) this.#cursor = event.lastEventId;
    this.#reopenAfter(PATIENCE);
    const frame = JSON.parse(event.data);
    if (event.type === "message") this.#on.message(frame);
    else if (event.type === "$gap") this.#on.gap(frame);
    else if (event.type === "$live") this.#on.live(frame);
    else if (event.type === "$close") this.#enter("closing");
  }

  #failed(source) {
    if (this.state !== "closing") this.#enter("lost");
    if (source.readyState !== EventSource.CLOSED) return this.#reopenAfter(PATIENCE);
    // An error for an answer: the browser leaves it at that.
    this.#enter("lost");
    this.#forgetCursorIfRefused();
    this.#reopenAfter(this.#delay);
    this.#delay = Math.min(this.#delay * 2, LONGEST_DELAY);
  }

  /** The server may be another one by now, to which the cursor means nothing. An `EventSource` does not tell, so ask again. */
  async #forgetCursorIfRefused() {
    const cursor = this.#cursor;
    const answer = await fetch(this.#url(cursor), { method: "HEAD" }).catch(() => undefined);
    if (answer?.status === 400 && this.#cursor === cursor) this.#cursor = undefined;
  }

  #reopenAfter(milliseconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#reopen(), milliseconds);
  }

  #enter(state) {
    if (this.state === state) return;
    this.state = state;
    this.since = Date.now();
    this.#on.state(state);
  }
}
