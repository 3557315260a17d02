/** The page: a feed fills a model, and what is in sight of it is drawn once a second, and whenever a sample comes. */

import { Chart } from "./chart.js";
import { Feed } from "./feed.js";
import { Model } from "./model.js";
import { duration } from "./scale.js";
import { make, repeat, set } from "./svg.js";
import { Tile } from "./tile.js";

const $ = (id) => document.getElementById(id);
const about = await load("figures.json");
const model = new Model({ keep: about.kept, every: about.every_ms, now: about.now_ms });
const charts = about.charts.map((spec) => new Chart(spec, { point, leave, key: step, resize: schedule }));
const tiles = about.tiles.map((figure) => new Tile(figure));
let isCaughtUp = false;
let scheduled = false;
/** Where the reader points, as a part of the width; or the time that the arrow keys have come to. */
let cursor = {};
let span = 5 * 60_000;

$("host").textContent = about.host;
$("tiles").append(...tiles.map(({ element }) => element));
$("charts").prepend(...charts.map(({ element }) => element));

// The last value of each figure, and all samples that are kept; or what came after the cursor.
const stream = `events?topic=${about.now}&topic=${about.past}&latest=true`;
const feed = new Feed((after) => (after ? `${stream}&after=${encodeURIComponent(after)}` : stream), {
  message({ topic, key, time, data }) {
    if (isCaughtUp) model.heardAt(time);
    if (topic === about.now) model.set(key, data, time);
    if (topic === about.past) model.add(time, data);
    schedule();
  },
  gap: ({ topic, gap }) => topic === about.past && model.break(gap.reason),
  live: ({ topic }) => (isCaughtUp ||= topic === about.past),
  state(state) {
    if (state !== "open") isCaughtUp = false;
    schedule();
  },
});

// The axis moves on, and values grow stale, whether or not anything comes.
setInterval(schedule, 1_000);
document.addEventListener("visibilitychange", schedule);

function schedule() {
  if (scheduled || document.hidden) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    draw();
  });
}

function draw() {
  const to = model.clock();
  // As long as less is known than fits, it has all the room.
  const known = to - (model.samples[0]?.time ?? to);
  const from = to - Math.min(Math.max(known, 60_000), span);
  const time = cursor.part === undefined ? cursor.time : from + cursor.part * (to - from);
  const view = { from, to, cursor: time === undefined ? undefined : Math.min(Math.max(time, from), to) };
  for (const tile of tiles) tile.draw(model);
  for (const chart of charts) chart.draw(model, view);
  drawTopics();
  drawState();
}

function drawTopics() {
  const topics = model.now.get("topics")?.value ?? [];
  const most = Math.max(...topics.map(({ subscribers }) => subscribers), 1);
  const create = () => make("li", {}, make("span"), make("b"), make("i"));
  repeat($("topics"), topics, create, ({ children: [name, count, bar] }, { topic, subscribers }) => {
    name.textContent = topic;
    count.textContent = subscribers;
    bar.style.width = `${(subscribers / most) * 100}%`;
  });
  const level = model.now.get("demo")?.value;
  for (const input of document.querySelectorAll("#demo input")) input.checked = input.value === level;
}

function drawState() {
  const last = Math.max(...[...model.now.values()].map(({ time }) => time));
  const silent = Number.isFinite(last) ? model.staleFor(last) : undefined;
  const lost = Date.now() - feed.since;
  const away = lost < 3_000 ? "reconnecting" : `no connection for ${duration(lost)}`;
  const [name, words] = {
    connecting: ["connecting", "connecting"],
    open: silent ? ["silent", `silent for ${duration(silent)}`] : ["live", "live"],
    closing: ["lost", lost < 3_000 ? "the server says goodbye" : away],
    lost: ["lost", away],
  }[feed.state];
  $("state").dataset.state = name;
  $("words").textContent = words;
  // Once per change, not once per second.
  if ($("status").dataset.state !== name) $("status").textContent = name === "live" ? "Live" : name === "silent" ? "Values are stale" : "No connection";
  $("status").dataset.state = name;
  document.title = name === "live" ? "Fanfare dashboard" : `(${name}) Fanfare dashboard`;
}

// ---- what the reader does ----

function point(part) {
  cursor = { part: Math.min(Math.max(part, 0), 1) };
  schedule();
}

function leave() {
  cursor = {};
  schedule();
}

function step(event) {
  const { samples } = model;
  if (!samples.length || !["ArrowLeft", "ArrowRight", "Home", "End", "Escape"].includes(event.key)) return;
  event.preventDefault();
  if (event.key === "Escape") return leave();
  const oldest = samples.findIndex(({ time }) => time >= model.clock() - span);
  const here = samples.findIndex(({ time }) => time >= (cursor.time ?? Infinity));
  const from = here < 0 ? samples.length - 1 : here;
  const by = event.shiftKey ? 10 : 1;
  const to = { ArrowLeft: from - by, ArrowRight: from + by, Home: oldest, End: samples.length - 1 }[event.key];
  cursor = { time: samples[Math.min(Math.max(to, oldest, 0), samples.length - 1)].time };
  draw();
  const chart = charts.find(({ plot }) => plot === event.currentTarget);
  $("status").textContent = chart.said;
}

for (const input of document.querySelectorAll("#span input")) {
  input.addEventListener("change", () => {
    span = Number(input.value) * 60_000;
    schedule();
  });
}

for (const input of document.querySelectorAll("#demo input")) {
  input.addEventListener("change", async () => {
    const headers = { "content-type": "application/json" };
    const answer = await fetch("publish?topic=demo.level", { method: "POST", headers, body: JSON.stringify(input.value) }).catch(() => undefined);
    if (!answer?.ok) schedule();
  });
}

const THEMES = ["auto", "light", "dark"];
function theme(name) {
  document.documentElement.dataset.theme = name;
  set($("theme"), { "aria-label": `Theme: ${name === "auto" ? "as the system" : name}`, title: `Theme: ${name}` });
  localStorage.setItem("theme", name);
}
theme(localStorage.getItem("theme") ?? "auto");
$("theme").addEventListener("click", () => theme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]));

async function load(url) {
  const answer = await fetch(url).catch(() => undefined);
  if (answer?.ok) return answer.json();
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  return load(url);
}

/** For tests, and for who is curious. */
globalThis.dashboard = { model, feed };
