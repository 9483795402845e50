import { $, bytes, el, facts, foreign, listen, number, rate, say, seconds, svg } from "./common.js";

const AS = { rate, count: number, bytes, seconds };

// Where each stands, in columns and rows: on a wide screen in one line or two, and on a narrow one.
const WIDE = { width: 1120, step: [192, 100], box: [150, 52], at: {
  client: [0, 0], gateway: [1, 0], "kafka-producer": [2, 0], "wasm-producer": [2, 0], kafka: [3, 0], consumer: [4, 0], mongodb: [5, 0],
  "redis-writer": [2, 1], redis: [4, 1] } };
const WIDE_TWO = { ...WIDE, at: {
  client: [0, 0.5], gateway: [1, 0.5], "kafka-producer": [2, 0], "wasm-producer": [2, 1], kafka: [3, 0.5], consumer: [4, 0.5], mongodb: [5, 0.5],
  "redis-writer": [2, 2], redis: [4, 2] } };
const NARROW = { width: 308, step: [164, 96], box: [136, 46], at: {
  client: [0.5, 0], gateway: [0.5, 1], "kafka-producer": [0, 2], "wasm-producer": [0, 2], kafka: [0, 3], consumer: [0, 4], mongodb: [0, 5],
  "redis-writer": [1, 2], redis: [1, 5] } };
const NARROW_TWO = { width: 324, step: [108, 96], box: [100, 46], at: {
  client: [1, 0], gateway: [1, 1], "kafka-producer": [0, 2], "wasm-producer": [1, 2], kafka: [0.5, 3], consumer: [0.5, 4], mongodb: [0.5, 5],
  "redis-writer": [2, 2], redis: [2, 5] } };
// With tables, beside the archive; then a lone producer stands between the lines.
const TABLES_WIDE = { tables: [4, 0], postgres: [5, 0], consumer: [4, 1], mongodb: [5, 1] };
const TABLES_NARROW = { tables: [0, 4], postgres: [0, 5], consumer: [1, 4], mongodb: [1, 5] };
const LONE_WIDE = { "kafka-producer": [2, 0.5], "wasm-producer": [2, 0.5] };
const LONE_NARROW = { "kafka-producer": [0.5, 2], "wasm-producer": [0.5, 2] };

const narrow = matchMedia("(max-width: 700px)");
let last = null;

function layout(names) {
  const two = names.has("kafka-producer") && names.has("wasm-producer");
  const tables = names.has("tables");
  const of = narrow.matches ? (two || tables ? NARROW_TWO : NARROW) : two || tables ? WIDE_TWO : WIDE;
  const at = { ...of.at };
  if (tables) Object.assign(at, narrow.matches ? TABLES_NARROW : TABLES_WIDE);
  if (tables && !two) Object.assign(at, narrow.matches ? LONE_NARROW : LONE_WIDE);
  const [dx, dy] = of.step;
  const [w, h] = of.box;
  const middle = (name) => [w / 2 + 4 + at[name][0] * dx, h / 2 + 6 + at[name][1] * dy];
  return { ...of, middle, w, h };
}

/** From the border of one box to that of the other. */
function between([x1, y1], [x2, y2], w, h) {
  const cut = (dx, dy) => Math.min(dx ? w / 2 / Math.abs(dx) : Infinity, dy ? h / 2 / Math.abs(dy) : Infinity);
  const [dx, dy] = [x2 - x1, y2 - y1];
  const k = cut(dx, dy);
  const length = Math.hypot(dx, dy);
  const gap = 7 / length;
  return [x1 + dx * k, y1 + dy * k, x2 - dx * (k + gap), y2 - dy * (k + gap)];
}

