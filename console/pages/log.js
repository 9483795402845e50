import { $, ask, away, bytes, chosen, el, foreign, listen, long, notices, number, say, time } from "./common.js";

const KEPT = 200;

let stop = () => {};
let entries = new Map();
let waiting = null;
// Whether the newest line is in sight, and is to stay so.
let follows = true;

function clock(ms) {
  return el("time", { datetime: ms == null ? null : new Date(ms).toISOString() }, time(ms));
}

function shown(entry) {
  return entry.text == null ? el("span", { class: "dim" }, say("log.reading")) : foreign(entry.text);
}

async function open(box, stream, id) {
  box.replaceChildren(el("p", { class: "dim" }, say("log.reading")));
  try {
    const whole = await ask(`/api/log/${encodeURIComponent(stream)}/${id}`);
    const place = say("log.place", whole.id, number(whole.partition), number(whole.offset));
    box.replaceChildren(el("p", { class: "dim" }, place), long(whole.text, say("log.document")));
    box.scrollIntoView({ block: "nearest" });
  } catch (error) {
    box.replaceChildren(el("p", { class: "wrong" }, error.message));
  }
}

function line(stream, entry) {
  const box = el("div", { class: "whole" });
  const text = el("span", { class: "text" }, shown(entry));
  const size = entry.bytes > 1000 ? el("span", { class: "size" }, bytes(entry.bytes)) : null;
  const details = el("details", {
    toggle: () => (details.open ? open(box, stream, entry.id) : box.replaceChildren()),
  },
    el("summary", {}, clock(entry.at_ms), " ", el("span", { class: "place" }, `${entry.partition}:${entry.offset}`), " ", text, " ", size),
    box);
  const node = el("li", { "data-id": entry.id }, details);
  return { node, text, entry };
}

function filter() {
  const wanted = $("filter").value.toLowerCase();
  let seen = 0;
  for (const { node, entry } of entries.values()) {
    const fits = !wanted || `${entry.id} ${entry.partition}:${entry.offset} ${entry.text ?? ""}`.toLowerCase().includes(wanted);
    node.hidden = !fits;
    if (fits) seen += 1;
  }
  $("count").textContent = entries.size === 0 ? say("log.empty") : say("log.count", number(seen), number(entries.size));
}

function update(stream, state) {
  notices([away("mongodb", state.mongodb)]);
  if (!state.entries) return;
  if ($("hold").checked) {
    waiting = [stream, state];
    return;
  }
  const list = $("entries");
  // Oldest first, so that the newest is the last line.
  for (const entry of state.entries.toReversed()) {
    const known = entries.get(entry.id);
    if (known) {
      if (known.entry.text == null && entry.text != null) {
        known.entry = entry;
        known.text.replaceChildren(shown(entry));
      }
      continue;
    }
    const made = line(stream, entry);
    entries.set(entry.id, made);
    const after = [...list.children].findLast((node) => entries.get(node.dataset.id).entry.at_ms <= entry.at_ms);
    if (after) after.after(made.node);
    else list.prepend(made.node);
  }
  while (list.children.length > KEPT) {
    entries.delete(list.firstElementChild.dataset.id);
    list.firstElementChild.remove();
  }
  filter();
  toEnd();
}

function toEnd() {
  const box = $("scroll");
  if (follows) box.scrollTop = box.scrollHeight;
}

$("scroll").addEventListener("scroll", ({ target }) => {
  follows = target.scrollHeight - target.scrollTop - target.clientHeight < 40;
});
new ResizeObserver(toEnd).observe($("scroll"));
$("tools").addEventListener("submit", (event) => event.preventDefault());
$("filter").addEventListener("input", filter);
$("hold").addEventListener("change", () => {
  if (!$("hold").checked && waiting) update(...waiting);
  waiting = null;
});
chosen($("stream"), (name) => {
  stop();
  entries = new Map();
  waiting = null;
  $("entries").replaceChildren();
  stop = listen(`/api/log/${encodeURIComponent(name)}/stream`, (state) => update(name, state));
});
