/** What the page knows: the value of each figure now, the samples of the last minutes, and where some are missing. */

/** How much of a doubt a message that comes late raises about the server's clock. */
const DOUBT = 0.02;

export class Model {
  /** By key: `{ value, time }`, times being the server's, in ms. */
  now = new Map();
  /** Oldest first: `{ time, values, gap }`. `gap` is why samples are missing before this one, if it is known. */
  samples = [];
  #keep;
  #every;
  #ahead;
  #gap;

  /** At most `keep` samples, one each `every` ms; `now` is the server's time. */
  constructor({ keep, every, now }) {
    this.#keep = keep;
    this.#every = every;
    this.#ahead = Date.now() - now;
  }

  /** The server's time, as far as this page can know it. */
  clock() {
    return Date.now() - this.#ahead;
  }

  /** A message of this time has just come. The quickest way so far tells the clocks apart best. */
  heardAt(time) {
    const ahead = Date.now() - time;
    this.#ahead = ahead < this.#ahead ? ahead : this.#ahead + (ahead - this.#ahead) * DOUBT;
  }

  set(key, value, time) {
    this.now.set(key, { value, time });
  }

  add(time, values) {
    // A server whose clock was set back tells those minutes anew.
    while (this.samples.at(-1)?.time >= time) this.samples.pop();
    this.samples.push({ time, values, gap: this.samples.length ? this.#gap : undefined });
    this.#gap = undefined;
    if (this.samples.length > this.#keep) this.samples.shift();
  }

  /** Samples are missing here. */
  break(reason) {
    this.#gap = reason;
  }

  /** How old a value is, once it is so old that it may be wrong; else nothing. */
  staleFor(time) {
    const age = this.clock() - time;
    return age > 3.5 * this.#every ? age : undefined;
  }

  /** Unbroken runs of samples from a time on, with the one before it, so that a line reaches the edge. */
  runs(from) {
    const runs = [];
    let last;
    for (const sample of this.samples.slice(this.#firstFrom(from))) {
      if (!last || this.#isBroken(last, sample)) runs.push([]);
      runs.at(-1).push(sample);
      last = sample;
    }
    return runs;
  }

  /** Times without samples: `{ from, to, reason, open }`; the last one may go on (`open`). */
  gaps(from) {
    const runs = this.runs(from);
    const gaps = runs.slice(1).map((run, index) => ({ from: runs[index].at(-1).time, to: run[0].time, reason: run[0].gap }));
    const last = this.samples.at(-1);
    if (last && this.staleFor(last.time)) gaps.push({ from: last.time, to: this.clock(), open: true });
    return gaps;
  }

  /** The sample of a time, if there is one. */
  at(time) {
    const index = this.#firstFrom(time);
    const nearest = [this.samples[index], this.samples[index + 1]].filter(Boolean).sort((a, b) => distance(a) - distance(b))[0];
    function distance(sample) {
      return Math.abs(sample.time - time);
    }
    return nearest && distance(nearest) <= this.#every ? nearest : undefined;
  }

  /** Where samples from a time on begin, less one. */
  #firstFrom(time) {
    const index = this.samples.findIndex((sample) => sample.time >= time);
    return index < 0 ? Math.max(this.samples.length - 1, 0) : Math.max(index - 1, 0);
  }

  #isBroken(last, sample) {
    return sample.gap !== undefined || sample.time - last.time > 2.5 * this.#every;
  }
}