function picture(state) {
  const names = new Set(state.way.flatMap((edge) => [edge.from, edge.to]));
  const { width, middle, w, h } = layout(names);
  const height = Math.max(...[...names].map((name) => middle(name)[1])) + h / 2 + 6;
  const states = new Map(state.processes.map((process) => [process.name, worst(process)]));
  const edges = state.way.map((edge) => {
    const [x1, y1, x2, y2] = between(middle(edge.from), middle(edge.to), w, h);
    const [mx, my] = [(x1 + x2) / 2, (y1 + y2) / 2];
    const steep = Math.abs(y2 - y1) > Math.abs(x2 - x1);
    const words = edge.state === "stands" ? "✖" : edge.rate > 0 ? rate(edge.rate) : "";
    return svg("g", { class: `edge ${edge.state}` },
      svg("line", { x1, y1, x2, y2, "marker-end": `url(#arrow-${edge.state})` }),
      svg("text", { x: steep ? mx + 6 : mx, y: steep ? my + 4 : my - 7, "text-anchor": steep ? "start" : "middle" }, words));
  });
  const boxes = [...names].map((name) => {
    const [x, y] = middle(name);
    const known = states.get(name);
    const broken = !known && state.way.some((edge) => edge.to === name && edge.state === "stands");
    return svg("g", { class: `box ${known ?? (broken ? "away" : "store")}` },
      svg("rect", { x: x - w / 2, y: y - h / 2, width: w, height: h, rx: 8 }),
      svg("text", { x, y: known ? y - 3 : y + 5, "text-anchor": "middle" }, say(`box.${name}`)),
      known ? svg("text", { x, y: y + 15, "text-anchor": "middle", class: "state" }, say(`state.${known}`)) : null);
  });
  const markers = svg("defs", {}, ...["flows", "idle", "stands"].map((kind) =>
    svg("marker", { id: `arrow-${kind}`, class: `edge ${kind}`, viewBox: "0 0 8 8", refX: 3, refY: 4, markerWidth: 5, markerHeight: 5, orient: "auto" },
      svg("path", { d: "M0 0L8 4L0 8z" }))));
  const stands = state.way.filter((edge) => edge.state === "stands");
  const label = stands.length ? say("way.stands", stands.length) : say("way.well");
  return svg("svg", { class: w < 120 ? "close" : null, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, markers, ...edges, ...boxes);
}

function worst(process) {
  const states = process.instances.map((one) => one.state);
  return states.includes("away") ? "away" : states.includes("not-ready") ? "not-ready" : "ready";
}

function card(process) {
  const state = worst(process);
  const instances = process.instances.map((one) => el("li", {},
    el("span", { class: `pill ${one.state}` }, say(`state.${one.state}`)), " ",
    el("code", {}, one.address), one.memory ? ` ${bytes(one.memory)}` : "",
    ...one.reasons.map((reason) => el("p", { class: "reason" }, foreign(reason)))));
  const by = process.by.filter(([, all]) => all.length > 0).map(([name, all]) => [
    say(`by.${name}`),
    el("span", {}, ...all.flatMap(([reason, n], i) => [i ? ", " : "", foreign(reason), ` ${number(n)}`])),
  ]);
  const figures = process.figures.map(([name, how, value]) => [say(`figure.${name}`), AS[how](value)]);
  return el("section", { class: `card process ${state}`, "data-process": process.name, "data-state": state },
    el("h3", {}, process.name),
    el("ul", { class: "instances" }, ...instances),
    facts([...figures, ...by]));
}

function show() {
  if (!last) return;
  $("way").replaceChildren(picture(last));
  const stands = last.way.filter((edge) => edge.state === "stands");
  const words = stands.length
    ? stands.map((edge) => `${say(`box.${edge.from}`)} → ${say(`box.${edge.to}`)}: ${say(`why.${edge.why}`)}`)
    : [say("way.well")];
  if ($("stands").dataset.now !== words.join("\n")) {
    $("stands").dataset.now = words.join("\n");
    $("stands").replaceChildren(...words.map((word) => el("li", { class: stands.length ? "wrong" : "well" }, word)));
  }
  $("processes").replaceChildren(...last.processes.map(card));
}

narrow.addEventListener("change", show);
listen("/api/pipeline/stream", (state) => {
  last = state;
  show();
});
