import { $, ask, away, data, el, foreign, listen, notices, number, rate, say, seconds, svg } from "./common.js";

const MINUTES = 5;
const WIDTH = 600;
const HEIGHT = 90;

const samples = new Map(data.streams.map((stream) => [stream.name, []]));
const cards = new Map();

for (const { name } of data.streams) {
  const id = `stream-${cards.size}`;
  const card = {
    total: el("span", { class: "big" }, "–"),
    rate: el("dd", {}, "–"),
    fresh: el("dd", {}, "–"),
    state: el("dd", {}, "–"),
    chart: svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }),
    most: el("span", {}),
    counters: el("div", { class: "counters" }),
  };
  cards.set(name, card);
  $("streams").append(el("section", { class: "card", "aria-labelledby": id, "data-stream": name },
    el("h2", { id }, name),
    el("div", { class: "figures" },
      el("p", {}, card.total, " ", say("live.events")),
      el("dl", { class: "facts" },
        el("dt", {}, say("live.rate")), card.rate,
        el("dt", {}, say("live.newest")), card.fresh,
        el("dt", {}, say("live.counters")), card.state)),
    el("figure", {}, card.chart, el("figcaption", {}, card.most)),
    card.counters));
}

/** Events a second between samples that follow each other; null where nobody looked, or the counters began anew. */
function rates(name) {
  const all = samples.get(name);
  return all.slice(1).map(([at, total], i) => {
    const [before, was] = all[i];
    return [at, at - before > 5 || total < was ? null : (total - was) / Math.max(1, at - before)];
  });
}

function draw(card, name, now) {
  const all = rates(name);
  const most = Math.max(1, ...all.map(([, n]) => n ?? 0));
  const x = (at) => (WIDTH * (at - (now - MINUTES * 60))) / (MINUTES * 60);
  const y = (n) => HEIGHT - 4 - ((HEIGHT - 8) * n) / most;
  const lines = [];
  let line = [];
  for (const [at, n] of [...all, [now, null]]) {
    if (n != null && at >= now - MINUTES * 60) line.push(`${x(at).toFixed(1)},${y(n).toFixed(1)}`);
    else if (line.length > 0) {
      // One alone is a dash, not a point that nobody sees.
      if (line.length === 1) line.unshift(line[0].replace(/^[^,]*/, (at) => (at - 3).toFixed(1)));
      lines.push(svg("polyline", { points: line.join(" "), class: "line" }));
      line = [];
    }
  }
  const base = svg("line", { x1: 0, x2: WIDTH, y1: HEIGHT - 4, y2: HEIGHT - 4, class: "base" });
  card.chart.replaceChildren(base, ...lines);
  const last = all.at(-1)?.[1] ?? null;
  card.rate.textContent = rate(last);
  const words = say("live.chart", MINUTES, rate(most > 1 || all.some(([, n]) => n === 1) ? most : Math.max(0, ...all.map(([, n]) => n ?? 0))));
  card.most.textContent = words;
  card.chart.setAttribute("aria-label", words);
}

function bars(counter) {
  const most = Math.max(1, ...counter.top.map(([, n]) => n));
  const list = el("ol", { class: "bars" }, ...counter.top.map(([key, n]) => {
    const fill = el("span", { class: "fill" });
    fill.style.width = `${(100 * n) / most}%`;
    return el("li", {}, fill, el("span", { class: "key" }, foreign(key)), el("span", { class: "n" }, number(n)));
  }));
  return el("section", {},
    el("h3", {}, counter.name),
    counter.top.length ? list : el("p", { class: "lead" }, say("live.no-keys")),
    el("p", { class: "lead" },
      say("live.distinct", number(counter.distinct)),
      counter.overflow > 0 ? `; ${say("live.overflow", number(counter.overflow))}` : ""));
}

function standing(stream) {
  if (stream.total == null) return say("live.unknown");
  if (stream.recount) return say("live.recount", stream.recount);
  return stream.pending > 0 ? say("live.pending", number(stream.pending)) : say("live.settled");
}

function update(state) {
  notices([away("redis", state.redis), away("mongodb", state.mongodb)]);
  for (const stream of state.streams) {
    const card = cards.get(stream.name);
    const all = samples.get(stream.name);
    if (stream.total != null && (all.length === 0 || all.at(-1)[0] < state.at)) {
      all.push([state.at, stream.total]);
      while (all[0][0] < state.at - MINUTES * 60) all.shift();
    }
    if (stream.total != null) card.total.textContent = number(stream.total);
    card.total.classList.toggle("old", stream.total == null);
    card.state.textContent = standing(stream);
    const age = stream.newest_ms == null ? null : Math.max(0, state.at - stream.newest_ms / 1000);
    card.fresh.textContent = age == null ? "–" : say("ago", seconds(age));
    draw(card, stream.name, state.at);
    if (stream.counters) card.counters.replaceChildren(...stream.counters.map(bars));
  }
}

const before = await ask("/api/live/history").catch(() => ({}));
for (const [name, all] of Object.entries(before)) samples.get(name)?.push(...all);
listen("/api/live/stream", update);
